//! Whatever happens, and in whatever order: in the end every run has ended, every check run is
//! concluded, and `checkvalve` says what all who share the commit came to.

use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::event::{Actor, PullFacts};
use checkvalve::domain::names::Sha;
use checkvalve::domain::parties::{Parties, Whose, worst};
use checkvalve::domain::run::{Job, Repository, job_conclusion};
use checkvalve::domain::state::{Outcome, RunState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{Lease, NewRun, PlannedRun, StoreError};
use proptest::prelude::*;

use crate::fixture::{LONG, finished, new_run, planned, worker};
use crate::world::{REPO, World, job};

/// Pull requests; the head commits that they have in turn, and may share.
const PULLS: u64 = 2;
const HEADS: usize = 2;

#[derive(Debug, Clone)]
enum Event {
    /// Opened, reopened, pushed to.
    Head(u64, usize),
    Closed(u64),
    Comment(u64),
    Cancel(u64),
    Plan(usize),
    Claim,
    End(Outcome),
    /// A worker dies with all that it holds.
    Died,
    Publish,
    /// GitHub makes the next check run, or not, and does not say so.
    Unknown,
    /// GitHub loses the newest check run.
    Lost,
    Compare,
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let pull = || 1..=PULLS;
    let outcome = proptest::sample::select(vec![
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Errored,
        Outcome::Cancelled,
    ]);
    prop_oneof![
        4 => (pull(), 0..HEADS).prop_map(|(pull, head)| Event::Head(pull, head)),
        2 => pull().prop_map(Event::Closed),
        2 => pull().prop_map(Event::Comment),
        1 => pull().prop_map(Event::Cancel),
        4 => (0_usize..3).prop_map(Event::Plan),
        4 => Just(Event::Claim),
        4 => outcome.prop_map(Event::End),
        1 => Just(Event::Died),
        6 => Just(Event::Publish),
        1 => Just(Event::Unknown),
        1 => Just(Event::Lost),
        1 => Just(Event::Compare),
        3 => (1_u64..400).prop_map(Event::Time),
    ]
}

struct Story {
    world: World,
    repository: Repository,
    heads: Vec<Sha>,
    held: Vec<(Lease, Job)>,
}

fn facts(number: u64, head: &Sha) -> PullFacts {
    PullFacts {
        number,
        title: String::new(),
        author: Actor { login: "ada".to_owned(), bot: false },
        open: true,
        draft: false,
        head_sha: head.clone(),
        head_ref: "faster".to_owned(),
        head_repo: None,
        head_repo_id: None,
        base_sha: "0".repeat(40).parse().unwrap(),
        base_ref: format!("base-{number}"),
    }
}

impl Story {
    async fn begin() -> Self {
        let world = World::checked(None).await;
        let repository = world.repository(REPO).await;
        let mut heads = Vec::new();
        for nth in 0..HEADS {
            heads.push(world.commit(&repository, &nth.to_string()).await);
        }
        Self { world, repository, heads, held: Vec::new() }
    }

    fn run_of(&self, facts: &PullFacts, trigger: Trigger, cause: &str) -> NewRun {
        NewRun {
            repository: self.repository.clone(),
            pull: Some(facts.number),
            head_sha: facts.head_sha.clone(),
            base_ref: facts.base_ref.clone(),
            trigger,
            ..new_run('a', cause)
        }
    }

    async fn seen(&self, pull: u64) -> Option<PullFacts> {
        let seen = self.world.store.pull(self.repository.id, pull).await.unwrap();
        seen.map(|seen| seen.facts).filter(|facts| facts.open)
    }

    async fn happens(&mut self, event: Event) {
        let store = self.world.store.clone();
        match event {
            Event::Head(pull, head) => {
                let now = facts(pull, &self.heads[head]);
                let seen = store.observe_pull(&self.repository, &now, true).await.unwrap();
                let cause = format!("generation-{}", seen.generation);
                let run = self.run_of(&now, Trigger::PullRequest, &cause);
                store.create_run(run).await.unwrap();
            }
            Event::Closed(pull) => {
                let Some(facts) = self.seen(pull).await else { return };
                let facts = PullFacts { open: false, ..facts };
                store.observe_pull(&self.repository, &facts, false).await.unwrap();
                self.cancel(pull).await;
            }
            Event::Comment(pull) => {
                let Some(facts) = self.seen(pull).await else { return };
                let run = self.run_of(&facts, Trigger::Comment, &ambient::ulid().to_string());
                store.create_run(run).await.unwrap();
            }
            Event::Cancel(pull) => self.cancel(pull).await,
            Event::Plan(connectors) => self.plan(connectors).await,
            Event::Claim => {
                let claimed = store.claim_job(worker(), LONG).await.unwrap();
                self.held.extend(claimed.map(|(lease, _, job)| (lease, job)));
            }
            Event::End(outcome) => self.end(outcome).await,
            Event::Died => self.world.skip(2 * LONG).await,
            Event::Publish => drop(self.world.publisher.pass().await.unwrap()),
            Event::Unknown => {
                let path = format!("/repos/{REPO}/check-runs");
                self.world.sim.faults().fail_next("POST", &path, 1, 502);
            }
            Event::Lost => {
                let made = self.heads.iter();
                let made = made.flat_map(|head| self.world.sim.check_runs(REPO, head.as_str()));
                if let Some(newest) = made.map(|check| check.id).max() {
                    self.world.sim.lose_check_run(REPO, newest).unwrap();
                }
            }
            Event::Compare => drop(self.world.publisher.compare().await.unwrap()),
            Event::Time(seconds) => self.world.skip(Duration::from_secs(seconds)).await,
        }
    }

    async fn cancel(&self, pull: u64) {
        let store = &self.world.store;
        for run in store.open_runs(self.repository.id, pull).await.unwrap() {
            store.cancel_run(run.id, None, "no more").await.unwrap();
        }
    }

    async fn plan(&self, connectors: usize) {
        let store = &self.world.store;
        let Some(lease) = store.claim_planning(worker(), LONG).await.unwrap() else { return };
        let jobs = (0..connectors).map(|nth| job(nth, 2)).collect();
        match store.settle_planning(lease, PlannedRun { jobs, ..planned(&[]) }).await {
            Ok(()) | Err(StoreError::LeaseLost) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn end(&mut self, outcome: Outcome) {
        let Some((lease, job)) = self.held.pop() else { return };
        let mut steps = job.steps.clone();
        for step in &mut steps {
            step.state = finished(outcome);
        }
        let conclusion = job_conclusion(&job.plan, &steps);
        match self.world.store.settle_job(lease, &steps, conclusion).await {
            Ok(_) | Err(StoreError::LeaseLost) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Everybody does what there is to do, until nothing is.
    async fn settles(&mut self) {
        for _ in 0..4 {
            self.held.clear();
            self.world.skip(2 * LONG).await;
            let store = self.world.store.clone();
            while let Some(lease) = store.claim_planning(worker(), LONG).await.unwrap() {
                store.settle_planning(lease, planned(&[])).await.unwrap();
            }
            while let Some((lease, _, job)) = store.claim_job(worker(), LONG).await.unwrap() {
                self.held.push((lease, job));
                self.end(Outcome::Succeeded).await;
            }
            store.settle_abandoned().await.unwrap();
            while self.world.publisher.compare().await.unwrap() {}
            self.world.settle(Duration::from_secs(20)).await;
        }
    }

    async fn is_settled(&self) {
        for head in &self.heads {
            let runs = self.world.store.runs_of_head(self.repository.id, head).await.unwrap();
            assert!(runs.iter().all(|run| run.state == RunState::Concluded));
            let all = self.world.sim.check_runs(REPO, head.as_str());
            let open: Vec<_> = all.iter().filter(|check| check.status != "completed").collect();
            assert!(open.is_empty(), "{open:?}");
            if runs.is_empty() {
                continue;
            }
            let mut gone = Vec::new();
            for pull in 1..=PULLS {
                if self.seen(pull).await.is_none_or(|facts| facts.head_sha != *head) {
                    gone.push(Whose::Pull(pull));
                }
            }
            let shown = &self.world.checks(head)["checkvalve"];
            // Which of those that left did so last, the store knows.
            let here = Parties::of(&runs, &gone).judged;
            if gone.len() < usize::try_from(PULLS).unwrap() {
                let verdict = worst(here.iter().map(|party| party.verdict.conclusion)).unwrap();
                assert_eq!(shown, verdict.as_str());
            }
        }
        let refused = self.world.sim.violations();
        assert!(refused.iter().all(|violation| violation.starts_with("answer ")), "{refused:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_interleaving_of_events_settles(events in proptest::collection::vec(event(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let mut story = Story::begin().await;
            for event in events {
                story.happens(event).await;
            }
            story.settles().await;
            story.is_settled().await;
        });
    }
}
