//! Builds whose engine loses a layer that they were about to go on from.

use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::state::Outcome;
use checkvalve::exec::docker::{Docker, DockerOptions};

use super::forgetful::Forgetful;
use super::images::engine;
use super::{Done, carry_out, plan, uses};

const FILE: &str = "FROM checkvalve-test/busybox:1\nRUN echo made\n";
const AGAIN: &str = "a layer was gone that the build was about to go on from";

/// On an engine that loses a layer in that many builds.
async fn build(losses: u32) -> Option<(Forgetful, Done)> {
    engine().await?;
    let folder = tempfile::tempdir().unwrap();
    let error = format!("unknown parent image ID sha256:{}", "4e".repeat(32));
    let engine = Forgetful::engine(folder.path(), losses, &error);
    let options = DockerOptions::new("test-lost");
    let docker = Docker::connect(Some(&engine.host), options).await.unwrap();
    let step = StepSpec { network: Network::None, ..uses(Builtin::Build, &[]) };
    let done = carry_out(docker, &plan(vec![step]), &[("Dockerfile", FILE)]).await;
    Some((engine, done))
}

#[tokio::test]
async fn a_build_that_loses_a_layer_is_built_again() {
    let Some((engine, done)) = build(2).await else { return };
    let log = done.log("build");
    assert_eq!(done.outcome("build"), Outcome::Succeeded, "{log} {}", done.reason("build"));
    assert_eq!(engine.builds(), 3);
    assert_eq!(log.matches(AGAIN).count(), 2, "{log}");
    assert!(log.contains("for the second time of at most 3\n"), "{log}");
    assert!(log.contains("made\n"), "{log}");
}

#[tokio::test]
async fn one_that_loses_layers_again_and_again_is_not_the_connectors() {
    let Some((engine, done)) = build(u32::MAX).await else { return };
    let (log, reason) = (done.log("build"), done.reason("build"));
    assert_eq!(done.outcome("build"), Outcome::Errored, "{log} {reason}");
    assert!(reason.contains("lost layers of the build 3 times: unknown parent image"), "{reason}");
    // What is ours is tried anew, and that as a whole.
    assert_eq!(engine.builds() % 3, 0, "{}", engine.builds());
    assert_eq!(log.matches(AGAIN).count(), (engine.builds() / 3 * 2) as usize, "{log}");
}
