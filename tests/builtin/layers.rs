//! Builds that are broken off or killed, and what the engine keeps of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::query_parameters::{BuildImageOptions, ListImagesOptions, RemoveImageOptions};
use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::build::sources;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::state::Outcome;
use checkvalve::exec::Executor;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::images::{BuildEnd, ImageBuild};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::images::engine;
use super::steps::Place;
use super::{Done, carry_out, plan, uses};

const LABEL: &str = "io.checkvalve.layer";

async fn noting(folder: &Path) -> Docker {
    let host = ambient::env("DOCKER_HOST");
    let builds = Some(folder.to_owned());
    let options = DockerOptions { builds, ..DockerOptions::new("test-layers") };
    Docker::connect(host.as_deref(), options).await.unwrap()
}

/// A label of all layers of a test's builds.
fn marker() -> String {
    format!("layers-of-{}", ambient::ulid().to_string().to_lowercase())
}

/// Makes two layers, and goes on for long.
fn endless(marker: &str) -> String {
    format!("FROM checkvalve-test/busybox:1\nLABEL {marker}=yes\nRUN echo x > /x\nRUN sleep 1000\n")
}

/// How many images there are with a label, named or not.
async fn marked(api: &Api, marker: &str) -> usize {
    with_label(api, marker).await.len()
}

/// How many layers there are of the owner of a folder's notes.
async fn owned(api: &Api, folder: &Path) -> usize {
    let owner = std::fs::read_to_string(folder.join("owner")).unwrap();
    let options = ListImagesOptions { all: true, ..ListImagesOptions::default() };
    let all = api.list_images(Some(options)).await.unwrap();
    all.iter()
        .filter(|image| {
            image.labels.get(LABEL).is_some_and(|own| own.split('.').next() == Some(owner.trim()))
        })
        .count()
}

/// The ids of images with a label, named or not.
async fn with_label(api: &Api, marker: &str) -> Vec<String> {
    let options = ListImagesOptions { all: true, ..ListImagesOptions::default() };
    let all = api.list_images(Some(options)).await.unwrap();
    let found = all.into_iter().filter(|image| image.labels.contains_key(marker));
    found.map(|image| image.id).collect()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(40), "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A build that never ends.
async fn build_for_ever(docker: Docker, marker: String) {
    let step = StepSpec { network: Network::None, ..uses(Builtin::Build, &[]) };
    carry_out(docker, &plan(vec![step]), &[("Dockerfile", &endless(&marker))]).await;
    panic!("it does not end");
}

async fn until_made(api: &Api, marker: &str) {
    until("the layers are made", async || marked(api, marker).await == 2).await;
}

#[tokio::test]
async fn a_build_that_nobody_waits_for_any_more_leaves_no_layer() {
    let Some(api) = engine().await else { return };
    let (folder, marker) = (tempfile::tempdir().unwrap(), marker());
    let docker = noting(folder.path()).await;
    tokio::select! {
        () = build_for_ever(docker.clone(), marker.clone()) => {}
        () = until_made(&api, &marker) => {}
    }
    // As a worker does that ends. What the engine made when nobody listened any more is the reaper's.
    docker.settled().await;
    let reaper = docker.reaper();
    until("its layers are gone", async || {
        reaper.clear_builds().await.unwrap();
        marked(&api, &marker).await + owned(&api, folder.path()).await == 0
    })
    .await;
}

/// Has the engine build an image, as somebody else would; answers its id.
pub(crate) async fn build_there(api: &Api, tag: Option<&str>, files: &[(&str, &str)]) -> String {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let body = bollard::body_full(tar.into_inner().unwrap().into());
    let t = tag.map(str::to_owned);
    let options = BuildImageOptions { rm: true, t, ..BuildImageOptions::default() };
    let answers: Vec<_> = api.build_image(options, None, Some(body)).collect().await;
    let ids = answers.into_iter().filter_map(|answer| answer.unwrap().aux?.id);
    ids.last().unwrap()
}

async fn remove(api: &Api, image: &str) {
    api.remove_image(image, None::<RemoveImageOptions>, None).await.unwrap();
}

/// A process that is killed in the midst of a build.
fn killed(folder: &Path, marker: &str) {
    let (notes, mine) = (folder.to_owned(), marker.to_owned());
    // With its runtime all of it is gone at once, and nothing clears up.
    let killed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (docker, api) = (noting(&notes).await, engine().await.unwrap());
            tokio::spawn(build_for_ever(docker, mine.clone()));
            until_made(&api, &mine).await;
        });
        runtime.shutdown_background();
    });
    killed.join().unwrap();
}

