//! Comments by people.

#![expect(clippy::unused_async, reason = "everything that acts is async, as what pushes must be")]

use serde_json::json;

use super::no_repository;
use super::pulls::no_pull;
use crate::error::Error;
use crate::events::Deed;
use crate::simulator::Simulator;
use crate::world::{CommentRow, Conversation};

impl Simulator {
    /// Comments on a pull request: `issue_comment.created`. The comment's number.
    pub async fn comment(
        &self,
        repository: &str,
        number: u64,
        user: &str,
        body: &str,
    ) -> Result<u64, Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        world.meet(user);
        let id = world.id();
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        if found.conversation(number).is_none_or(Conversation::is_deleted) {
            return Err(no_pull(repository, number));
        }
        let home = found.id;
        found.comments.insert(
            id,
            CommentRow {
                id,
                number,
                user: user.to_owned(),
                body: body.to_owned(),
                by_app: false,
                created_at: now,
                updated_at: now,
                reactions: Vec::new(),
            },
        );
        self.inner.emit_comment(&mut world, Deed::new("created", home, user), id, json!({}));
        Ok(id)
    }

    /// Edits a comment: `issue_comment.edited` with what it said before.
    pub async fn edit_comment(
        &self,
        repository: &str,
        id: u64,
        user: &str,
        body: &str,
    ) -> Result<(), Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        world.meet(user);
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let home = found.id;
        let comment = found
            .comments
            .get_mut(&id)
            .ok_or_else(|| Error::NotFound(format!("comment {id} in {repository}")))?;
        let before = std::mem::replace(&mut comment.body, body.to_owned());
        comment.updated_at = now;
        let what = json!({ "changes": { "body": { "from": before } } });
        self.inner.emit_comment(&mut world, Deed::new("edited", home, user), id, what);
        Ok(())
    }

    /// Deletes a comment: `issue_comment.deleted`.
    pub async fn delete_comment(&self, repository: &str, id: u64, user: &str) -> Result<(), Error> {
        let mut world = self.inner.world();
        world.meet(user);
        let home = world.repository(repository).ok_or_else(|| no_repository(repository))?.id;
        self.inner.emit_comment(&mut world, Deed::new("deleted", home, user), id, json!({}));
        if let Some(found) = world.repositories.get_mut(&home) {
            found.comments.remove(&id);
        }
        Ok(())
    }
}
