//! Steps in real containers of a real engine: what they may do, what they leave, how they end.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/images.rs"]
mod images;
#[expect(dead_code, reason = "no line is mended here")]
#[path = "support/line.rs"]
mod line;
#[path = "docker/network.rs"]
mod network;
#[expect(dead_code, reason = "nothing here is counted")]
#[path = "support/registry.rs"]
mod registry;
#[expect(dead_code, reason = "shared with the tests of other executors")]
#[path = "support/steps.rs"]
mod steps;
#[path = "docker/talk.rs"]
mod talk;
#[expect(dead_code, reason = "nothing here connects to it")]
#[path = "support/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::query_parameters::{ListContainersOptions, RemoveImageOptions};
use checkvalve::domain::pipeline::Resources;
use checkvalve::domain::state::Outcome;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::{Executor, StepRun, Trust};
use images::{BARE, BUSYBOX, USER};
use line::Line;
use registry::Manner;
use steps::{Place, files, resident_mib, run, run_and_stop, run_counting, run_heard, run_until};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The engine's own client, an executor, and a place; or nothing where there is no engine.
async fn set_up() -> Option<(Api, Docker, Place)> {
    let api = images::engine().await?;
    let docker = executor("test").await;
    Some((api, docker, Place::new()))
}

async fn executor(instance: &str) -> Docker {
    connect(None, instance).await
}

async fn connect(host: Option<&str>, instance: &str) -> Docker {
    let usual = checkvalve::ambient::env("DOCKER_HOST");
    let grace = Duration::from_millis(500);
    let options = DockerOptions { grace, ..DockerOptions::new(instance) };
    Docker::connect(host.or(usual.as_deref()), options).await.unwrap()
}

/// How many containers of this test there are.
async fn containers(api: &Api, instance: &str) -> usize {
    let label = format!("io.checkvalve.instance={instance}");
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..ListContainersOptions::default()
    };
    api.list_containers(Some(options)).await.unwrap().len()
}

#[tokio::test]
async fn a_step_succeeds_or_fails_by_its_status() {
    let Some((api, docker, place)) = set_up().await else { return };
    let step = place.step(BUSYBOX, "cat hello.txt ../shared/lib.txt; ./tool.sh; pwd");
    let instance = step.labels.instance.clone();
    let (ended, output) = run(&docker, step).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Succeeded, Some(0)), "{ended:?}");
    assert_eq!(output, "hello\nlib\ntool\n/workspace/source-x\n");
    let names: Vec<_> = ended.segments.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["create", "start", "run", "collect"]);
    assert!(ended.image_digest.unwrap().contains("sha256:"));
    assert_eq!(containers(&api, &instance).await, 0);
    for code in [1, 3, 125, 126, 127, 137, 143] {
        let (ended, _) = run(&docker, place.step(BUSYBOX, &format!("exit {code}"))).await;
        assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(code)));
    }
    let (ended, output) = run(&docker, place.step(BUSYBOX, "no-such-program")).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(127)));
    assert!(output.contains("no-such-program"), "{output}");
}

#[tokio::test]
async fn a_beginning_can_be_made_ready_and_be_left_alone() {
    let Some((api, docker, place)) = set_up().await else { return };
    let step = place.step(BUSYBOX, "cat hello.txt");
    let instance = step.labels.instance.clone();
    let ready = docker.warm(step.clone()).await.unwrap();
    assert_eq!(containers(&api, &instance).await, 1);
    let (log, mut output) = mpsc::channel(8);
    let (ended, _) = docker.run(step.clone(), Some(ready), log, CancellationToken::new()).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    assert_eq!(output.recv().await.unwrap(), "hello\n");
    let names: Vec<_> = ended.segments.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["start", "run", "collect"]);
    let ready = docker.warm(step.clone()).await;
    assert_eq!(containers(&api, &instance).await, 1);
    drop(ready);
    docker.settled().await;
    assert_eq!(containers(&api, &instance).await, 0);
    // It was made for a step without heirs that go on in it.
    let ready = docker.warm(step.clone()).await;
    let shared = StepRun { shared: true, leave: true, ..step };
    let (log, _output) = mpsc::channel(8);
    let (ended, left) = docker.run(shared, ready, log, CancellationToken::new()).await;
    assert_eq!((ended.outcome, left.is_some()), (Outcome::Succeeded, true), "{ended:?}");
    drop(left);
    docker.settled().await;
    assert_eq!(containers(&api, &instance).await, 0);
}

