//! The source of a job: fetched once, when a step is about to run.

use std::sync::Arc;

use super::{Course, Event};
use crate::engine::Journal;
use crate::exec::{Executor, SourceArchive};

/// The source, and the working folder in it.
pub(super) type Ground = (Arc<SourceArchive>, String);

impl<E: Executor, J: Journal> Course<'_, E, J> {
    /// Has the source fetched before the first step takes a slot. Meanwhile the job goes on with
    /// what needs none.
    pub(super) fn fetch_ground(&mut self) {
        let wanted = !self.stop.is_stopped() && !self.startable().is_empty();
        if self.fetching || self.ground.is_some() || !wanted {
            return;
        }
        self.fetching = true;
        let (job, halt) = (self.job, self.halt.clone());
        self.under_way.push(Box::pin(async move {
            let root = job.plan.root().to_owned();
            tokio::select! {
                biased;
                () = halt.cancelled() => Event::Stop,
                fetched = job.source.fetch() => match fetched {
                    Ok(source) => Event::Ground(Ok(prepared(source, root).await)),
                    Err(why) => Event::Ground(Err(why)),
                },
            }
        }));
    }
}

async fn prepared(source: Arc<SourceArchive>, root: String) -> Ground {
    let (archive, below) = (source.clone(), root.clone());
    let found = tokio::task::spawn_blocking(move || archive.folder_of(&below)).await;
    // An archive that can't be read is met again, and told, where it is used.
    let workdir = match found {
        Ok(Ok(folder)) => folder,
        Ok(Err(_)) | Err(_) => root,
    };
    (source, workdir)
}
