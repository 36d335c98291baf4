//! Required checks and the merge queue.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::pulls::no_pull;
use super::{home, no_repository, repository_id};
use crate::api::{Commit, MergeGroup, RequiredCheck};
use crate::error::Error;
use crate::events::Deed;
use crate::git;
use crate::shapes::simple_commit_json;
use crate::simulator::{Inner, Simulator};
use crate::world::{Merge, QueuedGroup, Verdict, World};

/// How long a queue waits for required checks unless it is told otherwise.
const PATIENCE: TimeDelta = TimeDelta::hours(1);

/// The pull requests to merge, and onto what.
struct Plan {
    id: u64,
    folder: std::path::PathBuf,
    base_branch: String,
    /// The base branch's tip, which the group's name tells.
    tip: String,
    /// What the group is built on: the tip, or the group before it.
    base_sha: String,
    heads: Vec<(u64, String)>,
}

impl Simulator {
    /// Demands checks before a merge into a branch.
    pub fn require_checks(
        &self,
        repository: &str,
        branch: &str,
        checks: Vec<RequiredCheck>,
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        found.required.insert(branch.to_owned(), checks);
        Ok(())
    }

    /// What keeps a pull request from being merged, in words; empty when nothing does.
    pub fn merge_blockers(&self, repository: &str, number: u64) -> Result<Vec<String>, Error> {
        let world = self.inner.world();
        let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
        let pull = found.pulls.get(&number).ok_or_else(|| no_pull(repository, number))?;
        Ok(found.blockers(&pull.base_branch, &pull.head_sha))
    }

    /// Puts pull requests into the merge queue as one group: `pull_request.enqueued` for each, a
    /// branch with all of them merged, and `merge_group.checks_requested`. The branch is named
    /// after the last of them.
    pub async fn enqueue(
        &self,
        repository: &str,
        numbers: &[u64],
        user: &str,
    ) -> Result<MergeGroup, Error> {
        let plan = self.plan(repository, numbers, user)?;
        let last = *numbers.last().ok_or_else(|| no_pull(repository, 0))?;
        let mut head_sha = plan.base_sha.clone();
        for (number, head) in &plan.heads {
            let merged = git::test_merge(&plan.folder, &head_sha, head).await;
            head_sha = merged
                .ok_or_else(|| Error::Refused(format!("pull request {number} has conflicts")))?;
        }
        let branch = format!("gh-readonly-queue/{}/pr-{last}-{}", plan.base_branch, plan.tip);
        let reference = format!("refs/heads/{branch}");
        git::text(&plan.folder, &["update-ref", &reference, &head_sha]).await?;
        let group = MergeGroup {
            head_sha: head_sha.clone(),
            head_ref: reference,
            base_sha: plan.base_sha.clone(),
            base_ref: format!("refs/heads/{}", plan.base_branch),
            pull_requests: numbers.to_vec(),
        };
        for (number, _) in &plan.heads {
            let mut world = self.inner.world();
            let deed = Deed::new("enqueued", plan.id, user);
            self.inner.emit_pull(&mut world, deed, *number, json!({}));
        }
        let push = Commit::new(&format!("Merge pull request #{last}"), user, Vec::new());
        self.pushed((plan.id, &branch), None, &head_sha, &push).await?;
        let queued = QueuedGroup {
            group: group.clone(),
            branch,
            base_branch: plan.base_branch,
            by: user.to_owned(),
            deadline: self.inner.clock.now() + PATIENCE,
        };
        let mut world = self.inner.world();
        home(&mut world, plan.id)?.queue.push(queued);
        let what = group_json(&world, plan.id, &group);
        self.inner.emit(
            &mut world,
            "merge_group",
            Deed::new("checks_requested", plan.id, user),
            what,
        );
        Ok(group)
    }

    fn plan(&self, repository: &str, numbers: &[u64], user: &str) -> Result<Plan, Error> {
        let mut world = self.inner.world();
        world.meet(user);
        let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
        let mut heads = Vec::new();
        let mut base_branch = found.default_branch.clone();
        for &number in numbers {
            let pull = found.pulls.get(&number).filter(|pull| pull.open);
            let pull = pull.ok_or_else(|| no_pull(repository, number))?;
            if found.queue.iter().any(|queued| queued.group.pull_requests.contains(&number)) {
                return Err(Error::Refused(format!("pull request {number} is in the queue")));
            }
            base_branch.clone_from(&pull.base_branch);
            heads.push((number, pull.head_sha.clone()));
        }
        let tip = found.branches.get(&base_branch).cloned().unwrap_or_default();
        let before = found.queue.iter().rfind(|queued| queued.base_branch == base_branch);
        let base_sha = before.map_or_else(|| tip.clone(), |queued| queued.group.head_sha.clone());
        let folder = found.folder.clone();
        Ok(Plan { id: found.id, folder, base_branch, tip, base_sha, heads })
    }

    /// How long the queue waits for the groups that are in it now.
    pub fn queue_timeout(&self, repository: &str, from_now: Duration) -> Result<(), Error> {
        let deadline = self.inner.clock.now() + from_now;
        let mut world = self.inner.world();
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        found.queue.iter_mut().for_each(|queued| queued.deadline = deadline);
        Ok(())
    }

