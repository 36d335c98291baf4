//! Secrets that connectors renew: one job at a time has one, and what was renewed is never lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::names::SecretName;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::secret::{Delivery, SecretSource, SecretSpec};
use checkvalve::domain::state::Outcome;
use checkvalve::store::{
    Lease, MOST_CLAIMS, NewJob, NewRotation, NewRun, PlannedRun, Rotation, Store, StoreError, Topic,
};

use crate::fixture::{
    LONG, Place, SHORT, claim, connector, create_with, new_job, new_run, planned, read, settle,
    spec, step, wait_out, worker,
};

const SECRET: &str = "gsm:source-a/config";

fn name() -> SecretName {
    "config".parse().unwrap()
}

/// A job of a connector that may renew its `config`, and other files of it.
fn renewing(of: &str, files: &[&str]) -> NewJob {
    let job = new_job(of);
    let names: Vec<SecretName> = files.iter().map(|file| file.parse().unwrap()).collect();
    let upload = StepSpec {
        uses: Some(Builtin::UploadSecrets.into()),
        secrets: names.clone(),
        ..StepSpec::new(step("upload"))
    };
    let steps = vec![spec("install", &[]), spec("unit", &["install"]), upload];
    let secret = |name: &SecretName| SecretSpec {
        name: name.clone(),
        source: SecretSource::Gsm { file: format!("{name}.json") },
        delivery: Delivery::File,
    };
    let plan = Plan::new(connector(of), of.to_owned(), job.plan.inputs().clone(), steps).unwrap();
    NewJob { plan: plan.with_secrets(names.iter().map(secret).collect()), ..job }
}

fn run_of(pull: u64, head: char) -> NewRun {
    NewRun { pull: Some(pull), ..new_run(head, "1") }
}

async fn create(store: &Store, pull: u64, head: char, jobs: Vec<NewJob>) {
    create_with(store, run_of(pull, head), PlannedRun { jobs, ..planned(&[]) }).await;
}

async fn none_due(store: &Store) -> bool {
    store.claim_job(worker(), LONG).await.unwrap().is_none()
}

async fn keep(store: &Store, lease: &Lease, sealed: &str) -> Result<(), StoreError> {
    let (name, connector) = (name(), connector("source-a"));
    let sealed = sealed.as_bytes().to_vec();
    let new =
        NewRotation { secret: SECRET, name: &name, connector: &connector, file: "config", sealed };
    store.keep_rotation(lease, &new).await
}

async fn left(store: &Store) -> Option<Rotation> {
    store.claim_rotation(worker(), LONG).await.unwrap()
}

pub(crate) async fn jobs_that_share_a_secret_never_run_at_once(place: &Place) {
    let held: BTreeMap<&str, AtomicBool> =
        ["a", "b", "c"].into_iter().map(|file| (file, AtomicBool::default())).collect();
    let store = place.open().await;
    let sets: [&[&str]; 5] = [&["a"], &["a", "b"], &["b", "c"], &[], &["c", "a"]];
    for (pull, head) in (1..).zip("abcdef".chars()) {
        for (nth, files) in (0..).zip(sets) {
            create(&store, pull * 10 + nth, head, vec![renewing("source-a", files)]).await;
        }
    }
    let done = std::sync::Mutex::new(0);
    let work = async || {
        let me = worker();
        for _ in 0..600 {
            let Some((lease, _, job)) = store.claim_job(me, LONG).await.unwrap() else {
                if *done.lock().unwrap() == 30 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let files: Vec<&str> = job.plan.secrets().iter().map(|s| s.name.as_str()).collect();
            for file in &files {
                assert!(!held[file].swap(true, Ordering::SeqCst), "`{file}` is held twice");
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
            for file in &files {
                held[file].store(false, Ordering::SeqCst);
            }
            settle(&store, lease, &job, Outcome::Succeeded).await;
            *done.lock().unwrap() += 1;
        }
    };
    tokio::join!(work(), work(), work(), work(), work(), work());
    assert_eq!(*done.lock().unwrap(), 30);
}

pub(crate) async fn what_is_renewed_outlives_its_job_and_so_does_the_lock(place: &Place) {
    let store = place.open().await;
    let jobs = vec![renewing("source-a", &["config"]), new_job("source-b")];
    create(&store, 1, 'a', jobs).await;
    create(&store, 2, 'b', vec![renewing("source-a", &["config"])]).await;
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector.as_str(), "source-a");
    keep(&store, &lease, "sealed 1").await.unwrap();
    assert!(left(&store).await.is_none(), "its holder writes it back");
    let (free, other) = claim(&store).await;
    assert_eq!(other.connector.as_str(), "source-b", "it needs no secret");
    settle(&store, free, &other, Outcome::Succeeded).await;
    settle(&store, lease, &job, Outcome::Cancelled).await;
    assert!(none_due(&store).await, "it is not written back yet");
    store.free_secrets().await.unwrap();
    assert!(none_due(&store).await);
    assert!(!store.queue().await.unwrap().idle);

    let rotation = left(&store).await.unwrap();
    assert_eq!((rotation.secret.as_str(), rotation.attempt), (SECRET, 1));
    assert_eq!((rotation.job, rotation.name.clone()), (job.id, name()));
    assert_eq!((rotation.file.as_str(), &rotation.sealed[..]), ("config", &b"sealed 1"[..]));
    assert!(left(&store).await.is_none(), "one at a time");
    let mut nudge = store.nudge(Topic::Jobs);
    store.settle_rotation(&rotation, "written back as version 2").await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), nudge.changed()).await.unwrap();
    let rows = store.rotations_of(job.id).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].pending);
    assert_eq!(rows[0].told.as_deref(), Some("written back as version 2"));
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector.as_str(), "source-a");
    settle(&store, lease, &job, Outcome::Succeeded).await;
}

