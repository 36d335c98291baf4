//! Pushes: a commit, a moved branch, and all that GitHub sends because of it.

use serde_json::{Value, json};

use super::{home, no_repository};
use crate::api::Commit;
use crate::error::Error;
use crate::events::Deed;
use crate::git::{self, NewCommit};
use crate::shapes::simple_commit_json;
use crate::simulator::Simulator;
use crate::world::{CommitFacts, Merge};

/// What a branch pointed at before there was one.
const NOTHING: &str = "0000000000000000000000000000000000000000";

/// A pull request whose head has moved.
struct Moved {
    base: u64,
    number: u64,
    before: String,
}

impl Simulator {
    /// Commits and pushes: moves the branch, sends `push`, `check_suite.requested` (unless the
    /// repository switched that off or the message says `skip-checks: true`) and
    /// `pull_request.synchronize` for the branch's open pull requests, also those from forks.
    pub async fn commit(
        &self,
        repository: &str,
        branch: &str,
        commit: Commit,
    ) -> Result<String, Error> {
        let _one_at_a_time = self.inner.pushing.lock().await;
        let (id, folder, tip, default_tip, scratch) = {
            let mut world = self.inner.world();
            world.meet(&commit.author);
            let scratch = format!("refs/simulator/{}", world.id());
            let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
            let tip = found.branches.get(branch).cloned();
            let default_tip = found.branches.get(&found.default_branch).cloned();
            (found.id, found.folder.clone(), tip, default_tip, scratch)
        };
        let parent = commit.parent.clone().or_else(|| tip.clone()).or(default_tip);
        let new = NewCommit {
            parent: parent.as_deref(),
            author: &commit.author,
            message: &commit.message,
            at: self.inner.clock.now().timestamp(),
            changes: &commit.changes,
        };
        let sha = git::commit(&folder, &scratch, &new).await?;
        git::text(&folder, &["update-ref", "-d", &scratch]).await?;
        if let (Some(tip), false) = (&tip, commit.force)
            && !git::is_ancestor(&folder, tip, &sha).await
        {
            return Err(Error::Refused(format!(
                "the push to {branch} is not a fast-forward; use `force`"
            )));
        }
        git::text(&folder, &["update-ref", &format!("refs/heads/{branch}"), &sha]).await?;
        self.pushed((id, branch), tip.as_deref(), &sha, &commit).await?;
        Ok(sha)
    }

    /// Moves a branch to a commit that is there already, as a forced push does: the same events.
    pub async fn move_branch(
        &self,
        repository: &str,
        branch: &str,
        sha: &str,
        user: &str,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.inner.pushing.lock().await;
        let (id, folder, tip) = {
            let mut world = self.inner.world();
            world.meet(user);
            let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
            (found.id, found.folder.clone(), found.branches.get(branch).cloned())
        };
        git::text(&folder, &["update-ref", &format!("refs/heads/{branch}"), sha]).await?;
        let push = Commit { force: true, ..Commit::new("Move", user, Vec::new()) };
        self.pushed((id, branch), tip.as_deref(), sha, &push).await
    }

    /// Deletes a branch; its open pull requests keep their head.
    pub async fn delete_branch(&self, repository: &str, branch: &str) -> Result<(), Error> {
        let folder = self.git_folder(repository).ok_or_else(|| no_repository(repository))?;
        git::text(&folder, &["update-ref", "-d", &format!("refs/heads/{branch}")]).await?;
        let mut world = self.inner.world();
        if let Some(found) = world.repository_mut(repository) {
            found.branches.remove(branch);
        }
        Ok(())
    }

    pub(crate) async fn pushed(
        &self,
        (id, branch): (u64, &str),
        before: Option<&str>,
        sha: &str,
        commit: &Commit,
    ) -> Result<(), Error> {
        let facts = self
            .know_commit(id, sha)
            .await
            .ok_or_else(|| Error::NotFound(format!("commit {sha}")))?;
        let moved = {
            let now = self.inner.clock.now();
            let mut world = self.inner.world();
            let found = home(&mut world, id)?;
            found.branches.insert(branch.to_owned(), sha.to_owned());
            found.pushed.insert(sha.to_owned(), branch.to_owned());
            found.pushed_at = now;
            let payload = push_payload(branch, before, &facts, commit);
            let deed = Deed::without_action(id, &commit.author);
            self.inner.emit(&mut world, "push", deed, payload);
            self.request_suite(&mut world, id, &facts, &commit.author);
            moved_pulls(&world, id, branch)
        };
        for pull in moved {
            self.synchronize(&pull, id, sha, &commit.author).await?;
        }
        Ok(())
    }

