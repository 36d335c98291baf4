//! `uses: acceptance`: for each rule an image that breaks exactly that one, and what must be met
//! in bad images, by the engine over a scripted image; `image.rs` has real ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::run::{StepFacts, StepRecord};
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::exec::host::Host;
use checkvalve::exec::images::{BuildEnd, ImageBuild, Said, Talk, TalkEnd};
use checkvalve::exec::{Divided, Division, Ended, Executor, StepRun};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Done, built, carry_out, plan, resume, uses};

const SPEC: &str = include_str!("spec.json");
const CONFIG: &str = include_str!("acceptance-test-config.yml");
const SECRET: &str = r#"{"token": "s3cr3t-token", "start": "2024-01-01"}"#;
const INVALID: &str = r#"{"token": "wrong-token"}"#;
const EXPECTED: &str = "{\"stream\":\"users\",\"data\":{\"id\":1},\"emitted_at\":0}\n\n";
const FUTURE: &str = r#"[{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"updated":"2999-01-01"}}}]"#;

/// What an image answers to the n-th call of its kind: its output, and how it ends.
type Answer = dyn Fn(&str, String) -> (Vec<u8>, TalkEnd) + Send + Sync;

/// An executor with one image, which answers well but for what `answer` makes of it.
#[derive(Clone)]
pub(super) struct Speaker {
    reads: Arc<AtomicUsize>,
    answer: Arc<Answer>,
    /// When the image had said all of its last answer, and others had had their turn.
    pub(super) done: Arc<Mutex<Option<Instant>>>,
}

pub(super) const WELL: TalkEnd = TalkEnd::Exited { code: 0, out_of_memory: false };

impl Speaker {
    pub(super) fn new(
        answer: impl Fn(&str, String) -> (Vec<u8>, TalkEnd) + Send + Sync + 'static,
    ) -> Self {
        Self { reads: Arc::default(), answer: Arc::new(answer), done: Arc::default() }
    }

    /// Everything is as it should be, but `from` is `to` in calls that begin like `on`.
    fn but(on: &'static str, from: &'static str, to: &'static str) -> Self {
        Self::new(move |call, good| {
            if !call.starts_with(on) {
                return (good.into_bytes(), WELL);
            }
            assert!(good.contains(from), "{call} has no {from}: {good}");
            (good.replace(from, to).into_bytes(), WELL)
        })
    }

    pub(super) fn good() -> Self {
        Self::new(|_, good| (good.into_bytes(), WELL))
    }
}

impl Executor for Speaker {
    type Left = ();

    async fn run(
        &self,
        _: StepRun,
        _: Option<()>,
        _: mpsc::Sender<Bytes>,
        _: CancellationToken,
    ) -> (Ended, Option<()>) {
        panic!("no step here has commands")
    }

    async fn divide(&self, (): (), _: Division) -> Divided<()> {
        Divided::nothing()
    }

    async fn keep(&self, (): (), _: &str) {}

    async fn recall(&self, _: &str) -> Option<()> {
        None
    }

    fn identity(&self) -> Option<String> {
        None
    }

    async fn identify(&self, image: &str) -> Option<String> {
        (image == "sha256:1234").then(|| image.to_owned())
    }

    async fn build(&self, _: ImageBuild, _: mpsc::Sender<Bytes>, _: CancellationToken) -> BuildEnd {
        BuildEnd::Built("sha256:1234".to_owned())
    }

