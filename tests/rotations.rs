//! A connector whose token is good for one job alone: what it renews is back in Secret Manager
//! whatever becomes of the job, once, and nowhere else in clear.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/google.rs"]
mod google;
#[path = "support/images.rs"]
mod images;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use google::Google;
use serde_json::{Value, json};
use world::{Extra, REPO, Steps, World};

const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/Dockerfile", where: { name: ["source-*"] } }
secrets:
  config: { from: gsm }
pipelines:
  - for: { kind: sh }
    steps:
      - { id: build, uses: build, network: none }
      - { id: acceptance, uses: acceptance, needs: [build], network: none, secrets: [config] }
      - { id: upload, uses: upload-secrets, secrets: [config] }
"#;

const DOCKERFILE: &str = "FROM checkvalve-test/busybox:1\nCOPY connector.sh /connector.sh\n\
                          ENTRYPOINT [\"sh\", \"/connector.sh\"]\n";

const TESTS: &str =
    "acceptance_tests:\n  connection: { tests: [{}] }\n  discovery: { tests: [{}] }\n";

/// Each `check` renews the token; `discover` is asked with the new one.
const CONNECTOR: &str = r#"
say() { printf '%s\n' "$1"; }
number() { sed -n 's/.*"token": *"rotating-token-\([0-9]*\)-of-a".*/\1/p' "$1"; }
case "$1" in
  spec) say '{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","properties":{"token":{"type":"string","airbyte_secret":true}}}}}' ;;
  check)
    next=$(($(number "$3") + 1))
    say '{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1700000000000,"connectorConfig":{"config":{"token":"rotating-token-'$next'-of-a","leaf":"renewed-leaf-'$next'-of-a","kept":"as-it-was-99"}}}}'
    # Another stream may be read before what was written earlier.
    sleep 1
    echo "connected as renewed-leaf-$next-of-a" >&2
    say '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}' ;;
  discover)
    echo "asked with number $(number "$3")" >&2
    #AT-DISCOVERY
    say '{"type":"CATALOG","catalog":{"streams":[{"name":"users","json_schema":{"type":"object"},"supported_sync_modes":["full_refresh"]}]}}' ;;
esac
"#;

const SECRET: &str = "SECRET_SOURCE-A__CREDS";

fn token(number: usize) -> String {
    format!("rotating-token-{number}-of-a")
}

/// Of the configuration, too, and not marked as a secret: printing it is no fault.
fn leaf(number: usize) -> String {
    format!("renewed-leaf-{number}-of-a")
}

fn config(number: usize) -> String {
    json!({ "token": token(number), "leaf": leaf(number), "kept": "as-it-was-99" }).to_string()
}

fn stocked(google: &Google) {
    google.put(SECRET, &json!({ "connector": "source-a" }), &[(true, &config(1))]);
}

async fn world(google: &Google, database: Option<String>) -> World {
    stocked(google);
    let key = STANDARD.encode([7; 32]);
    let extra = Extra {
        env: vec![
            ("GCP_GSM_CREDENTIALS", google.account()),
            ("CHECKVALVE_GSM_URL", google.url.clone()),
            // One for all hosts.
            ("CHECKVALVE_KEY", key),
        ],
        file: Some(format!("[[grants]]\nrepositories = [\"{REPO}\"]\ngsm = [\"connector=*\"]\n")),
        ..Extra::default()
    };
    let files = [
        (".github/checkvalve.yml", CONFIG),
        ("source-a/Dockerfile", DOCKERFILE),
        ("source-a/connector.sh", CONNECTOR),
        ("source-a/acceptance-test-config.yml", TESTS),
    ];
    World::set_up(Steps::Docker, database, extra, &files).await
}

/// A pull request whose connector does this when it is asked for its streams.
async fn change(world: &World, branch: &str, at_discovery: &str) -> String {
    let connector = CONNECTOR.replace("#AT-DISCOVERY", at_discovery) + "# " + branch + "\n";
    let head = world.push(branch, &[("source-a/connector.sh", &connector)]).await;
    world.open(branch).await;
    head
}

