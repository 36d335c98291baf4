//! Deliveries become runs: each stored delivery is understood, judged and acted on, once.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::commands::Commands;
use super::trust;
use crate::ambient;
use crate::config::server::Served;
use crate::domain::event::{Actor, Event, PullAction, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::run::Repository;
use crate::domain::state::{Conclusion, RunState};
use crate::domain::trigger::{Scope, Trigger};
use crate::github::{Github, GithubError, Retry, webhook};
use crate::store::{ClaimedDelivery, Created, Handled, NewRun, RunQuery, Store};

/// After this many tries a delivery that our side can't handle is given up, loudly.
const MAX_ATTEMPTS: u32 = 20;

/// Handles deliveries.
#[derive(Clone)]
pub struct Intake {
    pub store: Store,
    pub github: Arc<Github>,
    pub served: Arc<Served>,
}

impl Intake {
    /// Handles the oldest due delivery; false when there is none.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        let Some(claim) = self.store.claim_delivery().await? else { return Ok(false) };
        let handled = self.handle(&claim).await;
        info!(github.delivery = claim.guid, event = claim.event, "delivery handled: {handled:?}");
        self.store.settle_delivery(claim, handled).await?;
        Ok(true)
    }

    async fn handle(&self, claim: &ClaimedDelivery) -> Handled {
        if claim.body.is_empty() {
            return Handled::Ignored("about check runs themselves".to_owned());
        }
        let understood = match webhook::parse(&claim.event, &claim.body) {
            Ok(understood) => understood,
            Err(error) => return Handled::Refused(error.to_string()),
        };
        match self.act(understood.event, &claim.guid).await {
            Ok(handled) => handled,
            Err(failure) => later(claim, &failure),
        }
    }

    async fn act(&self, event: Event, guid: &str) -> Result<Handled, Failure> {
        let repository = match &event {
            Event::Ping => return Ok(Handled::Done("greeted".to_owned())),
            Event::Installation { action, installation, .. } => {
                return Ok(Handled::Done(format!("installation {installation}: {action}")));
            }
            Event::Ignored { because } => return Ok(Handled::Ignored(because.clone())),
            Event::PullRequest { repository, .. }
            | Event::Comment { repository, .. }
            | Event::CheckRun { repository, .. }
            | Event::CheckSuite { repository, .. } => repository.clone(),
        };
        if !self.served.serves(&repository.name) {
            let name = &repository.name;
            return Ok(Handled::Ignored(format!("{name} is not in CHECKVALVE_REPOSITORIES")));
        }
        let commands =
            Commands { store: &self.store, github: &self.github, repository: &repository };
        match event {
            Event::PullRequest { action: PullAction::Closed, pull, .. } => {
                self.closed(&repository, &pull).await
            }
            Event::PullRequest { action, pull, sender, .. } => {
                self.changed(&repository, &pull, action, &sender).await
            }
            Event::Comment { pull, comment, author, body, .. } => {
                commands.comment(pull, comment, &author, &body).await
            }
            Event::CheckRun { check, button, sender, .. } => {
                commands.button(&check, &button, &sender).await
            }
            Event::CheckSuite { suite, head_sha, sender, .. } => {
                commands.suite(suite, &head_sha, &sender, guid).await
            }
            Event::Ping | Event::Installation { .. } | Event::Ignored { .. } => {
                Ok(Handled::Done(String::new()))
            }
        }
    }

    /// The pull request is read before we act: an event whose head is no longer current makes no
    /// run.
    async fn changed(
        &self,
        repository: &Repository,
        told: &PullFacts,
        action: PullAction,
        sender: &Actor,
    ) -> Result<Handled, Failure> {
        let Some(pull) = self.github.pull(repository, told.number).await? else {
            return Ok(Handled::Ignored("the pull request is gone".to_owned()));
        };
        if !pull.open {
            return Ok(Handled::Ignored("the pull request is closed".to_owned()));
        }
        if pull.head_sha != told.head_sha {
            let now = pull.head_sha.short();
            return Ok(Handled::Ignored(format!("stale: the head is {now} by now")));
        }
        let reopened = action == PullAction::Reopened;
        let seen = self.store.observe_pull(repository, &pull, reopened).await?;
        let pusher = (action == PullAction::Synchronize).then_some(sender);
        let trusted = trust::code_is_trusted(&self.github, repository, &pull, pusher).await?;
        let problem = (!trusted).then(|| (Conclusion::ActionRequired, trust::not_trusted(&pull)));
        let run = NewRun {
            trigger: Trigger::PullRequest,
            cause: format!("generation-{}", seen.generation),
            actor: sender.login.clone(),
            scope: Scope::Affected,
            problem,
            ..new_run(repository, &pull)
        };
        Ok(Handled::Done(match self.store.create_run(run).await? {
            Created::Fresh(id) => format!("made {id}"),
            Created::Exists(id) => format!("{id} is for this already"),
        }))
    }

    async fn closed(&self, repository: &Repository, pull: &PullFacts) -> Result<Handled, Failure> {
        // A late delivery must not end what a reopening began.
        if self.github.pull(repository, pull.number).await?.is_some_and(|now| now.open) {
            return Ok(Handled::Ignored("stale: the pull request is open again".to_owned()));
        }
        let mut seen = pull.clone();
        seen.open = false;
        self.store.observe_pull(repository, &seen, false).await?;
        let mut ended = 0;
        for run in unconcluded(&self.store, repository, pull.number).await? {
            self.store.cancel_run(run, None, "the pull request was closed").await?;
            ended += 1;
        }
        Ok(Handled::Done(format!("closed: {ended} run(s) asked to end")))
    }
}

/// A run for this pull request as it is now; trigger, cause, actor and scope are the caller's.
pub(super) fn new_run(repository: &Repository, pull: &PullFacts) -> NewRun {
    NewRun {
        id: RunId::new(ambient::ulid()),
        repository: repository.clone(),
        pull: Some(pull.number),
        title: pull.title.clone(),
        head_ref: pull.head_ref.clone(),
        base_ref: pull.base_ref.clone(),
        head_sha: pull.head_sha.clone(),
        base_sha: pull.base_sha.clone(),
        trigger: Trigger::Manual,
        cause: String::new(),
        actor: String::new(),
        scope: Scope::Affected,
        problem: None,
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
    let runs = store.runs(&query).await?;
    Ok(runs.iter().filter(|run| run.state != RunState::Concluded).map(|run| run.id).collect())
}

/// Why acting on a delivery failed: ours or GitHub's, never the delivery's.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

fn later(claim: &ClaimedDelivery, failure: &Failure) -> Handled {
    let backoff = Duration::from_secs(1 << claim.attempt.min(6));
    let wait = match failure {
        Failure::Github(error) => match error.retry() {
            Retry::Never => return Handled::Refused(failure.to_string()),
            Retry::After(wait) => wait.max(backoff),
            Retry::Unknown => backoff,
        },
        Failure::Store(_) => backoff,
    };
    if claim.attempt >= MAX_ATTEMPTS {
        warn!(github.delivery = claim.guid, "given up after {MAX_ATTEMPTS} attempts: {failure}");
        return Handled::Refused(format!("given up after {MAX_ATTEMPTS} attempts: {failure}"));
    }
    Handled::Later(wait, failure.to_string())
}
