//! `config` and `schema`: a repository file is checked, shown, and described.

use std::path::Path;
use std::process::Command;

use checkvalve::store::Queue;
use serde_json::{Value, json};

use super::bench::{Answer, Bench, WEATHER, answer};

const FILE: &str = ".github/checkvalve.yml";

/// The program in a folder that is in no repository.
fn outside(bench: &Bench, args: &[&str]) -> Answer {
    let place = bench.place("outside");
    std::fs::create_dir_all(&place).unwrap();
    answer(bench.command("checkvalve", args).current_dir(&place))
}

fn validates(bench: &Bench, name: &str, instance: &Value) {
    let schema = bench.run(&["schema", name]).exits(0).json();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(instance).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{instance:#}");
}

#[test]
fn a_file_that_is_right_is_summed_up() {
    let bench = Bench::new();
    bench.run(&["config", "check"]).exits(0).says(&[
        ".github/checkvalve.yml is right\n",
        "configuration: .github/checkvalve.yml in the work tree\n",
        "5 connectors\n",
        "  4 by airbyte-integrations/connectors/{name}/metadata.yaml · kind source\n",
        "  1 by airbyte-integrations/connectors/{name}/metadata.yaml · kind destination\n",
        "2 pipelines\n  7 steps for kind source\n",
        "claims: all connectors\n",
    ]);
    // A file that stands in for it, for the same tree.
    let file = bench.place("other.yml");
    std::fs::write(&file, "preset: airbyte\nconnectors: [{ match: \"x/{name}/y\" }]\n").unwrap();
    for args in [
        ["config", "check", file.to_str().unwrap()].as_slice(),
        ["--pipelines", file.to_str().unwrap(), "config", "check"].as_slice(),
    ] {
        bench.run(args).exits(0).says(&["5 connectors\n", "  0 by x/{name}/y\n", "  5 by "]);
    }
    let scheduled = "preset: airbyte\npipelines:\n  - on: [push, schedule]\n    steps: [{ id: a, \
                     image: x, run: y }]\nschedules: [{ cron: 0 2 * * mon, select: { name: source-* } }]\n";
    std::fs::write(&file, scheduled).unwrap();
    bench.run(&["config", "check", file.to_str().unwrap()]).exits(0).says(&[
        "  1 step for every connector on push, schedule\n",
        "1 schedule\n  0 2 * * mon for name source-*\n",
    ]);
}

#[test]
fn every_error_is_named_with_its_line_and_mend() {
    let bench = Bench::new();
    bench.write(FILE, "version: 1\nconectors: []\nunclaimed: al\npipelines:\n  - stpes: []\n");
    bench.run(&["config", "check"]).exits(2).complains(&[
        "error: 4 errors in .github/checkvalve.yml\n",
        ".github/checkvalve.yml:2:1: the file has no key `conectors`\n 2 | conectors: []\n   | ^\n \
         did you mean `connectors`?\n",
        ".github/checkvalve.yml:3:12: `unclaimed` can't be `al`",
        ".github/checkvalve.yml:5:5: a pipeline has no key `stpes`",
        "add `steps:`",
    ]);
    bench.write(FILE, "components:\n\t- name: a\n");
    bench.run(&["config", "check"]).exits(2).complains(&["one error", ":2:2: a tab indents"]);
    std::fs::write(bench.repo().join(FILE), b"# caf\xe9\n").unwrap();
    for command in [["config", "check"].as_slice(), &["list", "--all"], &["config", "show"]] {
        bench.run(command).exits(2).complains(&["checkvalve.yml:1:6", "0xe9", "UTF-8"]);
    }
}

#[test]
fn a_file_by_itself_needs_no_repository() {
    let bench = Bench::new();
    let file = bench.place("lone.yml");
    let name = file.to_str().unwrap();
    std::fs::write(&file, "preset: estuary\n").unwrap();
    outside(&bench, &["config", "check", name]).exits(0).says(&[
        "lone.yml is right\n",
        "  {name}/pyproject.toml · kind python · depends pyproject-path\n",
    ]);
    std::fs::write(&file, "unclaimed: none\n").unwrap();
    outside(&bench, &["config", "check", name]).exits(0).says(&["no tree was looked at"]);
    std::fs::write(&file, "preset: none\n").unwrap();
    outside(&bench, &["config", "check", name]).exits(2).complains(&["lone.yml:1:1"]);
    outside(&bench, &["config", "check", "nowhere.yml"]).exits(2).complains(&["nowhere.yml"]);
    outside(&bench, &["config", "check"]).exits(2).complains(&["--repo DIR"]);
    let elsewhere = ["--repo", "/proc", "config", "check", name];
    outside(&bench, &elsewhere).exits(2).complains(&["/proc"]);
}

#[test]
fn a_bare_repository_is_looked_at_as_it_is_committed() {
    let bench = Bench::new();
    let bare = bench.place("bare");
    let done = Command::new("git")
        .args(["clone", "--quiet", "--bare"])
        .args([bench.repo().as_path(), bare.as_path()])
        .status();
    assert!(done.unwrap().success());
    let answer = outside(&bench, &["--repo", bare.to_str().unwrap(), "config", "check"]).exits(0);
    answer.says(&["5 connectors\n", "checkvalve.yml at "]);
    std::fs::remove_file(bench.repo().join(FILE)).unwrap();
    let head = bench.commit("Without a file");
    let update = ["push", "--quiet", bare.to_str().unwrap(), "HEAD:main"];
    bench.git(&update);
    let answer = outside(&bench, &["--repo", bare.to_str().unwrap(), "config", "check"]).exits(0);
    answer.says(&[
        "there is no .github/checkvalve.yml, and none is needed\n",
        &format!("preset airbyte, recognised at {}", &head[..12]),
    ]);
}

/// What is shown, used instead of the file, means the same.
pub(crate) fn shows_the_same(bench: &Bench, origins: &[&str]) {
    let shown = bench.run(&["config", "show"]).exits(0).says(origins).out;
    let file = bench.place("shown.yml");
    std::fs::write(&file, &shown).unwrap();
    let file = file.to_str().unwrap();
    let list = |args: &[&str]| bench.run(&[args, &["list", "--all", "--json"]].concat()).json();
    let plan = |args: &[&str]| bench.run(&[args, &["plan", "--all", "--json"]].concat()).json();
    let instead = ["--pipelines", file];
    assert_eq!(list(&[])["connectors"], list(&instead)["connectors"]);
    assert_eq!(plan(&[])["jobs"], plan(&instead)["jobs"]);
    let again = bench.run(&[&instead[..], &["config", "show"]].concat()).exits(0).out;
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&shown), values(&again));
}

