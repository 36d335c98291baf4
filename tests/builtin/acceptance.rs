//! `uses: acceptance`: what must be met in bad images and files, by the engine over a scripted image;
//! `breaches.rs` has each rule by itself, `image.rs` real images.

use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::run::{StepFacts, StepRecord};
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::exec::host::Host;
use checkvalve::exec::images::TalkEnd;

use super::speaker::{CONFIG, FILES, Speaker, WELL, both, by, judged, with};
use super::{built, carry_out, plan, resume, uses};

#[tokio::test]
async fn a_good_image_passes_every_rule() {
    let done = judged(Speaker::good()).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{log}");
    let (passed, failed, skipped, _) = done.tests("acceptance");
    assert_eq!((failed, skipped), (0, 0), "{log}");
    assert_eq!(passed, 4 + 3 + 3 + 11 + 9 + 5 + 7, "{log}");
    assert!(log.contains("INFO  reading\n| not a message at all\n"), "{log}");
    assert!(!log.contains("s3cr3t-token"), "{log}");
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
        ("spec", TalkEnd::TimedOut, "spec: ends well", "did not end within 1 min 00 s"),
        ("check", memory, "connection 1: ends well", "code 137: out of memory"),
        ("invalid", crash.clone(), "connection 2: ends well", "code 3"),
        ("check", TalkEnd::TimedOut, "connection 1: ends well", "did not end within 1 min 00 s"),
        ("discover", TalkEnd::TimedOut, "discovery: ends well", "did not end within 2.0 s"),
        ("read1", crash, "basic_read: ends well", "code 3"),
        ("read3", TalkEnd::TimedOut, "full_refresh: second read ends well", "within 10 min 00 s"),
        ("read5", unfit, "incremental: second read ends well", "no program"),
    ] {
        let done = judged(Speaker::ending(on, end.clone())).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, [case], "{on}: {end:?}\n{log}");
        let failures = &done.step("acceptance").facts.tests.as_ref().unwrap().failures;
        let told_there = &failures[0].message;
        assert!(told_there.contains(told), "{told_there}");
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
    // An exit code is an exception, a hang is none.
    let silent = |end: TalkEnd| {
        Speaker::new(move |call, good| match call {
            "invalid" => (Vec::new(), end.clone()),
            _ => (good.into_bytes(), WELL),
        })
    };
    let done = with(silent(TalkEnd::Exited { code: 1, out_of_memory: false }), path, &config).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    let done = with(silent(TalkEnd::TimedOut), path, &config).await;
    assert_eq!(done.tests("acceptance").3, ["connection 2: ends well"]);
    let done = with(silent(WELL), path, &config).await;
    assert_eq!(done.tests("acceptance").3, ["connection 2: is an exception"]);
}

/// What each call was limited to, in seconds.
async fn limits(config: &str) -> Vec<(String, u64)> {
    let speaker = Speaker::good();
    let calls = speaker.calls.clone();
    by(speaker, config).await;
    let calls = calls.lock().unwrap();
    calls.iter().map(|(call, talk)| (call.clone(), talk.limit.as_secs())).collect()
}

#[tokio::test]
async fn every_call_has_its_limit() {
    let all = |test: &str| {
        let suites =
            ["spec", "connection", "discovery", "basic_read", "full_refresh", "incremental"];
        let one = |suite| format!("  {suite}: {{ tests: [{test}] }}\n");
        format!("acceptance_tests:\n{}", suites.map(one).concat())
    };
    let names = ["spec", "check", "discover", "read1", "read2", "read3", "read4", "read5"];
    let with =
        |limits: [u64; 8]| names.into_iter().map(str::to_owned).zip(limits).collect::<Vec<_>>();
    assert_eq!(limits(&all("{}")).await, with([60, 60, 300, 600, 600, 600, 600, 600]));
    assert_eq!(limits(&all("{ timeout_seconds: 7 }")).await, with([7; 8]));
    let needed = "tests: { basic_read: [{ timeout_seconds: 7 }] }\n";
    let known = |(name, limit): (&str, u64)| (name.to_owned(), limit);
    assert_eq!(limits(needed).await, [("spec", 60), ("discover", 300), ("read1", 7)].map(known));
}

