//! What is used again of what steps left to their heirs.

use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::cache::{CacheState, Reuse};
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::run::{StepFacts, StepRecord};
use checkvalve::domain::state::{SkipReason, StepState};
use checkvalve::engine::Stop;
use checkvalve::exec::docker::{Docker, DockerOptions};

use super::images::BUSYBOX;
use super::scripted::Scripted;
use super::steps::spec;
use super::{House, because, from, images, step, steps, told};

#[tokio::test]
async fn a_step_that_must_run_again_begins_with_what_its_parent_left() {
    let house = House::new(Scripted::default());
    house.run(steps()).await;
    let mut changed = steps();
    changed[1].run = vec!["ok 6".to_owned()];
    let records = house.run(changed).await;
    assert_eq!(told(&records), "install=succeeded:hit unit=succeeded:miss lint=succeeded:miss");
    assert_eq!(because(&records, "unit"), "`run` changed (`[\"ok\"]` → `[\"ok 6\"]`)");
    assert!(because(&records, "lint").starts_with("step `unit` changed"));
    let histories = house.executor.histories.lock().unwrap().clone();
    // It took no time, so that nothing was kept of it: it is run again for its heir alone.
    assert_eq!(histories[3..], ["install", "install unit", "lint"]);
}

#[tokio::test]
async fn what_took_long_is_kept_for_later_heirs() {
    let house = House::new(Scripted::default());
    let mut slow = steps();
    slow[0].run = vec!["ok 3100".to_owned()];
    house.run(slow.clone()).await;
    assert_eq!(house.executor.snapshots.lock().unwrap().len(), 1);
    slow[1].run = vec!["ok 6".to_owned()];
    house.run(slow).await;
    let histories = house.executor.histories.lock().unwrap().clone();
    assert_eq!(histories[3..], ["install unit", "lint"], "without `install`");
}

#[tokio::test]
async fn who_inherits_does_not_begin_with_what_was_taken_back() {
    let mut house = House::new(Scripted::default());
    let mut slow = steps();
    slow[0].run = vec!["ok 3100".to_owned()];
    house.run(slow.clone()).await;
    let not_asked = || StepRecord {
        id: "install".parse().unwrap(),
        state: StepState::Skipped { at: ambient::now(), reason: SkipReason::NotAsked },
        attempt: 1,
        queued_at: ambient::now(),
        facts: StepFacts::default(),
    };
    let changed = |n: u32| {
        let mut changed = slow.clone();
        changed[1].run = vec![format!("ok {n}")];
        changed
    };
    house.resume(changed(6), vec![not_asked()], &Stop::new()).await;
    let begun = |house: &House<Scripted>| {
        let histories = house.executor.histories.lock().unwrap();
        histories.iter().filter(|history| *history == "install").count()
    };
    assert_eq!(begun(&house), 1, "its file system was kept");
    house.executor.spoilt.store(true, std::sync::atomic::Ordering::SeqCst);
    house.reuse = Reuse::Never;
    assert!(told(&house.run(slow.clone()).await).starts_with("install=failed:miss"));
    house.executor.spoilt.store(false, std::sync::atomic::Ordering::SeqCst);
    house.reuse = Reuse::Success;
    let before = begun(&house);
    house.resume(changed(7), vec![not_asked()], &Stop::new()).await;
    assert_eq!(begun(&house), before + 1, "what it left then is nobody's beginning any more");
}

#[tokio::test]
async fn what_was_left_for_an_heir_with_an_earlier_result_does_not_stay() {
    let house = House::new(Scripted::default());
    let steps = |late: &str| {
        let forgotten = StepSpec { allow_failure: true, ..step("forgotten", &[], "ok") };
        vec![forgotten, from("forgotten", "unit", "ok"), step("late", &["unit"], late)]
    };
    house.run(steps("ok")).await;
    let records = house.run(steps("ok 6")).await;
    assert_eq!(told(&records), "forgotten=succeeded:miss unit=succeeded:hit late=succeeded:miss");
    let held = house.executor.held.lock().unwrap().clone();
    assert_eq!(held.last(), Some(&("late".to_owned(), 0)), "{held:?}");
}

#[tokio::test]
async fn what_is_not_there_any_more_is_run_again() {
    let house = House::new(Scripted::default());
    let steps = || vec![step("forgotten", &[], "ok"), step("unit", &["forgotten"], "ok")];
    house.run(steps()).await;
    let records = house.run(steps()).await;
    assert_eq!(told(&records), "forgotten=succeeded:miss unit=succeeded:hit");
    assert!(because(&records, "forgotten").contains("not kept any more"));
    let absent = || vec![spec("absent", "unit", &[], "ok")];
    house.run(absent()).await;
    let records = house.run(absent()).await;
    assert!(because(&records, "unit").contains("is not on this host yet"));
    assert_eq!(records[0].facts.cache.as_ref().unwrap().state, CacheState::Miss);
}

#[tokio::test]
async fn snapshots_of_containers_outlive_their_run() {
    let Some(_) = images::engine().await else { return };
    let instance = format!("reuse-{}", ambient::ulid());
    let docker = DockerOptions::new(instance.clone());
    let docker = Docker::connect(ambient::env("DOCKER_HOST").as_deref(), docker).await.unwrap();
    let house = House { instance, ..House::new(docker.clone()) };
    let steps = |unit: &str| {
        let install = spec(BUSYBOX, "install", &[], "date > made; sleep 3.2; cat made");
        vec![install, StepSpec { image: BUSYBOX.to_owned(), ..from("install", "unit", unit) }]
    };
    let first = house.run(steps("cat made")).await;
    assert_eq!(told(&first), "install=succeeded:miss unit=succeeded:miss");
    let made = first[1].facts.excerpt.clone();
    let second = house.run(steps("cat made; true")).await;
    assert_eq!(told(&second), "install=succeeded:hit unit=succeeded:miss");
    assert_eq!(second[1].facts.excerpt, made, "the same file");
    let names: Vec<_> = second[1].facts.segments.iter().map(|s| s.name.as_str()).collect();
    assert!(!names.iter().any(|name| name.starts_with("again")), "{names:?}");
    docker.settled().await;
    let reaper = docker.reaper();
    assert_eq!(reaper.trim_snapshots(Duration::from_hours(1), 1 << 30).await.unwrap(), 0);
    assert_eq!(reaper.trim_snapshots(Duration::from_hours(1), 0).await.unwrap(), 1);
    assert_eq!(reaper.trim_snapshots(Duration::ZERO, 0).await.unwrap(), 0);
    let third = house.run(steps("cat made; true; true")).await;
    assert!(third[1].facts.segments.iter().any(|segment| segment.name == "again install"));
    docker.settled().await;
    // Kept anew, and too old for whoever wants none that was used before now.
    assert_eq!(reaper.trim_snapshots(Duration::ZERO, 1 << 30).await.unwrap(), 1);
}
