//! Secrets are planted and steps give them away as they can; afterwards nothing that was stored,
//! shown or sent holds one, in any form that is promised.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/google.rs"]
mod google;
#[path = "support/images.rs"]
mod images;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/world.rs"]
mod world;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use google::Google;
use serde_json::json;
use sqlx::{Column, Connection, Row, ValueRef};
use world::{Extra, REPO, Steps, World};

const TOKEN: &str = r#"pl@nted/s3cret "quoted" & it's <more>=1"#;
const LEAF: &str = "leaf-of-the-config-91";
/// Its base64 takes more than one line.
const LONG: &str = "a leaf that is long enough: 0123456789 abcdefghijklmnopqrstuvwxyz 9876543210 .";
/// Of the URL in the config.
const PASSWORD: &str = "pa55w0rd-of-the-url";
const KEY: &str = "first line of a key 7\nsecond line of a key 8";
/// Of `fixtures/sops/by-age.json`.
const IN_TREE: &str = "hunter2-hunter2";

const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
secrets:
  token: { from: env, as: env }
  config: { from: gsm }
  tree: { from: sops, file: config.json }
  tiny: { from: env, variable: CHECKVALVE_SECRET_TINY }
pipelines:
  - for: { kind: sh }
    steps:
      - id: leak
        image: "checkvalve-test/busybox:1"
        network: none
        run: "sh ./leak.sh"
        secrets: [token, config, tree, tiny]
        artifacts: ["**"]
        reports: { junit: junit.xml }
      - { id: base, image: "checkvalve-test/busybox:1", network: none, run: "echo left > left.txt; sleep 3.2" }
      - { id: heir, from: base, run: "test -s left.txt; test -n \"$TOKEN\"; cat $CHECKVALVE_SECRETS/config; echo $TOKEN", secrets: [token, config] }
      - { id: other-heir, from: base, run: "test -s left.txt; test -z \"$TOKEN\"; test ! -e $CHECKVALVE_SECRETS/config" }
      - { id: without, image: "checkvalve-test/busybox:1", network: none, run: "test -z \"$TOKEN\"; test -z \"$(ls $CHECKVALVE_SECRETS)\"; echo nothing is here" }
"#;

const LEAK: &str = r#"
sleep 2
test "$(cat "$CHECKVALVE_SECRETS/tiny")" = "tiny"
test "$(stat -c %a "$CHECKVALVE_SECRETS/config")" = 600
echo "delivered $(wc -c < "$CHECKVALVE_SECRETS/config")"
echo "raw: $TOKEN"
printf %s "$TOKEN" | base64; printf "x%s" "$TOKEN" | base64; printf "xy%s" "$TOKEN" | base64
printf %s "$TOKEN" | od -An -tx1 -v | tr -d ' \n'; echo
printf %s "$TOKEN" | sed 's/%/%25/g; s/ /%20/g; s/"/%22/g; s/&/%26/g; s/=/%3D/g; s#/#%2F#g; s/@/%40/g'; echo
printf %s "$TOKEN" | sed 's/"/\\"/g'; echo
printf %s "$TOKEN" | sed 's/"/\\"/g; s/[\\"]/\\&/g'; echo
printf %s "$TOKEN" | sed 's/"/\\"/g; s#/#\\/#g'; echo
printf %s "$TOKEN" | sed 's/"/\\"/g; s/&/\\u0026/g; s/</\\u003c/g; s/>/\\u003e/g'; echo
printf %s "$TOKEN" | sed 's/%/%25/g; s/ /+/g; s/"/%22/g; s/&/%26/g; s/=/%3d/g; s#/#%2f#g; s/@/%40/g; s/</%3c/g; s/>/%3e/g; s/'"'"'/%27/g'; echo
printf %s "$TOKEN" | sed "s/'/'\\\\''/g"; echo
long=$(sed -n 's/.*"long": *"\([^"]*\)".*/\1/p' "$CHECKVALVE_SECRETS/config")
printf %s "$long" | base64
sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' "$CHECKVALVE_SECRETS/config"
printf "%.9s" "$TOKEN"; sleep 0.3; printf %s "$TOKEN" | cut -c 10-
cat "$CHECKVALVE_SECRETS/config"; base64 "$CHECKVALVE_SECRETS/config"
cat "$CHECKVALVE_SECRETS/tree"
leaf=$(sed -n 's/.*"leaf": *"\([^"]*\)".*/\1/p' "$CHECKVALVE_SECRETS/config")
echo "$leaf" > "$CHECKVALVE_OUT/kept.txt.$leaf"
echo fine > "$CHECKVALVE_OUT/fine.txt"
escaped=$(printf %s "$TOKEN" | sed 's/&/\&amp;/g; s/"/\&quot;/g; s/</\&lt;/g')
cat > "$CHECKVALVE_OUT/junit.xml" <<X
<testsuite name="s"><testcase name="of $leaf" classname="c"><failure message="$escaped"><![CDATA[$TOKEN
$leaf]]></failure></testcase></testsuite>
X
echo "the end: $TOKEN"
exit 1
"#;

