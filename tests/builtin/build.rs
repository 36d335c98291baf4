//! `uses: build`, with a real engine.

use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::query_parameters::ListImagesOptions;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::state::Outcome;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::host::Host;

use super::images::engine;
use super::scripted::Scripted;
use super::{Done, carry_out, plan, uses};

const METADATA: &str = include_str!("metadata.yaml");
pub(crate) const SPEC: &str =
    r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","properties":{}}}}"#;

pub(crate) async fn docker() -> Docker {
    let host = checkvalve::ambient::env("DOCKER_HOST");
    Docker::connect(host.as_deref(), DockerOptions::new("test-builtin")).await.unwrap()
}

fn step() -> StepSpec {
    let env = [("GREETING".to_owned(), "hello".to_owned())].into();
    StepSpec { network: Network::None, env, timeout_ms: 60_000, ..uses(Builtin::Build, &[]) }
}

fn dockerfile(more: &str) -> String {
    format!("FROM checkvalve-test/busybox:1\nARG GREETING\n{more}\n")
}

async fn build(files: &[(&str, &str)]) -> Option<(Api, Done)> {
    let api = engine().await?;
    let done = carry_out(docker().await, &plan(vec![step()]), files).await;
    Some((api, done))
}

/// Images without a name that came of a failed build would be among these.
async fn has_layer(api: &Api, marker: &str) -> bool {
    let options = ListImagesOptions { all: true, ..ListImagesOptions::default() };
    let all = api.list_images(Some(options)).await.unwrap();
    all.iter().any(|image| image.labels.contains_key(marker))
}

#[tokio::test]
async fn an_image_is_built_asked_for_its_spec_and_removed() {
    let entry = format!("#!/bin/sh\n[ \"$1\" = spec ] && echo '{SPEC}'\n");
    let file = dockerfile(
        "COPY . /code\nRUN echo $GREETING; ls /code; chmod +x /code/run.sh\nENTRYPOINT [\"/code/run.sh\"]",
    );
    let files = [
        ("Dockerfile", file.as_str()),
        ("metadata.yaml", METADATA),
        ("run.sh", &entry),
        (".dockerignore", "*.md\n"),
        ("left_out.md", "x"),
        ("/elsewhere/file", "x"),
    ];
    let Some((api, done)) = build(&files).await else { return };
    let log = done.log("build");
    assert_eq!(done.outcome("build"), Outcome::Succeeded, "{log} {}", done.reason("build"));
    assert_eq!(done.tests("build"), (6, 0, 0, vec![]));
    assert!(log.contains("hello\n") && log.contains("run.sh\n"), "{log}");
    assert!(!log.contains("left_out") && !log.contains("elsewhere"), "{log}");
    let id = done.step("build").facts.built.clone().unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    assert!(log.contains(&format!("built {id} as checkvalve/1:job_")), "{log}");
    assert!(api.inspect_image(&id).await.is_err(), "nobody needs it after the job");
}

#[tokio::test]
async fn a_stage_that_was_copied_from_goes_with_its_image() {
    let file = "FROM checkvalve-test/busybox:1 AS first\nLABEL first-stage=yes\nRUN echo x > /made\n\
                FROM checkvalve-test/busybox:1\nCOPY --from=first /made /made\n";
    let Some((api, done)) = build(&[("Dockerfile", file)]).await else { return };
    assert_eq!(done.outcome("build"), Outcome::Succeeded, "{}", done.log("build"));
    assert!(!has_layer(&api, "first-stage").await);
    let id = done.step("build").facts.built.clone().unwrap();
    assert!(api.inspect_image(&id).await.is_err(), "nobody needs it after the job");
}

#[tokio::test]
async fn a_build_that_fails_is_the_connectors_and_leaves_nothing() {
    let file = dockerfile("LABEL failed-build=yes\nRUN echo broken; exit 3");
    let Some((api, done)) = build(&[("Dockerfile", &file)]).await else { return };
    assert_eq!(done.outcome("build"), Outcome::Failed, "{}", done.reason("build"));
    let (_, failed, _, names) = done.tests("build");
    assert_eq!((failed, names), (1, vec!["the image is built"]));
    assert!(done.log("build").contains("broken\n"), "{}", done.log("build"));
    assert!(!has_layer(&api, "failed-build").await);
    for (file, told) in [
        ("FROM checkvalve/1:job_x\n", "builds on `checkvalve/1:job_x`"),
        ("FRM x\n", "nknown instruction"),
    ] {
        let Some((_, done)) = build(&[("Dockerfile", file)]).await else { return };
        assert_eq!(done.outcome("build"), Outcome::Failed, "{}", done.reason("build"));
        assert!(done.log("build").contains(told), "{}", done.log("build"));
    }
    let Some((_, done)) = build(&[("main.py", "")]).await else { return };
    assert_eq!(done.outcome("build"), Outcome::Failed);
}

#[tokio::test]
async fn a_spec_that_does_not_answer_fails_the_build() {
    for (entry, names) in [
        ("ENTRYPOINT [\"/bin/false\"]", vec!["spec: ends well", "spec: is one SPEC"]),
        ("ENTRYPOINT [\"echo\"]", vec!["spec: is one SPEC"]),
        ("ENTRYPOINT [\"/nothing\"]", vec!["spec: ends well", "spec: is one SPEC"]),
        ("ENTRYPOINT []", vec!["spec: ends well", "spec: is one SPEC"]),
    ] {
        let file = dockerfile(entry);
        let files = [("Dockerfile", file.as_str()), ("metadata.yaml", METADATA)];
        let Some((_, done)) = build(&files).await else { return };
        assert_eq!(done.outcome("build"), Outcome::Failed, "{}", done.reason("build"));
        assert_eq!(done.tests("build").3, names, "{entry}: {}", done.log("build"));
    }
}

#[tokio::test]
async fn a_build_that_hangs_ends_at_its_limit() {
    let Some(_) = engine().await else { return };
    let file = dockerfile("RUN sleep 1000");
    let steps = vec![StepSpec { timeout_ms: 4_000, ..step() }];
    let begun = Instant::now();
    let done = carry_out(docker().await, &plan(steps), &[("Dockerfile", &file)]).await;
    assert_eq!(done.outcome("build"), Outcome::TimedOut, "{}", done.reason("build"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_docker_it_is_not_the_connectors_fault() {
    let (plan, files) = (plan(vec![step()]), [("Dockerfile", "FROM x\n")]);
    let on_the_host = carry_out(Host::default(), &plan, &files).await;
    // What an executor without images answers is not the host's alone.
    let scripted = carry_out(Scripted::default(), &plan, &files).await;
    for done in [on_the_host, scripted] {
        assert_eq!(done.outcome("build"), Outcome::Errored);
        let reason = done.reason("build");
        assert!(reason.contains("needs the Docker executor"), "{reason}");
    }
}
