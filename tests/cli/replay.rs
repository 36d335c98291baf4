//! `replay`: the same plan, from nothing but what the run wrote down.

use std::path::PathBuf;

use serde_json::Value;

use super::bench::{Answer, Bench, WEATHER, answer};

/// Runs a little, and answers where its `replay.json` is.
fn ran(bench: &Bench, args: &[&str]) -> (PathBuf, Value) {
    let dir = bench.place("reports");
    let shown = dir.display().to_string();
    let test = ["test", "--executor", "host", "--only", "spec", "--report-dir", &shown];
    bench.run(&[&test[..], args].concat()).exits(0);
    let file = dir.join("replay.json");
    let replay = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    (file, replay)
}

/// In a folder without a repository, and without git.
fn replay(bench: &Bench, args: &[&str]) -> Answer {
    let place = bench.place("nowhere");
    std::fs::create_dir_all(&place).unwrap();
    let mut command = bench.command("checkvalve", &[&["replay"], args].concat());
    answer(command.current_dir(place).env("PATH", "/nonexistent"))
}

#[test]
fn the_same_plan_comes_of_what_was_written_down() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/notes.py"), "# new, and not committed\n");
    for args in [&["--modified"][..], &["--name", "source-weather", "source-shop"], &["--all"]] {
        let (file, written) = ran(&bench, args);
        let hash = written["plan_hash"].as_str().unwrap();
        let again = replay(&bench, &[file.to_str().unwrap()]).exits(0);
        assert_eq!(again.out.trim(), hash, "{args:?}");
        let index = std::fs::read_to_string(file.with_file_name("index.html")).unwrap();
        assert!(index.contains(hash), "the report shows it");
        let json = replay(&bench, &[file.to_str().unwrap(), "--json"]).exits(0).json();
        assert_eq!((&json["plan_hash"], &json["same"]), (&hash.into(), &true.into()));
        let plans: Vec<&Value> =
            written["plans"].as_array().unwrap().iter().map(|plan| &plan["plan"]).collect();
        assert_eq!(json["plans"].as_array().unwrap().iter().collect::<Vec<_>>(), plans);
    }
    // Not the plans that it has are told, but those that it comes to.
    let (file, mut written) = ran(&bench, &["--modified"]);
    written["plans"] = Value::Array(vec![]);
    std::fs::write(&file, written.to_string()).unwrap();
    replay(&bench, &[file.to_str().unwrap()]).exits(0);
}

/// Earlier versions wrote down every path of the tree.
#[test]
fn a_file_with_the_whole_tree_is_planned_from_as_well() {
    let bench = Bench::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/replay-whole.json");
    let written: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(written["planning"]["head"]["files"]["source-b"].is_object(), "nobody planned it");
    let again = replay(&bench, &[file]).exits(0);
    assert_eq!(again.out.trim(), written["plan_hash"].as_str().unwrap());
}

#[test]
fn another_configuration_or_content_is_another_plan_and_that_is_said() {
    let bench = Bench::new();
    let (file, written) = ran(&bench, &["--name", "source-weather"]);
    let path = file.to_str().unwrap().to_owned();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut written = written.clone();
        change(&mut written["planning"]);
        std::fs::write(&file, written.to_string()).unwrap();
        replay(&bench, &[&path])
    };
    let configured = changed(&|planning| {
        let contents = planning["contents"].as_object_mut().unwrap();
        let (_, content) = contents.iter_mut().next().unwrap();
        let text = content["text"].as_str().unwrap();
        assert!(text.contains("pipelines:"), "the repository file: {text}");
        content["text"] = text.replace("python3", "python4").into();
    });
    configured.exits(1).complains(&["the run's plan was another one", "source-weather is planned"]);
    let content = changed(&|planning| {
        for (_, digest) in planning["digests"].as_object_mut().unwrap() {
            *digest = "0".repeat(64).into();
        }
    });
    content.exits(1).complains(&["source-weather is planned otherwise"]);
    changed(&|planning| planning["version"] = 99.into())
        .exits(2)
        .complains(&["is of version 99", "the version of Checkvalve that wrote it"]);
    std::fs::write(&file, "{").unwrap();
    replay(&bench, &[&path]).exits(2).complains(&["no replay.json"]);
    replay(&bench, &["/nonexistent"]).exits(2).complains(&["can't be read"]);
}
