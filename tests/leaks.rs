//! Nothing is left of jobs whose workers are killed at any moment: no container, network, volume or
//! image. `scripts/bench leaks` has more of them.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/images.rs"]
mod images;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use checkvalve::ambient;
use world::{Steps, World};

/// A chain whose heirs diverge, so that there are copies, and a step with a service that keeps its
/// data in a volume.
const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
pipelines:
  - for: { kind: sh }
    steps:
      - { id: install, image: "checkvalve-test/busybox:1", network: none, run: "echo installed > done; sleep 0.2" }
      - { id: unit, from: install, network: none, run: "cat done; sleep 0.3" }
      - { id: lint, from: install, network: none, run: "cat done; sleep 0.3" }
      - id: integration
        image: "checkvalve-test/busybox:1"
        network: none
        run: "nc -w 5 db 80 </dev/null; sleep 0.3"
        services:
          - alias: db
            image: "checkvalve-test/store:1"
            command: [sh, -c, "echo kept > /data/x; while :; do cat /data/x | nc -l -p 80; done"]
            ready: { port: 80 }
"#;

fn docker(args: &[&str]) -> BTreeSet<String> {
    let output = Command::new("docker").args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// What there is of an installation, by kind.
fn left(world: &World, volumes: &BTreeSet<String>) -> Vec<String> {
    let instance = std::fs::read_to_string(world.state.path().join("state/instance")).unwrap();
    let label = format!("label=io.checkvalve.instance={}", instance.trim());
    let mut left = Vec::new();
    for (kind, list) in [
        ("container", &["ps", "-aq", "--filter", &label][..]),
        ("network", &["network", "ls", "-q", "--filter", &label]),
        ("image", &["images", "-q", "--filter", &label]),
    ] {
        left.extend(docker(list).into_iter().map(|id| format!("{kind} {id}")));
    }
    let now = docker(&["volume", "ls", "-q"]);
    left.extend(now.difference(volumes).map(|id| format!("volume {id}")));
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_jobs_whose_workers_are_killed() {
    if images::engine().await.is_none() {
        return;
    }
    let jobs = ambient::env("CHECKVALVE_LEAKS_JOBS").and_then(|jobs| jobs.parse().ok());
    let rounds = jobs.unwrap_or(12_usize).div_ceil(4);
    let volumes = docker(&["volume", "ls", "-q"]);
    let names = ["source-a", "source-b", "source-c", "source-d"];
    let markers: Vec<String> = names.iter().map(|name| format!("{name}/connector.txt")).collect();
    let mut files = vec![(".github/checkvalve.yml", CONFIG)];
    files.extend(markers.iter().map(|marker| (marker.as_str(), "x")));
    let mut world = World::with(Steps::Docker, None, &files).await;
    let mut kills = 0;
    for round in 0..rounds {
        let branch = format!("change-{round}");
        let paths: Vec<String> = names.iter().map(|name| format!("{name}/code.txt")).collect();
        let changes: Vec<(&str, &str)> =
            paths.iter().map(|path| (path.as_str(), branch.as_str())).collect();
        let head = world.push(&branch, &changes).await;
        world.open(&branch).await;
        world.sim.quiet().await;
        // Three times at any moment of what takes some seconds.
        for _ in 0..3 {
            let moment = ambient::ulid().0 % 1800;
            tokio::time::sleep(Duration::from_millis(u64::try_from(moment).unwrap())).await;
            world.kill();
            kills += 1;
            world.start().await;
        }
        world.settle().await;
        assert_eq!(world.table(&head).matches("success").count(), 17, "{}", world.table(&head));
    }
    // The reaper looks twice a minute; what is a later run's to inherit took no three seconds.
    world.until("nothing is left", async |world: &World| left(world, &volumes).is_empty()).await;
    eprintln!("{} jobs, {kills} kills, nothing left", 4 * rounds);
    world.finish().await;
}
