//! `list`, `affected`, `plan`: what is selected, and why.

use serde_json::{Value, json};

use super::bench::{Bench, WEATHER};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn connectors_are_listed_with_what_is_known_of_them() {
    let bench = Bench::new();
    let list = bench.run(&["list", "--all", "--json"]).exits(0).json();
    assert_eq!(
        names(&list["connectors"]),
        ["destination-ledger", "source-orders", "source-shop", "source-slow", "source-weather"]
    );
    let weather = &list["connectors"][4];
    assert_eq!(
        (&weather["root"], &weather["language"], &weather["release_stage"], &weather["version"]),
        (&json!(WEATHER), &json!("python"), &json!("alpha"), &json!("0.1.0"))
    );
    bench.run(&["list", "--all"]).exits(0).says(&["source-weather", "community", WEATHER]);
}

#[test]
fn kinds_of_option_narrow_and_values_of_one_widen() {
    let bench = Bench::new();
    let selected = |args: &[&str]| {
        let args = [&["list", "--json"], args].concat();
        let list = bench.run(&args).exits(0).json();
        names(&list["connectors"]).join(" ")
    };
    assert_eq!(selected(&["--support-level", "certified"]), "source-orders source-shop");
    assert_eq!(
        selected(&["--release-stage", "alpha", "--release-stage", "beta", "--kind", "source"]),
        "source-slow source-weather"
    );
    assert_eq!(selected(&["--name", "source-slow", "source-shop"]), "source-shop source-slow");
    assert_eq!(selected(&["--language", "cobol"]), "", "a filter may match nothing");
}

#[test]
fn what_can_not_be_selected_is_a_usage_error() {
    let bench = Bench::new();
    bench
        .run(&["list", "--name", "source-wether"])
        .exits(2)
        .complains(&["source-wether", "did you mean `source-weather`?"]);
    for command in ["list", "plan", "test"] {
        bench.run(&[command]).exits(2).complains(&["say which connectors", "--modified"]);
    }
    bench.run(&["list", "--base", "main"]).exits(2).complains(&["--modified"]);
    bench.run(&["lisst", "--all"]).exits(2).complains(&["list"]);
    bench.run(&["affected", "--base", "nowhere"]).exits(2).complains(&["nowhere"]);
    bench.run(&["--repo", "/proc", "list", "--all"]).exits(2).complains(&["/proc", "--repo DIR"]);
    bench
        .run(&["--pipelines", "/nowhere.yml", "list", "--all"])
        .exits(2)
        .complains(&["--pipelines", "/nowhere.yml"]);
}

#[test]
fn modified_needs_something_to_compare_with() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/main.py"), "# changed\n");
    for args in [&["--modified"][..], &["--modified", "--base", "main"]] {
        let list = bench.run(&[&["list", "--json"], args].concat()).exits(0).json();
        assert_eq!(names(&list["connectors"]), ["source-weather"]);
    }
    bench.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    for command in [&["list", "--modified"][..], &["test", "--modified"], &["affected"]] {
        bench.run(command).exits(2).complains(&["--base"]);
    }
    bench.run(&["list", "--modified", "--base", "main"]).exits(0);
}

#[test]
fn affected_answers_with_exactly_the_promised_fields() {
    let bench = Bench::new();
    let base = bench.git(&["rev-parse", "HEAD"]);
    bench.git(&["rm", "-r", "--quiet", "airbyte-integrations/connectors/source-slow"]);
    bench.write("airbyte-integrations/connectors/source-new/metadata.yaml", "data: {}\n");
    bench.write("airbyte-integrations/bases/connector-commons/connector_commons/money.py", "#\n");
    bench.write("docs/guides/adding-a-connector.md", "ignored\n");
    let head = bench.commit("Change");
    let answer = bench.run(&["affected", "--json"]).exits(0).json();
    let mut keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let promised = ["base", "complete", "connectors", "files", "head", "merge_base", "unclaimed"];
    assert_eq!(keys, promised);
    assert_eq!(
        (&answer["base"], &answer["head"], &answer["merge_base"]),
        (&json!(base), &json!(head), &json!(base))
    );
    assert_eq!((&answer["complete"], &answer["unclaimed"]), (&json!(true), &json!([])));
    let connectors = answer["connectors"].as_array().unwrap();
    let facts: Vec<(&str, &str)> = connectors
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["change"].as_str().unwrap()))
        .collect();
    assert_eq!(
        facts,
        [
            ("destination-ledger", "modified"),
            ("source-new", "added"),
            ("source-shop", "modified"),
            ("source-slow", "removed"),
        ]
    );
    let commons = "airbyte-integrations/bases/connector-commons";
    assert_eq!(
        connectors[2],
        json!({
            "name": "source-shop",
            "root": "airbyte-integrations/connectors/source-shop",
            "change": "modified",
            "reasons": [{
                "path": format!("{commons}/connector_commons/money.py"),
                "rule": "impact",
                "via": [format!("{commons}/**")],
            }],
        })
    );
    let commits = bench.run(&["affected", "--json", "--base", &base, "--head", &head]);
    assert_eq!(commits.exits(0).json(), answer);
    let planned = bench.run(&["plan", "--modified", "--json"]).exits(0);
    assert!(!planned.out.contains("\"connector\": \"source-slow\""), "what is removed never runs");
}