#[tokio::test]
async fn the_layers_of_a_killed_process_are_found_and_nobody_elses() {
    let Some(api) = engine().await else { return };
    let (folder, marker, foreign) = (tempfile::tempdir().unwrap(), marker(), marker());
    killed(folder.path(), &marker);
    let own = with_label(&api, &marker).await;
    let reaper = noting(folder.path()).await.reaper();
    assert!(owned(&api, folder.path()).await >= 3, "nothing is to be cleared");
    // Somebody else's, without a name: another one, and one by the very same Dockerfile.
    let file = format!("FROM checkvalve-test/busybox:1\nLABEL {foreign}=others\nRUN echo y > /y\n");
    let other = build_there(&api, None, &[("Dockerfile", &file)]).await;
    let same = endless(&marker).replace("RUN sleep 1000\n", "");
    let same = build_there(&api, None, &[("Dockerfile", &same)]).await;
    assert!(!own.contains(&same), "it was not built anew");
    until("its layers are gone", async || {
        reaper.clear_builds().await.unwrap();
        owned(&api, folder.path()).await == 0
    })
    .await;
    assert_eq!(marked(&api, &foreign).await, 2, "another's went");
    let left = with_label(&api, &marker).await;
    assert!(left.len() == 2 && left.contains(&same), "{left:?} of {same}");
    assert!(left.iter().all(|id| !own.contains(id)), "{left:?} of {own:?}");
    for image in [other, same] {
        remove(&api, &image).await;
    }
    let next = noting(folder.path()).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a note is left");
    drop(next);
}

/// Of a layer that somebody builds on by its id nobody can tell whose it is, but by a name.
#[tokio::test]
async fn what_others_built_on_a_layer_and_named_stays() {
    let Some(api) = engine().await else { return };
    let (folder, marker) = (tempfile::tempdir().unwrap(), marker());
    killed(folder.path(), &marker);
    let reaper = noting(folder.path()).await.reaper();
    let layer = with_label(&api, &marker).await.pop().unwrap();
    let tag = format!("checkvalve-test/{marker}:1");
    let file = format!("FROM {layer}\nRUN echo theirs > /theirs\n");
    build_there(&api, Some(&tag), &[("Dockerfile", &file)]).await;
    for _ in 0..2 {
        reaper.clear_builds().await.unwrap();
    }
    assert!(api.inspect_image(&tag).await.is_ok(), "another's went");
    assert!(api.inspect_image(&layer).await.is_ok(), "it was built on");
    // The engine prunes what only that was made of.
    remove(&api, &tag).await;
    until("all is gone", async || {
        reaper.clear_builds().await.unwrap();
        owned(&api, folder.path()).await == 0
    })
    .await;
}

/// Builds an image that goes with its job; answers its id, and the log.
async fn build(docker: &Docker, file: &str) -> (BuildEnd, String) {
    build_in(docker, file, "1.all", &[]).await
}

