//! What keeps a database in order, and what it says when it can't be kept.

use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::state::Outcome;
use checkvalve::store::{Handled, LogTail, RunQuery, Store};

use crate::fixture::{
    LONG, Place, SHORT, claim, connector, create, create_planned, delivery, new_run, planned, read,
    settle, sha, step, wait_out, worker,
};

pub(crate) async fn every_statement_is_prepared(place: &Place) {
    let count = place.open().await.prepare_statements().await.unwrap();
    assert!(count > 60, "{count}");
}

pub(crate) async fn idle_is_said_only_when_nothing_is_left(place: &Place) {
    let store = place.open().await;
    let idle = async || store.queue().await.unwrap().idle;
    assert!(idle().await);
    store.take_in(delivery("a")).await.unwrap();
    assert!(!idle().await, "a delivery");
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    assert!(!idle().await, "a claimed delivery");
    create(&store, new_run('a', "1")).await;
    store.settle_delivery(claimed, Handled::Done(String::new())).await.unwrap();
    assert!(!idle().await, "an unplanned run");
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    store.settle_planning(lease, planned(&["source-a"])).await.unwrap();
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.settle_head(head, checkvalve::store::Rest::default()).await.unwrap();
    assert!(!idle().await, "a queued job");
    let (lease, job) = claim(&store).await;
    let queue = store.queue().await.unwrap();
    assert_eq!((queue.queued, queue.running, queue.idle), (0, 1, false));
    settle(&store, lease, &job, Outcome::Succeeded).await;
    assert!(!idle().await, "unpublished");
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.settle_head(head, checkvalve::store::Rest::default()).await.unwrap();
    assert!(!idle().await, "stored under the names of an epoch only");
    super::chaos::archive(&store).await;
    assert!(idle().await);
}

pub(crate) async fn retention_forgets_what_is_old(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("handled")).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    store.settle_delivery(claimed, Handled::Done(String::new())).await.unwrap();
    store.take_in(delivery("waiting")).await.unwrap();
    let old = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, job) = claim(&store).await;
    let tail = LogTail { start: 0, bytes: Bytes::from_static(b"x"), attempt: 1, ended: true };
    store.write_tail(&lease, &step("unit"), tail).await.unwrap();
    settle(&store, lease, &job, Outcome::Succeeded).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.settle_head(head, checkvalve::store::Rest::default()).await.unwrap();
    store.forget(LONG).await.unwrap();
    assert!(store.expired_runs(LONG).await.unwrap().is_empty(), "nothing is that old");

    wait_out().await;
    let young = create_planned(&store, 'b', &["source-a"]).await;
    let expired = store.expired_runs(SHORT).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].id, expired[0].jobs.len()), (old, 1), "whole, to find its objects");
    store.forget(SHORT).await.unwrap();
    assert_eq!(store.expired_runs(SHORT).await.unwrap().len(), 1, "until its objects are gone");
    store.forget_run(young).await.unwrap();
    store.forget_run(old).await.unwrap();
    store.forget(SHORT).await.unwrap();
    assert!(store.expired_runs(SHORT).await.unwrap().is_empty());
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(head.head_sha, sha('b'), "the old head is gone");
    assert!(store.run(old).await.unwrap().is_none());
    assert_eq!(store.tail(old, &connector("source-a"), &step("unit")).await.unwrap(), None);
    assert!(store.delivery("handled").await.unwrap().is_none());
    assert!(store.delivery("waiting").await.unwrap().is_some());
    assert_eq!(read(&store, young).await.jobs.len(), 1);
    assert!(store.runs_of_head(7, &sha('a')).await.unwrap().is_empty());
}

/// Its last change was never published: nothing is left of it to tell, and nobody waits for it.
pub(crate) async fn a_forgotten_head_does_not_stay_due(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &[]).await;
    wait_out().await;
    create(&store, new_run('b', "2")).await;
    for run in store.expired_runs(SHORT).await.unwrap() {
        store.forget_run(run.id).await.unwrap();
    }
    store.forget(SHORT).await.unwrap();
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(head.head_sha, sha('b'));
    store.settle_head(head, checkvalve::store::Rest::default()).await.unwrap();
    assert_eq!(store.queue().await.unwrap().checks_pending, 0);
}

pub(crate) async fn objects_get_their_final_names_once(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    assert!(store.unarchived_jobs(10).await.unwrap().is_empty());
    for _ in 0..2 {
        let (lease, job) = claim(&store).await;
        settle(&store, lease, &job, Outcome::Succeeded).await;
    }
    let jobs = store.unarchived_jobs(10).await.unwrap();
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|(run, _)| run.id == id && run.jobs.len() == 2));
    assert!(store.unarchived_runs(10).await.unwrap().is_empty(), "its jobs come first");
    for (_, job) in jobs {
        store.mark_job_archived(job).await.unwrap();
    }
    assert!(store.unarchived_jobs(10).await.unwrap().is_empty());
    let runs = store.unarchived_runs(10).await.unwrap();
    assert_eq!(runs.len(), 1);
    store.mark_run_archived(id).await.unwrap();
    assert!(store.unarchived_runs(10).await.unwrap().is_empty());
}

