//! Behaviours 87–92, 95 and 97: what is cut, and what is fetched from elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use github_simulator::{Change, Commit, OpenPull, RepositoryOptions};
use serde_json::{Value, json};

use crate::common::{Client, REPO, Scene, config, fast_import, write};

async fn push(scene: &Scene, branch: &str, changes: Vec<(String, Change)>) -> String {
    let commit = Commit::new("Change", "ada", changes);
    scene.github.commit(REPO, branch, commit).await.unwrap()
}

/// Behaviour 87: the list stops at 3,000 and no flag tells; one who does not compare with
/// `changed_files` believes in the cut list.
#[tokio::test]
async fn a_pull_request_lists_three_thousand_files() {
    let scene = Scene::new().await;
    let files = (0..3_005).map(|n| write(&format!("many/{n:04}"), "x\n")).collect();
    push(&scene, "topic", files).await;
    let path = scene.path(&format!("/pulls/{}", scene.number));
    let pull = scene.client.get(&path).await.expect(200).json();
    assert_eq!(pull["changed_files"], 3_007);
    let last = scene.client.get(&format!("{path}/files?per_page=100&page=30")).await.expect(200);
    assert_eq!(last.json().as_array().unwrap().len(), 100);
    assert!(!last.header("link").contains("rel=\"next\""), "nothing says that there is more");
    let beyond = scene.client.get(&format!("{path}/files?per_page=100&page=31")).await.expect(200);
    assert_eq!(beyond.json(), json!([]));
    scene.github.choose(|choices| choices.whole_file_count = false);
    assert_eq!(scene.client.get(&path).await.expect(200).json()["changed_files"], 3_000);
}

/// Behaviour 88: large files have no `patch`, as binary ones.
#[tokio::test]
async fn a_large_file_has_no_patch() {
    let scene = Scene::new().await;
    let line = "0123456789abcdef\n";
    let files = vec![
        write("large.txt", &line.repeat(40_000)),
        write("small.txt", line),
        ("moved.md".to_owned(), Change::Write(b"one\ntwo\nthree\n".to_vec())),
        ("README.md".to_owned(), Change::Delete),
    ];
    push(&scene, "topic", files).await;
    let path = scene.path(&format!("/pulls/{}/files", scene.number));
    let listed = scene.client.get(&path).await.expect(200).json();
    let find = |name: &str| {
        listed.as_array().unwrap().iter().find(|file| file["filename"] == name).unwrap().clone()
    };
    assert!(find("large.txt").get("patch").is_none());
    assert_eq!(find("large.txt")["additions"], 40_000);
    assert!(find("small.txt")["patch"].is_string());
    let moved = find("moved.md");
    assert_eq!(
        (&moved["status"], &moved["previous_filename"]),
        (&json!("renamed"), &json!("README.md"))
    );
}

/// Behaviour 89: 250 commits when nobody pages, all of them for those who do; files on the first
/// page only.
#[tokio::test]
async fn a_comparison_has_250_commits() {
    let scene = Scene::new().await;
    let mut stream = String::new();
    for n in 0..260 {
        let from = if n == 0 { format!("from {}\n", scene.base) } else { String::new() };
        write!(
            stream,
            "commit refs/heads/long\ncommitter a <a@b> {n} +0000\ndata 3\n{n:03}\n{from}\
             M 100644 inline f{n}\ndata 1\nx\n"
        )
        .unwrap();
    }
    fast_import(&scene.github, REPO, &stream).await;
    let path = scene.path("/compare/main...long");
    let whole = scene.client.get(&path).await.expect(200).json();
    let messages = |body: &Value| -> Vec<String> {
        let commits = body["commits"].as_array().unwrap().iter();
        commits.map(|c| c["commit"]["message"].as_str().unwrap().to_owned()).collect()
    };
    let shown = messages(&whole);
    assert_eq!((shown.len(), whole["total_commits"].as_u64()), (250, Some(260)));
    assert_eq!((shown[0].as_str(), shown[249].as_str()), ("010", "259"), "the newest, in order");
    assert_eq!(whole["files"].as_array().unwrap().len(), 260);
    let third = scene.client.get(&format!("{path}?per_page=100&page=3")).await.expect(200);
    assert!(third.header("link").contains("rel=\"prev\""));
    let body = third.json();
    assert_eq!(messages(&body).len(), 60);
    assert_eq!(body["files"], json!([]), "who reads files from the last page has none");
    scene.no_violations();
}

