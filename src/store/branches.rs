//! Default branches, their schedules, and the due times of which a run was made.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::error::StoreError;
use super::nudge::Topic;
use super::rows::{from_json, number, parse, to_json};
use super::runs::{NewRun, make};
use super::settle::raise_head;
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;

/// A default branch as it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// GitHub's id.
    pub repository: u64,
    pub name: String,
    pub head: Sha,
    /// The last that could be read of its repository file.
    pub schedules: Vec<Schedule>,
    /// Why the file of `head` could not be read.
    pub problem: Option<String>,
    /// When it is looked at again.
    pub look_at: Timestamp,
}

/// A schedule's due time, taken by whoever writes it down first.
#[derive(Debug, Clone, Copy)]
pub struct DueTime<'a> {
    /// The schedule's [key](Schedule::key).
    pub schedule: &'a str,
    pub at: Timestamp,
}

statements! {
    NOTE = sql!(
        "insert into branches (repository_id, name, head_sha, schedules, problem, look_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (repository_id) do update set name = excluded.name,
            head_sha = excluded.head_sha, schedules = excluded.schedules,
            problem = excluded.problem, look_at = excluded.look_at"
    );
    BRANCHES = sql!(
        "select repository_id, name, head_sha, schedules, problem, look_at from branches
         order by repository_id"
    );
    NAMED = sql!("select name from branches where repository_id = $1");
    LOOK_AGAIN = sql!("update branches set look_at = 0 where repository_id = $1");
    KNOWN = sql!(
        "select schedule, max(due_at) from due_times where repository_id = $1
         group by schedule order by schedule"
    );
    FORGET_SCHEDULE = sql!("delete from due_times where repository_id = $1 and schedule = $2");
    FIRST_SEEN = sql!(
        "insert into due_times (repository_id, schedule, due_at) values ($1, $2, $3)
         on conflict do nothing"
    );
    TAKE = sql!(
        "insert into due_times (repository_id, schedule, due_at, run_id) values ($1, $2, $3, $4)
         on conflict do nothing"
    );
    LAST_PUSH = sql!(
        "select head_sha from runs
         where repository_id = $1 and triggered_by = 'push' and head_ref = $2
         order by id desc limit 1"
    );
}

type Columns = (i64, String, String, String, Option<String>, i64);

impl Store {
    /// Notes a branch. Schedules that are new to it count from `now` on; due times of those that are
    /// gone are forgotten, so that one that comes back is new.
    pub async fn note_branch(&self, branch: &Branch, now: Timestamp) -> Result<(), StoreError> {
        retried!(self.note_branch_once(branch, now))
    }

    async fn note_branch_once(&self, branch: &Branch, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row = args![
            branch.repository,
            branch.name.as_str(),
            &branch.head,
            to_json(&branch.schedules)?,
            branch.problem.as_deref(),
            branch.look_at.as_millis(),
        ];
        tx.execute(NOTE, row).await?;
        let known: Vec<(String, i64)> = tx.all(KNOWN, args![branch.repository]).await?;
        let said: Vec<String> = branch.schedules.iter().map(Schedule::key).collect();
        for (gone, _) in known.iter().filter(|(key, _)| !said.contains(key)) {
            tx.execute(FORGET_SCHEDULE, args![branch.repository, gone.as_str()]).await?;
        }
        let is_new = |key: &&String| !known.iter().any(|(known, _)| known == *key);
        for new in said.iter().filter(is_new) {
            let first = args![branch.repository, new.as_str(), now.as_millis()];
            tx.execute(FIRST_SEEN, first).await?;
        }
        tx.commit().await
    }

    /// Every default branch that was looked at.
    pub async fn branches(&self) -> Result<Vec<Branch>, StoreError> {
        let rows: Vec<Columns> = self.inner.main.all(BRANCHES, args![]).await?;
        rows.into_iter().map(branch).collect()
    }

    /// The default branch's name, as it was when it was last looked at.
    pub async fn default_branch(&self, repository: u64) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = self.inner.main.one(NAMED, args![repository]).await?;
        Ok(row.map(|(name,)| name))
    }

    /// The last due time of each of a repository's schedules, by their keys.
    pub async fn last_due(
        &self,
        repository: u64,
    ) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let rows: Vec<(String, i64)> = self.inner.main.all(KNOWN, args![repository]).await?;
        Ok(rows.into_iter().map(|(key, due)| (key, Timestamp::from_millis(due))).collect())
    }

    /// Has a default branch looked at anew: it moved, or may have.
    pub async fn look_again(&self, repository: u64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(LOOK_AGAIN, args![repository]).await?;
        tx.nudge(Topic::Schedules);
        tx.commit().await
    }

    /// Takes a due time and makes its run, both or neither. `None`: another process took it.
    pub async fn create_due_run(
        &self,
        run: NewRun,
        due: DueTime<'_>,
    ) -> Result<Option<RunId>, StoreError> {
        retried!(self.create_due_run_once(&run, due))
    }

    async fn create_due_run_once(
        &self,
        run: &NewRun,
        due: DueTime<'_>,
    ) -> Result<Option<RunId>, StoreError> {
        let mut tx = self.begin().await?;
        let row = args![run.repository.id, due.schedule, due.at.as_millis(), run.id];
        if tx.execute(TAKE, row).await? == 0 {
            return Ok(None);
        }
        let mut heads = BTreeSet::new();
        make(&mut tx, run, &mut heads).await?;
        for head in heads {
            raise_head(&mut tx, head).await?;
        }
        tx.commit().await?;
        Ok(Some(run.id))
    }

    /// The head of the last push to a branch of which a run is known.
    pub async fn last_pushed(
        &self,
        repository: u64,
        branch: &str,
    ) -> Result<Option<Sha>, StoreError> {
        let row: Option<(String,)> =
            self.inner.main.one(LAST_PUSH, args![repository, branch]).await?;
        row.map(|(head,)| parse("runs.head_sha", &head)).transpose()
    }
}

fn branch(row: Columns) -> Result<Branch, StoreError> {
    let (repository, name, head, schedules, problem, look_at) = row;
    Ok(Branch {
        repository: number(repository),
        name,
        head: parse("branches.head_sha", &head)?,
        schedules: from_json("branches.schedules", &schedules)?,
        problem,
        look_at: Timestamp::from_millis(look_at),
    })
}