#[tokio::test]
async fn its_environment_is_the_steps() {
    let Some((_, docker, place)) = set_up().await else { return };
    let script = "echo \"$GREETING\"; test -w $CHECKVALVE_OUT; test -w $CHECKVALVE_SECRETS
        grep -q \" $CHECKVALVE_SECRETS tmpfs \" /proc/mounts; env | cut -d= -f1 | sort | tr '\\n' ' '";
    let (ended, output) = run(&docker, place.step(BUSYBOX, script)).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert!(output.starts_with("a b\n$c\n"), "{output}");
    assert!(!output.contains("CARGO"), "{output}");
}

#[tokio::test]
async fn more_authorities_are_in_a_file_that_programs_take() {
    let Some((_, docker, place)) = set_up().await else { return };
    let script = "env | grep ca.pem | wc -l; echo $PIP_CERT; grep -c BEGIN $SSL_CERT_FILE";
    let (ended, output) = run(&docker, place.step(BUSYBOX, script)).await;
    assert_eq!(ended.outcome, Outcome::Failed, "{output}");
    assert!(output.starts_with("0\n\n"), "{output}");
    let Some(server) = tls::server().await else { return };
    let trust = Some(Trust::with(&server.ca_file).unwrap());
    let options = DockerOptions { trust, ..DockerOptions::new("test") };
    let host = checkvalve::ambient::env("DOCKER_HOST");
    let docker = Docker::connect(host.as_deref(), options).await.unwrap();
    let own = std::fs::read_to_string(&server.ca_file).unwrap();
    let line = own.lines().nth(1).unwrap();
    let script = format!("{script} > /dev/null; grep -c '{line}' $SSL_CERT_FILE");
    let mut step = place.step(BUSYBOX, &script);
    step.env.insert("PIP_CERT".to_owned(), "its own".to_owned());
    let (ended, output) = run(&docker, step).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "7\nits own\n1\n"));
}

#[tokio::test]
async fn output_is_complete_in_order_and_byte_for_byte() {
    let Some((_, docker, place)) = set_up().await else { return };
    let script = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done";
    let (_, output) = run(&docker, place.step(BUSYBOX, script)).await;
    let expected: Vec<_> = (0..300).flat_map(|i| [format!("o{i}"), format!("e{i}")]).collect();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
    let script = "printf '\\000\\001\\002\\377\\376\\r\\n\\033[31m'; printf 'no end'";
    let step = place.step(BUSYBOX, script);
    let (_, output) = run_until(&docker, step, CancellationToken::new()).await;
    assert_eq!(output, b"\x00\x01\x02\xff\xfe\r\n\x1b[31mno end");
}

#[tokio::test]
async fn much_output_is_complete_and_costs_no_memory() {
    let Some((_, docker, place)) = set_up().await else { return };
    let before = resident_mib();
    let step = place.step(BUSYBOX, "head -c 200000000 /dev/zero");
    let (ended, count) = run_counting(&docker, step).await;
    assert_eq!((ended.outcome, count), (Outcome::Succeeded, 200_000_000));
    assert!(resident_mib() < before + 48, "{} MiB more", resident_mib() - before);
}

#[tokio::test]
async fn a_step_that_ignores_sigterm_is_killed() {
    let Some((api, docker, place)) = set_up().await else { return };
    let step = place.step(BUSYBOX, "trap '' TERM; echo up; while :; do sleep 1; done");
    let instance = step.labels.instance.clone();
    let begun = Instant::now();
    let (ended, output) = run_and_stop(&docker, step).await;
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert_eq!(output, "up\n");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(containers(&api, &instance).await, 0);
}

#[tokio::test]
async fn a_step_may_tidy_up_when_asked_to_end() {
    let Some((_, docker, place)) = set_up().await else { return };
    let step = place.step(BUSYBOX, "trap 'echo bye; exit 0' TERM; echo up; sleep 50 & wait");
    let (ended, output) = run_and_stop(&docker, step).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Cancelled, "up\nbye\n"));
}

#[tokio::test]
async fn daemons_end_with_the_step() {
    let Some((api, docker, place)) = set_up().await else { return };
    let script = "(setsid sleep 1000 &) ; (trap '' HUP; sleep 1000) & echo done";
    let step = place.step(BUSYBOX, script);
    let instance = step.labels.instance.clone();
    let begun = Instant::now();
    let (ended, output) = run(&docker, step).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "done\n"));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(containers(&api, &instance).await, 0);
}

