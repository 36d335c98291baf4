//! The git layer against real repositories in the situations that pull requests bring.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "git/answers.rs"]
mod answers;
#[path = "git/basis.rs"]
mod basis;
#[path = "git/fetch.rs"]
mod fetch;
mod git_fixture;
#[path = "git/hard.rs"]
mod hard;
#[path = "git/merge.rs"]
mod merge;
#[path = "git/replay.rs"]
mod replay;
#[path = "git/work_tree.rs"]
mod work_tree;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

use checkvalve::domain::change::{ChangeSet, ChangedFile, FileStatus};
use checkvalve::domain::names::Sha;
use checkvalve::domain::plan::Inputs;
use checkvalve::git::{BareRepo, EntryKind, GitCache, GitError, LocalRepo};
use git_fixture::{Repo, prose};

/// A cache that has fetched the commits.
async fn fetched(origin: &Repo, shas: &[&Sha]) -> (tempfile::TempDir, BareRepo) {
    let folder = tempfile::tempdir().unwrap();
    let repo = GitCache::new(folder.path()).repository(7, &origin.url());
    let shas: Vec<Sha> = shas.iter().map(|sha| (*sha).clone()).collect();
    repo.fetch(None, &shas).await.unwrap();
    (folder, repo)
}

fn statuses(change: &ChangeSet) -> Vec<(FileStatus, String)> {
    assert!(change.is_complete(), "{change:?}");
    change.files().iter().map(|file| (file.status, file.path.clone())).collect()
}

#[tokio::test]
async fn every_kind_of_change_is_seen() {
    let origin = Repo::new();
    origin.write("gone.txt", "x");
    origin.write("edited.txt", "x");
    origin.write("script.sh", "x");
    origin.write("becomes-a-link", "target");
    origin.write("old/place.md", prose("moved"));
    origin.write("Case.md", prose("case"));
    let base = origin.commit("base");
    origin.remove("gone.txt");
    origin.write("edited.txt", "y");
    origin.write("added.txt", "new");
    let script = origin.path().join("script.sh");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    origin.remove("becomes-a-link");
    symlink("target", origin.path().join("becomes-a-link")).unwrap();
    origin.remove("old/place.md");
    origin.write("new/place.md", prose("moved") + "one more\n");
    origin.git(&["mv", "--force", "Case.md", "case.md"]);
    let head = origin.commit("head");

    let (_folder, repo) = fetched(&origin, &[&base, &head]).await;
    let change = repo.diff(&base, &head).await;

    let mut found = statuses(&change);
    found.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(
        found,
        [
            (FileStatus::Added, "added.txt".to_owned()),
            (FileStatus::TypeChanged, "becomes-a-link".to_owned()),
            (FileStatus::Renamed, "case.md".to_owned()),
            (FileStatus::Modified, "edited.txt".to_owned()),
            (FileStatus::Deleted, "gone.txt".to_owned()),
            (FileStatus::Renamed, "new/place.md".to_owned()),
            (FileStatus::Modified, "script.sh".to_owned()),
        ]
    );
    let moved = ChangedFile {
        path: "new/place.md".to_owned(),
        status: FileStatus::Renamed,
        old_path: Some("old/place.md".to_owned()),
    };
    assert!(change.files().contains(&moved), "both sides of a rename");
}

#[tokio::test]
async fn odd_names_arrive_as_they_are() {
    let origin = Repo::new();
    let base = origin.commit("base");
    let names =
        ["ünïcode/ß.txt", "with blank.txt", "new\nline.txt", "quo\"te.txt", "tab\there", "-dash"];
    for name in names {
        origin.write(name, "x");
    }
    origin.write(b"latin\xe9.txt", "x");
    let head = origin.commit("head");

    let (_folder, repo) = fetched(&origin, &[&base, &head]).await;
    let found: Vec<String> =
        statuses(&repo.diff(&base, &head).await).into_iter().map(|(_, path)| path).collect();

    for name in names {
        assert!(found.contains(&name.to_owned()), "{name:?} in {found:?}");
    }
    assert!(found.contains(&"latin\u{fffd}.txt".to_owned()));
    let tree = repo.tree(&head).await.unwrap();
    assert_eq!(tree.len(), 7);
    assert!(tree.iter().any(|entry| entry.path_bytes() == b"latin\xe9.txt"));
    let tar = tempfile::NamedTempFile::new().unwrap();
    let all = Inputs { paths: vec![String::new()], globs: Vec::new() };
    repo.export(&head, &all, tar.path()).await.unwrap();
    assert!(unpacked(tar.path()).contains_key(b"latin\xe9.txt".as_slice()));
}

