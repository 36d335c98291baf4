//! The JSON of the API: names and vocabulary are promises, fields are only ever added.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::audit::{AuditRecord, Decision, Route};
use crate::domain::check::ShownCheck;
use crate::domain::ids::RunId;
use crate::domain::impact::{ChangeKind, Reason};
use crate::domain::links::Links;
use crate::domain::names::Sha;
use crate::domain::run::{Job, Run, Selection, StepRecord};
use crate::domain::state::{Conclusion, Outcome, RunState};
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::domain::trust::{Approved, Trust};

use super::checks::step_of_check;
use super::report::plan_hash;
use super::{look, trust};

/// GitHub's ids of the check runs that show a run's steps, by `<connector> / <step>`.
pub type CheckRunIds = BTreeMap<String, u64>;

/// Of a head's check runs, oldest first, those that show this run's steps: made for it, whatever they
/// are called; or made for another with whom it shares the commit, and what came of the step.
pub fn check_run_ids(run: &Run, shown: &[ShownCheck]) -> CheckRunIds {
    let run_id = run.id.to_string();
    let of = |check: &ShownCheck| {
        let (connector, step, whose) = step_of_check(&check.name)?;
        Some((format!("{connector} / {step}"), whose.is_some()))
    };
    let mut ids = CheckRunIds::new();
    let others = shown.iter().filter(|check| check.occasion != run_id && check.pull != run.pull);
    for check in others {
        if let Some((step, false)) = of(check) {
            ids.insert(step, check.github_id);
        }
    }
    for check in shown.iter().filter(|check| check.occasion == run_id) {
        ids.extend(of(check).map(|(step, _)| (step, check.github_id)));
    }
    ids
}

/// `/api/v1/runs/{run}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunJson {
    pub id: String,
    pub repository: String,
    pub pull_request: Option<u64>,
    pub head_sha: Sha,
    pub base_sha: Sha,
    pub trigger: Trigger,
    /// On whose word its code runs.
    pub trust: TrustJson,
    pub state: RunState,
    pub conclusion: Option<Conclusion>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub concluded_at: Option<Timestamp>,
    pub superseded_by: Option<String>,
    pub url: String,
    /// The digest of all of its plans: equal plans, equal digests. Absent in lists, and until it is
    /// planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
    /// What planning found; absent in lists, and until it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionJson>,
    /// Who asked for it, or for its end, newest first; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Vec<AuditJson>>,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connectors: Option<Vec<ConnectorJson>>,
}

/// On whose word a run's code runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrustJson {
    pub state: Trust,
    /// A sentence.
    pub because: String,
    /// Absent in lists, and where it runs by none, or by one that is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalJson>,
}

/// Somebody's word for a commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApprovalJson {
    pub actor: String,
    pub at: Timestamp,
    pub route: Route,
    pub head_sha: Sha,
    pub base_ref: String,
    /// Since when it holds no more.
    pub void_at: Option<Timestamp>,
    pub void_because: Option<String>,
}

impl TrustJson {
    pub fn of(run: &Run, approved: Option<&Approved>) -> Self {
        let approval = approved.map(|approved| ApprovalJson {
            actor: approved.actor.clone(),
            at: approved.at,
            route: approved.route,
            head_sha: approved.head_sha.clone(),
            base_ref: approved.base_ref.clone(),
            void_at: approved.void.as_ref().map(|(at, _)| *at),
            void_because: approved.void.as_ref().map(|(_, why)| why.clone()),
        });
        Self { state: run.trust, because: trust::because(run, approved), approval }
    }
}

/// Something that was asked for, and what was decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditJson {
    pub at: Timestamp,
    pub actor: String,
    pub route: Route,
    pub asked: String,
    pub decision: Decision,
    pub because: String,
    /// The runs that it made, or asked to end.
    pub runs: Vec<RunId>,
}

impl From<&AuditRecord> for AuditJson {
    fn from(record: &AuditRecord) -> Self {
        Self {
            at: record.at,
            actor: record.actor.clone(),
            route: record.route,
            asked: record.asked.clone(),
            decision: record.ruling.decision,
            because: record.ruling.because.clone(),
            runs: record.runs.clone(),
        }
    }
}

/// What became of the change's files, and of connectors that are not run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelectionJson {
    pub complete: bool,
    pub because: Option<String>,
    pub files: usize,
    pub ignored: usize,
    pub unclaimed: Vec<String>,
    pub unclaimed_selects: Option<bool>,
    pub removed: Vec<String>,
    pub archived: Vec<String>,
    pub without_pipeline: Vec<String>,
    /// How many connectors of the head the change does not reach.
    pub not_selected: usize,
    pub origin: String,
    pub notes: Vec<String>,
}

