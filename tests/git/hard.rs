//! What a pull request changes, in histories that make it hard to say.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};

use checkvalve::domain::change::{ChangeSet, FileStatus};
use checkvalve::domain::names::Sha;
use checkvalve::domain::trigger::Scope;
use checkvalve::git::{GitCache, GitError, LocalRepo};
use checkvalve::service::planning::survey_here;

use super::git_fixture::{Repo, plan, prose};
use super::{fetched, statuses};

const FILE: &str = "version: 1\nconnectors:\n  - { kind: any, match: \"connectors/{name}/marker\" }\n\
                    unclaimed: none\npipelines:\n  - steps: [{ id: unit, image: x, run: \"true\" }]\n";

/// Connectors `a`, `b` and `c` on `main`, and the branch `topic` checked out.
fn connectors() -> (Repo, Sha) {
    let repo = Repo::new();
    repo.write(".github/checkvalve.yml", FILE);
    for name in ["a", "b", "c"] {
        repo.write(format!("connectors/{name}/marker"), name);
        repo.write(format!("connectors/{name}/main.py"), prose(name));
    }
    let base = repo.commit("base");
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    (repo, base)
}

/// Which connectors a server would test, and how many files it saw; the trees that were worked out
/// are those that git lists.
async fn planned(origin: &Repo, base: &Sha, head: &Sha) -> (Vec<String>, usize) {
    let (_folder, repo) = fetched(origin, &[base, head]).await;
    let compared = repo.objects().changes(base, head).await;
    if let Some(from) = &compared.merge_base {
        let tree = repo.tree(head).await.unwrap();
        let before = compared.tree_before(&tree).unwrap();
        assert_eq!(before, repo.tree(from).await.unwrap());
        let tip = repo.objects().tree_like(base, (from, &before)).await.unwrap();
        assert_eq!(tip, repo.tree(base).await.unwrap());
    }
    let found = plan(&repo, base, head, &Scope::Affected).await.unwrap();
    let names = found.jobs.iter().map(|job| job.connector.to_string()).collect();
    (names, found.selection.files)
}

#[tokio::test]
async fn a_stale_fork_has_changed_only_what_it_changed() {
    let (repo, _) = connectors();
    repo.write("connectors/a/main.py", "topic");
    let head = repo.commit("topic");
    // The fork's default branch never moved; the real one did, over the same and other files.
    repo.git(&["checkout", "--quiet", "main"]);
    for (at, name) in ["a", "b", "b", "c"].into_iter().enumerate() {
        repo.write(format!("connectors/{name}/other-{at}"), "main");
        repo.commit("main moves on");
    }
    let base = repo.head();
    assert_eq!(planned(&repo, &base, &head).await, (vec!["a".to_owned()], 1));
}

#[tokio::test]
async fn merging_the_default_branch_again_and_again_adds_nothing() {
    let (repo, mut base) = connectors();
    for round in 0..3 {
        repo.git(&["checkout", "--quiet", "main"]);
        repo.write("connectors/b/main.py", format!("main {round}"));
        base = repo.commit("main moves on");
        repo.git(&["checkout", "--quiet", "topic"]);
        repo.write("connectors/c/main.py", format!("topic {round}"));
        repo.commit("topic moves on");
        repo.git(&["merge", "--quiet", "--no-edit", "main"]);
    }
    let head = repo.head();
    assert_eq!(planned(&repo, &base, &head).await, (vec!["c".to_owned()], 1));
    // What the webhook calls the base may be older than what was merged.
    let older = repo.sha("main~1");
    let (names, _) = planned(&repo, &older, &head).await;
    assert_eq!(names, ["b", "c"], "measured from the base that was named");
}

#[tokio::test]
async fn a_pull_request_without_a_file_selects_nothing_and_is_complete() {
    let (repo, base) = connectors();
    let empty = repo.commit("nothing in it");
    for head in [&empty, &base] {
        let (_folder, cached) = fetched(&repo, &[&base, head]).await;
        let found = plan(&cached, &base, head, &Scope::Affected).await.unwrap();
        assert!(found.jobs.is_empty() && found.selection.complete);
        assert_eq!((found.selection.files, &found.merge_base), (0, &Some(base.clone())));
    }
    // Reverted on the way: the tip is what counts.
    repo.write("connectors/a/main.py", "x");
    repo.commit("there");
    repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(planned(&repo, &base, &repo.head()).await, (Vec::new(), 0));
}