#[tokio::test]
async fn too_little_memory_is_said() {
    let Some((_, docker, place)) = set_up().await else { return };
    let mut step = place.step(BUSYBOX, "tail -c 60000000 /dev/zero");
    step.resources = Some(Resources { cpus: 2.0, memory: 32 << 20 });
    let (ended, _) = run(&docker, step).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(137)), "{ended:?}");
    assert_eq!(ended.reason.as_deref(), Some("out of memory: limit 32 MiB"));
}

#[tokio::test]
async fn a_missing_image_is_named_with_the_mend() {
    let Some((_, docker, place)) = set_up().await else { return };
    let image = "checkvalve-test/nobody-has-this:7";
    let (ended, _) = run(&docker, place.step(image, "true")).await;
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, false), "{ended:?}");
    let reason = ended.reason.unwrap();
    let start = format!("image `{image}` is not on this engine and could not be pulled: ");
    assert!(reason.starts_with(&start), "{reason}");
    assert_eq!(ended.segments[0].name, "pull");
    let (ended, _) = run(&docker, place.step("NOT/a/Name", "true")).await;
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, false), "{ended:?}");
}

#[tokio::test]
async fn an_image_without_a_shell_is_not_the_steps_127() {
    let Some((api, docker, place)) = set_up().await else { return };
    let step = place.step(BARE, "true");
    let instance = step.labels.instance.clone();
    let (ended, _) = run(&docker, step).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Errored, None), "{ended:?}");
    assert!(!ended.retry);
    assert!(ended.reason.unwrap().contains("has no `sh`"));
    assert_eq!(containers(&api, &instance).await, 0);
}

#[tokio::test]
async fn a_bomb_of_processes_ends_at_its_limit() {
    let Some((_, docker, place)) = set_up().await else { return };
    let step =
        place.step(BUSYBOX, "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max || true");
    let (_, output) = run(&docker, step).await;
    assert!(output.contains("4096"), "{output}");
}

#[tokio::test]
async fn what_it_leaves_is_taken_but_no_links() {
    let Some((_, docker, place)) = set_up().await else { return };
    let script = "cd $CHECKVALVE_OUT; mkdir -p a/b; echo x > a/b/x; echo y > y; chmod 000 y
        ln -s /etc/passwd passwd; ln -s ../../../../tmp up; mkfifo fifo; ln y hard; exit 4";
    let step = place.step(BUSYBOX, script);
    let out = step.out.clone();
    let (ended, output) = run(&docker, step).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(4)));
    let taken = files(&out);
    assert!(taken.contains(&"a/b/x".to_owned()), "{taken:?}");
    assert!(taken.contains(&"y".to_owned()) || taken.contains(&"hard".to_owned()), "{taken:?}");
    for link in ["passwd", "up", "fifo"] {
        assert!(!taken.contains(&link.to_owned()));
        assert!(output.contains(&format!("`{link}` in $CHECKVALVE_OUT is not kept")), "{output}");
    }
    let (ended, output) = run(&docker, place.step(BUSYBOX, "rm -rf $CHECKVALVE_OUT")).await;
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert!(output.contains("was removed"), "{output}");
    let script = "rm -rf $CHECKVALVE_OUT; ln -s /etc $CHECKVALVE_OUT";
    let step = place.step(BUSYBOX, script);
    let out = step.out.clone();
    let (ended, output) = run(&docker, step).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert_eq!(files(&out), [""; 0], "{output}");
}

#[tokio::test]
async fn a_user_other_than_root_can_write_where_it_works() {
    let Some((_, docker, place)) = set_up().await else { return };
    let script = "id -u; echo more >> hello.txt; mkdir new; cat ../shared/lib.txt
        echo x > $CHECKVALVE_OUT/x; echo s > $CHECKVALVE_SECRETS/s; ./tool.sh; touch ../top";
    let step = place.step(USER, script);
    let out = step.out.clone();
    let (ended, output) = run(&docker, step).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert_eq!(output, "1000\nlib\ntool\n");
    assert_eq!(files(&out), ["x"]);
}

