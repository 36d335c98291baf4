//! Stored objects: ranges, artifacts, logs of ended steps.

use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::ids::RunId;
use checkvalve::domain::objects;
use checkvalve::domain::run::{Artifact, LogRef, StepFacts, StepRecord};
use checkvalve::domain::state::{Conclusion, Outcome};
use reqwest::header::HeaderMap;

use super::house::{House, Tale, finished, put, step_id};

/// A concluded run whose `unit` step left this log and one artifact.
async fn concluded(house: &House, log: impl Into<Bytes>) -> RunId {
    let log = log.into();
    let id = house.planned(&Tale::default()).await;
    let (lease, run, job) = house.claim().await;
    let prefix = objects::epoch_prefix(&run, &job.connector, lease.epoch);
    let key = format!("{prefix}/{}", objects::step_log(&step_id("unit"), 1));
    let path = "pages/index.html";
    let artifact = format!("{prefix}/{}", objects::step_artifact(&step_id("unit"), 1, path));
    let lines = String::from_utf8_lossy(&log).lines().count().try_into().unwrap();
    let facts = StepFacts {
        log: Some(LogRef { key: key.clone(), bytes: log.len().try_into().unwrap(), lines, cut: 0 }),
        artifacts: vec![Artifact { path: path.to_owned(), key: artifact.clone(), bytes: 25 }],
        ..StepFacts::default()
    };
    put(house, &key, log).await;
    put(house, &artifact, &b"<script>alert(1)</script>"[..]).await;
    let steps = [
        finished("install", Outcome::Succeeded),
        finished("lint", Outcome::Succeeded),
        StepRecord { facts, ..finished("unit", Outcome::Succeeded) },
        finished("publish <i>", Outcome::Succeeded),
    ];
    house.store.settle_job(lease, &steps, Conclusion::Success).await.unwrap();
    id
}

