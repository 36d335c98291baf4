//! An executor with one image, which answers as a good connector does but for what a test makes of
//! it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::plan::Plan;
use checkvalve::exec::images::{BuildEnd, Halted, ImageBuild, Said, Talk, TalkEnd};
use checkvalve::exec::{Divided, Division, Ended, Executor, StepRun};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Done, carry_out, plan, uses};

const SPEC: &str = include_str!("spec.json");
pub(super) const CONFIG: &str = include_str!("acceptance-test-config.yml");
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
    /// In which call it says what to the error stream.
    murmur: Option<(&'static str, &'static str)>,
    /// The call that has no end but the step's.
    hangs: Option<&'static str>,
    /// The engine does not say which images it has.
    busy: bool,
    /// What it was asked, in order.
    pub(super) calls: Arc<Mutex<Vec<(String, Talk)>>>,
    /// When the image had said all of its last answer, and others had had their turn.
    pub(super) done: Arc<Mutex<Option<Instant>>>,
}

pub(super) const WELL: TalkEnd = TalkEnd::Exited { code: 0, out_of_memory: false };

impl Speaker {
    pub(super) fn new(
        answer: impl Fn(&str, String) -> (Vec<u8>, TalkEnd) + Send + Sync + 'static,
    ) -> Self {
        Self {
            reads: Arc::default(),
            answer: Arc::new(answer),
            murmur: None,
            hangs: None,
            busy: false,
            calls: Arc::default(),
            done: Arc::default(),
        }
    }

    /// Everything is as it should be, but `from` is `to` in calls that begin like `on`.
    pub(super) fn but(on: &'static str, from: &'static str, to: &'static str) -> Self {
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

    /// Calls that are called so end otherwise.
    pub(super) fn ending(on: &'static str, end: TalkEnd) -> Self {
        Self::new(move |call, good| {
            (good.into_bytes(), if call == on { end.clone() } else { WELL })
        })
    }

    pub(super) fn murmuring(self, on: &'static str, what: &'static str) -> Self {
        Self { murmur: Some((on, what)), ..self }
    }

    pub(super) fn busy(self) -> Self {
        Self { busy: true, ..self }
    }

    pub(super) fn hanging(self, on: &'static str) -> Self {
        Self { hangs: Some(on), ..self }
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

    async fn identify(&self, image: &str) -> Result<Option<String>, String> {
        if self.busy {
            return Err("the engine does not answer".to_owned());
        }
        Ok((image == "sha256:1234").then(|| image.to_owned()))
    }

    async fn build(&self, _: ImageBuild, _: mpsc::Sender<Bytes>, _: CancellationToken) -> BuildEnd {
        BuildEnd::Built("sha256:1234".to_owned())
    }

    async fn talk(&self, talk: Talk, said: mpsc::Sender<Said>, stop: CancellationToken) -> TalkEnd {
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
        self.calls.lock().unwrap().push((call.clone(), talk));
        let (output, end) = (self.answer)(&call, good);
        if let Some((_, text)) = self.murmur.filter(|(on, _)| *on == call) {
            let _ = said.send(Said::Err(Bytes::from_static(text.as_bytes()))).await;
        }
        for chunk in output.chunks(1 << 20) {
            let _ = said.send(Said::Out(Bytes::copy_from_slice(chunk))).await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        if self.hangs.is_some_and(|on| on == call) {
            stop.cancelled().await;
            return TalkEnd::Halted(Halted::Cancelled);
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

pub(super) fn both() -> Plan {
    plan(vec![uses(Builtin::Build, &[]), uses(Builtin::Acceptance, &["build"])])
}

pub(super) const FILES: &[(&str, &str)] = &[
    ("Dockerfile", "FROM x\n"),
    ("acceptance-test-config.yml", CONFIG),
    ("secrets/config.json", SECRET),
    ("integration_tests/invalid_config.json", INVALID),
    ("integration_tests/expected_records.jsonl", EXPECTED),
    ("integration_tests/future.json", FUTURE),
    ("integration_tests/spec.json", include_str!("spec_file.json")),
];

/// The good connector's files, with some replaced; an empty one is left out.
pub(super) fn files<'f>(changes: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut files = FILES.to_vec();
    files.retain(|(name, _)| changes.iter().all(|(path, _)| name != path));
    files.extend(changes.iter().filter(|(_, content)| !content.is_empty()));
    files
}

pub(super) async fn with(speaker: Speaker, path: &str, content: &str) -> Done {
    carry_out(speaker, &both(), &files(&[(path, content)])).await
}

/// By these tests.
pub(super) async fn by(speaker: Speaker, config: &str) -> Done {
    with(speaker, "acceptance-test-config.yml", config).await
}

pub(super) async fn judged(speaker: Speaker) -> Done {
    carry_out(speaker, &both(), FILES).await
}
