//! For whom a head commit is judged. Two pull requests, or a pull request and a merge group, can
//! have one head commit; they share its check runs, and each has a plan of its own.

use super::run::Run;
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

impl Party<'_> {
    /// The branch that it is to be merged into.
    pub fn base(&self) -> &str {
        &self.newest.base_ref
    }
}

/// Those whose head this commit is, in the order of their first runs. `gone` are those that left it
/// (closed, pushed to, out of the queue), the last one last: they do not count while somebody else
/// is there; when all have left, what the last one came to stays.
pub fn parties<'a>(runs: &'a [Run], gone: &[Whose]) -> Vec<Party<'a>> {
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
    } else if let Some(last) = gone.iter().rfind(|gone| found.iter().any(|(of, _)| of == *gone)) {
        found.retain(|(whose, _)| whose == last);
    }
    let party = |(whose, runs): (Whose, Vec<&'a Run>)| {
        let newest = *runs.last()?;
        Some(Party { whose, newest, verdict: verdict_of(&runs), runs })
    };
    found.into_iter().filter_map(party).collect()
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
}
