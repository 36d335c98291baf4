//! What is live: server-sent events, followed logs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::objects;
use checkvalve::domain::run::{LogRef, StepFacts, StepRecord};
use checkvalve::domain::state::{Conclusion, Outcome};
use checkvalve::store::{Lease, LogTail};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::house::{House, Tale, finished, put, running, step_id};

#[derive(Debug, Clone)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

/// Reads events until the stream ends or `enough` says so.
async fn events(
    answer: reqwest::Response,
    mut enough: impl FnMut(&[Event]) -> bool,
) -> (Vec<Event>, bool) {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let (mut text, mut events) = (String::new(), Vec::new());
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next());
        let Some(bytes) = next.await.expect("an event in time") else { return (events, true) };
        text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            let field = |name: &str| {
                let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
                lines.next().map(|value| value.trim().to_owned())
            };
            if let (Some(kind), Some(id), Some(data)) =
                (field("event:"), field("id:"), field("data:"))
            {
                events.push(Event { kind, id, data: serde_json::from_str(&data).unwrap() });
            }
        }
        if enough(&events) {
            return (events, false);
        }
    }
}

fn has_log(events: &[Event], text: &str) -> bool {
    let printed: String = events
        .iter()
        .filter(|event| event.kind == "log")
        .map(|event| event.data["text"].as_str().unwrap())
        .collect();
    printed.contains(text)
}

fn tail(start: u64, text: &str, ended: bool) -> LogTail {
    LogTail { start, bytes: Bytes::copy_from_slice(text.as_bytes()), attempt: 1, ended }
}

async fn end(house: &House, lease: Lease) {
    let steps = ["install", "lint", "unit", "publish <i>"];
    let steps = steps.map(|step| finished(step, Outcome::Succeeded));
    house.store.settle_job(lease, &steps, Conclusion::Success).await.unwrap();
}

#[tokio::test]
async fn events_tell_a_run_to_its_end() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let answer = house.get(&format!("/api/v1/runs/{id}/events")).await;
    let printed = Arc::new(Notify::new());
    let seen = Arc::clone(&printed);
    let listening = tokio::spawn(events(answer, move |events| {
        if has_log(events, "hello\n") {
            seen.notify_one();
        }
        false
    }));
    let (lease, ..) = house.claim().await;
    house.store.record(&lease, &[running("install")]).await.unwrap();
    house.store.write_tail(&lease, &step_id("install"), tail(0, "hello\n", false)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), printed.notified()).await.expect("a log event");
    end(&house, lease).await;
    let (events, closed) = listening.await.unwrap();
    assert!(closed, "the stream ends with the run");
    let last = events.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["state"]), ("run", &"concluded".into()));
    assert_eq!(last.data["conclusion"], "success");
    assert!(last.data.get("connectors").is_none());
    assert!(has_log(&events, "hello\n"), "{events:?}");
    let of = |kind: &str| events.iter().filter(|e| e.kind == kind).cloned().collect::<Vec<_>>();
    let steps = of("step");
    assert!(steps.iter().all(|step| step.data["connector"] == "source-faker"));
    let install: Vec<&Value> =
        steps.iter().filter(|s| s.data["id"] == "install").map(|s| &s.data["state"]).collect();
    assert_eq!(install.first(), Some(&&Value::from("waiting")));
    assert_eq!(install.last(), Some(&&Value::from("finished")));
    assert!(install.contains(&&Value::from("running")));
    assert_eq!(of("connector").last().unwrap().data["conclusion"], "success");

    // Whoever comes back after the end is told to stop asking.
    let resumed = house
        .request(reqwest::Method::GET, &format!("/api/v1/runs/{id}/events"))
        .header("last-event-id", &last.id);
    assert_eq!(resumed.send().await.unwrap().status(), 204);
    let bad = house
        .request(reqwest::Method::GET, &format!("/api/v1/runs/{id}/events"))
        .header("last-event-id", "none of ours");
    assert_eq!(bad.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_resumed_stream_tells_what_was_missed_and_nothing_twice() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let path = format!("/api/v1/runs/{id}/events");
    let (lease, ..) = house.claim().await;
    house.store.record(&lease, &[running("install")]).await.unwrap();
    let install = step_id("install");
    house.store.write_tail(&lease, &install, tail(0, "one é", false)).await.unwrap();
    let (first, _) = events(house.get(&path).await, |events| {
        events.iter().any(|event| event.kind == "run") && has_log(events, "one é")
    })
    .await;
    let id_had = first.last().unwrap().id.clone();

    house.store.write_tail(&lease, &install, tail(0, "one é two", false)).await.unwrap();
    house
        .store
        .record(&lease, &[finished("install", Outcome::Succeeded), running("unit")])
        .await
        .unwrap();
    let resumed =
        house.request(reqwest::Method::GET, &path).header("last-event-id", &id_had).send();
    let (second, _) = events(resumed.await.unwrap(), |events| {
        events.iter().any(|event| event.kind == "run") && has_log(events, "two")
    })
    .await;
    let printed: Vec<&Value> =
        second.iter().filter(|e| e.kind == "log").map(|e| &e.data["text"]).collect();
    assert_eq!(printed, [" two"], "the tail goes on where it was");
    let log = second.iter().find(|e| e.kind == "log").unwrap();
    assert_eq!(log.data["offset"], 6, "bytes, not characters");
    let told: Vec<&Value> =
        second.iter().filter(|e| e.kind == "step").map(|e| &e.data["id"]).collect();
    assert_eq!(told, ["install", "unit"], "steps that did not change are not told again");
}