#[tokio::test]
async fn renames_reach_both_connectors_with_and_without_likeness() {
    let (repo, base) = connectors();
    repo.git(&["mv", "connectors/a/main.py", "connectors/b/moved.py"]);
    let head = repo.commit("moved");
    assert_eq!(planned(&repo, &base, &head).await, (vec!["a".to_owned(), "b".to_owned()], 1));
    // Rewritten on the way: git no longer calls it a rename.
    repo.write("connectors/b/moved.py", "nothing of it is left");
    let head = repo.commit("rewritten");
    assert_eq!(planned(&repo, &base, &head).await, (vec!["a".to_owned(), "b".to_owned()], 2));
}

#[tokio::test]
async fn a_renamed_connector_is_another_one() {
    let (repo, base) = connectors();
    repo.git(&["mv", "connectors/a", "connectors/A"]);
    let head = repo.commit("in case alone");
    let (names, files) = planned(&repo, &base, &head).await;
    assert_eq!((names, files), (vec!["A".to_owned()], 2));
}

/// Both sides of every rename, or of every deletion and addition: what impact counts.
fn touched(change: &ChangeSet) -> BTreeSet<String> {
    assert!(change.is_complete(), "{change:?}");
    change.files().iter().flat_map(|file| file.paths().map(str::to_owned)).collect()
}

#[tokio::test]
async fn more_renames_than_git_looks_at_lose_no_side() {
    let (repo, _) = connectors();
    let many = 1_100;
    for nth in 0..many {
        repo.write(format!("connectors/a/many/{nth}"), prose(&nth.to_string()));
    }
    let base = repo.commit("many files");
    let mut expected = BTreeSet::new();
    for nth in 0..many {
        repo.remove(&format!("connectors/a/many/{nth}"));
        // Under another name: git finds files that keep theirs without looking into all.
        let to = format!("connectors/c/many/{nth}-moved");
        repo.write(&to, prose(&nth.to_string()) + "edited\n");
        expected.extend([format!("connectors/a/many/{nth}"), to]);
    }
    let head = repo.commit("all moved and edited");
    let (_folder, cached) = fetched(&repo, &[&base, &head]).await;
    let change = cached.diff(&base, &head).await;
    let renamed = change.files().iter().filter(|file| file.status == FileStatus::Renamed).count();
    assert!(renamed < many, "git is beyond its limit, or this tests nothing");
    assert_eq!(touched(&change), expected);
    assert_eq!(planned(&repo, &base, &head).await.0, ["a", "c"]);

    // Fewer are found, and touch the same paths as if they were not.
    repo.git(&["checkout", "--quiet", "-b", "fewer", base.as_str()]);
    for nth in 0..40 {
        repo.remove(&format!("connectors/a/many/{nth}"));
        let to = format!("connectors/c/many/{nth}-moved");
        repo.write(to, prose(&nth.to_string()) + "edited\n");
    }
    let fewer = repo.commit("forty of them");
    cached.fetch(None, std::slice::from_ref(&fewer)).await.unwrap();
    let change = cached.diff(&base, &fewer).await;
    assert!(change.files().iter().all(|file| file.status == FileStatus::Renamed));
    let plain = repo.git(&["diff", "--no-renames", "--name-only", base.as_str(), fewer.as_str()]);
    assert_eq!(touched(&change), plain.lines().map(str::to_owned).collect());
}

