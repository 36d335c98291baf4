//! `test` in containers: what is reused from call to call, what is not, and what Ctrl-C leaves.

use bollard::query_parameters::{ListContainersOptions, RemoveImageOptions, TagImageOptions};
use serde_json::{Value, json};

use super::bench::{Answer, Bench};
use super::images::{self, BUSYBOX};
use super::terminal::at_terminal;

/// Two connectors in files of their own, and steps of which one inherits from the other.
fn bench() -> (Bench, Vec<String>) {
    let bench = Bench::new();
    bench.write("c/one/x", "1\n");
    bench.write("c/two/x", "2\n");
    let file = bench.place("pipelines.yml");
    let text = format!(
        "version: 1\npreset: none\nconnectors: [{{ kind: x, match: \"c/{{name}}/x\" }}]\nunclaimed: \
         all\npipelines:\n  - steps:\n      - {{ id: install, image: \"{BUSYBOX}\", run: \"cp x \
         made\", network: none }}\n      - {{ id: unit, from: install, image: \"{BUSYBOX}\", run: \
         \"cat made; cp made $CHECKVALVE_OUT/kept.txt\", artifacts: [kept.txt], network: none }}\n"
    );
    std::fs::write(&file, text).unwrap();
    bench.commit("Connectors");
    (bench, vec!["--pipelines".to_owned(), file.display().to_string(), "test".to_owned()])
}

fn run(bench: &Bench, base: &[String], more: &[&str]) -> Answer {
    let base = base.iter().map(String::as_str);
    bench.run(&base.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// `connector/step=state` of the cache, for each.
fn caches(answer: &Answer) -> String {
    let end = answer.events().pop().unwrap();
    let mut told = Vec::new();
    for connector in end["connectors"].as_array().unwrap() {
        for step in connector["steps"].as_array().unwrap() {
            let (name, id) = (connector["name"].as_str(), step["id"].as_str());
            let state = step["cache"]["state"].as_str();
            told.push(format!("{}/{}={}", name.unwrap(), id.unwrap(), state.unwrap()));
        }
    }
    told.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_run_again() {
    let Some(_) = images::engine().await else { return };
    let (bench, base) = bench();
    let all = ["--all", "--format", "json"];
    let first = run(&bench, &base, &all).exits(0);
    let every = |state: &str| {
        let steps = ["one/install", "one/unit", "two/install", "two/unit"];
        steps.map(|step| format!("{step}={state}")).join(" ")
    };
    assert_eq!(caches(&first), every("miss"), "{}", first.out);
    let second = run(&bench, &base, &all).exits(0);
    assert_eq!(caches(&second), every("hit"), "{}", second.out);
    let origin = &first.events()[0]["id"];
    let step = second.events().into_iter().rfind(|event| event["type"] == "step").unwrap();
    let because = step["cache"]["because"].as_str().unwrap().to_owned();
    assert!(because.contains(origin.as_str().unwrap()), "{because}");
    // People are told, with the reason; and reports have what was left then.
    let dir = bench.place("reports");
    let shown = dir.display().to_string();
    let told = run(&bench, &base, &["--all", "--report-dir", &shown]).exits(0);
    told.says(&["one / unit: passed: reused from run", "2 steps, 2 of them reused"]);
    for file in ["unit/1/log.txt", "unit/1/artifacts/kept.txt"] {
        assert_eq!(std::fs::read_to_string(dir.join("one").join(file)).unwrap(), "1\n", "{file}");
    }
    // A work tree goes by what lies in it, committed or not.
    bench.write("c/one/x", "another\n");
    let changed = run(&bench, &base, &all).exits(0);
    let expected = "one/install=miss one/unit=miss two/install=hit two/unit=hit";
    assert_eq!(caches(&changed), expected, "{}", changed.out);
    let lines = run(&bench, &base, &["--name", "one", "--no-cache"]).exits(0);
    lines.says(&["one / install: running (the run was asked to reuse nothing)"]);
    bench.write("c/one/x", "1\n");
    assert_eq!(caches(&run(&bench, &base, &all).exits(0)), every("hit"), "as it was before");
    bench.git(&["checkout", "--quiet", "-b", "other"]);
    bench.write("elsewhere", "");
    bench.commit("Something else");
    assert_eq!(caches(&run(&bench, &base, &all).exits(0)), every("hit"), "on any branch");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_results_everything_runs_and_that_is_said() {
    let Some(_) = images::engine().await else { return };
    let (bench, base) = bench();
    std::fs::write(bench.place("file"), "").unwrap();
    let place = bench.place("file/state").display().to_string();
    let args: Vec<&str> = base.iter().map(String::as_str).chain(["--name", "one"]).collect();
    let answer = bench.run_with(&args, &[("CHECKVALVE_STATE_DIR", &place)]).exits(0);
    answer.says(&["nothing is reused, and nothing is kept for later", "one: passed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_no_container() {
    let Some(docker) = images::engine().await else { return };
    for times in [1, 2] {
        let bench = Bench::new();
        // An image of its own, by which its containers are known.
        let tag = format!("ctrl-c-{}", checkvalve::ambient::ulid()).to_lowercase();
        let (repo, image) = ("checkvalve-test/busybox", format!("checkvalve-test/busybox:{tag}"));
        let named = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag) };
        docker.tag_image(BUSYBOX, Some(named)).await.unwrap();
        let step = format!(
            "      - {{ id: unit, image: \"{image}\", run: \"trap '' TERM INT; while :; do sleep \
             0.1; done\", network: none }}\n"
        );
        let mut deeds = vec![json!(["wait", "▸ unit 3 s"]), json!(["key", "\u{3}"])];
        if times == 2 {
            deeds.extend([json!(["wait", "stopping; once more"]), json!(["key", "\u{3}"])]);
        }
        let deeds = Value::Array(deeds);
        let seen = at_terminal(&bench, (1, &step), (24, 80), (&[], &[]), &deeds).exits(130);
        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let all = docker.list_containers(Some(all)).await.unwrap();
        let left = all.iter().filter(|one| one.image.as_deref() == Some(image.as_str())).count();
        assert_eq!(left, 0, "{times}: {}", seen.told());
        docker.remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
    }
}