/// Every promised form, made apart from the product's code.
fn forms() -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let lines = ["first line of a key 7", "second line of a key 8"];
    for value in [TOKEN, LEAF, LONG, PASSWORD, IN_TREE, lines[0], lines[1]] {
        forms.push(value.to_owned());
        forms.push(hex::encode(value));
        forms.push(hex::encode_upper(value));
        let json = serde_json::to_string(value).unwrap();
        let json = &json[1..json.len() - 1];
        let twice = serde_json::to_string(json).unwrap();
        forms.push(json.to_owned());
        forms.push(twice[1..twice.len() - 1].to_owned());
        forms.push(json.replace('/', "\\/"));
        let html = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        forms.push(html.replace('\'', "\\u0027").replace('=', "\\u003d"));
        forms.push(html);
        forms.push(value.replace('\'', "'\\''"));
        let xml = value.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        forms.push(xml.replace('>', "&gt;"));
        forms.push(xml);
        for plain in ["-._~", "-._~/", "-._~!*'()", "-._*"] {
            let url = |byte: u8| {
                let plain = byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte);
                if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            };
            let lower = |byte: u8| match url(byte) {
                escaped if escaped.len() == 3 => escaped.to_lowercase(),
                plain => plain,
            };
            for text in [value.bytes().map(url).collect(), value.bytes().map(lower).collect()] {
                let text: String = text;
                forms.push(text.replace("%20", "+"));
                forms.push(text);
            }
        }
        let lines = STANDARD_NO_PAD.encode(value).into_bytes();
        for width in [64, 76].into_iter().filter(|width| lines.len() > *width) {
            forms.push(String::from_utf8(lines[..width].to_vec()).unwrap());
        }
        for before in 0..3 {
            let text = format!("{}{value}", &"xy"[..before]);
            let first = [0, 2, 3][before];
            let last = text.len() * 8 / 6;
            forms.push(STANDARD_NO_PAD.encode(&text)[first..last].to_owned());
            forms.push(URL_SAFE_NO_PAD.encode(&text)[first..last].to_owned());
        }
    }
    forms.into_iter().map(String::into_bytes).collect()
}

fn assert_clean(what: &str, bytes: &[u8]) {
    static FORMS: LazyLock<AhoCorasick> = LazyLock::new(|| AhoCorasick::new(forms()).unwrap());
    if let Some(found) = FORMS.find(bytes) {
        panic!("{what} holds `{}`", String::from_utf8_lossy(&bytes[found.range()]));
    }
}