#[tokio::test]
async fn names_of_every_kind_reach_their_connector() {
    let (repo, base) = connectors();
    let names: [&[u8]; 10] = [
        "composed-\u{e9}".as_bytes(),
        "decomposed-e\u{301}".as_bytes(),
        b"latin-\xe9",
        b" blank at both ends ",
        b"new\nline",
        b"quo\"te'",
        b"tab\there",
        b"back\\slash",
        b"-leading",
        b"*?[x]",
    ];
    for name in names {
        repo.write([&b"connectors/b/"[..], name].concat(), "x");
    }
    // Alike to the eye, and two files.
    repo.write("connectors/c/\u{e9}", "x");
    let head = repo.commit("odd names");
    let found = planned(&repo, &base, &head).await;
    assert_eq!(found, (vec!["b".to_owned(), "c".to_owned()], names.len() + 1));
    repo.git(&["mv", "connectors/c/\u{e9}", "connectors/a/e\u{301}"]);
    let renamed = repo.commit("normalised otherwise, elsewhere");
    assert_eq!(planned(&repo, &head, &renamed).await.0, ["a", "c"]);
}

#[tokio::test]
async fn modes_types_and_folders_in_a_files_place_are_changes() {
    let (repo, _) = connectors();
    repo.write("connectors/a/becomes-a-folder", "x");
    repo.write("connectors/b/becomes-a-file/inside", "x");
    symlink("main.py", repo.path().join("connectors/c/link")).unwrap();
    let base = repo.commit("before");
    let steps: [(&str, &dyn Fn()); 4] = [
        ("a", &|| {
            repo.remove("connectors/a/becomes-a-folder");
            repo.write("connectors/a/becomes-a-folder/inside", "x");
        }),
        ("b", &|| {
            repo.remove("connectors/b/becomes-a-file/inside");
            std::fs::remove_dir(repo.path().join("connectors/b/becomes-a-file")).unwrap();
            repo.write("connectors/b/becomes-a-file", "x");
        }),
        ("c", &|| {
            repo.remove("connectors/c/link");
            repo.write("connectors/c/link", "main.py");
        }),
        ("c", &|| {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(repo.path().join("connectors/c/main.py"), mode).unwrap();
        }),
    ];
    for (name, change) in steps {
        repo.git(&["checkout", "--quiet", "--force", base.as_str()]);
        repo.git(&["clean", "-fdq"]);
        change();
        let head = repo.commit("changed");
        assert_eq!(planned(&repo, &base, &head).await.0, [name]);
    }
}

#[tokio::test]
async fn submodules_come_move_go_and_become_folders() {
    let (repo, plain) = connectors();
    let library = Repo::new();
    library.write("lib.txt", "1");
    let (first, second) = (library.commit("first"), library.commit("second"));
    let pin = |at: &Sha| {
        let link = format!("160000,{at},connectors/b/lib");
        repo.git(&["update-index", "--add", "--cacheinfo", &link]);
        // It asks to be overlooked.
        let modules =
            "[submodule \"lib\"]\n\tpath = connectors/b/lib\n\turl = ./x\n\tignore = all\n";
        repo.write(".gitmodules", modules);
        repo.git(&["add", ".gitmodules"]);
        repo.git(&["commit", "--quiet", "--message", "pinned"]);
        repo.head()
    };
    let (added, moved) = (pin(&first), pin(&second));
    repo.git(&["update-index", "--force-remove", "connectors/b/lib"]);
    repo.git(&["commit", "--quiet", "--message", "removed"]);
    let removed = repo.head();
    repo.write("connectors/b/lib/lib.txt", "vendored");
    let folder = repo.commit("a folder");
    for (base, head) in [
        (&plain, &added),
        (&added, &moved),
        (&moved, &removed),
        (&moved, &folder),
        (&removed, &folder),
    ] {
        assert_eq!(planned(&repo, base, head).await.0, ["b"], "{base} {head}");
    }
    // In a clone git reads `.gitmodules`, too.
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let change = local.objects().diff(&added, &moved).await;
    assert_eq!(statuses(&change), [(FileStatus::Modified, "connectors/b/lib".to_owned())]);
}

#[tokio::test]
async fn unrelated_histories_are_everything() {
    let (repo, base) = connectors();
    repo.git(&["checkout", "--quiet", "--orphan", "unrelated"]);
    let head = repo.commit("no ancestor");
    let (_folder, cached) = fetched(&repo, &[&base, &head]).await;
    let found = plan(&cached, &base, &head, &Scope::Affected).await.unwrap();
    let because = found.selection.because.unwrap();
    assert!(because.contains("no common ancestor") && !because.contains("shallow"), "{because}");
    assert_eq!(found.jobs.len(), 3);
}

