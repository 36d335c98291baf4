//! The web room over HTTP: a real server, a real database, a real folder of objects.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test stands on is allowed to fail loudly"
)]

#[path = "web/api.rs"]
mod api;
#[path = "web/deliveries.rs"]
mod deliveries;
#[path = "web/files.rs"]
mod files;
#[path = "web/health.rs"]
mod health;
#[path = "web/hooks.rs"]
mod hooks;
#[path = "web/house.rs"]
mod house;
#[path = "web/live.rs"]
mod live;
#[path = "web/pages.rs"]
mod pages;
#[path = "web/setup.rs"]
mod setup;
#[path = "web/trust.rs"]
mod trust;
#[path = "web/why.rs"]
mod why;
