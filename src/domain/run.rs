//! A run as it is read: what GitHub, the pages, the API and the reports are views of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::annotation::{Annotations, Standing};
use super::builtin::Builtin;
use super::cache::{CacheFacts, Reuse};
use super::coverage::Coverage;
use super::detail::Detail;
use super::ids::{JobId, RunId};
use super::impact::{ChangeKind, Explanation, Reason};
use super::names::{ConnectorName, RepoName, ServiceAlias, Sha, StepId};
use super::plan::Plan;
use super::rules::closest;
use super::state::{Conclusion, Outcome, RunState, StepState};
use super::time::Timestamp;
use super::trigger::{Scope, Trigger};
use super::trust::{Showing, Trust};
use super::unselected::Unselected;

/// The repository that a run belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// GitHub's id, which survives renames.
    pub id: u64,
    pub name: RepoName,
    pub installation: u64,
    pub private: bool,
}

/// Why a run ended without running steps, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// One line, as a check's title.
    pub title: String,
    /// Markdown: the place, what is wrong there, the mend.
    pub text: String,
    /// The file and its line (1-based) that is at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(String, u32)>,
}

impl Problem {
    /// This one, which is what counts; that another one came to it is said with it, in our own words.
    #[must_use]
    pub fn beside(self, other: ProblemKind) -> Self {
        let said = match other {
            ProblemKind::Configuration => {
                "the repository file is wrong, so that nothing is run before"
            }
            ProblemKind::Infrastructure => {
                "what may run before could not be planned, which the server's log explains"
            }
            ProblemKind::NotTrusted => return self,
        };
        let text = format!("{}\n\n**Besides:** {said}.\n\n", self.text.trim_end());
        Self { text, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The repository file is wrong.
    Configuration,
    /// Ours: a fetch failed, a disk is full.
    Infrastructure,
    /// The code is a stranger's, and nobody has approved it: only what its base lets run is run.
    NotTrusted,
}

/// What planning found, fixed when the run is planned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// False when the change set could not be known; then every connector is selected.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How many files the change touches.
    pub files: usize,
    pub ignored: usize,
    pub unclaimed: Vec<String>,
    /// Whether the unclaimed select everything, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclaimed_selects: Option<bool>,
    /// Deleted connectors: named, and not run.
    pub removed: Vec<String>,
    /// Reached by the change, but kept for the record only: named, and not run.
    #[serde(default)]
    pub archived: Vec<String>,
    /// Affected connectors without a pipeline.
    pub without_pipeline: Vec<String>,
    /// Where the configuration came from, in words: `.github/checkvalve.yml at 1a2b3c` or
    /// `preset airbyte`.
    pub origin: String,
    /// Further remarks for the check: what was widened and why.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The finest check runs that the repository file wants.
    #[serde(default, skip_serializing_if = "Detail::is_finest")]
    pub detail: Detail,
    /// Why every other connector is not selected; absent where nobody can ask later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unselected: Option<Unselected>,
    /// What whoever approves the commit is to look at; absent where nobody need approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showing: Option<Showing>,
}

impl Selection {
    /// How many connectors of the head the change does not reach.
    pub fn not_selected(&self) -> usize {
        let kept = self.unselected.as_ref().map_or(0, Unselected::count);
        kept.saturating_sub(self.removed.len())
    }

    /// A known layout, recognised by the tree: the repository has no file of ours.
    pub fn without_file(&self) -> bool {
        self.origin.starts_with("preset ")
    }
}

/// A stored log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRef {
    /// The object's key.
    pub key: String,
    pub bytes: u64,
    pub lines: u64,
    /// Bytes that the cap cut off.
    #[serde(default)]
    pub cut: u64,
}

/// One test that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFailure {
    pub name: String,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What a step's test report says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
    pub failures: Vec<TestFailure>,
}

/// A kept file of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to `$CHECKVALVE_OUT`.
    pub path: String,
    pub key: String,
    pub bytes: u64,
}

/// A part of a step's time: pulling, creating, running, collecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub name: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

/// What is known of a step besides its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFacts {
    /// Why it ended as it did, in words; for skipped steps the skip's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// The images of the services that ran beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceAlias, String>,
    /// The id of the image that it built, for the steps after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
    /// What that was built on, by the names that its recipe has: digests, or ids where no registry
    /// knows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// What its tools found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// Of the paths that findings and failing tests name, those that are files of the head.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<String, Standing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// Whether it was used again, and why or why not; absent until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFacts>,
    /// The telling parts of the log, kept beside the state so that a check's text needs no object;
    /// a step's copies share it.
    #[serde(default)]
    pub excerpt: Arc<str>,
    /// Of a step that is tried again: what it has used up, whoever carries the job on.
    #[serde(default, skip_serializing_if = "Tries::is_none")]
    pub tries: Tries,
}

