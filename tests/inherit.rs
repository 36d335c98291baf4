//! Steps that inherit file systems: nobody sees what another branch writes, nothing that a step
//! leaves running reaches the next one, and what is missing is made again.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/images.rs"]
mod images;
#[path = "support/scripted.rs"]
mod scripted;
#[path = "inherit/shared.rs"]
mod shared;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    CommitContainerOptions, CreateContainerOptions, ListContainersOptions, ListImagesOptions,
    RemoveContainerOptions,
};
use checkvalve::ambient;
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::run::StepRecord;
use checkvalve::domain::secret::JobSecrets;
use checkvalve::engine::{Engine, EngineOptions, Images, JobLabels, JobRun, Stop};
use checkvalve::exec::Executor;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::host::Host;
use images::{BARE, BUSYBOX};
use scripted::{Notes, Scripted};
use steps::{Place, plan, spec};

/// What ran, and what it printed.
struct Ran {
    records: Vec<StepRecord>,
    notes: Arc<Notes>,
}

impl Ran {
    /// `id=outcome` for each, `-` where it did not run.
    fn told(&self) -> String {
        let word = |record: &StepRecord| record.state.outcome().map_or("-", |o| o.as_str());
        let words: Vec<_> = self.records.iter().map(|r| format!("{}={}", r.id, word(r))).collect();
        words.join(" ")
    }

    fn log(&self, step: &str, attempt: u32) -> String {
        let printed = self.notes.printed.lock().unwrap();
        let log = printed.get(&(step.parse().unwrap(), attempt));
        String::from_utf8_lossy(log.map_or(&[], |log| log)).into_owned()
    }

    fn record(&self, step: &str) -> &StepRecord {
        self.records.iter().find(|record| record.id.as_str() == step).unwrap()
    }

    fn segments(&self, step: &str) -> Vec<&str> {
        self.record(step).facts.segments.iter().map(|segment| segment.name.as_str()).collect()
    }
}

async fn run(executor: impl Executor, instance: &str, steps: Vec<StepSpec>, stop: &Stop) -> Ran {
    run_noting(executor, instance, steps, (stop, Arc::default())).await
}

async fn run_noting(
    executor: impl Executor,
    instance: &str,
    steps: Vec<StepSpec>,
    (stop, notes): (&Stop, Arc<Notes>),
) -> Ran {
    let (place, plan) = (Place::new(), plan(steps));
    let options = EngineOptions { backoff: Duration::from_millis(10), ..EngineOptions::default() };
    let engine = Engine::with_options(executor, 4, options);
    let ulid = ambient::ulid();
    let job = JobRun {
        plan: &plan,
        records: vec![],
        labels: JobLabels {
            instance: instance.to_owned(),
            run: RunId::new(ulid),
            job: JobId::new(ulid),
            epoch: 1,
            connector: "source-x".parse().unwrap(),
        },
        env: BTreeMap::new(),
        secrets: JobSecrets::default(),
        source: place.source.clone(),
        cache: None,
        spool: place.path().join(ulid.to_string()),
        fail_fast: false,
        images: Images::OfJob { repository: 1 },
    };
    let records = engine.run(job, &*notes, stop).await.unwrap();
    Ran { records, notes }
}

