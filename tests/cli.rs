//! The program as people and scripts meet it: exit statuses, what is printed, what is left behind.
//! On a copy of the example repository, whose change has a base to compare with.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "cli/again.rs"]
mod again;
#[path = "cli/bad.rs"]
mod bad;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/deliveries.rs"]
mod deliveries;
#[path = "support/images.rs"]
mod images;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "cli/presets.rs"]
mod presets;
#[path = "cli/registry.rs"]
mod registry;
#[path = "cli/replay.rs"]
mod replay;
#[path = "cli/select.rs"]
mod select;
#[path = "cli/selection.rs"]
mod selection;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/test.rs"]
mod test;
