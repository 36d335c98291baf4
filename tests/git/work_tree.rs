//! `--modified` where people work: what is staged, what is not, and what git keeps out of sight.

use checkvalve::domain::names::Sha;
use checkvalve::git::LocalRepo;
use checkvalve::service::planning::survey_here;

use super::git_fixture::{Repo, prose};

const FILE: &str = "version: 1\nconnectors:\n  - kind: any\n    match: \"connectors/{name}/facts.yaml\"\n    \
                    attributes: { file: facts.yaml, language: language }\nunclaimed: none\n";

fn connectors() -> (Repo, Sha) {
    let repo = Repo::new();
    repo.write(".github/checkvalve.yml", FILE);
    repo.write(".gitignore", "*.log\n");
    for name in ["a", "b", "c"] {
        repo.write(format!("connectors/{name}/facts.yaml"), format!("language: {name}\n"));
        repo.write(format!("connectors/{name}/main.py"), prose(name));
    }
    let base = repo.commit("base");
    (repo, base)
}

/// Names of the connectors to run, and of the removed ones.
async fn affected(local: &LocalRepo, base: &Sha) -> (Vec<String>, Vec<String>) {
    let survey = survey_here(local, Some(base), None, None).await.unwrap();
    assert!(survey.change.is_complete(), "{:?}", survey.change);
    let run = survey.impacts.to_run().map(|impact| impact.name.to_string()).collect();
    let removed = survey.impacts.removed().map(|impact| impact.name.to_string()).collect();
    (run, removed)
}

async fn run(repo: &Repo, base: &Sha) -> Vec<String> {
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let (run, removed) = affected(&local, base).await;
    assert_eq!(removed, [""; 0]);
    run
}

