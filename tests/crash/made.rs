//! The server is killed before and after each image that it has the engine make or name: copies of what a
//! step left, snapshots for later runs, what a connector is built to. In the end all are as they should be,
//! and none is left that nobody has.

use checkvalve::ambient::failpoint::{self, Failpoint};

use crate::failpoints::{until_killed, until_ready_or_dead};
use crate::world::{Extra, Steps, World};
use crate::{images, left, made_once};

/// Two go on from what took so long that later runs would, too; and an image is built.
const CONFIG: &str = r#"
version: 1
preset: none
connectors: [{ kind: sh, match: "{name}/connector.txt" }]
pipelines:
  - for: { kind: sh }
    steps:
      - { id: install, image: "checkvalve-test/busybox:1", network: none, run: "sleep 3.2; echo done > it" }
      - { id: lint, from: install, network: none, run: "cat it" }
      - { id: unit, from: install, network: none, run: "cat it" }
      - { id: build, uses: build, network: none }
"#;
const DOCKERFILE: &str = "FROM checkvalve-test/busybox:1\nCOPY code.txt /code.txt\nRUN sleep 0.2\n";
const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/Dockerfile", DOCKERFILE),
];
const GREEN: &str = "checkvalve: success\nsource-a / build: success\nsource-a / install: success\n\
     source-a / lint: success\nsource-a / unit: success\n";

/// A job whose holders died five times is given up: each change has fewer.
pub(crate) const KILLS: [[&str; 2]; 3] = [
    ["keep-before:1:source-a", "keep-after:1:source-a"],
    ["tag-before:1:checkvalve-snapshot", "tag-after:1:checkvalve-snapshot"],
    ["build-before:1:source-a", "build-after:1:source-a"],
];

/// The snapshots of an installation, which are kept for later runs.
fn snapshots(world: &World) -> usize {
    let instance = std::fs::read_to_string(world.state.path().join("state/instance")).unwrap();
    let name = format!("checkvalve-snapshot/{}", instance.trim().to_lowercase());
    let listed = std::process::Command::new("docker").args(["images", "-q", &name]).output();
    String::from_utf8(listed.unwrap().stdout).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_made_and_cleared_away_whatever_dies() {
    if images::engine().await.is_none() {
        return;
    }
    let volumes = left::volumes();
    let env = [("CHECKVALVE_RECOVERY", "1s"), ("CHECKVALVE_LEASE", "15s")];
    let env = env.map(|(name, value)| (name, value.to_owned())).to_vec();
    let extra = Extra { env, ..Extra::default() };
    let mut world = World::set_up(Steps::Docker, None, extra, FILES).await;
    for (nth, failpoints) in KILLS.iter().enumerate() {
        let branch = format!("change-{nth}");
        world.kill();
        let mut head = String::new();
        for text in failpoints {
            let at: Failpoint = text.parse().unwrap();
            world.launch((failpoint::VARIABLE, text), 4);
            if head.is_empty() {
                until_ready_or_dead(&mut world).await;
                head = world.push(&branch, &[("source-a/code.txt", &branch)]).await;
                world.open(&branch).await;
            }
            until_killed(&mut world, &at).await;
        }
        world.start().await;
        world.settle().await;
        assert_eq!(world.table(&head), GREEN);
        made_once(&world, &head, 1);
        assert_eq!(snapshots(&world), nth + 1, "what later runs go on from");
    }
    // The reaper looks twice a minute.
    let nothing = async |world: &World| left::of(world, &volumes).is_empty();
    world.until("nothing is left on the engine", nothing).await;
    assert_eq!(snapshots(&world), KILLS.len());
    world.finish().await;
}