fn assert_folder_clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_clean("a path", path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            assert_folder_clean(&path);
        } else if path.is_file() {
            assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

/// Every value of every table of the databases in a folder.
async fn assert_rows_clean(state: &Path) {
    let mut values = 0;
    for entry in std::fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "db") {
            continue;
        }
        values += assert_file_clean(&path).await;
    }
    assert!(values > 100, "{values}");
}

/// The same of one of them; how many values there are.
async fn assert_file_clean(path: &Path) -> usize {
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let tables = "select name from sqlite_master where type = 'table'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    let mut values = 0;
    for table in tables {
        let select = sqlx::AssertSqlSafe(format!("select * from \"{table}\""));
        for row in sqlx::query(select).fetch_all(&mut connection).await.unwrap() {
            for column in row.columns() {
                if row.try_get_raw(column.ordinal()).unwrap().is_null() {
                    continue;
                }
                let value: Vec<u8> = row.get_unchecked(column.ordinal());
                assert_clean(&format!("{table}.{}", column.name()), &value);
                values += 1;
            }
        }
    }
    values
}

/// The same of `PostgreSQL`, where the rows of live logs lie with the others.
async fn assert_rows_of_postgres_clean(url: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let tables = "select table_name::text from information_schema.tables \
                  where table_schema = 'public' and table_type = 'BASE TABLE'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    let mut values = 0;
    for table in tables {
        let select = sqlx::AssertSqlSafe(format!("select * from \"{table}\""));
        for row in sqlx::query(select).fetch_all(&mut connection).await.unwrap() {
            for column in row.columns() {
                let value = row.try_get_raw(column.ordinal()).unwrap();
                if !value.is_null() {
                    let value = value.as_bytes().unwrap();
                    assert_clean(&format!("{table}.{}", column.name()), value);
                    values += 1;
                }
            }
        }
    }
    assert!(values > 100, "{values}");
}

/// What is said of a run while it goes on, until it is asked for.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Heard {
    fn of(world: &World, path: &str) -> Self {
        let asked = world.http.get(format!("{}{path}", world.url)).timeout(Duration::from_mins(1));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = bytes.clone();
        let listening = tokio::spawn(async move {
            let mut answer = asked.send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.status());
            while let Ok(Some(chunk)) = answer.chunk().await {
                heard.lock().unwrap().extend_from_slice(&chunk);
            }
        });
        Self { bytes, listening }
    }

    /// All of it is clean, and it says this.
    fn assert_clean(self, what: &str, says: &str) {
        self.listening.abort();
        let bytes = self.bytes.lock().unwrap();
        assert_clean(what, &bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(says), "{what}: {text}");
    }
}

async fn world(steps: Steps, database: Option<String>, google: &Google) -> World {
    let url = format!("postgres://user:{PASSWORD}@db.example/x");
    let config = json!({
        "leaf": LEAF, "key": KEY, "long": LONG, "url": url, "number": 1, "start_date": "2026-01-01",
    });
    let config = serde_json::to_string_pretty(&config).unwrap();
    google.put("SECRET_SOURCE-A__CREDS", &json!({ "connector": "source-a" }), &[(true, &config)]);
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sops/keys.txt");
    let extra = Extra {
        env: vec![
            ("CHECKVALVE_SECRET_TOKEN", TOKEN.to_owned()),
            ("CHECKVALVE_SECRET_TINY", "tiny".to_owned()),
            ("GCP_GSM_CREDENTIALS", google.account()),
            ("CHECKVALVE_GSM_URL", google.url.clone()),
            ("SOPS_AGE_KEY_FILE", keys.to_owned()),
        ],
        file: Some(format!(
            "[[grants]]\nrepositories = [\"{REPO}\"]\nenv = [\"CHECKVALVE_SECRET_*\"]\n\
             gsm = [\"connector=*\"]\nsops = true\n"
        )),
        ..Extra::default()
    };
    let files = [
        (".github/checkvalve.yml", CONFIG),
        ("source-a/connector.txt", "a"),
        ("source-a/leak.sh", LEAK),
        ("source-a/config.json", include_str!("fixtures/sops/by-age.json")),
    ];
    World::set_up(steps, database, extra, &files).await
}

