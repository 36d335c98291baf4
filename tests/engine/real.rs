//! The engine over real processes and real containers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::query_parameters::RemoveContainerOptions;
use checkvalve::ambient;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::state::Outcome;
use checkvalve::engine::{Engine, EngineOptions, JobRun, Stop};
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::host::Host;

use super::line::Line;
use super::scripted::{Notes, Scripted};
use super::steps::{Place, plan, spec};
use super::{images, job, options, step, told};

#[tokio::test]
async fn processes_leave_logs_artifacts_and_reports() {
    let place = Place::new();
    let engine = Engine::with_options(Host::new(Duration::from_millis(200)), 2, options());
    let script = "echo sha $CHECKVALVE_SHA in $CHECKVALVE_CONNECTOR $CI; mkdir $CHECKVALVE_OUT/cov
        echo page > $CHECKVALVE_OUT/cov/index.html; echo no > $CHECKVALVE_OUT/other
        echo '<testsuite><testcase name=\"a\"/></testsuite>' > $CHECKVALVE_OUT/junit.xml";
    let unit = StepSpec {
        artifacts: vec!["cov/**".into()],
        junit: Some("junit.xml".into()),
        ..step("unit", &[], script)
    };
    let missing = StepSpec { junit: Some("none.xml".into()), ..step("none", &[], "true") };
    let (plan, notes) = (plan(vec![unit, missing]), Notes::default());
    let records = engine.run(job(&plan, &place), &notes, &Stop::new()).await.unwrap();
    assert_eq!(told(&records), "unit=succeeded none=succeeded");
    let facts = &records[0].facts;
    assert_eq!(&*facts.excerpt, "sha abc in source-x true\n");
    assert_eq!(facts.artifacts.len(), 1);
    assert_eq!(facts.artifacts[0].path, "cov/index.html");
    assert!(facts.tests.is_some());
    assert!(records[1].facts.reason.as_ref().unwrap().contains("`none.xml`"));
    let printed = notes.printed.lock().unwrap();
    assert_eq!(printed[&("unit".parse().unwrap(), 1)], b"sha abc in source-x true\n");
}

#[tokio::test]
async fn a_log_beyond_the_cap_is_cut_and_the_step_goes_on() {
    let place = Place::new();
    let options = EngineOptions { log_cap: 1 << 20, ..options() };
    let engine = Engine::with_options(Host::default(), 2, options);
    let plan = plan(vec![step("unit", &[], "head -c 50000000 /dev/zero; echo end >&2")]);
    let records = engine.run(job(&plan, &place), &Notes::default(), &Stop::new()).await.unwrap();
    assert_eq!(told(&records), "unit=succeeded");
    let log = records[0].facts.log.clone().unwrap();
    assert_eq!(log.cut, 50_000_004 - (1 << 20));
    assert!(records[0].facts.excerpt.contains("may print 1 MiB, the rest is not kept"));
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_is_ours() {
    let place = Place::new();
    let options = EngineOptions { error_retries: 1, ..options() };
    let engine = Engine::with_options(Scripted::default(), 2, options);
    let plan = plan(vec![step("unit", &[], "ok")]);
    let full = JobRun { spool: PathBuf::from("/proc/nowhere"), ..job(&plan, &place) };
    let records = engine.run(full, &Notes::default(), &Stop::new()).await.unwrap();
    assert_eq!((told(&records).as_str(), records[0].attempt), ("unit=errored", 2));
    let reason = records[0].facts.reason.clone().unwrap();
    assert!(reason.starts_with("the step's log could not be written: "), "{reason}");
}

#[tokio::test]
async fn containers_run_beside_each_other_and_end_with_their_limit() {
    if images::engine().await.is_none() {
        return;
    }
    let place = Place::new();
    let grace = Duration::from_millis(300);
    let docker = DockerOptions { grace, ..DockerOptions::new("engine-test") };
    let docker = Docker::connect(None, docker).await.unwrap();
    let engine = Engine::with_options(docker.clone(), 4, options());
    let step = |id: &str, needs: &[&str], script| spec(images::BUSYBOX, id, needs, script);
    let plan = plan(vec![
        step("one", &[], "sleep 1"),
        step("two", &[], "sleep 1"),
        step("three", &["one", "two"], "echo three > $CHECKVALVE_OUT/3; cat hello.txt"),
        StepSpec { timeout_ms: 1500, ..step("endless", &[], "trap '' TERM; while :; do :; done") },
    ]);
    let mut job = job(&plan, &place);
    job.labels.instance = "engine-test".to_owned();
    let begun = Instant::now();
    let records = engine.run(job, &Notes::default(), &Stop::new()).await.unwrap();
    assert_eq!(told(&records), "one=succeeded two=succeeded three=succeeded endless=timed_out");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(&*records[2].facts.excerpt, "hello\n");
    let owned = docker.reaper().owned().await.unwrap();
    assert!(owned.is_empty(), "{owned:?}");
}

/// An engine that is restarted ends its containers and is away for a while.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_restarted_under_a_step_costs_a_try_and_no_verdict() {
    let Some(api) = images::engine().await else { return };
    let (place, notes) = (Place::new(), Notes::default());
    let line = Line::to_engine(place.path());
    let backoff = Duration::from_millis(500);
    let plan = plan(vec![spec(images::BUSYBOX, "unit", &[], "echo begun; sleep 4; echo done")]);
    let job = job(&plan, &place);
    let options = DockerOptions::new(job.labels.instance.clone());
    let docker = Docker::connect(Some(&line.host), options.clone()).await.unwrap();
    let engine = Engine::with_options(docker, 2, EngineOptions { backoff, ..self::options() });
    let usual = ambient::env("DOCKER_HOST");
    let reaper = Docker::connect(usual.as_deref(), options).await.unwrap().reaper();
    let restart = async {
        let container = loop {
            let owned = reaper.owned().await.unwrap().pop();
            if let Some((id, ..)) = owned
                && is_running(&api, &id).await
            {
                break id;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        line.refuse();
        line.cut();
        let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
        api.remove_container(&container, Some(options)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        line.mend();
    };
    let stop = Stop::new();
    let (records, ()) = tokio::join!(engine.run(job, &notes, &stop), restart);
    let record = &records.unwrap()[0];
    assert_eq!(record.state.outcome(), Some(Outcome::Succeeded), "{record:?}");
    assert!(record.attempt > 1, "{record:?}");
    assert!(reaper.owned().await.unwrap().is_empty());
    let tries = notes.records.lock().unwrap();
    let tries: Vec<&str> =
        tries.iter().flatten().filter_map(|record| record.facts.reason.as_deref()).collect();
    assert!(tries.iter().any(|why| why.contains("attempt 1 errored")), "{tries:?}");
}

async fn is_running(api: &Api, container: &str) -> bool {
    let found = api.inspect_container(container, None).await.unwrap();
    found.state.unwrap().running == Some(true)
}
