//! Services in real containers: reached by name, apart from other jobs', ready before the step and
//! gone after it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/images.rs"]
mod images;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;

use std::process::Command;
use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use checkvalve::ambient;
use checkvalve::domain::pipeline::Network;
use checkvalve::domain::service::Service;
use checkvalve::domain::state::Outcome;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::host::Host;
use checkvalve::exec::{Ended, Executor, StepRun};
use images::{BARE, BUSYBOX};
use serde_json::{Value, json};
use steps::{Place, run, run_until, stop_after};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// An engine, and a place for steps.
struct House {
    api: Api,
    docker: Docker,
    place: Place,
    instance: String,
}

impl House {
    /// None where there is no engine.
    async fn new() -> Option<Self> {
        Self::with(|options| options).await
    }

    async fn with(change: impl Fn(DockerOptions) -> DockerOptions) -> Option<Self> {
        let api = images::engine().await?;
        let instance = format!("services-{}", ambient::ulid());
        let grace = Duration::from_millis(500);
        let options = DockerOptions { grace, ..DockerOptions::new(instance.clone()) };
        let host = ambient::env("DOCKER_HOST");
        let docker = Docker::connect(host.as_deref(), change(options)).await.unwrap();
        Some(Self { api, docker, place: Place::new(), instance })
    }

    fn step(&self, script: &str, services: Vec<Service>) -> StepRun {
        let mut step = self.place.step(BUSYBOX, script);
        step.labels.instance.clone_from(&self.instance);
        StepRun { services, ..step }
    }

    /// Runs a step, of which nothing is left.
    async fn run(&self, script: &str, services: Vec<Service>) -> (Ended, String) {
        let ended = run(&self.docker, self.step(script, services)).await;
        assert_eq!(self.left().await, (0, 0), "containers and networks are left");
        ended
    }

    /// How many containers and networks there are.
    async fn left(&self) -> (usize, usize) {
        let label = format!("io.checkvalve.instance={}", self.instance);
        let filters = || Some([("label".to_owned(), vec![label.clone()])].into());
        let options = ListContainersOptions { all: true, filters: filters(), ..Default::default() };
        let containers = self.api.list_containers(Some(options)).await.unwrap();
        let networks = self.api.list_networks(Some(ListNetworksOptions { filters: filters() }));
        (containers.len(), networks.await.unwrap().len())
    }

    async fn until_nothing_is_left(&self) {
        let begun = Instant::now();
        while self.left().await != (0, 0) {
            assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", self.left().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A busybox that runs a script.
fn service(alias: &str, script: &str, more: &Value) -> Service {
    let mut service = json!({ "alias": alias, "image": BUSYBOX, "command": ["sh", "-c", script] });
    for (key, value) in more.as_object().unwrap() {
        service[key] = value.clone();
    }
    serde_json::from_value(service).unwrap()
}

fn ready(what: &Value, timeout: u64) -> Value {
    let mut ready = json!({ "interval_ms": 300, "timeout_ms": timeout });
    for (key, value) in what.as_object().unwrap() {
        ready[key] = value.clone();
    }
    json!({ "ready": ready })
}

/// Answers with its text on port 80, after a while.
fn server(alias: &str, after: &str) -> Service {
    let script =
        format!("echo {alias} starts; sleep {after}; while :; do echo $WORD | nc -l -p 80; done");
    let mut service = service(alias, &script, &ready(&json!({ "port": 80 }), 20_000));
    service.env.insert("WORD".to_owned(), format!("this is {alias}"));
    service
}

const ASK: &str = "nc -w 5 db 80 </dev/null";

#[tokio::test]
async fn a_step_reaches_its_services_by_name_once_they_are_ready() {
    let Some(house) = House::new().await else { return };
    let script = format!("{ASK}; nc -w 5 cache 80 </dev/null; ls /sys/class/net | tr '\\n' ' '");
    let (ended, output) = house.run(&script, vec![server("db", "1.5"), server("cache", "0")]).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?} {output}");
    assert_eq!(output, "this is db\nthis is cache\neth0 lo ");
    let names: Vec<&str> = ended.segments.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["services", "create", "start", "run", "collect"]);
    let digests: Vec<&String> = ended.services.values().collect();
    assert!(digests.len() == 2 && digests[0].contains("sha256:"), "{digests:?}");
}

#[tokio::test]
async fn services_start_after_those_that_they_need() {
    let Some(house) = House::new().await else { return };
    let web = service(
        "web",
        "word=$(nc -w 5 db 80 </dev/null); while :; do echo \"web and $word\" | nc -l -p 81; done",
        &json!({ "needs": ["db"], "ready": { "port": 81, "interval_ms": 200, "timeout_ms": 20_000 } }),
    );
    let (ended, output) =
        house.run("nc -w 5 web 81 </dev/null", vec![web, server("db", "1")]).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?} {output}");
    assert_eq!(output, "web and this is db\n");
}

