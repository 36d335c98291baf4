//! What people ask for is done once and written down in one transaction: who, when, by which way,
//! what, and what was decided.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Store;
use super::approvals::{self, ApprovalOrder};
use super::cancels::{Stopped, cancel};
use super::comments;
use super::error::StoreError;
use super::pool::Tx;
use super::pulls::see_repository;
use super::rows::{from_word, number, parse, to_word};
use super::runs::{Created, NewRun, make};
use super::settle::raise_head;
use crate::domain::audit::{AuditRecord, Route, Ruling};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// Something that somebody asked for.
#[derive(Debug, Clone)]
pub struct Act {
    pub repository: Repository,
    pub pull: Option<u64>,
    /// The commit that it is about, if that is known.
    pub head: Option<Sha>,
    pub actor: String,
    pub route: Route,
    /// Within the repository, what is asked for twice under one cause is done once.
    pub cause: String,
    /// As a command says it.
    pub asked: String,
}

/// What is to be done about it, all or nothing.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// If nothing comes of it, nothing else is done either.
    pub approval: Option<ApprovalOrder>,
    pub cancels: Vec<CancelOrder>,
    pub run: Option<NewRun>,
    /// Where nothing is done to any run, the record stands with this one, as there is no pull request to
    /// stand with.
    pub about: Option<RunId>,
}

/// A run that is to end, or some connectors of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelOrder {
    pub run: RunId,
    /// `None`: all of it.
    pub connectors: Option<Vec<ConnectorName>>,
    pub why: String,
}

/// What came of the orders.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Did anything come of the approval that was asked for, or taken back?
    pub approved: Option<bool>,
    pub stopped: Vec<(RunId, Stopped)>,
    pub made: Option<Created>,
}

impl Done {
    fn runs(&self) -> BTreeSet<RunId> {
        let stopped = self.stopped.iter().filter(|(_, stopped)| !stopped.is_nothing());
        let made = match self.made {
            Some(Created::Fresh(run) | Created::Exists(run)) => Some(run),
            Some(Created::Outdated) | None => None,
        };
        stopped.map(|(run, _)| *run).chain(made).collect()
    }
}

macro_rules! audit_columns {
    () => {
        "a.cause, a.at, a.actor, a.route, a.asked, a.decision, a.because, a.pull, a.head_sha
         from audit a"
    };
}

statements! {
    WRITE = sql!(
        "insert into audit (repository_id, cause, at, actor, route, asked, decision, because, pull,
            head_sha)
         values ($1, $2, ", now!(), ", $3, $4, $5, $6, $7, $8, $9)"
    );
    WRITE_RUN = sql!(
        "insert into audit_runs (run_id, repository_id, cause) values ($1, $2, $3)
         on conflict do nothing"
    );
    AMEND = sql!(
        "update audit set decision = $3, because = $4 where repository_id = $1 and cause = $2
            and (decision <> $3 or because <> $4)"
    );
    BY_CAUSE = sql!("select ", audit_columns!(), " where a.repository_id = $1 and a.cause = $2");
    OF_PULL = sql!(
        "select ", audit_columns!(), " where a.repository_id = $1 and a.pull = $2
         order by a.at desc, a.cause desc limit $3"
    );
    OF_RUN = sql!(
        "select ", audit_columns!(), " join audit_runs r on r.repository_id = a.repository_id
            and r.cause = a.cause
         where a.repository_id = $1 and r.run_id = $2 order by a.at desc, a.cause desc limit $3"
    );
    RUNS_OF = sql!(
        "select run_id from audit_runs where repository_id = $1 and cause = $2 order by run_id"
    );
    FORGET = sql!("delete from audit where at < ", now!(), " - $1");
}

/// Cause, at, actor, route, asked, decision, because, pull, head.
type Columns = (String, i64, String, String, String, String, String, Option<i64>, Option<String>);

/// The most records that a page or an answer shows.
const SHOWN: u32 = 50;

impl Store {
    /// Carries out what was asked for, has it judged by what came of it, and writes that down: all
    /// in one transaction, once for each cause. Answers what was written down, now or before.
    pub async fn obey(
        &self,
        act: &Act,
        orders: &Orders,
        judge: &(dyn Fn(&Done) -> Ruling + Send + Sync),
    ) -> Result<AuditRecord, StoreError> {
        retried!(self.obey_once(act, orders, judge))
    }