#[tokio::test]
async fn open_streams_do_not_hold_up_the_end_of_the_server() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let answer = house.get(&format!("/api/v1/runs/{id}/events")).await;
    let log = format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log?follow=1");
    let followed = house.get(&log).await;
    assert!(house.page("/metrics").await.contains("checkvalve_live_streams 2\n"));
    house.stop.cancel();
    let ended = async {
        events(answer, |_| false).await;
        followed.bytes().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("both end at once");
}

/// A log of `count` lines whose tail moves on like a worker's, then becomes an object.
#[tokio::test]
async fn a_followed_log_loses_and_doubles_nothing() {
    const WINDOW: usize = 64 * 1024;
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let path = format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log?follow=1");
    // It is asked for before the step has started.
    let answer = house.get(&path).await;
    assert_eq!(answer.status(), 200);
    let (received, mut count) = watch::channel(0);
    let following = tokio::spawn(async move {
        let (mut pieces, mut all) = (answer.bytes_stream(), Vec::new());
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.unwrap());
            received.send_replace(all.len());
        }
        all
    });
    let (lease, run, job) = house.claim().await;
    house.store.record(&lease, &[running("unit")]).await.unwrap();
    let mut whole: Vec<u8> = Vec::new();
    for round in 0..6 {
        for n in 0..900 {
            whole.extend_from_slice(format!("round {round} line {n} ü\n").as_bytes());
        }
        let start = whole.len().saturating_sub(WINDOW);
        let bytes = Bytes::copy_from_slice(&whole[start..]);
        let window = LogTail { start: start.try_into().unwrap(), bytes, attempt: 1, ended: false };
        house.store.write_tail(&lease, &step_id("unit"), window).await.unwrap();
        let arrived = count.wait_for(|count| *count == whole.len());
        tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("in time").unwrap();
    }
    // The last lines are printed after the last flush: they are in the object alone.
    whole.extend_from_slice(b"the end\n");
    let prefix = objects::epoch_prefix(&run, &job.connector, lease.epoch);
    let key = format!("{prefix}/{}", objects::step_log(&step_id("unit"), 1));
    put(&house, &key, whole.clone()).await;
    let log = LogRef { key, bytes: whole.len().try_into().unwrap(), lines: 5401, cut: 0 };
    let facts = StepFacts { log: Some(log), ..StepFacts::default() };
    let unit = StepRecord { facts, ..finished("unit", Outcome::Succeeded) };
    house.store.record(&lease, &[unit]).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), following).await;
    let received = ended.expect("the stream ends with the step").unwrap();
    assert_eq!(received.len(), whole.len());
    assert!(received == whole, "the same bytes");
    // The step ended: the same address gives the object, from an offset too.
    assert!(house.get(&path).await.bytes().await.unwrap() == whole);
    let rest = house.page(&format!("{path}&from={}", whole.len() - 8)).await;
    assert_eq!(rest, "the end\n");
}