    async fn talk(&self, talk: Talk, said: mpsc::Sender<Said>, _: CancellationToken) -> TalkEnd {
        assert_eq!(talk.step.image, "sha256:1234", "what was built is what is judged");
        let command = talk.arguments[0].as_str();
        let config: Value =
            talk.config.as_deref().map_or(Value::Null, |c| serde_json::from_slice(c).unwrap());
        let (call, good) = match command {
            "spec" => ("spec".to_owned(), one_line(SPEC)),
            "check" if config["token"] == "s3cr3t-token" => {
                ("check".to_owned(), status("SUCCEEDED", "all is well"))
            }
            "check" => ("invalid".to_owned(), status("FAILED", "no such token")),
            "discover" => ("discover".to_owned(), one_line(include_str!("catalog.json"))),
            _ => {
                let count = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
                (format!("read{count}"), read(&talk, count))
            }
        };
        let (output, end) = (self.answer)(&call, good);
        for chunk in output.chunks(1 << 20) {
            let _ = said.send(Said::Out(Bytes::copy_from_slice(chunk))).await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        *self.done.lock().unwrap() = Some(Instant::now());
        end
    }
}

fn one_line(json: &str) -> String {
    serde_json::from_str::<Value>(json).unwrap().to_string() + "\n"
}

fn status(status: &str, message: &str) -> String {
    let status = json!({ "status": status, "message": message });
    json!({ "type": "CONNECTION_STATUS", "connectionStatus": status }).to_string() + "\n"
}

/// Records of the streams that were asked for, from the state on, and the state behind them.
fn read(talk: &Talk, count: usize) -> String {
    let file = |name: &str| -> Option<Value> {
        let file = talk.files.iter().find(|(path, _)| path.ends_with(name))?;
        Some(serde_json::from_slice(&file.1).unwrap())
    };
    let catalog = file("catalog.json").unwrap().to_string();
    let since = file("state.json").map_or(String::new(), |state| {
        let from = &state[0]["stream"]["stream_state"]["updated"];
        from.as_str().unwrap().to_owned()
    });
    let mut lines = vec![
        r#"{"type":"LOG","log":{"level":"INFO","message":"reading"}}"#.to_owned(),
        "not a message at all".to_owned(),
        r#"{"type":"RECORD","record":{"stream":"users","da"#.to_owned(),
    ];
    let days = ["2024-01-01", "2024-01-02", "2024-01-03"];
    for (id, day) in (1..).zip(days) {
        if catalog.contains("\"users\"") && *day >= *since {
            let data = json!({ "id": id, "updated": day, "seen": count });
            let record = json!({ "stream": "users", "data": data, "emitted_at": 1 });
            lines.push(json!({ "type": "RECORD", "record": record }).to_string());
        }
    }
    if catalog.contains("\"tags\"") {
        let record = json!({ "stream": "tags", "data": { "name": "x" }, "emitted_at": 2 });
        lines.push(json!({ "type": "RECORD", "record": record }).to_string());
    }
    if talk.files[0].1.windows(13).any(|bytes| bytes == b"\"incremental\"") {
        let stream = json!({
            "stream_descriptor": { "name": "users" }, "stream_state": { "updated": "2024-01-03" },
        });
        let state = json!({ "type": "STREAM", "stream": stream });
        lines.push(json!({ "type": "STATE", "state": state }).to_string());
    }
    lines.join("\n") + "\n"
}

fn both() -> Plan {
    plan(vec![uses(Builtin::Build, &[]), uses(Builtin::Acceptance, &["build"])])
}

const FILES: &[(&str, &str)] = &[
    ("Dockerfile", "FROM x\n"),
    ("acceptance-test-config.yml", CONFIG),
    ("secrets/config.json", SECRET),
    ("integration_tests/invalid_config.json", INVALID),
    ("integration_tests/expected_records.jsonl", EXPECTED),
    ("integration_tests/future.json", FUTURE),
    ("integration_tests/spec.json", include_str!("spec_file.json")),
];

/// The good connector's files, with one replaced; an empty one is left out.
pub(super) async fn with(speaker: Speaker, path: &str, content: &str) -> Done {
    let mut files = FILES.to_vec();
    files.retain(|(name, _)| *name != path);
    if !content.is_empty() {
        files.push((path, content));
    }
    carry_out(speaker, &both(), &files).await
}

pub(super) async fn judged(speaker: Speaker) -> Done {
    carry_out(speaker, &both(), FILES).await
}

#[tokio::test]
async fn a_good_image_passes_every_rule() {
    let done = judged(Speaker::good()).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{log}");
    let (passed, failed, skipped, _) = done.tests("acceptance");
    assert_eq!((failed, skipped), (0, 0), "{log}");
    assert_eq!(passed, 4 + 3 + 3 + 11 + 9 + 4 + 7, "{log}");
    assert!(log.contains("INFO  reading\n| not a message at all\n"), "{log}");
    assert!(!log.contains("s3cr3t-token"), "{log}");
}

/// In which call, what is replaced by what, and the one case that fails.
const BREACHES: &[(&str, &str, &str, &str)] = &[
    ("spec", "\"SPEC\"", "\"SPECK\"", "spec: is one SPEC"),
    ("spec", "SPEC\"}\n", "SPEC\"}\n{\"type\":\"SPEC\",\"spec\":{}}\n", "spec: is one SPEC"),
    ("spec", "SPEC\"}\n", "SPEC\"}\n{\"type\":\"SPEC\",\"spec\":1}\n", "spec: is one SPEC"),
    ("spec", "\"title\":\"T\"", "\"title\":\"Other\"", "spec: is what spec_path has"),
    ("check", "SUCCEEDED", "FAILED", "connection 1: succeeds"),
    ("check", "\"CONNECTION_STATUS\"", "\"STATUS\"", "connection 1: succeeds"),
    ("check", "all is well", "your token is s3cr3t-token", "connection 1: keeps secrets"),
    ("invalid", "FAILED", "SUCCEEDED", "connection 2: fails"),
    ("invalid", "no such token", "no such token wrong-token", "connection 2: keeps secrets"),
    (
        "discover",
        "\"CATALOG\"}\n",
        "\"CATALOG\"}\n{\"type\":\"CATALOG\",\"catalog\":{}}\n",
        "discovery: is one CATALOG",
    ),
    (
        "discover",
        "\"CATALOG\"}\n",
        "\"CATALOG\"}\n{\"type\":\"CATALOG\"}\n",
        "discovery: is one CATALOG",
    ),
    (
        "discover",
        "\"description\":\"the id\"",
        "\"minimum\":\"the id\"",
        "discovery: schemas are schemas",
    ),
    (
        "discover",
        "\"description\":\"the id\"",
        "\"$ref\":\"other.json\"",
        "discovery: schemas are schemas",
    ),
    (
        "discover",
        "\"description\":\"the id\"",
        "\"not\":{\"type\":\"string\"}",
        "discovery: schemas use no allOf and no not",
    ),
    (
        "discover",
        "\"description\":\"the id\"",
        "\"allOf\":[{}]",
        "discovery: schemas use no allOf and no not",
    ),
    (
        "discover",
        "\"description\":\"a tag\"",
        "\"additionalProperties\":false",
        "discovery: schemas take additional properties",
    ),
    (
        "discover",
        "[\"full_refresh\"]",
        "[\"full_refresh\",\"sometimes\"]",
        "discovery: sync modes are known",
    ),
    ("discover", "[\"full_refresh\"]", "[]", "discovery: sync modes are known"),
    (
        "discover",
        "\"default_cursor_field\":[]",
        "\"default_cursor_field\":[\"when\"]",
        "discovery: cursors are in the schema",
    ),
    (
        "discover",
        "\"source_defined_primary_key\":[[\"name\"]]",
        "\"source_defined_primary_key\":[[\"id\"]]",
        "discovery: primary keys are in the schema",
    ),
    (
        "read1",
        "\"emitted_at\":2",
        "\"emitted_at\":\"2\"",
        "basic_read: emitted_at is a whole number",
    ),
    ("read1", "\"emitted_at\":2", "\"emitted_at\":2.5", "basic_read: emitted_at is a whole number"),
    ("read1", "\"emitted_at\":2,", "", "basic_read: emitted_at is a whole number"),
    ("read1", "\"seen\":1", "\"seen\":\"one\"", "basic_read: records follow their schemas"),
    (
        "read1",
        "\"stream\":\"tags\"}",
        "\"stream\":\"tags\"},\"type\":\"RECORD\"}\n{\"record\":{\"data\":{},\"emitted_at\":1,\"stream\":\"others\"}",
        "basic_read: records belong to the catalog",
    ),
    (
        "read1",
        "{\"name\":\"x\"}",
        "{\"name\":\"x\"},\"stream\":\"tags\",\"emitted_at\":1},\"type\":\"RECORD\"}\n{\"record\":{\"data\":1,\"emitted_at\":2",
        "basic_read: records are well formed",
    ),
    (
        "read1",
        "\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORD\"",
        "\"stream\":\"tags\"},\"type\":\"RECORDS\"",
        "basic_read: every stream has records",
    ),
    ("read1", "\"id\":1,", "\"id\":7,", "basic_read: expected records are there"),
    ("read1", "\"name\":\"x\"", "\"name\":\"s3cr3t-token\"", "basic_read: keeps secrets"),
    ("read3", "\"id\":3,", "\"id\":4,", "full_refresh: both reads are equal"),
    (
        "read3",
        "{\"name\":\"x\"},\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORD\"",
        "{\"name\":\"x\"},\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORDS\"",
        "full_refresh: both reads are equal",
    ),
    (
        "read4",
        "\"type\":\"STATE\"",
        "\"type\":\"STATUS\"",
        "incremental: every stream prints its state",
    ),
    (
        "read5",
        "\"updated\":\"2024-01-03\"},\"emitted_at\"",
        "\"updated\":\"2024-01-02\"},\"emitted_at\"",
        "incremental: the state is honoured",
    ),
    (
        "read6",
        "not a message at all",
        "{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{},\"emitted_at\":1}}",
        "incremental: nothing lies in the future",
    ),
];

#[tokio::test]
async fn each_rule_is_broken_by_itself() {
    for (on, from, to, case) in BREACHES {
        let done = judged(Speaker::but(on, from, to)).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, [*case], "{on}: {from} -> {to}\n{log}");
        assert_eq!(done.outcome("acceptance"), Outcome::Failed);
        assert!(!log.contains("s3cr3t-token"), "{log}");
        let told = format!("{:?}", done.step("acceptance").facts);
        assert!(!told.contains("s3cr3t-token"), "{told}");
    }
}

