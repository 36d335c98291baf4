//! Everything that people see, as pure functions of what happened: check runs, pages' parts,
//! pictures, reports, log excerpts, the API's JSON. No clock, no I/O: the same run gives the same
//! bytes.

pub mod api;
pub mod checks;
pub mod findings;
pub mod graph;
pub mod grid;
pub mod html;
mod layout;
pub mod log;
pub mod look;
pub mod markdown;
pub mod path;
pub mod replies;
pub mod report;
pub mod style;
mod svg;
pub mod timeline;
pub mod trust;
pub mod why;
