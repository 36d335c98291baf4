//! Reading runs: the header, its jobs and their steps in a fixed order, with a number of queries
//! that does not depend on how many there are.

use std::collections::BTreeMap;

use super::Store;
use super::arg::Arg;
use super::error::StoreError;
use super::pool::Tx;
use super::rows::{JobRow, RunRow, StepRow, from_word, optional_word, parse};
use crate::domain::ids::{JobId, RunId};
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::{Conclusion, RunState};
use crate::domain::time::Timestamp;

/// Which runs a page or the API asks for; newest first.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    pub repository: Option<RepoName>,
    pub pull: Option<u64>,
    pub head_sha: Option<Sha>,
    pub before: Option<RunId>,
    /// At most this many; 0 means 50.
    pub limit: u32,
    /// Only those of repositories that anybody may see.
    pub public: bool,
}

/// How one of a run's connectors does, as a list of runs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLine {
    pub connector: ConnectorName,
    pub state: RunState,
    pub conclusion: Option<Conclusion>,
    /// A step of it ended by no fault of the connector's.
    pub errored: bool,
}

/// The most that one page gets.
const MOST_RUNS: u32 = 200;
/// Ids of one `in (…)`; what is not filled repeats the last one.
const MANY: usize = 20;
/// Sorts after every run's id in any collation: a ULID begins with at most 7.
const AFTER_ALL: &str = "run_8";

macro_rules! many {
    () => {
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
          $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
    };
}

statements! {
    RUN = sql!("select ", run_columns!(), " where r.id = $1");
    LATEST = sql!("select ", run_columns!(), " where r.id < $1 order by r.id desc limit $2");
    PUBLIC = sql!("select id from repositories where private = 0");
    LATEST_OF_REPOSITORY = sql!(
        "select ", run_columns!(), " where r.repository_id = $3 and r.id < $1
         order by r.id desc limit $2"
    );
    LATEST_OF_PULL = sql!(
        "select ", run_columns!(), " where r.repository_id = $3 and r.pull = $4 and r.id < $1
         order by r.id desc limit $2"
    );
    LATEST_OF_HEAD = sql!(
        "select ", run_columns!(), " where r.head_sha = $3 and r.id < $1
            and (cast($4 as bigint) is null or r.repository_id = $4)
            and (cast($5 as bigint) is null or r.pull = $5) and ($6 = 0 or p.private = 0)
         order by r.id desc limit $2"
    );
    OPEN_OF_PULL = sql!(
        "select ", run_columns!(), " where r.repository_id = $1 and r.pull = $2
            and r.state <> 'concluded' order by r.created_at, r.id"
    );
    // By the database's clock: ids hold that of the host that made them.
    OF_HEAD = sql!(
        "select ", run_columns!(), " where r.head_sha = $2 and r.repository_id = $1
         order by r.created_at, r.id"
    );
    JOBS_OF = sql!(
        "select ", job_columns!(), " from jobs where run_id in ", many!(),
        " order by run_id, connector"
    );
    STEPS_OF = sql!(
        "select ", step_columns!(), " from steps where run_id in ", many!(),
        " order by job_id, position"
    );
    LINES_OF = sql!(
        "select run_id, connector, state, conclusion,
            cast(case when exists (select 1 from steps s
                where s.job_id = jobs.id and s.outcome = 'errored') then 1 else 0 end as bigint)
         from jobs where run_id in ", many!()
    );
    JOB = sql!("select ", job_columns!(), " from jobs where id = $1");
    STEPS_OF_JOB = sql!(
        "select ", step_columns!(), " from steps where job_id = $1 order by position"
    );
    CHANGED_JOBS = sql!(
        "select id from jobs where run_id = $1 and revision > $2 order by connector"
    );
    CHANGED_STEPS = sql!(
        "select s.job_id, s.id from steps s join jobs j on j.id = s.job_id
         where s.run_id = $1 and s.revision > $2 order by j.connector, s.position"
    );
}

/// What changed of a run since a revision: its jobs and steps.
pub type RunChanges = (Run, Vec<JobId>, Vec<(JobId, StepId)>);

impl Store {
    pub async fn run(&self, run: RunId) -> Result<Option<Run>, StoreError> {
        let mut tx = self.snapshot().await?;
        let row = tx.all(RUN, args![run]).await?;
        Ok(assemble(&mut tx, row).await?.pop())
    }

