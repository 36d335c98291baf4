//! Rows as both databases give them, turned into the domain's types.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::error::StoreError;
use crate::domain::ids::RunId;
use crate::domain::lock;
use crate::domain::plan::Plan;
use crate::domain::run::{Job, Repository, Run, StepFacts, StepRecord};
use crate::domain::state::{Outcome, RunState, StepState};
use crate::domain::time::Timestamp;

/// A struct whose fields are the columns of the same names. The driver's own derive macro would
/// build both databases' drivers a second time, for the compiler's own use.
macro_rules! row {
    (pub(super) struct $name:ident { $($vis:vis $field:ident: $type:ty,)* }) => {
        #[derive(Debug)]
        pub(super) struct $name { $($vis $field: $type,)* }

        impl<'r, R: Row> FromRow<'r, R> for $name
        where
            &'static str: ColumnIndex<R>,
            String: Decode<'r, R::Database> + Type<R::Database>,
            Option<String>: Decode<'r, R::Database> + Type<R::Database>,
            i64: Decode<'r, R::Database> + Type<R::Database>,
            Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
        {
            fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Inconsistent(format!("what can't be stored: {error}")))
}

pub(super) fn from_json<T: DeserializeOwned>(column: &str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::Inconsistent(format!("{column}: {error}")))
}

fn optional_json<T: DeserializeOwned>(
    column: &str,
    json: Option<&str>,
) -> Result<Option<T>, StoreError> {
    json.map(|json| from_json(column, json)).transpose()
}

/// A value that is one word in JSON, as that word.
pub(super) fn to_word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(StoreError::Inconsistent("a state that is no word".to_owned())),
    }
}

pub(super) fn from_word<T: DeserializeOwned>(column: &str, word: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word.to_owned()))
        .map_err(|error| StoreError::Inconsistent(format!("{column}: {error}")))
}

pub(super) fn optional_word<T: DeserializeOwned>(
    column: &str,
    word: Option<&str>,
) -> Result<Option<T>, StoreError> {
    word.map(|word| from_word(column, word)).transpose()
}

pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(
    column: &str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Inconsistent(format!("{column}: {error}")))
}

fn optional<T: FromStr<Err: std::fmt::Display>>(
    column: &str,
    text: Option<&str>,
) -> Result<Option<T>, StoreError> {
    text.map(|text| parse(column, text)).transpose()
}

/// GitHub's numbers are never negative.
pub(super) fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn count(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

fn time(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp::from_millis)
}

/// The columns of [`RunRow`], from `runs r join repositories p`.
macro_rules! run_columns {
    () => {
        "r.id, r.repository_id, p.name as repository, p.installation, p.private, r.pull, r.title,
         r.head_ref, r.base_ref, r.head_sha, r.base_sha, r.merge_base, r.triggered_by, r.cause,
         r.actor, r.scope, r.reuse, r.trust, r.kept_under, r.state, r.conclusion, r.problem, r.selection, r.created_at,
         case when r.planned_at is null and r.state = 'queued' then r.planning_error end as awaits,
         r.started_at, r.concluded_at, r.superseded_by, r.cancel, r.revision
         from runs r join repositories p on p.id = r.repository_id"
    };
}

row! {
pub(super) struct RunRow {
    pub(super) id: String,
    repository_id: i64,
    repository: String,
    installation: i64,
    private: i64,
    pull: Option<i64>,
    title: String,
    head_ref: String,
    base_ref: String,
    head_sha: String,
    base_sha: String,
    merge_base: Option<String>,
    triggered_by: String,
    cause: String,
    actor: String,
    scope: String,
    reuse: String,
    trust: String,
    kept_under: Option<String>,
    state: String,
    conclusion: Option<String>,
    problem: Option<String>,
    selection: Option<String>,
    awaits: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    concluded_at: Option<i64>,
    superseded_by: Option<String>,
    cancel: Option<String>,
    revision: i64,
}
}

