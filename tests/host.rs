//! Steps as plain processes: whatever they do, nothing of them is left.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "shared with the tests of other executors")]
#[path = "support/steps.rs"]
mod steps;
#[path = "support/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

use checkvalve::domain::secret::{Delivery, Secret, SecretValue};
use checkvalve::domain::state::Outcome;
use checkvalve::exec::host::Host;
use checkvalve::exec::{Executor, StepRun, Trust};
use steps::{Place, files, resident_mib, run, run_and_stop, run_counting};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn host() -> Host {
    Host::new(Duration::from_millis(300))
}

/// Does a process run whose command line holds this?
fn runs(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    });
    lines.any(|line| line.starts_with("sleep") && line.contains(mark))
}

#[tokio::test]
async fn a_step_succeeds_or_fails_by_its_status() {
    let place = Place::new();
    let (ended, output) = run(&host(), place.step("", "cat hello.txt ../shared/lib.txt")).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Succeeded, Some(0)));
    assert_eq!(output, "hello\nlib\n");
    let names: Vec<_> = ended.segments.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["create", "run", "collect"]);
    let (ended, _) = run(&host(), place.step("", "exit 127")).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(127)));
    let (ended, _) = run(&host(), place.step("", "kill -9 $$")).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(137)));
    assert_eq!(ended.reason.as_deref(), Some("ended by signal 9"));
}

#[tokio::test]
async fn only_the_steps_own_environment_is_seen() {
    let place = Place::new();
    let script = "echo \"$GREETING\"; test -z \"$CARGO\"; test -d \"$HOME\"; test -d \"$TMPDIR\"
        test -d \"$CHECKVALVE_SECRETS\"; pwd";
    let (ended, output) = run(&host(), place.step("", script)).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert!(output.starts_with("a b\n$c\n"), "{output}");
    assert!(output.trim_end().ends_with("/tree/source-x"), "{output}");
}

/// This process's folders of secrets.
fn folders_of_secrets() -> usize {
    let prefix = format!("checkvalve-secrets-{}-", std::process::id());
    let entries = std::fs::read_dir("/dev/shm").unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count()
}

#[tokio::test]
async fn secrets_are_in_memory_and_gone_when_the_step_ends_or_is_dropped() {
    let place = Place::new();
    let secret = |name: &str, delivery| Secret {
        name: name.parse().unwrap(),
        delivery,
        value: SecretValue::new(b"a value\nof two lines".to_vec()),
    };
    let secrets = vec![secret("config", Delivery::File), secret("api-token", Delivery::Env)];
    let with = |script: &str| StepRun { secrets: secrets.clone(), ..place.step("", script) };
    let left = "/dev/shm/checkvalve-secrets-0-left";
    std::fs::create_dir_all(left).unwrap();
    let script = "test \"$(cat $CHECKVALVE_SECRETS/config)\" = \"$API_TOKEN\"
        stat -c %a $CHECKVALVE_SECRETS $CHECKVALVE_SECRETS/config
        stat -f -c %T $CHECKVALVE_SECRETS; ls $CHECKVALVE_SECRETS";
    let (ended, output) = run(&host(), with(script)).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert_eq!(output, "700\n600\ntmpfs\nconfig\n");
    assert!(!std::path::Path::new(left).exists(), "what a dead process left is there yet");
    assert_eq!(folders_of_secrets(), 0);

    let (log, mut chunks) = mpsc::channel(8);
    let running = host();
    let step = with("echo begun; sleep 20");
    let mut step = Box::pin(running.run(step, None, log, CancellationToken::new()));
    tokio::select! {
        _ = &mut step => panic!("it ended"),
        _ = chunks.recv() => assert_eq!(folders_of_secrets(), 1),
    }
    drop(step);
    assert_eq!(folders_of_secrets(), 0);
}

#[tokio::test]
async fn more_authorities_are_in_a_file_that_programs_take() {
    let Some(server) = tls::server().await else { return };
    let trust = Trust::with(&server.ca_file).unwrap();
    let place = Place::new();
    let address = server.url.trim_start_matches("https://");
    let script = format!(
        "openssl s_client -verify_return_error -connect {address} < /dev/null > /dev/null 2>&1
        echo trusted"
    );
    let (ended, output) = run(&host(), place.step("", &script)).await;
    assert_eq!(ended.outcome, Outcome::Failed, "{output}");
    let (ended, output) = run(&host().with_trust(Some(trust)), place.step("", &script)).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "trusted\n"));
    let refused = Trust::with("/nowhere".as_ref()).unwrap_err().to_string();
    assert!(refused.contains("CHECKVALVE_CA_FILE") && refused.contains("/nowhere"), "{refused}");
}

