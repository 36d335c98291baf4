//! An object store that is slow.

use crate::gate::Gate;
use crate::s3;
use crate::world::{Extra, Steps, World};

const CONFIG: &str = "version: 1\npreset: none\nconnectors:\n  - { kind: sh, match: \
    \"{name}/connector.txt\", where: { name: [\"source-*\"] } }\npipelines:\n  - for: { kind: sh }\n    \
    steps:\n      - { id: unit, image: x, run: \"true\" }\n";

/// More than the four workers and all that may rest beside them, and than may wait for the store.
const CONNECTORS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_wait_for_the_store_keep_no_job_from_its_start() {
    let server = s3::server().await;
    let gate = Gate::before(&server.endpoint, "/report.json").await;
    let env = [
        ("CHECKVALVE_STORE", format!("s3://{}/runs", s3::BUCKET)),
        ("AWS_ENDPOINT_URL", gate.endpoint.clone()),
        ("AWS_ACCESS_KEY_ID", s3::KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", s3::SECRET.to_owned()),
        ("AWS_REGION", s3::REGION.to_owned()),
    ];
    let extra = Extra { env: env.to_vec(), ..Extra::default() };
    let world =
        World::set_up(Steps::Host, None, extra, &[(".github/checkvalve.yml", CONFIG)]).await;
    let files: Vec<(String, &str)> =
        (0..CONNECTORS).map(|nth| (format!("source-{nth}/connector.txt"), "x")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, *text)).collect();
    let head = world.push("change", &files).await;
    world.open("change").await;
    // No report is written, so no job is archived: all of them are claimed, and end.
    world.until_check(&head, "checkvalve", "success").await;
    let run = world.runs().await.remove(0);
    let run = run["id"].as_str().unwrap();
    let report = format!("{}/runs/{run}/source-0/report.json", world.url);
    let is_written = async || world.http.get(&report).send().await.unwrap().status().is_success();
    assert!(!is_written().await);
    let metrics = world.http.get(format!("{}/metrics", world.url)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(&format!("checkvalve_jobs_unarchived {CONNECTORS}")), "{metrics}");
    assert!(world.server_log().contains("32 jobs wait for the object store"));

    gate.open();
    world.settle().await;
    assert!(is_written().await);
    for nth in [1, CONNECTORS - 1] {
        let name = format!("{}/runs/{run}/source-{nth}/report.html", world.url);
        assert!(world.http.get(name).send().await.unwrap().status().is_success(), "{nth}");
    }
    world.finish().await;
}