pub(crate) async fn a_lock_of_nobody_is_freed(place: &Place) {
    let store = place.open().await;
    create(&store, 1, 'a', vec![renewing("source-a", &["config"])]).await;
    create(&store, 2, 'b', vec![renewing("source-a", &["config"])]).await;
    // Given back: whoever comes first has it, here the same one again.
    let (lease, first) = claim(&store).await;
    store.release_job(lease).await.unwrap();
    let (lease, again) = claim(&store).await;
    assert_eq!(again.id, first.id);
    keep(&store, &lease, "sealed").await.unwrap();
    store.release_job(lease).await.unwrap();
    // What is left of it keeps others out, and not itself.
    let (lease, again) = claim(&store).await;
    assert_eq!(again.id, first.id);
    assert!(none_due(&store).await);
    settle(&store, lease, &again, Outcome::Failed).await;
    // Nobody could write it back for so long that it is of no use any more.
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.forget_rotations(Duration::from_millis(1)).await.unwrap();
    assert!(none_due(&store).await);
    store.free_secrets().await.unwrap();
    let (lease, second) = claim(&store).await;
    assert_ne!(second.id, first.id);
    settle(&store, lease, &second, Outcome::Succeeded).await;
}

pub(crate) async fn a_dead_holders_renewal_is_anybodys_until_the_job_is_taken_over(place: &Place) {
    let store = place.open().await;
    create(&store, 1, 'a', vec![renewing("source-a", &["config"])]).await;
    create(&store, 2, 'b', vec![renewing("source-a", &["config"])]).await;
    let (dead, _, job) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    keep(&store, &dead, "sealed").await.unwrap();
    wait_out().await;
    let (lease, taken) = claim(&store).await;
    assert_eq!((taken.id, taken.attempt), (job.id, 2), "its lock is its own");
    assert!(matches!(keep(&store, &dead, "late").await, Err(StoreError::LeaseLost)));
    let late = store.claim_rotation_of(&dead, SECRET, LONG).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)));
    assert!(left(&store).await.is_none(), "the one who took over is at it");
    let rotation = store.claim_rotation_of(&lease, SECRET, LONG).await.unwrap().unwrap();
    assert_eq!(&rotation.sealed, b"sealed");
    assert!(store.claim_rotation_of(&lease, SECRET, LONG).await.unwrap().is_none());
    store.settle_rotation(&rotation, "done").await.unwrap();
    assert!(none_due(&store).await, "and the lock is held while the job runs");
    settle(&store, lease, &taken, Outcome::Succeeded).await;

    // One that is given up, with what it left.
    let mut last = None;
    for _ in 0..MOST_CLAIMS {
        let (lease, _, _) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
        keep(&store, &lease, "last").await.unwrap();
        last = Some(lease.job);
        wait_out().await;
    }
    assert_eq!(store.settle_abandoned().await.unwrap(), 1);
    let rotation = left(&store).await.unwrap();
    assert_eq!((Some(rotation.job), &rotation.sealed[..]), (last, &b"last"[..]));
    store.settle_rotation(&rotation, "done").await.unwrap();
}

