//! GitHub's log of deliveries, by whose clock and for how long it is read.

use std::sync::Arc;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::ids::WorkerId;
use checkvalve::service::recovery::Recovery;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::receiver::receiver;
use crate::{REPO, World};

/// More than a page of the log.
const MANY: usize = 130;

/// Looks, as often as anybody asks.
pub(crate) fn recovery(world: &World) -> Recovery {
    Recovery {
        intake: world.intake.clone(),
        worker: WorkerId::new(ambient::ulid()),
        every: Duration::from_secs(1),
        kept: Duration::from_hours(45 * 24),
        memory: Arc::default(),
    }
}

async fn look(recovery: &Recovery) {
    recovery.pass(&CancellationToken::new()).await.unwrap();
    // Another process may be next.
    recovery.intake.store.expire_leases_of(recovery.worker).await.unwrap();
}

/// Events that nobody acts on, sent and told.
async fn chatter(world: &mut World) {
    for _ in 0..MANY {
        world.sim.send_event("star", &json!({ "action": "created" })).unwrap();
    }
    world.sim.quiet().await;
    world.tell_those(|one| one.event == "star").await;
}

fn asked_for(world: &World, delivery: u64) -> usize {
    let path = format!("/app/hook/deliveries/{delivery}/attempts");
    world.sim.calls().iter().filter(|call| call.path == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enterprise_servers_log_is_read_for_seven_days() {
    let mut world = World::new().await;
    world.sim.enterprise_server(Some("3.19")).unwrap();
    world.reconnect();
    world.sim.install_webhook(&receiver().await);
    world.sim.quiet().await;
    world.tell().await;
    look(&recovery(&world)).await;

    // Nobody is there, and people go on; five days later somebody looks.
    world.push(REPO, "change", "new").await;
    world.sim.quiet().await;
    world.tell().await;
    world.sim.faults().drop_deliveries(1);
    world.open(REPO, "change").await;
    let lost = world.sent("pull_request", "opened");
    assert_eq!(lost.status, "failed to connect to host");
    chatter(&mut world).await;
    world.sim.advance(Duration::from_hours(5 * 24));
    look(&recovery(&world)).await;
    let missing = world.store.missing_one(&lost.guid).await.unwrap();
    assert!(missing.is_some(), "it lies behind a page of what came");
    assert_eq!(asked_for(&world, lost.id), 1);
    world.sim.quiet().await;
    assert_eq!(world.sent("pull_request", "opened").status, "OK", "and is sent again");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_remembered_by_a_look_that_goes_on_later() {
    let mut world = World::new().await;
    world.sim.install_webhook(&receiver().await);
    chatter(&mut world).await;
    world.sim.faults().pause_deliveries();
    world.push(REPO, "change", "new").await;
    world.open(REPO, "change").await;
    let sent = ambient::now();
    assert_eq!(world.sent("pull_request", "opened").status, "pending");
    // Longer ago than a look overlaps with the one before.
    world.sim.advance(Duration::from_mins(5));
    // GitHub answers one more page, and then no more in this hour.
    world.sim.primary_limit(Some(1));
    world.reconnect();
    look(&recovery(&world)).await;
    let mark = world.store.log_mark().await.unwrap().unwrap();
    assert!(mark.reading.is_some() && mark.pending.is_some_and(|at| at <= sent), "{mark:?}");

    // Another process goes on with the second page, which has nothing of the kind.
    world.sim.primary_limit(None);
    world.reconnect();
    look(&recovery(&world)).await;
    let mark = world.store.log_mark().await.unwrap().unwrap();
    assert_eq!((mark.reading, mark.pending), (None, None));
    assert!(mark.read_to <= sent, "how it ended is looked for by the next look");
    world.sim.faults().resume_deliveries();
    world.sim.stop().await;
}
