//! Several jobs may want one result that nobody has yet: one of them works it out, and the others
//! wait for it.

use super::ids::{JobId, RunId};
use super::names::{ConnectorName, StepId};

/// Who works a result out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    pub run: RunId,
    pub job: JobId,
    /// Under which hold of the job.
    pub epoch: i64,
    pub connector: ConnectorName,
    pub step: StepId,
}

impl Maker {
    /// Why a step waits for it, for people.
    pub fn reason(&self) -> String {
        format!(
            "waits for `{}` of {} in run {}, which is working out the same",
            self.step, self.connector, self.run
        )
    }
}

/// What a step may do that could wait for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Go on: others wait for it.
    Ours,
    /// Go on, beside others: the one that it waited for has failed, and what failed once is not
    /// tried by one after the other.
    Beside,
    /// Nobody keeps account of it.
    Free,
    Theirs(Maker),
}