impl RunRow {
    /// The run, with no jobs yet.
    pub(super) fn run(self) -> Result<Run, StoreError> {
        Ok(Run {
            id: parse("runs.id", &self.id)?,
            repository: Repository {
                id: number(self.repository_id),
                name: parse("repositories.name", &self.repository)?,
                installation: number(self.installation),
                private: self.private != 0,
            },
            pull: self.pull.map(number),
            title: self.title,
            head_ref: self.head_ref,
            base_ref: self.base_ref,
            head_sha: parse("runs.head_sha", &self.head_sha)?,
            base_sha: parse("runs.base_sha", &self.base_sha)?,
            merge_base: optional("runs.merge_base", self.merge_base.as_deref())?,
            trigger: from_word("runs.triggered_by", &self.triggered_by)?,
            cause: self.cause,
            actor: self.actor,
            scope: from_json("runs.scope", &self.scope)?,
            reuse: from_word("runs.reuse", &self.reuse)?,
            trust: from_word("runs.trust", &self.trust)?,
            kept_under: optional("runs.kept_under", self.kept_under.as_deref())?,
            state: from_word("runs.state", &self.state)?,
            conclusion: optional_word("runs.conclusion", self.conclusion.as_deref())?,
            problem: optional_json("runs.problem", self.problem.as_deref())?,
            selection: optional_json("runs.selection", self.selection.as_deref())?,
            created_at: Timestamp::from_millis(self.created_at),
            started_at: time(self.started_at),
            concluded_at: time(self.concluded_at),
            superseded_by: optional::<RunId>("runs.superseded_by", self.superseded_by.as_deref())?,
            cancel: self.cancel,
            awaits: self.awaits,
            revision: self.revision,
            jobs: Vec::new(),
        })
    }
}

macro_rules! job_columns {
    () => {
        "id, run_id, connector, change_kind, reasons, plan, state, conclusion, attempt, epoch,
         created_at, started_at, concluded_at, cancel, revision,
         case when state <> 'concluded' then waits end as waits,
         case when state = 'queued' and lock_key is not null then
            (select '`' || h.connector || '` of '
                || coalesce('#' || cast(r.pull as text), r.head_ref) || ' (' || r.id || ')'
             from jobs h join runs r on r.id = h.run_id
             where h.lock_key = jobs.lock_key and h.state = 'running') end as lock_holder,
         case when state = 'queued' then
            (select min(l.secret) from job_secrets s join secret_locks l on l.secret = s.secret
             where s.job_id = jobs.id and l.job_id <> jobs.id) end as secret,
         case when state = 'queued' then
            (select min('`' || h.connector || '` of '
                || coalesce('#' || cast(r.pull as text), r.head_ref) || ' (' || r.id || ')'
                || case when h.state <> 'concluded' then '' else
                    ', which has ended and not written it back yet'
                    || coalesce(': ' || t.error, '') end)
             from job_secrets s join secret_locks l on l.secret = s.secret
             join jobs h on h.id = l.job_id join runs r on r.id = h.run_id
             left join rotations t on t.secret = l.secret and t.job_id = l.job_id
             where s.job_id = jobs.id and l.job_id <> jobs.id) end as secret_holder"
    };
}

row! {
pub(super) struct JobRow {
    pub(super) id: String,
    pub(super) run_id: String,
    connector: String,
    change_kind: String,
    reasons: String,
    plan: String,
    state: String,
    conclusion: Option<String>,
    attempt: i64,
    epoch: i64,
    created_at: i64,
    started_at: Option<i64>,
    concluded_at: Option<i64>,
    cancel: Option<String>,
    waits: Option<String>,
    lock_holder: Option<String>,
    secret: Option<String>,
    secret_holder: Option<String>,
}
}

