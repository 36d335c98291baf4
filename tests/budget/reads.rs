//! What is read has a budget, too: one for all processes, which no verdict waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use checkvalve::domain::reads::LEFT_BY_BACKGROUND;
use checkvalve::domain::run::Repository;
use checkvalve::github::{Github, GithubError, in_background, promptly};

use crate::world::{REPO, World};

/// Asks for a pull request, whether or not there is one.
async fn read(github: &Github, repository: &Repository, number: u64) -> Result<(), GithubError> {
    match github.pull(repository, number).await {
        Ok(_) | Err(GithubError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asks for whatever it can, many at a time, until it is told to end; how often it was told to wait.
async fn flood(github: Github, repository: Repository, ends: Arc<AtomicBool>) -> usize {
    let (github, waited) = (Arc::new(github), Arc::new(AtomicUsize::new(0)));
    let askers = (0..40).map(|nth: u64| {
        let (github, repository) = (github.clone(), repository.clone());
        let (ends, waited) = (ends.clone(), waited.clone());
        tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                match read(&github, &repository, 1 + nth).await {
                    Ok(()) => {}
                    Err(GithubError::RateLimited { .. }) => {
                        waited.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.unwrap();
    }
    waited.load(Ordering::Relaxed)
}

fn reads(world: &World) -> usize {
    world.sim.calls().iter().filter(|call| call.path.contains("/pulls/")).count()
}

/// Two processes ask for all that they can, while verdicts are told: GitHub refuses nothing, both get
/// something, and no verdict waits.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_read_all_they_can_stay_within_githubs_points() {
    const LASTS: Duration = Duration::from_secs(15);
    let world = World::new().await;
    let repository = world.repository(REPO).await;
    let ends = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let floods: Vec<_> = [world.reader().await, world.reader().await]
        .into_iter()
        .map(|github| tokio::spawn(flood(github, repository.clone(), ends.clone())))
        .collect();
    for nth in 0..2 {
        tokio::time::sleep(LASTS / 3).await;
        let head = world.commit(&repository, &nth.to_string()).await;
        world.run(&repository, &head, (1, 2)).await;
        world.end(1, &[]).await;
        // Behind the reads it would be for good: they ask until they are told to end.
        world.publish().await;
        let verdict = world.check(&head, "checkvalve");
        assert_eq!(verdict.conclusion.as_deref(), Some("success"));
    }
    tokio::time::sleep(LASTS / 3).await;
    let (sum, took) = (reads(&world), began.elapsed());
    assert_eq!(world.refused(), 0, "after {sum} reads");
    // All that there is, five a second after the first, and what two processes have on credit.
    let most = 110 + usize::try_from(took.as_secs() + 1).unwrap() * 5 + 20;
    assert!((110..=most).contains(&sum), "{sum} of {most}");
    ends.store(true, Ordering::Relaxed);
    for flood in floods {
        assert!(flood.await.unwrap() > 0, "it asked for less than all");
    }
    world.is_clean();
}

/// What nobody waits for asks for all that it can, in another process and in this one: it leaves something to
/// whoever comes, and nobody queues behind it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_waited_for_is_served_before_what_goes_on_in_the_background() {
    let world = World::new().await;
    let repository = world.repository(REPO).await;
    let (github, other) = (Arc::new(world.reader().await), Arc::new(world.reader().await));
    let readers = (0..80).map(|nth: u64| {
        let github = if nth < 40 { github.clone() } else { other.clone() };
        let repository = repository.clone();
        tokio::spawn(in_background(async move {
            loop {
                let read = read(&github, &repository, 1 + nth).await;
                assert!(matches!(read, Ok(()) | Err(GithubError::RateLimited { .. })), "{read:?}");
            }
        }))
    });
    let readers: Vec<_> = readers.collect();
    // Until they have what is to spare, and wait.
    let spare = 110 - usize::try_from(LEFT_BY_BACKGROUND).unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while reads(&world) < spare - 20 {
        assert!(Instant::now() < until, "{} reads", reads(&world));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(github.short_of_points().is_empty());
    // Who has others to turn to would give up after a second.
    for _ in 0..20 {
        promptly(read(&github, &repository, 1)).await.unwrap();
    }
    for reader in readers {
        reader.abort();
    }
    assert_eq!(world.refused(), 0);
}

/// An Enterprise Server has no limits unless its owner sets some: its answers do not speak of any.
#[tokio::test(flavor = "multi_thread")]
async fn a_github_without_limits_is_asked_without_points() {
    let world = World::new().await;
    world.sim.enterprise_server(Some("3.19")).unwrap();
    let repository = world.repository(REPO).await;
    let github = world.reader().await;
    for _ in 0..400 {
        read(&github, &repository, 1).await.unwrap();
    }
    assert_eq!(reads(&world), 400);
    // With points it is 110 and five a second; and none were taken for these.
    let left = world.store.take_points(Some(repository.installation), 100).await.unwrap();
    assert_eq!(left, Some(Duration::ZERO));
}
