//! `uses: build`, with a real engine.

use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::query_parameters::{CreateImageOptions, ListImagesOptions, RemoveImageOptions};
use checkvalve::ambient;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, Resources, StepSpec};
use checkvalve::domain::rules::Preset;
use checkvalve::domain::state::Outcome;
use checkvalve::engine::Images;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::host::Host;
use futures_util::StreamExt;

use super::images::{busybox, engine};
use super::registry::{Manner, Registry};
use super::scripted::Scripted;
use super::speaker::{Speaker, WELL};
use super::{Begin, Done, built, carry_out, plan, resident_mib, resume, run, uses};

const METADATA: &str = include_str!("metadata.yaml");
pub(crate) const SPEC: &str =
    r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","properties":{}}}}"#;

pub(crate) async fn docker() -> Docker {
    let host = ambient::env("DOCKER_HOST");
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
        (
            "FROM checkvalve/1:job_x\n",
            "Dockerfile:1:1: `checkvalve/1:job_x` is an image that another job made",
        ),
        ("FRM x\n", "Dockerfile:1:1: there is no instruction `FRM`"),
        ("FROM --platform=linux/s390x x:1\n", "for `linux/s390x`, and the engine is one of linux/"),
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
    let steps = vec![StepSpec { timeout_ms: 8_000, ..step() }];
    let begun = Instant::now();
    let done = carry_out(docker().await, &plan(steps), &[("Dockerfile", &file)]).await;
    assert_eq!(done.outcome("build"), Outcome::TimedOut, "{}", done.reason("build"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(done.step("build").facts.segments.last().unwrap().name, "run");
}

#[tokio::test]
async fn a_registry_that_takes_the_whole_time_is_not_the_connectors_fault() {
    let Some(_) = engine().await else { return };
    let manner = Manner { delay: Duration::from_mins(1), ..Manner::default() };
    let registry = Registry::with(&busybox(&["sh"]), manner).await;
    let file = format!("FROM {}/some/image:1\n", registry.address);
    let steps = vec![StepSpec { timeout_ms: 1_500, ..step() }];
    let done = carry_out(docker().await, &plan(steps), &[("Dockerfile", &file)]).await;
    assert_eq!(done.outcome("build"), Outcome::Errored, "{}", done.reason("build"));
    assert!(done.reason("build").contains("did not get to run within"), "{}", done.reason("build"));
    assert!(done.step("build").attempt > 1, "it is tried again");
    let segments = &done.step("build").facts.segments;
    assert_eq!(segments.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["pull"]);
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

#[tokio::test]
async fn a_build_has_its_steps_limits_and_no_network() {
    let Some(_) = engine().await else { return };
    let file = dockerfile(
        "RUN cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
         cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null; ls /sys/class/net | tr '\\n' ' '; echo",
    );
    let resources = Some(Resources { cpus: 0.5, memory: 64 << 20 });
    for (network, names) in [(Network::None, "\nlo \n"), (Network::Bridge, "\neth0 lo \n")] {
        let steps = vec![StepSpec { resources, network, ..step() }];
        let done = carry_out(docker().await, &plan(steps), &[("Dockerfile", &file)]).await;
        let log = done.log("build");
        assert_eq!(done.outcome("build"), Outcome::Succeeded, "{log}");
        assert!(log.contains("\n67108864\n") && log.contains("\n50000"), "{log}");
        assert!(log.contains(names), "{log}");
    }
}

/// The engine would do it, past what is looked at in the Dockerfile.
#[tokio::test]
async fn an_image_with_something_to_do_on_build_is_not_built_on() {
    let Some(api) = engine().await else { return };
    let tag = ambient::ulid().to_string().to_lowercase();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some("checkvalve-test/onbuild".to_owned()),
        tag: Some(tag.clone()),
        changes: vec!["ONBUILD ADD http://127.0.0.1:1/x /x".to_owned()],
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(busybox(&["sh"]).into());
    let made: Vec<_> = api.create_image(Some(options), Some(body), None).collect().await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let image = format!("checkvalve-test/onbuild:{tag}");
    for file in [format!("FROM {image}\n"), format!("FROM scratch\nCOPY --from={image} /a /a\n")] {
        let done = carry_out(docker().await, &plan(vec![step()]), &[("Dockerfile", &file)]).await;
        let log = done.log("build");
        assert_eq!(done.outcome("build"), Outcome::Failed, "{log}");
        assert!(log.contains("(`ONBUILD ADD http://127.0.0.1:1/x /x`)"), "{log}");
    }
    api.remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
}

#[tokio::test]
async fn what_is_built_on_ones_own_machine_stays_under_its_own_name() {
    let Some(api) = engine().await else { return };
    let own = format!("checkvalve-test/{}", ambient::ulid().to_string().to_lowercase());
    let metadata = METADATA.replace("airbyte/source-x", &own);
    let entry = format!("#!/bin/sh\necho '{SPEC}'\n");
    let file = dockerfile("COPY run.sh /run.sh\nENTRYPOINT [\"sh\", \"/run.sh\"]");
    let files =
        [("Dockerfile", file.as_str()), ("metadata.yaml", &metadata), ("run.sh", entry.as_str())];
    for tag in [Preset::Airbyte.image_tag(), Preset::Estuary.image_tag()] {
        let begin = Begin { images: Images::Kept { tag }, ..Begin::default() };
        let done = run(docker().await, &plan(vec![step()]), &files, begin).await;
        assert_eq!(done.outcome("build"), Outcome::Succeeded, "{}", done.log("build"));
        let image = api.inspect_image(&format!("{own}:{tag}")).await.unwrap();
        assert_eq!(image.id, done.step("build").facts.built);
        let labels = image.config.unwrap().labels.unwrap();
        assert_eq!(labels["io.airbyte.name"], own);
        assert!(!labels.contains_key("io.checkvalve.job"), "the reaper takes no one's own image");
    }
    for tag in ["dev", "local"] {
        let image = format!("{own}:{tag}");
        api.remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_count_is_told_with_the_image() {
    let Some(_) = engine().await else { return };
    let metadata = format!(
        "{METADATA}  connectorBuildOptions: {{ baseImage: \"checkvalve-test/busybox:1\" }}\n"
    );
    let files = [
        ("Dockerfile", "FROM scratch\n"),
        ("metadata.yaml", metadata.as_str()),
        ("manifest.yaml", "x"),
        ("build_customization.py", ""),
    ];
    let Some((_, done)) = build(&files).await else { return };
    // The base image has no connector's program.
    assert_eq!(done.tests("build").3, ["spec: ends well", "spec: is one SPEC"]);
    let (log, reason) = (done.log("build"), done.reason("build"));
    assert!(log.contains("note: the `Dockerfile` does not count"), "{log}");
    assert!(log.contains("COPY manifest.yaml "), "{log}");
    assert!(reason.contains("`build_customization.py` is not carried out"), "{reason}");
}

/// Read by the step itself, before anything is built or asked.
#[tokio::test]
async fn files_that_can_not_be_read_are_failures_with_their_place() {
    let line = |n: u32| format!("a{n}: &a{n} [{}]", format!("*a{},", n - 1).repeat(9));
    let lines: Vec<String> = (1..20).map(line).collect();
    let bomb = format!("a0: &a0 [x]\n{}\n", lines.join("\n"));
    let before = resident_mib();
    let broken = METADATA.replace("tags: [language:python]", "tags: [");
    for text in [&broken, &bomb] {
        let files = [("Dockerfile", "FROM x:1\n"), ("metadata.yaml", text.as_str())];
        let done = carry_out(Host::default(), &plan(vec![step()]), &files).await;
        assert_eq!(done.outcome("build"), Outcome::Failed);
        assert_eq!(done.tests("build").3, ["there is a Dockerfile, or one can be made"]);
        assert!(done.log("build").contains("source-x/metadata.yaml:"), "{}", done.log("build"));
    }
    let plan = plan(vec![step(), uses(Builtin::Acceptance, &["build"])]);
    let files = [("acceptance-test-config.yml", bomb.as_str())];
    let image = Speaker::new(|_, good| (good.into_bytes(), WELL));
    let done = resume(image, &plan, &files, vec![built("sha256:1234")]).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Failed);
    let log = done.log("acceptance");
    assert!(log.contains("source-x/acceptance-test-config.yml:"), "{log}");
    let more = resident_mib().saturating_sub(before);
    assert!(more < 256, "{more} MiB more");
}
