//! Any interleaving of events settles. People do what they do to pull requests, forks and a merge queue; GitHub
//! tells of it late, twice, out of order, or only when it is asked again; two servers on one database carry it
//! out in whatever order, and are killed in the middle. When all is quiet, every run has ended, every check run is
//! concluded, `checkvalve` says what its runs came to, and nothing of a stranger ran that nobody approved.
//!
//! `CHECKVALVE_INTERLEAVINGS` is how many stories are told on each database, `CHECKVALVE_INTERLEAVINGS_SEED` the
//! first one's seed: a story that fails prints its own. Unless it is said otherwise they are always the same
//! few, so that a red run is its change's doing; `CONTRIBUTING.md` says how to tell others.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "interleavings/chance.rs"]
mod chance;
#[path = "interleavings/deeds.rs"]
mod deeds;
#[path = "interleavings/house.rs"]
mod house;
#[expect(unreachable_pub, reason = "others use it from within a module")]
#[path = "support/manifest.rs"]
mod manifest;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/receiver.rs"]
mod receiver;
#[path = "interleavings/settled.rs"]
mod settled;
#[path = "interleavings/world.rs"]
mod world;

use std::panic::AssertUnwindSafe;

use chance::Chance;
use checkvalve::ambient;
use deeds::Story;
use futures_util::FutureExt as _;

/// So many stories on each database, and the first one's seed, unless it is said otherwise.
const STORIES: u64 = 2;
const FIRST: u64 = 1;
/// What happens in a story, at most.
const MOST: usize = 90;

fn number(variable: &str) -> Option<u64> {
    ambient::env(variable).map(|text| text.parse().unwrap())
}

async fn tell(seed: u64, database: Option<String>) {
    let mut story = Story::begin(Chance(seed), database).await;
    let told = AssertUnwindSafe(async {
        Box::pin(story.begins()).await;
        let deeds = 10 + story.chance.below(MOST - 10);
        for _ in 0..deeds {
            Box::pin(story.happens()).await;
        }
        Box::pin(story.settles()).await;
        Box::pin(story.is_settled()).await;
    });
    let told = told.catch_unwind().await;
    if let Err(panic) = told {
        eprintln!(
            "CHECKVALVE_INTERLEAVINGS_SEED={seed} CHECKVALVE_INTERLEAVINGS=1; what happened:"
        );
        story.world.log.iter().for_each(|line| eprintln!("  {line}"));
        std::panic::resume_unwind(panic);
    }
    story.world.sim.stop().await;
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = number("CHECKVALVE_INTERLEAVINGS_SEED").unwrap_or(FIRST);
    let stories = number("CHECKVALVE_INTERLEAVINGS").unwrap_or(STORIES);
    eprintln!("{stories} stories from CHECKVALVE_INTERLEAVINGS_SEED={first}");
    first..first + stories
}

#[tokio::test(flavor = "multi_thread")]
async fn any_interleaving_of_events_settles_on_sqlite() {
    for seed in seeds() {
        Box::pin(tell(seed, None)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_interleaving_of_events_settles_on_postgresql() {
    for seed in seeds() {
        let Some(database) = postgres::database().await else { return };
        Box::pin(tell(seed, Some(database))).await;
    }
}
