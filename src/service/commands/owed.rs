//! What turned out otherwise than comments were answered, and could not be said when it did: GitHub was
//! away, there was no room in its limits, or the process ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::comments::Room;
use super::{Commands, Failure};
use crate::config::server::Served;
use crate::domain::recovery::{WINDOW, wait_after};
use crate::github::{Github, Retry};
use crate::store::{Hold, Owed, Store, StoreError};

/// Between two looks, and after a first try in vain; the pause doubles with each.
pub const PERIOD: Duration = Duration::from_mins(1);
/// So often GitHub says that something is not there before that is believed.
const MISSED: u32 = 4;

/// Says again what comments are owed.
#[derive(Debug, Clone)]
pub struct Answers {
    pub store: Store,
    pub github: Arc<Github>,
    pub served: Arc<Served>,
}

impl Answers {
    /// Looks once.
    pub async fn pass(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let owed = self.store.owed_answers(WINDOW).await?;
        if owed.is_empty() {
            return Ok(());
        }
        let withdrawn: BTreeSet<u64> = self.store.withdrawn().await?.into_iter().collect();
        for one in owed {
            let repository = &one.repository;
            if stop.is_cancelled() {
                return Ok(());
            }
            if withdrawn.contains(&repository.id) || !self.served.serves(&repository.name) {
                continue;
            }
            // What is not said when we are to stop is owed still.
            if let Some(said) = stop.run_until_cancelled(Box::pin(self.say(&one))).await {
                said?;
            }
        }
        Ok(())
    }

    async fn say(&self, owed: &Owed) -> Result<(), StoreError> {
        let Owed { repository, comment, tries } = owed;
        let (name, comment) = (&repository.name, *comment);
        let Hold::Ours(lease, answer) = self.store.hold_comment(repository.id, comment).await?
        else {
            return Ok(());
        };
        let commands = Commands { store: &self.store, github: &self.github, repository };
        let tries = tries + 1;
        let failure = match commands.say_in_hand(lease, &answer, Room::Asked).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if is_in_vain(&failure, tries) {
            warn!(repository = %name, comment, "what turned out otherwise is never said: {failure}");
            let settled = commands.let_be(lease, answer).await;
            return match settled {
                Err(Failure::Store(error)) => Err(error),
                Err(_) | Ok(()) => Ok(()),
            };
        }
        let pause = match &failure {
            Failure::Budget(wait) | Failure::Unsure(wait) => {
                debug!(repository = %name, comment, "what turned out otherwise is put off: {failure}");
                *wait
            }
            Failure::Github(_) | Failure::Store(_) => {
                warn!(repository = %name, comment, "what turned out otherwise is not said: {failure}");
                wait_after(tries, PERIOD)
            }
        };
        self.store.put_off_answer(lease, pause).await
    }
}

/// Does nothing help any more?
fn is_in_vain(failure: &Failure, tries: u32) -> bool {
    let Failure::Github(error) = failure else { return false };
    if error.is_missing() {
        return tries >= MISSED;
    }
    error.retry() == Retry::Never && !error.may_be_mended()
}