    fn request_suite(
        &self,
        world: &mut crate::world::World,
        id: u64,
        facts: &CommitFacts,
        sender: &str,
    ) {
        let skips = facts.message.lines().any(|line| line.trim() == "skip-checks: true");
        let wanted = world.repositories.get(&id).is_some_and(|found| found.auto_trigger_checks);
        let installed = world
            .installation_of(id)
            .is_some_and(|i| crate::auth::grants(&i.permissions, "checks=write"));
        if skips || !wanted || !installed {
            return;
        }
        let app = world.app.id;
        if let Some((suite, true)) = world.suite(id, app, &facts.sha, self.inner.clock.now()) {
            self.inner.emit_suite(world, Deed::new("requested", id, sender), suite);
        }
    }

    /// Moves a pull request to its branch's new tip.
    async fn synchronize(
        &self,
        pull: &Moved,
        head: u64,
        sha: &str,
        sender: &str,
    ) -> Result<(), Error> {
        self.fetch_head(pull.base, pull.number, head, sha).await?;
        let (folder, base_sha) = {
            let mut world = self.inner.world();
            let found = home(&mut world, pull.base)?;
            let base = found.pulls.get(&pull.number).map(|pull| pull.base_branch.clone());
            let tip = base.and_then(|base| found.branches.get(&base).cloned()).unwrap_or_default();
            (found.folder.clone(), tip)
        };
        let size = git::size(&folder, &base_sha, sha).await;
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        if let Some(row) = home(&mut world, pull.base)?.pulls.get_mut(&pull.number) {
            sha.clone_into(&mut row.head_sha);
            row.base_sha = base_sha;
            row.size = size;
            row.merge = Merge::Unknown;
            row.updated_at = now;
        }
        let what = json!({ "before": pull.before, "after": sha });
        self.inner.emit_pull(
            &mut world,
            Deed::new("synchronize", pull.base, sender),
            pull.number,
            what,
        );
        Ok(())
    }

    /// Brings a head into the base repository as `refs/pull/N/head`.
    pub(crate) async fn fetch_head(
        &self,
        base: u64,
        number: u64,
        head: u64,
        sha: &str,
    ) -> Result<(), Error> {
        let (to, from) = {
            let mut world = self.inner.world();
            (home(&mut world, base)?.folder.clone(), home(&mut world, head)?.folder.clone())
        };
        let reference = format!("refs/pull/{number}/head");
        if base != head {
            let from = from.to_string_lossy().into_owned();
            let refspec = format!("+{sha}:{reference}");
            git::text(&to, &["fetch", "--quiet", "--no-tags", &from, &refspec]).await?;
        }
        git::text(&to, &["update-ref", &reference, sha]).await?;
        self.know_commit(base, sha).await;
        Ok(())
    }
}

fn moved_pulls(world: &crate::world::World, head: u64, branch: &str) -> Vec<Moved> {
    let mut moved = Vec::new();
    for repository in world.repositories.values() {
        for pull in repository.pulls.values() {
            if pull.open && pull.head_repository == Some(head) && pull.head_branch == branch {
                let before = pull.head_sha.clone();
                moved.push(Moved { base: repository.id, number: pull.number, before });
            }
        }
    }
    moved
}

fn push_payload(branch: &str, before: Option<&str>, facts: &CommitFacts, commit: &Commit) -> Value {
    let mut head = simple_commit_json(facts);
    let paths: Vec<&str> = commit.changes.iter().map(|(path, _)| path.as_str()).collect();
    head["distinct"] = true.into();
    head["url"] = format!("https://simulator.invalid/commit/{}", facts.sha).into();
    head["added"] = json!([]);
    head["removed"] = json!([]);
    head["modified"] = json!(paths);
    json!({
        "ref": format!("refs/heads/{branch}"),
        "before": before.unwrap_or(NOTHING),
        "after": facts.sha,
        "created": before.is_none(),
        "deleted": false,
        "forced": commit.force,
        "base_ref": null,
        "compare": format!("https://simulator.invalid/compare/{}", facts.sha),
        "commits": [head],
        "head_commit": head,
        "pusher": { "name": commit.author, "email": facts.author_email },
    })
}
