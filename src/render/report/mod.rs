//! What a run leaves in the object store: for machines (`report.json`, `junit.xml`, `run.json`,
//! `replay.json`) and for people (`report.html`, `index.html`).

mod html;
mod index;
mod json;
mod junit;

pub use html::job_html;
pub use index::index_html;
pub use json::{job_json, plan_hash, replay_json, run_json};
pub use junit::junit_xml;
