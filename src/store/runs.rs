//! Making runs.

use std::collections::BTreeSet;

use super::Store;
use super::cancels::cancel_whole;
use super::compare::group_has_ended;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::Tx;
use super::pulls::{head_seen, see_repository};
use super::rows::{parse, to_json};
use super::settle::{Head, raise_head};
use crate::domain::cache::Reuse;
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::run::{Problem, Repository};
use crate::domain::state::{Conclusion, RunState};
use crate::domain::trigger::{Scope, Trigger};
use crate::domain::trust::Trust;

/// A run to be made. Unique by (repository id, pull, base, head, trigger, cause).
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub repository: Repository,
    pub pull: Option<u64>,
    pub title: String,
    pub head_ref: String,
    pub base_ref: String,
    pub head_sha: Sha,
    pub base_sha: Sha,
    pub trigger: Trigger,
    pub cause: String,
    pub actor: String,
    pub scope: Scope,
    /// Which earlier results it may use.
    pub reuse: Reuse,
    /// On whose word its code runs.
    pub trust: Trust,
    /// Present: the run is made concluded, with this as its reason. Of a stranger's code it says why
    /// it waits for an approval; what may run before that is run.
    pub problem: Option<(Conclusion, Problem)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Fresh(RunId),
    Exists(RunId),
    /// Nothing was made: the pull request was seen with another head since, or the merge group is gone.
    Outdated,
}

statements! {
    CREATE = sql!(
        "insert into runs (id, repository_id, pull, title, head_ref, base_ref, head_sha, base_sha,
            triggered_by, cause, actor, scope, priority, state, conclusion, problem, reuse, kept_under,
            trust, created_at, concluded_at)
         select $1, $2, cast($3 as bigint), $4, $5, $6, $7, $8, $9, $10, $11, $12,
            cast($13 as bigint), $14, $15, $16, $17, $18, $19, now,
            case when $14 = 'concluded' then now end from clock where true
         on conflict do nothing"
    );
    BY_CAUSE = sql!(
        "select id from runs where repository_id = $1 and coalesce(pull, 0) = coalesce($2, 0)
            and base_sha = $3 and head_sha = $4 and triggered_by = $5 and cause = $6"
    );
    OWN_HEAD = sql!("update pulls set own_head = $3 where repository_id = $1 and number = $2");
    LAST_RUN = sql!("update repositories set last_run_at = ", now!(), " where id = $1");
    // Pointed at another base, it is another change. A merge group is tested as it was enqueued,
    // whatever is pushed meanwhile.
    OUTDATED = sql!(
        "select id, head_sha from runs where repository_id = $1 and pull = $2
            and (head_sha <> $3 or base_ref <> $4)
            and state <> 'concluded' and triggered_by <> 'merge_group' order by id"
    );
}

impl Store {
    /// Makes the run (unplanned); a pull request's own asks runs of *another* head of it to cancel
    /// (`superseded by SHA`, `superseded_by`), in one transaction, if its head is still the one that
    /// was seen last (but for jobs whose pipeline says `supersede: false`): between seeing and making, another process may have seen a newer one. A merge
    /// group's, whoever asks for it, is not made once that is gone. A run that exists is left as it is.
    pub async fn create_run(&self, run: NewRun) -> Result<Created, StoreError> {
        retried!(self.create_run_once(&run))
    }

    async fn create_run_once(&self, run: &NewRun) -> Result<Created, StoreError> {
        let mut tx = self.begin().await?;
        let mut heads = BTreeSet::new();
        let made = make(&mut tx, run, &mut heads).await?;
        if made == Created::Outdated {
            return Ok(made);
        }
        // In order, and last: no lock is asked for while one of these is held.
        for head in heads {
            raise_head(&mut tx, head).await?;
        }
        tx.commit().await?;
        Ok(made)
    }
}