#[tokio::test]
async fn a_service_that_never_gets_ready_is_named_with_its_probe_and_its_last_words() {
    let Some(house) = House::new().await else { return };
    let slow = |what: &Value| service("db", "echo i am slow; sleep 1000", &ready(what, 1500));
    let (ended, output) = house
        .run("echo never", vec![slow(&json!({ "run": ["sh", "-c", "echo no answer; exit 3"] }))])
        .await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, None), "{ended:?}");
    let reason = ended.reason.unwrap();
    let told =
        "service `db` was not ready within 1.5 s: `echo no answer; exit 3` answered 3 (no answer)";
    assert_eq!(reason, told);
    assert_eq!(output, "checkvalve: service `db` said:\ndb | i am slow\n");
    // A shell looks at the port from within; no container has to.
    let most = async {
        let mut most = 0;
        for _ in 0..15 {
            most = most.max(house.left().await.0);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        most
    };
    let slow_port = vec![slow(&json!({ "port": 5432 }))];
    let ((ended, _), most) = tokio::join!(house.run("echo never", slow_port), most);
    assert_eq!(most, 1);
    let reason = ended.reason.unwrap();
    let why = reason.strip_prefix("service `db` was not ready within 1.5 s: port 5432").unwrap();
    // On a host that is busy a look may take longer than that.
    let whys = [": nothing listens on it for others", " could not be looked at in time"];
    assert!(whys.contains(&why), "{reason}");
    let (ended, _) = house.run("true", vec![slow(&json!({ "run": ["no-such-program"] }))]).await;
    let reason = ended.reason.unwrap();
    assert!(reason.contains("`no-such-program`") && reason.contains("not found"), "{reason}");
}

#[tokio::test]
async fn a_service_that_ends_too_soon_is_a_failure_of_the_pipeline() {
    let Some(house) = House::new().await else { return };
    let broken = service("db", "echo no disk; exit 4", &ready(&json!({ "port": 80 }), 20_000));
    let begun = Instant::now();
    let (ended, output) = house.run("echo never", vec![broken]).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, None), "{ended:?}");
    assert_eq!(
        ended.reason.as_deref(),
        Some("service `db` ended with status 4 before it was ready")
    );
    assert_eq!(output, "checkvalve: service `db` said:\ndb | no disk\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let missing = service("db", "true", &json!({ "image": "checkvalve-test/nobody-has-this:7" }));
    let (ended, _) = house.run("echo never", vec![missing]).await;
    assert_eq!(ended.outcome, Outcome::Errored, "an image that can't be had is no verdict");
    assert!(ended.reason.unwrap().contains("nobody-has-this:7"));
}

#[tokio::test]
async fn a_service_that_dies_under_a_step_is_named_where_the_step_fails() {
    let Some(house) = House::new().await else { return };
    let dies = || vec![service("db", "sleep 1; echo out of luck; exit 9", &json!({}))];
    let (ended, output) = house.run("sleep 3; exit 1", dies()).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(1)));
    let told = "service `db` ended with status 9 while the step ran";
    assert_eq!(ended.reason.as_deref(), Some(told));
    assert!(output.ends_with("db | out of luck\n"), "{output}");
    let (ended, output) = house.run("sleep 3", dies()).await;
    assert_eq!((ended.outcome, ended.reason), (Outcome::Succeeded, None));
    assert_eq!(output, format!("checkvalve: {told}\n"));
    // One that has done its work is nobody's concern.
    let done = service("db", "exit 0", &json!({}));
    let (ended, output) = house.run("sleep 1", vec![done]).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, ""));
}

#[tokio::test]
async fn a_service_without_a_shell_is_looked_at_from_beside_it() {
    let Some(house) = House::new().await else { return };
    let bare = json!({
        "image": BARE, "command": [], "entrypoint": ["/bin/busybox", "nc", "-l", "-p", "80"],
        "ready": { "port": 80, "interval_ms": 200, "timeout_ms": 20_000 },
    });
    let (ended, output) = house.run("echo fine", vec![service("db", "", &bare)]).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "fine\n"), "{ended:?}");
}

