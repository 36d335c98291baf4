//! GitHub's check runs follow our state: desired against acknowledged, published as a diff, as far
//! as the installation's budget goes.

mod annotating;
mod comparing;
mod order;
mod renaming;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use self::order::{Agenda, Write};
use self::shown::{Misnamed, Names, misnamed};
use crate::domain::ids::{CheckId, WorkerId};
use crate::domain::links::Links;
use crate::domain::time::Timestamp;
use crate::github::{Github, GithubError, Retry, Silence};
use crate::render::checks::HEAD_CHECK;
use crate::store::{CheckRecord, ClaimedHead, Closed, Rest, Spent, Store, StoreError};

/// Longer than two calls of GitHub's may take: each intent and acknowledgement renews it.
const TERM: Duration = Duration::from_secs(45);
/// No write to GitHub begins later than this after the last renewal: with all of its attempts it
/// then ends before the lease does.
const FENCE: Duration = Duration::from_secs(22);

/// A head that GitHub refuses for something that can be mended is tried again after a quarter of
/// the time for which it was refused, within these, and for so long.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_mins(5);
const GIVEN_UP: Duration = Duration::from_hours(72);

/// Who has much to tell comes back for so many writes at once.
const AT_ONCE: u64 = 5;
/// A head that waits for its budget is looked at again after this: less may be wanted by then.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// What was told so lately may be missing in a list: GitHub's lists lag behind its writes.
const LAG: Duration = Duration::from_mins(2);
/// What it takes to see what is to be told is taken as a rest, from this on and up to that: a head
/// of thousands of steps must not keep a processor busy.
/// What comes after everything else is looked at again after this.
const SOON: Duration = Duration::from_millis(100);
const BRIEF: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(1);

/// Publishes heads.
#[derive(Clone)]
pub struct Publisher {
    pub store: Store,
    pub github: Arc<Github>,
    pub links: Links,
    pub worker: WorkerId,
}

/// A head in hand.
struct Held<'a> {
    head: &'a ClaimedHead,
    /// When its lease was last asked for, by our own clock.
    renewed: Instant,
}

/// How long GitHub has refused something of a head. What a head itself is old says nothing: it may
/// have waited for days until the App could be told of again.
fn refused_for(head: &ClaimedHead) -> Duration {
    head.refused_since.map_or(Duration::ZERO, |since| head.now.since(since))
}

/// What one pass came to.
struct Told {
    rest: Rest,
    /// GitHub does not take one of the check runs.
    refused: Option<GithubError>,
}

/// What telling the verdict before all else came to.
#[derive(Default)]
struct Verdict {
    /// There was something to tell, and GitHub took it.
    told: bool,
    /// GitHub has the check run no more: it is to be made again.
    lost: bool,
    refused: Option<GithubError>,
}

/// What has become of verdict and names when all else is told.
#[derive(Default)]
struct Before {
    /// GitHub has just been told the verdict, or has refused it: it is not asked twice.
    is_asked: bool,
    /// Of these check runs nothing is told until they may be called otherwise: GitHub would get others
    /// beside them. And for how long.
    held: Vec<(Misnamed, Duration)>,
    /// When names may be changed for which the budget did not go far enough.
    later: Option<Duration>,
    /// GitHub refused something, and is not asked about all that is left ten times a second.
    is_refused: bool,
}

impl Before {
    /// Is it to be told now?
    fn lets(&self, write: &Write) -> bool {
        let Write { desired, record, .. } = write;
        let is_held = |(held, _): &(Misnamed, _)| held.id == record.id || held.name == desired.name;
        let is_told = self.is_asked && desired.name == HEAD_CHECK;
        !is_told && !self.held.iter().any(is_held)
    }

    fn later(&self) -> Option<Duration> {
        self.held.iter().map(|(_, wait)| *wait).chain(self.later).min()
    }
}

/// What GitHub did not take, and why not the last one.
#[derive(Default)]
struct Refused<'w> {
    names: BTreeSet<&'w str>,
    error: Option<GithubError>,
    /// It has one of them no more: that is to be made again.
    lost: bool,
}