    /// The run as it is, and which jobs and steps changed after this revision: what live events
    /// are made of. Empty lists and the same `revision`: nothing did.
    pub async fn run_since(
        &self,
        run: RunId,
        revision: i64,
    ) -> Result<Option<RunChanges>, StoreError> {
        let mut tx = self.snapshot().await?;
        let row: Vec<RunRow> = tx.all(RUN, args![run]).await?;
        let Some(found) = assemble(&mut tx, row).await?.pop() else { return Ok(None) };
        let jobs: Vec<(String,)> = tx.all(CHANGED_JOBS, args![run, revision]).await?;
        let steps: Vec<(String, String)> = tx.all(CHANGED_STEPS, args![run, revision]).await?;
        let jobs = jobs.iter().map(|(job,)| parse("jobs.id", job)).collect::<Result<_, _>>()?;
        let step = |(job, step): &(String, String)| {
            Ok((parse("steps.job_id", job)?, parse("steps.id", step)?))
        };
        let steps = steps.iter().map(step).collect::<Result<_, StoreError>>()?;
        Ok(Some((found, jobs, steps)))
    }

    pub async fn runs(&self, query: &RunQuery) -> Result<Vec<Run>, StoreError> {
        let Some(repository) = self.repository_of(query).await? else { return Ok(Vec::new()) };
        let mut tx = self.snapshot().await?;
        let rows = latest(&mut tx, query, repository).await?;
        assemble(&mut tx, rows).await
    }

    /// The same runs, without their jobs: what a list can be made of, however large they are.
    pub async fn run_headers(&self, query: &RunQuery) -> Result<Vec<Run>, StoreError> {
        let Some(repository) = self.repository_of(query).await? else { return Ok(Vec::new()) };
        let mut tx = self.snapshot().await?;
        let rows = latest(&mut tx, query, repository).await?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// What is asked about: one repository, or all (`Some(None)`); `None` if there is none of the name.
    async fn repository_of(&self, query: &RunQuery) -> Result<Option<Option<u64>>, StoreError> {
        let Some(name) = &query.repository else { return Ok(Some(None)) };
        let found = self.repository(name).await?;
        Ok(found.filter(|found| !(query.public && found.private)).map(|found| Some(found.id)))
    }

    /// How the connectors of these runs do, by name.
    pub async fn job_lines(
        &self,
        runs: &[RunId],
    ) -> Result<BTreeMap<RunId, Vec<JobLine>>, StoreError> {
        let mut tx = self.snapshot().await?;
        let mut lines: BTreeMap<RunId, Vec<JobLine>> = BTreeMap::new();
        for runs in runs.chunks(MANY) {
            // What is not filled repeats the last one.
            let ids =
                (0..MANY).filter_map(|i| runs.get(i).or(runs.last())).map(Arg::from).collect();
            let found: Vec<(String, String, String, Option<String>, i64)> =
                tx.all(LINES_OF, ids).await?;
            for (run, connector, state, conclusion, errored) in found {
                let line = JobLine {
                    connector: parse("jobs.connector", &connector)?,
                    state: from_word("jobs.state", &state)?,
                    conclusion: optional_word("jobs.conclusion", conclusion.as_deref())?,
                    errored: errored != 0,
                };
                lines.entry(parse("jobs.run_id", &run)?).or_default().push(line);
            }
        }
        for of_run in lines.values_mut() {
            of_run.sort_by(|a, b| a.connector.cmp(&b.connector));
        }
        Ok(lines)
    }

    /// What still runs or waits of a pull request, on any of its heads; oldest first.
    pub async fn open_runs(&self, repository: u64, pull: u64) -> Result<Vec<Run>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows = tx.all(OPEN_OF_PULL, args![repository, pull]).await?;
        assemble(&mut tx, rows).await
    }

    /// The time, by the database's clock.
    pub async fn time(&self) -> Result<Timestamp, StoreError> {
        let mut tx = self.snapshot().await?;
        Ok(Timestamp::from_millis(tx.now().await?))
    }

    /// All runs of a head, oldest first.
    pub async fn runs_of_head(&self, repository: u64, head: &Sha) -> Result<Vec<Run>, StoreError> {
        let mut tx = self.snapshot().await?;
        runs_of_head(&mut tx, repository, head).await
    }
}

