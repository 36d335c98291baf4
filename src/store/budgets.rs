//! What may be written to GitHub: one budget for an installation, however many processes publish.
//! It is spent in the transaction that stores what it is spent on.

use std::time::Duration;

use super::Store;
use super::checks::{self, CheckRecord, ClaimedHead};
use super::error::StoreError;
use super::pool::Tx;
use super::rows::{count, from_json, number, to_json, to_word};
use crate::domain::budget::{Answer, Budget, Lack, Urgency, Write};
use crate::domain::detail::{Detail, Room};
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// A write that a publisher would make.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub urgency: Urgency,
    /// The check run that it makes; `None`: it changes one.
    pub makes: Option<&'a CheckRecord>,
}

/// How a head is shown, and how many check runs that still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    pub detail: Detail,
    pub wanted: u32,
}

/// Which wishes may be carried out now, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub granted: Vec<bool>,
    /// How long the first of the others has to wait.
    pub wait: Option<Duration>,
}

/// An installation whose limits are exceeded, and for how long it must be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub installation: u64,
    pub wait: Duration,
    /// Refusals in a row.
    pub refusals: u32,
}

statements! {
    OPEN = sql!(
        "insert into budgets (installation, state) values ($1, '{}')
         on conflict (installation) do nothing"
    );
    // An update that changes nothing: whoever else spends waits here.
    LOCK = sql!("update budgets set state = state where installation = $1 returning state, closed_until");
    KEEP = sql!("update budgets set state = $2 where installation = $1");
    READ = sql!("select state, closed_until from budgets where installation = $1");
    CLOSE = sql!(
        "insert into budgets (installation, state, closed_until, refusals)
         values ($1, '{}', ", now!(), " + $2, $3)
         on conflict (installation) do update set refusals = excluded.refusals,
            closed_until = case when budgets.closed_until > excluded.closed_until
                then budgets.closed_until else excluded.closed_until end"
    );
    CLOSED = sql!(
        "select installation, closed_until - now, refusals from budgets, clock
         where closed_until > now"
    );
    STAGE = sql!(
        "update heads set detail = $3, wanted = $4 where repository_id = $1 and head_sha = $2"
    );
    // Of other heads; and which repositories they are of.
    CLAIMED = sql!(
        "select cast(coalesce(sum(h.wanted), 0) as bigint),
            count(distinct case when h.repository_id <> $1 then h.repository_id end)
         from heads h join repositories r on r.id = h.repository_id
         where h.wanted > 0 and r.installation = $3 and r.withdrawn is null
            and not (h.repository_id = $1 and h.head_sha = $2)"
    );
}