/// Breaches that leave nothing for later tests, with all that fails then.
#[tokio::test]
async fn what_depends_on_a_broken_answer_is_skipped() {
    let spec = Speaker::but("spec", "\"type\":\"object\"", "\"type\":\"thing\"");
    let names = judged(spec).await;
    let failed = names.tests("acceptance").3;
    assert_eq!(
        failed,
        ["spec: connectionSpecification is a schema", "spec: is what spec_path has"]
    );
    for (from, to, case) in [
        ("\"CATALOG\"", "\"CATALOGUE\"", "discovery: is one CATALOG"),
        ("\"streams\":", "\"stream\":", "discovery: has a stream"),
    ] {
        let done = judged(Speaker::but("discover", from, to)).await;
        let (_, _, skipped, failed) = done.tests("acceptance");
        assert_eq!((skipped, failed), (3, vec![case]), "{}", done.log("acceptance"));
    }
    let twins = Speaker::but("discover", "\"name\":\"tags\"", "\"name\":\"users\"");
    let done = judged(twins).await;
    assert!(done.tests("acceptance").3.contains(&"discovery: streams have names of their own"));
}

#[tokio::test]
async fn how_a_call_ends_is_a_rule_of_its_own() {
    let crash = TalkEnd::Exited { code: 3, out_of_memory: false };
    let memory = TalkEnd::Exited { code: 137, out_of_memory: true };
    let unfit = TalkEnd::Unfit("no program".to_owned());
    for (on, end, case, told) in [
        ("spec", crash.clone(), "spec: ends well", "exited with code 3"),
        ("spec", TalkEnd::TimedOut, "spec: ends well", "did not end within 1.0 min"),
        ("check", memory, "connection 1: ends well", "out of memory"),
        ("invalid", crash.clone(), "connection 2: ends well", "code 3"),
        ("discover", TalkEnd::TimedOut, "discovery: ends well", "within 2.0 s"),
        ("read1", crash, "basic_read: ends well", "code 3"),
        ("read3", TalkEnd::TimedOut, "full_refresh: second read ends well", "within"),
        ("read5", unfit, "incremental: second read ends well", "no program"),
    ] {
        let wanted = end.clone();
        let speaker = Speaker::new(move |call, good| {
            let end = if call == on { end.clone() } else { WELL };
            (good.into_bytes(), end)
        });
        let done = judged(speaker).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, [case], "{on}: {wanted:?}\n{log}");
        let failures = &done.step("acceptance").facts.tests.as_ref().unwrap().failures;
        let told_there = &failures[0].message;
        assert!(told_there.contains(told) || told.starts_with("did not"), "{told_there}");
    }
}