#[tokio::test]
async fn merge_bases_in_hard_situations() {
    let origin = Repo::new();
    origin.write("main.txt", "0");
    let root = origin.commit("root");
    origin.git(&["checkout", "--quiet", "-b", "topic"]);
    origin.write("topic.txt", "1");
    origin.commit("topic");
    origin.git(&["checkout", "--quiet", "main"]);
    origin.write("main.txt", "1");
    let main = origin.commit("main moved on");
    // The head merged the default branch: what came in from there is no change of its own.
    origin.git(&["checkout", "--quiet", "topic"]);
    origin.git(&["merge", "--quiet", "--no-edit", "main"]);
    let merged = origin.head();
    // A stale base: the fork's default branch never moved.
    let (_folder, repo) = fetched(&origin, &[&root, &main, &merged]).await;

    let found = repo.objects().changes(&main, &merged).await;
    assert_eq!(
        (found.merge_base, statuses(&found.change)),
        (Some(main.clone()), vec![(FileStatus::Added, "topic.txt".to_owned())])
    );
    assert_eq!(repo.merge_base(&root, &merged).await.unwrap(), Some(root));
    let found = repo.objects().changes(&merged, &merged).await;
    let files = statuses(&found.change).len();
    assert_eq!((found.merge_base, files), (Some(merged), 0), "an empty pull request");
}

#[tokio::test]
async fn a_criss_cross_takes_all_merge_bases() {
    let origin = Repo::new();
    origin.write("a.txt", "0");
    origin.write("b.txt", "0");
    origin.commit("root");
    origin.git(&["checkout", "--quiet", "-b", "topic"]);
    origin.write("a.txt", "1");
    let topic = origin.commit("topic");
    origin.git(&["checkout", "--quiet", "main"]);
    origin.write("b.txt", "1");
    let main = origin.commit("main");
    origin.git(&["merge", "--quiet", "--no-edit", topic.as_str()]);
    let main_merged = origin.head();
    origin.git(&["checkout", "--quiet", "topic"]);
    origin.git(&["merge", "--quiet", "--no-edit", main.as_str()]);
    origin.write("c.txt", "1");
    let head = origin.commit("after the criss-cross");

    let (_folder, repo) = fetched(&origin, &[&main_merged, &head]).await;
    let bases = repo.objects().merge_bases(&main_merged, &head).await.unwrap();
    let found = repo.objects().changes(&main_merged, &head).await;

    assert_eq!(bases.len(), 2);
    let paths: Vec<String> = statuses(&found.change).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["a.txt", "b.txt", "c.txt"], "more rather than less");
}

#[tokio::test]
async fn what_cannot_be_known_is_everything() {
    let origin = Repo::new();
    origin.write("a.txt", "0");
    let main = origin.commit("main");
    origin.git(&["checkout", "--quiet", "--orphan", "other"]);
    let orphan = origin.commit("no ancestor");
    let (_folder, repo) = fetched(&origin, &[&main, &orphan]).await;

    let found = repo.objects().changes(&main, &orphan).await;
    assert_eq!(found.merge_base, None);
    let ChangeSet::Everything { because } = found.change else { panic!("{found:?}") };
    assert!(because.contains("no common ancestor"), "{because}");

    let missing: Sha = "0123456789".repeat(4).parse().unwrap();
    let change = repo.diff(&main, &missing).await;
    assert!(!change.is_complete(), "a failed diff is never an empty one");
}

