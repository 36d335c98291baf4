//! The webhook's secret is replaced while deliveries come.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use github_simulator::Simulator;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

use super::world::cutter::Cutter;
use super::world::{Extra, Steps, Via, World};

const FILES: &[(&str, &str)] =
    &[(".github/checkvalve.yml", "preset: none\nconnectors: []\n"), ("docs/readme.md", "# Docs\n")];

/// Deliveries, one after the other, until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    sending: tokio::task::JoinHandle<usize>,
}

impl Load {
    fn on(sim: &Simulator) -> Self {
        let (sim, stop) = (sim.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while !stopped.load(Ordering::SeqCst) {
                sim.send_event("star", &json!({ "action": "created", "number": sent })).unwrap();
                sent += 1;
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            sent
        });
        Self { stop, sending }
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.sending.await.unwrap()
    }
}

/// Every delivery was taken, at the first attempt.
fn none_was_lost(world: &World) {
    let mut answered = world.sim.deliveries();
    // What happened before there was a server to tell.
    answered.retain(|one| one.status != "no webhook configured");
    let lost: Vec<_> = answered.iter().filter(|one| one.status_code != Some(202)).collect();
    assert!(lost.is_empty(), "{} of {}: {:?}", lost.len(), answered.len(), lost.first());
}

async fn rotate(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["rotate-webhook-secret"], arguments].concat();
    let mut command = world.command("state", &arguments);
    let ended: Output =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The answer to a delivery that was signed with this secret.
async fn signed_with(world: &World, secret: &str) -> u16 {
    let body = "{}";
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let mac = hex::encode(mac.chain_update(body).finalize().into_bytes());
    let sent = world.http.post(format!("{}/webhooks/github", world.url)).body(body);
    let sent = sent
        .header("content-type", "application/json")
        .header("x-github-event", "star")
        .header("x-github-delivery", mac[..20].to_owned())
        .header("x-hub-signature-256", format!("sha256={mac}"));
    sent.send().await.unwrap().status().as_u16()
}

