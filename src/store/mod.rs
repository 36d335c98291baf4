//! The database: `SQLite` or `PostgreSQL`, one SQL text, every statement prepared on both in a test.
//!
//! What every file here keeps to:
//! - Every write about a job carries the job's `epoch` and `state = 'running'`: a late writer is
//!   refused ([`StoreError::LeaseLost`]). Deliveries, planning and heads have epochs of their own.
//! - The database's clock decides expiry, in SQL, through the view `clock`.
//! - A transaction that changes a run raises its `revision`, stamps the changed jobs and steps
//!   with it, and raises the `version` of the head commit that GitHub is to be told about.
//! - `PostgreSQL` locks in one order — repository, jobs, run, head — and what still deadlocks is
//!   tried again.

#[macro_use]
mod arg;
#[macro_use]
mod pool;
#[macro_use]
mod rows;

mod access;
mod approvals;
mod apps;
mod audit;
mod branches;
mod brought;
mod budgets;
mod cache;
mod cancels;
mod checks;
mod comments;
mod compare;
mod deliveries;
mod error;
mod heads;
mod intake;
mod jobs;
mod logs;
mod maintenance;
mod nudge;
mod open;
mod own;
mod planning;
mod pulls;
mod queue;
mod read;
mod reads;
mod recovery;
mod rotations;
mod runs;
mod settle;
mod takeover;
mod turns;

use std::sync::Arc;

pub use self::access::Withdrawn;
pub use self::approvals::{Approval, ApprovalOrder};
pub use self::apps::{GivenSecret, NewSecret, SAID_EVERY, SecretRow, SecretState, StoredApp};
pub use self::audit::{Act, CancelOrder, Done, Orders};
pub use self::branches::{Branch, DueTime};
pub use self::budgets::{Closed, Spent, Stage, Wish};
pub use self::cache::NewResult;
pub use self::cancels::Stopped;
pub use self::checks::{Annotated, CheckRecord, ClaimedHead, RefusedName};
pub use self::comments::{CommentAnswer, CommentLease, Hold, Owed};
pub use self::compare::{Compared, Comparison};
pub use self::deliveries::{
    ClaimedDelivery, Delivery, DeliveryQuery, DeliveryRow, Due, Handled, HandledAgain, NewDelivery,
    Taken,
};
pub use self::error::StoreError;
pub use self::heads::Rest;
pub use self::jobs::{Beat, Lease, MOST_CLAIMS};
pub use self::logs::LogTail;
use self::nudge::Nudges;
pub use self::nudge::{Nudge, Topic};
pub use self::planning::{NewJob, PlannedRun, PlanningLease};
use self::pool::{Lasting, Pool};
pub use self::pulls::{PullSeen, RepositoryRow};
pub use self::queue::{Queue, Sample};
pub use self::read::{JobLine, RunChanges, RunQuery};
pub use self::recovery::{LogMark, MissingRow};
pub use self::rotations::{NewRotation, Rotation, RotationRow};
pub use self::runs::{Created, NewRun};

/// The database. Cheap to clone; the last clone's end closes it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    main: Pool,
    /// Live log tails: `SQLite`'s second file, or the same `PostgreSQL` database.
    logs: Pool,
    intake: intake::Intake,
    nudges: Nudges,
    /// `PostgreSQL`'s `LISTEN`.
    listener: Option<tokio::task::AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

/// Every statement of every topic by its name, for [`Store::prepare_statements`].
const STATEMENTS: &[&[(&str, pool::Sql)]] = &[
    access::STATEMENTS,
    apps::STATEMENTS,
    approvals::STATEMENTS,
    audit::STATEMENTS,
    branches::STATEMENTS,
    brought::STATEMENTS,
    budgets::STATEMENTS,
    cache::STATEMENTS,
    cancels::STATEMENTS,
    checks::STATEMENTS,
    comments::STATEMENTS,
    compare::STATEMENTS,
    deliveries::STATEMENTS,
    heads::STATEMENTS,
    jobs::STATEMENTS,
    maintenance::STATEMENTS,
    own::STATEMENTS,
    planning::STATEMENTS,
    pulls::STATEMENTS,
    queue::STATEMENTS,
    read::STATEMENTS,
    reads::STATEMENTS,
    recovery::STATEMENTS,
    rotations::STATEMENTS,
    runs::STATEMENTS,
    settle::STATEMENTS,
    takeover::STATEMENTS,
    turns::STATEMENTS,
];

impl Store {
    /// For `/readyz`: can the database be read, and locked for writing?
    pub async fn check(&self) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        tx.commit().await
    }

    /// Resolves when something changed that a loop may wait for (`topic`), or never: a hint over
    /// polling. Register before you query, or a wake-up is lost. `SQLite`: within this process;
    /// `PostgreSQL`: over all of them.
    pub fn nudge(&self, topic: Topic) -> Nudge {
        self.inner.nudges.register(topic)
    }

    /// Has the database prepare every statement of this module; answers how many there are. What
    /// the compiler checks elsewhere (types, columns, syntax of both dialects), a test checks here.
    pub async fn prepare_statements(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for (name, sql) in STATEMENTS.iter().flat_map(|topic| topic.iter()) {
            self.inner.main.prepare(name, *sql).await?;
            count += 1;
        }
        for (name, sql) in logs::STATEMENTS {
            self.inner.logs.prepare(name, *sql).await?;
            count += 1;
        }
        for (name, rows) in [
            ("DELIVERIES", &deliveries::DELIVERIES),
            ("JOBS", &planning::JOBS),
            ("STEPS", &planning::STEPS),
        ] {
            count += self.inner.main.prepare_rows(name, rows).await?;
        }
        Ok(count)
    }

    async fn begin(&self) -> Result<pool::Tx<'_>, StoreError> {
        self.inner.main.begin(&self.inner.nudges, Lasting::AtOnce).await
    }

    /// For what a holder tells of its job, which would be done again. Nobody outside acts on it
    /// before something that lasts at once: GitHub hears of a head that was claimed.
    async fn begin_lightly(&self) -> Result<pool::Tx<'_>, StoreError> {
        self.inner.main.begin(&self.inner.nudges, Lasting::WithTheNext).await
    }

    async fn snapshot(&self) -> Result<pool::Tx<'_>, StoreError> {
        self.inner.main.snapshot(&self.inner.nudges).await
    }
}
