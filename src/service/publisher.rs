//! GitHub's check runs follow our state: desired against acknowledged, published as a diff.

mod annotating;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::ambient;
use crate::domain::check::DesiredCheck;
use crate::domain::ids::{CheckId, WorkerId};
use crate::domain::links::Links;
use crate::github::{Github, GithubError, Retry};
use crate::render::checks;
use crate::store::{Annotated, CheckRecord, ClaimedHead, Store, StoreError};

use self::annotating::Shown;

/// Longer than two calls of GitHub's may take: each intent and acknowledgement renews it.
const TERM: Duration = Duration::from_secs(45);
/// No write to GitHub begins later than this after the last renewal: with all of its attempts it
/// then ends before the lease does.
const FENCE: Duration = Duration::from_secs(22);

/// A head that GitHub refuses for something that can be mended is tried again after a quarter of
/// its age, within these, and for so long.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_mins(5);
const GIVEN_UP: Duration = Duration::from_hours(72);

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

/// What is to be done about one desired check run.
#[derive(Debug, PartialEq, Eq)]
enum Publication<'a> {
    Nothing(&'a CheckRecord, u64),
    /// None of this name and occasion was ever intended.
    Create,
    /// Intended, and never acknowledged: it may or may not exist.
    Resolve(&'a CheckRecord),
    Update(&'a CheckRecord, u64),
}

/// A completed check run can't reliably go back to running, so what runs again gets a new one of
/// the same name; everything else is an update.
fn publication<'a>(desired: &DesiredCheck, last: Option<&'a CheckRecord>) -> Publication<'a> {
    let Some(last) = last else { return Publication::Create };
    let Some(github_id) = last.github_id else { return Publication::Resolve(last) };
    if last.digest.as_deref() == Some(desired.digest().as_str()) {
        return Publication::Nothing(last, github_id);
    }
    let again = last.occasion != desired.occasion || !desired.is_completed();
    if last.completed && again { Publication::Create } else { Publication::Update(last, github_id) }
}

/// Of each name the one that GitHub made last, which is the one it shows; its ids tell, while the
/// clocks of several hosts would not. One of which nothing is known yet comes before all.
fn latest(checks: &[CheckRecord]) -> BTreeMap<&str, &CheckRecord> {
    let age = |record: &CheckRecord| (record.github_id.is_none(), record.github_id);
    let mut latest: BTreeMap<&str, &CheckRecord> = BTreeMap::new();
    for record in checks {
        let known = latest.entry(&record.name).or_insert(record);
        if age(record) >= age(known) {
            *known = record;
        }
    }
    latest
}

/// How long the newest run of a head has been there.
fn age(head: &ClaimedHead) -> Duration {
    let newest = head.runs.iter().map(|run| run.concluded_at.unwrap_or(run.created_at)).max();
    let age = newest.map_or(0, |newest| ambient::now().as_millis() - newest.as_millis());
    Duration::from_millis(u64::try_from(age).unwrap_or(0))
}