#[tokio::test]
async fn a_check_may_be_meant_to_throw() {
    let config = CONFIG.replace("status: failed", "status: exception");
    let path = "acceptance-test-config.yml";
    let done = with(Speaker::good(), path, &config).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "a FAILED status will do");
    let silent = Speaker::but("invalid", "FAILED", "SUCCEEDED");
    let done = with(silent, path, &config).await;
    assert_eq!(done.tests("acceptance").3, ["connection 2: is an exception"]);
    let trace = "CONNECTION_STATUS\",\"x\":1}\n{\"trace\":{\"type\":\"ERROR\",\"error\":{\"message\":\"m\"}},\"type\":\"TRACE";
    let done = with(Speaker::but("invalid", "CONNECTION_STATUS", trace), path, &config).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
}

#[tokio::test]
async fn without_credentials_spec_runs_and_the_rest_is_skipped() {
    let done = with(Speaker::good(), "secrets/config.json", "").await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded);
    // The check with an invalid configuration, which lies in the tree, is made.
    assert_eq!(done.tests("acceptance"), (4 + 3, 0, 5, vec![]));
    let reason = done.reason("acceptance");
    assert!(reason.starts_with("no credentials: what needs `secrets/config.json`"), "{reason}");
    assert!(done.log("acceptance").contains("skipped  basic_read: is made: no credentials"));
}

