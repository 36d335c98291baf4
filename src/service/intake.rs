//! Deliveries become runs: each stored delivery is understood, judged and acted on, once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::commands::{Commands, Failure, new_run};
use super::trust::Bench;
use super::{branches, trust};
use crate::config::server::Served;
use crate::domain::cache::Reuse;
use crate::domain::event::{Actor, Event, PullAction, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::run::Repository;
use crate::domain::state::{Conclusion, RunState};
use crate::domain::trigger::{Scope, Trigger};
use crate::github::{Github, GithubError, Retry, promptly, webhook};
use crate::store::{ClaimedDelivery, Created, Due, Handled, NewRun, RunQuery, Store, StoreError};

/// After this many tries, about a day, a delivery that our side can't handle is given up, loudly.
/// An outage of GitHub's, or a key that somebody has to mend, takes hours.
const MAX_ATTEMPTS: u32 = 340;
/// GitHub's replicas know a new thing within seconds; what is missing longer is gone.
const NOT_FOUND_ATTEMPTS: u32 = 4;
/// So long they are handled before anyone asks whether to go on.
const TURN: Duration = Duration::from_millis(500);
/// A third of a claim's term.
const EXTEND: Duration = Duration::from_secs(3);
/// Events about which GitHub is asked nothing.
const ASKS_NOTHING: [&str; 2] = ["push", "merge_group"];
/// A pull request that changes under our hands so often is looked at again later.
const ROUNDS: u32 = 5;

/// Handles deliveries.
#[derive(Clone)]
pub struct Intake {
    pub store: Store,
    pub github: Arc<Github>,
    pub served: Arc<Served>,
}

impl Intake {
    /// Handles the oldest due deliveries, for a while and not beyond `stop`; false when there are
    /// no more.
    pub async fn pass(&self, stop: &CancellationToken) -> anyhow::Result<bool> {
        self.store.calm().await;
        let mut next = self.store.claim_delivery_of(self.due()).await?;
        let begun = Instant::now();
        while let Some(claim) = next {
            let handled = tokio::select! {
                handled = promptly(Box::pin(self.handle(&claim))) => handled,
                () = self.keep(&claim) => {
                    warn!(github.delivery = claim.guid, "another process handles the delivery");
                    return Ok(true);
                }
            };
            info!(
                github.delivery = claim.guid,
                event = claim.event,
                "delivery handled: {handled:?}"
            );
            self.store.calm().await;
            let go_on = begun.elapsed() < TURN && !stop.is_cancelled();
            let settled = if go_on {
                self.store.settle_and_claim_delivery(claim, handled, self.due()).await
            } else {
                self.store.settle_delivery(claim, handled).await.map(|()| None)
            };
            next = match settled {
                // What was done is done once by its cause, whoever says so.
                Err(StoreError::LeaseLost) => return Ok(true),
                settled => settled?,
            };
            if !go_on {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What somebody has handled again leaves half of what GitHub answers its installation in an hour to
    /// what comes now; of what an installation has to spare, no other one takes anything. Nor does one wait
    /// behind another that has no points.
    fn due(&self) -> Due {
        let short = self.github.short_of_room();
        Due {
            fresh: short.contains(&None),
            short: short.into_iter().flatten().collect(),
            held: self.github.short_of_points(),
        }
    }

    /// The installation that has no points to ask about this one.
    fn held_for(&self, claim: &ClaimedDelivery) -> Option<u64> {
        let short = self.github.short_of_points();
        if short.is_empty() || ASKS_NOTHING.contains(&claim.event.as_str()) {
            return None;
        }
        webhook::installation(&claim.body).filter(|installation| short.contains(installation))
    }

    /// The installation for whose sake this one is to wait.
    fn gives_way(&self, claim: &ClaimedDelivery) -> Option<u64> {
        // What comes now is not read for it.
        let installation = claim.again.then(|| webhook::installation(&claim.body)).flatten()?;
        self.github.short_of_room().contains(&Some(installation)).then_some(installation)
    }

    /// Extends the claim until it is lost: a claim is short, so that what a dead process held comes
    /// back soon, and GitHub may be slow.
    async fn keep(&self, claim: &ClaimedDelivery) {
        loop {
            tokio::time::sleep(EXTEND).await;
            match self.store.extend_delivery(claim).await {
                Ok(()) => {}
                Err(StoreError::LeaseLost) => return,
                Err(error) => warn!(github.delivery = claim.guid, "can't extend: {error}"),
            }
        }
    }

    async fn handle(&self, claim: &ClaimedDelivery) -> Handled {
        if claim.attempt > MAX_ATTEMPTS {
            return Handled::Refused(format!(
                "given up: begun {MAX_ATTEMPTS} times, and no process lived to its end"
            ));
        }
        if claim.body.is_empty() {
            return Handled::Ignored("about check runs themselves".to_owned());
        }
        if let Some(installation) = self.gives_way(claim) {
            return Handled::GivesWay(installation);
        }
        if let Some(installation) = self.held_for(claim) {
            return Handled::Held(installation);
        }
        let understood = match webhook::parse(&claim.event, &claim.body) {
            Ok(understood) => understood,
            Err(error) => return Handled::Refused(error.to_string()),
        };
        // One event under two GUIDs is one act.
        let occasion = understood.occasion.as_deref().unwrap_or(&claim.guid);
        match self.act(understood.event, (&claim.guid, occasion)).await {
            Ok(handled) => handled,
            Err(failure @ Failure::Github(GithubError::RateLimited { .. })) => {
                self.held_for(claim).map_or_else(|| later(claim, &failure), Handled::Held)
            }
            Err(failure) => later(claim, &failure),
        }
    }

    async fn act(&self, event: Event, (guid, occasion): (&str, &str)) -> Result<Handled, Failure> {
        let repository = match &event {
            Event::Ping => return Ok(Handled::Done("greeted".to_owned())),
            Event::Installation { action, installation, repositories } => {
                return self.installation(action, *installation, repositories).await;
            }
            Event::Repository { action, repository } => {
                return self.repository(action, repository).await;
            }
            Event::Ignored { because } => return Ok(Handled::Ignored(because.clone())),
            Event::PullRequest { repository, .. }
            | Event::Comment { repository, .. }
            | Event::CheckRun { repository, .. }
            | Event::CheckSuite { repository, .. }
            | Event::Push { repository, .. }
            | Event::MergeGroup { repository, .. }
            | Event::Label { repository, .. } => Box::pin(self.as_known(repository)).await?,
        };
        if !self.served.serves(&repository.name) {
            let name = &repository.name;
            return Ok(Handled::Ignored(format!("{name} is not in CHECKVALVE_REPOSITORIES")));
        }
        let commands =
            Commands { store: &self.store, github: &self.github, repository: &repository };
        match event {
            Event::PullRequest { action, pull, before, sender, .. } => {
                self.bring(&repository, (&pull, before), action, &sender).await?;
                self.follow(&repository, &pull, action, &sender).await
            }
            Event::Comment { pull, comment, author, body, written, .. } => {
                commands.comment(pull, comment, (&author, written), &body).await
            }
            Event::CheckRun { check, button, sender, .. } => {
                commands.button(&check, &button, &sender, guid).await
            }
            Event::CheckSuite { suite, head_sha, sender, .. } => {
                commands.suite(suite, &head_sha, &sender, (guid, occasion)).await
            }
            Event::Label { pull, label, sender, written, .. } => {
                commands.label(pull, &label, (&sender, written, occasion)).await
            }
            Event::Push { push, sender, .. } => {
                branches::pushed(&self.store, &repository, &push, (&sender, occasion)).await
            }
            Event::MergeGroup { group, action, sender, .. } => {
                branches::grouped(&self.store, &repository, &group, (&action, &sender)).await
            }
            Event::Ping
            | Event::Installation { .. }
            | Event::Repository { .. }
            | Event::Ignored { .. } => Ok(Handled::Done(String::new())),
        }
    }

    /// Notes which heads an event names, before anything is asked that may fail: that there was
    /// another one is to be known, also if the event can't be followed for now, or is stale.
    async fn bring(
        &self,
        repository: &Repository,
        (told, before): (&PullFacts, Option<Sha>),
        action: PullAction,
        sender: &Actor,
    ) -> Result<(), StoreError> {
        if !trust::brings(repository, told, action) {
            return Ok(());
        }
        let pusher = trust::pushed_by(told, action, sender);
        self.store.bring(repository.id, told, pusher).await?;
        if let Some(head_sha) = before {
            // Who pushed that one, its own event says.
            let replaced = PullFacts { head_sha, ..told.clone() };
            self.store.bring(repository.id, &replaced, None).await?;
        }
        Ok(())
    }

    /// Brings our runs in line with the pull request. It is read before we act: an event whose head
    /// is no longer current makes no run. And it is read again after: deliveries overtake each
    /// other, and one that was read early and written late would else have the last word, ending
    /// the run of the head that is current for one that is not.
    pub(super) async fn follow(
        &self,
        repository: &Repository,
        told: &PullFacts,
        action: PullAction,
        sender: &Actor,
    ) -> Result<Handled, Failure> {
        let mut now = self.github.pull(repository, told.number).await?;
        if let Some(stale) = stale(told, action, &now) {
            return Ok(Handled::Ignored(stale.to_owned()));
        }
        let mut event = Some(action);
        for _ in 0..ROUNDS {
            let done = if now.open {
                self.open(repository, &now, event, sender).await?
            } else {
                Some(self.closed(repository, told).await?)
            };
            let after = self.github.pull(repository, told.number).await?;
            match done {
                // What happened meanwhile is another event's, and its sender is not ours.
                _ if !same(&now, &after) => (now, event) = (after, None),
                Some(done) => return Ok(Handled::Done(done)),
                // It is as we saw it: another process noted an older look at it just now.
                None => {}
            }
        }
        Ok(Handled::Later(Duration::from_secs(1), "the pull request keeps changing".to_owned()))
    }

    /// Follows one that GitHub's whole list of open ones has no more. Where it can't be read either, it is
    /// gone.
    pub(super) async fn follow_unlisted(
        &self,
        repository: &Repository,
        pull: &PullFacts,
    ) -> Result<Handled, Failure> {
        match self.follow(repository, pull, PullAction::Closed, &pull.author).await {
            Err(Failure::Github(GithubError::NotFound { .. })) => {
                Ok(Handled::Done(self.closed(repository, pull).await?))
            }
            followed => followed,
        }
    }

    /// `event`: what brought the pull request into this state, where that is known. `None`: nothing
    /// was made, since its head was seen to be another meanwhile.
    async fn open(
        &self,
        repository: &Repository,
        pull: &PullFacts,
        event: Option<PullAction>,
        sender: &Actor,
    ) -> Result<Option<String>, Failure> {
        let reopened = matches!(event, Some(PullAction::Reopened) | None);
        let seen = self.store.observe_pull(repository, pull, reopened).await?;
        let pusher = self.store.pusher(repository.id, pull.number, &pull.head_sha).await?;
        let of = (pusher.as_deref(), sender);
        let run = self.own_run(repository, pull, of, seen.generation).await?;
        Ok(match self.store.create_run(run).await? {
            Created::Fresh(id) => Some(format!("made {id}")),
            Created::Exists(id) => Some(format!("{id} is for this already")),
            Created::Outdated => None,
        })
    }

    /// A pull request's own run: of a stranger's code only what its base lets run.
    pub(super) async fn own_run(
        &self,
        repository: &Repository,
        pull: &PullFacts,
        (pusher, sender): (Option<&str>, &Actor),
        generation: i64,
    ) -> Result<NewRun, Failure> {
        let bench = Bench { store: &self.store, github: &self.github, repository };
        let judged = bench.judge(pull, pusher).await?;
        let known = pusher.is_some() || trust::in_same_repository(repository, pull);
        Ok(NewRun {
            trigger: Trigger::PullRequest,
            cause: trust::cause(generation, known),
            actor: sender.login.clone(),
            scope: Scope::Affected,
            reuse: Reuse::All,
            trust: judged.trust(),
            problem: judged.problem(pull).map(|problem| (Conclusion::ActionRequired, problem)),
            ..new_run(repository, pull)
        })
    }

    async fn closed(&self, repository: &Repository, pull: &PullFacts) -> Result<String, Failure> {
        let mut seen = pull.clone();
        seen.open = false;
        self.store.observe_pull(repository, &seen, false).await?;
        let mut ended = 0;
        for run in unconcluded(&self.store, repository, pull.number).await? {
            self.store.cancel_run(run, None, "the pull request was closed").await?;
            ended += 1;
        }
        Ok(format!("closed: {ended} run(s) asked to end"))
    }
}

/// Why a delivery says nothing of what is now.
fn stale(told: &PullFacts, action: PullAction, now: &PullFacts) -> Option<&'static str> {
    match (action == PullAction::Closed, now.open) {
        (true, true) => Some("stale: the pull request is open again"),
        (false, false) => Some("the pull request is closed"),
        (false, true) if now.head_sha != told.head_sha => Some("stale: the head is another by now"),
        (true, false) | (false, true) => None,
    }
}

/// Is it what was acted on? A base branch that moves on changes nothing.
pub(super) fn same(acted_on: &PullFacts, now: &PullFacts) -> bool {
    match (acted_on.open, now.open) {
        (false, false) => true,
        (true, true) => acted_on.head_sha == now.head_sha && acted_on.base_ref == now.base_ref,
        (true, false) | (false, true) => false,
    }
}

async fn unconcluded(
    store: &Store,
    repository: &Repository,
    pull: u64,
) -> Result<Vec<RunId>, Failure> {
    let query = RunQuery {
        repository: Some(repository.name.clone()),
        pull: Some(pull),
        limit: 200,
        ..RunQuery::default()
    };
    let runs = store.run_headers(&query).await?;
    Ok(runs.iter().filter(|run| run.state != RunState::Concluded).map(|run| run.id).collect())
}

fn later(claim: &ClaimedDelivery, failure: &Failure) -> Handled {
    let backoff = Duration::from_secs(1 << claim.attempt.min(8));
    let wait = match failure {
        Failure::Github(error) => match error.retry() {
            Retry::Never if !error.may_be_mended() => return Handled::Refused(failure.to_string()),
            Retry::Never if error.is_missing() && claim.attempt >= NOT_FOUND_ATTEMPTS => {
                return Handled::Refused(failure.to_string());
            }
            Retry::After(wait) => wait.max(backoff),
            Retry::Never | Retry::Unknown => backoff,
        },
        Failure::Store(_) => backoff,
        Failure::Budget(wait) | Failure::Unsure(wait) => (*wait).max(backoff),
    };
    if claim.attempt >= MAX_ATTEMPTS {
        warn!(github.delivery = claim.guid, "given up after {MAX_ATTEMPTS} attempts: {failure}");
        return Handled::Refused(format!("given up after {MAX_ATTEMPTS} attempts: {failure}"));
    }
    Handled::Later(wait, failure.to_string())
}
