//! GitHub's published limits, enforced: nobody is refused, whoever publishes and whoever comments.

use std::collections::BTreeMap;
use std::time::Duration;

use checkvalve::domain::budget::{Answer, BURST};
use checkvalve::store::Store;

use crate::clock::Clock;
use crate::pace::at_once;
use crate::world::{Extra, REPO, Steps, World};
use crate::{FILES, change, postgres};

/// Each has three check runs.
const HEADS: usize = 12;
/// Writes that a busy machine makes late come closer to those after them.
const LATE: i64 = 8;

/// A world in which GitHub counts.
async fn limited(database: Option<String>) -> World {
    let extra = Extra {
        github: Some(Box::new(|sim| sim.faults().enforce_secondary_limits(true))),
        ..Extra::default()
    };
    World::set_up(Steps::Host, database, extra, FILES).await
}

fn assert_nobody_was_refused(world: &World) {
    let refused = world.sim.calls().into_iter().filter(|call| [403, 429].contains(&call.status));
    let refused: Vec<String> = refused.map(|c| format!("{} {}", c.method, c.path)).collect();
    assert_eq!(refused, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_spend_one_budget_and_make_no_check_twice() {
    let Some(database) = postgres::database().await else { return };
    let mut world = limited(Some(database)).await;
    world.start_another().await;
    let mut heads = Vec::new();
    // More than two who do not know of each other would write at once.
    for nth in 0..HEADS {
        let branch = format!("change-{nth}");
        let changes = [("source-a/code.txt", &*branch), ("source-b/code.txt", &*branch)];
        heads.push(world.push(&branch, &changes).await);
        world.open(&branch).await;
    }
    for head in &heads {
        world.until_check(head, "checkvalve", "success").await;
    }
    world.settle().await;
    for head in &heads {
        let mut made: BTreeMap<String, usize> = BTreeMap::new();
        for check in world.sim.check_runs(REPO, head) {
            *made.entry(check.name).or_default() += 1;
        }
        let once = ["checkvalve", "source-a / unit", "source-b / unit"];
        assert_eq!(made, once.map(|name| (name.to_owned(), 1)).into());
    }
    assert_nobody_was_refused(&world);
    let at_once = at_once(&world.sim.calls());
    assert!((i64::from(BURST) / 2..=i64::from(BURST) + LATE).contains(&at_once), "{at_once}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_of_strangers_leave_the_budget_to_the_verdicts() {
    let world = limited(None).await;
    change(&world, "first").await;
    let number = world.open("first").await;
    world.settle().await;
    for _ in 0..60 {
        world.sim.comment(REPO, number, "mallory", "/test all").await.unwrap();
    }
    world.settle().await;
    let comments = world.sim.comments(REPO, number);
    let (hers, ours): (Vec<_>, Vec<_>) =
        comments.iter().partition(|comment| comment.user == "mallory");
    assert_eq!(hers.len(), 60);
    let answers = ours.len() + hers.iter().map(|hers| hers.reactions.len()).sum::<usize>();
    assert!((3..=30).contains(&answers), "{answers} answers to strangers");

    // Meanwhile others get their check runs, and who may command an answer.
    let head = change(&world, "second").await;
    let second = world.open("second").await;
    world.until_check(&head, "checkvalve", "success").await;
    world.sim.comment(REPO, second, "ada", "/help").await.unwrap();
    world.settle().await;
    assert_eq!(world.sim.comments(REPO, second).len(), 2);
    assert_nobody_was_refused(&world);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_command_is_obeyed_at_once_and_answered_when_there_is_room() {
    let world = limited(None).await;
    let state = world.state.path().join("state");
    let mut clock = Clock::of_state(&state).await;
    let head = change(&world, "change").await;
    let number = world.open("change").await;
    world.settle().await;
    // The hour's answers are used up.
    let url = format!("sqlite:{}", state.join("checkvalve.db").display());
    let store = Store::open(&url).await.unwrap();
    let repository = store.repository(&REPO.parse().unwrap()).await.unwrap().unwrap();
    loop {
        match store.leave_to_answer(&repository, Answer::Writer).await.unwrap() {
            Some(lack) if lack.wait > Duration::from_mins(10) => break,
            Some(lack) => clock.skip(lack.wait).await,
            None => {}
        }
    }
    store.close().await;

    world.sim.comment(REPO, number, "ada", "/test source-b\n/help").await.unwrap();
    world.until("it is obeyed", async |world: &World| world.runs().await.len() == 2).await;
    world
        .until("the answer is put off", async |world: &World| {
            world.server_log().contains("no room in GitHub's limits to answer")
        })
        .await;
    assert_eq!(world.sim.comments(REPO, number).len(), 1, "no reply yet");
    world.until_check(&head, "source-b / unit", "success").await;
    clock.skip(Duration::from_hours(2)).await;
    world.settle().await;
    let comments = world.sim.comments(REPO, number);
    assert_eq!(comments.len(), 2, "one reply, in the end");
    assert_eq!(world.runs().await.len(), 2, "obeyed once");
    world.finish().await;
}
