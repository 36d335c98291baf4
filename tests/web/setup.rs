//! `/setup`, and the secrets of the webhook that come and go while the server answers.

use std::time::Duration;

use checkvalve::secrets::seal::Seal;
use checkvalve::store::{SecretState, StoredApp};
use checkvalve::web::kept_secret;
use github_simulator::{Config, Simulator};
use secrecy::{ExposeSecret, SecretString};

use super::house::{House, NEXT_SECRET, Plot, SECRET};

const PING: &[u8] = br#"{"zen":"Keep it logically awesome.","hook_id":1}"#;

/// A server without an App, beside a GitHub that would make one.
async fn without_app() -> (House, Simulator) {
    let simulator = Simulator::start(Config::default()).await.unwrap();
    let github = Some(simulator.api_url());
    (House::on(Plot { github, ..Plot::default() }).await, simulator)
}

async fn token(house: &House) -> String {
    let registration = house.registration.as_ref().unwrap();
    let token = registration.offer(&house.store, house.worker).await.unwrap();
    token.expose_secret().to_owned()
}

/// Status and text.
async fn told(house: &House, path: &str) -> (u16, String) {
    let answer = house.get(path).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// What stands between two texts on a page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split_once(after).unwrap().0
}

#[tokio::test]
async fn a_stranger_finds_no_setup() {
    let house = House::open().await;
    let nothing = told(&house, "/nowhere").await;
    for path in ["/setup", "/setup?token=abc", "/setup/callback?code=a&state=b"] {
        assert_eq!(told(&house, path).await, nothing, "{path}: an App is in the settings");
    }
    let (house, _simulator) = without_app().await;
    let nothing = told(&house, "/nowhere").await;
    assert_eq!(nothing.0, 404);
    let good = token(&house).await;
    let state =
        between(&told(&house, &format!("/setup?token={good}")).await.1, "state=", "\"").to_owned();
    let (text, mark) = state.rsplit_once('.').unwrap();
    let later = format!("9{text}.{mark}");
    for path in [
        "/setup".to_owned(),
        "/setup?token=".to_owned(),
        format!("/setup?token={}", &good[1..]),
        format!("/setup?token={}", "0".repeat(64)),
        format!("/setup?Token={good}"),
        "/setup/callback".to_owned(),
        "/setup/callback?code=abc".to_owned(),
        format!("/setup/callback?code=abc&state={good}"),
        format!("/setup/callback?code=abc&state={later}"),
        format!("/setup/callback?code=abc&state={text}.{}", "0".repeat(64)),
    ] {
        assert_eq!(told(&house, &path).await, nothing, "{path}");
    }
    assert_eq!(house.request(reqwest::Method::POST, "/setup").send().await.unwrap().status(), 405);
    assert_eq!(told(&house, &format!("/setup?token={good}")).await.0, 200);
}

#[tokio::test]
async fn who_guesses_tokens_is_told_to_wait_and_keeps_nobody_out() {
    let (house, _simulator) = without_app().await;
    let good = token(&house).await;
    let mut last = 0;
    for n in 0..30 {
        let answer = house.get(&format!("/setup?token={n:064}")).await;
        last = answer.status().as_u16();
        let waits = answer.headers().get("retry-after").is_some();
        assert!(matches!((last, waits), (404, false) | (429, true)), "{n}: {last}");
    }
    assert_eq!(last, 429);
    assert_eq!(house.get("/setup/callback?code=a&state=1.2.3").await.status(), 429);
    assert_eq!(told(&house, &format!("/setup?token={good}")).await.0, 200);
}

#[tokio::test]
async fn the_form_asks_github_for_what_we_need_and_for_no_more() {
    let (house, simulator) = without_app().await;
    let good = token(&house).await;
    let answer = house.get(&format!("/setup?token={good}")).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer", "the address holds the token");
    assert!(header("content-security-policy").contains(&format!("'self' {}", simulator.url())));
    let page = answer.text().await.unwrap();
    let github = simulator.url();
    assert!(page.contains(&format!("{github}/organizations/acme/settings/apps/new?state=")));
    assert!(page.contains(&format!("{github}/settings/apps/new?state=")));
    assert!(page.contains("GitHub can't reach http://127.0.0.1"), "it is said beforehand");
    let manifest = between(&page, "name=\"manifest\" value=\"", "\"").replace("&quot;", "\"");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["public"], false);
    assert_eq!(manifest["redirect_url"], format!("{}/setup/callback", house.base));
    assert_eq!(manifest["hook_attributes"]["url"], format!("{}/webhooks/github", house.base));
    assert_eq!(manifest["default_permissions"]["merge_queues"], "read");

    // Another organisation, an account that can't be one, an older Enterprise Server.
    let page = told(&house, &format!("/setup?token={good}&organization=other-org")).await.1;
    assert!(page.contains("/organizations/other-org/settings/apps/new?state="), "{page}");
    let wrong = told(&house, &format!("/setup?token={good}&organization=a%2Fb%22")).await;
    assert!(wrong.0 == 400 && !wrong.1.contains("a/b"), "{}", wrong.1);
    simulator.enterprise_server(Some("3.19")).unwrap();
    let page = told(&house, &format!("/setup?token={good}")).await.1;
    assert!(!page.contains("merge_"), "{page}");
    simulator.stop().await;
    let page = told(&house, &format!("/setup?token={good}")).await.1;
    assert!(page.contains("GitHub does not answer this server"), "{page}");
}