pub(crate) async fn what_can_t_be_archived_lets_others_go_first(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    for _ in 0..2 {
        let (lease, job) = claim(&store).await;
        settle(&store, lease, &job, Outcome::Succeeded).await;
    }
    let bad = store.unarchived_jobs(1).await.unwrap()[0].1;
    store.postpone_job(bad).await.unwrap();
    let rest = store.unarchived_jobs(10).await.unwrap();
    assert_eq!(rest.len(), 1, "not due for two seconds");
    assert_ne!(rest[0].1, bad);
    store.mark_job_archived(rest[0].1).await.unwrap();
    assert!(store.unarchived_runs(10).await.unwrap().is_empty());
    store.mark_job_archived(bad).await.unwrap();
    assert_eq!(store.unarchived_runs(10).await.unwrap().len(), 1);
    store.postpone_run(id).await.unwrap();
    assert!(store.unarchived_runs(10).await.unwrap().is_empty());
}

pub(crate) async fn a_named_lease_has_one_holder(place: &Place) {
    let store = place.open().await;
    let (one, two) = (worker(), worker());
    assert!(store.hold("janitor", one, SHORT).await.unwrap());
    assert!(!store.hold("janitor", two, LONG).await.unwrap());
    assert!(store.hold("janitor", one, SHORT).await.unwrap(), "its holder may go on");
    assert!(store.hold("recovery", two, SHORT).await.unwrap(), "another loop's");
    wait_out().await;
    assert!(store.hold("janitor", two, LONG).await.unwrap());
    assert!(!store.hold("janitor", one, LONG).await.unwrap());
}

pub(crate) async fn two_processes_may_open_at_once(place: &Place) {
    let opened = tokio::join!(place.open(), place.open(), place.open(), place.open());
    opened.0.take_in(delivery("a")).await.unwrap();
    assert!(opened.3.delivery("a").await.unwrap().is_some());
    opened.1.check().await.unwrap();
    // And what is there is there after a restart.
    opened.2.close().await;
    let again = Store::open(&place.url).await.unwrap();
    assert_eq!(again.queue().await.unwrap().deliveries_pending, 1);
}

pub(crate) async fn numbers_are_counted(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("a")).await.unwrap();
    create_planned(&store, 'a', &["source-a"]).await;
    let samples = store.counts().await.unwrap();
    let value = |name: &str| -> i64 {
        samples.iter().filter(|sample| sample.0 == name).map(|sample| sample.2).sum()
    };
    assert_eq!(value("checkvalve_deliveries"), 1);
    assert_eq!(value("checkvalve_runs"), 1);
    assert_eq!(value("checkvalve_steps"), 2);
    assert_eq!(samples[0].1[0], ("event".to_owned(), "pull_request".to_owned()));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(store.queue().await.unwrap().oldest_seconds, 1);
    assert_eq!(store.runs(&RunQuery::default()).await.unwrap().len(), 1);
}

/// What people see when the file can't be used: which file, and what to do.
#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state/checkvalve.db");
    let url = format!("sqlite:{}", file.display());
    Store::open(&url).await.unwrap().close().await;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let said = Store::open(&url).await.unwrap_err().to_string();
    assert!(said.contains("checkvalve.db: it is read-only; make the file"), "{said}");

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "no database, but long enough to be taken for one".repeat(100)).unwrap();
    let said = Store::open(&url).await.unwrap_err().to_string();
    assert!(said.contains("checkvalve.db") && said.contains("restore it"), "{said}");

    let under_a_file = format!("sqlite:{}/x.db", file.display());
    let said = Store::open(&under_a_file).await.unwrap_err().to_string();
    assert!(said.contains("x.db"), "{said}");
}

/// A restart of the server ends all connections; nobody has to restart us.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ended_are_replaced() {
    use sqlx::{Connection as _, Executor as _};
    let Some(place) = Place::postgres().await else { return };
    let (store, other) = (place.open().await, place.open().await);
    store.take_in(delivery("a")).await.unwrap();
    let mut admin = sqlx::PgConnection::connect(&place.url).await.unwrap();
    admin
        .execute(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    store.take_in(delivery("b")).await.unwrap();
    assert_eq!(store.queue().await.unwrap().deliveries_pending, 2);
    create_planned(&store, 'a', &["source-a"]).await;
    // And notifications come again.
    let heard = async {
        for i in 0.. {
            let mut nudge = other.nudge(checkvalve::store::Topic::Deliveries);
            store.take_in(delivery(&format!("c{i}"))).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_millis(300), nudge.changed()).await;
            if heard.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("no notification came");
}
