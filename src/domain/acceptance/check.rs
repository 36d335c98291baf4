//! `check`: does the connection work, or not, as it should?

use super::config::Status;
use super::message::{Heard, Message};
use super::{End, Named, problem};
use crate::domain::builtin::{Case, Verdict};

/// Hears an answer to `check`.
#[derive(Debug, Default)]
pub struct Check {
    /// The last status, and how many there were.
    status: Option<(String, String)>,
    count: u64,
    malformed: Option<String>,
    error: Option<String>,
}

impl Check {
    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(Message::Status { status, message }) => {
                self.count += 1;
                self.status = Some((status, message));
            }
            Heard::Message(Message::Trace { error: Some(error), .. }) => self.error = Some(error),
            Heard::Malformed { kind, why } if kind == "CONNECTION_STATUS" => {
                self.malformed = Some(why);
            }
            Heard::Message(_) | Heard::Noise(_) | Heard::Malformed { .. } => {}
        }
    }

    pub fn cases(&self, named: Named<'_>, end: &End, wanted: Status) -> Vec<Case> {
        let mut cases = Vec::new();
        // Only an exception may end it otherwise; a hang is none.
        let may_crash = wanted == Status::Exception && matches!(end, End::Exited { .. });
        if !may_crash {
            cases.push(named.case("ends well", end.verdict()));
        }
        let (rule, verdict) = match wanted {
            Status::Succeed => ("succeeds", self.is("SUCCEEDED")),
            Status::Failed => ("fails", self.is("FAILED")),
            Status::Exception => ("is an exception", self.exception(end)),
        };
        cases.push(named.case(rule, verdict));
        cases
    }

    fn is(&self, wanted: &str) -> Verdict {
        if let Some(why) = &self.malformed {
            return problem(format!("a CONNECTION_STATUS is malformed: {why}"), "");
        }
        match &self.status {
            Some((status, _)) if self.count == 1 && status == wanted => Verdict::Passed,
            Some((status, message)) if self.count == 1 => {
                problem(format!("the status is {status}, not {wanted}: {message}"), "")
            }
            _ => problem(
                format!("`check` printed {} CONNECTION_STATUS messages, not one", self.count),
                "print one with `status` SUCCEEDED or FAILED",
            ),
        }
    }

    fn exception(&self, end: &End) -> Verdict {
        let failed = self.status.as_ref().is_some_and(|(status, _)| status == "FAILED");
        if failed || self.error.is_some() || !end.is_good() {
            return Verdict::Passed;
        }
        let text = "it neither failed, nor printed a TRACE with an error, nor exited with a code";
        problem(text.to_owned(), "")
    }
}