#[tokio::test]
async fn both_outputs_come_in_the_order_of_writing() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 200 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done";
    let (_, output) = run(&host(), place.step("", script)).await;
    let expected: Vec<_> = (0..200).flat_map(|i| [format!("o{i}"), format!("e{i}")]).collect();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_it_leaves_is_taken_but_no_links() {
    let place = Place::new();
    let step = place.step(
        "",
        "mkdir $CHECKVALVE_OUT/a; echo x > $CHECKVALVE_OUT/a/x; ln -s /etc $CHECKVALVE_OUT/etc; \
         mkfifo $CHECKVALVE_OUT/fifo; echo changed > hello.txt",
    );
    let out = step.out.clone();
    let (ended, output) = run(&host(), step).await;
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(files(&out), ["a/x"]);
    assert_eq!(output.matches("is not kept").count(), 2, "{output}");
    let left: Vec<_> = files(out.parent().unwrap());
    assert_eq!(left, ["out/a/x"], "the work folder is gone");
    let (_, output) = run(&host(), place.step("", "cat hello.txt")).await;
    assert_eq!(output, "hello\n", "each step has a copy of its own");
}

#[tokio::test]
async fn daemons_end_with_the_step() {
    let place = Place::new();
    for (n, script) in [
        "sleep 7777N &",
        "setsid sleep 7777N &",
        "(setsid sh -c 'sleep 7777N & exec sleep 7777N' > /dev/null 2>&1 &)",
        // Neither group, session, parent nor environment betrays it; its folder does.
        "(env -i setsid sleep 7777N > /dev/null 2>&1 &)",
        "nohup sleep 7777N > /dev/null 2>&1 & disown 2> /dev/null || true",
    ]
    .iter()
    .enumerate()
    {
        let mark = format!("7777{n}");
        let script = format!("{}\nsleep 0.1; echo done", script.replace("7777N", &mark));
        let begun = Instant::now();
        let (ended, output) = run(&host(), place.step("", &script)).await;
        assert_eq!(ended.outcome, Outcome::Succeeded, "{script}: {output}");
        assert_eq!(output, "done\n", "{script}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{script}");
        assert!(!runs(&mark), "{script}");
    }
}

#[tokio::test]
async fn a_step_that_ignores_sigterm_is_killed_with_its_children() {
    let place = Place::new();
    let step = place.step(
        "",
        "trap '' TERM; (trap '' TERM; setsid sleep 88881) & echo up; while :; do sleep 88882; done",
    );
    let begun = Instant::now();
    let (ended, output) = run_and_stop(&host(), step).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Cancelled, "up\n"));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(!runs("88881") && !runs("88882"));
}

#[tokio::test]
async fn a_step_may_tidy_up_when_asked_to_end() {
    let place = Place::new();
    let step = place.step("", "trap 'echo bye; exit 0' TERM; echo up; sleep 5 & wait");
    let (ended, output) = run_and_stop(&host(), step).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Cancelled, "up\nbye\n"));
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing() {
    let place = Place::new();
    let step = place.step("", "setsid sleep 99991 & sleep 99992");
    let folder = step.out.parent().unwrap().to_owned();
    let (log, _chunks) = mpsc::channel(8);
    let host = host();
    let run = host.run(step, None, log, CancellationToken::new());
    assert!(tokio::time::timeout(Duration::from_millis(400), run).await.is_err());
    assert!(!runs("99991") && !runs("99992"));
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

#[tokio::test]
async fn much_output_is_complete_and_costs_no_memory() {
    let place = Place::new();
    let before = resident_mib();
    let script = "head -c 200000000 /dev/zero";
    let (ended, count) = run_counting(&host(), place.step("", script)).await;
    assert_eq!((ended.outcome, count), (Outcome::Succeeded, 200_000_000));
    assert!(resident_mib() < before + 32, "{} MiB more", resident_mib() - before);
}

#[tokio::test]
async fn a_missing_source_is_ours() {
    let place = Place::new();
    std::fs::remove_file(place.path().join("source.tar")).unwrap();
    let (ended, _) = run(&host(), place.step("", "true")).await;
    assert_eq!(ended.outcome, Outcome::Errored);
    assert!(ended.reason.unwrap().contains("source.tar"));
}

/// Tells the next one from a run of all tests.
const ENDLESS: &str = "CHECKVALVE_TEST_ENDLESS";

/// Not a test: what the next one starts as a process of its own, and kills.
#[tokio::test]
async fn endless() {
    if checkvalve::ambient::env(ENDLESS).is_none() {
        return;
    }
    let place = Place::new();
    let (log, mut chunks) = mpsc::channel(8);
    let step = place.step("", "sleep 66661 & sleep 66662");
    tokio::spawn(async move { while chunks.recv().await.is_some() {} });
    host().run(step, None, log, CancellationToken::new()).await;
}

#[test]
fn processes_end_with_us_even_by_sigkill() {
    let this = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(this)
        .args(["--exact", "endless"])
        .env(ENDLESS, "1")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = |what: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(&|| runs("66661") && runs("66662"));
    child.kill().unwrap();
    child.wait().unwrap();
    until(&|| !runs("66661") && !runs("66662"));
}
