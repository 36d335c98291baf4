//! GitHub's best citizen, whatever GitHub and its people do: outages, lost answers, limits, strangers,
//! and every way of asking for something. Real servers, a simulated GitHub.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "citizen/away.rs"]
mod away;
#[path = "citizen/branches.rs"]
mod branches;
#[path = "support/clock.rs"]
mod clock;
#[path = "citizen/events.rs"]
mod events;
#[path = "citizen/groups.rs"]
mod groups;
#[path = "support/images.rs"]
mod images;
#[path = "citizen/limits.rs"]
mod limits;
#[path = "citizen/lost.rs"]
mod lost;
#[path = "support/pace.rs"]
mod pace;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "citizen/routes.rs"]
mod routes;
#[path = "support/world.rs"]
mod world;

use world::World;

pub(crate) const CONFIG: &str = "version: 1\npreset: none\nignore: [\"docs/**\"]\nconnectors: [{ match: \
    \"{name}/connector.txt\" }]\npipelines:\n  - on: [pull_request, merge_group, push]\n    steps: \
    [{ id: unit, image: x, run: \"sh ./unit.sh\" }]\n";

pub(crate) const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
    ("source-b/connector.txt", "b"),
    ("source-b/unit.sh", "echo b is fine\n"),
    ("docs/readme.md", "# Docs\n"),
];

/// A change of one connector.
pub(crate) async fn change(world: &World, branch: &str) -> String {
    world.push(branch, &[("source-a/code.txt", branch)]).await
}

pub(crate) fn title(world: &World, head: &str, name: &str) -> String {
    let checks = world.checks(head);
    let check = checks.into_iter().find(|check| check.name == name);
    check.and_then(|check| check.output.title).unwrap_or_default()
}