/// How often a step was tried in vain, by whose fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    #[serde(default)]
    pub failed: u32,
    #[serde(default)]
    pub errored: u32,
}

impl Tries {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl StepFacts {
    /// The time that its segments took together.
    pub fn took(&self) -> Duration {
        self.segments.iter().map(|part| part.finished_at.since(part.started_at)).sum()
    }
}

/// A step of a job, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub id: StepId,
    pub state: StepState,
    /// 1 for the first try.
    pub attempt: u32,
    /// When its needs were settled, or the job was made.
    pub queued_at: Timestamp,
    pub facts: StepFacts,
}

/// One connector's plan within a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub connector: ConnectorName,
    pub change: ChangeKind,
    pub reasons: Vec<Reason>,
    pub plan: Plan,
    pub state: RunState,
    pub conclusion: Option<Conclusion>,
    /// How often it was claimed.
    pub attempt: u32,
    /// The accepted holder's number; objects of a concluded job stand under it.
    pub epoch: i64,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub concluded_at: Option<Timestamp>,
    /// Why its end was asked for.
    pub cancel: Option<String>,
    /// What it waits for, that may pass by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    /// In the plan's order.
    pub steps: Vec<StepRecord>,
}

impl Job {
    pub fn step(&self, id: &StepId) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

/// One carrying-out of all plans for one head commit and trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub repository: Repository,
    pub pull: Option<u64>,
    /// The pull request's title, or the branch.
    pub title: String,
    pub head_ref: String,
    pub base_ref: String,
    pub head_sha: Sha,
    pub base_sha: Sha,
    pub merge_base: Option<Sha>,
    pub trigger: Trigger,
    pub cause: String,
    /// Who caused it.
    pub actor: String,
    pub scope: Scope,
    /// Which earlier results it may use.
    #[serde(default)]
    pub reuse: Reuse,
    /// On whose word its code runs.
    pub trust: Trust,
    /// The repository's name when the run was made, under which its objects stand; absent where that
    /// is its name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_under: Option<RepoName>,
    pub state: RunState,
    pub conclusion: Option<Conclusion>,
    pub problem: Option<Problem>,
    /// Absent until planned.
    pub selection: Option<Selection>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub concluded_at: Option<Timestamp>,
    pub superseded_by: Option<RunId>,
    /// Why its end was asked for.
    pub cancel: Option<String>,
    /// What its planning waits for, that may pass by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    /// Raised by every change of anything in the run; events resume from it.
    pub revision: i64,
    /// By connector name.
    pub jobs: Vec<Job>,
}

impl Run {
    /// Why the change selects a connector, or why not; `None` if nothing of the name is known here.
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let same = |job: &&Job| job.connector.as_str().eq_ignore_ascii_case(name);
        let job = self.jobs.iter().find(same);
        let of_job = |job: &Job| Explanation {
            name: job.connector.to_string(),
            selected: !job.reasons.is_empty(),
            reasons: job.reasons.clone(),
            looked: Vec::new(),
        };
        let reached = job.filter(|job| !job.reasons.is_empty()).map(of_job);
        let unselected = || self.selection.as_ref()?.unselected.as_ref()?.explain(name);
        // Asked for by name, though the change does not reach it: the rules say why not.
        reached.or_else(unselected).or_else(|| job.map(of_job))
    }

    /// The connector that a mistyped name was probably meant to be.
    pub fn closest(&self, name: &str) -> Option<&str> {
        let kept = self.selection.as_ref().and_then(|selection| selection.unselected.as_ref());
        let others = kept.into_iter().flat_map(Unselected::names);
        closest(name, self.jobs.iter().map(|job| job.connector.as_str()).chain(others))
    }
}

/// The verdict on a job whose steps are all settled: a failure that counts makes it a failure, and
/// so does any error of ours, `allow_failure` or not; what was cancelled is neither green nor red;
/// and a job in which nothing ran is never green, unless what was asked for is of no use to the
/// connector and something else is.
pub fn job_conclusion(plan: &Plan, steps: &[StepRecord]) -> Conclusion {
    let outcomes = || steps.iter().filter_map(|step| Some((step, step.state.outcome()?)));
    let allowed = |step: &StepRecord| plan.step(&step.id).is_some_and(|spec| spec.allow_failure);
    let failed = outcomes().any(|(step, outcome)| match outcome {
        Outcome::Failed | Outcome::TimedOut => !allowed(step),
        Outcome::Errored => true,
        Outcome::Succeeded | Outcome::Cancelled => false,
    });
    let tells = |step: &StepRecord| {
        let spec = plan.step(&step.id);
        spec.is_some_and(|it| it.is(Builtin::Report) || it.is(Builtin::UploadSecrets))
    };
    let nothing_ran = outcomes().all(|(step, _)| tells(step));
    let unsettled = steps.iter().any(|step| !step.state.is_settled());
    let of_no_use = steps.iter().any(|step| step.state.is_of_no_use());
    if outcomes().any(|(_, outcome)| outcome == Outcome::Cancelled) {
        Conclusion::Cancelled
    } else if failed || unsettled || nothing_ran && (plan.tests_nothing() || !of_no_use) {
        Conclusion::Failure
    } else {
        Conclusion::Success
    }
}