#[test]
fn untracked_and_staged_files_count_and_commits_can_be_asked_for_alone() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/untracked.py"), "#\n");
    bench.write("airbyte-integrations/connectors/source-slow/staged.py", "#\n");
    bench.git(&["add", "airbyte-integrations/connectors/source-slow"]);
    let answer = bench.run(&["affected", "--json"]).exits(0).json();
    assert_eq!(names(&answer["connectors"]), ["source-slow", "source-weather"]);
    let answer = bench.run(&["affected", "--json", "--head", "HEAD"]).exits(0).json();
    assert_eq!((&answer["connectors"], &answer["files"]), (&json!([]), &json!(0)));
}

#[test]
fn a_selection_is_explained() {
    let bench = Bench::new();
    bench.write("tools/run_tests.py", "#\n");
    bench.run(&["affected", "--explain", "source-shop"]).exits(0).says(&[
        "source-shop is selected",
        "tools/run_tests.py matches impact rule tools/**",
        "rules that looked at it",
    ]);
    bench
        .run(&["affected", "--explain", "source-shopp"])
        .exits(2)
        .complains(&["did you mean `source-shop`?"]);
    let answer = bench.run(&["affected", "--json", "--explain", "source-shop"]).exits(0).json();
    assert_eq!(answer["explain"]["selected"], true);
}

#[test]
fn what_a_change_reaches_is_told_by_its_reason() {
    let bench = Bench::new();
    bench.git(&["rm", "-r", "--quiet", "airbyte-integrations/connectors/source-slow"]);
    bench.write("tools/run_tests.py", "#\n");
    bench.write(&format!("{WEATHER}/ma\u{1b}[31min.py"), "#\n");
    let affected = bench.run(&["affected"]).exits(0);
    assert!(!affected.out.contains('\u{1b}'), "{}", affected.out);
    affected.says(&[
        "4 connectors affected by",
        "3 connectors: tools/run_tests.py matches impact rule tools/**\n",
        "destination-ledger, source-orders, source-shop",
        "\nsource-weather\n",
        "lies in its folder",
        "removed, and not run: source-slow",
        "configuration: .github/checkvalve.yml in the work tree",
    ]);
    bench
        .run(&["affected", "--explain", "source-slow"])
        .exits(0)
        .says(&["source-slow is not selected", "removed: it is gone at head"]);

    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/main.py"), "#\n");
    bench.run(&["affected"]).exits(0).says(&["4 connectors not selected: `--explain NAME`"]);
    bench.run(&["affected", "--explain", "source-shop"]).exits(0).says(&[
        "source-shop is not selected",
        "root airbyte-integrations/connectors/source-shop: none of 1 changed path lies in it",
        "tools/**: none of 1 changed path matches",
        "unclaimed: every changed path is claimed or ignored",
    ]);
    bench.write("LOST", "#\n");
    bench.run(&["affected"]).exits(0).says(&[
        "5 connectors affected",
        "4 connectors: LOST belongs to no connector, so every connector is tested",
        "1 changed file claimed by nothing, so every connector is tested:",
    ]);
}

#[test]
fn a_plan_is_shown_as_text_json_and_a_picture() {
    let bench = Bench::new();
    bench.run(&["plan", "--name", "source-weather"]).exits(0).says(&[
        "source-weather",
        "integration: ",
        "after unit, spec",
        "no network",
        "always",
    ]);
    let plan = bench.run(&["plan", "--name", "source-weather", "--json"]).exits(0).json();
    let steps = plan["jobs"][0]["plan"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    let picture = bench.place("plan.svg").display().to_string();
    bench.run(&["plan", "--name", "source-weather", "--svg", &picture]).exits(0);
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("integration"), "{svg}");
    bench.run(&["plan", "--all", "--svg", &picture]).exits(2).complains(&["name one connector"]);
    bench
        .run(&["plan", "--name", "source-weather", "--svg", "/nowhere/plan.svg"])
        .exits(3)
        .complains(&["/nowhere/plan.svg"]);
    bench.run(&["plan", "--language", "cobol"]).exits(0).says(&["nothing would run"]);
}

#[test]
fn a_wrong_repository_file_is_named_with_line_and_mend() {
    let bench = Bench::new();
    bench.write(".github/checkvalve.yml", "version: 1\nconectors: []\n");
    for command in [&["list", "--all"][..], &["test", "--all"], &["affected"]] {
        bench.run(command).exits(2).complains(&[".github/checkvalve.yml:2:1", "`connectors`"]);
    }
}