/// The numbers of the tokens in Secret Manager, and which versions are enabled.
fn there(google: &Google) -> (Vec<String>, Vec<bool>) {
    let number = |text: &str| {
        let config: Value = serde_json::from_str(text).unwrap();
        assert_eq!(config["kept"], "as-it-was-99");
        let token = config["token"].as_str().unwrap();
        token.trim_start_matches("rotating-token-").trim_end_matches("-of-a").to_owned()
    };
    let versions = google.versions(SECRET).into_iter();
    versions.map(|(enabled, text)| (number(&text), enabled)).unzip()
}

/// Versions 1 to this one, each renewed from the one before it, and the last one alone enabled.
fn assert_renewed(google: &Google, last: usize) {
    let (numbers, enabled) = there(google);
    let expected: Vec<String> = (1..=last).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    let only_last: Vec<bool> = (1..=last).map(|number| number == last).collect();
    assert_eq!(enabled, only_last, "{numbers:?}");
}

async fn run_of(world: &World, head: &str) -> String {
    let runs = world.runs().await;
    let run = runs.iter().find(|run| run["head_sha"] == head);
    run.map(|run| run["id"].as_str().unwrap().to_owned()).unwrap_or_default()
}

async fn log(world: &World, head: &str, step: &str) -> String {
    let run = run_of(world, head).await;
    let path = format!("{}/api/v1/runs/{run}/connectors/source-a/steps/{step}/log", world.url);
    match world.http.get(path).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

async fn step(world: &World, head: &str, id: &str) -> Value {
    let run = run_of(world, head).await;
    if run.is_empty() {
        return Value::Null;
    }
    let run = world.json(&format!("/api/v1/runs/{run}")).await;
    let steps = run["connectors"][0]["steps"].as_array().cloned().unwrap_or_default();
    steps.into_iter().find(|step| step["id"] == id).unwrap_or_default()
}

async fn until_discovery(world: &World, head: &str) {
    world
        .until("the connector is asked for its streams", async |world: &World| {
            log(world, head, "acceptance").await.contains("asked with number")
        })
        .await;
}

/// No token stands in any file of the server, as it is or in base64.
fn assert_clean(folder: &Path) {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for value in (1..9).flat_map(|number| [token(number), leaf(number)]) {
        forms.push(value.clone().into_bytes());
        forms.push(hex::encode(&value).into_bytes());
        for before in 0..3 {
            let text = format!("{}{value}", &"xy"[..before]);
            let (first, last) = ([0, 2, 3][before], text.len() * 8 / 6);
            forms.push(STANDARD.encode(&text).as_bytes()[first..last].to_vec());
        }
    }
    let forms = aho_corasick::AhoCorasick::new(forms).unwrap();
    let mut folders = vec![folder.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let found = forms.find(&bytes).map(|found| bytes[found.range()].to_vec());
                let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                assert_eq!(found, None, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 5, "{files}");
}

async fn assert_pages_clean(world: &World, head: &str) {
    let run = run_of(world, head).await;
    for page in [
        format!("/runs/{run}"),
        format!("/runs/{run}/source-a/acceptance"),
        format!("/runs/{run}/source-a/upload"),
        format!("/runs/{run}/source-a/report.json"),
        format!("/runs/{run}/source-a/report.html"),
        format!("/api/v1/runs/{run}"),
    ] {
        let answer = world.http.get(format!("{}{page}", world.url)).send().await.unwrap();
        assert!(answer.status().is_success(), "{page}: {}", answer.status());
        let text = answer.text().await.unwrap();
        assert!(!text.contains("rotating-token-") && !text.contains("renewed-leaf-"), "{page}");
    }
    for check in world.sim.check_runs(REPO, head) {
        assert!(!format!("{check:?}").contains("rotating-token-"), "{}", check.name);
    }
}

const GREEN: &str = "checkvalve: success\nsource-a / acceptance: success\nsource-a / build: success\n\
                     source-a / upload: success\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_renewed_goes_back_and_the_next_job_reads_it() {
    if images::engine().await.is_none() {
        return;
    }
    let google = Google::start().await;
    let world = world(&google, None).await;
    let head = change(&world, "one", "").await;
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    assert_renewed(&google, 2);
    let said = log(&world, &head, "acceptance").await;
    assert!(said.contains("the configuration was updated: it is kept"), "{said}");
    assert!(said.contains("connected as ***") && said.contains("asked with number 2"), "{said}");
    let upload = step(&world, &head, "upload").await;
    let reason = "secret `config`: written back as version 2, the one before it disabled";
    assert_eq!(upload["reason"], reason);
    assert!(format!("{:?}", world.check(&head, "source-a / upload")).contains("version 2"));
    assert_pages_clean(&world, &head).await;

    // Two at once, for one secret; and one that fails, which writes back all the same.
    let heads = [
        change(&world, "two", "sleep 1").await,
        change(&world, "three", "sleep 1").await,
        change(&world, "four", "exit 1").await,
    ];
    world.settle().await;
    assert_eq!([world.table(&heads[0]), world.table(&heads[1])], [GREEN, GREEN]);
    assert_eq!(world.check(&heads[2], "source-a / acceptance").conclusion.unwrap(), "failure");
    assert_eq!(world.check(&heads[2], "source-a / upload").conclusion.unwrap(), "success");
    // Had two of them begun with one token, two would have made the same of it.
    assert_renewed(&google, 5);
    for head in &heads {
        assert_pages_clean(&world, head).await;
    }
    assert_clean(&world.state.path().join("state"));
    assert!(!world.server_log().contains("rotating-token-"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_superseded_writes_back_before_the_next_one_begins() {
    if images::engine().await.is_none() {
        return;
    }
    let google = Google::start().await;
    let world = world(&google, None).await;
    let old = change(&world, "one", "sleep 60").await;
    until_discovery(&world, &old).await;
    assert_eq!(there(&google).0.len(), 1);
    let connector = CONNECTOR.replace("#AT-DISCOVERY", "") + "# newer\n";
    let new = world.push("one", &[("source-a/connector.sh", &connector)]).await;
    world.settle().await;
    assert_renewed(&google, 3);
    assert_eq!(world.table(&new), GREEN);
    let upload = step(&world, &old, "upload").await;
    assert_eq!(upload["outcome"], "cancelled");
    let reason = upload["reason"].as_str().unwrap();
    assert!(reason.contains("superseded by"), "{reason}");
    assert!(
        reason.ends_with("secret `config`: written back as version 2, the one before it disabled"),
        "{reason}"
    );
    world.finish().await;
}

/// Killed after the token was used up, and again while it is written back.
async fn killed(database: Option<String>) {
    let google = Google::start().await;
    let mut world = world(&google, database).await;
    let head = change(&world, "one", "sleep 4").await;
    until_discovery(&world, &head).await;
    assert_clean(&world.state.path().join("state"));
    world.kill();
    assert_eq!(there(&google).0, ["1"]);
    google.slow(true);
    world.start().await;
    // In the middle of it: Google has the new version, and nobody knows.
    world.until("a version is added", async |_: &World| there(&google).0.len() == 2).await;
    world.kill();
    google.slow(false);
    world.start().await;
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    // The job began anew, with what its dead holder had renewed.
    assert_renewed(&google, 3);
    let (numbers, _) = there(&google);
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "once each");
    assert_clean(&world.state.path().join("state"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_renewal_is_written_back_once_on_sqlite() {
    if images::engine().await.is_some() {
        killed(None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_renewal_is_written_back_once_on_postgresql() {
    let Some(database) = postgres::database().await else { return };
    if images::engine().await.is_some() {
        killed(Some(database)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_google_is_away_nothing_is_lost_and_nobody_else_begins() {
    if images::engine().await.is_none() {
        return;
    }
    let google = Google::start().await;
    let world = world(&google, None).await;
    let head = change(&world, "one", "sleep 3").await;
    until_discovery(&world, &head).await;
    google.busy(usize::MAX);
    world.until_check(&head, "source-a / upload", "completed").await;
    world.until_check(&head, "checkvalve", "failure").await;
    let upload = step(&world, &head, "upload").await;
    assert_eq!(upload["outcome"], "errored", "{upload}");
    let reason = upload["reason"].as_str().unwrap();
    assert!(reason.contains("429") && reason.contains("it is tried until it is done"), "{reason}");
    assert_eq!(step(&world, &head, "acceptance").await["outcome"], "succeeded");
    // Somebody else wants the secret, and must wait for it.
    let next = change(&world, "two", "").await;
    world
        .until("the next job waits for the secret", async |world: &World| {
            let build = step(world, &next, "build").await;
            let reason = build["reason"].as_str().unwrap_or_default();
            reason.contains("waits for the secret `gsm:source-a/config`")
                && reason.contains("not written it back yet")
        })
        .await;
    assert_clean(&world.state.path().join("state"));
    assert_eq!(there(&google).0, ["1"]);
    google.busy(0);
    world.settle().await;
    assert_renewed(&google, 3);
    assert_eq!(world.table(&next), GREEN);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_put_there_meanwhile_stays() {
    if images::engine().await.is_none() {
        return;
    }
    let google = Google::start().await;
    let world = world(&google, None).await;
    let head = change(&world, "one", "sleep 3").await;
    until_discovery(&world, &head).await;
    let labels = json!({ "connector": "source-a" });
    google.put(SECRET, &labels, &[(false, &config(1)), (true, &config(70))]);
    world.settle().await;
    let upload = step(&world, &head, "upload").await;
    assert_eq!(upload["outcome"], "succeeded");
    let reason = upload["reason"].as_str().unwrap();
    assert!(reason.contains("somebody else put version 2 there meanwhile"), "{reason}");
    assert_eq!(there(&google), (vec!["1".to_owned(), "70".to_owned()], vec![false, true]));
    world.finish().await;
}

/// `checkvalve test` in a work tree.
fn test(tree: &Path, name: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_checkvalve"));
    command
        .current_dir(tree)
        .args(["test", "--name", name, "--executor", "docker", "--format", "plain"])
        .env("CHECKVALVE_STATE_DIR", tree.join(".state"))
        .env("XDG_CACHE_HOME", tree.join(".cache"))
        .env_remove("GCP_GSM_CREDENTIALS")
        .envs(env.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("rotating-token-"), "{said}");
    output
}

/// With a connector of this name, whose image stays on the engine until the test has ended.
fn work_tree(name: &str) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for (path, text) in [
        (".github/checkvalve.yml", CONFIG),
        (".gitignore", "secrets\n.state\n.cache\n"),
        ("{}/Dockerfile", DOCKERFILE),
        ("{}/connector.sh", CONNECTOR),
        ("{}/acceptance-test-config.yml", TESTS),
        ("{}/secrets/config.json", &config(1)),
    ] {
        let path = tree.path().join(path.replace("{}", name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    for args in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "-m", "A"]] {
        let git = Command::new("git").arg("-C").arg(tree.path()).args(author).args(args).output();
        assert!(git.unwrap().status.success());
    }
    tree
}

fn remove_image(name: &str) {
    let removed = Command::new("docker").args(["rmi", "-f", &format!("{name}:dev")]).output();
    assert!(removed.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_terminal_it_is_a_file_that_the_next_call_finds() {
    if images::engine().await.is_none() {
        return;
    }
    let tree = work_tree("source-here");
    let kept = tree.path().join("source-here/secrets/updated_configurations");
    let file = kept.join("config|1700000000000.json");
    let said = test(tree.path(), "source-here", &[]).stdout;
    let said = String::from_utf8_lossy(&said);
    let told = format!("secret `config`: kept in `{}`", file.canonicalize().unwrap().display());
    assert!(said.contains(&told), "{told}: {said}");
    let token_of = || -> Value {
        let text = std::fs::read_to_string(&file).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["token"].take()
    };
    assert_eq!(token_of(), token(2));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    test(tree.path(), "source-here", &[]);
    assert_eq!(token_of(), token(3), "the next call began with the new one");
    let first =
        std::fs::read_to_string(tree.path().join("source-here/secrets/config.json")).unwrap();
    assert_eq!(first, config(1), "what somebody put there stays");
    remove_image("source-here");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_terminal_with_remote_secrets_it_goes_to_secret_manager() {
    if images::engine().await.is_none() {
        return;
    }
    let google = Google::start().await;
    let labels = json!({ "connector": "source-there" });
    google.put(SECRET, &labels, &[(true, &config(1))]);
    let tree = work_tree("source-there");
    let account = google.account();
    let env = [("GCP_GSM_CREDENTIALS", account.as_str()), ("CHECKVALVE_GSM_URL", &google.url)];
    let path = tree.path().to_owned();
    let said = tokio::task::block_in_place(|| test(&path, "source-there", &env)).stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("secret `config`: written back as version 2"), "{said}");
    assert_renewed(&google, 2);
    let kept = tree.path().join("source-there/secrets/updated_configurations");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0, "it is nowhere else any more");
    remove_image("source-there");
}
