//! Labels that are commands: `/test`, `/retest source-a`, put on a pull request.

use super::commands::{Commands, Failure};
use crate::domain::command;
use crate::domain::event::Actor;
use crate::store::Handled;

impl Commands<'_> {
    /// Obeys a label as a comment of whoever put it there would be obeyed: its sender is judged for that
    /// command alone, and the code by author and pusher as ever. Nothing is said back: why something is
    /// not done stands in the delivery's record.
    pub(super) async fn label(
        &self,
        pull: u64,
        label: &str,
        (sender, guid): (&Actor, &str),
    ) -> Result<Handled, Failure> {
        let ignored = |why: &str| Ok(Handled::Ignored(why.to_owned()));
        let asked = command::parse(label);
        if asked.is_empty() {
            return ignored("the label is no command");
        }
        if sender.bot {
            return ignored("bots are not obeyed");
        }
        if !self.github.permission(self.repository, &sender.login).await?.may_write() {
            return ignored("the sender may not write");
        }
        let facts = self.github.pull(self.repository, pull).await?;
        let Some(facts) = facts.filter(|facts| facts.open) else {
            return ignored("the pull request is closed");
        };
        if self.store.pull(self.repository.id, pull).await?.is_none() {
            self.store.observe_pull(self.repository, &facts, false).await?;
        }
        let effects = self.effects(&facts, &asked).await?;
        self.press(&facts, sender, &effects, format!("label-{guid}")).await
    }
}
