//! Opening, closing and changing pull requests.

#![expect(clippy::unused_async, reason = "everything that acts is async, as what pushes must be")]

use serde_json::json;

use super::{home, no_repository};
use crate::api::OpenPull;
use crate::error::Error;
use crate::events::Deed;
use crate::git;
use crate::simulator::Simulator;
use crate::world::{Merge, Pull, PullSize};

impl Simulator {
    /// Opens a pull request and sends `pull_request.opened`; its number.
    pub async fn open_pull_request(&self, repository: &str, open: OpenPull) -> Result<u64, Error> {
        let (base, head, folder, pull) = self.new_pull(repository, &open)?;
        let number = pull.number;
        self.fetch_head(base, number, head, &pull.head_sha).await?;
        let size = git::size(&folder, &pull.base_sha, &pull.head_sha).await;
        let mut world = self.inner.world();
        home(&mut world, base)?.pulls.insert(number, Pull { size, ..pull });
        self.inner.emit_pull(
            &mut world,
            Deed::new("opened", base, &open.author),
            number,
            json!({}),
        );
        Ok(number)
    }

    fn new_pull(
        &self,
        repository: &str,
        open: &OpenPull,
    ) -> Result<(u64, u64, std::path::PathBuf, Pull), Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        world.meet(&open.author);
        let id = world.id();
        let head_name = open.fork.as_deref().unwrap_or(repository);
        let head = world.repository(head_name).ok_or_else(|| no_repository(head_name))?;
        let no_branch =
            |name: &str, branch: &str| Error::NotFound(format!("branch {name}:{branch}"));
        let head_sha = head
            .branches
            .get(&open.head)
            .cloned()
            .ok_or_else(|| no_branch(head_name, &open.head))?;
        let (head_id, head_owner) = (head.id, head.owner.clone());
        let base = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let base_sha = base
            .branches
            .get(&open.base)
            .cloned()
            .ok_or_else(|| no_branch(repository, &open.base))?;
        let number = base.next_number;
        base.next_number += 1;
        let pull = Pull {
            id,
            number,
            title: open.title.clone(),
            body: Some(open.body.clone()).filter(|body| !body.is_empty()),
            author: open.author.clone(),
            draft: open.draft,
            open: true,
            merged: false,
            locked: false,
            head_repository: Some(head_id),
            head_owner,
            head_branch: open.head.clone(),
            head_sha,
            base_branch: open.base.clone(),
            base_sha,
            created_at: now,
            updated_at: now,
            closed_at: None,
            size: PullSize::default(),
            merge: Merge::Unknown,
        };
        Ok((base.id, head_id, base.folder.clone(), pull))
    }

    /// Closes without merging: `pull_request.closed`.
    pub async fn close_pull_request(
        &self,
        repository: &str,
        number: u64,
        user: &str,
    ) -> Result<(), Error> {
        let now = self.inner.clock.now();
        self.change_pull((repository, number), user, "closed", |pull| {
            pull.open = false;
            pull.closed_at = Some(now);
        })
    }

    /// Merges with a merge commit: moves the base branch, sends `push` and
    /// `pull_request.closed` with `merged: true`. Answers the merge commit.
    pub async fn merge_pull_request(
        &self,
        repository: &str,
        number: u64,
        user: &str,
    ) -> Result<String, Error> {
        let (id, folder, pull, tip) = {
            let world = self.inner.world();
            let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
            let pull = found.pulls.get(&number).filter(|pull| pull.open);
            let pull = pull.ok_or_else(|| no_pull(repository, number))?.clone();
            let blockers = found.blockers(&pull.base_branch, &pull.head_sha);
            if !blockers.is_empty() {
                return Err(Error::Refused(format!("a merge needs more: {}", blockers.join(", "))));
            }
            let tip = found.branches.get(&pull.base_branch).cloned().unwrap_or_default();
            (found.id, found.folder.clone(), pull, tip)
        };
        let merged = git::test_merge(&folder, &tip, &pull.head_sha).await;
        let sha =
            merged.ok_or_else(|| Error::Refused("the pull request has conflicts".to_owned()))?;
        let reference = format!("refs/heads/{}", pull.base_branch);
        git::text(&folder, &["update-ref", &reference, &sha]).await?;
        let message = format!("Merge pull request #{number}");
        let push = crate::api::Commit::new(&message, user, Vec::new());
        self.pushed((id, &pull.base_branch), Some(&tip), &sha, &push).await?;
        let now = self.inner.clock.now();
        self.change_pull((repository, number), user, "closed", |pull| {
            pull.open = false;
            pull.merged = true;
            pull.closed_at = Some(now);
            pull.merge = Merge::Clean(sha.clone());
        })?;
        Ok(sha)
    }

    /// Reopens: `pull_request.reopened`.
    pub async fn reopen_pull_request(
        &self,
        repository: &str,
        number: u64,
        user: &str,
    ) -> Result<(), Error> {
        self.change_pull((repository, number), user, "reopened", |pull| {
            pull.open = true;
            pull.closed_at = None;
        })
    }

    /// Points it at another base branch: `pull_request.edited` with where it pointed before.
    pub async fn retarget_pull_request(
        &self,
        (repository, number): (&str, u64),
        base: &str,
        user: &str,
    ) -> Result<(), Error> {
        let (folder, head, base_sha) = {
            let world = self.inner.world();
            let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
            let pull = found.pulls.get(&number).ok_or_else(|| no_pull(repository, number))?;
            let tip = found.branches.get(base).cloned();
            let tip = tip.ok_or_else(|| Error::NotFound(format!("branch {repository}:{base}")))?;
            (found.folder.clone(), pull.head_sha.clone(), tip)
        };
        let size = git::size(&folder, &base_sha, &head).await;
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        world.meet(user);
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let id = found.id;
        let pull = found.pulls.get_mut(&number).ok_or_else(|| no_pull(repository, number))?;
        let branch = std::mem::replace(&mut pull.base_branch, base.to_owned());
        let sha = std::mem::replace(&mut pull.base_sha, base_sha);
        (pull.size, pull.merge, pull.updated_at) = (size, Merge::Unknown, now);
        let what = json!({ "changes": {
            "base": { "ref": { "from": branch }, "sha": { "from": sha } },
        } });
        self.inner.emit_pull(&mut world, Deed::new("edited", id, user), number, what);
        Ok(())
    }

    /// Ends a draft: `pull_request.ready_for_review`.
    pub async fn ready_for_review(
        &self,
        repository: &str,
        number: u64,
        user: &str,
    ) -> Result<(), Error> {
        self.change_pull((repository, number), user, "ready_for_review", |pull| pull.draft = false)
    }

    /// Makes a draft again: `pull_request.converted_to_draft`.
    pub async fn convert_to_draft(
        &self,
        repository: &str,
        number: u64,
        user: &str,
    ) -> Result<(), Error> {
        self.change_pull((repository, number), user, "converted_to_draft", |pull| pull.draft = true)
    }

    /// Locks the conversation: only writers may comment.
    pub fn lock_conversation(
        &self,
        repository: &str,
        number: u64,
        locked: bool,
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let pull = found.pulls.get_mut(&number);
        pull.ok_or_else(|| no_pull(repository, number))?.locked = locked;
        Ok(())
    }

    fn change_pull(
        &self,
        (repository, number): (&str, u64),
        user: &str,
        action: &str,
        change: impl FnOnce(&mut Pull),
    ) -> Result<(), Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        world.meet(user);
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let id = found.id;
        let pull = found.pulls.get_mut(&number).ok_or_else(|| no_pull(repository, number))?;
        change(pull);
        pull.updated_at = now;
        self.inner.emit_pull(&mut world, Deed::new(action, id, user), number, json!({}));
        Ok(())
    }
}

pub(super) fn no_pull(repository: &str, number: u64) -> Error {
    Error::NotFound(format!("pull request {repository}#{number}"))
}
