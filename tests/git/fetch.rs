//! What a fetch brings, what it leaves when it fails, and how git is told who asks.

use checkvalve::domain::change::FileStatus;
use checkvalve::domain::names::Sha;
use checkvalve::git::{GitCache, GitError};

use super::git_fixture::Repo;
use super::{fetched, statuses};

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
