//! Default branches, their schedules, and the due times of which a run was made.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::Tx;
use super::read;
use super::rows::{from_json, number, parse, to_json};
use super::runs::{NewRun, make};
use super::settle::raise_head;
use crate::domain::health::Past;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::run::{Job, Selection};
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
    // Not what came of no fault of a connector's: a job of which a step could not be carried out, and one
    // that was given up, whose last holder is still named.
    PAST = sql!(
        "select j.connector, j.conclusion, j.concluded_at, j.run_id from jobs j
         join (select id from runs where repository_id = $1
                and triggered_by in ('push', 'schedule') order by id desc limit $2) r
            on r.id = j.run_id
         where j.conclusion in ('success', 'failure') and j.worker is null
            and not exists (select 1 from steps s where s.job_id = j.id and s.outcome = 'errored')
         order by j.run_id desc, j.position limit $3"
    );
    // What the last run knew of the branch; its jobs are those that it has selected.
    KNOWS = sql!(
        "select id, selection from runs
         where repository_id = $1 and triggered_by in ('push', 'schedule') and selection is not null
         order by id desc limit 1"
    );
    SELECTED = sql!("select connector from jobs where run_id = $1");
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
    LAST_OF_BRANCH = sql!(
        "select j.id from runs r join jobs j on j.run_id = r.id
         where r.repository_id = $1 and r.triggered_by in ('push', 'schedule')
            and j.connector = $2 and j.conclusion is not null
         order by r.id desc limit 1"
    );
    PUSHED_ONTO = sql!(
        "select base_sha from runs
         where repository_id = $1 and triggered_by = 'push' and head_sha = $2 and cause = $3
         order by id limit 1"
    );
    LAST_PUSH = sql!(
        "select head_sha from runs
         where repository_id = $1 and triggered_by = 'push' and head_ref = $2
         order by id desc limit 1"
    );
}

type Columns = (i64, String, String, String, Option<String>, i64);

impl Store {
    /// A connector's last job on the default branch that came to its end, however long ago.
    pub async fn last_of_branch(
        &self,
        repository: u64,
        connector: &ConnectorName,
    ) -> Result<Option<Job>, StoreError> {
        let mut tx = self.snapshot().await?;
        let last: Option<(String,)> = tx.one(LAST_OF_BRANCH, args![repository, connector]).await?;
        match last {
            Some((job,)) => read::job(&mut tx, &job).await.map(Some),
            None => Ok(None),
        }
    }

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

    /// What the newest of a default branch's runs came to, newest first: of so many runs, so many jobs.
    /// Connectors that the branch has no more are left out.
    pub async fn past_of_branch(
        &self,
        repository: u64,
        (runs, jobs): (u32, u32),
    ) -> Result<Vec<Past>, StoreError> {
        let mut tx = self.snapshot().await?;
        let mut rows: Vec<(String, String, i64, String)> =
            tx.all(PAST, args![repository, runs, jobs]).await?;
        if let Some(there) = there(&mut tx, repository).await? {
            rows.retain(|(connector, ..)| there.contains(connector));
        }
        let past = rows.into_iter().map(|(connector, conclusion, at, run)| {
            Ok(Past {
                connector: parse("jobs.connector", &connector)?,
                passed: conclusion == "success",
                at: Timestamp::from_millis(at),
                run: parse("jobs.run_id", &run)?,
            })
        });
        past.collect()
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

    /// What the run of a push compares it with, if there is one of this cause already.
    pub async fn pushed_onto(
        &self,
        repository: u64,
        (head, cause): (&Sha, &str),
    ) -> Result<Option<Sha>, StoreError> {
        let row: Option<(String,)> =
            self.inner.main.one(PUSHED_ONTO, args![repository, head, cause]).await?;
        row.map(|(base,)| parse("runs.base_sha", &base)).transpose()
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

/// The connectors of a default branch, by the last run that knew them all.
async fn there(tx: &mut Tx<'_>, repository: u64) -> Result<Option<BTreeSet<String>>, StoreError> {
    let last: Option<(String, String)> = tx.one(KNOWS, args![repository]).await?;
    let Some((run, selection)) = last else { return Ok(None) };
    let selection: Selection = from_json("runs.selection", &selection)?;
    let Some(unselected) = &selection.unselected else { return Ok(None) };
    let mut there: BTreeSet<String> = unselected.names().map(str::to_owned).collect();
    let selected: Vec<(String,)> = tx.all(SELECTED, args![run]).await?;
    there.extend(selected.into_iter().map(|(connector,)| connector));
    for removed in &selection.removed {
        there.remove(removed);
    }
    Ok(Some(there))
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
