//! Nothing of ours stays open at GitHub for longer than a lease and a sweep.

use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::state::StepState;
use checkvalve::service::janitor::Janitor;
use checkvalve::store::MOST_CLAIMS;
use github_simulator::CompletedPatch;

use crate::fixture::worker;
use crate::heads::{janitor, open};
use crate::world::{REPO, SECOND, World};

/// `CHECKVALVE_LEASE`, as it is unless set.
const LEASE: Duration = Duration::from_secs(30);
/// How often a server tidies up.
const TIDIES: Duration = Duration::from_secs(5);
/// How soon a head of which something is open is looked at again, and how often a server looks.
const SWEEP: Duration = Duration::from_mins(10);
const LOOKS: Duration = Duration::from_secs(30);

impl World {
    /// A worker takes the job, tells that its first step runs, and dies.
    async fn die_working(&self) {
        let (lease, _, job) = self.store.claim_job(worker(), LEASE).await.unwrap().unwrap();
        let mut first = job.steps[0].clone();
        assert_eq!(first.state, StepState::Waiting);
        first.state = StepState::Running { started_at: ambient::now() };
        self.store.record(&lease, &[first]).await.unwrap();
        self.publish().await;
    }

    /// Time goes by at a server that works.
    async fn live(&mut self, janitor: &Janitor, lasts: Duration) {
        let mut gone = Duration::ZERO;
        while gone < lasts {
            let step = LOOKS.min(lasts.saturating_sub(gone));
            self.skip(step).await;
            janitor.tidy().await.unwrap();
            self.publish().await;
            while self.publisher.compare().await.unwrap() {}
            self.publish().await;
            gone += step;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_seems_to_run_whose_worker_is_dead() {
    let (mut world, _, head) = World::running((1, 3)).await;
    let folder = tempfile::tempdir().unwrap();
    let janitor = janitor(&world, folder.path()).await;
    let step = "source-000 / s0";
    for attempt in 1..=MOST_CLAIMS {
        world.die_working().await;
        assert_eq!(world.checks(&head)[step], "in_progress", "{attempt}");
        // Nobody has a place for the job: what is seen of it is true all the same.
        world.skip(LEASE + TIDIES).await;
        janitor.tidy().await.unwrap();
        world.publish().await;
        let checks = world.checks(&head);
        if attempt < MOST_CLAIMS {
            assert_eq!(checks[step], "queued", "{attempt}");
            let queue = world.store.queue().await.unwrap();
            assert_eq!(queue.running + queue.queued, 1);
        }
    }
    world.settle(SECOND).await;
    let checks = world.checks(&head);
    assert!(checks.values().all(|state| state == "failure" || state == "skipped"), "{checks:?}");
    let title = world.check(&head, step).output.title.unwrap_or_default();
    assert!(title.starts_with("Infrastructure error"), "{title}");
    world.is_clean();
}

/// GitHub took the conclusion, and shows the check run as open all the same; or lost one that has been
/// open for hours, during which nothing was to be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_conclusion_that_github_lost_is_told_again_within_a_sweep() {
    let (mut world, repository, head) = World::running((1, 3)).await;
    let folder = tempfile::tempdir().unwrap();
    let janitor = janitor(&world, folder.path()).await;
    world.settle(SECOND).await;
    // A long job, of which there is nothing to tell for hours.
    world.live(&janitor, Duration::from_hours(3)).await;
    for name in ["checkvalve", "source-000 / s1"] {
        world.sim.lose_check_run(REPO, world.check(&head, name).id).unwrap();
    }
    assert_eq!(world.checks(&head).len(), 2);
    world.live(&janitor, SWEEP + LOOKS).await;
    let checks = world.checks(&head);
    assert_eq!((checks.len(), &*checks["source-000 / s1"]), (4, "queued"));

    world.end(1, &[]).await;
    world.settle(SECOND).await;
    world.sim.faults().completed_patch(CompletedPatch::Allow);
    let github = world.publisher.github.clone();
    for name in ["checkvalve", "source-000 / s2"] {
        let told = world.check(&head, name).id;
        github.update_check(&repository, told, &open(&head, name)).await.unwrap();
        assert_eq!(world.checks(&head)[name], "in_progress");
    }
    world.live(&janitor, SWEEP + LOOKS).await;
    let checks = world.checks(&head);
    assert!(checks.values().all(|state| state == "success"), "{checks:?}");
    assert_eq!(world.refused(), 0);
    world.is_clean();
}
