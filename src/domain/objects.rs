//! The keys of stored objects: promises, since people and scripts look for them (design §6.5).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::names::{ConnectorName, StepId};
use super::run::Run;

/// What stays as it is in one segment of a key or URL.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A name as one segment of a key or a URL: `/` and everything unusual percent-encoded.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// `runs/<owner>/<repo>/<pr-N or branch-NAME>/<sha>/<run>`, without a `/` at the end.
pub fn run_prefix(run: &Run) -> String {
    let subject = match run.pull {
        Some(number) => format!("pr-{number}"),
        None => segment(&format!("branch-{}", run.head_ref)),
    };
    let name = run.kept_under.as_ref().unwrap_or(&run.repository.name);
    format!("runs/{name}/{subject}/{}/{}", run.head_sha, run.id)
}

/// A job's objects by their final names.
pub fn job_prefix(run: &Run, connector: &ConnectorName) -> String {
    format!("{}/{}", run_prefix(run), segment(connector.as_str()))
}

/// Where a worker writes them first: the fenced settle names the epoch that is accepted, and the
/// final names are copied from it, repeatably.
pub fn epoch_prefix(run: &Run, connector: &ConnectorName, epoch: i64) -> String {
    format!("{}/.epoch-{epoch}", job_prefix(run, connector))
}

/// `<step>/<attempt>/log.txt` below a job's prefix.
pub fn step_log(step: &StepId, attempt: u32) -> String {
    format!("{}/{attempt}/log.txt", segment(step.as_str()))
}

/// `<step>/<attempt>/artifacts/<path>` below a job's prefix.
pub fn step_artifact(step: &StepId, attempt: u32, path: &str) -> String {
    let path: Vec<String> = path.split('/').map(segment).collect();
    format!("{}/{attempt}/artifacts/{}", segment(step.as_str()), path.join("/"))
}