pub(crate) async fn a_newer_value_is_not_lost_to_an_older_ones_end(place: &Place) {
    let store = place.open().await;
    create(&store, 1, 'a', vec![renewing("source-a", &["config"])]).await;
    let (lease, job) = claim(&store).await;
    keep(&store, &lease, "one").await.unwrap();
    let rotation = store.claim_rotation_of(&lease, SECRET, LONG).await.unwrap().unwrap();
    keep(&store, &lease, "two").await.unwrap();
    store.settle_rotation(&rotation, "written back").await.unwrap();
    let rows = store.rotations_of(job.id).await.unwrap();
    assert!(rows[0].pending && rows[0].told.is_none(), "{rows:?}");
    let rotation = store.claim_rotation_of(&lease, SECRET, LONG).await.unwrap().unwrap();
    assert_eq!(&rotation.sealed, b"two");
    store.settle_rotation(&rotation, "written back").await.unwrap();
    assert!(!store.rotations_of(job.id).await.unwrap()[0].pending);
    settle(&store, lease, &job, Outcome::Succeeded).await;
    assert!(left(&store).await.is_none());
}

pub(crate) async fn a_try_that_failed_comes_back_and_a_late_one_is_refused(place: &Place) {
    let store = place.open().await;
    let me = worker();
    create(&store, 1, 'a', vec![renewing("source-a", &["config"])]).await;
    create(&store, 2, 'b', vec![renewing("source-a", &["config"])]).await;
    let (lease, job) = claim(&store).await;
    keep(&store, &lease, "sealed").await.unwrap();
    settle(&store, lease, &job, Outcome::Failed).await;
    let first = store.claim_rotation(me, LONG).await.unwrap().unwrap();
    store.retry_rotation(&first, LONG, "Google is away", LONG).await.unwrap();
    assert!(left(&store).await.is_none(), "not due yet");
    let waiting =
        read(&store, store.runs(&checkvalve::store::RunQuery::default()).await.unwrap()[0].id)
            .await;
    let reason = waiting.jobs[0].steps[0].facts.reason.clone().unwrap();
    assert!(reason.starts_with("waits for the secret `gsm:source-a/config`"), "{reason}");
    assert!(reason.contains("`source-a` of #1 (run_"), "{reason}");
    assert!(reason.contains("not written it back yet: Google is away"), "{reason}");
    store.retry_rotation(&first, Duration::ZERO, "still away", LONG).await.unwrap();
    let second = store.claim_rotation(me, SHORT).await.unwrap().unwrap();
    assert_eq!(second.attempt, 2);
    wait_out().await;
    // Its time was over; another one is at it.
    let third = store.claim_rotation(me, LONG).await.unwrap().unwrap();
    for late in [
        store.settle_rotation(&second, "done").await,
        store.retry_rotation(&second, LONG, "no", LONG).await,
    ] {
        assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    }
    // A process that is known to be dead is not waited for.
    store.expire_leases_of(me).await.unwrap();
    let fourth = left(&store).await.unwrap();
    assert!(matches!(store.settle_rotation(&third, "done").await, Err(StoreError::LeaseLost)));
    store.settle_rotation(&fourth, "done").await.unwrap();
    assert!(store.rotations_of(job.id).await.unwrap()[0].told.is_some());
    claim(&store).await;
}

pub(crate) async fn what_can_t_be_written_back_keeps_no_lock_for_ever(place: &Place) {
    let store = place.open().await;
    create(&store, 1, 'a', vec![renewing("source-a", &["config"])]).await;
    create(&store, 2, 'b', vec![renewing("source-a", &["config"])]).await;
    let (lease, job) = claim(&store).await;
    keep(&store, &lease, "sealed").await.unwrap();
    settle(&store, lease, &job, Outcome::Failed).await;
    let first = left(&store).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.retry_rotation(&first, Duration::ZERO, "no permission", LONG).await.unwrap();
    assert!(store.claim_job(worker(), LONG).await.unwrap().is_none(), "it is worth waiting");
    let second = left(&store).await.unwrap();
    let mut nudge = store.nudge(Topic::Jobs);
    let short = Duration::from_millis(10);
    store.retry_rotation(&second, Duration::ZERO, "no permission", short).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), nudge.changed()).await.unwrap();
    let (_lease, other) = claim(&store).await;
    assert_ne!(other.id, job.id);
    // The value is kept all the same, and tried again.
    let third = left(&store).await.unwrap();
    assert_eq!((third.job, &third.sealed[..]), (job.id, &b"sealed"[..]));
}
