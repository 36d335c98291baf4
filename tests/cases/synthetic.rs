//! Trees as the cases describe them: what is known of a layout's files, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::rows::{Facts, Row, State};
use super::tree::Tree;

/// Base and head of a row: the layout's trees, with the row's own files on each side.
pub(crate) fn with_files(row: &Row, mut base: Tree, mut head: Tree) -> (Tree, Tree) {
    for file in &row.files {
        match file.sides() {
            (Some(before), None) => {
                base.fill(before);
                head.remove(before);
            }
            (None, Some(after)) => {
                base.remove(after);
                head.fill(after);
            }
            (before, after) => {
                base.fill(before.unwrap());
                head.fill(after.unwrap());
                if before != after {
                    head.remove(before.unwrap());
                }
            }
        }
    }
    (base, head)
}

const GO_MODULE: &str = "github.com/estuary/connectors";

/// A flat repository: Go and Rust connectors beside Python ones, with shared Go packages.
pub(crate) fn estuary(state: &State) -> Tree {
    let mut tree = Tree::default();
    tree.put("go.mod", format!("module {GO_MODULE}\n\ngo 1.23\n"));
    for path in [
        "go.sum",
        "fetch-flow.sh",
        "connector-variant.Dockerfile",
        "base-image/Dockerfile",
        "tests/run.sh",
        "tests/materialize/run.sh",
        ".github/workflows/ci.yaml",
        ".github/workflows/python.yaml",
    ] {
        tree.fill(path);
    }
    for package in &state.go_packages {
        let name = package.rsplit('/').next().unwrap().replace('-', "_");
        tree.put(format!("{package}/lib.go"), format!("package {name}\n"));
    }
    for (name, facts) in &state.connectors {
        match facts.kind.as_str() {
            "python" => python_connector(&mut tree, name, facts),
            "go" => go_connector(&mut tree, name, facts),
            "rust" => {
                tree.put(format!("{name}/Cargo.toml"), format!("[package]\nname = \"{name}\"\n"));
                tree.put(format!("{name}/Dockerfile"), crate_dockerfile(name));
                tree.put(format!("{name}/VERSION"), "v1\n");
            }
            other => panic!("a connector of kind `{other}`"),
        }
        if !facts.variants.is_empty() {
            tree.put(format!("{name}/VARIANTS"), facts.variants.join("\n") + "\n");
        }
    }
    for shared in ["source-boilerplate", "materialize-boilerplate", "materialize-sql"] {
        tree.fill(&format!("{shared}/testdata/sample"));
    }
    tree
}

fn python_connector(tree: &mut Tree, name: &str, facts: &Facts) {
    let mut manifest = format!(
        "[tool.poetry]\nname = \"{}\"\n\n[tool.poetry.dependencies]\npython = \"^3.12\"\n",
        name.replace('-', "_")
    );
    for folder in &facts.deps {
        // `python` is the interpreter's own key.
        let key = if folder == "python" { "flow-sdk" } else { folder };
        writeln!(manifest, "{key} = {{path=\"../{folder}\", develop = true}}").unwrap();
        let shared = format!("[tool.poetry]\nname = \"{folder}\"\n");
        tree.put(format!("{folder}/pyproject.toml"), shared);
    }
    tree.put(format!("{name}/pyproject.toml"), manifest);
    tree.fill(&format!("{name}/test.flow.yaml"));
}

fn go_connector(tree: &mut Tree, name: &str, facts: &Facts) {
    let mut main = "package main\n\nimport (\n\t\"context\"\n\n".to_owned();
    for (nth, package) in facts.deps.iter().filter(|dep| !dep.ends_with("/**")).enumerate() {
        // Aliased now and then, as people do.
        let alias = if nth % 3 == 0 { format!("shared{nth} ") } else { String::new() };
        writeln!(main, "\t{alias}\"{GO_MODULE}/{package}\"").unwrap();
        tree.fill(&format!("{package}/lib.go"));
    }
    main += "\t\"github.com/sirupsen/logrus\"\n)\n\nfunc main() {}\n";
    tree.put(format!("{name}/main.go"), main);
    tree.put(format!("{name}/Dockerfile"), dockerfile(name, facts));
    tree.put(format!("{name}/VERSION"), "v1\n");
}