impl Publisher {
    /// Brings one head up to date; false when none is due.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        let asked = Instant::now();
        let Some(head) = self.store.claim_head(self.worker, TERM).await? else { return Ok(false) };
        match self.publish(&mut Held { head: &head, renewed: asked }).await {
            Ok(()) => self.store.settle_head(head).await?,
            Err(Trouble::Store(StoreError::LeaseLost)) => debug!("another publisher has the head"),
            Err(Trouble::Store(error)) => {
                // Given back, else nobody publishes this head before the lease ends.
                let soon = Duration::from_secs(1);
                if let Err(again) = self.store.retry_head(head, soon, &error.to_string()).await {
                    debug!("the head comes back when its lease ends: {again}");
                }
                return Err(error.into());
            }
            Err(Trouble::Later(wait)) => {
                let why =
                    "whether GitHub got annotations is asked when it must have dealt with them";
                self.store.retry_head(head, wait, why).await?;
            }
            Err(Trouble::Github(error)) => {
                let wait = match error.retry() {
                    Retry::After(wait) => wait,
                    Retry::Unknown => Duration::from_secs(2),
                    Retry::Never if error.may_be_mended() && age(&head) < GIVEN_UP => {
                        (age(&head) / 4).clamp(SOONEST, LATEST)
                    }
                    // Refused for good: said, and tried again only when the head changes.
                    Retry::Never => {
                        warn!(head = %head.head_sha, "GitHub refused a check run: {error}");
                        self.store.settle_head(head).await?;
                        return Ok(true);
                    }
                };
                warn!(head = %head.head_sha, "publishing goes on in {wait:?}: {error}");
                self.store.retry_head(head, wait, &error.to_string()).await?;
            }
        }
        Ok(true)
    }

    async fn publish(&self, holder: &mut Held<'_>) -> Result<(), Trouble> {
        let head = holder.head;
        let last = latest(&head.checks);
        let mut refused = None;
        let mut shown = Vec::new();
        for desired in checks::desired(&head.runs, &self.links) {
            let publication = publication(&desired, last.get(desired.name.as_str()).copied());
            match self.carry_out(holder, &desired, publication).await {
                // One refused check run must not keep the others from GitHub.
                Err(Trouble::Github(error)) if error.retry() == Retry::Never => {
                    warn!(check = desired.name, "refused: {error}");
                    refused = Some(error);
                }
                done => {
                    let standing = done?;
                    if !desired.annotations.is_empty() {
                        shown.push((desired, standing));
                    }
                }
            }
        }
        // After all conclusions.
        self.annotate(holder, &shown).await?;
        refused.map_or(Ok(()), |error| Err(Trouble::Github(error)))
    }

    async fn carry_out(
        &self,
        holder: &mut Held<'_>,
        desired: &DesiredCheck,
        publication: Publication<'_>,
    ) -> Result<Shown, Trouble> {
        let head = holder.head;
        match publication {
            Publication::Nothing(record, github_id) => Ok(Shown::of(record, github_id)),
            Publication::Update(record, github_id) => {
                self.update(holder, record, github_id, desired).await
            }
            Publication::Create => {
                let record = CheckRecord {
                    id: CheckId::new(ambient::ulid()),
                    name: desired.name.clone(),
                    occasion: desired.occasion.clone(),
                    github_id: None,
                    digest: None,
                    completed: false,
                    created_at: ambient::now(),
                    annotated: Annotated::default(),
                };
                let asked = Instant::now();
                self.store.intend_check(head, &record).await?;
                holder.renewed = asked;
                self.create(holder, &record, desired).await
            }
            Publication::Resolve(record) => {
                let found =
                    self.github.find_check(&head.repository, &head.head_sha, record.id).await?;
                match found {
                    Some(github_id) => self.update(holder, record, github_id, desired).await,
                    None => self.create(holder, record, desired).await,
                }
            }
        }
    }

    async fn create(
        &self,
        holder: &mut Held<'_>,
        record: &CheckRecord,
        desired: &DesiredCheck,
    ) -> Result<Shown, Trouble> {
        self.fence(holder).await?;
        let repository = &holder.head.repository;
        let github_id = self.github.create_check(repository, desired, record.id).await?;
        self.acknowledge(holder, record, github_id, desired).await
    }

    async fn update(
        &self,
        holder: &mut Held<'_>,
        record: &CheckRecord,
        github_id: u64,
        desired: &DesiredCheck,
    ) -> Result<Shown, Trouble> {
        self.fence(holder).await?;
        self.github.update_check(&holder.head.repository, github_id, desired).await?;
        self.acknowledge(holder, record, github_id, desired).await
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
        record: &CheckRecord,
        github_id: u64,
        desired: &DesiredCheck,
    ) -> Result<Shown, Trouble> {
        let acknowledged = CheckRecord {
            github_id: Some(github_id),
            digest: Some(desired.digest()),
            completed: desired.is_completed(),
            occasion: desired.occasion.clone(),
            ..record.clone()
        };
        let asked = Instant::now();
        match self.store.acknowledge_check(holder.head, &acknowledged).await {
            Err(StoreError::LeaseLost) => {
                self.store.doubt_check(holder.head, record.id, github_id).await?;
                Err(StoreError::LeaseLost.into())
            }
            done => {
                holder.renewed = asked;
                done?;
                Ok(Shown::of(record, github_id))
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing is wrong; what is left can be done in so long.
    #[error("goes on in {0:?}")]
    Later(Duration),
}