#[tokio::test]
async fn a_shallow_clone_is_believed_as_far_as_it_reaches() {
    let (repo, base) = connectors();
    for nth in 0..4 {
        repo.write("connectors/a/main.py", nth.to_string());
        repo.commit("topic");
    }
    let head = repo.head();
    for (bare, depth, known) in
        [(true, 5, true), (true, 3, false), (false, 5, true), (false, 3, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("clone").display().to_string();
        let depth = format!("--depth={depth}");
        let url = repo.url();
        let mut args = vec!["clone", "--quiet", "--no-single-branch", &depth, &url, &to];
        args.extend(bare.then_some("--bare"));
        repo.git(&args);
        let local = LocalRepo::discover(Some(to.as_ref())).await.unwrap();
        let compared = local.objects().changes(&base, &head).await;
        if known {
            assert_eq!(statuses(&compared.change).len(), 1);
            assert_eq!(compared.merge_base.as_ref(), Some(&base));
        } else {
            let ChangeSet::Everything { because } = compared.change else { panic!("{bare}") };
            assert!(because.contains("--unshallow"), "{because}");
        }
    }
}

#[tokio::test]
async fn a_merge_base_beyond_the_cut_is_not_guessed() {
    let (repo, fork) = connectors();
    repo.write("connectors/a/main.py", "on the way");
    let shared = repo.commit("shared by both");
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("side", "1");
    let side = repo.commit("side");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("connectors/b/main.py", "main");
    repo.commit("main moves on");
    repo.git(&["merge", "--quiet", "--no-edit", "side"]);
    let base = repo.head();
    repo.git(&["checkout", "--quiet", "topic"]);
    repo.git(&["checkout", "--quiet", fork.as_str(), "--", "connectors/a/main.py"]);
    let head = repo.commit("back to what it was");

    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let whole = local.objects().changes(&base, &head).await;
    assert_eq!(whole.merge_base, Some(shared));
    let changed = (FileStatus::Modified, "connectors/a/main.py".to_owned());
    assert_eq!(statuses(&whole.change), [changed]);

    // Cut off at `side`, the fork point looks like the merge base; from there, nothing changed.
    std::fs::write(repo.path().join(".git/shallow"), format!("{side}\n")).unwrap();
    assert_eq!(local.objects().merge_bases(&base, &head).await.unwrap(), [fork]);
    let cut = local.objects().changes(&base, &head).await;
    let ChangeSet::Everything { because } = cut.change else { panic!("{cut:?}") };
    assert!(because.contains("it is not known where") && because.contains("--unshallow"));
}

#[tokio::test]
async fn a_head_that_the_origin_has_dropped_is_named() {
    let (repo, base) = connectors();
    repo.write("connectors/a/main.py", "1");
    let told = repo.commit("as the webhook said");
    repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    repo.git(&["reset", "--quiet", "--hard", base.as_str()]);
    repo.write("connectors/b/main.py", "1");
    let tip = repo.commit("pushed over");
    // Unreferenced, but there: the event's commit counts, never the branch's tip.
    assert_eq!(planned(&repo, &base, &told).await.0, ["a"]);
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "--quiet", "--prune=now"]);
    let folder = tempfile::tempdir().unwrap();
    let cached = GitCache::new(folder.path()).repository(1, &repo.url());
    let error = cached.fetch(None, &[base.clone(), told.clone()]).await.unwrap_err();
    assert!(matches!(&error, GitError::Vanished { sha } if *sha == told), "{error:?}");
    assert!(error.to_string().contains("pushed over or its branch was deleted"), "{error}");
    cached.fetch(None, &[base, tip]).await.unwrap();
}