    async fn obey_once(
        &self,
        act: &Act,
        orders: &Orders,
        judge: &(dyn Fn(&Done) -> Ruling + Send + Sync),
    ) -> Result<AuditRecord, StoreError> {
        let mut tx = self.begin().await?;
        // Also locks the repository's row: who handles the same act waits here.
        see_repository(&mut tx, &act.repository).await?;
        let repository = act.repository.id;
        if let Some(known) = by_cause(&mut tx, repository, &act.cause).await? {
            return Ok(known);
        }
        let mut done = Done::default();
        let mut heads = BTreeSet::new();
        if let Some(approval) = &orders.approval {
            done.approved = Some(approvals::carry_out(&mut tx, act, approval).await?);
        }
        let in_vain = done.approved == Some(false);
        for order in orders.cancels.iter().filter(|_| !in_vain) {
            let connectors = order.connectors.as_deref();
            let run = order.run.to_string();
            let (stopped, head) = cancel(&mut tx, &run, connectors, &order.why).await?;
            heads.extend(head);
            done.stopped.push((order.run, stopped));
        }
        if let Some(run) = orders.run.as_ref().filter(|_| !in_vain) {
            done.made = Some(make(&mut tx, run, &mut heads).await?);
        }
        write(&mut tx, act, &judge(&done)).await?;
        let mut runs = done.runs();
        if runs.is_empty() {
            runs.extend(orders.about);
        }
        for run in runs {
            tx.execute(WRITE_RUN, args![run, repository, act.cause.as_str()]).await?;
        }
        let record = by_cause(&mut tx, repository, &act.cause).await?;
        // In order, and last: no lock is asked for while one of these is held.
        for head in heads {
            raise_head(&mut tx, head).await?;
        }
        tx.commit().await?;
        record.ok_or_else(|| StoreError::Inconsistent(format!("{} is missing", act.cause)))
    }

    /// What was decided about this before.
    pub async fn audited(
        &self,
        repository: u64,
        cause: &str,
    ) -> Result<Option<AuditRecord>, StoreError> {
        let mut tx = self.snapshot().await?;
        by_cause(&mut tx, repository, cause).await
    }

    /// Something turned out later: the record says so, and the comment that asked for it is owed another
    /// answer. False if the record says so already.
    pub async fn amend_audit(
        &self,
        repository: u64,
        (cause, comment): (&str, Option<u64>),
        ruling: &Ruling,
    ) -> Result<bool, StoreError> {
        retried!(self.amend_once(repository, (cause, comment), ruling))
    }

    async fn amend_once(
        &self,
        repository: u64,
        (cause, comment): (&str, Option<u64>),
        ruling: &Ruling,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let args = args![repository, cause, ruling.decision.as_str(), ruling.because.as_str()];
        let is_new = tx.execute(AMEND, args).await? > 0;
        if let Some(comment) = comment.filter(|_| is_new) {
            comments::amended(&mut tx, repository, comment).await?;
        }
        tx.commit().await?;
        Ok(is_new)
    }

    /// The latest about a pull request, newest first.
    pub async fn audit_of_pull(
        &self,
        repository: u64,
        pull: u64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows = tx.all(OF_PULL, args![repository, pull, SHOWN]).await?;
        records(&mut tx, repository, rows).await
    }

    /// The latest that made this run, or asked it to end; newest first.
    pub async fn audit_of_run(
        &self,
        repository: u64,
        run: RunId,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows = tx.all(OF_RUN, args![repository, run, SHOWN]).await?;
        records(&mut tx, repository, rows).await
    }

    pub(super) async fn forget_audit(&self, older_than: Duration) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET, args![older_than]).await.map(drop)
    }
}

async fn write(tx: &mut Tx<'_>, act: &Act, ruling: &Ruling) -> Result<(), StoreError> {
    let row = args![
        act.repository.id,
        act.cause.as_str(),
        act.actor.as_str(),
        to_word(&act.route)?,
        act.asked.as_str(),
        ruling.decision.as_str(),
        ruling.because.as_str(),
        act.pull,
        act.head.as_ref(),
    ];
    tx.execute(WRITE, row).await.map(drop)
}

async fn by_cause(
    tx: &mut Tx<'_>,
    repository: u64,
    cause: &str,
) -> Result<Option<AuditRecord>, StoreError> {
    let row: Option<Columns> = tx.one(BY_CAUSE, args![repository, cause]).await?;
    Ok(records(tx, repository, row.into_iter().collect()).await?.pop())
}

async fn records(
    tx: &mut Tx<'_>,
    repository: u64,
    rows: Vec<Columns>,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let runs: Vec<(String,)> = tx.all(RUNS_OF, args![repository, row.0.as_str()]).await?;
        let runs = runs.iter().map(|(run,)| parse("audit_runs.run_id", run));
        records.push(record(row, runs.collect::<Result<_, _>>()?)?);
    }
    Ok(records)
}

fn record(row: Columns, runs: Vec<RunId>) -> Result<AuditRecord, StoreError> {
    let (cause, at, actor, route, asked, decision, because, pull, head) = row;
    let decision = from_word("audit.decision", &decision)?;
    Ok(AuditRecord {
        cause,
        at: Timestamp::from_millis(at),
        actor,
        route: from_word("audit.route", &route)?,
        asked,
        ruling: Ruling { decision, because },
        pull: pull.map(number),
        head: head.map(|head| parse("audit.head_sha", &head)).transpose()?,
        runs,
    })
}