/// Behaviour 91: a recursive listing is cut at 100,000 entries, and says so.
#[tokio::test]
async fn a_recursive_tree_is_cut_at_100_000() {
    let scene = Scene::with(github_simulator::Config::default(), false).await;
    let mut stream = "blob\nmark :1\ndata 1\nx\n\
        commit refs/heads/wide\ncommitter a <a@b> 1 +0000\ndata 1\nx\n"
        .to_owned();
    for n in 0..100_200 {
        writeln!(stream, "M 100644 :1 {:x}/{n:x}", n % 100).unwrap();
    }
    fast_import(&scene.github, REPO, &stream).await;
    let path = scene.path("/git/trees/wide");
    let top = scene.client.get(&path).await.expect(200).json();
    assert_eq!((&top["truncated"], top["tree"].as_array().unwrap().len()), (&json!(false), 100));
    // Parsing this much would take longer than all the rest.
    let all = scene.client.get(&format!("{path}?recursive=1")).await.expect(200).text;
    assert_eq!(all.matches("\"mode\":").count(), 100_000);
    assert!(all.contains("\"truncated\":true"), "who does not look here misses files");
}

/// Behaviour 91: and at 7 MB.
#[tokio::test]
async fn a_recursive_tree_is_cut_at_7_mb() {
    let scene = Scene::with(github_simulator::Config::default(), false).await;
    let mut stream = "blob\nmark :1\ndata 1\nx\n\
        commit refs/heads/long\ncommitter a <a@b> 1 +0000\ndata 1\nx\n"
        .to_owned();
    let folders = format!("{}/", "n".repeat(240)).repeat(10);
    for n in 0..3_200 {
        writeln!(stream, "M 100644 :1 {folders}{n}").unwrap();
    }
    fast_import(&scene.github, REPO, &stream).await;
    let path = scene.path("/git/trees/long?recursive=true");
    let all = scene.client.get(&path).await.expect(200).text;
    assert!(all.contains("\"truncated\":true"));
    let count = all.matches("\"mode\":").count();
    assert!((2_500..3_200).contains(&count), "{count}");
}

/// Git's own objects, as the description has them; the names that a tree gives lead to them.
#[tokio::test]
async fn trees_blobs_and_commits_lead_to_each_other() {
    let scene = Scene::new().await;
    let commit = scene.client.get(&scene.path(&format!("/git/commits/{}", scene.head))).await;
    let commit = commit.expect(200).json();
    let tree = format!("/git/trees/{}?recursive=1", commit["tree"]["sha"].as_str().unwrap());
    let tree = scene.client.get(&scene.path(&tree)).await.expect(200).json();
    let entries = tree["tree"].as_array().unwrap();
    let file = entries.iter().find(|entry| entry["path"] == "source-a/main.py").unwrap();
    assert_eq!(
        (&file["type"], &file["mode"], &file["size"]),
        (&json!("blob"), &json!("100644"), &json!(9))
    );
    let blob = scene.client.get(file["url"].as_str().unwrap()).await.expect(200).json();
    assert_eq!((&blob["content"], &blob["size"]), (&json!("cHJpbnQoMSkK\n"), &json!(9)));
    scene.no_violations();
    for path in
        ["/git/trees/nothing", "/git/blobs/nothing", "/git/blobs/--version", "/git/commits/x"]
    {
        scene.client.get(&scene.path(path)).await.expect(404);
    }
}

/// Behaviour 92: contents over 1 MB are empty in JSON, over 100 MB refused, and folders cut.
#[tokio::test]
async fn contents_have_three_limits() {
    let scene = Scene::with(github_simulator::Config::default(), false).await;
    let mega = 1024 * 1024;
    let mut changes = vec![
        ("large".to_owned(), Change::Write(vec![b'x'; mega + 1])),
        ("whole".to_owned(), Change::Write(vec![b'x'; mega])),
    ];
    changes.extend((0..1_001).map(|n| write(&format!("wide/{n}"), "x")));
    // In a push of its own: git would look for what they have in common.
    let huge = vec![("huge".to_owned(), Change::Write(vec![b'x'; 100 * mega + 1]))];
    push(&scene, "big", huge).await;
    push(&scene, "big", changes).await;
    let get = async |name: &str| {
        scene.client.get(&scene.path(&format!("/contents/{name}?ref=big"))).await
    };
    let large = get("large").await.expect(200).json();
    assert_eq!((&large["content"], &large["encoding"]), (&json!(""), &json!("none")));
    assert_eq!(large["size"], mega + 1, "who decodes without looking has an empty file");
    assert_eq!(get("whole").await.expect(200).json()["encoding"], "base64");
    let huge = get("huge").await.expect(403).json();
    assert_eq!(huge["errors"][0]["code"], "too_large");
    scene.github.choose(|choices| choices.reworded = true);
    let again = get("huge").await.expect(403).json();
    assert_eq!(again["errors"][0]["code"], "too_large");
    let sha = get("").await.expect(200).json();
    let sha = sha.as_array().unwrap().iter().find(|e| e["name"] == "huge").unwrap()["sha"].clone();
    let blob = scene.path(&format!("/git/blobs/{}", sha.as_str().unwrap()));
    scene.client.get(&blob).await.expect(403);
    assert_eq!(get("wide").await.expect(200).json().as_array().unwrap().len(), 1_000);
}

