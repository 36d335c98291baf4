//! Repositories that the App is given, loses and gets back, by events that come late, and by the list.

use std::sync::Arc;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::config::server::Served;
use checkvalve::domain::event::PullFacts;
use checkvalve::domain::ids::WorkerId;
use checkvalve::domain::run::Repository;
use checkvalve::domain::state::{Conclusion, RunState};
use checkvalve::git::GitCache;
use checkvalve::service::schedule::Scheduler;
use checkvalve::service::source::Sources;
use checkvalve::service::trust::in_same_repository;
use github_simulator::{Delivery, RepositoryOptions, SecondaryLimit};
use serde_json::{Value, json};

use crate::{REPO, World};

/// What GitHub lists of an installation.
const LISTED: &str = "/installation/repositories";

pub(crate) fn scheduler(world: &World) -> Scheduler {
    let github = world.intake.github.clone();
    let sources = Sources {
        github: github.clone(),
        cache: GitCache::new(world.folder.path().join("git")),
        github_url: world.sim.url(),
    };
    Scheduler {
        store: world.store.clone(),
        github,
        sources,
        served: world.intake.served.clone(),
        worker: WorkerId::new(ambient::ulid()),
        pauses: Arc::default(),
    }
}

/// A pull request whose run has not ended.
pub(crate) async fn pull_that_runs(world: &mut World) {
    world.push(REPO, "change", "new").await;
    world.open(REPO, "change").await;
    world.tell().await;
    assert_eq!(world.runs().await[0].state, RunState::Queued);
}