#[tokio::test]
async fn nothing_in_a_repository_bends_the_answer() {
    let (repo, base) = connectors();
    repo.write("connectors/a/main.py", prose("a") + "edited\n");
    repo.write(
        ".gitattributes",
        "* -diff\n*.py diff=evil filter=evil\nconnectors/** export-ignore\n",
    );
    let head = repo.commit("attributes");
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let expected = local.objects().changes(&base, &head).await;
    assert_eq!(statuses(&expected.change).len(), 2);

    let touched = repo.path().join(".git/touched");
    let touch = format!("touch '{}'", touched.display());
    for (key, value) in [
        ("diff.evil.command", touch.as_str()),
        ("diff.evil.textconv", touch.as_str()),
        ("diff.external", touch.as_str()),
        ("core.fsmonitor", touch.as_str()),
        ("diff.renames", "copies"),
        ("diff.relative", "true"),
        ("diff.noprefix", "true"),
        ("diff.ignoreSubmodules", "all"),
        ("core.quotePath", "true"),
        ("core.pager", touch.as_str()),
        ("log.showSignature", "true"),
    ] {
        repo.git(&["config", key, value]);
    }
    // History as somebody would like it to be.
    repo.git(&["replace", head.as_str(), base.as_str()]);
    std::fs::create_dir_all(repo.path().join(".git/info")).unwrap();
    std::fs::write(repo.path().join(".git/info/grafts"), format!("{head}\n")).unwrap();
    let bent = local.objects().changes(&base, &head).await;
    assert_eq!((bent.merge_base, bent.change), (expected.merge_base, expected.change.clone()));
    let unstaged = local.unstaged().await.unwrap();
    let here = local.changes(&base, &head, &unstaged).await;
    assert_eq!(here.change, expected.change);
    assert!(!touched.exists(), "a program that the repository names was run");
}

type Misplace = (&'static str, fn(&Repo));

/// What stands where the repository's file belongs, and what is said of it.
const MISPLACED: &[Misplace] = &[
    ("it is a folder", |repo| {
        repo.remove(".github/checkvalve.yml");
        repo.write(".github/checkvalve.yml/x", "x");
    }),
    ("it is a symbolic link", |repo| {
        repo.remove(".github/checkvalve.yml");
        repo.write("cfg.yml", FILE);
        symlink("../cfg.yml", repo.path().join(".github/checkvalve.yml")).unwrap();
    }),
    ("it lies behind the symbolic link `.github`", |repo| {
        repo.remove(".github/checkvalve.yml");
        std::fs::remove_dir_all(repo.path().join(".github")).ok();
        repo.write("cfg/checkvalve.yml", FILE);
        symlink("./x/../cfg/", repo.path().join(".github")).unwrap();
    }),
];

#[tokio::test]
async fn what_stands_where_the_file_belongs_is_not_taken_for_none() {
    for (what, misplace) in MISPLACED {
        let (repo, base) = connectors();
        // A layout that is recognised, if there is no file.
        repo.write("airbyte-integrations/connectors/source-x/metadata.yaml", "data: {}\n");
        misplace(&repo);
        let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
        let here = survey_here(&local, Some(&base), None, None).await.unwrap_err();
        assert!(here.to_string().contains(what), "{here}");
        let head = repo.commit("misplaced");
        let there = survey_here(&local, Some(&base), Some(&head), None).await.unwrap_err();
        assert!(there.to_string().contains(what), "{there}");
    }
}

#[tokio::test]
async fn a_clone_without_the_files_contents_tells_deletions_and_additions() {
    let (repo, base) = connectors();
    repo.remove("connectors/a/main.py");
    repo.write("connectors/b/moved.py", prose("a") + "edited\n");
    let head = repo.commit("moved and edited");
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("clone").display().to_string();
    repo.git(&["clone", "--quiet", "--bare", "--filter=blob:none", &repo.url(), &to]);
    let local = LocalRepo::discover(Some(to.as_ref())).await.unwrap();
    let compared = local.objects().changes(&base, &head).await;
    assert_eq!(
        statuses(&compared.change),
        [
            (FileStatus::Deleted, "connectors/a/main.py".to_owned()),
            (FileStatus::Added, "connectors/b/moved.py".to_owned()),
        ]
    );
    // git would fetch what is missing; cut off, it can't.
    let gone = folder.path().join("gone").display().to_string();
    let args = ["-C", &to, "config", "remote.origin.url", &gone];
    repo.git(&args);
    let unread = survey_here(&local, Some(&base), Some(&head), None).await.unwrap_err();
    let told = unread.to_string();
    assert!(told.contains("checkvalve.yml") && told.contains("can't be read"), "{told}");
}