#[tokio::test]
async fn streams_are_read_as_they_can_be() {
    let both_modes = "\"supported_sync_modes\":[\"full_refresh\",\"incremental\"]";
    for (to, full, incremental) in [
        ("\"supported_sync_modes\":[\"incremental\"]", "tags", Some("users")),
        ("\"supported_sync_modes\":[\"full_refresh\"]", "users tags", None),
    ] {
        let speaker = Speaker::but("discover", both_modes, to);
        let calls = speaker.calls.clone();
        let done = judged(speaker).await;
        let log = done.log("acceptance");
        assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{log}");
        let calls = calls.lock().unwrap();
        let asked = |call: &str| {
            let (_, talk) = calls.iter().find(|(name, _)| name == call)?;
            let catalog = String::from_utf8_lossy(&talk.files[0].1).into_owned();
            let streams = ["users", "tags"].into_iter();
            let streams = streams.filter(|name| catalog.contains(&format!("\"name\":\"{name}\"")));
            Some(streams.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(asked("read1").as_deref(), Some("users tags"));
        assert_eq!(asked("read2").as_deref(), Some(full));
        assert_eq!(asked("read4").as_deref(), incremental);
        let none = log.contains("skipped  incremental: is made: no stream supports `incremental`");
        assert_eq!(none, incremental.is_none(), "{log}");
    }
}

#[tokio::test]
async fn an_image_is_told_what_the_tests_say() {
    let config = "custom_environment_variables: { REGION: eu }\ntests:\n  connection: [{ deployment_mode: cloud }, {}]\n";
    let speaker = Speaker::good();
    let calls = speaker.calls.clone();
    by(speaker, config).await;
    let calls = calls.lock().unwrap();
    let modes: Vec<_> =
        calls.iter().map(|(_, talk)| talk.step.env.get("DEPLOYMENT_MODE")).collect();
    assert_eq!(modes, [None, Some(&"CLOUD".to_owned()), None]);
    assert!(calls.iter().all(|(_, talk)| talk.step.env["REGION"] == "eu"));
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
async fn what_is_wrong_with_expected_records_stands_in_their_file() {
    let good = "{\"stream\":\"users\",\"data\":{\"id\":1},\"emitted_at\":0}";
    for (line, told) in [
        ("{", "the line is no JSON"),
        ("{\"stream\":\"no\",\"data\":{}}", "no stream that is read is called `no`"),
        ("{\"stream\":\"tags\"}", "the record has no `stream` and `data`"),
        ("{\"stream\":\"users\",\"data\":{\"id\":9}}", "the record id=9 did not come"),
    ] {
        let path = "integration_tests/expected_records.jsonl";
        let done = with(Speaker::good(), path, &format!("{good}\n\n{line}\n")).await;
        let log = done.log("acceptance");
        let tests = done.step("acceptance").facts.tests.as_ref().unwrap();
        let [failure] = tests.failures.as_slice() else { panic!("{log}") };
        assert_eq!(failure.name, "basic_read: expected records are there");
        let file = format!("connectors/source-x/{path}");
        assert_eq!(
            (failure.file.as_deref(), failure.line),
            (Some(file.as_str()), Some(3)),
            "{log}"
        );
        assert!(failure.message.contains(told), "{log}");
    }
    let done = with(Speaker::good(), "integration_tests/expected_records.jsonl", "").await;
    assert_eq!(done.tests("acceptance").3, ["basic_read: can be made"], "and none is passed");
    assert!(!done.log("acceptance").contains("expected records are there"));
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
async fn an_engine_that_does_not_answer_for_a_moment_builds_nothing_again() {
    let stored = serde_json::to_string(&built("sha256:1234")).unwrap();
    let records = vec![serde_json::from_str(&stored).unwrap()];
    let done = resume(Speaker::good().busy(), &both(), FILES, records).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
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
