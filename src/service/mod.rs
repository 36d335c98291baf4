//! service.

pub mod planning;
