//! Nothing is left of jobs whose workers are killed at any moment: no container, network, volume or
//! image. `scripts/bench leaks` has more of them.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/images.rs"]
mod images;
#[path = "support/left.rs"]
mod left;
#[macro_use]
#[path = "support/world.rs"]
mod world;

use std::process::Command;
use std::time::Duration;

use checkvalve::ambient;
use world::{Steps, World};

/// A chain whose heirs diverge, so that there are copies, a step with a service that keeps its data in
/// a volume, and an image that is built in stages.
const CONFIG: &str = sources_with!(
    r#"      - { id: install, image: "checkvalve-test/busybox:1", network: none, run: "echo installed > done; sleep 0.2" }
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
      - { id: build, uses: build, network: none }
"#
);

/// All of its layers have the label.
fn dockerfile(label: &str) -> String {
    format!(
        "FROM checkvalve-test/busybox:1 AS first\nLABEL {label}=yes\nRUN sleep 0.2; echo x > /x\n\
         FROM checkvalve-test/busybox:1\nLABEL {label}=yes\nCOPY code.txt /code.txt\n\
         COPY --from=first /x /x\nRUN sleep 0.3; echo y > /y\n"
    )
}

/// Images with a label, whether anything has a name: layers of builds have no other sign.
fn labelled(label: &str) -> Vec<String> {
    let filter = format!("label={label}");
    let asked = ["images", "-aq", "--no-trunc", "--filter", &filter];
    let listed = Command::new("docker").args(asked).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

/// All layers of a world's builds: the first part of their label's value is its own.
fn layers(world: &World) -> Vec<String> {
    const LABEL: &str = "io.checkvalve.layer";
    let owner = std::fs::read_to_string(world.state.path().join("state/builds/owner")).unwrap();
    let own = format!("{}.", owner.trim());
    let value = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    let mut layers = labelled(LABEL);
    layers.retain(|id| {
        let asked = ["image", "inspect", "--format", &value, id];
        let told = Command::new("docker").args(asked).output().unwrap();
        String::from_utf8_lossy(&told.stdout).starts_with(&own)
    });
    layers
}

fn label() -> String {
    format!("leaks-{}", ambient::ulid().to_string().to_lowercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_jobs_whose_workers_are_killed() {
    if images::engine().await.is_none() {
        return;
    }
    let jobs = ambient::env("CHECKVALVE_LEAKS_JOBS").and_then(|jobs| jobs.parse().ok());
    let rounds = jobs.unwrap_or(12_usize).div_ceil(4);
    let volumes = left::volumes();
    let names = ["source-a", "source-b", "source-c", "source-d"];
    let markers: Vec<String> = names.iter().map(|name| format!("{name}/connector.txt")).collect();
    let mut files = vec![(".github/checkvalve.yml", CONFIG)];
    files.extend(markers.iter().map(|marker| (marker.as_str(), "x")));
    let label = label();
    let (dockerfile, at) = (dockerfile(&label), names.map(|name| format!("{name}/Dockerfile")));
    files.extend(at.iter().map(|at| (at.as_str(), dockerfile.as_str())));
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
        assert_eq!(world.table(&head).matches("success").count(), 21, "{}", world.table(&head));
    }
    // The reaper looks twice a minute; what is a later run's to inherit took no three seconds.
    world
        .until("nothing is left", async |world: &World| {
            let layers = || labelled(&label).is_empty() && layers(world).is_empty();
            left::of(world, &volumes).is_empty() && layers()
        })
        .await;
    eprintln!("{} jobs, {kills} kills, nothing left", 4 * rounds);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_build_in_the_midst_of_which_the_server_is_killed() {
    const CONFIG: &str = sources_with!("      - { id: build, uses: build, network: none }\n");
    if images::engine().await.is_none() {
        return;
    }
    let label = label();
    let file = |end: &str| {
        format!("FROM checkvalve-test/busybox:1\nLABEL {label}=yes\nRUN echo x > /x\nRUN {end}\n")
    };
    let files = [(".github/checkvalve.yml", CONFIG), ("source-a/connector.txt", "x")];
    let mut world = World::with(Steps::Docker, None, &files).await;
    world.push("change", &[("source-a/Dockerfile", &file("sleep 1000"))]).await;
    world.open("change").await;
    let has_layers = async |_: &World| labelled(&label).len() == 2;
    world.until("the layers are made", has_layers).await;
    assert_eq!(layers(&world).len(), 3);
    world.kill();
    world.start().await;
    // It is built once more, perhaps on what is there, until there is another head.
    let short = "FROM checkvalve-test/busybox:1\nRUN false\n";
    let head = world.push("change", &[("source-a/Dockerfile", short)]).await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: failure\nsource-a / build: failure\n");
    let nothing = async |world: &World| labelled(&label).is_empty() && layers(world).is_empty();
    world.until("its layers are gone", nothing).await;
    world.finish().await;
}
