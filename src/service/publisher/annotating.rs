//! Annotations of check runs, each once. GitHub appends what it gets: of a request that may have
//! arrived, what is there is counted before anything is sent again.

use std::time::{Duration, Instant};

use tracing::warn;

use super::order::Standing;
use super::{Held, Publisher, Trouble, sooner};
use crate::ambient;
use crate::domain::budget::Urgency;
use crate::domain::check::ANNOTATIONS_MAX;
use crate::github::Retry;
use crate::store::{Annotated, Stage, Wish};

/// GitHub ends what takes it longer than ten seconds: after these, what was sent is there or never
/// will be.
const SETTLED: Duration = Duration::from_secs(15);

/// How a check run's annotations are.
enum Sent {
    All,
    /// The next ones may not be sent before this is over.
    Later(Duration),
}

impl Publisher {
    /// Sends what these check runs lack of their annotations, as far as the budget goes; answers
    /// when there is more to be sent.
    pub(super) async fn annotate(
        &self,
        holder: &mut Held<'_>,
        stage: Stage,
        standing: &[Standing],
    ) -> Result<Option<Duration>, Trouble> {
        let mut later = None;
        for one in standing {
            if let Sent::Later(wait) = self.annotate_one(holder, stage, one).await? {
                later = sooner(later, Some(wait));
            }
        }
        Ok(later)
    }

    async fn annotate_one(
        &self,
        holder: &mut Held<'_>,
        stage: Stage,
        standing: &Standing,
    ) -> Result<Sent, Trouble> {
        let Standing { desired, github_id, .. } = standing;
        let all = desired.annotations.len();
        let (arrived, before) = match self.arrived(holder, standing).await? {
            Ok(arrived) => arrived,
            Err(wait) => return Ok(Sent::Later(wait)),
        };
        let of = |sent: usize, intended: usize, since| Annotated {
            sent: sent as u64,
            intended: intended as u64,
            since,
            before: Some(before),
        };
        let mut sent = usize::try_from(arrived).unwrap_or(all).min(all);
        let counted = of(sent, sent, None);
        if standing.annotated.is_uncertain() {
            self.note(holder, standing, counted).await?;
        }
        for batch in desired.annotations[sent..].chunks(ANNOTATIONS_MAX) {
            if let Some(wait) = self.leave_to_write(holder, stage).await? {
                return Ok(Sent::Later(wait));
            }
            let next = sent + batch.len();
            let since = Some(ambient::now());
            self.note(holder, standing, of(sent, next, since)).await?;
            let repository = &holder.head.repository;
            let told = self.github.annotate_check(repository, *github_id, desired, batch).await;
            match told {
                Ok(()) => {}
                Err(error) if error.retry() == Retry::Never && !error.may_be_mended() => {
                    warn!(check = desired.name, "annotations refused: {error}");
                    self.note(holder, standing, of(all, all, None)).await?;
                    return Ok(Sent::All);
                }
                Err(error) => return Err(error.into()),
            }
            self.note(holder, standing, of(next, next, None)).await?;
            sent = next;
        }
        Ok(Sent::All)
    }

    /// Takes one write of the budget; how long to wait, if there is none left.
    pub(super) async fn leave_to_write(
        &self,
        holder: &mut Held<'_>,
        stage: Stage,
    ) -> Result<Option<Duration>, Trouble> {
        let wish = Wish { urgency: Urgency::News, makes: None };
        let asked = Instant::now();
        let spent = self.store.spend(holder.head, stage, &[wish]).await?;
        holder.renewed = asked;
        Ok(spent.wait)
    }

    /// How many GitHub has of this occasion, and of earlier ones; how long it is too early to ask.
    async fn arrived(
        &self,
        holder: &Held<'_>,
        standing: &Standing,
    ) -> Result<Result<(u64, u64), Duration>, Trouble> {
        let Annotated { sent, since, before, .. } = standing.annotated;
        if let Some(before) = before.filter(|_| !standing.annotated.is_uncertain()) {
            return Ok(Ok((sent, before)));
        }
        let waited = since.map_or(SETTLED, |since| ambient::now().since(since));
        if let Some(left) = SETTLED.checked_sub(waited).filter(|left| !left.is_zero()) {
            return Ok(Err(left));
        }
        let repository = &holder.head.repository;
        let there = self.github.count_annotations(repository, standing.github_id).await?;
        Ok(Ok(match before {
            Some(before) => (there.saturating_sub(before).max(sent), before),
            // Of this occasion nothing was sent yet.
            None => (sent, there.saturating_sub(sent)),
        }))
    }

    /// Writes down how many are sent, and how many about to be; the head is held on.
    async fn note(
        &self,
        holder: &mut Held<'_>,
        standing: &Standing,
        annotated: Annotated,
    ) -> Result<(), Trouble> {
        let asked = Instant::now();
        self.store.annotate_check(holder.head, standing.id, annotated).await?;
        holder.renewed = asked;
        Ok(())
    }
}
