//! Labels that are commands: `/test`, `/retest source-a`, put on a pull request.

use super::commands::{Asker, Commands, Failure, handled};
use crate::domain::audit::Route;
use crate::domain::command;
use crate::domain::event::Actor;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::store::{Act, Handled};

impl Commands<'_> {
    /// Obeys a label as a comment of whoever put it there would be obeyed: its sender is judged for that
    /// command alone, and the code by author and pusher as ever. Nothing is said back: why something is
    /// not done stands in the record.
    pub(super) async fn label(
        &self,
        pull: u64,
        label: &str,
        (sender, written, occasion): (&Actor, Option<Timestamp>, &str),
    ) -> Result<Handled, Failure> {
        let asked = command::parse(label);
        if asked.is_empty() {
            return Ok(Handled::Ignored("the label is no command".to_owned()));
        }
        let act = Act {
            repository: self.repository.clone(),
            pull: Some(pull),
            head: None,
            actor: sender.login.clone(),
            route: Route::Label,
            cause: format!("label-{occasion}"),
            asked: asked.to_string(),
        };
        if let Some(known) = self.store.audited(self.repository.id, &act.cause).await? {
            return Ok(handled(&known));
        }
        let person = Asker { actor: sender, route: Route::Label, written, comment: None };
        Ok(handled(&self.decide(act, &person, (&asked, Trigger::Button)).await?))
    }
}
