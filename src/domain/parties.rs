//! For whom a head commit is judged. Two pull requests, or a pull request and a merge group, can
//! have one head commit; they share its check runs, and each has a plan of its own.

use sha2::{Digest, Sha256};

use super::run::{ProblemKind, Run};
use super::state::Conclusion;
use super::verdict::{HeadVerdict, verdict_of};

/// A pull request by its number, or a merge group by its branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    Pull(u64),
    Group(String),
}

impl Whose {
    /// Whose run it is; `None`: it is about the default branch, and shown on no pull request.
    pub fn of(run: &Run) -> Option<Self> {
        match run.pull {
            _ if run.trigger.is_of_branch() => None,
            Some(number) => Some(Self::Pull(number)),
            None => Some(Self::Group(run.head_ref.clone())),
        }
    }
}

/// One for whom a head commit is judged, with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Party<'a> {
    pub whose: Whose,
    /// Its runs of this commit, oldest first; never empty.
    pub runs: Vec<&'a Run>,
    pub newest: &'a Run,
    pub verdict: HeadVerdict<'a>,
}

impl<'a> Party<'a> {
    /// The branch that it is to be merged into.
    pub fn base(&self) -> &'a str {
        &self.newest.base_ref
    }

    /// The run by which it is judged.
    pub fn own(&self) -> &'a Run {
        self.verdict.own.unwrap_or(self.newest)
    }

    /// Is its code a stranger's, which nobody has approved?
    pub fn waits(&self) -> bool {
        let problem = self.own().problem.as_ref().map(|problem| problem.kind);
        self.own().trust.is_guarded() || problem == Some(ProblemKind::NotTrusted)
    }

    /// The button that approves the commit for it and for nobody else; `None` where there is nothing
    /// to approve, and for what moved on.
    pub fn approval(&self) -> Option<Approving> {
        let is_due =
            self.waits() && self.verdict.conclusion.is_some() && self.own().superseded_by.is_none();
        match self.whose {
            Whose::Pull(number) if is_due => Some(Approving::of(number, self.base())),
            Whose::Pull(_) | Whose::Group(_) => None,
        }
    }

    /// Does its word stand for this commit also where `other`, a stranger's, has it for its own? Only against
    /// the same base: there it was tested, and approved. Against another one less may be affected, and a
    /// writer's second account would have it shown green where it never ran. A merge group's does against
    /// any base, for as long as it is in the queue: GitHub drops it at the first word that is not
    /// *success*, and what waits is judged as soon as it has left. One of which nobody hears that it has
    /// counts as gone a day after its last run, or when the access to it is lost.
    fn vouches(&self, other: &Self) -> bool {
        let is_queued = matches!(self.whose, Whose::Group(_));
        !self.waits() && (is_queued || self.base() == other.base())
    }
}

/// A pull request's head that is to be approved against one base, as a button on a check run that
/// others share says it: pressed late, it still means that one, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approving {
    pub pull: u64,
    mark: String,
}

impl Approving {
    const PREFIX: &'static str = "ok-";

    pub fn of(pull: u64, base: &str) -> Self {
        let mut mark = hex::encode(Sha256::digest(base.as_bytes()));
        mark.truncate(7);
        Self { pull, mark }
    }

    /// What GitHub sends back when it is pressed.
    pub fn identifier(&self) -> String {
        format!("{}{}-{}", Self::PREFIX, self.pull, self.mark)
    }

    /// The button of this identifier, if it is one of these.
    pub fn read(identifier: &str) -> Option<Self> {
        let (pull, mark) = identifier.strip_prefix(Self::PREFIX)?.split_once('-')?;
        Some(Self { pull: pull.parse().ok()?, mark: mark.to_owned() })
    }

    pub fn is_against(&self, base: &str) -> bool {
        Self::of(self.pull, base) == *self
    }
}

/// All for whom a head commit is judged, in the order of their first runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parties<'a> {
    /// Those that count.
    pub judged: Vec<Party<'a>>,
    /// Strangers' pull requests that lack an approval, of a commit that others stand for against the same
    /// base, or a merge group that is in the queue: whoever opens one with somebody else's commit would
    /// else hold that up. They say nothing, good or bad.
    pub aside: Vec<Party<'a>>,
}