impl Publisher {
    /// Brings one head up to date, as far as the budget goes; false when none is due.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        self.share_silences().await?;
        let asked = Instant::now();
        let Some(head) = self.store.claim_head(self.worker, TERM).await? else { return Ok(false) };
        let told = self.publish(&mut Held { head: &head, renewed: asked }).await;
        let (rest, error) = match told {
            Ok(Told { rest, refused }) => (rest, refused),
            Err(Trouble::Store(StoreError::LeaseLost)) => {
                debug!("another publisher has the head");
                return Ok(true);
            }
            Err(Trouble::Store(error)) => {
                // Given back, else nobody publishes this head before the lease ends.
                let soon = Duration::from_secs(1);
                if let Err(again) = self.store.retry_head(head, soon, &error.to_string()).await {
                    debug!("the head comes back when its lease ends: {again}");
                }
                return Err(error.into());
            }
            Err(Trouble::Github(error)) => (Rest::default(), Some(error)),
        };
        match error {
            None => self.store.settle_head(head, rest).await?,
            Some(error) => {
                self.come_back(head, rest, &error).await?;
                self.share_silences().await?;
            }
        }
        Ok(true)
    }

    /// After an error of GitHub's.
    async fn come_back(
        &self,
        head: ClaimedHead,
        rest: Rest,
        error: &GithubError,
    ) -> Result<(), StoreError> {
        let wait = match error.retry() {
            Retry::After(wait) => wait,
            Retry::Unknown => Duration::from_secs(2),
            Retry::Never if error.may_be_mended() && refused_for(&head) < GIVEN_UP => {
                let wait = (refused_for(&head) / 4).clamp(SOONEST, LATEST);
                warn!(head = %head.head_sha, "publishing goes on in {wait:?}: {error}");
                return self.store.refuse_head(head, wait, &error.to_string()).await;
            }
            // Refused for good: said, and tried again only when the head changes or is compared.
            Retry::Never => {
                warn!(head = %head.head_sha, "GitHub refused a check run: {error}");
                return self.store.give_up_head(head, rest, &error.to_string()).await;
            }
        };
        warn!(head = %head.head_sha, "publishing goes on in {wait:?}: {error}");
        self.store.retry_head(head, wait, &error.to_string()).await
    }

    /// When GitHub tells one process to wait, it means all of the installation's.
    async fn share_silences(&self) -> Result<(), StoreError> {
        for Silence { installation, wait, refusals } in self.github.silences() {
            self.store.close_budget(Closed { installation, wait, refusals }).await?;
            self.github.passed_on(installation);
        }
        for Closed { installation, wait, refusals } in self.store.closed_budgets().await? {
            self.github.keep_silent(Silence { installation, wait, refusals });
        }
        Ok(())
    }

    async fn publish(&self, holder: &mut Held<'_>) -> Result<Told, Trouble> {
        let head = holder.head;
        let Names { wrong, mut held } = misnamed(head);
        let verdict =
            if wrong.is_empty() { Verdict::default() } else { self.tell_verdict(holder).await? };
        let renamed = self.rename(holder, wrong).await?;
        let is_asked = verdict.told || verdict.refused.is_some();
        let refused = verdict.refused.or(renamed.refused);
        // What is known of the head is not what GitHub shows of it any more.
        if renamed.any || verdict.lost {
            let rest = Rest { again: Some(SOON), ..Rest::default() };
            return Ok(Told { rest, refused });
        }
        held.extend(renamed.held);
        let is_refused = refused.is_some();
        let before = Before { is_asked, held, later: renamed.later, is_refused };
        let told = self.publish_as_named(holder, &before).await?;
        Ok(Told { refused: told.refused.or(refused), ..told })
    }

    /// The same, where names are as they should be, or can't be for now.
    async fn publish_as_named(
        &self,
        holder: &mut Held<'_>,
        before: &Before,
    ) -> Result<Told, Trouble> {
        let head = holder.head;
        let found = self.look_for(head).await?;
        let began = Instant::now();
        let mut agenda = order::agenda(head, &self.links, &found);
        agenda.writes.retain(|write| before.lets(write));
        let change = Some(began.elapsed()).filter(|took| *took > BRIEF);
        let change = change.unwrap_or_default().min(LONG);
        let again = sooner(agenda.later, before.later());
        if agenda.writes.is_empty() {
            let more = self.annotate(holder, agenda.stage, &agenda.standing).await?;
            let again = sooner(again, more);
            return Ok(Told { rest: Rest { change, again }, refused: None });
        }
        let wishes: Vec<_> = agenda.writes.iter().map(Write::wish).collect();
        let asked = Instant::now();
        let spent = self.store.spend(head, agenda.stage, &wishes).await?;
        holder.renewed = asked;
        let again = sooner(again, after(&agenda, &spent));
        let granted = agenda.writes.iter().zip(spent.granted);
        let granted: Vec<&Write> =
            granted.filter(|(_, granted)| *granted).map(|(write, _)| write).collect();
        let Refused { names, error: refused, lost } = self.carry_out(holder, &granted).await?;
        let again = sooner(again, lost.then_some(SOON));
        if spent.wait.is_some() {
            return Ok(Told { rest: Rest { change, again }, refused });
        }
        // Annotations come after all conclusions; but what is refused, as it may be for ever, must
        // not keep them from GitHub, and is not asked about ten times a second.
        let annotates = |write: &&Write| {
            !write.desired.annotations.is_empty() && !names.contains(write.desired.name.as_str())
        };
        let mut lack = granted.iter().any(annotates);
        let (mut more, mut pause) = (None, SOON);
        if refused.is_some() || before.is_refused {
            more = self.annotate(holder, agenda.stage, &agenda.standing).await?;
            pause = SOONEST;
        } else {
            lack = lack || !agenda.standing.is_empty();
        }
        let again = sooner(sooner(again, more), lack.then_some(pause));
        Ok(Told { rest: Rest { change, again }, refused })
    }

    /// The verdict does not wait for names.
    async fn tell_verdict(&self, holder: &mut Held<'_>) -> Result<Verdict, Trouble> {
        let head = holder.head;
        let found = self.look_for(head).await?;
        let mut agenda = order::agenda(head, &self.links, &found);
        agenda.writes.retain(|write| write.desired.name == HEAD_CHECK);
        if agenda.writes.is_empty() {
            return Ok(Verdict::default());
        }
        let wishes: Vec<_> = agenda.writes.iter().map(Write::wish).collect();
        let asked = Instant::now();
        let spent = self.store.spend(head, agenda.stage, &wishes).await?;
        holder.renewed = asked;
        let granted = agenda.writes.iter().zip(spent.granted);
        let granted: Vec<&Write> =
            granted.filter(|(_, granted)| *granted).map(|(write, _)| write).collect();
        let Refused { names, error: refused, lost } = self.carry_out(holder, &granted).await?;
        Ok(Verdict { told: granted.len() > names.len(), lost, refused })
    }

    /// Of the check runs that GitHub may or may not have made, those that it has.
    async fn look_for(&self, head: &ClaimedHead) -> Result<BTreeMap<CheckId, u64>, Trouble> {
        let mut found = BTreeMap::new();
        if order::in_doubt(head) {
            for check in self.github.checks(&head.repository, &head.head_sha).await? {
                let Ok(id) = check.external_id.parse::<CheckId>() else { continue };
                // Twins are possible: the first that was made counts.
                let first = found.entry(id).or_insert(check.id);
                *first = check.id.min(*first);
            }
        }
        Ok(found)
    }

    /// Makes these writes in their order; answers those that GitHub did not take.
    async fn carry_out<'w>(
        &self,
        holder: &mut Held<'_>,
        writes: &[&'w Write],
    ) -> Result<Refused<'w>, Trouble> {
        let mut refused = Refused::default();
        for (index, write) in writes.iter().enumerate() {
            let makes = |write: &&&Write| write.github_id.is_none();
            let next = writes.get(index + 1).filter(makes).map(|write| write.record.id);
            let this = Some(write).filter(makes).map(|write| write.record.id);
            match self.write(holder, write, next).await {
                Err(Trouble::Github(error))
                    if self.has_lost(holder.head, write.at_github(), &error).await? =>
                {
                    warn!(check = write.desired.name, "GitHub has it no more: {error}");
                    self.store.forget_check(holder.head, write.record.id).await?;
                    self.store.pass_over_check(holder.head, None, next).await?;
                    self.store.count_mended("lost", 1).await?;
                    refused.lost = true;
                }
                // One refused check run must not keep the others from GitHub.
                Err(Trouble::Github(error)) if error.retry() == Retry::Never => {
                    warn!(check = write.desired.name, "refused: {error}");
                    self.store.pass_over_check(holder.head, this, next).await?;
                    refused.names.insert(&write.desired.name);
                    refused.error = Some(error);
                }
                Err(Trouble::Github(error)) => {
                    if error.retry() != Retry::Unknown && this.is_some() {
                        self.store.pass_over_check(holder.head, this, None).await?;
                    }
                    return Err(error.into());
                }
                done => done?,
            }
        }
        Ok(refused)
    }

    /// Does GitHub refuse a change since it has the check run no more? It lists the others then. What
    /// was told a moment ago may be unknown to some of its replicas.
    async fn has_lost(
        &self,
        head: &ClaimedHead,
        (id, since): (Option<u64>, Timestamp),
        error: &GithubError,
    ) -> Result<bool, Trouble> {
        let told = head.now.since(since) > LAG;
        let (Some(id), true, GithubError::NotFound { .. }) = (id, told, error) else {
            return Ok(false);
        };
        match self.github.checks(&head.repository, &head.head_sha).await {
            Ok(there) => Ok(there.iter().all(|check| check.id != id)),
            // It is the repository that is missing, or access to it.
            Err(error) if error.retry() == Retry::Never => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(
        &self,
        holder: &mut Held<'_>,
        write: &Write,
        next: Option<CheckId>,
    ) -> Result<(), Trouble> {
        self.fence(holder).await?;
        let Write { desired, record, .. } = write;
        let repository = &holder.head.repository;
        let github_id = match write.github_id {
            Some(github_id) => {
                self.github.update_check(repository, github_id, desired).await?;
                github_id
            }
            None => self.github.create_check(repository, desired, record.id).await?,
        };
        let acknowledged = CheckRecord {
            github_id: Some(github_id),
            digest: Some(desired.digest()),
            completed: desired.is_completed(),
            occasion: desired.occasion.clone(),
            shown: Some(desired.status.word().to_owned()),
            ..record.clone()
        };
        self.acknowledge(holder, &acknowledged, github_id, next).await
    }

    /// Before GitHub is told anything: a process that was frozen, or kept waiting, may have lost the
    /// head to another one, and would make a second check run or write old over new.
    async fn fence(&self, holder: &mut Held<'_>) -> Result<(), Trouble> {
        if holder.renewed.elapsed() > FENCE {
            let asked = Instant::now();
            self.store.extend_head(holder.head).await?;
            holder.renewed = asked;
        }
        Ok(())
    }

    async fn acknowledge(
        &self,
        holder: &mut Held<'_>,
        acknowledged: &CheckRecord,
        github_id: u64,
        next: Option<CheckId>,
    ) -> Result<(), Trouble> {
        let asked = Instant::now();
        match self.store.acknowledge_check(holder.head, acknowledged, next).await {
            Err(StoreError::LeaseLost) => {
                self.store.doubt_check(holder.head, acknowledged.id, github_id).await?;
                Err(StoreError::LeaseLost.into())
            }
            done => {
                holder.renewed = asked;
                Ok(done?)
            }
        }
    }
}

/// When to come back for what the budget did not allow: for several writes at once, unless a
/// verdict is among them.
fn after(agenda: &Agenda, spent: &Spent) -> Option<Duration> {
    let wait = spent.wait?;
    let refused = || agenda.writes.iter().zip(&spent.granted).filter(|(_, granted)| !**granted);
    if refused().any(|(write, _)| write.is_first()) {
        return Some(wait.min(LOOK_AGAIN));
    }
    let several = u64::try_from(refused().count()).unwrap_or(AT_ONCE).min(AT_ONCE);
    Some(wait.max(Duration::from_secs(several)).min(LOOK_AGAIN))
}

fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