#[tokio::test]
async fn a_shallow_clone_says_that_it_is_one() {
    let origin = Repo::new();
    let old = origin.commit("old");
    origin.git(&["checkout", "--quiet", "-b", "topic"]);
    origin.commit("one");
    origin.write("x", "1");
    origin.commit("two");
    let clone = tempfile::tempdir().unwrap();
    let to = clone.path().join("clone").display().to_string();
    origin.git(&["clone", "--quiet", "--depth=1", "--no-single-branch", &origin.url(), &to]);

    let repo = LocalRepo::discover(Some(to.as_ref())).await.unwrap();
    let head = repo.resolve("HEAD").await.unwrap();
    let found = repo.objects().changes(&old, &head).await;
    let ChangeSet::Everything { because } = found.change else { panic!("{found:?}") };
    assert!(because.contains("--unshallow"), "{because}");
}

#[tokio::test]
async fn submodules_count_as_changes_and_export_as_folders() {
    let (origin, library) = (Repo::new(), Repo::new());
    library.write("lib.txt", "1");
    library.commit("library");
    origin.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "--quiet",
        &library.url(),
        "vendor/lib",
    ]);
    let base = origin.commit("with a submodule");
    library.write("lib.txt", "2");
    let newer = library.commit("newer");
    let inside = origin.path().join("vendor/lib").display().to_string();
    origin.git(&["-C", &inside, "fetch", "--quiet"]);
    origin.git(&["-C", &inside, "checkout", "--quiet", newer.as_str()]);
    let head = origin.commit("submodule moved");

    let (_folder, repo) = fetched(&origin, &[&base, &head]).await;
    let change = repo.diff(&base, &head).await;
    assert_eq!(statuses(&change), [(FileStatus::Modified, "vendor/lib".to_owned())]);
    let kinds: BTreeMap<String, EntryKind> =
        repo.tree(&head).await.unwrap().into_iter().map(|e| (e.path, e.kind)).collect();
    assert_eq!(kinds["vendor/lib"], EntryKind::Submodule);
    let tar = tempfile::NamedTempFile::new().unwrap();
    let all = Inputs { paths: vec![String::new()], globs: Vec::new() };
    repo.export(&head, &all, tar.path()).await.unwrap();
    assert_eq!(unpacked(tar.path())[&b"vendor/lib".to_vec()].0, tar::EntryType::Directory);
}

/// Path → what it is, its mode, and its content or target.
fn unpacked(tar: &std::path::Path) -> BTreeMap<Vec<u8>, (tar::EntryType, u32, Vec<u8>)> {
    let mut archive = tar::Archive::new(std::fs::File::open(tar).unwrap());
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry
            .path_bytes()
            .strip_suffix(b"/")
            .map_or(entry.path_bytes().to_vec(), <[u8]>::to_vec);
        let mut content = entry.link_name_bytes().map(|link| link.to_vec()).unwrap_or_default();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 946_684_800));
        let facts = (header.entry_type(), header.mode().unwrap(), content);
        assert!(found.insert(path, facts).is_none(), "an entry stands twice");
    }
    found
}

