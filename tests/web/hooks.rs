//! `POST /webhooks/github`.

use std::time::Instant;

use checkvalve::github::webhook::EVENTS;

use super::house::{House, NEXT_SECRET, SECRET, signature};

const PING: &[u8] = br#"{"zen":"Keep it logically awesome.","hook_id":1}"#;

async fn status(answer: reqwest::RequestBuilder) -> (u16, serde_json::Value) {
    let answer = answer.send().await.unwrap();
    let code = answer.status().as_u16();
    (code, answer.json().await.unwrap())
}

#[tokio::test]
async fn a_signed_delivery_is_on_disk_before_it_is_acknowledged() {
    let house = House::open().await;
    let (code, body) = status(house.hook(SECRET, "ping", "guid-1", PING)).await;
    assert_eq!((code, &body["status"]), (202, &"accepted".into()));
    let claimed = house.store.claim_delivery().await.unwrap().unwrap();
    assert_eq!((claimed.guid.as_str(), claimed.event.as_str()), ("guid-1", "ping"));
    assert_eq!(claimed.body, PING);

    let (code, body) = status(house.hook(SECRET, "ping", "guid-1", PING)).await;
    assert_eq!((code, &body["status"]), (202, &"duplicate".into()));
    assert!(house.store.claim_delivery().await.unwrap().is_none());
}

#[tokio::test]
async fn every_secret_is_tried_and_counted() {
    let house = House::open().await;
    for (secret, guid) in [(SECRET, "1"), (NEXT_SECRET, "2"), (NEXT_SECRET, "3")] {
        assert_eq!(status(house.hook(secret, "ping", guid, PING)).await.0, 202);
    }
    let metrics = house.page("/metrics").await;
    assert!(metrics.contains("checkvalve_webhook_signatures_total{secret=\"current\"} 1\n"));
    assert!(metrics.contains("checkvalve_webhook_signatures_total{secret=\"next\"} 2\n"));
    assert!(metrics.contains("checkvalve_webhook_requests_total{result=\"accepted\"} 3\n"));
}

#[tokio::test]
async fn what_is_not_githubs_is_refused_and_not_kept() {
    let house = House::open().await;
    let good = signature(SECRET, PING);
    let bad = [
        signature("another secret", PING),
        good.to_uppercase(),
        good.replace("sha256=", "sha1="),
        good[..good.len() - 1].to_owned(),
        "sha256=".to_owned(),
        "é".to_owned(),
    ];
    for signature in bad {
        let request = house
            .request(reqwest::Method::POST, "/webhooks/github")
            .header("content-type", "application/json")
            .header("x-github-event", "ping")
            .header("x-github-delivery", "guid")
            .header("x-hub-signature-256", signature.as_bytes())
            .body(PING);
        let (code, body) = status(request).await;
        assert_eq!((code, &body["error"]["code"]), (401, &"unsigned".into()), "{signature}");
        assert!(!body.to_string().contains(&good), "the good signature was told");
    }
    let unsigned = house
        .request(reqwest::Method::POST, "/webhooks/github")
        .header("content-type", "application/json")
        .body(PING);
    assert_eq!(status(unsigned).await.0, 401);
    // Cut short on its way: the signature is over more.
    let cut = house.hook(SECRET, "ping", "guid", PING).body(PING[..PING.len() - 1].to_vec());
    assert_eq!(status(cut).await.0, 401);
    assert!(house.store.claim_delivery().await.unwrap().is_none());
}