async fn nothing_is_found_afterwards(steps: Steps, database: Option<String>) {
    let google = Google::start().await;
    let world = world(steps, database.clone(), &google).await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    if steps == Steps::Docker {
        world
            .until("the step's container is there", async |world: &World| {
                !world.containers().is_empty()
            })
            .await;
        for container in world.containers() {
            let inspected = Command::new("docker").args(["inspect", &container]).output().unwrap();
            assert_clean("docker inspect", &inspected.stdout);
        }
    }
    let begun = async |world: &World| {
        world.checks(&head).iter().any(|c| c.name == "source-a / leak" && c.status != "queued")
    };
    world.until("the step has begun", begun).await;
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let log = format!("/api/v1/runs/{run}/connectors/source-a/steps/leak/log");
    let followed = Heard::of(&world, &format!("{log}?follow=1"));
    let events = Heard::of(&world, &format!("/api/v1/runs/{run}/events"));
    world.settle().await;
    assert_eq!(
        world.table(&head),
        "checkvalve: failure\nsource-a / base: success\nsource-a / heir: success\n\
         source-a / leak: failure\nsource-a / other-heir: success\nsource-a / without: success\n"
    );
    followed.assert_clean("the log, followed", "the end: ***");
    events.assert_clean("the events", "source-a");
    assert_log_clean(&world, &log).await;
    assert_pages_clean(&world, &run, number).await;
    let whole = world.json(&format!("/api/v1/runs/{run}")).await.to_string();
    assert!(whole.contains("secret in their names"), "{whole}");
    assert_github_clean(&world, number, &head).await;
    assert_clean("the server's log", world.server_log().as_bytes());
    let state = world.state.path().join("state");
    match &database {
        Some(url) => assert_rows_of_postgres_clean(url).await,
        None => assert_rows_clean(&state).await,
    }
    // Objects are beside it where there is a database apart.
    assert_folder_clean(world.state.path());
    if steps == Steps::Docker {
        assert_images_clean(&world);
    }
    world.finish().await;
}

/// A step's log, whole and in part.
async fn assert_log_clean(world: &World, log: &str) {
    let asked = || world.http.get(format!("{}{log}", world.url));
    let whole = asked().send().await.unwrap().bytes().await.unwrap();
    assert_clean("the log", &whole);
    let text = String::from_utf8_lossy(&whole);
    assert!(text.contains("checkvalve: secret `tiny` is too short or too common"), "{text}");
    assert!(text.contains("delivered ") && text.contains("raw: ***\n"), "{text}");
    assert!(text.contains("the end: ***"), "{text}");
    for range in ["bytes=0-99", "bytes=100-", "bytes=-200"] {
        let part = asked().header("range", range).send().await.unwrap();
        assert_eq!(part.status(), 206, "{range}");
        assert_clean(range, &part.bytes().await.unwrap());
    }
}