#[tokio::test]
async fn suites_are_left_out_for_a_reason_or_demanded() {
    let path = "acceptance-test-config.yml";
    let low =
        "acceptance_tests:\n  spec: { bypass_reason: \"later\" }\n  connection: { tests: [{}] }\n";
    let done = with(Speaker::good(), path, low).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    assert!(done.log("acceptance").contains("skipped  spec: is made: bypassed: later\n"));
    let high = format!("test_strictness_level: high\n{low}");
    let done = with(Speaker::good(), path, &high).await;
    let names = ["discovery", "basic_read", "full_refresh", "incremental"];
    let failed = names.map(|name| format!("{name}: can be made"));
    assert_eq!(done.tests("acceptance").3, failed);
    let done = with(Speaker::good(), path, "").await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded);
    assert_eq!(done.tests("acceptance"), (3, 0, 5, vec![]), "spec alone");
}

#[tokio::test]
async fn a_wrong_file_is_told_with_its_line() {
    let path = "acceptance-test-config.yml";
    let legacy = "tests:\n  spec: [{ spec_path: integration_tests/spec.json }]\n  connection:\n    - { config_path: secrets/config.json, status: succeed }\n";
    let done = with(Speaker::good(), path, legacy).await;
    assert_eq!(done.tests("acceptance"), (4 + 3, 0, 4, vec![]), "{}", done.log("acceptance"));
    for (from, to, told) in [
        ("status: failed", "status: fail", ":8:73: `status` can't be a text; write `succeed`"),
        (
            "config_path: \"secrets/config.json\", status",
            "config_pth: x, status",
            "a test of connection` has no key `config_pth`; did you mean `config_path`?",
        ),
        ("basic_read:", "basic_reed:", "has no key `basic_reed`; did you mean `basic_read`?"),
        ("timeout_seconds: 2", "timeout_seconds: soon", "`timeout_seconds` can't be a text"),
    ] {
        let config = CONFIG.replace(from, to);
        assert_ne!(config, CONFIG, "{from}");
        let done = with(Speaker::good(), path, &config).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, ["acceptance-test-config.yml can be read"], "{log}");
        assert!(log.contains(told), "{log}\n--- not ---\n{told}");
    }
    for (file, content, case) in [
        (
            "integration_tests/expected_records.jsonl",
            "{\"stream\":\"no\",\"data\":{}}",
            "basic_read: expected records are there",
        ),
        ("integration_tests/expected_records.jsonl", "", "basic_read: can be made"),
        ("integration_tests/future.json", "{", "incremental: can be made"),
        ("integration_tests/spec.json", "", "spec: can be made"),
        ("secrets/config.json", "{", "connection 1: can be made"),
    ] {
        let done = with(Speaker::good(), file, content).await;
        assert!(done.tests("acceptance").3.contains(&case), "{}", done.log("acceptance"));
    }
}