#[tokio::test]
async fn a_new_token_ends_the_one_before_and_its_forms() {
    let (house, simulator) = without_app().await;
    let first = token(&house).await;
    let page = told(&house, &format!("/setup?token={first}")).await.1;
    let state = between(&page, "state=", "\"");
    let second = token(&house).await;
    assert_eq!(told(&house, &format!("/setup?token={first}")).await.0, 404);
    let back = format!("/setup/callback?code=abc&state={state}");
    assert_eq!(told(&house, &back).await.0, 404);
    assert!(!simulator.calls().iter().any(|call| call.path.contains("conversions")));
    // With the right state it is GitHub who does not know the code; nothing is spent by it.
    let page = told(&house, &format!("/setup?token={second}")).await.1;
    let state = between(&page, "state=", "\"");
    let unknown = told(&house, &format!("/setup/callback?code=abc&state={state}")).await;
    assert_eq!(unknown.0, 400);
    assert!(unknown.1.contains("good once") && unknown.1.contains("delete it there first"));
    let none = told(&house, &format!("/setup/callback?state={state}")).await;
    assert!(none.0 == 400 && none.1.contains("no code"), "{}", none.1);
    let long = "a".repeat(300);
    for code in ["..%2F..%2Fx", "a%20b", long.as_str()] {
        let path = format!("/setup/callback?code={code}&state={state}");
        assert_eq!(told(&house, &path).await.0, 400, "{code}");
    }
    assert_eq!(told(&house, &format!("/setup?token={second}")).await.0, 200);
}

#[tokio::test]
async fn without_an_app_a_delivery_waits_for_its_secret_and_is_not_lost_silently() {
    let (house, _simulator) = without_app().await;
    let waiting = tokio::spawn(house.hook("of the app", "ping", "early", PING).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    let answer = house.hook("of the app", "ping", "late", PING).send();
    let (answer, waited) = tokio::join!(answer, waiting);
    for answer in [answer.unwrap(), waited.unwrap().unwrap()] {
        assert_eq!(answer.status(), 503, "GitHub's log shows that it failed");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "no_app");
    }
}