/// Waits until a step has got that far.
async fn reached(notes: &Notes, step: &str, state: &str) {
    let there = |record: &StepRecord| record.id.as_str() == step && record.state.as_str() == state;
    while !notes.records.lock().unwrap().iter().flatten().any(there) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs in containers; or not at all where there is no engine. Nothing is left of it.
async fn contained(steps: Vec<StepSpec>) -> Option<Ran> {
    contained_noting(steps, &Stop::new(), Arc::default()).await
}

async fn contained_noting(steps: Vec<StepSpec>, stop: &Stop, notes: Arc<Notes>) -> Option<Ran> {
    let api = images::engine().await?;
    let instance = format!("inherit-{}", ambient::ulid());
    let grace = Duration::from_millis(700);
    let options = DockerOptions { grace, ..DockerOptions::new(instance.clone()) };
    let host = ambient::env("DOCKER_HOST");
    let docker = Docker::connect(host.as_deref(), options).await.unwrap();
    let ran = run_noting(docker.clone(), &instance, steps, (stop, notes)).await;
    docker.settled().await;
    assert_eq!(left(&api, &instance).await, (0, 0), "containers and images are left");
    Some(ran)
}

async fn left(api: &Api, instance: &str) -> (usize, usize) {
    let filters =
        || Some([("label".to_owned(), vec![format!("io.checkvalve.instance={instance}")])].into());
    let containers =
        ListContainersOptions { all: true, filters: filters(), ..ListContainersOptions::default() };
    let images = ListImagesOptions { filters: filters(), ..ListImagesOptions::default() };
    let containers = api.list_containers(Some(containers)).await.unwrap().len();
    (containers, api.list_images(Some(images)).await.unwrap().len())
}

fn first(id: &str, script: &str) -> StepSpec {
    spec(BUSYBOX, id, &[], script)
}

fn from(parent: &str, id: &str, script: &str) -> StepSpec {
    StepSpec { from: Some(parent.parse().unwrap()), ..spec(BUSYBOX, id, &[], script) }
}

fn apart(spec: StepSpec) -> StepSpec {
    StepSpec { isolate: true, ..spec }
}

#[tokio::test]
async fn heirs_see_what_their_parent_left_and_never_what_another_heir_writes() {
    let check = "cat made; echo mine > shared; sleep 1; cat shared";
    let steps = |how: fn(StepSpec) -> StepSpec| {
        vec![
            how(first("install", "echo installed > made; echo before > shared")),
            how(from("install", "unit", &check.replace("mine", "unit"))),
            how(from("install", "lint", &check.replace("mine", "lint"))),
            how(from("unit", "deep", "cat made shared; ls")),
        ]
    };
    let told = |ran: &Ran| {
        let reasons: Vec<_> = ran.records.iter().map(|record| &record.facts.reason).collect();
        let expected = "install=succeeded unit=succeeded lint=succeeded deep=succeeded";
        assert_eq!(ran.told(), expected, "{reasons:?}");
        assert_eq!(ran.log("unit", 1), "installed\nunit\n");
        assert_eq!(ran.log("lint", 1), "installed\nlint\n");
        assert_eq!(ran.log("deep", 1), "installed\nunit\nhello.txt\nmade\nshared\ntool.sh\n");
    };
    for how in [|spec| spec, apart] {
        if let Some(ran) = contained(steps(how)).await {
            told(&ran);
            assert!(ran.segments("install").contains(&"snapshot"));
            // One goes on where its parent ran, unless it is not to.
            let began = ["unit", "lint", "deep"].map(|step| ran.segments(step).contains(&"create"));
            let apart = how(first("x", "")).isolate;
            assert_eq!(began, [apart, true, apart]);
        }
    }
    told(&run(Host::default(), "host", steps(|spec| spec), &Stop::new()).await);
}

#[tokio::test]
async fn what_a_step_leaves_running_is_ended_before_the_next_one_begins() {
    // It writes, it prints, it guesses at the words between the engine and the container.
    let daemon = "(while :; do echo broken > verdict; echo spam; \
                  printf '\\036x 0 0\\036'; done) & setsid sh -c 'while :; do echo broken > verdict; \
                  done' & sleep 0.2; echo installed";
    let steps = vec![
        first("install", daemon),
        from("install", "unit", "echo good > verdict; sleep 0.5; cat verdict; ps; exit 3"),
    ];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded unit=failed");
    let log = ran.log("unit", 1);
    assert!(log.starts_with("good\n") && !log.contains("spam"), "{log}");
    assert!(!log.contains("setsid") && !log.contains("broken"), "{log}");
    assert_eq!(ran.record("unit").facts.exit_code, Some(3));
    assert_eq!(ran.segments("unit"), ["run"], "in the container of its parent");
}

#[tokio::test]
async fn what_can_not_be_ended_does_not_stay_with_the_next_one() {
    let daemon = "mkdir -p /etc; echo u:x:1000:1000::/:/bin/sh > /etc/passwd; start-stop-daemon -S -c u -x /bin/sh -- -c 'while :; do echo spam; sleep 0.1; done' & sleep 0.3";
    let steps = vec![first("install", daemon), from("install", "unit", "sleep 0.5; ps; echo end")];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded unit=succeeded");
    let log = ran.log("install", 1);
    assert!(log.contains("processes of the step could not be ended"), "{log}");
    assert!(!ran.log("unit", 1).contains("spam"), "{}", ran.log("unit", 1));
    assert!(ran.segments("unit").contains(&"create"), "a container of its own");
}

#[tokio::test]
async fn a_step_that_kills_everything_in_reach_fails_alone() {
    let steps = vec![
        first("install", "echo installed > made"),
        from("install", "killer", "kill -9 $PPID; sleep 5; echo survived"),
        from("install", "unit", "sleep 0.5; cat made"),
        from("killer", "after", "echo never"),
    ];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded killer=failed unit=succeeded after=-");
    assert_eq!(ran.log("unit", 1), "installed\n");
}

#[tokio::test]
async fn a_further_try_begins_with_what_its_parent_left() {
    let flaky = StepSpec {
        retries: 1,
        ..from("install", "unit", "cat made; echo spoilt > made; [ -e /tmp/x ] && exit 0; exit 1")
    };
    let steps = vec![first("install", "echo installed > made; echo again"), flaky];
    let host = run(Host::default(), "host", steps.clone(), &Stop::new()).await;
    let check = |ran: &Ran| {
        assert_eq!(ran.told(), "install=succeeded unit=failed");
        assert_eq!(ran.log("unit", 1), "installed\n");
        let log = ran.log("unit", 2);
        assert!(log.starts_with("checkvalve: `install` is run again"), "{log}");
        assert!(log.ends_with("again\ninstalled\n"), "{log}");
        assert!(ran.segments("unit").contains(&"again install"));
        assert_eq!(ran.record("install").attempt, 1, "a segment of its heir, and no attempt");
    };
    check(&host);
    if let Some(ran) = contained(steps).await {
        check(&ran);
    }
}

#[tokio::test]
async fn variables_and_outputs_are_each_steps_own() {
    let install = StepSpec {
        env: BTreeMap::from([("ONLY_HERE".to_owned(), "it's\n$HOME `x`".to_owned())]),
        artifacts: vec!["**".to_owned()],
        ..first("install", "printf %s \"$ONLY_HERE\"; export LEAKED=1; echo a > $CHECKVALVE_OUT/a")
    };
    let unit = |id: &str| StepSpec {
        artifacts: vec!["**".to_owned()],
        ..from(
            "install",
            id,
            "echo ${ONLY_HERE-none} ${LEAKED-none} $CHECKVALVE_CONNECTOR; pwd; \
            echo b > $CHECKVALVE_OUT/b",
        )
    };
    for how in [|spec| spec, apart] {
        let steps = vec![how(install.clone()), how(unit("unit")), how(unit("lint"))];
        let Some(ran) = contained(steps).await else { return };
        assert_eq!(ran.log("install", 1), "it's\n$HOME `x`");
        for heir in ["unit", "lint"] {
            assert_eq!(ran.log(heir, 1), "none none source-x\n/workspace/source-x\n");
            let kept = &ran.record(heir).facts.artifacts;
            let paths: Vec<_> = kept.iter().map(|artifact| artifact.path.as_str()).collect();
            assert_eq!(paths, ["b"]);
        }
    }
}

#[tokio::test]
async fn what_may_fail_is_inherited_as_it_was_left() {
    let lint = StepSpec { allow_failure: true, ..first("lint", "echo partly > made; exit 1") };
    let ran = contained(vec![lint, from("lint", "unit", "cat made")]).await;
    let Some(ran) = ran else { return };
    assert_eq!(ran.told(), "lint=failed unit=succeeded");
    assert_eq!(ran.log("unit", 1), "partly\n");
}

#[tokio::test]
async fn a_chain_in_an_image_without_a_shell_is_not_its_steps_fault() {
    let bare = |spec: StepSpec| StepSpec { image: BARE.to_owned(), ..spec };
    let steps = vec![bare(first("install", "true")), bare(from("install", "unit", "true"))];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=errored unit=-");
    let reason = ran.record("install").facts.reason.clone().unwrap_or_default();
    assert!(reason.contains("has no `sh`"), "{reason}");
}

#[tokio::test]
async fn who_inherits_from_a_step_that_was_ended_at_its_limit_is_skipped_everywhere() {
    let steps = |hang: &str| {
        let limit = |spec: StepSpec| StepSpec { timeout_ms: 1500, allow_failure: true, ..spec };
        let report = StepSpec { needs: vec!["lint".parse().unwrap()], ..first("report", "true") };
        vec![limit(first("lint", hang)), from("lint", "unit", "echo never"), report]
    };
    let check = |ran: &Ran| {
        assert_eq!(ran.told(), "lint=timed_out unit=- report=succeeded");
        let reason = ran.record("unit").facts.reason.as_deref();
        assert_eq!(reason, Some("not run: `lint` did not succeed"));
    };
    check(&run(Scripted::default(), "x", steps("ok 9000"), &Stop::new()).await);
    check(&run(Host::default(), "host", steps("sleep 100"), &Stop::new()).await);
    if let Some(ran) = contained(steps("sleep 100")).await {
        check(&ran);
    }
}

/// An image that declares a volume, made of the usual one.
async fn with_volume(api: &Api) -> &'static str {
    const NAME: &str = "checkvalve-test/volume";
    let config =
        ContainerCreateBody { image: Some(BUSYBOX.to_owned()), ..ContainerCreateBody::default() };
    let made = api.create_container(None::<CreateContainerOptions>, config).await.unwrap();
    let options = CommitContainerOptions {
        container: Some(made.id.clone()),
        repo: Some(NAME.to_owned()),
        tag: Some("1".to_owned()),
        changes: Some("VOLUME /data".to_owned()),
        ..CommitContainerOptions::default()
    };
    api.commit_container(options, ContainerConfig::default()).await.unwrap();
    api.remove_container(&made.id, None::<RemoveContainerOptions>).await.unwrap();
    "checkvalve-test/volume:1"
}