#[test]
fn what_is_shown_reads_back_to_the_same() {
    let bench = Bench::new();
    shows_the_same(
        &bench,
        &[
            "# .github/checkvalve.yml in the work tree\n",
            "version: 1  # .github/checkvalve.yml:2\n",
            "  - kind: source  # .github/checkvalve.yml:9\n",
        ],
    );
    // With Airbyte's conventions: archived ones, languages, documentation pages.
    bench.write(FILE, "pipelines:\n  - steps: [{ id: unit, image: x, run: b }]\n");
    shows_the_same(
        &bench,
        &[
            "(preset airbyte, recognised)",
            "preset: none  # preset airbyte, which is written out here\n",
            "    conventions: airbyte  # preset airbyte\n",
            "      - id: unit  # .github/checkvalve.yml:2\n",
            "unclaimed: none  # preset airbyte\n",
        ],
    );
    let json = bench.run(&["config", "show", "--json"]).exits(0).json();
    assert_eq!(json["file"]["connectors"][0]["conventions"], "airbyte");
    assert_eq!(json["origins"]["/pipelines/0/steps/0/run"], ".github/checkvalve.yml:2");
}

#[test]
fn connectors_of_one_file_are_listed_and_affected() {
    let bench = Bench::new();
    for old in ["airbyte-integrations", ".github", "tools"] {
        std::fs::remove_dir_all(bench.repo().join(old)).unwrap();
    }
    bench.write("tinybird_cdk/__init__.py", "");
    bench.write("tinybird_cdk/connectors/__init__.py", "");
    bench.write("tinybird_cdk/connectors/s3.py", "class Connector: pass\n");
    bench.write("tinybird_cdk/connectors/mysql.py", "class Connector: pass\n");
    bench.write("tests/connectors/cloud/s3/test_s3.py", "pass\n");
    let base = bench.commit("A CDK");
    let list = bench.run(&["list", "--all", "--json"]).exits(0).json();
    assert_eq!(list["origin"], "preset tinybird, recognised in the work tree");
    assert_eq!(list["connectors"][2]["root"], "tinybird_cdk/connectors/s3.py");
    bench.write("tinybird_cdk/connectors/s3.py", "class Connector: ...\n");
    let affected = |base: &str| {
        let answer = bench.run(&["affected", "--base", base, "--json"]).exits(0).json();
        let names = answer["connectors"].as_array().unwrap().iter();
        names.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(affected(&base), ["s3"]);
    let base = bench.commit("s3");
    bench.write("tests/connectors/cloud/s3/test_s3.py", "pass # more\n");
    assert_eq!(affected(&base), ["s3"]);
    let base = bench.commit("Tests");
    bench.write("requirements.txt", "boto3\n");
    assert_eq!(affected(&base), ["core", "mysql", "s3"]);
}

#[test]
fn schemas_describe_what_is_printed() {
    let bench = Bench::new();
    let file = std::fs::read_to_string(bench.repo().join(FILE)).unwrap();
    validates(&bench, "repository-file", &serde_saphyr::from_str(&file).unwrap());
    let by_config = bench.run(&["config", "schema"]).exits(0).json();
    assert_eq!(by_config, bench.run(&["schema", "repository-file"]).exits(0).json());
    bench.write(&format!("{WEATHER}/main.py"), "# changed\n");
    bench.write("elsewhere", "claimed by nothing\n");
    let shown = bench.run(&["config", "show", "--json"]).exits(0).json();
    validates(&bench, "repository-file", &shown["file"]);
    for (name, args) in [
        ("affected", ["affected", "--json"].as_slice()),
        ("affected", &["affected", "--json", "--explain", "source-slow"]),
        ("list", &["list", "--all", "--json"]),
        ("plan", &["plan", "--modified", "--json"]),
    ] {
        validates(&bench, name, &bench.run(args).exits(0).json());
    }
    let queue = Queue {
        idle: false,
        queued: 1,
        running: 0,
        oldest_seconds: 3,
        deliveries_pending: 0,
        checks_pending: 2,
    };
    validates(&bench, "queue", &serde_json::to_value(queue).unwrap());
}

/// The run's schema against the step that the API's snapshot holds.
#[test]
fn the_schema_of_a_run_describes_its_steps() {
    let bench = Bench::new();
    let schema = bench.run(&["schema", "run"]).exits(0).json();
    jsonschema::meta::validate(&schema).unwrap();
    let steps = "/properties/connectors/items/properties/steps/items";
    let validator = jsonschema::draft202012::new(schema.pointer(steps).unwrap()).unwrap();
    let path = "tests/render/snapshots/render__reports__the_api_of_a_run.snap";
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let snapshot = std::fs::read_to_string(snapshot).unwrap();
    let mut step: Value = serde_json::from_str(snapshot.splitn(3, "---").nth(2).unwrap()).unwrap();
    validator.validate(&step).unwrap();
    step["outcome"] = json!("unknown");
    assert!(!validator.is_valid(&step));
}

#[test]
fn an_unknown_schema_is_a_usage_error() {
    let bench = Bench::new();
    bench.run(&["schema", "afected"]).exits(2).complains(&["did you mean `affected`?"]);
    bench.run(&["schema", "x"]).exits(2).complains(&["repository-file, affected, list, plan"]);
    bench.run(&["schema"]).exits(2).complains(&["<NAME>"]);
    bench.run(&["config"]).exits(2).complains(&["check", "schema", "show"]);
}