#[tokio::test]
async fn lines_that_no_memory_holds_are_a_finding() {
    let speaker = Speaker::new(|call, good| {
        if call != "read1" {
            return (good.into_bytes(), WELL);
        }
        let mut output = vec![b'x'; 100 << 20];
        output.push(b'\n');
        output.extend_from_slice(b"\xff\xfe\x00\n");
        output.extend_from_slice(good.as_bytes());
        (output, WELL)
    });
    let done = judged(speaker).await;
    assert_eq!(done.tests("acceptance").3, ["basic_read: ends well"]);
    let log = done.log("acceptance");
    assert!(log.contains("it printed a line of 100 MiB; a line may have 16 MiB"), "{log}");
    assert!(log.len() < 100_000, "{}", log.len());
}

#[tokio::test]
async fn without_an_image_it_is_not_the_connectors_fault() {
    let done = carry_out(Host::default(), &both(), FILES).await;
    assert_eq!(done.outcome("build"), Outcome::Errored);
    let mut steps = vec![uses(Builtin::Build, &[]), uses(Builtin::Acceptance, &["build"])];
    steps[1].always = true;
    let done = carry_out(Host::default(), &plan(steps), FILES).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Errored);
    assert!(done.reason("acceptance").contains("the image is not known"));
}

#[tokio::test]
async fn what_another_worker_built_is_what_is_judged() {
    let stored = serde_json::to_string(&built("sha256:1234")).unwrap();
    let records = vec![serde_json::from_str(&stored).unwrap()];
    let done = resume(Speaker::good(), &both(), FILES, records).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    assert!(done.log("build").is_empty(), "it is not built again");
    assert_eq!(done.step("build").attempt, 1);
}

#[tokio::test]
async fn what_was_built_on_another_host_is_built_again_before_it_is_judged() {
    // A step in between has settled, too: it is not run again, and nobody runs ahead of the build.
    let between = StepSpec {
        needs: vec!["build".parse().unwrap()],
        ..StepSpec::new("between".parse().unwrap())
    };
    let acceptance = uses(Builtin::Acceptance, &["between"]);
    let plan = plan(vec![uses(Builtin::Build, &[]), between, acceptance]);
    let elsewhere = built("sha256:9999");
    let settled = StepRecord { id: "between".parse().unwrap(), ..built("sha256:9999") };
    let settled = StepRecord { facts: StepFacts::default(), ..settled };
    let done = resume(Speaker::good(), &plan, FILES, vec![elsewhere, settled]).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.reason("acceptance"));
    assert_eq!(done.step("build").attempt, 2);
    assert_eq!(done.step("build").facts.built.as_deref(), Some("sha256:1234"));
    assert_eq!(done.step("between").attempt, 1);
    let waits = |record: &StepRecord| record.state == StepState::Waiting;
    let noted = done.notes.records.lock().unwrap();
    let again = noted.iter().flatten().find(|record| waits(record)).unwrap();
    assert!(again.facts.reason.as_ref().unwrap().contains("sha256:9999"), "{again:?}");
}
