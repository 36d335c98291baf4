//! Presets: how they are recognised, how a file adds to one, and what they make of a tree.

use checkvalve::config::repository::{FILE, resolve, resolved};
use checkvalve::domain::catalog::{Paths, discover};
use checkvalve::domain::rules::{Preset, RepoRules, Unclaimed};

use super::refused;

fn tree(paths: &[&str]) -> Paths {
    Paths::new(paths.iter().map(|&path| path.to_owned()).collect())
}

fn airbyte() -> Paths {
    tree(&["airbyte-integrations/connectors/source-a/metadata.yaml"])
}

fn estuary() -> Paths {
    tree(&[
        "estuary-cdk/pyproject.toml",
        "go/common/log.go",
        "materialize-boilerplate/boilerplate.go",
        "materialize-iceberg/Dockerfile",
        "materialize-iceberg/VERSION",
        "materialize-iceberg/python/pyproject.toml",
        "source-asana/VERSION",
        "source-asana/Dockerfile",
        "source-asana/pyproject.toml",
        "source-boilerplate/boilerplate.go",
        "source-kafka/Cargo.toml",
        "source-kafka/Dockerfile",
        "source-kafka/VERSION",
    ])
}

fn tinybird() -> Paths {
    tree(&[
        "tests/core/test_errors.py",
        "tinybird_cdk/__init__.py",
        "tinybird_cdk/connectors/__init__.py",
        "tinybird_cdk/connectors/s3.py",
        "tinybird_cdk/connectors/mysql.py",
        "tinybird_cdk/errors.py",
    ])
}

fn airflow() -> Paths {
    tree(&[
        "airflow-content-syncer/Dockerfile",
        "airflow-customized/Dockerfile",
        "dags/rollout.py",
        "plugins/operators/rollout.py",
        "rollout-dashboard/server/Cargo.toml",
    ])
}

/// Names with their kinds, and what there is of components.
fn found(rules: &RepoRules, paths: &Paths) -> Vec<String> {
    let draft = discover(rules, paths);
    let mut found: Vec<String> = draft.components().map(str::to_owned).collect();
    let catalog = draft.finish(|_| None);
    found.retain(|name| catalog.named(name).is_some());
    let kind = |c: &checkvalve::domain::catalog::Connector| {
        format!("{} {} {}", c.name, c.kind.as_deref().unwrap_or("-"), c.root)
    };
    catalog.iter().map(kind).collect()
}

#[test]
fn each_layout_is_recognised_by_its_own_signs_alone() {
    for (paths, preset) in [
        (airbyte(), Preset::Airbyte),
        (estuary(), Preset::Estuary),
        (tinybird(), Preset::Tinybird),
        (airflow(), Preset::Airflow),
    ] {
        let rules = resolve(None, "at 1a2b3c", &paths).unwrap();
        assert_eq!(rules.preset, preset);
        assert_eq!(rules.origin, format!("preset {preset}, recognised at 1a2b3c"));
    }
}

#[test]
fn what_only_looks_like_a_layout_is_none() {
    for paths in [
        tree(&["README.md"]),
        // A monorepo that has DAGs, among other things.
        tree(&["dags/etl.py", "plugins/operators/x.py", "services/api/Dockerfile"]),
        tree(&["dags/README.md", "plugins/x.py", "airflow-customized/Dockerfile"]),
        tree(&["services/dags/etl.py", "plugins/x.py", "airflow-customized/Dockerfile"]),
        // Connectors by name, but nothing of the shared library; and the other way round.
        tree(&["source-a/VERSION", "source-a/Dockerfile"]),
        tree(&["estuary-cdk/pyproject.toml", "source-a/README.md"]),
        tree(&["libs/source-a/VERSION", "estuary-cdk/pyproject.toml"]),
        tree(&["tinybird_cdk/__init__.py", "tinybird_cdk/connectors/__init__.py"]),
        tree(&["tinybird_cdk/connectors/s3.py"]),
        tree(&["airbyte-integrations/README.md"]),
    ] {
        let error = resolve(None, "here", &paths).unwrap_err().to_string();
        assert!(error.contains("there is no `.github/checkvalve.yml`"), "{error}");
        let error = resolve(Some((FILE, "version: 1")), "here", &paths).unwrap_err().to_string();
        assert!(error.contains("the layout is not a known one"), "{error}");
    }
}

#[test]
fn a_tree_of_two_layouts_must_say_which_counts() {
    let both: Vec<String> = airbyte().iter().chain(airflow().iter()).map(str::to_owned).collect();
    let both = Paths::new(both);
    let error = resolve(None, "here", &both).unwrap_err().to_string();
    assert!(error.contains("looks like `airbyte` and `airflow`"), "{error}");
    let error = resolve(Some((FILE, "unclaimed: all")), "here", &both).unwrap_err().to_string();
    assert!(error.contains("add the `preset:` that counts"), "{error}");
    let rules = resolve(Some((FILE, "preset: airflow")), "here", &both).unwrap();
    assert_eq!(rules.preset, Preset::Airflow);
}

#[test]
fn a_misspelt_file_is_not_overlooked() {
    let misspelt = tree(&[".github/checkvalve.yaml"]);
    let error = resolve(None, "here", &misspelt).unwrap_err().to_string();
    assert!(error.contains("rename it to `.github/checkvalve.yml`"), "{error}");
}