#[tokio::test]
async fn the_signature_is_judged_before_the_content() {
    let house = House::open().await;
    // Not JSON and wrongly signed: 401. Not JSON, and signed: 400.
    let (code, _) = status(house.hook("wrong", "ping", "guid", b"not JSON")).await;
    assert_eq!(code, 401);
    for body in [&b"not JSON"[..], b"{\"a\":1", b"{\"a\":1} x", b"", b"{\"a\":\"\xff\"}"] {
        let (code, answer) = status(house.hook(SECRET, "ping", "guid", body)).await;
        assert_eq!((code, &answer["error"]["code"]), (400, &"malformed".into()), "{body:?}");
    }
    for missing in ["x-github-event", "x-github-delivery"] {
        let mut request = house.hook(SECRET, "ping", "guid", PING).build().unwrap();
        request.headers_mut().remove(missing);
        let answer = house.client.execute(request).await.unwrap();
        assert_eq!(answer.status(), 400, "without {missing}");
    }
    assert!(house.store.claim_delivery().await.unwrap().is_none());
}

#[tokio::test]
async fn content_types_are_json_and_form() {
    let house = House::open().await;
    let json = house.hook(SECRET, "ping", "json", PING);
    let json = json.header("content-type", "application/json; charset=utf-8");
    // `header` appends; the first one counts, and both are JSON here.
    assert_eq!(status(json).await.0, 202);

    let payload: String = url::form_urlencoded::byte_serialize(PING).collect();
    let form = format!("payload={payload}");
    let mut request = house.hook(SECRET, "ping", "form", form.as_bytes()).build().unwrap();
    let kind = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    assert_eq!(house.client.execute(request).await.unwrap().status(), 202);
    let bodies = [
        house.store.claim_delivery().await.unwrap().unwrap().body,
        house.store.claim_delivery().await.unwrap().unwrap().body,
    ];
    assert_eq!(bodies, [PING, PING], "the form's payload is kept, not the form");

    for kind in ["text/plain", "application/xml", "multipart/form-data"] {
        let mut request = house.hook(SECRET, "ping", "other", PING).build().unwrap();
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(house.client.execute(request).await.unwrap().status(), 415, "{kind}");
    }
    let mut request = house.hook(SECRET, "ping", "none", b"other=1").build().unwrap();
    let kind = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    assert_eq!(house.client.execute(request).await.unwrap().status(), 400, "no payload field");
}

#[tokio::test]
async fn twenty_five_mebibytes_are_taken_and_one_more_byte_is_not() {
    const LIMIT: usize = 25 * 1024 * 1024;
    let house = House::open().await;
    let padded = |size: usize| {
        let mut body = br#"{"a":""#.to_vec();
        body.resize(size - 2, b'x');
        body.extend_from_slice(b"\"}");
        body
    };
    let (code, _) = status(house.hook(SECRET, "push", "whole", &padded(LIMIT))).await;
    assert_eq!(code, 202);
    let (code, body) = status(house.hook(SECRET, "push", "more", &padded(LIMIT + 1))).await;
    assert_eq!((code, &body["error"]["code"]), (413, &"too_large".into()));
    // Without a declared length.
    let chunks = padded(LIMIT + 1).chunks(1024 * 1024).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = house.hook(SECRET, "push", "chunked", PING).body(body);
    assert_eq!(status(request).await.0, 413);
}

