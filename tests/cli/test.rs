//! `test`: exit statuses, RUN's flags, and what is left behind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::bench::{Bench, WEATHER, answer};

/// One step that fails in one of two connectors, and one that comes after it.
const PIPELINES: &str = r#"
version: 1
preset: none
connectors:
  - { kind: x, match: "airbyte-integrations/connectors/{name}/metadata.yaml", where: { name: ["source-s*"] } }
  - { kind: x2, match: "none/{name}/x" }
unclaimed: all
pipelines:
  - for: { kind: x }
    steps:
      - { id: first, image: "x:1", run: "test $CHECKVALVE_CONNECTOR = source-slow" }
      - { id: second, image: "x:1", needs: [first], run: "sleep 1; echo second ran" }
"#;

#[test]
fn passed_is_0_and_a_failed_step_is_1() {
    let bench = Bench::new();
    let weather = ["test", "--executor", "host", "--name", "source-weather"];
    bench
        .run(&[&weather[..], &["--only", "spec"]].concat())
        .exits(0)
        .says(&["source-weather / spec: passed", "1 of 1 connector passed"]);
    let failed = bench.run(&[&weather[..], &["--only", "unit"]].concat()).exits(1);
    let said = failed.says(&["source-weather / unit: failed (exit 1)", "1 of 8 tests failed"]);
    assert!(said.err.is_empty(), "{}", said.err);
    bench
        .run(&[&weather[..], &["--only", "spek"]].concat())
        .exits(2)
        .complains(&["`spek`", "`spec`"]);
    let skipped = bench.run(&[&weather[..], &["--skip", "unit", "--skip", "format"]].concat());
    let skipped = skipped.exits(0);
    assert!(!skipped.out.contains(" / unit") && !skipped.out.contains(" / format"));
}

#[test]
fn a_filter_that_matches_nothing_runs_nothing_and_needs_no_engine() {
    let bench = Bench::new();
    let nowhere = [("DOCKER_HOST", "unix:///nonexistent")];
    let nothing = ["test", "--language", "cobol"];
    bench.run_with(&nothing, &nowhere).exits(0).says(&["nothing is selected"]);
    let json = [&nothing[..], &["--format", "json"]].concat();
    let events = bench.run_with(&json, &nowhere).exits(0).events();
    assert_eq!(events.last().unwrap()["verdict"], "passed");
    bench.run_with(&["test", "--modified"], &nowhere).exits(0);
}

#[test]
fn without_an_engine_it_is_3_and_the_mend_is_said() {
    Bench::new()
        .run_with(&["test", "--name", "source-weather"], &[("DOCKER_HOST", "unix:///nonexistent")])
        .exits(3)
        .complains(&["unix:///nonexistent", "Start Docker", "--executor host"]);
}

#[test]
fn fail_fast_begins_nothing_after_a_failure() {
    let bench = Bench::new();
    let file = bench.place("pipelines.yml");
    std::fs::write(&file, PIPELINES).unwrap();
    let file = file.display().to_string();
    let run = |flags: &[&str]| {
        let args = [
            &["--pipelines", &file, "test", "--all", "--executor", "host", "--concurrency", "2"],
            flags,
        ];
        bench.run(&args.concat()).exits(1).out
    };
    assert!(run(&[]).contains("source-slow / second: passed"));
    let fast = run(&["--fail-fast"]);
    assert!(!fast.contains("second: passed"), "{fast}");
}

#[test]
fn a_step_is_left_out_where_it_is_of_no_use() {
    let bench = Bench::new();
    let file = bench.place("pipelines.yml");
    let steps = "  - for: { name: source-shop }
    steps:
      - { id: java, image: x, run: 'false', when: { files: ['src/**/*.java'] } }
      - { id: go, image: x, run: 'false', when: { attributes: { kind: [x2] } } }
      - { id: unit, image: x, run: 'echo it ran', needs: [java, go], when: { files: 'unit_tests/*.py' } }
  - steps:
      - { id: none, image: x, run: 'true', when: { files: nothing } }
";
    let text = PIPELINES.split("  - for:").next().unwrap().to_owned() + steps;
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let run = |name: &str| {
        bench.run(&["--pipelines", &file, "test", "--name", name, "--executor", "host"])
    };
    run("source-shop").exits(0).says(&[
        "source-shop / java: not run: there is no `src/**/*.java` in `airbyte-integrations",
        "source-shop / go: not run: its kind is `x`, and not `x2`",
        "source-shop / unit: passed",
        "1 of 1 connector passed",
    ]);
    // A connector of which nothing was tested has not passed.
    run("source-slow").exits(1).says(&["source-slow / none: not run: there is no `nothing`"]);
}