impl Store {
    /// Takes of the installation's budget what these writes need, as far as it goes, and stores the
    /// intents of those that make check runs; intents that GitHub never heard of are forgotten.
    pub async fn spend(
        &self,
        head: &ClaimedHead,
        stage: Stage,
        wishes: &[Wish<'_>],
    ) -> Result<Spent, StoreError> {
        let mut tx = self.begin().await?;
        checks::fence(&mut tx, head).await?;
        let installation = head.repository.installation;
        let (mut budget, closed_until) = lock(&mut tx, installation).await?;
        let now = Timestamp::from_millis(tx.now().await?);
        let spent = if closed_until > now {
            let wait = Some(closed_until.since(now));
            Spent { granted: vec![false; wishes.len()], wait }
        } else {
            take(&mut budget, head.repository.id, wishes, now)
        };
        tx.execute(KEEP, args![installation, to_json(&budget)?]).await?;
        checks::intend(&mut tx, head, granted(wishes, &spent)).await?;
        let made = granted(wishes, &spent).filter(|wish| wish.makes.is_some()).count();
        let left = stage.wanted.saturating_sub(u32::try_from(made).unwrap_or(u32::MAX));
        let stage = args![head.repository.id, &head.head_sha, to_word(&stage.detail)?, left];
        tx.execute(STAGE, stage).await?;
        tx.commit().await?;
        Ok(spent)
    }

    /// Takes a reaction or a reply of the installation's budget; how long to wait and for what, if there
    /// is none.
    pub async fn leave_to_answer(
        &self,
        repository: &Repository,
        to: Answer,
    ) -> Result<Option<Lack>, StoreError> {
        let mut tx = self.begin().await?;
        let (mut budget, closed_until) = lock(&mut tx, repository.installation).await?;
        let now = Timestamp::from_millis(tx.now().await?);
        if closed_until > now {
            return Ok(Some(Lack { wait: closed_until.since(now), told_enough: false }));
        }
        let lack = budget.answer(repository.id, to, now).err();
        tx.execute(KEEP, args![repository.installation, to_json(&budget)?]).await?;
        tx.commit().await?;
        Ok(lack)
    }

    /// Counts new content that is made without asking: somebody waits for it.
    pub async fn count_content(&self, installation: u64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let (mut budget, _) = lock(&mut tx, installation).await?;
        budget.count(Timestamp::from_millis(tx.now().await?));
        tx.execute(KEEP, args![installation, to_json(&budget)?]).await?;
        tx.commit().await
    }

    /// GitHub refused for its limits: nobody writes until then, in no process.
    pub async fn close_budget(&self, closed: Closed) -> Result<(), StoreError> {
        let args = args![closed.installation, closed.wait, closed.refusals];
        self.inner.main.execute(CLOSE, args).await.map(drop)
    }

    /// The installations that must be left alone now.
    pub async fn closed_budgets(&self) -> Result<Vec<Closed>, StoreError> {
        let rows: Vec<(i64, i64, i64)> = self.inner.main.all(CLOSED, args![]).await?;
        let closed = rows.into_iter().map(|(installation, wait, refusals)| Closed {
            installation: number(installation),
            wait: Duration::from_millis(number(wait)),
            refusals: count(refusals),
        });
        Ok(closed.collect())
    }
}

fn granted<'s, 'a>(wishes: &'s [Wish<'a>], spent: &'s Spent) -> impl Iterator<Item = &'s Wish<'a>> {
    wishes.iter().zip(&spent.granted).filter(|(_, granted)| **granted).map(|(wish, _)| wish)
}

fn take(budget: &mut Budget, repository: u64, wishes: &[Wish<'_>], now: Timestamp) -> Spent {
    let mut spent = Spent { granted: Vec::with_capacity(wishes.len()), wait: None };
    for wish in wishes {
        let Wish { urgency, makes } = *wish;
        let write = Write { repository, urgency, makes: makes.is_some() };
        let taken = budget.take(write, now);
        spent.granted.push(taken.is_ok());
        spent.wait = spent.wait.or(taken.err());
    }
    if spent.wait.is_none() {
        budget.is_content(repository);
    }
    spent
}

async fn lock(tx: &mut Tx<'_>, installation: u64) -> Result<(Budget, Timestamp), StoreError> {
    let mut row: Option<(String, i64)> = tx.one(LOCK, args![installation]).await?;
    if row.is_none() {
        tx.execute(OPEN, args![installation]).await?;
        row = tx.one(LOCK, args![installation]).await?;
    }
    read(row)
}

fn read(row: Option<(String, i64)>) -> Result<(Budget, Timestamp), StoreError> {
    let (state, closed_until) = row.unwrap_or_else(|| ("{}".to_owned(), 0));
    Ok((from_json("budgets.state", &state)?, Timestamp::from_millis(closed_until)))
}

/// What is left for a head's details this hour, and how many writes could be made at once.
pub(super) async fn room(
    tx: &mut Tx<'_>,
    (repository, installation): (u64, u64),
    head: &crate::domain::names::Sha,
    now: Timestamp,
) -> Result<(Room, u32), StoreError> {
    let (budget, _) = read(tx.one(READ, args![installation]).await?)?;
    let claimed: Option<(i64, i64)> =
        tx.one(CLAIMED, args![repository, head, installation]).await?;
    let (claimed, others) = claimed.unwrap_or_default();
    let room =
        Room { left: budget.left(now), claimed: count(claimed), repositories: 1 + count(others) };
    Ok((room, budget.spare(now)))
}