/// The same, with whom it shares its layers, and with such variables.
async fn build_in(
    docker: &Docker,
    file: &str,
    scope: &str,
    env: &[(&str, &str)],
) -> (BuildEnd, String) {
    let place = Place::new();
    let (context, mut step) = (place.path().join("context.tar"), place.step("", ""));
    step.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let tar = tar::Builder::new(std::fs::File::create(&context).unwrap());
    tar.into_inner().unwrap();
    let build = ImageBuild {
        tag: format!("checkvalve/1:{}", step.labels.job),
        step,
        context,
        sources: sources(file, &BTreeMap::new()),
        ignore: None,
        labels: BTreeMap::new(),
        scope: scope.to_owned(),
        passing: true,
        begun: std::sync::Arc::default(),
        pins: BTreeMap::new(),
        bases: std::sync::Arc::default(),
    };
    let (log, mut lines) = mpsc::channel::<Bytes>(8);
    let gather = async {
        let mut output = Vec::new();
        while let Some(line) = lines.recv().await {
            output.extend_from_slice(&line);
        }
        String::from_utf8(output).unwrap()
    };
    tokio::join!(docker.build(build, log, CancellationToken::new()), gather)
}

/// A proxy or another network may have had the commands fetch anything.
#[tokio::test]
async fn builds_go_on_from_layers_of_their_own_scope_alone() {
    let Some(api) = engine().await else { return };
    let (folder, marker) = (tempfile::tempdir().unwrap(), marker());
    let docker = noting(folder.path()).await;
    let file = endless(&marker).replace("sleep 1000", "echo once");
    let proxy: &[(&str, &str)] = &[("http_proxy", "http://127.0.0.1:9")];
    let mut built = Vec::new();
    for (scope, env, is_new) in [
        ("1.all", &[][..], true),
        ("1.all", &[], false),
        ("1.pull-7", &[], true),
        ("2.all", &[], true),
        ("1.all", proxy, true),
        ("1.all", proxy, false),
    ] {
        let (end, log) = build_in(&docker, &file, scope, env).await;
        let BuildEnd::Built(id) = end else { panic!("{end:?} {log}") };
        assert_eq!(log.contains("\nonce\n"), is_new, "{scope} {env:?}: {log}");
        built.push(id);
    }
    for id in built {
        let _ = docker.forget(&id).await;
    }
    until("all is gone", async || {
        docker.reaper().clear_builds().await.unwrap();
        owned(&api, folder.path()).await == 0
    })
    .await;
}

#[tokio::test]
async fn builds_of_one_owner_share_layers_and_what_others_build_on_them_stays() {
    let Some(api) = engine().await else { return };
    let (folder, marker) = (tempfile::tempdir().unwrap(), marker());
    let (one, two) = (noting(folder.path()).await, noting(folder.path()).await);
    let file = endless(&marker).replace("sleep 1000", "echo once");
    let (first, log) = build(&one, &file).await;
    let BuildEnd::Built(first) = first else { panic!("{first:?} {log}") };
    assert!(log.contains(" : FROM checkvalve-test/busybox:1\n"), "{log}");
    assert!(log.contains("\nonce\n") && !log.contains("Using cache"), "{log}");
    let (second, log) = build(&two, &file).await;
    let BuildEnd::Built(second) = second else { panic!("{second:?} {log}") };
    // The owner's label, the other one, and two commands.
    assert!(!log.contains("\nonce\n") && log.matches("Using cache").count() >= 4, "{log}");
    let elsewhere = tempfile::tempdir().unwrap();
    let (third, log) = build(&noting(elsewhere.path()).await, &file).await;
    let BuildEnd::Built(third) = third else { panic!("{third:?} {log}") };
    assert!(log.contains("\nonce\n"), "{log}");
    let more = format!("FROM {first}\nRUN echo x\n");
    let theirs = build_there(&api, None, &[("Dockerfile", &more)]).await;
    for docker in [&one, &two] {
        docker.reaper().clear_builds().await.unwrap();
    }
    assert!(api.inspect_image(&theirs).await.is_ok(), "another's went");
    remove(&api, &theirs).await;
    // What the other job needs stays, and in the end nothing.
    one.forget(&first).await.unwrap();
    assert!(api.inspect_image(&second).await.is_ok() && owned(&api, folder.path()).await > 0);
    two.forget(&second).await.unwrap();
    assert_eq!(owned(&api, folder.path()).await, 0);
    assert!(api.inspect_image(&third).await.is_ok() && owned(&api, elsewhere.path()).await > 0);
    noting(elsewhere.path()).await.forget(&third).await.unwrap();
    assert_eq!((owned(&api, elsewhere.path()).await, marked(&api, &marker).await), (0, 0));
}