impl<'a> Parties<'a> {
    /// Those whose head this commit is. `gone` are those that left it (closed, pushed to, out of the
    /// queue), the last one last: they do not count while somebody else is there; when all have left,
    /// what the last one came to stays.
    pub fn of(runs: impl IntoIterator<Item = &'a Run>, gone: &[Whose]) -> Self {
        let mut found: Vec<(Whose, Vec<&'a Run>)> = Vec::new();
        for run in runs {
            let Some(whose) = Whose::of(run) else { continue };
            match found.iter_mut().find(|(known, _)| *known == whose) {
                Some((_, of)) => of.push(run),
                None => found.push((whose, vec![run])),
            }
        }
        let here = |whose: &Whose| !gone.contains(whose);
        if found.iter().any(|(whose, _)| here(whose)) {
            found.retain(|(whose, _)| here(whose));
        } else if let Some(last) = gone.iter().rfind(|gone| found.iter().any(|(of, _)| of == *gone))
        {
            found.retain(|(whose, _)| whose == last);
        }
        let party = |(whose, runs): (Whose, Vec<&'a Run>)| {
            let newest = *runs.last()?;
            Some(Party { whose, newest, verdict: verdict_of(&runs), runs })
        };
        let all: Vec<Party<'a>> = found.into_iter().filter_map(party).collect();
        let is_aside = |one: &Party<'a>| one.waits() && all.iter().any(|other| other.vouches(one));
        let aside: Vec<bool> = all.iter().map(is_aside).collect();
        let mut parties = Self::default();
        for (one, aside) in all.into_iter().zip(aside) {
            if aside { parties.aside.push(one) } else { parties.judged.push(one) }
        }
        parties
    }

    /// Those that count, then those that do not.
    pub fn all(&self) -> impl Iterator<Item = &Party<'a>> {
        self.judged.iter().chain(&self.aside)
    }
}

/// The worst of some verdicts, `None` while one is open. What somebody must act on comes before a
/// failure, as it does in the conclusion of GitHub's suites.
pub fn worst(verdicts: impl Iterator<Item = Option<Conclusion>>) -> Option<Conclusion> {
    verdicts.reduce(|one, other| Some(graver(one?, other?))).flatten()
}

fn graver(one: Conclusion, other: Conclusion) -> Conclusion {
    let grave = |conclusion| match conclusion {
        Conclusion::Success => 0,
        Conclusion::Cancelled => 1,
        Conclusion::Failure => 2,
        Conclusion::ActionRequired => 3,
    };
    if grave(other) > grave(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::super::check::ACTION_IDENTIFIER_MAX;
    use super::*;

    #[test]
    fn the_worst_counts_and_what_is_open_is_not_concluded() {
        use Conclusion::{ActionRequired, Cancelled, Failure, Success};
        let of = |all: &[Option<Conclusion>]| worst(all.iter().copied());
        assert_eq!(of(&[Some(Success), Some(Failure), Some(Cancelled)]), Some(Failure));
        assert_eq!(of(&[Some(Failure), Some(ActionRequired)]), Some(ActionRequired));
        assert_eq!(of(&[Some(Success), Some(Cancelled)]), Some(Cancelled));
        assert_eq!(of(&[Some(Success), None, Some(Failure)]), None);
        assert_eq!(of(&[None, Some(Failure)]), None);
        assert_eq!(of(&[]), None);
    }
    #[test]
    fn a_button_means_one_pull_request_against_one_base() {
        let of = Approving::of(123_456_789, "release/1.0");
        assert!(of.identifier().len() <= ACTION_IDENTIFIER_MAX, "{}", of.identifier());
        assert_eq!(Approving::read(&of.identifier()), Some(of.clone()));
        assert!(of.is_against("release/1.0") && !of.is_against("main"));
        assert_ne!(of, Approving::of(12, "release/1.0"));
        for other in ["approve", "ok-", "ok-12", "ok--a", "ok-x-0123456", "retest"] {
            assert_eq!(Approving::read(other), None, "{other}");
        }
    }
}