/// As theirs are: the context is the repository, and folders are copied as a whole, with `go/` for
/// each package in it.
fn dockerfile(name: &str, facts: &Facts) -> String {
    let top = |dep: &String| dep.split('/').next().unwrap().to_owned();
    let mut folders: BTreeSet<String> = facts.deps.iter().map(top).collect();
    folders.insert(name.to_owned());
    let mut text = "ARG BASE_IMAGE=ghcr.io/estuary/base-image:v1\n\nFROM golang:1.25 AS builder\n\
        WORKDIR /builder\nCOPY go.* ./\nRUN go mod download\n"
        .to_owned();
    for folder in folders {
        writeln!(text, "COPY {folder:<24} ./{folder}").unwrap();
    }
    text + &format!(
        "RUN go build -o ./connector ./{name}/...\n\nFROM ${{BASE_IMAGE}}\n\
         COPY --from=builder /builder/connector ./{name}\nENTRYPOINT [\"/connector/{name}\"]\n"
    )
}

/// A crate of its own, which needs nothing of the rest.
fn crate_dockerfile(name: &str) -> String {
    format!(
        "FROM rust:1.90 AS builder\nWORKDIR /connector\nCOPY {name}/Cargo.* /connector/\n\
         COPY {name}/src ./src\nRUN cargo build --release --locked\n"
    )
}

/// DAGs, what they share, and three folders with programs of their own.
pub(crate) fn airflow(row: &Row) -> Tree {
    let mut tree = Tree::default();
    for path in [
        "Makefile",
        "README.md",
        "bin/airflow",
        "dags/__init__.py",
        "dags/defaults.py",
        "plugins/operators/__init__.py",
        "plugins/sensors/__init__.py",
        "shared/dfinity/__init__.py",
        "tests/test_dag_loads.py",
        "airflow-content-syncer/Dockerfile",
        "airflow-customized/Dockerfile",
        "rollout-dashboard/Dockerfile",
        ".github/workflows/airflow-content.yaml",
    ] {
        tree.fill(path);
    }
    for dag in &row.all_dags {
        tree.put(
            format!("dags/{dag}.py"),
            "from airflow import DAG\n\nwith DAG(\"one\"):\n    pass\n",
        );
    }
    tree
}

/// The modules of the package, and what each imports of it; `.` is the package itself.
const TINYBIRD_MODULES: &[(&str, &str)] = &[
    ("__init__", "__version__ = \"0.17.0\"\n"),
    ("config", "import os\n"),
    ("errors", "class ConnectorError(Exception):\n    pass\n"),
    ("formats", "import csv\n"),
    ("logger", "import logging\n"),
    ("migration", "from tinybird_cdk import schema\n"),
    ("utils", "import time\n"),
    ("schema", "from dataclasses import dataclass\n"),
    ("tinybird", "from tinybird_cdk import config, errors, logger\n"),
    ("export", "from . import formats, logger\n"),
    ("connector", "from tinybird_cdk import errors, export\nfrom .tinybird import Client\n"),
    ("cloud/__init__", "from tinybird_cdk.cloud import gcs, s3\n"),
    ("cloud/abstract_client", "from abc import ABC\n"),
    ("cloud/gcp", "import google.auth\n"),
    ("cloud/gcs", "from tinybird_cdk.cloud.abstract_client import Client\nfrom . import gcp\n"),
    ("cloud/s3", "from .abstract_client import Client\nfrom tinybird_cdk.utils import retry\n"),
    ("connectors/__init__", ""),
    ("connectors/bigquery", "from tinybird_cdk import cloud, connector, errors, schema\n"),
    ("connectors/gcs", "from tinybird_cdk import connector\nimport tinybird_cdk.cloud.gcs\n"),
    ("connectors/kinesis", "from tinybird_cdk import connector\n"),
    ("connectors/mysql", "from tinybird_cdk.connector import SQLConnector\n"),
    ("connectors/postgresql", "from ..connector import SQLConnector\n"),
    ("connectors/s3", "from tinybird_cdk import connector\nfrom ..cloud import s3\n"),
    ("connectors/snowflake", "from .. import cloud, connector\nfrom ..schema import Column\n"),
    ("connectors/sqlite", "import tinybird_cdk.connector\n"),
];

/// One file a connector, in a package that they import.
pub(crate) fn tinybird() -> Tree {
    let mut tree = Tree::default();
    for (module, content) in TINYBIRD_MODULES {
        tree.put(format!("tinybird_cdk/{module}.py"), *content);
    }
    tree.fill("README.md");
    tree
}
