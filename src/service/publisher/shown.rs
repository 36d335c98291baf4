//! How every check run of a head should look and be called: those that its runs show, and those that
//! GitHub has of what nothing stands behind any more. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::check::DesiredCheck;
use crate::domain::ids::CheckId;
use crate::domain::links::Links;
use crate::domain::parties::{Parties, Party, Whose};
use crate::domain::run::Run;
use crate::domain::time::Timestamp;
use crate::render::checks::{self, View};
use crate::store::{CheckRecord, ClaimedHead};

/// A check run of GitHub's that is to be called otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misnamed {
    pub(super) id: CheckId,
    pub(super) github_id: u64,
    /// Since when GitHub has it at the latest.
    pub(super) since: Timestamp,
    pub(super) name: String,
}

/// Check runs that are called otherwise than they should be by now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Those that are to be renamed.
    pub(super) wrong: Vec<Misnamed>,
    /// Those that GitHub is not to be asked about before this is over.
    pub(super) held: Vec<(Misnamed, Duration)>,
}

/// `last` are those that GitHub has, or may have, by name.
pub(super) fn all(
    head: &ClaimedHead,
    links: &Links,
    view: &View<'_>,
    last: &BTreeMap<&str, &CheckRecord>,
) -> Vec<DesiredCheck> {
    let mut all = checks::desired_in(&head.runs, links, view);
    let Some(newest) = head.runs.last().filter(|_| !all.is_empty()) else { return all };
    let named: BTreeSet<&str> = all.iter().map(|check| check.name.as_str()).collect();
    // Once, for all of them: it looks at every step of every run.
    let aside = Parties::of(&head.runs, &head.gone).aside;
    let left = last.values().filter(|record| {
        let of = of_run(head, &record.occasion);
        let gone = of.is_some_and(|run| is_gone(run, &head.gone, &aside));
        record.github_id.is_some()
            && (gone || !record.completed)
            && !named.contains(record.name.as_str())
    });
    let left: Vec<DesiredCheck> = left
        .map(|record| {
            let run = of_run(head, &record.occasion).unwrap_or(newest);
            let at = run.concluded_at.unwrap_or(run.created_at);
            checks::forgotten(&record.name, (&head.head_sha, record.occasion.as_str()), at)
        })
        .collect();
    all.extend(left);
    all
}

/// Those whose names say for whom they are, and not as it is by now. Also those that newer ones hide:
/// without these, GitHub would show them.
pub(super) fn misnamed(head: &ClaimedHead) -> Names {
    let says_whose = |record: &&CheckRecord| {
        checks::step_of_check(&record.name).is_some_and(|(.., whose)| whose.is_some())
    };
    let mut said = head.checks.iter().filter(says_whose).peekable();
    let mut names = Names::default();
    if said.peek().is_none() {
        return names;
    }
    let parties = Parties::of(&head.runs, &head.gone).judged;
    let misnamed = |record: &CheckRecord| {
        let whose = Whose::of(of_run(head, &record.occasion)?)?;
        let name = checks::name_by_now(&record.name, &whose, &parties)?;
        let github_id = record.github_id.filter(|_| name != record.name)?;
        Some(Misnamed { id: record.id, github_id, since: record.known_since(), name })
    };
    for record in said {
        let Some(misnamed) = misnamed(record) else { continue };
        let refused = record.refused_name.as_ref().filter(|refused| refused.name == misnamed.name);
        match refused.map(|refused| refused.until) {
            Some(None) => {}
            Some(Some(until)) if head.now < until => {
                names.held.push((misnamed, until.since(head.now)));
            }
            Some(Some(_)) | None => names.wrong.push(misnamed),
        }
    }
    names
}

/// The run that a check run was made for.
pub(super) fn of_run<'a>(head: &'a ClaimedHead, occasion: &str) -> Option<&'a Run> {
    let id = occasion.parse().ok()?;
    head.runs.iter().find(|run| run.id == id)
}

