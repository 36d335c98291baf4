//! Heads that were told of lately are compared with what GitHub shows of them: what it lost is made
//! again, what it never heard of is told again, and what turned up late, or has nothing behind it any
//! more, is ended. Nothing of ours stays open for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::order::{self, latest};
use super::{Held, LAG, Publisher, TERM, Trouble};
use crate::domain::check::DesiredCheck;
use crate::domain::detail::Detail;
use crate::domain::ids::CheckId;
use crate::domain::time::Timestamp;
use crate::github::{OwnCheck, OwnChecks, Retry, in_background};
use crate::render::checks::forgotten;
use crate::store::{CheckRecord, ClaimedHead, Compared, Comparison, Stage, StoreError};

/// One process at a time compares; the next one may when this is over.
const LEASE: Duration = Duration::from_secs(90);
/// So many heads, then a rest: a read each, of the thousands that GitHub allows in an hour.
const AT_ONCE: u32 = 20;
/// A head is compared when half of the time is over again for which nothing was told of it, within
/// these; the sooner one, while anything of it is open. A mark of GitHub's makes most of it free.
const SOONEST: Duration = Duration::from_mins(10);
const LATEST: Duration = Duration::from_hours(24);
/// After so long nobody waits for it, and GitHub itself has ended what was open (after 14 days).
const NO_LONGER: Duration = Duration::from_hours(24 * 15);
/// Something could not be ended yet.
const AGAIN: Duration = Duration::from_mins(2);

/// What GitHub shows otherwise than it should.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// Acknowledged, and not what it shows; with whether it shows it as completed.
    untrue: Vec<(CheckId, bool)>,
    lost: Vec<CheckId>,
    /// Twins of ours that are newer than those we know, so that GitHub shows them instead.
    newer: BTreeMap<CheckId, u64>,
    /// Others, and how each should end.
    stray: Vec<(u64, DesiredCheck)>,
    /// Some may not be ended yet.
    later: bool,
}