/// [`Store::create_run`] within a transaction, which is to tell these heads.
pub(super) async fn make(
    tx: &mut Tx<'_>,
    run: &NewRun,
    heads: &mut BTreeSet<Head>,
) -> Result<Created, StoreError> {
    // Also locks the repository's row: two runs that supersede each other's work wait here.
    see_repository(tx, &run.repository).await?;
    if run.trigger == Trigger::PullRequest
        && let Some(seen) = head_seen(tx, run).await?
        && seen != run.head_sha
    {
        return Ok(Created::Outdated);
    }
    // Its event was told late, or again, or somebody asks for it: what waits for its checks is no more.
    if run.pull.is_none() && !run.trigger.is_of_branch() && group_has_ended(tx, run).await? {
        return Ok(Created::Outdated);
    }
    if let Some(pull) = run.pull.filter(|_| run.trigger == Trigger::PullRequest) {
        tx.execute(OWN_HEAD, args![run.repository.id, pull, &run.head_sha]).await?;
    }
    if !insert(tx, run).await? {
        return Ok(Created::Exists(by_cause(tx, run).await?));
    }
    tx.execute(LAST_RUN, args![run.repository.id]).await?;
    heads.insert(own_head(run));
    // A command's look at the head may be older than the event that moved it: only that event
    // ends the work of other heads.
    if let Some(pull) = run.pull.filter(|_| run.trigger == Trigger::PullRequest) {
        let of_others = args![run.repository.id, pull, &run.head_sha, run.base_ref.as_str()];
        let outdated: Vec<(String, String)> = tx.all(OUTDATED, of_others).await?;
        for (old, head) in outdated {
            let why = if head == run.head_sha.as_str() {
                format!("superseded: it is to be merged into {} now", run.base_ref)
            } else {
                format!("superseded by {}", run.head_sha)
            };
            heads.extend(cancel_whole(tx, &old, &why, Some(run.id)).await?.1);
        }
    }
    for topic in [Topic::Planning, Topic::Runs] {
        tx.nudge(topic);
    }
    Ok(Created::Fresh(run.id))
}

fn own_head(run: &NewRun) -> Head {
    (i64::try_from(run.repository.id).unwrap_or(i64::MAX), run.head_sha.to_string())
}

/// False: there is one of this cause already.
async fn insert(tx: &mut Tx<'_>, run: &NewRun) -> Result<bool, StoreError> {
    let (state, conclusion) = match &run.problem {
        Some((conclusion, _)) if !run.trust.is_guarded() => {
            (RunState::Concluded, Some(conclusion.as_str()))
        }
        Some(_) | None => (RunState::Queued, None),
    };
    let problem = run.problem.as_ref().map(|(_, problem)| to_json(problem)).transpose()?;
    let values = args![
        run.id,
        run.repository.id,
        run.pull,
        run.title.as_str(),
        run.head_ref.as_str(),
        run.base_ref.as_str(),
        &run.head_sha,
        &run.base_sha,
        run.trigger.as_str(),
        run.cause.as_str(),
        run.actor.as_str(),
        to_json(&run.scope)?,
        priority(run),
        state.as_str(),
        conclusion,
        problem,
        run.reuse.as_str(),
        &run.repository.name,
        run.trust.as_str(),
    ];
    Ok(tx.execute(CREATE, values).await? > 0)
}

async fn by_cause(tx: &mut Tx<'_>, run: &NewRun) -> Result<RunId, StoreError> {
    let cause = args![
        run.repository.id,
        run.pull,
        &run.base_sha,
        &run.head_sha,
        run.trigger.as_str(),
        run.cause.as_str(),
    ];
    let found: Option<(String,)> = tx.one(BY_CAUSE, cause).await?;
    let (id,) = found
        .ok_or_else(|| StoreError::Inconsistent(format!("{} is another cause's run", run.id)))?;
    parse("runs.id", &id)
}

/// Lower goes first: who waits at a screen, then pull requests, then what nobody waits for.
fn priority(run: &NewRun) -> i64 {
    match run.trigger {
        Trigger::Comment | Trigger::Button | Trigger::Manual | Trigger::MergeGroup => 0,
        Trigger::PullRequest if !run.actor.ends_with("[bot]") => 1,
        Trigger::PullRequest => 2,
        Trigger::Push => 3,
        Trigger::Schedule => 4,
    }
}
