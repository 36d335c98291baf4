//! Runs small plans as processes and reads what the terminal was told.

use std::io::Write;
use std::sync::Mutex;

use clap::Parser;

use super::*;
use crate::domain::pipeline::{Network, StepSpec};
use crate::domain::plan::Inputs;
use crate::exec::host::Host;

/// Text that is written, for reading.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn step(id: &str, needs: &[&str], script: &str) -> StepSpec {
    StepSpec {
        run: vec![script.to_owned()],
        needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
        timeout_ms: 30_000,
        network: Network::None,
        artifacts: vec!["*.txt".to_owned()],
        ..StepSpec::new(id.parse().unwrap())
    }
}

fn plan(name: &str, steps: Vec<StepSpec>) -> Plan {
    Plan::new(name.parse().unwrap(), name.to_owned(), Inputs::default(), steps).unwrap()
}

struct Place {
    folder: tempfile::TempDir,
    source: Arc<SourceArchive>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tar = folder.path().join("source.tar");
        let file = std::fs::File::create(&tar).unwrap();
        tar::Builder::new(file).finish().unwrap();
        Self { folder, source: Arc::new(SourceArchive { tar }) }
    }

    fn job(&self, name: &str, steps: Vec<StepSpec>) -> LocalJob {
        let env = BTreeMap::from([("CHECKVALVE_SHA".to_owned(), "abc".to_owned())]);
        let secrets = JobSecrets::default();
        let source = self.source.clone();
        LocalJob { plan: plan(name, steps), source, env, secrets, known: true, renewals: None }
    }
}

fn options() -> LocalOptions {
    LocalOptions {
        instance: "test".to_owned(),
        only: vec![],
        skip: vec![],
        fail_fast: false,
        concurrency: 2,
        slots: 4,
        report_dir: None,
        keep_dir: None,
        results: None,
        reuse: Reuse::All,
        image_tag: "dev",
    }
}

async fn run(jobs: Vec<LocalJob>, options: &LocalOptions, format: Format) -> (LocalResult, String) {
    let (_interrupt, interrupts) = mpsc::channel(1);
    run_until(jobs, options, format, interrupts).await
}

async fn run_until(
    jobs: Vec<LocalJob>,
    options: &LocalOptions,
    format: Format,
    mut interrupts: mpsc::Receiver<()>,
) -> (LocalResult, String) {
    let paper = Paper::default();
    let terminal = Terminal::new(format, Box::new(paper.clone()));
    let executor = Executors::Host(Host::new(Duration::from_millis(200)));
    let result = run_local(executor, jobs, options, &terminal, &mut interrupts).await.unwrap();
    (result, paper.text())
}

#[tokio::test]
async fn plain_lines_tell_what_failed_and_why() {
    let place = Place::new();
    let jobs = vec![
        place.job(
            "source-a",
            vec![step("unit", &[], "echo fine"), step("build", &["unit"], "true")],
        ),
        place.job(
            "source-b",
            vec![step("unit", &[], "echo broken; exit 3"), step("build", &["unit"], "true")],
        ),
    ];
    let (result, text) = run(jobs, &options(), Format::Plain).await;
    assert_eq!((result.verdict, result.verdict.status()), (Verdict::Failed, 1));
    assert_eq!(result.jobs[0].plan.connector().as_str(), "source-a");
    for line in [
        "2 connectors to test",
        "source-a / unit: running",
        "source-a / build: passed after ",
        "✓ source-a: passed · 2 steps",
        "✗ source-b: failed at unit",
        "source-b / build: not run: `unit` did not succeed",
        "== source-b / unit: failed (exit 3) after ",
        "   | broken",
        "failed: 1 of 2 connectors passed, 1 failed",
    ] {
        assert!(text.contains(line), "{line}\n---\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours in a file");
}

#[tokio::test]
async fn json_lines_are_events_as_their_schema_says_and_end_with_the_run() {
    let place = Place::new();
    let jobs = vec![place.job("source-a", vec![step("unit", &[], "echo broken; exit 3")])];
    let (_, text) = run(jobs, &options(), Format::Json).await;
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run", "connector", "step", "log", "step", "connector", "run"]);
    assert_eq!((&events[0]["state"], &events[2]["state"]), (&"running".into(), &"running".into()));
    assert_eq!((&events[3]["offset"], &events[3]["text"]), (&0.into(), &"broken\n".into()));
    let done = &events[4];
    assert_eq!((&done["connector"], &done["id"]), (&"source-a".into(), &"unit".into()));
    assert_eq!((&done["outcome"], &done["exit_code"]), (&"failed".into(), &3.into()));
    let end = &events[6];
    assert_eq!((&end["verdict"], &end["exit_status"]), (&"failed".into(), &1.into()));
    assert_eq!((&end["state"], &end["conclusion"]), (&"concluded".into(), &"failure".into()));
    assert_eq!(end["connectors"][0]["steps"][0]["outcome"], "failed");
    assert_eq!(end["id"], events[0]["id"]);
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    let schema = include_str!("schemas/events.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    for event in &events {
        let errors: Vec<String> = schema.iter_errors(event).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}: {event}");
    }
}