async fn latest(
    tx: &mut Tx<'_>,
    query: &RunQuery,
    repository: Option<u64>,
) -> Result<Vec<RunRow>, StoreError> {
    let limit = if query.limit == 0 { 50 } else { query.limit.min(MOST_RUNS) };
    let mut args = match query.before {
        Some(run) => args![run, limit],
        None => args![AFTER_ALL, limit],
    };
    match (&query.head_sha, repository, query.pull) {
        (Some(head), repository, pull) => {
            args.extend(args![head, repository, pull, query.public]);
            tx.all(LATEST_OF_HEAD, args).await
        }
        (None, Some(repository), Some(pull)) => {
            args.extend(args![repository, pull]);
            tx.all(LATEST_OF_PULL, args).await
        }
        (None, Some(repository), None) => {
            args.push(repository.into());
            tx.all(LATEST_OF_REPOSITORY, args).await
        }
        // A pull request's number says nothing without its repository.
        (None, None, _) if query.public => {
            // Among others' they might be hard to find; each repository's own are there at once.
            let public: Vec<(i64,)> = tx.all(PUBLIC, args![]).await?;
            let mut latest: Vec<RunRow> = Vec::new();
            for (repository,) in public {
                let mut args = args.clone();
                args.push(repository.into());
                latest.extend(tx.all(LATEST_OF_REPOSITORY, args).await?);
            }
            latest.sort_by(|a, b| b.id.cmp(&a.id));
            latest.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(latest)
        }
        (None, None, _) => tx.all(LATEST, args).await,
    }
}

pub(super) async fn runs_of_head(
    tx: &mut Tx<'_>,
    repository: u64,
    head: &Sha,
) -> Result<Vec<Run>, StoreError> {
    let rows = tx.all(OF_HEAD, args![repository, head]).await?;
    assemble(tx, rows).await
}

/// A run without its jobs.
pub(super) async fn header(tx: &mut Tx<'_>, run: &str) -> Result<Run, StoreError> {
    let row: Option<RunRow> = tx.one(RUN, args![run]).await?;
    row.ok_or_else(|| StoreError::Inconsistent(format!("{run} is missing")))?.run()
}

pub(super) async fn job(tx: &mut Tx<'_>, job: &str) -> Result<Job, StoreError> {
    let row: Option<JobRow> = tx.one(JOB, args![job]).await?;
    let row = row.ok_or_else(|| StoreError::Inconsistent(format!("{job} is missing")))?;
    let steps: Vec<StepRow> = tx.all(STEPS_OF_JOB, args![job]).await?;
    row.job(steps.into_iter().map(StepRow::record).collect::<Result<_, _>>()?)
}

/// Gives the runs their jobs, and those their steps, keeping the runs' order.
pub(super) async fn assemble(tx: &mut Tx<'_>, rows: Vec<RunRow>) -> Result<Vec<Run>, StoreError> {
    let mut runs = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk: Vec<RunRow> = rows.by_ref().take(MANY).collect();
        let ids = ids(&chunk);
        let mut steps: BTreeMap<String, Vec<StepRecord>> = BTreeMap::new();
        for row in tx.all::<StepRow>(STEPS_OF, ids.clone()).await? {
            steps.entry(row.job_id.clone()).or_default().push(row.record()?);
        }
        let mut jobs: BTreeMap<String, Vec<Job>> = BTreeMap::new();
        for row in tx.all::<JobRow>(JOBS_OF, ids).await? {
            let steps = steps.remove(&row.id).unwrap_or_default();
            jobs.entry(row.run_id.clone()).or_default().push(row.job(steps)?);
        }
        for row in chunk {
            let jobs = jobs.remove(&row.id).unwrap_or_default();
            runs.push(Run { jobs: by_name(jobs), ..row.run()? });
        }
    }
    Ok(runs)
}

/// Databases differ in how they collate names; bytes are the same everywhere.
fn by_name(mut jobs: Vec<Job>) -> Vec<Job> {
    jobs.sort_by(|a, b| a.connector.cmp(&b.connector));
    jobs
}

fn ids(rows: &[RunRow]) -> Vec<Arg> {
    let last = rows.last().map(|row| row.id.as_str()).unwrap_or_default();
    (0..MANY).map(|i| rows.get(i).map_or(last, |row| row.id.as_str()).into()).collect()
}