#[cfg(test)]
mod tests {
    use super::super::pipeline::{Network, StepSpec};
    use super::super::plan::Inputs;
    use super::super::state::SkipReason;
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(0);

    fn spec(id: &str, allow_failure: bool) -> StepSpec {
        StepSpec {
            timeout_ms: 1000,
            network: Network::None,
            allow_failure,
            ..StepSpec::new(id.parse().unwrap())
        }
    }

    /// `None`: left out.
    fn judged(counted: Option<Outcome>, allowed: Option<Outcome>) -> Conclusion {
        let (name, root) = ("c".parse().unwrap(), String::new());
        let specs = vec![spec("counted", false), spec("allowed", true)];
        let plan = Plan::new(name, root, Inputs::default(), specs).unwrap();
        let record = |id: &str, outcome: Option<Outcome>| StepRecord {
            id: id.parse().unwrap(),
            state: match outcome {
                Some(outcome) => StepState::Finished { started_at: AT, finished_at: AT, outcome },
                None => StepState::Skipped { at: AT, reason: SkipReason::NotAsked },
            },
            attempt: 1,
            queued_at: AT,
            facts: StepFacts::default(),
        };
        let mut steps = vec![record("counted", counted), record("allowed", allowed)];
        let verdict = job_conclusion(&plan, &steps);
        steps.reverse();
        assert_eq!(job_conclusion(&plan, &steps), verdict, "the order of steps means nothing");
        verdict
    }

    #[test]
    fn what_is_of_no_use_fails_no_job_that_has_something_else() {
        let judged = |useless: usize| {
            let specs = ["a", "b"].into_iter().enumerate().map(|(at, id)| StepSpec {
                left_out: (at < useless).then(|| "it has no tests".to_owned()),
                ..spec(id, false)
            });
            let (name, inputs) = ("c".parse().unwrap(), Inputs::default());
            let plan = Plan::new(name, String::new(), inputs, specs.collect()).unwrap();
            let record = |id: &str, reason| StepRecord {
                id: id.parse().unwrap(),
                state: StepState::Skipped { at: AT, reason },
                attempt: 1,
                queued_at: AT,
                facts: StepFacts::default(),
            };
            let why = SkipReason::Condition { why: "it has no tests".to_owned() };
            let b = if useless == 2 { why.clone() } else { SkipReason::NotAsked };
            job_conclusion(&plan, &[record("a", why), record("b", b)])
        };
        assert_eq!(judged(1), Conclusion::Success);
        assert_eq!(judged(2), Conclusion::Failure);
    }

    #[test]
    fn a_job_that_is_not_settled_is_no_success() {
        let specs = vec![spec("done", false), spec("open", false)];
        let plan = Plan::new("c".parse().unwrap(), String::new(), Inputs::default(), specs);
        let record = |id: &str, state| StepRecord {
            id: id.parse().unwrap(),
            state,
            attempt: 1,
            queued_at: AT,
            facts: StepFacts::default(),
        };
        let (plan, outcome) = (plan.unwrap(), Outcome::Succeeded);
        let done = StepState::Finished { started_at: AT, finished_at: AT, outcome };
        for open in [StepState::Waiting, StepState::Running { started_at: AT }] {
            let steps = [record("done", done.clone()), record("open", open)];
            assert_eq!(job_conclusion(&plan, &steps), Conclusion::Failure);
        }
    }

    #[test]
    fn a_job_is_judged_by_what_counts() {
        use Outcome::{Cancelled, Errored, Failed, Succeeded, TimedOut};
        let cases = [
            (Some(Succeeded), Some(Succeeded), Conclusion::Success),
            (Some(Succeeded), Some(Failed), Conclusion::Success),
            (Some(Succeeded), Some(TimedOut), Conclusion::Success),
            (Some(Succeeded), Some(Errored), Conclusion::Failure),
            (Some(Failed), Some(Succeeded), Conclusion::Failure),
            (Some(TimedOut), None, Conclusion::Failure),
            (Some(Errored), None, Conclusion::Failure),
            (Some(Cancelled), Some(Succeeded), Conclusion::Cancelled),
            (Some(Failed), Some(Cancelled), Conclusion::Cancelled),
            (None, Some(Failed), Conclusion::Success),
            (None, None, Conclusion::Failure),
        ];
        for (counted, allowed, expected) in cases {
            assert_eq!(judged(counted, allowed), expected, "{counted:?}, {allowed:?}");
        }
    }
}