#[test]
fn every_event_is_a_line_of_json() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/main.py"), "# changed\n");
    let flags = ["test", "--modified", "--executor", "host", "--only", "metadata"];
    let done = bench.run(&[&flags[..], &["--format", "json"]].concat()).exits(0);
    let events = done.events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"run"), Some(&"run")));
    let schema = bench.run(&["schema", "events"]).exits(0).json();
    jsonschema::meta::validate(&schema).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for event in &events {
        let errors: Vec<String> = schema.iter_errors(event).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{event:#}");
    }
    let summary = events.last().unwrap();
    assert_eq!(summary["verdict"], "passed");
    assert_eq!(summary["connectors"][0]["steps"][0]["id"], "metadata");
    let plain = bench.run(&[&flags[..], &["--format", "plain"]].concat()).exits(0);
    assert!(!plain.out.contains('\u{1b}'), "{}", plain.out);
}

#[test]
fn reports_are_left_in_the_folder() {
    let bench = Bench::new();
    let dir = bench.place("reports");
    let shown = dir.display().to_string();
    let flags = ["--executor", "host", "--name", "source-weather", "--report-dir", &shown];
    bench.run(&[&["test"], &flags[..]].concat()).exits(1).says(&[&shown]);
    for file in ["index.html", "run.json", "replay.json"] {
        assert!(dir.join(file).is_file(), "{file}");
    }
    let of = dir.join("source-weather");
    for file in ["report.html", "junit.xml", "graph.svg", "timeline.svg", "log.txt"] {
        assert!(of.join(file).is_file(), "{file}");
    }
    assert!(of.join("unit/1/log.txt").is_file());
    let report = std::fs::read_to_string(of.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["connector_technical_name"], "source-weather");
    assert_eq!(report["failed_steps"], serde_json::json!(["unit"]));
    // A folder that can't be made is said before anything runs.
    std::fs::write(bench.place("file"), "").unwrap();
    let file = bench.place("file").display().to_string();
    let flags = ["--executor", "host", "--name", "source-weather", "--report-dir", &file];
    let refused = bench.run(&[&["test"], &flags[..]].concat()).exits(3);
    assert_eq!(refused.complains(&["--report-dir", &file]).out, "");
}

#[test]
fn secrets_come_from_the_folder_beside_the_connector_and_show_nowhere() {
    let bench = Bench::new();
    let leaf = "hidden-from-everyone-42";
    bench.write(&format!("{WEATHER}/secrets/config.json"), &format!("{{\"key\": \"{leaf}\"}}"));
    let file = bench.place("pipelines.yml");
    let steps = "    steps:\n      - { id: sees, image: \"x:1\", secrets: [config, token], run: \
                 \"cat $CHECKVALVE_SECRETS/config; echo $TOKEN; test ${#TOKEN} = 13\" }\n\
                 secrets:\n  config: { from: gsm }\n  token: { from: env, as: env }\n";
    let rules = PIPELINES.split("    steps:").next().unwrap().replace("source-s*", "source-*");
    std::fs::write(&file, rules + steps).unwrap();
    let (file, dir) = (file.display().to_string(), bench.place("reports"));
    let shown = dir.display().to_string();
    let flags = ["--pipelines", &file, "test", "--name", "source-weather", "--executor", "host"];
    let flags = [&flags[..], &["--report-dir", &shown]].concat();
    let env = [("CHECKVALVE_SECRET_TOKEN", "token-in-full")];
    let passed = bench.run_with(&flags, &env).exits(0);
    let log = std::fs::read_to_string(dir.join("source-weather/sees/1/log.txt")).unwrap();
    assert_eq!(log, "***\n", "the document, and the token behind it");
    assert!(!passed.out.contains("hidden-from"), "{}", passed.out);
    // A value that is missing is ours to say, and no failure of the connector.
    let missing = bench.run(&flags).exits(3);
    missing.says(&["secret `token`: CHECKVALVE_SECRET_TOKEN is not set where this runs"]);
    let remote = [&flags[..], &["--use-remote-secrets"]].concat();
    bench.run_with(&remote, &env).exits(2).complains(&["GCP_GSM_CREDENTIALS is not set"]);
}