/// A short limit, in GitHub's words: it is not asked, and hears of it at once.
fn limit(world: &World) {
    let lasts = Duration::from_secs(1);
    let limit = SecondaryLimit { status: 403, lasts, retry_after: true, remaining_zero: false };
    world.sim.faults().secondary_limit(limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_private_or_was_archived_again_is_not_opened_by_an_old_event() {
    let mut world = World::new().await;
    world.sim.set_archived(REPO, true).unwrap();
    world.tell().await;
    assert_eq!(world.withdrawn().await.len(), 1);
    world.sim.set_archived(REPO, false).unwrap();
    let unarchived = world.sent("repository", "unarchived");
    world.sim.set_private(REPO, true).unwrap();
    world.tell_those(|one| one.guid != unarchived.guid).await;
    assert!(world.repository().await.private);

    world.tell_late(&unarchived).await;
    assert!(world.repository().await.private, "it was public when that was sent");
    assert_eq!(world.withdrawn().await, Vec::<u64>::new(), "and the App is given it now");

    world.sim.set_archived(REPO, true).unwrap();
    world.tell().await;
    let withdrawn = world.withdrawn().await;
    assert_eq!(withdrawn.len(), 1);
    world.handle_again(&unarchived.guid).await;
    assert_eq!(world.withdrawn().await, withdrawn, "it is archived again");
    let (state, note) = world.handled(&unarchived.guid).await;
    assert_eq!((state.as_str(), note.contains("is not given")), ("ignored", true), "{note}");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_added_has_no_old_pull_request_run_again() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    // As retention leaves it: the pull request is open, and its run is forgotten.
    let old = world.runs().await[0].id;
    world.store.cancel_run(old, None, "enough").await.unwrap();
    world.store.forget_run(old).await.unwrap();
    world.sim.create_repository("acme/other", RepositoryOptions::default()).await.unwrap();
    world.tell().await;
    let (state, note) = world.handled(&world.sent("installation_repositories", "added").guid).await;
    assert_eq!((state.as_str(), note.contains("2 repositories are served, 0 run")), ("done", true));

    // Nor has one that is back: nothing of it was ended.
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.unsuspend(REPO).unwrap();
    world.tell().await;
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    assert_eq!(world.runs().await.len(), 0);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_repositories_one_that_cannot_be_read_keeps_none_from_its_runs() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let other = "acme/other";
    world.sim.create_repository(other, RepositoryOptions::default()).await.unwrap();
    world.push(other, "main", "the beginning").await;
    world.push(other, "change", "new").await;
    world.open(other, "change").await;
    world.tell().await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    let ended = world.runs().await;
    assert!(ended.len() == 2 && ended.iter().all(|run| run.state == RunState::Concluded));

    world.sim.unsuspend(REPO).unwrap();
    let path = format!("/repos/{REPO}/pulls");
    world.sim.faults().fail_next("GET", &path, 4, 502);
    world.tell().await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0].repository.name.as_str()), (3, other));
    assert_eq!(world.withdrawn().await, [world.repository().await.id], "until it is looked at");
    let unsuspended = world.sent("installation", "unsuspend").guid;
    assert_eq!(world.handled(&unsuspended).await.0, "waiting");
    world.handle_again(&unsuspended).await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0].repository.name.as_str()), (4, REPO));

    // What GitHub refuses for good is not waited for: what comes from now on is handled.
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.unsuspend(REPO).unwrap();
    world.sim.faults().fail_next("GET", &path, 1, 422);
    world.tell().await;
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    assert_eq!(world.runs().await.len(), 5);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_cannot_say_for_now_is_no_loss() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    world.sim.set_archived(REPO, true).unwrap();
    world.sim.set_archived(REPO, false).unwrap();
    let archived = world.sent("repository", "archived");
    limit(&world);
    world.tell_those(|one| one.guid == archived.guid).await;
    let (state, note) = world.handled(&archived.guid).await;
    assert_eq!((state.as_str(), note.contains("limits our rate")), ("waiting", true), "{note}");
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    assert_eq!(world.runs().await[0].cancel, None);
    world.sim.advance(Duration::from_secs(2));
    world.reconnect();
    world.handle_again(&archived.guid).await;
    let (state, note) = world.handled(&archived.guid).await;
    assert_eq!((state.as_str(), note.contains("it is there now")), ("ignored", true), "{note}");

    // As told of an installation that is gone, from before it moved or was installed anew.
    let mut told: Value = serde_json::from_slice(&archived.body).unwrap();
    for (guid, action) in [("old-archived", "archived"), ("old-deleted", "deleted")] {
        told["action"] = json!(action);
        told["installation"]["id"] = json!(999_999_999);
        let body = told.to_string().into();
        let (guid_of_old, action) = (guid.to_owned(), Some(action.to_owned()));
        let old = Delivery { guid: guid_of_old, action, body, ..archived.clone() };
        world.tell_late(&old).await;
        let (state, note) = world.handled(guid).await;
        assert_eq!((state.as_str(), note.contains("it is there now")), ("ignored", true), "{note}");
    }
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    assert_eq!(world.runs().await[0].cancel, None);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_is_resumed_whoever_tells_of_it() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    world.sim.set_archived(REPO, true).unwrap();
    world.tell().await;
    assert_eq!(world.runs().await[0].conclusion, Some(Conclusion::Cancelled));
    world.sim.set_archived(REPO, false).unwrap();
    world.tell().await;
    assert_eq!(world.runs().await.len(), 2, "by its event");
    world.handle_again(&world.sent("repository", "unarchived").guid).await;
    assert_eq!(world.runs().await.len(), 2, "once");

    // Both events are lost: the list sees it go, and come back.
    let scheduler = scheduler(&world);
    world.sim.suspend(REPO).unwrap();
    scheduler.list().await.unwrap();
    assert_eq!(world.runs().await[0].conclusion, Some(Conclusion::Cancelled));
    world.sim.unsuspend(REPO).unwrap();
    world.sim.faults().fail_next("GET", &format!("/repos/{REPO}/pulls"), 4, 502);
    assert!(scheduler.list().await.is_err());
    assert_eq!((world.runs().await.len(), world.withdrawn().await.len()), (2, 1));
    scheduler.list().await.unwrap();
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0].state), (3, RunState::Queued));
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    scheduler.list().await.unwrap();
    world.tell().await;
    assert_eq!(world.runs().await.len(), 3, "once, and the events change nothing");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_failed_is_not_left_for_an_hour() {
    let world = World::new().await;
    let scheduler = scheduler(&world);
    let listings = || world.sim.calls().iter().filter(|call| call.path == LISTED).count();
    let (begun, before) = (ambient::now(), listings());
    let pass = async |seconds| {
        scheduler.pass(begun.plus(Duration::from_secs(seconds))).await.unwrap();
    };
    pass(0).await;
    assert_eq!(listings(), before);
    world.sim.faults().fail_next("GET", LISTED, 1, 422);
    pass(61).await;
    assert_eq!(listings(), before + 1);
    pass(600).await;
    assert_eq!(listings(), before + 1);
    pass(662).await;
    assert_eq!(listings(), before + 2);
    pass(4200).await;
    assert_eq!(listings(), before + 2, "for an hour now");
    world.sim.stop().await;
}

