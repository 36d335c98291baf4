//! Where a test has the program die as if its power were cut: before and after everything it does that
//! outlives it. Each kind of that is done in one place, which says so here.
//!
//! Only a build with debug assertions has it: in an optimised one [`around`] is the work itself, and
//! nothing reads a variable.

#[cfg(debug_assertions)]
mod armed;

#[cfg(debug_assertions)]
pub use self::armed::{Failpoint, Side, VARIABLE, around};

/// What outlives the process that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The end of a transaction of the database.
    Commit,
    /// An exchange with GitHub.
    Call,
    /// A container's start.
    Start,
    /// An object's writing.
    Write,
    /// An image made of what a step left.
    Keep,
    /// A name that such an image gets.
    Tag,
    /// An image built as its recipe says.
    Build,
}

/// Does `work`. A test may have the program die before or after it, at a `place` that it chose.
#[cfg(not(debug_assertions))]
#[inline]
pub fn around<F: Future>(_: Deed, _: impl FnOnce() -> String, work: F) -> F {
    work
}
