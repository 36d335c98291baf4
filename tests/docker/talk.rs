//! Calls of an image's own entrypoint: an end that nobody can vouch for is judged by nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::query_parameters::ListContainersOptions;
use checkvalve::ambient;
use checkvalve::domain::build::sources;
use checkvalve::domain::pipeline::Resources;
use checkvalve::exec::Executor;
use checkvalve::exec::docker::Docker;
use checkvalve::exec::images::{BuildEnd, Halted, ImageBuild, Said, Talk, TalkEnd};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::images::BUSYBOX;
use super::line::Line;
use super::steps::Place;
use super::{connect, containers, set_up};

/// An image whose entrypoint is a shell that takes a script.
async fn speaker(docker: &Docker, place: &Place) -> String {
    let context = place.path().join("context.tar");
    // An image of its own: it is removed at the end.
    let own = ambient::ulid().to_string().to_lowercase();
    let dockerfile = format!("FROM {BUSYBOX}\nLABEL own={own}\nENTRYPOINT [\"sh\", \"-c\"]\n");
    let mut tar = tar::Builder::new(std::fs::File::create(&context).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(dockerfile.len() as u64);
    tar.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).unwrap();
    tar.finish().unwrap();
    let build = ImageBuild {
        step: place.step("", ""),
        context,
        sources: sources(&dockerfile, &BTreeMap::new()),
        ignore: None,
        tag: format!("checkvalve-test/speaker:{own}"),
        labels: BTreeMap::new(),
        scope: "1.all".to_owned(),
        passing: false,
        begun: std::sync::Arc::default(),
        pins: BTreeMap::new(),
        bases: std::sync::Arc::default(),
    };
    let log = mpsc::channel(1).0;
    let end = docker.build(build, log, CancellationToken::new()).await;
    let BuildEnd::Built(id) = end else { panic!("{end:?}") };
    id
}

fn talk(place: &Place, image: &str, script: &str) -> Talk {
    Talk {
        step: place.step(image, ""),
        arguments: vec![script.to_owned()],
        files: Vec::new(),
        config: None,
        limit: Duration::from_mins(1),
    }
}

/// Calls the image, and does something once it has begun to speak.
async fn call(docker: &Docker, talk: Talk, then: impl Future<Output = ()>) -> (TalkEnd, String) {
    let (said, mut heard) = mpsc::channel(8);
    let listening = async {
        let mut output = String::new();
        let mut then = Some(then);
        while let Some(Said::Out(chunk) | Said::Err(chunk)) = heard.recv().await {
            output.push_str(&String::from_utf8_lossy(&chunk));
            if let Some(then) = then.take() {
                then.await;
            }
        }
        output
    };
    tokio::join!(docker.talk(talk, said, CancellationToken::new()), listening)
}

fn is_ours(end: &TalkEnd) -> bool {
    matches!(end, TalkEnd::Halted(Halted::Errored { retry: true, .. }))
}

async fn runs(api: &Api, instance: &str) -> bool {
    let label = format!("io.checkvalve.instance={instance}");
    let options = ListContainersOptions {
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..ListContainersOptions::default()
    };
    !api.list_containers(Some(options)).await.unwrap().is_empty()
}

/// Nobody could remove it; that is what the reaper is for.
async fn reap(instance: &str) {
    let reaper = connect(None, instance).await.reaper();
    for (id, ..) in reaper.owned().await.unwrap() {
        reaper.remove(&id).await.unwrap();
    }
}

#[tokio::test]
async fn how_an_image_ended_is_its_own_doing() {
    let Some((api, docker, place)) = set_up().await else { return };
    let image = speaker(&docker, &place).await;
    for code in [0, 1, 126, 127, 137, 143, 255] {
        let talk = talk(&place, &image, &format!("echo up; exit {code}"));
        let instance = talk.step.labels.instance.clone();
        let (end, output) = call(&docker, talk, async {}).await;
        assert_eq!(end, TalkEnd::Exited { code, out_of_memory: false });
        assert_eq!(output, "up\n");
        assert_eq!(containers(&api, &instance).await, 0);
    }
    let mut hungry = talk(&place, &image, "echo up; tail -c 60000000 /dev/zero");
    hungry.step.resources = Some(Resources { cpus: 2.0, memory: 32 << 20 });
    let (end, _) = call(&docker, hungry, async {}).await;
    assert_eq!(end, TalkEnd::Exited { code: 137, out_of_memory: true });
    docker.forget(&image).await.unwrap();
}

#[tokio::test]
async fn output_that_was_cut_is_not_judged_however_the_image_ended() {
    let Some((api, docker, place)) = set_up().await else { return };
    let image = speaker(&docker, &place).await;
    let line = Line::to_engine(place.path());
    let talk = talk(&place, &image, "echo up; sleep 2; echo down");
    let instance = talk.step.labels.instance.clone();
    let cut = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        line.cut();
    };
    let (end, output) = call(&connect(Some(&line.host), &instance).await, talk, cut).await;
    assert!(is_ours(&end), "{end:?}");
    assert_eq!(output, "up\n");
    assert_eq!(containers(&api, &instance).await, 0);
    docker.forget(&image).await.unwrap();
}

/// An engine that shuts down ends what runs on it, says so, and is gone.
#[tokio::test]
async fn an_engines_signals_are_not_the_images_code() {
    let Some((api, docker, place)) = set_up().await else { return };
    let image = speaker(&docker, &place).await;
    for code in [137, 143, 255] {
        let folder = tempfile::tempdir().unwrap();
        let line = Line::to_engine(folder.path());
        let talk = talk(&place, &image, &format!("echo up; sleep 1; exit {code}"));
        let instance = talk.step.labels.instance.clone();
        let watching = async {
            while runs(&api, &instance).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
            line.refuse();
            line.cut();
        };
        let called = connect(Some(&line.host), &instance).await;
        let (end, _) = Box::pin(call(&called, talk, watching)).await;
        assert!(is_ours(&end), "{code}: {end:?}");
        reap(&instance).await;
    }
    docker.forget(&image).await.unwrap();
}