impl JobRow {
    pub(super) fn job(self, mut steps: Vec<StepRecord>) -> Result<Job, StoreError> {
        let state: RunState = from_word("jobs.state", &self.state)?;
        let plan: Plan = from_json("jobs.plan", &self.plan)?;
        // True of this moment, and so never stored.
        let lock = plan.lock().zip(self.lock_holder.as_deref());
        let lock = lock.map(|(lock, holder)| lock::waits(lock, holder));
        let secret = self.secret.zip(self.secret_holder);
        let waits = lock
            .or_else(|| secret.map(|(secret, holder)| lock::waits_for_secret(&secret, &holder)));
        if let Some(waits) = waits {
            for step in steps.iter_mut().filter(|step| step.state == StepState::Waiting) {
                step.facts.reason = Some(waits.clone());
            }
        }
        Ok(Job {
            id: parse("jobs.id", &self.id)?,
            connector: parse("jobs.connector", &self.connector)?,
            change: from_word("jobs.change_kind", &self.change_kind)?,
            reasons: from_json("jobs.reasons", &self.reasons)?,
            plan,
            state,
            conclusion: optional_word("jobs.conclusion", self.conclusion.as_deref())?,
            attempt: count(self.attempt),
            epoch: self.epoch,
            created_at: Timestamp::from_millis(self.created_at),
            started_at: time(self.started_at),
            concluded_at: time(self.concluded_at),
            cancel: self.cancel,
            awaits: self.waits,
            steps,
        })
    }
}

macro_rules! step_columns {
    () => {
        "job_id, id, state, outcome, skipped, started_at, finished_at, attempt, queued_at, reason,
         facts"
    };
}

row! {
pub(super) struct StepRow {
    pub(super) job_id: String,
    id: String,
    state: String,
    outcome: Option<String>,
    skipped: Option<String>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    attempt: i64,
    queued_at: i64,
    reason: Option<String>,
    facts: String,
}
}

impl StepRow {
    pub(super) fn record(self) -> Result<StepRecord, StoreError> {
        let state = self.state()?;
        let facts: StepFacts = from_json("steps.facts", &self.facts)?;
        Ok(StepRecord {
            id: parse("steps.id", &self.id)?,
            state,
            attempt: count(self.attempt),
            queued_at: Timestamp::from_millis(self.queued_at),
            facts: StepFacts { reason: self.reason, ..facts },
        })
    }

    fn state(&self) -> Result<StepState, StoreError> {
        let finished_at = time(self.finished_at);
        match (self.state.as_str(), time(self.started_at), finished_at) {
            ("waiting", _, _) => Ok(StepState::Waiting),
            ("running", Some(started_at), _) => Ok(StepState::Running { started_at }),
            ("finished", Some(started_at), Some(finished_at)) => {
                let word = self.outcome.as_deref().unwrap_or_default();
                let outcome: Outcome = from_word("steps.outcome", word)?;
                Ok(StepState::Finished { started_at, finished_at, outcome })
            }
            ("skipped", _, Some(at)) => {
                let json = self.skipped.as_deref().unwrap_or_default();
                Ok(StepState::Skipped { at, reason: from_json("steps.skipped", json)? })
            }
            (state, _, _) => Err(StoreError::Inconsistent(format!(
                "steps.state: `{state}` of step {} without its times",
                self.id
            ))),
        }
    }
}

/// A step's state as its columns: state, outcome, skipped, `started_at`, `finished_at`.
pub(super) struct StateColumns {
    pub(super) state: &'static str,
    pub(super) outcome: Option<&'static str>,
    pub(super) skipped: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

pub(super) fn state_columns(state: &StepState) -> Result<StateColumns, StoreError> {
    let word = state.as_str();
    let outcome = state.outcome().map(Outcome::as_str);
    let (skipped, started_at, finished_at) = match state {
        StepState::Waiting => (None, None, None),
        StepState::Running { started_at } => (None, Some(*started_at), None),
        StepState::Finished { started_at, finished_at, .. } => {
            (None, Some(*started_at), Some(*finished_at))
        }
        StepState::Skipped { at, reason } => (Some(to_json(reason)?), None, Some(*at)),
    };
    Ok(StateColumns { state: word, outcome, skipped, started_at, finished_at })
}