/// Nothing stands behind it: for whom it was has left this commit, or does not count beside another.
fn is_gone(run: &Run, gone: &[Whose], aside: &[Party<'_>]) -> bool {
    let Some(whose) = Whose::of(run) else { return false };
    gone.contains(&whose) || aside.iter().any(|party| party.whose == whose)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ambient;
    use crate::domain::cache::Reuse;
    use crate::domain::detail::Room;
    use crate::domain::ids::{JobId, RunId};
    use crate::domain::impact::ChangeKind;
    use crate::domain::pipeline::StepSpec;
    use crate::domain::plan::{Inputs, Plan};
    use crate::domain::run::{Job, Repository, StepFacts, StepRecord};
    use crate::domain::state::{RunState, StepState};
    use crate::domain::trigger::{Scope, Trigger};
    use crate::domain::trust::Trust;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn job(nth: u32) -> Job {
        let connector = format!("source-{nth:03}");
        let steps = (0..8).map(|step| StepSpec::new(format!("s{step}").parse().unwrap())).collect();
        let name = connector.parse().unwrap();
        let plan = Plan::new(name, connector.clone(), Inputs::default(), steps).unwrap();
        let record = |spec: &StepSpec| StepRecord {
            id: spec.id.clone(),
            state: StepState::Waiting,
            attempt: 1,
            queued_at: NOW,
            facts: StepFacts::default(),
        };
        Job {
            id: JobId::new(ambient::ulid()),
            connector: connector.parse().unwrap(),
            change: ChangeKind::Modified,
            reasons: Vec::new(),
            steps: plan.steps().iter().map(record).collect(),
            plan,
            state: RunState::Queued,
            conclusion: None,
            attempt: 1,
            epoch: 1,
            created_at: NOW,
            started_at: None,
            concluded_at: None,
            cancel: None,
            awaits: None,
        }
    }

    fn run(repository: Repository, head_sha: crate::domain::names::Sha) -> Run {
        Run {
            id: RunId::new(ambient::ulid()),
            repository,
            pull: Some(12),
            title: String::new(),
            head_ref: "change".to_owned(),
            base_ref: "main".to_owned(),
            base_sha: head_sha.clone(),
            head_sha,
            merge_base: None,
            trigger: Trigger::PullRequest,
            cause: "1".to_owned(),
            actor: "ada".to_owned(),
            scope: Scope::Affected,
            reuse: Reuse::All,
            trust: Trust::Trusted,
            kept_under: None,
            state: RunState::Queued,
            conclusion: None,
            problem: None,
            selection: None,
            created_at: NOW,
            started_at: None,
            concluded_at: None,
            superseded_by: None,
            cancel: None,
            awaits: None,
            revision: 1,
            jobs: (0..150).map(job).collect(),
        }
    }

    #[test]
    fn what_is_set_aside_is_asked_once_and_not_for_each_check_run() {
        let name = "acme/connectors".parse().unwrap();
        let repository = Repository { id: 7, name, installation: 3, private: false };
        let head_sha: crate::domain::names::Sha = "a".repeat(40).parse().unwrap();
        let run = run(repository.clone(), head_sha.clone());
        let told = |nth: u64| CheckRecord {
            github_id: Some(nth),
            completed: true,
            ..CheckRecord::new(
                CheckId::new(ambient::ulid()),
                &format!("of old / {nth}"),
                &run.id.to_string(),
                NOW,
            )
        };
        let checks: Vec<CheckRecord> = (0..600).map(told).collect();
        let head = ClaimedHead {
            repository,
            head_sha,
            runs: vec![run],
            checks,
            gone: Vec::new(),
            refused_since: None,
            detail: None,
            room: Room::default(),
            spare: 0,
            now: NOW,
            version: 1,
            epoch: 1,
        };
        let links = Links { public: String::new(), github: String::new() };
        let took = |records: usize| {
            let last = head.checks.iter().take(records).map(|one| (one.name.as_str(), one));
            let last: BTreeMap<&str, &CheckRecord> = last.collect();
            let began = Instant::now();
            let shown = all(&head, &links, &View::default(), &last);
            assert!(!shown.is_empty());
            began.elapsed()
        };
        let (none, many) = (took(0), took(600));
        assert!(many < none * 8 + Duration::from_millis(200), "{many:?} for {none:?}");
    }
}