async fn status(house: &House, secret: &str, guid: &str) -> u16 {
    house.hook(secret, "ping", guid, PING).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_secret_counts_from_the_moment_it_is_stored() {
    let house = House::open().await;
    let secret = |text: &str| SecretString::from(text.to_owned());
    assert_eq!(status(&house, "the third", "0").await, 401);
    let third = kept_secret(&house.seal, &secret("the third")).unwrap();
    house.store.begin_secret(&third).await.unwrap().unwrap();
    // Nobody has told this process.
    assert_eq!(status(&house, "the third", "1").await, 202);
    let row = house.store.webhook_secrets().await.unwrap().remove(0);
    assert!(row.heard && row.seen && row.state == SecretState::Next, "{row:?}");
    for (secret, guid) in [(SECRET, "2"), (NEXT_SECRET, "3")] {
        assert_eq!(status(&house, secret, guid).await, 202);
    }

    let given = kept_secret(&house.seal, &secret(SECRET)).unwrap();
    let grace = Duration::from_millis(400);
    assert!(house.store.promote_secret(&third.mark, &[given], grace).await.unwrap());
    assert_eq!(status(&house, "nobody's", "4").await, 401, "and the database was asked");
    for (secret, guid) in [(SECRET, "5"), ("the third", "6")] {
        assert_eq!(status(&house, secret, guid).await, 202);
    }
    tokio::time::sleep(grace).await;
    assert_eq!(status(&house, "nobody's", "7").await, 401);
    assert_eq!(status(&house, SECRET, "8").await, 401, "though it stands in the settings");
    assert_eq!(status(&house, "the third", "9").await, 202);
    let metrics = house.page("/metrics").await;
    for (secret, count) in [("current", 3), ("next", 2), ("previous", 1)] {
        let line = format!("checkvalve_webhook_signatures_total{{secret=\"{secret}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn what_is_signed_with_the_secret_of_a_forgotten_app_is_refused() {
    let house = House::open().await;
    let leaked = kept_secret(&house.seal, &SecretString::from("leaked".to_owned())).unwrap();
    let [app_id, slug, url, client_id] = ["77", "ours", "https://x", "Iv1"].map(str::to_owned);
    let app = StoredApp { app_id, slug, url, client_id, sealed: Vec::new() };
    assert!(house.store.keep_app(&app, &leaked, &[]).await.unwrap());
    assert_eq!(status(&house, "leaked", "1").await, 202);
    assert!(house.store.forget_app().await.unwrap());
    assert_eq!(status(&house, "nobody's", "2").await, 401, "and the database was asked");
    assert_eq!(status(&house, "leaked", "3").await, 401);
    assert_eq!(status(&house, SECRET, "4").await, 202);
}

/// Registers an App as a browser does; the secret of its webhook.
async fn register(house: &House, simulator: &Simulator) -> String {
    let token = token(house).await;
    let page = told(house, &format!("/setup?token={token}")).await.1;
    let action = between(&page, "<form class=\"ask\" method=\"post\" action=\"", "\"").to_owned();
    let manifest = between(&page, "name=\"manifest\" value=\"", "\"").replace("&quot;", "\"");
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.append_pair("manifest", &manifest).finish();
    let sent = house.client.post(&action).body(body);
    let sent = sent.header("content-type", "application/x-www-form-urlencoded").send();
    let back = sent.await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    let back = back.strip_prefix(&house.base).unwrap();
    assert_eq!(told(house, back).await.0, 200);
    simulator.app().webhook_secret
}

#[tokio::test]
async fn an_old_secret_never_verifies_for_another_app() {
    let simulator = Simulator::start(Config::default()).await.unwrap();
    let github = Some(simulator.api_url());
    let house = House::on(Plot { github, secrets_left: true, ..Plot::default() }).await;
    // Of the App that the settings named; it was rotated, too, a moment ago.
    assert_eq!(status(&house, SECRET, "1").await, 202);
    for text in ["rotated", "rotated again", "begun"] {
        let secret = kept_secret(&house.seal, &SecretString::from(text.to_owned())).unwrap();
        house.store.begin_secret(&secret).await.unwrap().unwrap();
        if text != "begun" {
            let grace = Duration::from_mins(10);
            assert!(house.store.promote_secret(&secret.mark, &[], grace).await.unwrap());
        }
        assert_eq!(status(&house, text, text).await, 202);
    }
    let mut old = vec![SECRET, NEXT_SECRET, "rotated", "rotated again", "begun"];
    let first = register(&house, &simulator).await;
    for (nth, old) in old.iter().enumerate() {
        assert_eq!(status(&house, old, &format!("first-{nth}")).await, 401, "{old}");
    }
    assert_eq!(status(&house, &first, "2").await, 202);
    assert!(house.store.forget_app().await.unwrap());
    let second = register(&house, &simulator).await;
    assert_ne!(first, second);
    old.push(&first);
    for (nth, old) in old.iter().enumerate() {
        assert_eq!(status(&house, old, &format!("second-{nth}")).await, 401, "{old}");
    }
    assert_eq!(status(&house, &second, "3").await, 202);
}

#[tokio::test]
async fn a_next_secret_under_another_key_is_passed_over_and_left_unheard() {
    let house = House::open().await;
    let foreign = kept_secret(&Seal::new(&[1; 32]).unwrap(), &"foreign".to_owned().into()).unwrap();
    house.store.begin_secret(&foreign).await.unwrap().unwrap();
    assert_eq!(status(&house, "nobody's", "1").await, 401, "not 503: it is known who signs");
    assert_eq!(status(&house, SECRET, "2").await, 202);
    assert!(!house.store.webhook_secrets().await.unwrap().remove(0).heard);
    // Nobody has it, so the command that began with it may give it up, and another begin.
    assert!(house.store.drop_unheard_secret(&foreign.mark).await.unwrap());
    let ours = kept_secret(&house.seal, &"ours".to_owned().into()).unwrap();
    house.store.begin_secret(&ours).await.unwrap().unwrap();
    assert_eq!(status(&house, "ours", "3").await, 202);
}