/// One connector of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectorJson {
    pub name: String,
    pub root: String,
    pub change: ChangeKind,
    pub version: Option<String>,
    pub language: Option<String>,
    pub release_stage: Option<String>,
    pub support_level: Option<String>,
    pub documentation_url: Option<String>,
    pub state: RunState,
    pub conclusion: Option<Conclusion>,
    pub reasons: Vec<Reason>,
    /// Where its report is, once it is concluded.
    pub report_url: Option<String>,
    pub steps: Vec<StepJson>,
}

/// One step of a connector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepJson {
    pub id: String,
    /// `waiting`, `running`, `finished` or `skipped`.
    pub state: &'static str,
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
    pub exit_code: Option<i64>,
    pub attempt: u32,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// When it finished, or was skipped.
    pub finished_at: Option<Timestamp>,
    pub cache: CacheJson,
    pub log_url: String,
    pub url: String,
    pub check_run_id: Option<u64>,
}

/// Whether a step's outcome was reused; `off` with no reason while that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheJson {
    pub state: &'static str,
    pub key: Option<String>,
    pub because: Option<String>,
}

impl CacheJson {
    pub fn of(step: &StepRecord) -> Self {
        match &step.facts.cache {
            Some(facts) => Self {
                state: facts.state.as_str(),
                key: facts.key.clone(),
                because: Some(facts.because.clone()),
            },
            None => Self { state: "off", key: None, because: None },
        }
    }
}

/// An error's answer: `{"error": {code, message, mend}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorJson {
    pub error: ErrorBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
    pub mend: String,
}

impl ErrorJson {
    pub fn new(
        code: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { error: ErrorBody { code: code.into(), message: message.into(), mend: mend.into() } }
    }
}

/// One run with its connectors and steps.
pub fn run(run: &Run, links: &Links, checks: &CheckRunIds) -> RunJson {
    let connectors = run.jobs.iter().map(|job| connector(run, job, links, checks)).collect();
    let selection = run.selection.as_ref().map(selection);
    let hash = || plan_hash(run.jobs.iter().map(|job| &job.plan));
    let plan_hash = run.selection.is_some().then(hash);
    RunJson { plan_hash, selection, connectors: Some(connectors), ..listed(run, links) }
}

/// One run as it stands in a list.
pub fn listed(run: &Run, links: &Links) -> RunJson {
    RunJson {
        id: run.id.to_string(),
        repository: run.repository.name.to_string(),
        pull_request: run.pull,
        head_sha: run.head_sha.clone(),
        base_sha: run.base_sha.clone(),
        trigger: run.trigger,
        trust: TrustJson::of(run, None),
        state: run.state,
        conclusion: run.conclusion,
        created_at: run.created_at,
        started_at: run.started_at,
        concluded_at: run.concluded_at,
        superseded_by: run.superseded_by.map(|newer| newer.to_string()),
        url: links.run(run.id),
        plan_hash: None,
        selection: None,
        audit: None,
        connectors: None,
    }
}

fn selection(found: &Selection) -> SelectionJson {
    SelectionJson {
        complete: found.complete,
        because: found.because.clone(),
        files: found.files,
        ignored: found.ignored,
        unclaimed: found.unclaimed.clone(),
        unclaimed_selects: found.unclaimed_selects,
        removed: found.removed.clone(),
        archived: found.archived.clone(),
        without_pipeline: found.without_pipeline.clone(),
        not_selected: found.not_selected(),
        origin: found.origin.clone(),
        notes: found.notes.clone(),
    }
}

/// One connector of a run, as in the run and in its events.
pub fn connector(run: &Run, job: &Job, links: &Links, checks: &CheckRunIds) -> ConnectorJson {
    let about = job.plan.about();
    ConnectorJson {
        name: job.connector.to_string(),
        root: job.plan.root().to_owned(),
        change: job.change,
        version: job.plan.version().map(str::to_owned),
        language: about.language().map(str::to_owned),
        release_stage: about.release_stage().map(str::to_owned),
        support_level: about.support_level().map(str::to_owned),
        documentation_url: about.documentation().map(str::to_owned),
        state: job.state,
        conclusion: job.conclusion,
        reasons: job.reasons.clone(),
        report_url: job.concluded_at.map(|_| links.report(run.id, &job.connector)),
        steps: job.steps.iter().map(|record| step(run, job, record, links, checks)).collect(),
    }
}

/// One step, as in the run and in its events.
pub fn step(
    run: &Run,
    job: &Job,
    step: &StepRecord,
    links: &Links,
    checks: &CheckRunIds,
) -> StepJson {
    StepJson {
        id: step.id.to_string(),
        state: step.state.as_str(),
        outcome: step.state.outcome(),
        reason: look::reason(step),
        exit_code: step.facts.exit_code,
        attempt: step.attempt,
        queued_at: step.queued_at,
        started_at: look::started_at(step),
        finished_at: look::settled_at(step),
        cache: CacheJson::of(step),
        log_url: links.log(run.id, &job.connector, &step.id),
        url: links.step(run.id, &job.connector, &step.id),
        check_run_id: checks.get(&super::checks::step_check_name(job, step)).copied(),
    }
}
