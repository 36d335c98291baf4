//! Real changes of four real repositories, and which connectors a stated rule selects. The cases are
//! not ours to publish: they are read from the folder that `CHECKVALVE_CASES` names, and without it
//! the tests print that nothing was checked. With `CHECKVALVE_REAL`, a folder of clones named
//! `<owner>+<repository>`, the program itself is run on the commits of the cases, too.
//!
//! No connector that a case expects may be missed. One more than expected must be of a class that
//! `docs/cases.md` justifies.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "cases/airbyte.rs"]
mod airbyte;
#[path = "cases/layouts.rs"]
mod layouts;
#[path = "cases/real.rs"]
mod real;
#[path = "cases/rows.rs"]
mod rows;
#[path = "cases/synthetic.rs"]
mod synthetic;
#[path = "cases/tree.rs"]
mod tree;
#[path = "cases/verdict.rs"]
mod verdict;