/// What somebody did, and the connectors that it touches.
type Step = (&'static str, fn(&Repo), &'static [&'static str]);

const STEPS: &[Step] = &[
    ("nothing", |_| {}, &[]),
    ("ignored", |repo| drop(repo.write("connectors/a/noise.log", "x")), &[]),
    ("untracked", |repo| drop(repo.write("connectors/a/new", "x")), &["a"]),
    ("unstaged", |repo| drop(repo.write("connectors/b/main.py", "x")), &["b"]),
    (
        "staged",
        |repo| {
            repo.write("connectors/c/main.py", "x");
            repo.git(&["add", "--all"]);
        },
        &["c"],
    ),
    (
        "staged, then undone in the work tree",
        |repo| {
            repo.write("connectors/c/main.py", "x");
            repo.git(&["add", "--all"]);
            repo.write("connectors/c/main.py", prose("c"));
        },
        &["c"],
    ),
    (
        "intent to add",
        |repo| {
            repo.write("connectors/b/later", "x");
            repo.git(&["add", "--intent-to-add", "connectors/b/later"]);
        },
        &["b"],
    ),
    (
        "a rename, staged",
        |repo| drop(repo.git(&["mv", "connectors/a/main.py", "connectors/c/moved.py"])),
        &["a", "c"],
    ),
    (
        "a rename, not staged",
        |repo| {
            repo.remove("connectors/a/main.py");
            repo.write("connectors/b/moved.py", prose("a"));
        },
        &["a", "b"],
    ),
    ("deleted, not staged", |repo| repo.remove("connectors/b/main.py"), &["b"]),
    (
        "a folder in a file's place",
        |repo| {
            repo.remove("connectors/c/main.py");
            repo.write("connectors/c/main.py/inside", "x");
        },
        &["c"],
    ),
    (
        "only touched",
        |repo| {
            let text = std::fs::read(repo.path().join("connectors/a/main.py")).unwrap();
            repo.write("connectors/a/main.py", text);
        },
        &[],
    ),
];

#[tokio::test]
async fn everything_that_is_not_committed_yet_counts() {
    for (what, step, expected) in STEPS {
        let (repo, base) = connectors();
        step(&repo);
        assert_eq!(run(&repo, &base).await, *expected, "{what}");
        // As a commit of all of it would, except for what only the index had.
        if !what.contains("undone") {
            let head = repo.commit("all of it");
            let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
            let committed = survey_here(&local, Some(&base), Some(&head), None).await.unwrap();
            let names: Vec<String> =
                committed.impacts.to_run().map(|impact| impact.name.to_string()).collect();
            assert_eq!(names, *expected, "{what}, committed");
        }
    }
}

#[tokio::test]
async fn facts_come_from_the_file_that_is_there_now() {
    let (repo, base) = connectors();
    repo.write("connectors/a/facts.yaml", "language: unstaged\n");
    repo.write("connectors/b/facts.yaml", "language: staged\n");
    repo.git(&["add", "connectors/b/facts.yaml"]);
    repo.remove("connectors/c/facts.yaml");
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let survey = survey_here(&local, Some(&base), None, None).await.unwrap();
    let facts = |name: &str| survey.named(name).and_then(|c| c.attribute("language"));
    assert_eq!((facts("a"), facts("b"), facts("c")), (Some("unstaged"), Some("staged"), None));
    let removed: Vec<&str> = survey.impacts.removed().map(|impact| impact.name.as_str()).collect();
    assert_eq!(removed, ["c"]);
}

#[tokio::test]
async fn what_a_sparse_checkout_leaves_out_is_neither_changed_nor_gone() {
    let (repo, base) = connectors();
    repo.git(&["sparse-checkout", "set", "--no-cone", "/connectors/a/", "/.github/"]);
    assert!(!repo.path().join("connectors/b/facts.yaml").exists());
    repo.write("connectors/a/main.py", "x");
    assert_eq!(run(&repo, &base).await, ["a"]);
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let survey = survey_here(&local, Some(&base), None, None).await.unwrap();
    assert_eq!(survey.named("b").unwrap().attribute("language"), Some("b"));

    // By hand, of one file.
    let (repo, base) = connectors();
    repo.git(&["update-index", "--skip-worktree", "connectors/b/facts.yaml"]);
    repo.remove("connectors/b/facts.yaml");
    assert_eq!(run(&repo, &base).await, [""; 0]);
}

#[tokio::test]
async fn names_that_git_would_quote_arrive_unquoted() {
    let (repo, base) = connectors();
    repo.git(&["config", "core.quotePath", "true"]);
    repo.git(&["config", "diff.relative", "true"]);
    repo.write("connectors/a/\u{e9} \"x\"\n\t\\", "untracked");
    repo.write(b"connectors/b/latin-\xe9".as_slice(), "staged");
    repo.git(&["add", "connectors/b"]);
    let inside = repo.path().join("connectors/c");
    let local = LocalRepo::discover(Some(&inside)).await.unwrap();
    assert_eq!(affected(&local, &base).await.0, ["a", "b"]);
}

#[tokio::test]
async fn a_linked_work_tree_has_changes_of_its_own() {
    let (repo, base) = connectors();
    let folder = tempfile::tempdir().unwrap();
    let linked = folder.path().join("linked").display().to_string();
    repo.git(&["worktree", "add", "--quiet", "-b", "other", &linked]);
    repo.write("connectors/a/main.py", "in the first one");
    std::fs::write(folder.path().join("linked/connectors/b/main.py"), "in the linked one").unwrap();
    let local = LocalRepo::discover(Some(linked.as_ref())).await.unwrap();
    assert_eq!(affected(&local, &base).await.0, ["b"]);
    assert_eq!(run(&repo, &base).await, ["a"]);
}

#[tokio::test]
async fn a_submodule_counts_by_its_commit_and_not_by_its_dirt() {
    let (repo, _) = connectors();
    let library = Repo::new();
    library.write("lib.txt", "1");
    library.commit("library");
    let url = library.url();
    let add = ["-c", "protocol.file.allow=always", "submodule", "add", "--quiet", &url];
    repo.git(&[&add[..], &["connectors/b/lib"]].concat());
    repo.git(&["config", "--file", ".gitmodules", "submodule.connectors/b/lib.ignore", "all"]);
    let base = repo.commit("with a submodule");
    repo.write("connectors/b/lib/lib.txt", "dirty");
    repo.write("connectors/b/lib/untracked", "dirty");
    assert_eq!(run(&repo, &base).await, [""; 0]);
    let inside = repo.path().join("connectors/b/lib").display().to_string();
    let commit = ["-C", &inside, "commit", "--quiet", "--all", "--message", "moved on"];
    repo.git(&commit);
    assert_eq!(run(&repo, &base).await, ["b"]);
}

#[tokio::test]
async fn a_conflict_counts_as_a_change() {
    let (repo, base) = connectors();
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.write("connectors/a/main.py", "one");
    repo.commit("one");
    repo.git(&["checkout", "--quiet", "-b", "other", base.as_str()]);
    repo.write("connectors/a/main.py", "two");
    repo.commit("two");
    let merged = std::process::Command::new("git")
        .arg("-C")
        .arg(repo.path())
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "merge", "topic"])
        .output()
        .unwrap();
    assert!(!merged.status.success(), "it is a conflict");
    assert_eq!(run(&repo, &base).await, ["a"]);
}