#[tokio::test]
async fn nothing_to_run_is_fine() {
    let (result, text) = run(vec![], &options(), Format::Plain).await;
    assert_eq!(result.verdict, Verdict::Passed);
    assert!(text.contains("nothing to run"));
    let asked = LocalOptions { only: vec!["any".parse().unwrap()], ..options() };
    assert_eq!(run(vec![], &asked, Format::Plain).await.0.verdict, Verdict::Passed);
}

#[tokio::test]
async fn only_keeps_what_a_step_needs_and_skip_leaves_out() {
    let place = Place::new();
    let jobs = || {
        let steps = vec![
            step("lint", &[], "true"),
            step("install", &[], "true"),
            step("unit", &["install"], "true"),
        ];
        vec![place.job("source-a", steps), place.job("source-b", vec![step("lint", &[], "true")])]
    };
    let ran = |result: &LocalResult| {
        let steps = result.jobs.iter().flat_map(|job| &job.steps);
        let ran: Vec<_> = steps
            .filter(|step| step.state.outcome().is_some())
            .map(|step| step.id.to_string())
            .collect();
        ran.join(" ")
    };
    let only = LocalOptions { only: vec!["unit".parse().unwrap()], ..options() };
    let (result, text) = run(jobs(), &only, Format::Plain).await;
    assert_eq!((ran(&result).as_str(), result.jobs.len()), ("install unit", 1), "{text}");
    let skip = LocalOptions { skip: vec!["install".parse().unwrap()], ..options() };
    assert_eq!(ran(&run(jobs(), &skip, Format::Plain).await.0), "lint unit lint");
    let unknown = LocalOptions { skip: vec!["instal".parse().unwrap()], ..options() };
    let error = select_steps(jobs(), &unknown).unwrap_err();
    let text = "no pipeline here has a step `instal`; there are `install`, `lint`, `unit`";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn the_first_failure_ends_the_rest_if_so_asked() {
    let place = Place::new();
    let slow = || vec![step("unit", &[], "sleep 20")];
    let jobs = vec![
        place.job("source-a", vec![step("unit", &[], "exit 1"), step("build", &["unit"], "true")]),
        place.job("source-b", slow()),
        place.job("source-c", slow()),
    ];
    let (result, text) =
        run(jobs, &LocalOptions { fail_fast: true, ..options() }, Format::Plain).await;
    assert_eq!(result.verdict, Verdict::Failed, "{text}");
    let conclusions: Vec<_> = result.jobs.iter().map(|job| job.conclusion).collect();
    assert_eq!(conclusions, [Conclusion::Failure, Conclusion::Cancelled, Conclusion::Cancelled]);
    assert!(text.contains("stopped at the failure of `source-a`"), "{text}");
}

#[tokio::test]
async fn an_interrupt_settles_and_a_second_one_ends_at_once() {
    let place = Place::new();
    let stubborn = || step("unit", &[], "trap '' TERM; while :; do sleep 0.1; done");
    for (times, jobs) in [(1, 1), (2, 0)] {
        let (interrupt, interrupts) = mpsc::channel(2);
        tokio::spawn(async move {
            for _ in 0..times {
                tokio::time::sleep(Duration::from_millis(150)).await;
                interrupt.send(()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        let job = place.job("source-a", vec![stubborn(), step("build", &["unit"], "true")]);
        let (result, text) = run_until(vec![job], &options(), Format::Plain, interrupts).await;
        assert_eq!(result.verdict.status(), 130, "{text}");
        assert_eq!(result.jobs.len(), jobs, "{text}");
        assert!(text.contains("once more (Ctrl-C)") && text.contains("interrupted: "), "{text}");
    }
}

#[tokio::test]
async fn logs_and_artifacts_go_to_the_report_folder() {
    let place = Place::new();
    let reports = place.folder.path().join("reports");
    let options = LocalOptions { report_dir: Some(reports.clone()), ..options() };
    let steps = vec![
        step("unit", &[], "echo one; echo kept > $CHECKVALVE_OUT/a.txt"),
        step("build", &["unit"], "echo two"),
    ];
    let (result, text) = run(vec![place.job("source-a", steps)], &options, Format::Plain).await;
    assert_eq!(result.verdict, Verdict::Passed);
    let read = |path: &str| std::fs::read_to_string(reports.join("source-a").join(path)).unwrap();
    assert_eq!(read("log.txt"), "===== unit =====\none\n===== build =====\ntwo\n");
    assert_eq!(read("unit/1/log.txt"), "one\n");
    assert_eq!(read("unit/1/artifacts/a.txt"), "kept\n");
    assert_eq!(result.jobs[0].steps[0].facts.artifacts[0].key, "source-a/unit/1/artifacts/a.txt");
    assert!(text.contains(&format!("logs: {}", reports.display())), "{text}");
}

#[tokio::test]
async fn what_can_not_be_run_is_status_3() {
    let place = Place::new();
    std::fs::write(place.folder.path().join("file"), "").unwrap();
    let report_dir = Some(place.folder.path().join("file"));
    let jobs = vec![place.job("source-a", vec![step("unit", &[], "true")])];
    let (result, text) = run(jobs, &LocalOptions { report_dir, ..options() }, Format::Plain).await;
    assert_eq!(result.verdict.status(), 3, "{text}");
    assert!(text.contains("source-a could not be run: "), "{text}");
}

#[test]
fn flags_read_as_teams_have_them_in_their_scripts() {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }
    let parse = |line: &str| {
        Line::try_parse_from(std::iter::once("x").chain(line.split(' '))).map(|line| line.run)
    };
    let args = parse("--executor host --only a --only b --fail-fast --concurrency 3 --format json");
    let args = args.unwrap();
    assert_eq!((args.executor, args.only.len()), (Some(ExecutorName::Host), 2));
    assert_eq!((args.fail_fast, args.format), (true, Some(Format::Json)));
    assert_eq!(LocalOptions::new("i", &args).concurrency, 3);
    for (flag, value) in [("", true), ("=TRUE", true), ("=No", false), ("=0", false)] {
        let args = parse(&format!("--use-remote-secrets{flag}")).unwrap();
        assert_eq!(args.use_remote_secrets, Some(value));
    }
    assert!(parse("--use-remote-secrets=maybe").is_err());
    assert!(parse("--is-ci --is-local").is_err());
    assert!(parse("--concurrency 0").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_with_one_lock_run_one_after_another() {
    let place = Place::new();
    let notes = place.folder.path().join("notes");
    let script = |name: &str| {
        let notes = notes.display();
        format!("echo begin {name} >> {notes}; sleep 0.2; echo end {name} >> {notes}")
    };
    let locked = |name: &str| {
        let job = place.job(name, vec![step("unit", &[], &script(name))]);
        LocalJob { plan: job.plan.with_lock(Some("live".to_owned())), ..job }
    };
    let free = place.job("free", vec![step("unit", &[], "true")]);
    let jobs = vec![locked("a"), locked("b"), locked("c"), free];
    let four = LocalOptions { concurrency: 4, ..options() };
    let (result, _) = run(jobs, &four, Format::Plain).await;
    assert_eq!((result.verdict, result.jobs.len()), (Verdict::Passed, 4));
    let notes = std::fs::read_to_string(notes).unwrap();
    let pairs: Vec<&str> = notes.lines().collect();
    assert_eq!(pairs.len(), 6);
    for pair in pairs.chunks(2) {
        assert_eq!(pair[0].replace("begin", "end"), pair[1], "{notes}");
    }
}

#[test]
fn a_step_with_a_matrix_is_asked_for_whole_or_by_instance() {
    let instance = |value: &str| StepSpec {
        instance_of: Some("unit".parse().unwrap()),
        ..step(&format!("unit ({value})"), &["build"], "true")
    };
    let steps = vec![step("build", &[], "true"), instance("1"), instance("2")];
    let plan = plan("a", steps);
    let ids = |only: &[&str], skip: &[&str]| -> Vec<String> {
        let parsed =
            |ids: &[&str]| -> Vec<StepId> { ids.iter().map(|id| id.parse().unwrap()).collect() };
        wanted(&plan, &parsed(only), &parsed(skip)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(ids(&["unit"], &[]), ["build", "unit (1)", "unit (2)"]);
    assert_eq!(ids(&["unit(2)"], &[]), ["build", "unit (2)"]);
    assert_eq!(ids(&[], &["unit"]), ["build"]);
    assert_eq!(ids(&[], &["unit (1)"]), ["build", "unit (2)"]);
}
