//! Asking runs, or some connectors of them, to end.

use super::Store;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::Tx;
use super::rows::parse;
use super::settle::{Extent, Head, changed, raise_head};
use crate::domain::ids::RunId;
use crate::domain::names::ConnectorName;

/// What came of asking a run to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Connectors whose jobs were asked just now, by name. What had ended, or was asked before, is
    /// not among them.
    pub jobs: Vec<ConnectorName>,
    /// It ended before it was planned.
    pub unplanned: bool,
    /// It is not planned yet: these end as soon as it is, if it has them.
    pub noted: Vec<ConnectorName>,
}

impl Stopped {
    /// How many jobs (or unplanned runs) were asked to end.
    pub fn count(&self) -> u64 {
        self.jobs.len() as u64 + u64::from(self.unplanned)
    }

    pub fn is_nothing(&self) -> bool {
        self.count() == 0 && self.noted.is_empty()
    }
}

statements! {
    ASK_JOBS = sql!(
        "update jobs set cancel = $2, revision = -1
         where run_id = $1 and state <> 'concluded' and cancel is null and (supersede = 1 or cast($3 as bigint) = 1)
         returning connector"
    );
    CONNECTORS = sql!("select connector from jobs where run_id = $1 and state <> 'concluded'");
    ASK_JOB = sql!(
        "update jobs set cancel = $2, revision = -1
         where run_id = $1 and connector = $3 and state <> 'concluded' and cancel is null
         returning connector"
    );
    NOTE = sql!(
        "insert into early_cancels (run_id, connector, why) values ($1, $2, $3) on conflict do nothing"
    );
    NOTED = sql!("select connector, why from early_cancels where run_id = $1 order by connector");
    FORGET_NOTED = sql!("delete from early_cancels where run_id = $1");
    END_QUEUED = sql!(
        "update jobs set state = 'concluded', conclusion = 'cancelled',
            concluded_at = ", now!(), ", revision = -1
         where run_id = $1 and state = 'queued' and cancel is not null"
    );
    END_QUEUED_STEPS = sql!(
        "update steps set state = 'finished', outcome = 'cancelled', reason = $2, revision = -1,
            started_at = ", now!(), ", finished_at = ", now!(), "
         where run_id = $1 and state in ('waiting', 'running')
            and job_id in (select id from jobs where run_id = $1 and state = 'concluded')"
    );
    LOCK_RUN = sql!(
        "update runs set cancel = cancel where id = $1 and state <> 'concluded' returning planned_at"
    );
    // Not while some of its jobs go on.
    ASK_RUN = sql!(
        "update runs set cancel = coalesce(cancel, $2),
            superseded_by = coalesce(superseded_by, $3)
         where id = $1 and not exists (select 1 from jobs
            where run_id = $1 and state <> 'concluded' and cancel is null)"
    );
    END_UNPLANNED = sql!(
        "update runs set state = 'concluded', conclusion = 'cancelled', concluded_at = ", now!(), "
         where id = $1 and state <> 'concluded' and planned_at is null"
    );
}

impl Store {
    /// Asks a run (or only these connectors of it, in any case) to end. Unclaimed jobs and unplanned
    /// runs end at once; the holders of others stop and settle. Connectors of a run that is not
    /// planned yet end as soon as it is. Answers how many jobs (or unplanned runs) were asked.
    pub async fn cancel_run(
        &self,
        run: RunId,
        connectors: Option<&[ConnectorName]>,
        why: &str,
    ) -> Result<u64, StoreError> {
        let run = run.to_string();
        retried!(self.cancel_once(&run, connectors, why))
    }

    async fn cancel_once(
        &self,
        run: &str,
        connectors: Option<&[ConnectorName]>,
        why: &str,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let (stopped, head) = cancel(&mut tx, run, connectors, why).await?;
        if let Some(head) = head {
            raise_head(&mut tx, head).await?;
        }
        tx.commit().await?;
        Ok(stopped.count())
    }
}

/// [`Store::cancel_run`] within a transaction, which is to tell the head.
pub(super) async fn cancel(
    tx: &mut Tx<'_>,
    run: &str,
    connectors: Option<&[ConnectorName]>,
    why: &str,
) -> Result<(Stopped, Option<Head>), StoreError> {
    match connectors {
        None => cancel_whole(tx, run, why, None).await,
        Some(connectors) => cancel_some(tx, run, connectors, why).await,
    }
}