/// Whatever an event says that comes late: what it was called, and whose it was, is over.
#[tokio::test(flavor = "multi_thread")]
async fn installed_anew_it_is_asked_for_by_its_new_installation_whatever_comes_late() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let before = world.repository().await;
    let number = world.runs().await[0].pull.unwrap();
    world.sim.enqueue(REPO, &[number], "ada").await.unwrap();
    let late = world.sent("merge_group", "checks_requested");
    world.sim.uninstall(REPO).unwrap();
    world.tell_those(|one| one.guid != late.guid).await;
    assert_eq!(world.withdrawn().await, [before.id]);
    world.tell_late(&late).await;
    assert_eq!(world.withdrawn().await, [before.id]);
    world.sim.install(REPO).unwrap();
    let installed = world.sent("installation", "created");
    // What it tells first is not that.
    world.push(REPO, "change", "newer").await;
    world.tell_those(|one| one.guid != installed.guid).await;
    let now = world.repository().await;
    assert_ne!(now.installation, before.installation);
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    let pushed = world.sent("pull_request", "synchronize");
    assert_eq!(world.handled(&pushed.guid).await.0, "done");
    assert_eq!(world.runs().await[0].cancel, None);
    let again = Delivery { guid: "once more".to_owned(), ..late };
    world.tell_late(&again).await;
    assert_eq!(world.handled("once more").await.0, "done");
    assert_eq!(world.repository().await, now);
    world.sim.stop().await;
}

/// The hourly list judges what it knew before it asked, and asks once more for what it misses.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_they_are_listed_is_not_lost() {
    let mut world = World::new().await;
    let served = Served::parse("acme/*,umbrella/*").unwrap();
    world.intake.served = Arc::new(served);
    world.sim.create_repository("umbrella/connectors", RepositoryOptions::default()).await.unwrap();
    world.tell().await;
    let back = world.repository().await;
    let scheduler = scheduler(&world);
    let lists = |world: &World| world.sim.calls().iter().filter(|call| call.path == LISTED).count();
    // Of two installations, the one that is listed first is archived then, and the other comes slowly.
    world.sim.set_archived(REPO, true).unwrap();
    let before = lists(&world);
    world.sim.faults().latency(Duration::from_millis(700));
    let listing = tokio::spawn(async move { scheduler.list().await });
    while lists(&world) == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.sim.set_archived(REPO, false).unwrap();
    let name = "acme/new".parse().unwrap();
    let new = Repository { id: 424_242, name, ..back.clone() };
    world.store.restore(&new).await.unwrap();
    listing.await.unwrap().unwrap();
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    world.sim.faults().latency(Duration::ZERO);
    world.sim.set_archived(REPO, true).unwrap();
    crate::access::scheduler(&world).list().await.unwrap();
    let mut lost = world.withdrawn().await;
    lost.sort_unstable();
    let mut expected = vec![back.id, new.id];
    expected.sort_unstable();
    assert_eq!(lost, expected, "and what is gone is lost");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repositorys_own_pull_request_is_no_forks_whatever_it_is_called() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let number = world.runs().await[0].pull.unwrap();
    let repository = world.repository().await;
    let pull = world.intake.github.pull(&repository, number).await.unwrap();
    let renamed = Repository { name: "acme/renamed".parse().unwrap(), ..repository.clone() };
    assert!(in_same_repository(&repository, &pull) && in_same_repository(&renamed, &pull));
    // Its name has passed to another one.
    let other = Repository { id: repository.id + 1, ..repository.clone() };
    assert!(!in_same_repository(&other, &pull));
    let before_ids = PullFacts { head_repo_id: None, ..pull.clone() };
    assert!(in_same_repository(&repository, &before_ids));
    assert!(!in_same_repository(&renamed, &before_ids));
    let deleted = PullFacts { head_repo: None, head_repo_id: None, ..pull };
    assert!(!in_same_repository(&repository, &deleted));
    world.sim.stop().await;
}
