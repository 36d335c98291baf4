//! GitHub Enterprise Server: another host, another authority, other numbers, parts missing.

use std::sync::Arc;

use github_simulator::Simulator;

use super::https::Https;
use super::world::{Extra, Prepare, REPO, Steps, World};

const CONFIG: &str = "preset: none\nconnectors: [{ match: \"{name}/connector.txt\" }]\n\
     pipelines: [{ steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }] }]\n";

const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "exit 1\n"),
];

/// A world on an Enterprise Server, and its address; `None` where no certificates can be made.
async fn enterprise(version: &'static str) -> Option<(World, Arc<Https>)> {
    let https = Arc::new(Https::new().await?);
    let way = https.clone();
    let github: Prepare = Box::new(move |sim: &Simulator| {
        way.lead_to(&sim.url());
        sim.known_as(&way.url);
        sim.enterprise_server(Some(version)).unwrap();
        sim.faults().old_payloads(true);
    });
    let ca_file = https.ca_file.display().to_string();
    let extra = Extra {
        env: vec![("CHECKVALVE_CA_FILE", ca_file)],
        github: Some(github),
        ..Extra::default()
    };
    let world = World::set_up(Steps::Host, None, extra, FILES).await;
    Some((world, https))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_on_an_enterprise_server_is_answered() {
    let Some((world, https)) = enterprise("3.19").await else { return };
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: failure\nsource-a / unit: failure\n");
    // Its addresses are that server's, wherever they stand.
    for check in world.checks(&head) {
        let output = &check.output;
        let words = [&output.title, &output.summary, &output.text];
        let words = words.map(|part| part.clone().unwrap_or_default()).concat();
        assert!(!words.contains("github.com"), "{words}");
    }
    let run = world.runs().await.remove(0);
    let page = format!("{}/runs/{}", world.url, run["id"].as_str().unwrap());
    let page = world.http.get(page).send().await.unwrap().text().await.unwrap();
    let pull = format!("{}/{REPO}/pull/{number}", https.url);
    assert!(page.contains(&pull) && !page.contains("github.com"), "{pull}: {page}");

    // Commands, buttons and a new head, as elsewhere.
    world.sim.comment(REPO, number, "ada", "/retest").await.unwrap();
    world.settle().await;
    let unit = world.check(&head, "source-a / unit");
    world.sim.rerequest_check_run(REPO, unit.id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 3);
    let head = world.push("change", &[("source-a/unit.sh", "exit 0\n")]).await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: success\nsource-a / unit: success\n");

    let calls = world.sim.calls();
    assert!(calls.iter().any(|call| call.path.contains(".git/")), "git went the same way");
    let refused: Vec<_> =
        calls.iter().filter(|call| matches!(call.status, 400 | 403 | 410)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(!world.server_log().contains("limits our rate"), "what is not told is not known");
    world.finish().await;
}