#[tokio::test]
async fn unknown_events_are_kept_and_echoes_of_checks_are_counted() {
    let house = House::open().await;
    for (event, body, expected) in [
        ("sponsorship", &br#"{"action":"created","much":"text"}"#[..], "ignored"),
        ("pull_request", br#"{"action":"levitated"}"#, "accepted"),
        // JSON all the same; whoever handles it says what is wrong with it.
        ("issue_comment", br#"{"action":{"deep":[1,2]}}"#, "accepted"),
        ("ping", b"[null, true, 1.5, -7, \"x\"]", "accepted"),
        ("check_run", br#"{"action":"rerequested","check_run":{}}"#, "accepted"),
        ("check_run", br#"{"action":"completed","check_run":{"much":"text"}}"#, "ignored"),
        ("check_suite", br#"{"action":"requested","check_suite":{}}"#, "ignored"),
    ] {
        let guid = format!("{event} {}", body.len());
        let (code, answer) = status(house.hook(SECRET, event, &guid, body)).await;
        assert_eq!((code, &answer["status"]), (202, &expected.into()), "{event}");
        let claimed = house.store.claim_delivery().await.unwrap().unwrap();
        assert_eq!(claimed.guid, guid);
        let kept = claimed.body == body;
        assert_eq!(
            kept,
            !String::from_utf8_lossy(body).contains("check_") || expected == "accepted"
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&claimed.body).is_ok());
    }
}

#[tokio::test]
async fn every_event_that_is_acted_on_is_counted_as_accepted() {
    let house = House::open().await;
    let unasked = ["installation", "installation_repositories", "ping"];
    for event in EVENTS.into_iter().chain(unasked) {
        let body = format!(r#"{{"of":"{event}"}}"#);
        let (code, answer) = status(house.hook(SECRET, event, event, body.as_bytes())).await;
        assert_eq!((code, &answer["status"]), (202, &"accepted".into()), "{event}");
    }
}

#[tokio::test]
async fn github_sees_a_failure_when_the_database_is_away() {
    let house = House::open().await;
    assert_eq!(house.get("/readyz").await.status(), 200);
    house.store.close().await;
    let (code, body) = status(house.hook(SECRET, "ping", "guid", PING)).await;
    assert_eq!((code, &body["error"]["code"]), (503, &"unavailable".into()));
    let text = body.to_string();
    assert!(!text.contains("sqlite") && !text.contains("/tmp"), "internals were told: {text}");
    let ready = house.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    let ready: serde_json::Value = ready.json().await.unwrap();
    assert_eq!((&ready["database"]["ok"], &ready["store"]["ok"]), (&false.into(), &true.into()));
    assert_eq!(house.page("/healthz").await, "ok\n");
    // Pages say so too.
    let page = house.get("/").await;
    assert_eq!(page.status(), 503);
    assert!(page.text().await.unwrap().contains("The database does not answer."));
}

/// GitHub hangs up after ten seconds, an Enterprise Server after thirty: it hears of the failure before,
/// each in its time, and what it sends again is stored once.
#[tokio::test]
async fn a_database_that_is_busy_is_answered_for_before_github_hangs_up() {
    let house = House::open().await;
    let mut lock = house.lock_database().await;
    let enterprise = ("x-github-enterprise-version", "3.19.0");
    let slow = async |guid: &str, from: Option<(&str, &str)>| {
        let mut hook = house.hook(SECRET, "ping", guid, PING);
        if let Some((name, value)) = from {
            hook = hook.header(name, value);
        }
        let sent = Instant::now();
        let (code, body) = status(hook).await;
        assert_eq!((code, &body["error"]["code"]), (503, &"unavailable".into()), "{guid}");
        sent.elapsed().as_secs()
    };
    // Both at once: neither's wait is the other's.
    let (here, there) =
        tokio::join!(slow("of-github", None), slow("of-a-server", Some(enterprise)));
    // That they end before GitHub does is written beside them; how late a busy machine is, is its own.
    assert!((8..28).contains(&here), "{here} s");
    assert!(there >= 28, "{there} s");

    sqlx::query("rollback").execute(&mut lock).await.unwrap();
    for guid in ["of-github", "of-a-server"] {
        let (code, body) = status(house.hook(SECRET, "ping", guid, PING)).await;
        let known = [&body["status"] == "accepted", &body["status"] == "duplicate"];
        assert!(code == 202 && known.contains(&true), "{code}: {body}");
    }
    let mut kept = Vec::new();
    while let Some(claimed) = house.store.claim_delivery().await.unwrap() {
        kept.push(claimed.guid);
    }
    kept.sort();
    assert_eq!(kept, ["of-a-server", "of-github"]);
}

#[tokio::test]
async fn the_hook_answers_only_posts() {
    let house = House::open().await;
    let answer = house.get("/webhooks/github").await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
}