/// Behaviour 95: an archive lies on another host, which takes no credentials, and for private
/// repositories for five minutes.
#[tokio::test]
async fn an_archive_is_a_redirect_to_another_host() {
    let scene = Scene::with(config(), true).await;
    let path = scene.path("/tarball/topic");
    let reply = scene.client.get(&path).await.expect(302);
    let location = reply.header("location").to_owned();
    let host = |url: &str| url.split('/').nth(2).unwrap().to_owned();
    assert_ne!(host(&location), host(&scene.github.api_url()));
    scene.no_violations();
    // A client that sends its token along gives it away, and gets nothing for it.
    scene.client.get(&location).await.expect(400);
    let http = reqwest::Client::new();
    let bytes = http.get(&location).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(&bytes.bytes().await.unwrap()[..2], &[0x1f, 0x8b], "gzip");
    // One that follows as clients do, leaves its token behind by itself.
    let followed = http
        .get(format!("{}{path}", scene.github.api_url()))
        .header("user-agent", "t")
        .bearer_auth(scene.client.token.clone().unwrap());
    assert_eq!(followed.send().await.unwrap().status(), 200);
    scene.github.advance(Duration::from_mins(5));
    assert_eq!(http.get(&location).send().await.unwrap().status(), 404);
    Client::new(&scene.github, None).get(&path).await.expect(404);
}

/// Behaviour 95: of a public repository it stays.
#[tokio::test]
async fn a_public_archive_stays() {
    let scene = Scene::new().await;
    let nobody = Client::new(&scene.github, None);
    let reply = nobody.get(&scene.path("/tarball/main")).await.expect(302);
    scene.github.advance(Duration::from_hours(24));
    let reply = reqwest::get(reply.header("location")).await.unwrap();
    assert_eq!(reply.status(), 200);
    nobody.get(&scene.path("/tarball/nowhere")).await.expect(404);
}

/// Behaviours 94 and 97: a fork's head is read through the base repository, also when the fork is
/// gone and nothing tells where it came from; asked for the commit's pull requests, nothing comes.
#[tokio::test]
async fn a_forks_head_is_read_through_the_base() {
    let scene = Scene::new().await;
    let options =
        RepositoryOptions { fork_of: Some(REPO.to_owned()), install: false, ..Default::default() };
    scene.github.create_repository("mallory/connectors", options).await.unwrap();
    let change = Commit::new("Evil", "mallory", vec![write("x", "y")]);
    let sha = scene.github.commit("mallory/connectors", "evil", change).await.unwrap();
    let open = OpenPull {
        fork: Some("mallory/connectors".to_owned()),
        ..OpenPull::new("evil", "main", "mallory", "Take this")
    };
    let number = scene.github.open_pull_request(REPO, open).await.unwrap();
    scene.github.delete_repository("mallory/connectors").unwrap();
    let pull = scene.client.get(&scene.path(&format!("/pulls/{number}"))).await.expect(200).json();
    assert_eq!(pull["head"]["repo"], json!(null), "who takes the name from here has none");
    for path in [
        format!("/commits/{sha}"),
        format!("/git/commits/{sha}"),
        format!("/contents/x?ref={sha}"),
        format!("/compare/main...{sha}"),
    ] {
        scene.client.get(&scene.path(&path)).await.expect(200);
    }
    let of_commit = scene.client.get(&scene.path(&format!("/commits/{sha}/pulls"))).await;
    assert_eq!(of_commit.expect(200).json(), json!([]));
    let listed = scene.client.get(&scene.path("/pulls?state=open&head=mallory:evil")).await;
    assert_eq!(listed.expect(200).json()[0]["number"], number);
    scene.no_violations();
}