#[test]
fn scripts_that_know_the_old_name_go_on_working() {
    let bench = Bench::new();
    let old = [
        "--executor",
        "host",
        "--is-local",
        "--use-remote-secrets=False",
        "--only=spec",
        "test-connectors",
        "--name",
        "source-weather",
    ];
    answer(&mut bench.command("connectors-ci", &old))
        .exits(0)
        .says(&["source-weather / spec: passed"]);
    answer(&mut bench.command("connectors-ci", &["list", "--all"])).exits(0);
    bench
        .run(&["test", "--use-remote-secrets", "--all"])
        .exits(2)
        .complains(&["--use-remote-secrets=false"]);
    bench.run(&["test", "--is-ci", "--is-local", "--all"]).exits(2);
    // The commit that is tested was never pushed.
    bench.git(&["remote", "set-url", "origin", "/nowhere/connectors.git"]);
    bench.write("tools/new.py", "#\n");
    bench.commit("Not pushed");
    bench
        .run(&["test", "--is-ci", "--executor", "host", "--name", "source-weather"])
        .exits(3)
        .complains(&["--is-ci", "origin"]);
}

#[test]
fn the_pushed_commit_is_tested_and_its_reports_are_uploaded() {
    let bench = Bench::new();
    let origin = bench.place("acme/connectors.git").display().to_string();
    bench.git(&["clone", "--quiet", "--bare", ".", &origin]);
    bench.git(&["remote", "set-url", "origin", "../acme/connectors.git"]);
    // What is not committed is not tested.
    bench.write(&format!("{WEATHER}/unit_tests/test_daily.py"), "import nothing_like_that\n");
    let store = bench.place("store");
    let url = format!("file:{}", store.display());
    let args =
        ["test", "--is-ci", "--executor", "host", "--name", "source-weather", "--only", "unit"];
    let failed = bench.run_with(&args, &[("CHECKVALVE_STORE", &url)]).exits(1);
    failed.says(&["1 of 8 tests failed"]);
    let head = bench.git(&["rev-parse", "HEAD"]);
    let runs = store.join("runs/acme/connectors/branch-main").join(head);
    let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();
    for object in ["index.html", "run.json", "replay.json"] {
        assert!(run.join(object).is_file(), "{object}");
    }
    for object in ["report.json", "report.html", "junit.xml", "log.txt", "unit/1/log.txt"] {
        assert!(run.join("source-weather").join(object).is_file(), "{object}");
    }
}

/// The step waits for a child that sleeps; SIGINT ends it, and its processes.
#[test]
fn an_interrupt_is_130_and_leaves_nothing_running() {
    let bench = Bench::new();
    let pids = bench.place("pids");
    let file = bench.place("pipelines.yml");
    let run = format!("sh -c 'echo $$ > {}; sleep 300' & echo begun; wait", pids.display());
    let slow = PIPELINES.replace("test $CHECKVALVE_CONNECTOR = source-slow", &run);
    std::fs::write(&file, slow).unwrap();
    let file = file.display().to_string();
    let args = ["--pipelines", &file, "test", "--name", "source-slow", "--executor", "host"];
    let mut child = bench
        .command("checkvalve", &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let inner = loop {
        match std::fs::read_to_string(&pids) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "the step never began"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let said: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(status.code(), Some(130), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("interrupted")), "{said:#?}");
    // A dead process that its new parent has not asked about yet has no command line.
    let command = std::fs::read(format!("/proc/{inner}/cmdline")).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&command), "", "a process of the step lives");
}