async fn counted(world: &World, which: &str) -> u64 {
    let metrics = world.http.get(format!("{}/metrics", world.url)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let name = format!("checkvalve_webhook_signatures_total{{secret=\"{which}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_under_load_and_a_kill_in_the_middle_loses_nothing() {
    // GitHub's answers to the change are lost: the command does not know what it did when it dies.
    let cutter = Cutter::new(b"PATCH /api/v3/app/hook/config", 1000).await;
    let through = cutter.clone();
    let cut = Arc::new(AtomicBool::new(true));
    let is_cut = cut.clone();
    let via: Via = Box::new(move |url| {
        let cut_line = through.via(url);
        if is_cut.load(Ordering::SeqCst) { cut_line } else { url.to_owned() }
    });
    let extra = Extra { via: Some(via), ..Extra::default() };
    let mut world = World::set_up(Steps::Host, None, extra, FILES).await;
    let old = world.sim.app().webhook_secret;
    let load = Load::on(&world.sim);

    let mut command = world.command("state", &["rotate-webhook-secret"]).spawn().unwrap();
    let sim = world.sim.clone();
    world
        .until("GitHub signs with another secret", async |_: &World| {
            sim.app().webhook_secret != old
        })
        .await;
    command.kill().unwrap();
    command.wait().unwrap();
    let new = world.sim.app().webhook_secret;
    world.until("it is used", async |world: &World| counted(world, "next").await > 20).await;
    // The server knows neither of the command nor of its end; both secrets count.
    assert_eq!((signed_with(&world, &old).await, signed_with(&world, &new).await), (202, 202));

    cut.store(false, Ordering::SeqCst);
    let (status, said) = rotate(&world, &["--grace", "1s"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(world.sim.app().webhook_secret, new, "it went on with the one that it had made");
    assert!(said.contains("A delivery has come that was signed with it"), "{said}");
    assert!(said.contains("CHECKVALVE_WEBHOOK_SECRET holds the old one"), "{said}");
    assert!(!said.contains(&new) && !said.contains(&old), "{said}");
    world
        .until("the old one does not count any more", async |world: &World| {
            signed_with(world, &old).await == 401
        })
        .await;
    let sent = load.stop().await;
    world.sim.quiet().await;
    assert!(sent > 100, "{sent}");
    none_was_lost(&world);
    assert!(counted(&world, "current").await > 0);

    // What the settings still hold is not what counts, also after a restart.
    world.kill();
    world.start().await;
    assert_eq!((signed_with(&world, &old).await, signed_with(&world, &new).await), (401, 202));
    let log = world.server_log();
    assert!(log.contains("CHECKVALVE_WEBHOOK_SECRET was replaced"), "it is said");
    assert!(!log.contains(&new) && !log.contains(&old), "and not what it is");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_again_and_tried_with_a_delivery_that_came_before() {
    let world = World::new(Steps::Host, FILES).await;
    let mut seen = vec![world.sim.app().webhook_secret];
    for _ in 0..2 {
        // Nothing happens by itself: GitHub is asked to deliver its newest once more.
        let (status, said) = rotate(&world, &[]).await;
        assert_eq!(status, Some(0), "{said}");
        let secret = world.sim.app().webhook_secret;
        assert!(!seen.contains(&secret));
        seen.push(secret);
    }
    world.sim.quiet().await;
    assert!(world.sim.deliveries().iter().filter(|one| one.redelivery).count() >= 2);
    none_was_lost(&world);
    for secret in &seen {
        assert_eq!(signed_with(&world, secret).await, 202, "within the hour");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_not_told_before_a_server_knows() {
    let mut world = World::new(Steps::Host, FILES).await;
    let old = world.sim.app().webhook_secret;
    // A command with a key of its own would make what no server can read.
    let elsewhere = world.command("another-state", &["rotate-webhook-secret"]).output().unwrap();
    let said = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert_eq!(elsewhere.status.code(), Some(2), "{said}");
    assert!(said.contains("give its key in CHECKVALVE_KEY"), "{said}");
    // Nobody serves: nothing is changed.
    world.kill();
    let mut command = world.command("state", &["rotate-webhook-secret"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(command.try_wait().unwrap().is_none(), "it waits for a server");
    assert_eq!(world.sim.app().webhook_secret, old);
    // As soon as one is there, it goes on.
    world.start().await;
    let ended = tokio::task::spawn_blocking(move || command.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    assert_ne!(world.sim.app().webhook_secret, old);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_the_rotating_shell_does_not_know_is_retired_and_spoken_of() {
    let mut world = World::new(Steps::Host, FILES).await;
    let old = world.sim.app().webhook_secret;
    let rotate = |world: &World, grace: &str| {
        let mut command = world.command("state", &["rotate-webhook-secret", "--grace", grace]);
        command.env_remove("CHECKVALVE_WEBHOOK_SECRET");
        tokio::task::spawn_blocking(move || {
            let ended = command.output().unwrap();
            let said = [ended.stdout, ended.stderr].concat();
            (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
        })
    };
    // The server has it from its settings, and nobody else.
    let (status, said) = rotate(&world, "2s").await.unwrap();
    assert_eq!(status, Some(0), "{said}");
    let told = "A server's CHECKVALVE_WEBHOOK_SECRET, which this command was not given";
    assert!(said.contains(told) && said.contains("take it out of the server's settings"), "{said}");
    let new = world.sim.app().webhook_secret;
    assert!(!said.contains(&new) && !said.contains(&old), "{said}");
    assert_eq!((signed_with(&world, &old).await, signed_with(&world, &new).await), (202, 202));
    world
        .until("the old one does not count any more", async |world: &World| {
            signed_with(world, &old).await == 401
        })
        .await;
    world.kill();
    world.start().await;
    assert_eq!((signed_with(&world, &old).await, signed_with(&world, &new).await), (401, 202));
    // Nothing stands in the way now, and what could is named all the same.
    let (status, said) = rotate(&world, "2s").await.unwrap();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("Should CHECKVALVE_WEBHOOK_SECRET stand in the settings"), "{said}");
    assert!(said.contains("A server that did not run now"), "{said}");
    world.finish().await;
}
