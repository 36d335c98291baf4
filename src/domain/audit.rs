//! Who asked for what, and what came of it: one record for each command, button and call that asks
//! for a change, whether it was obeyed or not.

use serde::{Deserialize, Serialize};

use super::ids::RunId;
use super::names::Sha;
use super::time::Timestamp;

/// The way by which somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    Comment,
    /// One of our own buttons on a check run.
    Button,
    /// GitHub's "Re-run" on a check run.
    Rerun,
    /// GitHub's "Re-run all checks".
    RerunAll,
    /// A label that is put on a pull request.
    Label,
    Api,
}

impl Route {
    /// In words, before "by".
    pub fn words(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Button => "button",
            Self::Rerun => "Re-run",
            Self::RerunAll => "Re-run all",
            Self::Label => "label",
            Self::Api => "API",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Accepted,
    /// Some of it is done, and some is not.
    Partly,
    Refused,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partly => "partly",
            Self::Refused => "refused",
        }
    }
}

/// What was decided, with the sentences that say so, each a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    pub decision: Decision,
    pub because: String,
}

impl Ruling {
    pub fn refused(because: impl Into<String>) -> Self {
        Self { decision: Decision::Refused, because: because.into() }
    }

    /// By what is done and what is not; nothing done is refused.
    pub fn of(done: &[String], not: &[String]) -> Self {
        let decision = match (done, not) {
            ([], _) => Decision::Refused,
            (_, []) => Decision::Accepted,
            (_, _) => Decision::Partly,
        };
        let lines: Vec<&str> = done.iter().chain(not).map(String::as_str).collect();
        Self { decision, because: lines.join("\n") }
    }

    /// With something that turned out not to be done later.
    #[must_use]
    pub fn without(self, not: &str, decision: Decision) -> Self {
        let Self { mut because, .. } = self;
        if !because.lines().any(|line| line == not) {
            if !because.is_empty() {
                because.push('\n');
            }
            because.push_str(not);
        }
        Self { decision, because }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Unique in the repository.
    pub cause: String,
    pub at: Timestamp,
    pub actor: String,
    pub route: Route,
    /// What was asked for, as a command says it.
    pub asked: String,
    pub ruling: Ruling,
    pub pull: Option<u64>,
    /// The commit that it was about.
    pub head: Option<Sha>,
    /// The runs that it made, or asked to end.
    pub runs: Vec<RunId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_done_is_refused_whatever_was_said() {
        let lines =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(Ruling::of(&[], &[]).decision, Decision::Refused);
        assert_eq!(Ruling::of(&[], &lines(&["no"])).decision, Decision::Refused);
        assert_eq!(Ruling::of(&lines(&["yes"]), &[]).decision, Decision::Accepted);
        let partly = Ruling::of(&lines(&["yes"]), &lines(&["no"]));
        assert_eq!((partly.decision, partly.because.as_str()), (Decision::Partly, "yes\nno"));
    }

    #[test]
    fn what_turns_out_later_is_said_once() {
        let first = Ruling::of(&["Runs: `a`.".to_owned()], &[]);
        let later = first.without("Not run: `b`.", Decision::Partly);
        assert_eq!(later.because, "Runs: `a`.\nNot run: `b`.");
        assert_eq!(later.clone().without("Not run: `b`.", Decision::Partly), later);
    }
}
