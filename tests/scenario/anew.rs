//! The server starts itself once more, for one allocator's arena; and only once.

use crate::world::{Extra, Steps, World};

const ARENA: &str = "MALLOC_ARENA_MAX=1";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_one_arena() {
    let world = World::new(Steps::Host, &[]).await;
    let environment = world.environment();
    assert!(environment.iter().any(|one| one == ARENA), "{environment:?}");
    world.finish().await;
}

/// As where the loader takes the variable away each time: a program with capabilities.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_anew_is_not_again() {
    let env = vec![("_CHECKVALVE_STARTED_ANEW", "1".to_owned())];
    let world = World::set_up(Steps::Host, None, Extra { env, ..Extra::default() }, &[]).await;
    let environment = world.environment();
    assert!(!environment.iter().any(|one| one == ARENA), "{environment:?}");
    world.finish().await;
}
