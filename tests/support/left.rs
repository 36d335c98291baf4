//! What an installation left on the engine.

use std::collections::BTreeSet;
use std::process::Command;

use crate::world::World;

/// What an engine lists.
fn docker(args: &[&str]) -> BTreeSet<String> {
    let output = Command::new("docker").args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The engine's volumes: of whom one is, it does not know.
pub(crate) fn volumes() -> BTreeSet<String> {
    docker(&["volume", "ls", "-q"])
}

/// What there is of an installation, by kind; and volumes beside these.
pub(crate) fn of(world: &World, volumes: &BTreeSet<String>) -> Vec<String> {
    let instance = std::fs::read_to_string(world.state.path().join("state/instance")).unwrap();
    let label = format!("label=io.checkvalve.instance={}", instance.trim());
    let mut left = Vec::new();
    for (kind, list) in [
        ("container", &["ps", "-aq", "--filter", &label][..]),
        ("network", &["network", "ls", "-q", "--filter", &label]),
        ("image", &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--filter", &label]),
    ] {
        // What a slow step left is kept for later runs, until nobody has used it for long.
        let listed =
            docker(list).into_iter().filter(|line| !line.starts_with("checkvalve-snapshot/"));
        left.extend(listed.map(|id| format!("{kind} {id}")));
    }
    let now = self::volumes();
    left.extend(now.difference(volumes).map(|id| format!("volume {id}")));
    left
}