impl Publisher {
    /// Compares heads that are due; never many at once.
    pub async fn compare(&self) -> anyhow::Result<bool> {
        for _ in 0..AT_ONCE {
            if !self.store.hold("comparing", self.worker, LEASE).await? {
                return Ok(false);
            }
            self.share_silences().await?;
            let asked = Instant::now();
            let claimed = self.store.claim_comparison(self.worker, TERM).await?;
            let Some(comparison) = claimed else { return Ok(false) };
            if !self.compare_claimed(comparison, asked).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// False: GitHub is not to be asked for others now.
    async fn compare_claimed(
        &self,
        comparison: Comparison,
        asked: Instant,
    ) -> anyhow::Result<bool> {
        let Comparison { head, etag, told_at } = comparison;
        let quiet = told_at.map_or(NO_LONGER, |told_at| head.now.since(told_at));
        let next = Some((quiet / 2).clamp(SOONEST, LATEST));
        if quiet >= NO_LONGER {
            self.store.settle_comparison(head, Compared::default()).await?;
            return Ok(true);
        }
        let mut holder = Held { head: &head, renewed: asked };
        let compared = in_background(Box::pin(self.compare_one(&mut holder, etag))).await;
        let (compared, go_on) = match compared {
            Ok(compared) => (Compared { next: compared.next.or(next), ..compared }, true),
            Err(Trouble::Store(StoreError::LeaseLost)) => return Ok(true),
            Err(Trouble::Store(error)) => {
                let later = Compared { next: Some(AGAIN), ..Compared::default() };
                if let Err(again) = self.store.settle_comparison(head, later).await {
                    debug!("the head comes back when its lease ends: {again}");
                }
                return Err(error.into());
            }
            Err(Trouble::Github(error)) => {
                warn!(head = %head.head_sha, "not compared with what GitHub shows: {error}");
                let (wait, others) = match error.retry() {
                    Retry::After(wait) => (wait.max(AGAIN), false),
                    Retry::Unknown => (AGAIN, false),
                    // This one alone is refused.
                    Retry::Never => ((quiet / 2).clamp(SOONEST, LATEST), true),
                };
                (Compared { next: Some(wait), ..Compared::default() }, others)
            }
        };
        match self.store.settle_comparison(head, compared).await {
            Err(StoreError::LeaseLost) => debug!("another publisher has the head"),
            settled => settled?,
        }
        self.share_silences().await?;
        Ok(go_on)
    }

    async fn compare_one(
        &self,
        holder: &mut Held<'_>,
        etag: Option<String>,
    ) -> Result<Compared, Trouble> {
        let head = holder.head;
        let listed = self.github.checks_unless(&head.repository, &head.head_sha, etag.as_deref());
        // What is open as far as anybody knows is looked at each time: else it might seem so for hours. But
        // what GitHub refuses is not asked about so often.
        let open = |listed: &[OwnCheck]| {
            let told = latest(&head.checks);
            let mut told = told.values().filter(|record| record.github_id.is_some());
            let shown = listed.iter().any(|check| !check.completed);
            let open = shown || told.any(|record| !record.completed);
            (open && !order::is_behind(head, &self.links)).then_some(SOONEST)
        };
        let Some(OwnChecks { checks: listed, etag: mark }) = listed.await? else {
            self.store.count_mended("nothing", 1).await?;
            return Ok(Compared { etag, next: open(&[]), ..Compared::default() });
        };
        let wanted = order::wanted(head, &self.links);
        let mut differences = differences(head, &wanted, &listed);
        let again = self.correct(head, &differences).await?;
        // A conclusion that was given up for lack of a permission, say, is tried again.
        let again = again || order::is_behind(head, &self.links);
        differences.later |= !self.end_stray(holder, &differences.stray).await?;
        let well = !again && !differences.later && differences.stray.is_empty();
        if well {
            self.store.count_mended("nothing", 1).await?;
        }
        let next = differences.later.then_some(AGAIN).or_else(|| open(&listed));
        Ok(Compared { next, etag: mark.filter(|_| well), again })
    }

    /// Writes down what GitHub is to be told again; true if that is anything.
    async fn correct(&self, head: &ClaimedHead, found: &Differences) -> Result<bool, StoreError> {
        for (check, completed) in &found.untrue {
            self.store.mistrust_check(head, *check, *completed).await?;
        }
        for check in &found.lost {
            self.store.forget_check(head, *check).await?;
        }
        for (check, twin) in &found.newer {
            self.store.doubt_check(head, *check, *twin).await?;
        }
        let counts = [
            ("untrue", found.untrue.len()),
            ("lost", found.lost.len()),
            ("twin", found.newer.len()),
        ];
        let mut any = false;
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            info!(head = %head.head_sha, what, count, "GitHub shows check runs otherwise");
            self.store.count_mended(what, count as u64).await?;
            any = true;
        }
        Ok(any)
    }

    /// Ends these as far as the budget goes; false if that was not far enough.
    async fn end_stray(
        &self,
        holder: &mut Held<'_>,
        stray: &[(u64, DesiredCheck)],
    ) -> Result<bool, Trouble> {
        let head = holder.head;
        let stage = Stage { detail: head.detail.unwrap_or(Detail::Step), wanted: 0 };
        for (id, check) in stray {
            if self.leave_to_write(holder, stage).await?.is_some() {
                return Ok(false);
            }
            info!(head = %head.head_sha, check = check.name, id, "a check run without a run ends");
            match self.github.update_check(&head.repository, *id, check).await {
                Err(error) if error.retry() == Retry::Never => {
                    warn!(check = check.name, id, "GitHub does not let it be ended: {error}");
                }
                done => {
                    done?;
                    self.store.count_mended("stray", 1).await?;
                }
            }
        }
        Ok(true)
    }
}

/// `listed` are all of ours on the head, read after the records were.
fn differences(
    head: &ClaimedHead,
    wanted: &BTreeMap<String, DesiredCheck>,
    listed: &[OwnCheck],
) -> Differences {
    let last = latest(&head.checks);
    let is_last = |record: &CheckRecord| {
        last.get(record.name.as_str()).is_some_and(|last| last.id == record.id)
    };
    let is_settled =
        |record: &CheckRecord| record.told_at.is_some_and(|told_at| head.now.since(told_at) >= LAG);
    let known: BTreeMap<u64, &CheckRecord> =
        head.checks.iter().filter_map(|record| Some((record.github_id?, record))).collect();
    let ours: BTreeMap<String, &CheckRecord> =
        head.checks.iter().map(|record| (record.id.to_string(), record)).collect();
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for check in listed {
        let id = newest.entry(&check.name).or_default();
        *id = check.id.max(*id);
    }
    let mut found = Differences::default();
    for check in listed {
        if let Some(record) = known.get(&check.id).filter(|record| is_last(record)) {
            let acknowledged = record.digest.is_some() && is_settled(record);
            if acknowledged && record.shown.as_deref() != Some(check.shown.as_str()) {
                found.untrue.push((record.id, check.completed));
            }
            continue;
        }
        let twin = ours.get(&check.external_id);
        let twin = twin.filter(|ours| is_last(ours) && ours.github_id < Some(check.id));
        if let Some(ours) = twin {
            let id = found.newer.entry(ours.id).or_default();
            *id = check.id.max(*id);
            continue;
        }
        // GitHub shows the newest of a name, and merges wait for it.
        let shown = newest.get(check.name.as_str()) == Some(&check.id);
        match wanted.get(&check.name) {
            Some(wanted) if !wanted.is_completed() => found.later |= !check.completed,
            Some(wanted) if !check.completed || shown && check.shown != wanted.status.word() => {
                found.stray.push((check.id, wanted.clone()));
            }
            None if !check.completed => found.stray.push((check.id, ended(head, check))),
            Some(_) | None => {}
        }
    }
    let there: BTreeSet<u64> = listed.iter().map(|check| check.id).collect();
    let absent = last.values().filter(|record| {
        let missing = record.github_id.is_some_and(|id| !there.contains(&id));
        missing && is_settled(record) && wanted.contains_key(&record.name)
    });
    found.lost = absent.map(|record| record.id).collect();
    found.lost.retain(|record| !found.newer.contains_key(record));
    found
}

fn ended(head: &ClaimedHead, check: &OwnCheck) -> DesiredCheck {
    let at = head.runs.last().map_or(Timestamp::from_millis(0), |run| run.created_at);
    forgotten(&check.name, (&head.head_sha, ""), at)
}
