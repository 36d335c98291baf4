//! The head merged with its base, in the object store alone.

use checkvalve::config::repository::FILE;
use checkvalve::domain::names::Sha;
use checkvalve::domain::plan::{Conflict, Plan};
use checkvalve::domain::trigger::Scope;
use checkvalve::git::Merged;
use checkvalve::service::planning::{Planned, PlanningError};

use super::fetched;
use super::git_fixture::{Repo, plan};

/// A base whose tip has gone on since the head left it.
struct Parted {
    origin: Repo,
    base: Sha,
    head: Sha,
}

/// Both begin with these files; then each side gets its own.
fn parted(common: &[(&str, &str)], base: &[(&str, &str)], head: &[(&str, &str)]) -> Parted {
    let origin = Repo::new();
    let commit = |files: &[(&str, &str)], message| {
        for (path, text) in files {
            match *text {
                "" => origin.remove(path),
                text => drop(origin.write(path, text)),
            }
        }
        origin.commit(message)
    };
    let start = commit(common, "common");
    let head = commit(head, "head");
    origin.git(&["checkout", "--quiet", start.as_str()]);
    let base = commit(base, "base");
    Parted { origin, base, head }
}

#[tokio::test]
async fn both_sides_are_in_a_merge_that_is_the_same_wherever_it_is_made() {
    let common = [("a", "1\n2\n3\n4\n5\n"), ("gone", "x")];
    let Parted { origin, base, head } = parted(
        &common,
        &[("a", "1\n2\n3\n4\nbase\n"), ("b", "b")],
        &[("a", "head\n2\n3\n4\n5\n"), ("gone", "")],
    );
    let (_folder, here) = fetched(&origin, &[&base, &head]).await;
    let (_other, there) = fetched(&origin, &[&head, &base]).await;
    let Merged::Commit(merge) = here.objects().merge(&base, &head).await.unwrap() else {
        panic!("they conflict");
    };
    assert_eq!(there.objects().merge(&base, &head).await.unwrap(), Merged::Commit(merge.clone()));
    let tree = here.tree(&merge).await.unwrap();
    let paths: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a", "b"]);
    let text = here.objects().read(&tree[0].oid, 100).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "head\n2\n3\n4\nbase\n");
    assert_eq!(here.merge_base(&base, &merge).await.unwrap(), Some(base));
    // No reference was made or moved.
    assert!(!here.has(std::slice::from_ref(&merge)).await.unwrap());
}

#[tokio::test]
async fn files_that_conflict_are_named() {
    let common = [("a", "1"), ("b c", "1"), ("same", "1")];
    let Parted { origin, base, head } = parted(
        &common,
        &[("a", "base"), ("b c", "base"), ("same", "2")],
        &[("a", "head"), ("b c", ""), ("same", "2")],
    );
    let (_folder, repo) = fetched(&origin, &[&base, &head]).await;
    let conflict = Merged::Conflict(vec!["a".to_owned(), "b c".to_owned()]);
    assert_eq!(repo.objects().merge(&base, &head).await.unwrap(), conflict);
}

const CONFIG: &str = "preset: none\nconnectors: [{ match: \"{name}/x\" }]\npipelines:\n  \
    - { for: { name: source-a }, merge: true, lock: live, steps: [{ id: unit, image: x, run: y }] }\n  \
    - steps: [{ id: unit, image: x, run: y }]\n";

async fn planned(parted: &Parted) -> Result<Planned, PlanningError> {
    let (_folder, repo) = fetched(&parted.origin, &[&parted.base, &parted.head]).await;
    plan(&repo, &parted.base, &parted.head, &Scope::Affected).await
}

#[tokio::test]
async fn a_plan_of_the_merge_is_made_of_what_the_merge_holds() {
    let common = [(FILE, CONFIG), ("source-a/x", "1"), ("source-b/x", "1")];
    let head = [("source-a/code", "head"), ("source-b/code", "head")];
    let before = planned(&parted(&common, &[("readme", "1")], &head)).await.unwrap();
    let after = planned(&parted(&common, &[("source-a/more", "1")], &head)).await.unwrap();
    for found in [&before, &after] {
        let names: Vec<&str> = found.jobs.iter().map(|job| job.connector.as_str()).collect();
        assert_eq!(names, ["source-a", "source-b"]);
        assert!(found.jobs[0].plan.merge().is_some() && found.jobs[1].plan.merge().is_none());
        assert_eq!(found.jobs[0].reasons[0].path, "source-a/code", "why is what the head changed");
    }
    let parts =
        |found: &Planned| -> Vec<String> { found.jobs[0].plan.sources().keys().cloned().collect() };
    assert_eq!(parts(&before), ["source-a/code", "source-a/x"]);
    assert_eq!(parts(&after), ["source-a/code", "source-a/more", "source-a/x"]);
    // A plan is stored with its run.
    let plan = &after.jobs[0].plan;
    let stored = serde_json::to_string(plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), *plan);
}

#[tokio::test]
async fn a_conflict_holds_who_tests_the_merge_and_nobody_else() {
    // Neither of the connectors touches what conflicts: there is no merge for anyone.
    let common = [(FILE, CONFIG), ("source-a/x", "1"), ("source-b/x", "1"), ("readme", "1")];
    let head = [("readme", "head"), ("source-a/code", "head"), ("source-b/code", "head")];
    let parted = parted(&common, &[("readme", "base")], &head);
    let found = planned(&parted).await.unwrap();
    let [waits, free] = &found.jobs[..] else { panic!("{found:?}") };
    assert_eq!((waits.connector.as_str(), free.connector.as_str()), ("source-a", "source-b"));
    let conflict = waits.plan.conflict().unwrap();
    assert_eq!(*conflict, Conflict::new(parted.base.clone(), vec!["readme".to_owned()]));
    assert!(waits.plan.merge().is_none() && waits.plan.lock().is_none());
    assert_eq!(waits.reasons[0].path, "source-a/code", "why is what the head changed");
    assert!(free.plan.conflict().is_none());
    let note = "Held, as their pipelines say `merge: true` and `readme` conflicts with the base \
                branch: `source-a`.";
    assert_eq!(found.selection.notes, [note]);
    let stored = serde_json::to_string(&waits.plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), waits.plan);
    // It is another plan than that of another conflict.
    let other = Conflict::new(parted.base, vec!["other".to_owned()]);
    assert_ne!(waits.plan.digest(), waits.plan.clone().held(Some(other)).digest());
}

#[tokio::test]
async fn a_connector_that_the_base_took_away_is_not_run_and_named() {
    let common = [(FILE, CONFIG), ("source-a/x", "1"), ("source-a/code", "1")];
    let parted = parted(&common, &[("source-a/x", "")], &[("source-a/code", "head")]);
    let found = planned(&parted).await.unwrap();
    assert!(found.jobs.is_empty());
    let note = "`source-a` is not there once the head is merged";
    assert!(found.selection.notes.iter().any(|said| said.starts_with(note)), "{found:?}");
}