#[tokio::test]
async fn a_dropped_run_leaves_no_container() {
    let Some((api, docker, place)) = set_up().await else { return };
    for wait in [20, 60, 200, 1500] {
        let step = place.step(BUSYBOX, "sleep 1000");
        let instance = step.labels.instance.clone();
        let (log, _chunks) = mpsc::channel(8);
        let running = docker.run(step, None, log, CancellationToken::new());
        assert!(tokio::time::timeout(Duration::from_millis(wait), running).await.is_err());
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(200)).await;
        while containers(&api, &instance).await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(8), "left after {wait} ms");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_reaper_finds_its_own_and_removes_them() {
    let Some((api, _, place)) = set_up().await else { return };
    let step = place.step(BUSYBOX, "trap '' TERM; sleep 1000");
    let (instance, job) = (step.labels.instance.clone(), step.labels.job);
    let docker = executor(&instance).await;
    let (log, _chunks) = mpsc::channel(8);
    let running = docker.run(step, None, log, CancellationToken::new());
    let reap = async {
        let reaper = docker.reaper();
        let owned = loop {
            let owned = reaper.owned().await.unwrap();
            if !owned.is_empty() {
                break owned;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!((owned[0].1, owned[0].2), (job, 7));
        tokio::time::sleep(Duration::from_secs(1)).await;
        reaper.remove(&owned[0].0).await.unwrap();
        reaper.remove(&owned[0].0).await.unwrap();
    };
    let ((ended, _), ()) = tokio::join!(running, reap);
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, true), "{ended:?}");
    assert_eq!(containers(&api, &instance).await, 0);
}

#[tokio::test]
async fn an_engine_that_goes_away_is_ours_and_worth_another_try() {
    let Some((api, _, place)) = set_up().await else { return };
    let line = Line::to_engine(place.path());
    let step = place.step(BUSYBOX, "sleep 3; echo up; sleep 1000");
    let instance = step.labels.instance.clone();
    let docker = connect(Some(&line.host), &instance).await;
    let cut = || {
        line.refuse();
        line.cut();
    };
    let (ended, output) = run_heard(&docker, step, CancellationToken::new(), cut).await;
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, true), "{ended:?}");
    assert!(ended.reason.unwrap().contains("went away"));
    assert_eq!(output, b"up\n");
    assert!(docker.ping().await.is_err());
    // Nobody could remove it; that is what the reaper is for.
    let reaper = connect(None, &instance).await.reaper();
    for (id, ..) in reaper.owned().await.unwrap() {
        reaper.remove(&id).await.unwrap();
    }
    assert_eq!(containers(&api, &instance).await, 0);
}

#[tokio::test]
async fn a_line_that_breaks_for_a_moment_costs_output_but_not_the_verdict() {
    let Some((api, _, place)) = set_up().await else { return };
    let line = Line::to_engine(place.path());
    for (script, outcome) in [("", Outcome::Succeeded), ("; exit 5", Outcome::Failed)] {
        let step = place.step(BUSYBOX, &format!("sleep 3; echo up; sleep 4; echo down{script}"));
        let instance = step.labels.instance.clone();
        let docker = connect(Some(&line.host), &instance).await;
        let unstopped = CancellationToken::new();
        let (ended, output) = run_heard(&docker, step, unstopped, || line.cut()).await;
        let output = String::from_utf8_lossy(&output);
        assert_eq!(ended.outcome, outcome, "{ended:?}");
        assert!(output.starts_with("up\n\ncheckvalve: the line to the engine broke"), "{output}");
        assert!(output.ends_with("\ndown\n"), "{output}");
        assert_eq!(containers(&api, &instance).await, 0);
    }
}

#[tokio::test]
async fn an_image_is_pulled_when_it_is_not_there() {
    let Some((api, docker, place)) = set_up().await else { return };
    let registry =
        registry::Registry::with(&images::busybox(&["sh", "echo"]), Manner::default()).await;
    let image = format!("{}/some/image:7", registry.address);
    let (ended, output) = run(&docker, place.step(&image, "echo pulled")).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "pulled\n"), "{ended:?}");
    let names: Vec<_> = ended.segments.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["pull", "create", "start", "run", "collect"]);
    assert!(ended.image_digest.unwrap().contains("/some/image@sha256:"));
    let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
    api.remove_image(&image, Some(options), None).await.unwrap();
}

#[tokio::test]
async fn no_engine_is_said_with_the_mend() {
    for host in ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "ftp://x"] {
        let error = Docker::connect(Some(host), DockerOptions::new("test")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(host) && text.contains("--executor host"), "{text}");
    }
}