    /// Takes a pull request out of the queue, as a person does: its group and those behind it
    /// are destroyed.
    pub async fn dequeue(&self, repository: &str, number: u64, user: &str) -> Result<(), Error> {
        let id = repository_id(&self.inner.world(), repository)?;
        let place = {
            let mut world = self.inner.world();
            world.meet(user);
            let queue = &home(&mut world, id)?.queue;
            queue.iter().position(|queued| queued.group.pull_requests.contains(&number))
        };
        let place = place.ok_or_else(|| no_pull(repository, number))?;
        self.eject(id, place, "MANUAL", "dequeued").await
    }

    /// Lets the queue do what is due: groups whose required checks passed are merged in turn,
    /// those that failed or took too long are ejected, and those behind them as well.
    pub async fn run_merge_queue(&self, repository: &str) -> Result<(), Error> {
        let id = repository_id(&self.inner.world(), repository)?;
        loop {
            let now = self.inner.clock.now();
            let first = {
                let mut world = self.inner.world();
                let found = home(&mut world, id)?;
                let Some(queued) = found.queue.first().cloned() else { return Ok(()) };
                let verdicts = found.verdicts(&queued.base_branch, &queued.group.head_sha);
                let verdicts: Vec<Verdict> = verdicts.into_iter().map(|(_, v)| v).collect();
                (queued, verdicts)
            };
            let (queued, verdicts) = first;
            if verdicts.contains(&Verdict::Failed) {
                self.eject(id, 0, "CI_FAILURE", "dequeued").await?;
            } else if !verdicts.contains(&Verdict::Waiting) {
                self.land(id, &queued).await?;
            } else if queued.deadline <= now {
                let reason = self.inner.choices().overdue_group.clone();
                self.eject(id, 0, "CI_TIMEOUT", &reason).await?;
            } else {
                return Ok(());
            }
        }
    }

    /// Removes a group, with this reason for its pull requests and for itself, and the groups
    /// that were built on it.
    async fn eject(&self, id: u64, place: usize, pull: &str, group: &str) -> Result<(), Error> {
        let removed: Vec<QueuedGroup> =
            home(&mut self.inner.world(), id)?.queue.drain(place..).collect();
        for (nth, queued) in removed.iter().enumerate() {
            let (pull, group) =
                if nth == 0 { (pull, group) } else { ("QUEUE_CLEARED", "invalidated") };
            self.end_group(id, queued, pull, group).await?;
        }
        Ok(())
    }

    /// Moves the base branch to a group whose checks passed.
    async fn land(&self, id: u64, queued: &QueuedGroup) -> Result<(), Error> {
        let now = self.inner.clock.now();
        let (folder, tip) = {
            let mut world = self.inner.world();
            let found = home(&mut world, id)?;
            found.queue.retain(|other| other.branch != queued.branch);
            (found.folder.clone(), found.branches.get(&queued.base_branch).cloned())
        };
        let sha = &queued.group.head_sha;
        git::text(&folder, &["update-ref", &queued.group.base_ref, sha]).await?;
        let push = Commit::new("Merge", &queued.by, Vec::new());
        self.pushed((id, &queued.base_branch), tip.as_deref(), sha, &push).await?;
        self.end_group(id, queued, "MERGE", "merged").await?;
        let mut world = self.inner.world();
        for number in &queued.group.pull_requests {
            if let Some(pull) = home(&mut world, id)?.pulls.get_mut(number) {
                pull.open = false;
                pull.merged = true;
                pull.closed_at = Some(now);
                pull.merge = Merge::Clean(sha.clone());
            }
            let deed = Deed::new("closed", id, &queued.by);
            self.inner.emit_pull(&mut world, deed, *number, json!({}));
        }
        Ok(())
    }

    /// Deletes a group's branch and tells of its end.
    async fn end_group(
        &self,
        id: u64,
        queued: &QueuedGroup,
        pull_reason: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let folder = home(&mut self.inner.world(), id)?.folder.clone();
        // The commit stays readable for those who still look at it.
        git::text(&folder, &["update-ref", "-d", &queued.group.head_ref]).await?;
        let mut world = self.inner.world();
        home(&mut world, id)?.branches.remove(&queued.branch);
        tell_end(&self.inner, &mut world, id, queued, (pull_reason, reason));
        Ok(())
    }
}

fn tell_end(
    inner: &Inner,
    world: &mut World,
    id: u64,
    queued: &QueuedGroup,
    (pull_reason, reason): (&str, &str),
) {
    for number in &queued.group.pull_requests {
        let deed = Deed::new("dequeued", id, &queued.by);
        inner.emit_pull(world, deed, *number, json!({ "reason": pull_reason }));
    }
    let mut what = group_json(world, id, &queued.group);
    what["reason"] = reason.into();
    inner.emit(world, "merge_group", Deed::new("destroyed", id, &queued.by), what);
}

/// The payload: it does not tell which pull requests are in the group.
fn group_json(world: &World, repository: u64, group: &MergeGroup) -> Value {
    let found = world.repositories.get(&repository);
    let head = found.and_then(|found| found.commits.get(&group.head_sha)).map(simple_commit_json);
    json!({ "merge_group": {
        "head_sha": group.head_sha,
        "head_ref": group.head_ref,
        "base_sha": group.base_sha,
        "base_ref": group.base_ref,
        "head_commit": head,
    }})
}
