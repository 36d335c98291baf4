//! The simulator, seen by clients that do right and by clients that do wrong on purpose.

mod common;
mod flow;
