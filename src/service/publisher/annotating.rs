//! Annotations of check runs, each once. GitHub appends what it gets: of a request that may have
//! arrived, what is there is counted before anything is sent again.

use std::time::{Duration, Instant};

use tracing::warn;

use super::{Held, Publisher, Trouble};
use crate::ambient;
use crate::domain::check::{ANNOTATIONS_MAX, DesiredCheck};
use crate::domain::ids::CheckId;
use crate::github::Retry;
use crate::store::{Annotated, CheckRecord};

/// GitHub ends what takes it longer than ten seconds: after these, what was sent is there or never
/// will be.
const SETTLED: Duration = Duration::from_secs(15);

/// A check run that looks as desired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    id: CheckId,
    github_id: u64,
    annotated: Annotated,
}

impl Shown {
    pub(super) fn of(record: &CheckRecord, github_id: u64) -> Self {
        Self { id: record.id, github_id, annotated: record.annotated }
    }
}

impl Publisher {
    /// Sends what these check runs lack of their annotations.
    pub(super) async fn annotate(
        &self,
        holder: &mut Held<'_>,
        shown: &[(DesiredCheck, Shown)],
    ) -> Result<(), Trouble> {
        let mut later = None;
        for (desired, shown) in shown {
            match self.annotate_one(holder, desired, *shown).await {
                Err(Trouble::Later(wait)) => later = later.max(Some(wait)),
                done => done?,
            }
        }
        later.map_or(Ok(()), |wait| Err(Trouble::Later(wait)))
    }

    async fn annotate_one(
        &self,
        holder: &mut Held<'_>,
        desired: &DesiredCheck,
        shown: Shown,
    ) -> Result<(), Trouble> {
        let all = desired.annotations.len();
        let mut sent = usize::try_from(self.arrived(holder, shown).await?).unwrap_or(all).min(all);
        for batch in desired.annotations[sent..].chunks(ANNOTATIONS_MAX) {
            let next = sent + batch.len();
            let since = Some(ambient::now());
            self.note(holder, shown, (sent, next), since).await?;
            let repository = &holder.head.repository;
            let told =
                self.github.annotate_check(repository, shown.github_id, desired, batch).await;
            match told {
                Ok(()) => {}
                Err(error) if error.retry() == Retry::Never && !error.may_be_mended() => {
                    warn!(check = desired.name, "annotations refused: {error}");
                    return self.note(holder, shown, (all, all), None).await;
                }
                Err(error) => return Err(error.into()),
            }
            self.note(holder, shown, (next, next), None).await?;
            sent = next;
        }
        Ok(())
    }

    /// How many GitHub has.
    async fn arrived(&self, holder: &mut Held<'_>, shown: Shown) -> Result<u64, Trouble> {
        let Annotated { sent, intended, since } = shown.annotated;
        if intended == sent {
            return Ok(sent);
        }
        let waited = since.map_or(SETTLED, |since| ambient::now().since(since));
        if let Some(left) = SETTLED.checked_sub(waited).filter(|left| !left.is_zero()) {
            return Err(Trouble::Later(left));
        }
        let repository = &holder.head.repository;
        let there = self.github.count_annotations(repository, shown.github_id).await?;
        Ok(there.max(sent))
    }

    /// Writes down how many are sent, and how many about to be; the head is held on.
    async fn note(
        &self,
        holder: &mut Held<'_>,
        shown: Shown,
        (sent, intended): (usize, usize),
        since: Option<crate::domain::time::Timestamp>,
    ) -> Result<(), Trouble> {
        let asked = Instant::now();
        let annotated = Annotated { sent: sent as u64, intended: intended as u64, since };
        self.store.annotate_check(holder.head, shown.id, annotated).await?;
        holder.renewed = asked;
        Ok(())
    }
}