async fn assert_pages_clean(world: &World, run: &str, number: u64) {
    for page in [
        "/".to_owned(),
        format!("/r/{REPO}"),
        format!("/r/{REPO}/pull/{number}"),
        format!("/r/{REPO}/connectors/source-a/badge.json"),
        "/metrics".to_owned(),
        "/readyz".to_owned(),
        format!("/api/v1/runs?repo={REPO}"),
        format!("/api/v1/runs?repo={REPO}&pull={number}"),
        "/api/v1/queue".to_owned(),
        format!("/runs/{run}"),
        format!("/runs/{run}/source-a"),
        format!("/runs/{run}/source-a/leak"),
        format!("/runs/{run}/source-a/leak?attempt=1"),
        format!("/runs/{run}/source-a/heir"),
        format!("/runs/{run}/source-a/leak/artifacts/fine.txt"),
        format!("/runs/{run}/source-a/leak/artifacts/junit.xml"),
        format!("/runs/{run}/source-a/report.json"),
        format!("/runs/{run}/source-a/report.html"),
        format!("/runs/{run}/source-a/junit.xml"),
        format!("/runs/{run}/source-a/log.txt"),
        format!("/api/v1/runs/{run}"),
        format!("/api/v1/runs/{run}/connectors/source-a/why"),
    ] {
        let answer = world.http.get(format!("{}{page}", world.url)).send().await.unwrap();
        // A badge is of the default branch, on which nothing ran.
        let shown = answer.status().is_success() || page.ends_with("/badge.json");
        assert!(shown, "{page}: {}", answer.status());
        assert_clean(&page, format!("{:?}", answer.headers()).as_bytes());
        assert_clean(&page, &answer.bytes().await.unwrap());
    }
}

/// All that GitHub was told, an answer to a comment among it.
async fn assert_github_clean(world: &World, number: u64, head: &str) {
    world.sim.comment(REPO, number, "ada", "/test source-a/leek").await.unwrap();
    world.settle().await;
    let comments = world.sim.comments(REPO, number);
    assert!(comments.len() > 1, "nobody answered: {comments:?}");
    assert_clean("the comments", format!("{comments:?}").as_bytes());
    for check in world.sim.check_runs(REPO, head) {
        assert_clean(&check.name, format!("{check:?}").as_bytes());
    }
}

/// What the engine keeps for later runs: configurations, histories, file systems.
fn assert_images_clean(world: &World) {
    let images = world.images();
    assert!(!images.is_empty(), "`base` took long enough for its file system to be kept");
    for image in images {
        let asked: [&[&str]; 3] = [&["inspect"], &["history", "--no-trunc"], &["save"]];
        for command in asked {
            let answer = Command::new("docker").args(command).arg(&image).output().unwrap();
            assert!(answer.status.success() && !answer.stdout.is_empty(), "docker {command:?}");
            assert_clean(&format!("docker {command:?}"), &answer.stdout);
        }
        let removed = Command::new("docker").args(["rmi", "-f", &image]).output().unwrap();
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_after_steps_on_the_host() {
    nothing_is_found_afterwards(Steps::Host, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_postgresql() {
    let Some(database) = postgres::database().await else { return };
    nothing_is_found_afterwards(Steps::Host, Some(database)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_after_steps_in_containers() {
    if images::engine().await.is_none() {
        return;
    }
    nothing_is_found_afterwards(Steps::Docker, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_given_only_what_its_base_declares_and_the_server_grants() {
    let google = Google::start().await;
    let world = world(Steps::Host, None, &google).await;
    let asks = |name: &str, line: &str| {
        let declared = CONFIG.replace("secrets:\n  token", &format!("secrets:\n  {line}\n  token"));
        declared.replace("secrets: [token, ", &format!("secrets: [{name}, token, "))
    };
    let new = asks("fresh", "fresh: { from: env, variable: CHECKVALVE_SECRET_TOKEN }");
    let head = world.push("declares", &[(".github/checkvalve.yml", &new)]).await;
    world.open("declares").await;
    world.settle().await;
    let check = format!("{:?}", world.check(&head, "checkvalve"));
    assert!(check.contains("the default branch declares no secret `fresh`"), "{check}");

    // Declared by the base, and for a machine of one's own only.
    let local = asks("mine", "mine: { from: local }");
    world.push("main", &[(".github/checkvalve.yml", &local)]).await;
    let head = world.push("uses", &[("source-a/code.txt", "new")]).await;
    world.open("uses").await;
    world.settle().await;
    let check = format!("{:?}", world.check(&head, "checkvalve"));
    assert!(check.contains("the secret `mine` is not granted"), "{check}");
    assert_eq!(world.table(&head), "checkvalve: failure\n");
    world.finish().await;
}
