//! From nothing to checks: a server without an App registers one, and goes on as it.

use std::time::Duration;

use github_simulator::Simulator;

use super::world::{Extra, Steps, World};

const CONFIG: &str = "preset: none\nconnectors: [{ match: \"{name}/connector.txt\" }]\n\
     pipelines: [{ steps: [{ id: unit, image: x, run: \"echo fine\" }] }]\n";

async fn unregistered() -> World {
    let extra = Extra { unregistered: true, ..Extra::default() };
    let files = [(".github/checkvalve.yml", CONFIG), ("source-a/connector.txt", "a")];
    World::set_up(Steps::Host, None, extra, &files).await
}

/// The address that the server printed last.
async fn printed(world: &World) -> String {
    world
        .until("the address is printed", async |world: &World| {
            world.server_log().contains("/setup?token=")
        })
        .await;
    let log = world.server_log();
    let address = log.lines().rfind(|line| line.contains("/setup?token=")).unwrap();
    address.trim().to_owned()
}

/// A browser, which is not led on without being asked.
fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Opens the page, presses the organisation's button, agrees at GitHub, and answers where GitHub
/// leads back to.
async fn agree(browser: &reqwest::Client, address: &str) -> String {
    let page = browser.get(address).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    let after = |text: &str, before: &str| text.split_once(before).unwrap().1.to_owned();
    let value = |text: &str| text.split('"').next().unwrap().replace("&quot;", "\"");
    let form = after(&page, "<form class=\"ask\" method=\"post\"");
    let action = value(&after(&form, "action=\""));
    assert!(action.contains("/organizations/acme/settings/apps/new?state="), "{action}");
    let manifest = value(&after(&form, "name=\"manifest\" value=\""));
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("manifest", &manifest)
        .finish();
    let sent = browser.post(&action).body(body);
    let sent = sent.header("content-type", "application/x-www-form-urlencoded").send();
    let sent = sent.await.unwrap();
    assert_eq!(sent.status(), 302);
    sent.headers()["location"].to_str().unwrap().to_owned()
}

async fn pull_request(world: &World, branch: &str) {
    let head = world.push(branch, &[("source-a/code.txt", branch)]).await;
    world.open(branch).await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: success\nsource-a / unit: success\n");
}

/// No file of the state folder holds a text.
fn nowhere_in_clear(world: &World, secret: &str) {
    let mut folders = vec![world.state.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds a secret in clear", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_app_registers_one_and_goes_on_as_it() {
    let mut world = unregistered().await;
    let (browser, address) = (browser(), printed(&world).await);
    assert!(address.starts_with(&format!("{}/setup?token=", world.url)), "{address}");
    let back = agree(&browser, &address).await;
    let before = world.sim.app().id;
    let answer = browser.get(&back).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let page = answer.text().await.unwrap();
    let app = world.sim.app();
    assert_ne!(app.id, before);
    let install = format!("{}/apps/{}/installations/new", world.sim.url(), app.slug);
    assert!(page.contains(&install) && page.contains("Install it"), "{page}");

    // The App's first delivery came while it was being registered, and is not lost.
    world.sim.quiet().await;
    let ping = world.sim.deliveries().into_iter().find(|one| one.event == "ping").unwrap();
    assert_eq!(ping.status_code, Some(202), "{}", ping.status);
    // No restart: the next pull request is answered.
    pull_request(&world, "first").await;

    // Nobody registers another one.
    for closed in [&address, &back] {
        assert_eq!(browser.get(closed).send().await.unwrap().status(), 404, "{closed}");
    }
    assert_eq!(world.sim.app().id, app.id);
    // The App is known after a crash, and its secrets lie nowhere in clear.
    world.kill();
    world.start().await;
    pull_request(&world, "second").await;
    assert_eq!(world.server_log().matches("/setup?token=").count(), 1);
    let key = app.private_key_pem.lines().nth(3).unwrap();
    for secret in [key, &app.webhook_secret] {
        nowhere_in_clear(&world, secret);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_not_ours_registers_nothing() {
    let world = unregistered().await;
    let (browser, address) = (browser(), printed(&world).await);
    let converted = |sim: &Simulator| {
        let calls = sim.calls().into_iter();
        calls.filter(|call| call.path.contains("/conversions")).map(|call| call.status).max()
    };
    world.sim.faults().wrong_manifest_state(true);
    let forged = agree(&browser, &address).await;
    assert_eq!(browser.get(&forged).send().await.unwrap().status(), 404);
    assert_eq!(converted(&world.sim), None, "its code was not even looked at");
    world.sim.faults().wrong_manifest_state(false);
    // A code that is too old: nothing is kept, and the address is good for another try.
    let late = agree(&browser, &address).await;
    world.sim.advance(Duration::from_mins(61));
    let answer = browser.get(&late).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("good once, and for an hour"));
    assert_eq!(converted(&world.sim), Some(404));
    // A worker can do nothing without an App, and says so.
    let worker = world.command("state", &["worker"]).output().unwrap();
    let said = String::from_utf8_lossy(&worker.stderr).into_owned();
    assert_eq!(worker.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no GitHub App yet"), "{said}");
}

/// Two servers wait on one database; each prints an address, and both go on as the one App.
#[tokio::test(flavor = "multi_thread")]
async fn all_servers_go_on_as_the_app_that_one_of_them_registered() {
    let Some(database) = super::postgres::database().await else { return };
    let extra = Extra {
        unregistered: true,
        env: vec![("CHECKVALVE_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".to_owned())],
        ..Extra::default()
    };
    let files = [(".github/checkvalve.yml", CONFIG), ("source-a/connector.txt", "a")];
    let mut world = World::set_up(Steps::Host, Some(database), extra, &files).await;
    let (browser, first) = (browser(), printed(&world).await);
    world.start_another().await;
    world
        .until("the other one prints its own", async |world: &World| {
            world.server_log().matches("/setup?token=").count() == 2
        })
        .await;
    let second = printed(&world).await;
    assert_ne!(first, second);
    // The second one's token, at the first one's door.
    let (_, token) = second.split_once("?token=").unwrap();
    let back = agree(&browser, &format!("{}/setup?token={token}", world.url)).await;
    assert!(browser.get(&back).send().await.unwrap().status().is_success());
    world
        .until("both go on", async |world: &World| {
            world.server_log().matches("going on as the GitHub App").count() == 2
        })
        .await;
    assert_eq!(browser.get(&first).send().await.unwrap().status(), 404);
    pull_request(&world, "change").await;
    world.finish().await;
}