#[tokio::test]
async fn what_is_in_a_volume_no_heir_sees() {
    let Some(api) = images::engine().await else { return };
    let image = with_volume(&api).await;
    let heir = "cat made; ls /data | wc -l";
    let steps = vec![
        first("install", "echo installed > made; echo x > /data/x"),
        from("install", "unit", heir),
        from("install", "lint", heir),
        from("unit", "deep", heir),
    ];
    let steps = steps.into_iter().map(|spec| StepSpec { image: image.to_owned(), ..spec });
    let ran = contained(steps.collect()).await.unwrap();
    for heir in ["unit", "lint", "deep"] {
        assert_eq!(ran.log(heir, 1), "installed\n0\n", "{heir}");
    }
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_any_more_is_removed() {
    let Some(api) = images::engine().await else { return };
    let instance = format!("inherit-{}", ambient::ulid());
    let docker = DockerOptions::new(instance.clone());
    let docker = Docker::connect(ambient::env("DOCKER_HOST").as_deref(), docker).await.unwrap();
    let (stop, notes) = (Stop::new(), Arc::<Notes>::default());
    // Large enough for the engine to take its time over the copy.
    let large = "head -c 500000000 /dev/zero | tr '\\0' x > large";
    let steps = vec![first("install", large), apart(from("install", "unit", "true"))];
    let end = async {
        while notes.kept.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        stop.stop("superseded");
    };
    let run = run_noting(docker.clone(), &instance, steps, (&stop, notes.clone()));
    let (ran, ()) = tokio::join!(run, end);
    assert!(ran.told().ends_with("unit=cancelled"), "{}", ran.told());
    docker.settled().await;
    // It may be there for a while after nobody waits for it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(left(&api, &instance).await, (0, 0), "containers and images are left");
}

#[tokio::test]
async fn a_container_that_dies_between_two_steps_is_not_the_next_ones_fault() {
    let Some(api) = images::engine().await else { return };
    let (stop, notes) = (Stop::new(), Arc::<Notes>::default());
    let kill = async {
        reached(&notes, "idle", "finished").await;
        let label = "io.checkvalve.step=idle".to_owned();
        let filters = Some([("label".to_owned(), vec![label])].into());
        let options = ListContainersOptions { filters, ..ListContainersOptions::default() };
        for container in api.list_containers(Some(options)).await.unwrap() {
            let killed: Option<bollard::query_parameters::KillContainerOptions> = None;
            api.kill_container(&container.id.unwrap(), killed).await.unwrap();
        }
    };
    let unit =
        StepSpec { needs: vec!["slow".parse().unwrap()], ..from("idle", "unit", "cat made") };
    let steps = vec![first("idle", "echo installed > made"), first("slow", "sleep 3"), unit];
    let (ran, ()) = tokio::join!(contained_noting(steps, &stop, notes.clone()), kill);
    let ran = ran.unwrap();
    assert_eq!(ran.told(), "idle=succeeded slow=succeeded unit=succeeded");
    assert_eq!(ran.record("unit").attempt, 2);
    assert!(ran.log("unit", 2).contains("`idle` is run again"), "{}", ran.log("unit", 2));
}

#[tokio::test]
async fn the_engine_divides_what_is_left_and_makes_again_what_is_not_there() {
    let steps = || {
        vec![
            first("install", "ok"),
            from("install", "unit", "ok"),
            from("install", "build", "ok"),
            from("build", "acceptance", "ok"),
        ]
    };
    let scripted = Scripted::default();
    let ran = run(scripted.clone(), "x", steps(), &Stop::new()).await;
    assert_eq!(ran.told(), "install=succeeded unit=succeeded build=succeeded acceptance=succeeded");
    let mut histories = scripted.histories.lock().unwrap().clone();
    histories.sort();
    let expected = ["install", "install build", "install build acceptance", "install unit"];
    assert_eq!(histories, expected);
    let divided = scripted.divided.lock().unwrap().clone();
    assert_eq!(divided, [("install".to_owned(), 2, true), ("install build".to_owned(), 1, true)]);

    let forgetful = Scripted { forgets: true, ..Scripted::default() };
    let ran = run(forgetful.clone(), "x", steps(), &Stop::new()).await;
    let reason = ran.record("unit").facts.reason.clone().unwrap();
    assert!(reason.contains("`install`, whose file system it inherits, was run again"), "{reason}");
}
