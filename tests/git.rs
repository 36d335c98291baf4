//! The git layer against real repositories in the situations that pull requests bring.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "git/answers.rs"]
mod answers;
#[path = "git/basis.rs"]
mod basis;
mod git_fixture;
#[path = "git/hard.rs"]
mod hard;
#[path = "git/merge.rs"]
mod merge;
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
async fn a_fetch_takes_the_commit_and_not_the_branch() {
    let origin = Repo::new();
    let base = origin.commit("base");
    origin.git(&["checkout", "--quiet", "-b", "topic"]);
    origin.write("x", "1");
    let first = origin.commit("as the webhook said");
    // Pushed over between the webhook and the fetch; the origin still has the object.
    origin.write("x", "2");
    origin.git(&["add", "--all"]);
    origin.git(&["commit", "--quiet", "--amend", "--message", "pushed over"]);
    origin.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);

    let (_folder, repo) = fetched(&origin, &[&base, &first]).await;
    let change = repo.diff(&base, &first).await;
    assert_eq!(statuses(&change), [(FileStatus::Added, "x".to_owned())]);

    // Once it is here, it stays, whatever the origin does.
    origin.git(&["reflog", "expire", "--expire=now", "--all"]);
    origin.git(&["gc", "--quiet", "--prune=now"]);
    repo.tidy().await.unwrap();
    repo.fetch(None, std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(repo.tree(&first).await.unwrap().len(), 1);
}

/// What a git that was killed left locked must not keep the cache from being packed for ever.
#[tokio::test]
async fn packing_is_not_stopped_by_what_a_dead_git_locked() {
    let origin = Repo::new();
    let commit = origin.commit("one");
    let (folder, repo) = fetched(&origin, &[&commit]).await;
    let dir = folder.path().join("7.git");
    let packs = || {
        let files = std::fs::read_dir(dir.join("objects/pack")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths.filter(|path| path.extension().unwrap() == "pack").collect::<Vec<_>>()
    };
    // As many as would have it packed.
    let pack = packs().remove(0);
    for nth in 0..60 {
        for extension in ["pack", "idx"] {
            let copy = pack.with_file_name(format!("pack-{nth:040}.{extension}"));
            std::fs::copy(pack.with_extension(extension), copy).unwrap();
        }
    }
    std::fs::create_dir_all(dir.join("objects/info")).unwrap();
    for lock in ["gc.pid.lock", "packed-refs.lock", "objects/info/commit-graph.lock"] {
        std::fs::write(dir.join(lock), "").unwrap();
    }
    repo.tidy().await.unwrap();
    assert!(packs().len() < 5, "{:?}", packs());
    repo.tree(&commit).await.unwrap();
}

#[tokio::test]
async fn a_failed_fetch_says_what_failed() {
    let origin = Repo::new();
    let there = origin.commit("there");
    let gone: Sha = "0123456789".repeat(4).parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cache = GitCache::new(folder.path());

    let error =
        cache.repository(1, &origin.url()).fetch(None, &[there.clone(), gone.clone()]).await;
    assert!(matches!(&error, Err(GitError::Vanished { sha }) if *sha == gone), "{error:?}");

    let nowhere = format!("file://{}/nowhere", folder.path().display());
    let error = cache.repository(2, &nowhere).fetch(None, std::slice::from_ref(&there)).await;
    assert!(matches!(error, Err(GitError::NoAccess { .. })), "{error:?}");

    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let token = secrecy::SecretString::from("not-a-real-token");
    let away = format!("http://127.0.0.1:{port}/a/b.git");
    let error = cache.repository(3, &away).fetch(Some(&token), std::slice::from_ref(&there)).await;
    assert!(matches!(error, Err(GitError::Network { .. })), "{error:?}");
    assert!(!format!("{error:?}").contains("not-a-real-token"));
}

#[tokio::test]
async fn what_a_killed_fetch_left_is_in_nobodys_way() {
    let origin = Repo::new();
    let first = origin.commit("first");
    let second = origin.commit("second");
    let (folder, repo) = fetched(&origin, &[&first]).await;
    let dir = folder.path().join("7.git");
    for left in [
        format!("refs/checkvalve/{second}.lock"),
        "shallow.lock".to_owned(),
        "objects/pack/tmp_pack_x".to_owned(),
    ] {
        std::fs::write(dir.join(left), "").unwrap();
    }
    std::fs::create_dir(folder.path().join("8.new")).unwrap();
    repo.fetch(None, std::slice::from_ref(&second)).await.unwrap();
    let beside = GitCache::new(folder.path()).repository(8, &origin.url());
    beside.fetch(None, &[first, second]).await.unwrap();
}

#[tokio::test]
async fn fetches_of_one_repository_do_not_collide() {
    let origin = Repo::new();
    let mut shas = Vec::new();
    for nth in 0..6 {
        origin.write("n", nth.to_string());
        shas.push(origin.commit("one more"));
    }
    let folder = tempfile::tempdir().unwrap();
    // Two caches over one folder, as two processes have them.
    let caches = [GitCache::new(folder.path()), GitCache::new(folder.path())];
    let mut fetches = tokio::task::JoinSet::new();
    for (nth, sha) in shas.iter().enumerate() {
        let repo = caches[nth % 2].repository("same", &origin.url());
        let sha = sha.clone();
        fetches.spawn(async move { repo.fetch(None, &[sha]).await });
    }
    while let Some(done) = fetches.join_next().await {
        done.unwrap().unwrap();
    }
    let repo = caches[0].repository("same", &origin.url());
    for sha in &shas {
        assert_eq!(repo.tree(sha).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_token_reaches_git_by_its_environment_alone() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 8192];
        let read = stream.read(&mut bytes).await.unwrap();
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    });
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{port}/acme/connectors.git");
    let repo = GitCache::new(folder.path()).repository(4, &url);
    let token = secrecy::SecretString::from("ghs_0123456789");
    let sha: Sha = "a".repeat(40).parse().unwrap();
    let error = repo.fetch(Some(&token), &[sha]).await;

    assert!(matches!(error, Err(GitError::NoAccess { .. })), "{error:?}");
    // base64 of `x-access-token:ghs_0123456789`
    let expected = "Authorization: Basic eC1hY2Nlc3MtdG9rZW46Z2hzXzAxMjM0NTY3ODk=";
    let request = request.await.unwrap();
    assert!(request.contains(expected), "{request}");
    let config = std::fs::read_to_string(folder.path().join("4.git/config")).unwrap();
    assert!(!config.contains("Authorization") && !config.contains("ghs_"), "{config}");
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
