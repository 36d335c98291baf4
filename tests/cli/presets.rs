//! What each preset plans for connectors of each kind, where there is no repository file, and how a
//! file changes it.

use std::process::Command;

use super::bench::Bench;
use super::config::shows_the_same;

/// A connector of Airbyte's layout: its name, its language's tag and its files.
const AIRBYTE: &[(&str, &str, &[&str])] = &[
    ("destination-kotlin", "java", &["src/main/kotlin/A.kt", "src/test/kotlin/ATest.kt"]),
    ("source-bare", "python", &["pyproject.toml", "unit_tests/conftest.py"]),
    ("source-low", "low-code", &["source_low/manifest.yaml", "unit_tests/deep/low_test.py"]),
    ("source-manifest", "manifest-only", &["manifest.yaml", "acceptance-test-config.yml"]),
    ("source-other", "ruby", &["Gemfile"]),
    (
        "source-python",
        "python",
        &[
            "acceptance-test-config.yml",
            "integration_tests/test_read.py",
            "setup.py",
            "unit_tests/test_source.py",
        ],
    ),
    ("source-tested", "manifest-only", &["manifest.yaml", "unit_tests/pyproject.toml"]),
];

const ESTUARY: &[&str] = &[
    "estuary-cdk/pyproject.toml",
    "fetch-flow.sh",
    "go.mod",
    "go/common/log.go",
    "source-go/Dockerfile",
    "source-go/VERSION",
    "source-go/main.go",
    "source-python/pyproject.toml",
    "source-python/tests/test_snapshots.py",
    "source-rust/Cargo.toml",
    "source-rust/Dockerfile",
    "source-rust/VERSION",
];

const TINYBIRD: &[&str] = &[
    "requirements.txt",
    "tests/connectors/cloud/s3/test_s3.py",
    "tests/core/test_errors.py",
    "tinybird_cdk/__init__.py",
    "tinybird_cdk/connectors/__init__.py",
    "tinybird_cdk/connectors/s3.py",
];

const AIRFLOW: &[&str] = &[
    "airflow-content-syncer/Dockerfile",
    "airflow-customized/Dockerfile",
    "dags/rollout.py",
    "mypy.ini",
    "plugins/operators/rollout.py",
    "rollout-dashboard/Dockerfile",
    "rollout-dashboard/server/Cargo.toml",
    "shared/dfinity/ic_types.py",
    "tests/test_dag_loads.py",
];

/// A repository of these files, without a repository file.
fn bench(files: &[&str]) -> Bench {
    let bench = Bench::new();
    let emptied = Command::new("git").arg("-C").arg(bench.repo()).args(["rm", "-rq", "."]).status();
    assert!(emptied.unwrap().success());
    for file in files {
        bench.write(file, "");
    }
    bench.commit("Another layout");
    bench.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    bench
}

fn airbyte() -> Bench {
    let bench = bench(&[]);
    for (name, language, files) in AIRBYTE {
        let root = format!("airbyte-integrations/connectors/{name}");
        let metadata = format!("data:\n  name: A\n  tags: [\"language:{language}\"]\n");
        bench.write(&format!("{root}/metadata.yaml"), &metadata);
        for file in *files {
            bench.write(&format!("{root}/{file}"), "");
        }
    }
    bench.commit("Connectors");
    bench
}

fn planned(bench: &Bench) -> String {
    let out = bench.run(&["plan", "--all"]).exits(0).out;
    let (plans, notes) = out.split_once("\nconfiguration: ").unwrap();
    assert!(!notes.contains("no pipeline is for"), "{notes}");
    plans.to_owned()
}

#[test]
fn airbyte_has_a_pipeline_for_every_kind_of_connector() {
    let bench = airbyte();
    insta::assert_snapshot!(planned(&bench));
    shows_the_same(&bench, &["# preset airbyte, recognised", "uses: acceptance  # preset airbyte"]);
}

#[test]
fn estuary_has_a_pipeline_for_each_language() {
    let bench = bench(ESTUARY);
    insta::assert_snapshot!(planned(&bench));
    shows_the_same(&bench, &["# preset estuary, recognised", "from: compile  # preset estuary"]);
}

#[test]
fn tinybird_has_a_pipeline_for_connectors_and_for_what_they_share() {
    let bench = bench(TINYBIRD);
    insta::assert_snapshot!(planned(&bench));
    shows_the_same(&bench, &["# preset tinybird, recognised", "id: import  # preset tinybird"]);
}

#[test]
fn airflow_has_a_pipeline_for_each_of_its_units() {
    let bench = bench(AIRFLOW);
    insta::assert_snapshot!(planned(&bench));
    shows_the_same(&bench, &["# preset airflow, recognised", "id: dags  # preset airflow"]);
}

#[test]
fn every_dag_is_imported_whenever_dags_or_what_they_import_changes() {
    for path in ["dags/new.py", "plugins/sensors/new.py", "shared/dfinity/new.py"] {
        let bench = bench(AIRFLOW);
        bench.write(path, "");
        let plan = bench.run(&["plan", "--modified", "--json"]).exits(0).json();
        assert_eq!(plan["jobs"].as_array().unwrap().len(), 1, "{path}");
        let job = &plan["jobs"][0]["plan"];
        assert_eq!(job["connector"], "airflow-content", "{path}");
        let step = &job["steps"][0];
        assert_eq!((&step["id"], &step["network"]), (&"dags".into(), &"none".into()), "{path}");
        assert!(step["image"].as_str().unwrap().starts_with("apache/airflow:"), "{path}");
    }
}

#[test]
fn a_file_names_other_images_for_the_presets_steps() {
    let bench = airbyte();
    let file = "preset: airbyte\nimages:\n  \"python:3.11\": registry.example.com/python:3.11\n  \
                pyton:3.11: x\n";
    bench.write(".github/checkvalve.yml", file);
    let plan = bench.run(&["plan", "--all", "--json"]).exits(0).json();
    let steps = plan["jobs"].as_array().unwrap().iter();
    let steps = steps.flat_map(|job| job["plan"]["steps"].as_array().unwrap().clone());
    let mut images: Vec<String> =
        steps.map(|step| step["image"].as_str().unwrap().to_owned()).collect();
    images.sort();
    images.dedup();
    assert_eq!(images, ["", "eclipse-temurin:21-jdk", "registry.example.com/python:3.11"]);
    bench
        .run(&["config", "check"])
        .exits(0)
        .says(&["line 4: no step has the image `pyton:3.11`; did you mean `python:3.11`?"]);
    shows_the_same(
        &bench,
        &["  \"python:3.11\": \"registry.example.com/python:3.11\"  # .github/checkvalve.yml:3\n"],
    );
}

#[test]
fn a_files_pipeline_goes_before_the_presets() {
    let bench = airbyte();
    let file = "preset: airbyte\npipelines:\n  - for: { language: python }\n    steps:\n      \
                - { id: mine, image: x, run: make }\n";
    bench.write(".github/checkvalve.yml", file);
    let plan = bench.run(&["plan", "--all", "--json"]).exits(0).json();
    for job in plan["jobs"].as_array().unwrap() {
        let first = job["plan"]["steps"][0]["id"].as_str().unwrap();
        let python = ["source-bare", "source-python"].contains(&job["connector"].as_str().unwrap());
        assert_eq!(first, if python { "mine" } else { "qa" }, "{}", job["connector"]);
    }
}