fn log_path(id: RunId) -> String {
    format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn parts_of_a_log_can_be_asked_for() {
    let house = House::open().await;
    let id = concluded(&house, "0123456789").await;
    for (range, status, body, content_range) in [
        (None, 200, "0123456789", None),
        (Some("bytes=0-3"), 206, "0123", Some("bytes 0-3/10")),
        (Some("bytes=7-"), 206, "789", Some("bytes 7-9/10")),
        (Some("bytes=-2"), 206, "89", Some("bytes 8-9/10")),
        (Some("bytes=5-500"), 206, "56789", Some("bytes 5-9/10")),
        (Some("bytes=x"), 200, "0123456789", None),
    ] {
        let mut request = house.request(reqwest::Method::GET, &log_path(id));
        // A compressor would count other bytes.
        request = request.header("accept-encoding", "gzip");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{range:?}");
        assert_eq!(header(answer.headers(), "content-range"), content_range);
        assert_eq!(header(answer.headers(), "accept-ranges"), Some("bytes"));
        assert_eq!(header(answer.headers(), "content-encoding"), None);
        assert_eq!(header(answer.headers(), "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.content_length(), Some(body.len().try_into().unwrap()));
        assert_eq!(answer.text().await.unwrap(), body);
    }
    let request = house.request(reqwest::Method::GET, &log_path(id)).header("range", "bytes=10-");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 416);
    assert_eq!(header(answer.headers(), "content-range"), Some("bytes */10"));
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "bad_range");
    let head = house.request(reqwest::Method::HEAD, &log_path(id)).send().await.unwrap();
    assert_eq!(header(head.headers(), "content-length"), Some("10"));
}

#[tokio::test]
async fn a_large_log_is_served_whole_and_shown_in_pages() {
    let house = House::open().await;
    let line = |n| format!("line {n} \u{1b}[31mred\u{1b}[0m\n");
    let lines = (1..=250_000).map(line).collect::<Vec<_>>().concat();
    let id = concluded(&house, lines.clone()).await;
    assert_eq!(house.page(&log_path(id)).await, lines);
    let step = format!("/runs/{id}/source-faker/unit");
    let page = house.page(&step).await;
    assert!(page.contains("id=\"L248001\"") && page.contains("id=\"L250000\""));
    assert!(!page.contains("id=\"L248000\""));
    assert!(page.contains("<span class=\"a-red\">red</span>"), "colours as classes");
    assert!(page.contains("?attempt=1&amp;log=125#L250000"), "lines are linkable");
    let page = house.page(&format!("{step}?log=3")).await;
    assert!(page.contains("id=\"L4001\"") && page.contains("id=\"L6000\""));
    assert!(!page.contains("id=\"L6001\""));
    let page = house.page(&format!("{step}?log=9999")).await;
    assert!(page.contains("The log has no such part."));
}

#[tokio::test]
async fn an_empty_log_is_said_to_be_empty() {
    let house = House::open().await;
    let id = concluded(&house, "").await;
    assert_eq!(house.page(&log_path(id)).await, "");
    let page = house.page(&format!("/runs/{id}/source-faker/unit")).await;
    assert!(page.contains("The step printed nothing."), "{page}");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_told_apart_from_an_empty_one() {
    let house = House::open().await;
    let id = concluded(&house, "x").await;
    let path = log_path(id).replace("/unit/", "/lint/");
    let answer = house.get(&path).await;
    assert_eq!(answer.status(), 404);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "no_log");
    for bad in ["?attempt=0", "?attempt=2"] {
        assert_eq!(house.get(&format!("{}{bad}", log_path(id))).await.status(), 404);
    }
}

#[tokio::test]
async fn artifacts_are_downloads_that_can_do_nothing_here() {
    let house = House::open().await;
    let id = concluded(&house, "x").await;
    let base = format!("/runs/{id}/source-faker/unit/artifacts");
    let answer = house.get(&format!("{base}/pages/index.html")).await;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    assert_eq!(header(&headers, "content-type"), Some("application/octet-stream"));
    assert_eq!(
        header(&headers, "content-disposition"),
        Some("attachment; filename*=UTF-8''index%2Ehtml")
    );
    assert_eq!(
        header(&headers, "content-security-policy"),
        Some("default-src 'none'; frame-ancestors 'none'; sandbox")
    );
    assert_eq!(header(&headers, "x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.text().await.unwrap(), "<script>alert(1)</script>");
    for path in ["other.html", "pages/..%2F..%2Flog.txt", "%2e%2e/log.txt", "pages//index.html"] {
        assert_eq!(house.get(&format!("{base}/{path}")).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn reports_are_found_under_both_their_names() {
    let house = House::open().await;
    let id = concluded(&house, "x").await;
    let (run, path) = (house.run(id).await, format!("/runs/{id}/source-faker"));
    let job = &run.jobs[0];
    assert_eq!(house.get(&format!("{path}/report.html")).await.status(), 404);
    let first = objects::epoch_prefix(&run, &job.connector, job.epoch);
    put(&house, &format!("{first}/report.html"), "<p>first</p>").await;
    let answer = house.get(&format!("{path}/report.html")).await;
    let policy = header(answer.headers(), "content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'"));
    assert!(policy.ends_with("sandbox") && !policy.contains("script"));
    assert_eq!(header(answer.headers(), "content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.text().await.unwrap(), "<p>first</p>");
    let last = objects::job_prefix(&run, &job.connector);
    for (file, kind) in [
        ("report.html", "text/html; charset=utf-8"),
        ("report.json", "application/json"),
        ("junit.xml", "application/xml"),
        ("graph.svg", "image/svg+xml"),
        ("timeline.svg", "image/svg+xml"),
        ("log.txt", "text/plain; charset=utf-8"),
    ] {
        put(&house, &format!("{last}/{file}"), "last").await;
        let answer = house.get(&format!("{path}/{file}")).await;
        assert_eq!(header(answer.headers(), "content-type"), Some(kind), "{file}");
        assert!(header(answer.headers(), "content-security-policy").unwrap().contains("sandbox"));
        assert_eq!(answer.text().await.unwrap(), "last", "{file}");
    }
}

#[tokio::test]
async fn a_log_is_found_where_an_earlier_holder_left_it() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let term = Duration::from_secs(1);
    let (lease, run, job) = house.store.claim_job(house.worker, term).await.unwrap().unwrap();
    let file = objects::step_log(&step_id("install"), 1);
    let first = objects::epoch_prefix(&run, &job.connector, lease.epoch);
    put(&house, &format!("{first}/{file}"), "of the first holder").await;
    // The record names the final key, which is made only when the job has ended.
    let key = format!("{}/{file}", objects::job_prefix(&run, &job.connector));
    let facts = StepFacts {
        log: Some(LogRef { key, bytes: 19, lines: 1, cut: 0 }),
        ..StepFacts::default()
    };
    let install = StepRecord { facts, ..finished("install", Outcome::Succeeded) };
    house.store.record(&lease, &[install]).await.unwrap();
    let path = log_path(id).replace("/unit/", "/install/");
    assert_eq!(house.page(&path).await, "of the first holder");
    tokio::time::sleep(term + Duration::from_millis(200)).await;
    let (second, ..) = house.claim().await;
    assert!(second.epoch > lease.epoch);
    assert_eq!(house.page(&path).await, "of the first holder");
}