async fn noted(files: &[(&str, &str)]) -> Option<Done> {
    engine().await?;
    let folder = tempfile::tempdir().unwrap();
    let step = StepSpec { network: Network::None, ..uses(Builtin::Build, &[]) };
    Some(carry_out(noting(folder.path()).await, &plan(vec![step]), files).await)
}

#[tokio::test]
async fn a_context_has_nothing_of_how_it_is_sent() {
    let file = "FROM checkvalve-test/busybox:1\nCOPY . /code\n\
                RUN exec 2>&1; echo has $(ls -A /code); cat /code/Dockerfile; \
                cat /code/.dockerignore || true\n";
    for (ignore, has, shown) in [
        (None, "Dockerfile a.txt", None),
        (
            Some("*.md\n"),
            ".dockerignore Dockerfile a.txt",
            Some("*.md\n\n.checkvalve.dockerfile\n"),
        ),
        (Some(".dockerignore\n*.md"), "Dockerfile a.txt", None),
        (Some("*\n!a.txt\n"), "a.txt", None),
        (Some("Dockerfile"), ".dockerignore a.txt", Some("Dockerfile\n.checkvalve.dockerfile\n")),
    ] {
        let mut files = vec![("Dockerfile", file), ("a.txt", "a"), ("b.md", "b")];
        files.extend(ignore.map(|ignore| (".dockerignore", ignore)));
        let md = if ignore.is_some_and(|ignore| ignore.contains(".md") || ignore.contains('!')) {
            ""
        } else {
            " b.md"
        };
        let Some(done) = noted(&files).await else { return };
        let log = done.log("build");
        assert_eq!(done.outcome("build"), Outcome::Succeeded, "{log} {}", done.reason("build"));
        assert!(log.contains(&format!("\nhas {has}{md}\n")), "{ignore:?} {log}");
        let whole = log.contains(&format!("\n{file}"));
        assert_eq!(whole, has.contains("Dockerfile"), "{ignore:?} {log}");
        let text = shown.unwrap_or("can't open '/code/.dockerignore'");
        assert!(log.contains(text), "{ignore:?} {log}");
    }
}

#[tokio::test]
async fn errors_of_a_dockerfile_tell_its_own_lines() {
    let files = [("Dockerfile", "FROM \\\n  checkvalve-test/busybox:1\nRUN true\n\nUSER\n")];
    let Some(done) = noted(&files).await else { return };
    let log = done.log("build");
    assert_eq!(done.outcome("build"), Outcome::Failed, "{log}");
    assert!(log.contains("line 5: USER requires exactly one argument"), "{log}");
}

#[tokio::test]
async fn the_note_of_a_build_goes_with_it() {
    let Some(api) = engine().await else { return };
    let (folder, marker) = (tempfile::tempdir().unwrap(), marker());
    let docker = noting(folder.path()).await;
    let step = StepSpec { network: Network::None, ..uses(Builtin::Build, &[]) };
    for (end, outcome) in [("true", Outcome::Succeeded), ("false", Outcome::Failed)] {
        let file = endless(&marker).replace("sleep 1000", end);
        let plan = plan(vec![step.clone()]);
        let done = carry_out(docker.clone(), &plan, &[("Dockerfile", &file)]).await;
        assert_eq!(done.outcome("build"), outcome, "{}", done.log("build"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(left.iter().map(std::fs::DirEntry::file_name).collect::<Vec<_>>(), ["owner"]);
        assert_eq!((owned(&api, folder.path()).await, marked(&api, &marker).await), (0, 0));
    }
}
