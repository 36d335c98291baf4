//! What a built-in step, which runs on a task of its own, has its job's journal do.

use tokio::sync::{mpsc, oneshot};

use super::Journal;
use crate::domain::names::SecretName;
use crate::domain::renewal::{Renewed, WrittenBack};
use crate::domain::secret::JobSecrets;

/// How many may wait; whoever asks waits for the answer anyway.
pub(super) const WAITING: usize = 4;

/// One thing to be done.
pub(super) enum Ask {
    /// To be kept before anything else happens. Answers why it can't be kept out of logs, if it can't.
    Renewed(Renewed, oneshot::Sender<Result<(), String>>),
    /// To be written back now, as far as they were renewed.
    WriteBack(Vec<SecretName>, oneshot::Sender<Vec<WrittenBack>>),
}

pub(super) type Asks = mpsc::Sender<Ask>;

/// Does what is asked until nobody asks any more; once the journal refuses, `refused` ends the step,
/// and whoever waits for an answer gets none.
pub(super) async fn answer<J: Journal>(
    mut asks: mpsc::Receiver<Ask>,
    (journal, secrets): (&J, &JobSecrets),
    refused: impl FnOnce(),
) -> Result<(), J::Error> {
    while let Some(ask) = asks.recv().await {
        if let Err(error) = one(ask, journal, secrets).await {
            refused();
            return Err(error);
        }
    }
    Ok(())
}

async fn one<J: Journal>(ask: Ask, journal: &J, secrets: &JobSecrets) -> Result<(), J::Error> {
    // Nobody who waits any more is nobody to be answered.
    match ask {
        Ask::Renewed(renewed, reply) => {
            journal.renewed(&renewed).await?;
            let secrets = secrets.clone();
            let hidden = tokio::task::spawn_blocking(move || {
                secrets.renew(&renewed.secret, renewed.value.clone())
            });
            let hidden = hidden.await.unwrap_or_else(|error| Err(error.to_string()));
            let _ = reply.send(hidden);
        }
        Ask::WriteBack(names, reply) => {
            let _ = reply.send(journal.write_back(&names).await?);
        }
    }
    Ok(())
}