/// Asks a run and all of its jobs to end. No head: it had ended before.
pub(super) async fn cancel_whole(
    tx: &mut Tx<'_>,
    run: &str,
    why: &str,
    superseded_by: Option<RunId>,
) -> Result<(Stopped, Option<Head>), StoreError> {
    // `supersede: false`: what such a job began, a new head does not end.
    let ask = || args![run, why, superseded_by.is_none()];
    let mut asked: Vec<(String,)> = tx.all(ASK_JOBS, ask()).await?;
    let open: Option<(Option<i64>,)> = tx.one(LOCK_RUN, args![run]).await?;
    let Some((planned_at,)) = open else { return Ok((Stopped::default(), None)) };
    if planned_at.is_some() && asked.is_empty() {
        // Planned between our two looks: now its jobs are there.
        asked = tx.all(ASK_JOBS, ask()).await?;
    }
    tx.execute(ASK_RUN, args![run, why, superseded_by]).await?;
    let unplanned = planned_at.is_none() && tx.execute(END_UNPLANNED, args![run]).await? > 0;
    let stopped = Stopped { jobs: by_name(&asked)?, unplanned, noted: Vec::new() };
    Ok((stopped, Some(end_queued(tx, run, why).await?)))
}

async fn cancel_some(
    tx: &mut Tx<'_>,
    run: &str,
    connectors: &[ConnectorName],
    why: &str,
) -> Result<(Stopped, Option<Head>), StoreError> {
    let mut jobs = ask(tx, run, connectors, why).await?;
    let open: Option<(Option<i64>,)> = tx.one(LOCK_RUN, args![run]).await?;
    match open {
        None => return Ok((Stopped::default(), None)),
        // Its planner can't settle it before we are done, and then looks for these.
        Some((None,)) => {
            for connector in connectors {
                tx.execute(NOTE, args![run, connector, why]).await?;
            }
            let noted = connectors.to_vec();
            return Ok((Stopped { noted, ..Stopped::default() }, None));
        }
        // Planned between our two looks.
        Some((Some(_),)) if jobs.is_empty() => jobs = ask(tx, run, connectors, why).await?,
        Some((Some(_),)) => {}
    }
    let head = if jobs.is_empty() { None } else { Some(end_queued(tx, run, why).await?) };
    Ok((Stopped { jobs, ..Stopped::default() }, head))
}

/// Asks the jobs of these connectors to end; those that had not been asked.
async fn ask(
    tx: &mut Tx<'_>,
    run: &str,
    connectors: &[ConnectorName],
    why: &str,
) -> Result<Vec<ConnectorName>, StoreError> {
    let open: Vec<(String,)> = tx.all(CONNECTORS, args![run]).await?;
    let named = |(name,): &(String,)| {
        connectors.iter().any(|connector| connector.as_str().eq_ignore_ascii_case(name))
    };
    let mut asked = Vec::new();
    for (connector,) in open.into_iter().filter(named) {
        asked.extend(tx.all(ASK_JOB, args![run, why, connector]).await?);
    }
    by_name(&asked)
}

/// The run is planned now: what was to end before it was.
pub(super) async fn end_noted(tx: &mut Tx<'_>, run: &str) -> Result<(), StoreError> {
    let noted: Vec<(String, String)> = tx.all(NOTED, args![run]).await?;
    for (connector, why) in &noted {
        let connector: ConnectorName = parse("early_cancels.connector", connector)?;
        if !ask(tx, run, &[connector], why).await?.is_empty() {
            end_jobs(tx, run, why).await?;
        }
    }
    if !noted.is_empty() {
        tx.execute(FORGET_NOTED, args![run]).await?;
    }
    Ok(())
}

/// Ends the jobs that nobody holds; the holders of others are woken.
async fn end_queued(tx: &mut Tx<'_>, run: &str, why: &str) -> Result<Head, StoreError> {
    end_jobs(tx, run, why).await?;
    tx.nudge(Topic::Cancels);
    changed(tx, run, Extent::Run).await
}

async fn end_jobs(tx: &mut Tx<'_>, run: &str, why: &str) -> Result<(), StoreError> {
    tx.execute(END_QUEUED, args![run]).await?;
    tx.execute(END_QUEUED_STEPS, args![run, why]).await.map(drop)
}

fn by_name(connectors: &[(String,)]) -> Result<Vec<ConnectorName>, StoreError> {
    let mut names = connectors
        .iter()
        .map(|(name,)| parse("jobs.connector", name))
        .collect::<Result<Vec<ConnectorName>, _>>()?;
    names.sort();
    Ok(names)
}