#[test]
fn estuary_has_three_kinds_and_none_that_only_looks_like_one() {
    let rules = resolve(None, "here", &estuary()).unwrap();
    assert_eq!(rules.unclaimed, Unclaimed::All);
    assert_eq!(
        found(&rules, &estuary()),
        [
            "materialize-iceberg go materialize-iceberg",
            "source-asana python source-asana",
            "source-kafka rust source-kafka",
        ]
    );
}

#[test]
fn a_connector_of_tinybird_is_one_file() {
    let rules = resolve(None, "here", &tinybird()).unwrap();
    assert_eq!(
        found(&rules, &tinybird()),
        [
            // Its patterns have no folder in common.
            "core core ",
            "mysql python tinybird_cdk/connectors/mysql.py",
            "s3 python tinybird_cdk/connectors/s3.py",
        ]
    );
    let catalog = discover(&rules, &tinybird()).finish(|_| None);
    let claims = |path: &str| -> Vec<String> {
        catalog.claims(path).iter().map(|claim| claim.connector.to_string()).collect()
    };
    assert_eq!(claims("tinybird_cdk/connectors/s3.py"), ["s3"]);
    assert_eq!(claims("tests/connectors/cloud/s3/test_s3.py"), ["s3"]);
    assert_eq!(claims("tinybird_cdk/errors.py"), ["core"]);
    assert_eq!(claims("tinybird_cdk/connectors/__init__.py"), [""; 0]);
}

#[test]
fn the_units_of_airflow_share_the_tree() {
    let rules = resolve(None, "here", &airflow()).unwrap();
    let catalog = discover(&rules, &airflow()).finish(|_| None);
    let claims = |path: &str| -> Vec<String> {
        catalog.claims(path).iter().map(|claim| claim.connector.to_string()).collect()
    };
    assert_eq!(catalog.len(), 4);
    assert_eq!(claims("dags/rollout.py"), ["airflow-content"]);
    assert_eq!(claims("README.md"), ["airflow-content"]);
    assert_eq!(claims("rollout-dashboard/README.md"), ["rollout-dashboard"]);
}

#[test]
fn a_file_adds_to_the_layout_that_is_recognised() {
    let text = "pipelines:\n  - steps: [{ id: a, image: x, run: y }]\nunclaimed: all\n";
    let rules = resolve(Some((FILE, text)), "here", &airbyte()).unwrap();
    assert_eq!((rules.preset, rules.unclaimed), (Preset::Airbyte, Unclaimed::All));
    assert_eq!(rules.origin, ".github/checkvalve.yml here (preset airbyte, recognised)");
    let text = "preset: airbyte\nconnectors: [{ match: \"x/{name}/y\" }]\n";
    let rules = resolve(Some((FILE, text)), "here", &Paths::default()).unwrap();
    assert_eq!(rules.connectors[0].marker.as_str(), "x/{name}/y");
    assert_eq!(rules.connectors.len(), 2);
    assert_eq!(rules.unclaimed, Unclaimed::None);
    assert_eq!(rules.origin, ".github/checkvalve.yml here (preset airbyte)");
    // Kinds may be the preset's; a component replaces the preset's of its name.
    let text = "preset: airflow\ncomponents: [{ name: Rollout-Dashboard, include: [web] }]\n\
                impact: [{ paths: [a], reaches: { kind: container } }]\n";
    let rules = resolve(Some((FILE, text)), "here", &Paths::default()).unwrap();
    assert_eq!(rules.components.len(), 4);
    assert_eq!(rules.components[0].include[0].as_str(), "web");
    let wrong = refused("preset: airflow\nimpact: [{ paths: [a], reaches: { kind: containers } }]");
    assert!(wrong.contains("did you mean `container`?"), "{wrong}");
}

#[test]
fn without_a_tree_a_layout_is_left_open() {
    let text = "impact: [{ paths: [a], reaches: { kind: go } }]\n";
    let open = resolved(Some(("x.yml", text)), "by itself", None).unwrap();
    assert_eq!(
        open.rules.notes,
        ["`x.yml` adds to the layout that its tree shows; no tree was looked at"]
    );
    let none = resolved(Some(("x.yml", "preset: none")), "by itself", None).unwrap_err();
    assert!(none.to_string().contains("says nothing of connectors"), "{none}");
}

#[test]
fn what_holds_is_shown_with_its_origins() {
    let text = "# ours\nignore: docs\nunclaimed: error\npipelines:\n  - for: { kind: container }\n    \
                steps:\n      - id: unit\n        image: \"python:3.10\"\n        \
                env: { A: 3.10 }\n        run: |\n          set -e\n          make test\n";
    let shown = resolved(Some((FILE, text)), "here", Some(&airflow())).unwrap();
    insta::assert_snapshot!(shown.to_yaml());
    let json = shown.to_json();
    assert_eq!(json["file"]["pipelines"][0]["steps"][0]["env"]["A"], "3.10");
    assert_eq!(json["origins"]["/unclaimed"], ".github/checkvalve.yml:3");
    assert_eq!(json["origins"]["/components/0/name"], "preset airflow");
    assert_eq!(json["origins"]["/version"], "preset airflow");
    assert_eq!(json["preset"], "airflow");
}