#[tokio::test]
async fn an_export_is_just_the_inputs_and_always_the_same() {
    let origin = Repo::new();
    origin.write("connectors/a/main.py", "print()");
    let tool = origin.write("connectors/a/bin/tool", "#!/bin/sh");
    std::fs::set_permissions(tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../shared", origin.path().join("connectors/a/link")).unwrap();
    origin.write("connectors/ab/main.py", "");
    origin.write("shared/x.py", "shared");
    origin.write("shared/x.md", "shared");
    origin.write(".gitattributes", "*.py export-ignore\n*.py text eol=crlf\n");
    let long = format!("shared/{}/deep.py", "long-name-".repeat(20));
    origin.write(&long, "deep");
    let head = origin.commit("head");
    let (_folder, repo) = fetched(&origin, &[&head]).await;
    let inputs =
        Inputs { paths: vec!["connectors/a".to_owned()], globs: vec!["shared/**/*.py".to_owned()] };
    let (one, two) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    repo.export(&head, &inputs, one.path()).await.unwrap();
    let local = LocalRepo::discover(Some(origin.path())).await.unwrap();
    local.export_work_tree(&inputs, two.path()).await.unwrap();

    assert_eq!(std::fs::read(one.path()).unwrap(), std::fs::read(two.path()).unwrap());
    let files = unpacked(one.path());
    let names: Vec<String> =
        files.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let long_folder = format!("shared/{}", "long-name-".repeat(20));
    assert_eq!(
        names,
        [
            "connectors",
            "connectors/a",
            "connectors/a/bin",
            "connectors/a/bin/tool",
            "connectors/a/link",
            "connectors/a/main.py",
            "shared",
            &long_folder,
            &long,
            "shared/x.py",
        ]
    );
    let tool = &files[&b"connectors/a/bin/tool".to_vec()];
    assert_eq!((tool.1, tool.2.as_slice()), (0o755, b"#!/bin/sh".as_slice()));
    let link = &files[&b"connectors/a/link".to_vec()];
    assert_eq!((link.0, link.2.as_slice()), (tar::EntryType::Symlink, b"../shared".as_slice()));
}

#[tokio::test]
async fn the_work_tree_is_seen_as_it_is() {
    let origin = Repo::new();
    origin.write("committed.txt", "0");
    origin.write("staged.txt", "0");
    origin.write("unstaged.txt", "0");
    origin.write("undone.txt", "0");
    origin.write("deleted.txt", "0");
    origin.write(".gitignore", "*.log\n");
    origin.commit("base");
    origin.git(&["checkout", "--quiet", "-b", "topic"]);
    origin.write("committed.txt", "1");
    origin.commit("topic");
    origin.write("staged.txt", "1");
    origin.write("undone.txt", "1");
    origin.git(&["add", "staged.txt", "undone.txt"]);
    origin.write("undone.txt", "0");
    origin.write("unstaged.txt", "1");
    origin.write("new folder/untracked \n.txt", "1");
    origin.write("noise.log", "1");
    origin.remove("deleted.txt");

    let inside = origin.path().join("new folder");
    let repo = LocalRepo::discover(Some(&inside)).await.unwrap();
    let top = repo.work_tree().unwrap().canonicalize().unwrap();
    assert_eq!(top, origin.path().canonicalize().unwrap());
    let main = repo.base(Some("main")).await.unwrap();
    let unstaged = repo.unstaged().await.unwrap();
    let found = repo.changes(&main, &origin.head(), &unstaged).await;
    let mut paths: Vec<String> =
        statuses(&found.change).into_iter().map(|(_, path)| path).collect();
    paths.dedup();
    assert_eq!(
        paths,
        [
            "committed.txt",
            "deleted.txt",
            "new folder/untracked \n.txt",
            "staged.txt",
            "undone.txt",
            "unstaged.txt",
        ]
    );
    let files: Vec<String> =
        repo.files(&unstaged).await.unwrap().into_iter().map(|e| e.path).collect();
    assert!(!files.contains(&"deleted.txt".to_owned()) && !files.contains(&"noise.log".to_owned()));
    assert!(files.contains(&"new folder/untracked \n.txt".to_owned()));
}

#[tokio::test]
async fn bases_and_repositories_that_are_not_there() {
    let origin = Repo::new();
    origin.commit("only");
    let repo = LocalRepo::discover(Some(origin.path())).await.unwrap();
    assert!(matches!(repo.base(None).await, Err(GitError::NoBase)));
    assert!(matches!(repo.base(Some("nope")).await, Err(GitError::UnknownRevision(_))));
    assert!(matches!(repo.base(Some("--all")).await, Err(GitError::UnknownRevision(_))));
    origin.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    assert_eq!(repo.base(None).await.unwrap(), origin.head());

    let nowhere = tempfile::tempdir().unwrap();
    let found = LocalRepo::discover(Some(nowhere.path())).await;
    assert!(matches!(found, Err(GitError::NoRepository(_))));
    let bare = nowhere.path().join("bare.git").display().to_string();
    origin.git(&["clone", "--quiet", "--bare", &origin.url(), &bare]);
    let repo = LocalRepo::discover(Some(bare.as_ref())).await.unwrap();
    assert_eq!((repo.work_tree(), repo.resolve("HEAD").await.unwrap()), (None, origin.head()));
    assert!(repo.unstaged().await.is_err(), "a bare repository has no work tree");
}