#[tokio::test]
async fn bytes_that_left_the_window_are_counted() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let path = format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log");
    let (lease, ..) = house.claim().await;
    house.store.record(&lease, &[running("unit")]).await.unwrap();
    assert_eq!(house.get(&path).await.status(), 404, "nothing printed yet");
    let unit = step_id("unit");
    house.store.write_tail(&lease, &unit, tail(1_000, "newest\n", true)).await.unwrap();
    let answer = house.get(&path).await;
    assert_eq!(answer.headers()["checkvalve-log-start"], "1000");
    assert_eq!(answer.text().await.unwrap(), "newest\n");
    let page = house.page(&format!("/runs/{id}/source-faker/unit")).await;
    assert!(page.contains("1.0 kB came before"), "{page}");
    let answer = house.get(&format!("{path}?follow=1")).await;
    let following = tokio::spawn(async move { answer.text().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(600)).await;
    // No object was kept: what the tail had is all.
    end(&house, lease).await;
    let text = tokio::time::timeout(Duration::from_secs(10), following).await.unwrap().unwrap();
    assert!(text.contains("1000 bytes are left out here"), "{text}");
    assert!(text.contains(&path) && text.ends_with("]\nnewest\n"), "{text}");
}

#[tokio::test]
async fn a_step_that_was_taken_over_is_followed_by_attempt() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let path = format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log?follow=1");
    let (lease, ..) = house.claim().await;
    house.store.record(&lease, &[running("unit")]).await.unwrap();
    house.store.write_tail(&lease, &step_id("unit"), tail(0, "first\n", false)).await.unwrap();
    let answer = house.get(&path).await;
    let following = tokio::spawn(async move { answer.text().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(600)).await;
    let second = StepRecord { attempt: 2, ..running("unit") };
    house.store.record(&lease, &[second]).await.unwrap();
    let text = tokio::time::timeout(Duration::from_secs(10), following).await.unwrap().unwrap();
    assert_eq!(text, "first\n", "attempt 1 ended when attempt 2 began");
}

#[tokio::test]
async fn a_job_that_was_given_up_ends_its_streams() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let term = Duration::from_secs(2);
    let (lease, ..) = house.store.claim_job(house.worker, term).await.unwrap().unwrap();
    house.store.record(&lease, &[running("unit")]).await.unwrap();
    house.store.write_tail(&lease, &step_id("unit"), tail(0, "last words\n", false)).await.unwrap();
    let log = format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log?follow=1");
    let followed = house.get(&log).await;
    let followed = tokio::spawn(async move { followed.text().await.unwrap() });
    let told = house.get(&format!("/api/v1/runs/{id}/events")).await;
    let told = tokio::spawn(events(told, |_| false));
    // The worker is dead, and the run is no longer wanted.
    house.store.cancel_run(id, None, "superseded by `dddddddddddd`").await.unwrap();
    tokio::time::sleep(term + Duration::from_millis(200)).await;
    assert_eq!(house.store.settle_abandoned().await.unwrap(), 1);
    let both = async { (followed.await.unwrap(), told.await.unwrap()) };
    let (text, (told, closed)) =
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("both end");
    assert_eq!(text, "last words\n");
    assert!(closed && told.last().unwrap().data["conclusion"] == "cancelled");
    let page = house.page(&format!("/runs/{id}")).await;
    assert!(page.contains("superseded by <code>dddddddddddd</code>"), "{page}");
}
