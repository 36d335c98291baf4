//! "Run again the same plan": with the same images, wherever their names lead by then.

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use checkvalve::ambient;
use futures_util::StreamExt;

use crate::images;
use crate::world::{REPO, Steps, World};

/// Makes an image of a release, to which the name leads from then on; answers its id.
async fn release(api: &Docker, image: &str, release: &str) -> String {
    let (repo, tag) = image.split_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        changes: vec!["ENV PATH=/bin".to_owned(), format!("ENV RELEASE={release}")],
        ..CreateImageOptions::default()
    };
    let layer = images::busybox(&["sh", "echo", "mkdir", "cat", "env", "sleep", "kill", "test"]);
    let body = bollard::body_full(layer.into());
    let made: Vec<_> = api.create_image(Some(options), Some(body), None).collect().await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    api.inspect_image(image).await.unwrap().id.unwrap()
}

/// The log of the newest run's only step, and what is said of how it ended.
async fn newest(world: &World) -> (String, String) {
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let told = world.json(&format!("/api/v1/runs/{run}")).await;
    let step = &told["connectors"][0]["steps"][0];
    let id = step["id"].as_str().unwrap();
    let log = format!("{}/api/v1/runs/{run}/connectors/source-a/steps/{id}/log", world.url);
    let log = world.http.get(log).send().await.unwrap();
    let log = if log.status().is_success() { log.text().await.unwrap() } else { String::new() };
    (log, format!("{} {}", step["outcome"], step["reason"]))
}

async fn ask(world: &World, number: u64, command: &str) -> (String, String) {
    let before = world.runs().await.len();
    world.sim.comment(REPO, number, "ada", command).await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), before + 1, "{command}");
    newest(world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_plan_runs_with_the_same_images_or_says_why_not() {
    let Some(api) = images::engine().await else { return };
    let image = format!("checkvalve-test/moving-{}:1", ambient::ulid().to_string().to_lowercase());
    let first = release(&api, &image, "one").await;
    let config = format!(
        "version: 1\npreset: none\nconnectors:\n  - {{ kind: sh, match: \"{{name}}/connector.txt\" }}\n\
         pipelines:\n  - for: {{ kind: sh }}\n    steps:\n      - {{ id: unit, image: \"{image}\", \
         network: none, run: \"echo release $RELEASE; exit 1\" }}\n"
    );
    let files = [(".github/checkvalve.yml", config.as_str()), ("source-a/connector.txt", "a")];
    let world = World::new(Steps::Docker, &files).await;
    world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(newest(&world).await.0, "release one\n");

    let second = release(&api, &image, "two").await;
    assert_ne!(first, second);
    for _ in 0..2 {
        let (log, ended) = ask(&world, number, "/retest").await;
        assert_eq!(log, "release one\n", "{ended}");
    }
    let none = None::<RemoveImageOptions>;
    api.remove_image(&first, none.clone(), None).await.unwrap();
    let (_, ended) = ask(&world, number, "/retest").await;
    assert!(ended.starts_with("\"errored\""), "{ended}");
    for said in [
        format!("image `{first}` is not on this engine any more"),
        format!("It is what `{image}` was in run run_"),
        "`/test source-a` makes a new plan".to_owned(),
    ] {
        assert!(ended.contains(&said), "{said}: {ended}");
    }
    let (log, ended) = ask(&world, number, "/test source-a").await;
    assert_eq!(log, "release two\n", "{ended}");
    world.finish().await;
    api.remove_image(&image, none, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_plan_builds_on_the_same_images_or_says_why_not() {
    let Some(api) = images::engine().await else { return };
    let image = format!("checkvalve-test/moving-{}:1", ambient::ulid().to_string().to_lowercase());
    let first = release(&api, &image, "one").await;
    let config = "version: 1\npreset: none\nconnectors:\n  - { kind: sh, match: \"{name}/connector.txt\" }\n\
         pipelines:\n  - for: { kind: sh }\n    steps: [{ id: build, uses: build, network: none }]\n";
    let files = [(".github/checkvalve.yml", config), ("source-a/connector.txt", "a")];
    let world = World::new(Steps::Docker, &files).await;
    let dockerfile = format!("FROM {image}\nRUN echo release $RELEASE; exit 1\n");
    world.push("change", &[("source-a/Dockerfile", &dockerfile)]).await;
    let number = world.open("change").await;
    world.settle().await;
    let (log, ended) = newest(&world).await;
    assert!(log.contains("\nrelease one\n"), "{ended}: {log}");

    let second = release(&api, &image, "two").await;
    assert_ne!(first, second);
    for _ in 0..2 {
        let (log, ended) = ask(&world, number, "/retest").await;
        assert!(log.contains("\nrelease one\n"), "{ended}: {log}");
    }
    // Steps of the builds that failed may still go on from it.
    let force = Some(RemoveImageOptions { force: true, ..RemoveImageOptions::default() });
    api.remove_image(&first, force.clone(), None).await.unwrap();
    let (_, ended) = ask(&world, number, "/retest").await;
    assert!(ended.starts_with("\"errored\""), "{ended}");
    for said in [
        format!("image `{first}` is not on this engine any more"),
        format!("It is what `{image}` was in run run_"),
    ] {
        assert!(ended.contains(&said), "{said}: {ended}");
    }
    let (log, ended) = ask(&world, number, "/test source-a").await;
    assert!(log.contains("\nrelease two\n"), "{ended}: {log}");
    world.finish().await;
    api.remove_image(&image, force, None).await.unwrap();
}