#[tokio::test]
async fn services_of_two_steps_never_see_each_other() {
    let Some(house) = House::new().await else { return };
    // Its neighbour, the service, came first: at the address below its own.
    let script = "own=$(ip -4 -o addr show eth0 | awk '{ print $4 }' | cut -d/ -f1)
        neighbour=${own%.*}.$((${own##*.} - 1)); echo $neighbour
        nc -w 5 $neighbour 80 </dev/null; sleep 100";
    let other = house.step(script, vec![server("db", "0")]);
    let other = StepRun { network: Network::Bridge, ..other };
    let (log, mut chunks) = mpsc::channel(8);
    let end = CancellationToken::new();
    let running = tokio::spawn({
        let (docker, end) = (house.docker.clone(), end.clone());
        async move { docker.run(other, None, log, end).await }
    });
    let mut said = String::new();
    while !said.ends_with("this is db\n") {
        said.push_str(&String::from_utf8_lossy(&chunks.recv().await.unwrap()));
    }
    let neighbour = said.lines().next().unwrap();
    for network in [Network::None, Network::Bridge] {
        let script = format!(
            "nc -w 2 {neighbour} 80 </dev/null && echo reached; nc -w 2 db 80 </dev/null && echo found; \
             echo done"
        );
        let step = house.step(&script, vec![service("own", "sleep 1000", &json!({}))]);
        let (_, output) = run(&house.docker, StepRun { network, ..step }).await;
        assert!(output.ends_with("done\n") && !output.contains("reached"), "{output}");
        assert!(!output.contains("found") && !output.contains("this is db"), "{output}");
    }
    end.cancel();
    running.await.unwrap();
    house.until_nothing_is_left().await;
}

#[tokio::test]
async fn without_a_network_services_are_all_that_a_step_reaches() {
    let Some(house) = House::new().await else { return };
    // Where the bridge would have its address stands the host, with whatever listens on it.
    let script = format!(
        "{ASK}; first=$(ip route | awk '/default/ {{ print $3 }}'); nc -w 2 $first 22 </dev/null && \
         echo reached; nc -w 2 192.0.2.1 80 </dev/null && echo reached; ip link show eth0 | grep -c UP"
    );
    let (ended, output) = house.run(&script, vec![server("db", "0")]).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert!(output.starts_with("this is db\n") && output.ends_with("\n1\n"), "{output}");
    assert!(!output.contains("reached"), "{output}");
}

#[tokio::test]
async fn a_service_has_a_steps_sandbox() {
    let Some(house) = House::new().await else { return };
    let script = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; test ! -e /var/run/docker.sock; \
                  cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; exit 5";
    let shows = service("db", script, &ready(&json!({ "port": 80 }), 20_000));
    let (_, output) = house.run("true", vec![shows]).await;
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, SETGID 6, SETUID 7.
    assert!(output.contains("CapEff:\t00000000000000cb"), "{output}");
    assert!(output.contains("CapBnd:\t00000000000000cb"), "{output}");
    assert!(output.contains("NoNewPrivs:\t1") && output.contains("4096"), "{output}");
}

#[tokio::test]
async fn services_end_with_the_step_however_it_ends() {
    let Some(house) = House::new().await else { return };
    // Cancelled while it runs, and while its services get ready.
    let step = house.step("sleep 1000", vec![server("db", "0")]);
    let (ended, _) = run_until(&house.docker, step, stop_after(Duration::from_secs(3))).await;
    assert_eq!(ended.outcome, Outcome::Cancelled);
    house.docker.settled().await;
    assert_eq!(house.left().await, (0, 0));
    let step = house.step("sleep 1000", vec![server("db", "1000")]);
    let (ended, _) = run_until(&house.docker, step, stop_after(Duration::from_secs(2))).await;
    assert_eq!(ended.outcome, Outcome::Cancelled);
    house.docker.settled().await;
    assert_eq!(house.left().await, (0, 0));
    // Dropped at any moment.
    for wait in [30, 150, 400, 1000, 2500] {
        let step = house.step("sleep 1000", vec![server("db", "0"), server("cache", "0")]);
        let (log, _chunks) = mpsc::channel(8);
        let running = house.docker.run(step, None, log, CancellationToken::new());
        assert!(tokio::time::timeout(Duration::from_millis(wait), running).await.is_err());
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.until_nothing_is_left().await;
    }
}

#[tokio::test]
async fn what_a_killed_worker_left_is_found_by_its_labels() {
    let Some(house) = House::new().await else { return };
    let step = house.step("echo begun; sleep 1000", vec![server("db", "0")]);
    let job = step.labels.job;
    let (log, mut chunks) = mpsc::channel(8);
    let docker = house.docker.clone();
    let running =
        tokio::spawn(async move { docker.run(step, None, log, CancellationToken::new()).await });
    assert_eq!(&*chunks.recv().await.unwrap(), b"begun\n");
    assert_eq!(house.left().await, (2, 1));
    let reaper = house.docker.reaper();
    for (container, of, _) in reaper.owned().await.unwrap() {
        assert_eq!(of, job);
        reaper.remove(&container).await.unwrap();
    }
    let networks = reaper.networks().await.unwrap();
    assert_eq!(networks.len(), 1);
    assert_eq!((networks[0].1, networks[0].2), (job, 7));
    reaper.disconnect(&networks[0].0).await.unwrap();
    reaper.disconnect(&networks[0].0).await.unwrap();
    while chunks.recv().await.is_some() {}
    let (ended, _) = running.await.unwrap();
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, true), "{ended:?}");
    house.until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_networks_are_made_from_a_small_pool_at_once() {
    // Sixteen pieces for twelve steps of two processes.
    let pool = "10.211.7.0/24".parse().unwrap();
    let Some(first) = House::with(|options| DockerOptions { pool, ..options }).await else {
        return;
    };
    let second = House::with(|options| DockerOptions { pool, ..options }).await.unwrap();
    let mut runs = Vec::new();
    for house in [&first, &second] {
        for _ in 0..6 {
            let step = house.step(ASK, vec![server("db", "0")]);
            let docker = house.docker.clone();
            runs.push(tokio::spawn(async move { run(&docker, step).await }));
        }
    }
    for run in runs {
        let (ended, output) = run.await.unwrap();
        assert_eq!(
            (ended.outcome, output.as_str()),
            (Outcome::Succeeded, "this is db\n"),
            "{ended:?}"
        );
    }
    first.until_nothing_is_left().await;
    second.until_nothing_is_left().await;
}

#[tokio::test]
async fn processes_of_the_host_have_no_services() {
    let place = Place::new();
    let step = StepRun { services: vec![server("db", "0")], ..place.step("", "echo never") };
    let (ended, output) = run(&Host::default(), step).await;
    assert_eq!((ended.outcome, ended.retry, output.as_str()), (Outcome::Errored, false, ""));
    let reason = ended.reason.unwrap();
    assert!(reason.contains("its services run in containers"), "{reason}");
    assert!(reason.contains("--executor docker"), "{reason}");
}

/// A repository of one connector whose step names a compose file, tested by the program itself.
fn tested(compose: Option<&str>) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let pipelines = format!(
        "version: 1\nconnectors: [{{ match: \"{{name}}/connector.txt\" }}]\npipelines:\n  - steps:\n      - \
         {{ id: unit, image: \"{BUSYBOX}\", network: none, run: \"{ASK}; nc -w 5 web 81 < /dev/null\", \
         services: {{ compose: test/compose.yml }} }}\n"
    );
    let mut files =
        vec![(".github/checkvalve.yml", pipelines.as_str()), ("source-a/connector.txt", "a")];
    files.extend(compose.map(|text| ("source-a/test/compose.yml", text)));
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let git = |args: &str| {
        let name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let mut git = Command::new("git");
        git.arg("-C").arg(folder.path()).args(name).args(args.split(' '));
        assert!(git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap().status.success());
    };
    git("init --quiet --initial-branch=main");
    git("add --all");
    git("commit --quiet --message Begin");
    let mut command = Command::new(env!("CARGO_BIN_EXE_checkvalve"));
    command.args(["test", "--name", "source-a"]).current_dir(folder.path());
    let done = command.output().unwrap();
    (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

#[tokio::test]
async fn a_compose_file_of_simple_services_will_do() {
    if images::engine().await.is_none() {
        return;
    }
    let compose = format!(
        r#"
services:
  web:
    image: {BUSYBOX}
    command: ["sh", "-c", "nc -w 5 db 80 </dev/null >/tmp/word; while :; do nc -l -p 81 </tmp/word; done"]
    healthcheck: {{ test: "grep -q compose /tmp/word", interval: 200ms }}
    depends_on: {{ db: {{ condition: service_healthy }} }}
  db:
    image: ${{IMAGE:-{BUSYBOX}}}
    environment: [WORD=compose]
    command: sh -c 'while :; do echo $$WORD | nc -l -p 80; done'
    healthcheck: {{ test: [CMD, grep, -q, ":0050 ", /proc/net/tcp6], interval: 200ms }}
    ports: ["80:80"]
"#
    );
    let (status, said) = tested(Some(&compose));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("source-a / unit: passed"), "{said}");
}

#[test]
fn a_compose_file_that_is_not_is_refused_with_its_line() {
    let (status, said) = tested(Some("services:\n  db:\n    image: x\n    privileged: true\n"));
    assert_eq!(status, Some(2), "{said}");
    let told = "source-a/test/compose.yml:4:5: `privileged` of service `db` is not possible here";
    assert!(said.contains(told), "{said}");
    let (status, said) = tested(None);
    assert_eq!(status, Some(2), "{said}");
    let told = "the compose file `source-a/test/compose.yml` is not there";
    assert!(said.contains(told), "{said}");
}
