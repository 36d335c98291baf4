//! Real pull requests of a real repository, and what its own rule selects. The cases are not ours
//! to publish: they are read from the folder that `CHECKVALVE_CASES` names, and without it this
//! prints that nothing was checked.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use checkvalve::ambient;
use checkvalve::config::repository::resolve;
use checkvalve::domain::catalog::{Catalog, Document, Paths, discover};
use checkvalve::domain::change::{ChangeSet, ChangedFile, FileStatus};
use checkvalve::domain::impact::{ChangeKind, impacts};
use serde_json::Value;

const FOLDER: &str = "airbyte-integrations/connectors";

fn cases() -> Option<PathBuf> {
    if let Some(folder) = ambient::env("CHECKVALVE_CASES") {
        return Some(folder.into());
    }
    assert_ne!(
        ambient::env("CHECKVALVE_REQUIRE").as_deref(),
        Some("cases"),
        "CHECKVALVE_CASES is not set"
    );
    None
}

fn lines(file: &Path) -> Vec<Value> {
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    assert!(output.status.success(), "{}", file.display());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A tree that has these connectors: folder → (support level, documentation page).
type Inventory = BTreeMap<String, (Option<String>, Option<String>)>;

fn inventory(row: &Value) -> Inventory {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = row["connectors"].as_array().unwrap().iter();
    rows.map(|row| (text(&row[0]).unwrap(), (text(&row[1]), text(&row[2])))).collect()
}

/// Parsed once each: the commits share most of them.
type Documents = BTreeMap<(Option<String>, Option<String>), Arc<Result<Document, String>>>;

fn document(level: Option<&String>, page: Option<&String>) -> Arc<Result<Document, String>> {
    let url = page.map(|page| {
        let page = page.strip_prefix("docs/").unwrap().strip_suffix(".md").unwrap();
        format!("https://docs.airbyte.com/{page}")
    });
    let data = serde_json::json!({"data": {"supportLevel": level, "documentationUrl": url}});
    Arc::new(Document::parse("metadata.yaml", data.to_string().as_bytes()))
}

fn catalog(inventory: &Inventory, documents: &mut Documents) -> Catalog {
    let marker = |folder: &str| format!("{FOLDER}/{folder}/metadata.yaml");
    let paths = Paths::new(inventory.keys().map(|folder| marker(folder)).collect());
    let rules = resolve(None, "here", &paths).unwrap();
    let mut of_path = BTreeMap::new();
    for (folder, (level, page)) in inventory {
        let facts = (level.clone(), page.clone());
        let parsed =
            documents.entry(facts).or_insert_with(|| document(level.as_ref(), page.as_ref()));
        of_path.insert(marker(folder), Arc::clone(parsed));
    }
    discover(&rules, &paths).finish(|path| of_path.get(path))
}

fn files(row: &Value, both_sides: bool) -> Vec<ChangedFile> {
    let file = |file: &Value| {
        let path = file["path"].as_str().unwrap().to_owned();
        let old_path = file.get("old_path").and_then(Value::as_str).map(str::to_owned);
        let status = match file["status"].as_str().unwrap() {
            "A" => FileStatus::Added,
            "D" => FileStatus::Deleted,
            "T" => FileStatus::TypeChanged,
            "R" if both_sides => FileStatus::Renamed,
            _ => FileStatus::Modified,
        };
        ChangedFile { path, status, old_path }
    };
    row["files"].as_array().unwrap().iter().map(file).collect()
}

/// Connectors by what happens to them.
fn affected(
    base: Option<&Catalog>,
    head: &Catalog,
    files: Vec<ChangedFile>,
) -> BTreeMap<String, ChangeKind> {
    let rules = resolve(None, "here", &Paths::new(vec![format!("{FOLDER}/x/y")])).unwrap();
    let change = ChangeSet::Complete { files };
    let found = impacts(&rules, base, head, &change);
    found.connectors.values().map(|impact| (impact.name.to_string(), impact.change)).collect()
}

fn run(found: &BTreeMap<String, ChangeKind>) -> BTreeSet<String> {
    let run = found.iter().filter(|(_, change)| **change != ChangeKind::Removed);
    run.map(|(name, _)| name.clone()).collect()
}

fn last(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap()
}

#[test]
fn no_connector_that_a_case_expects_is_missed() {
    let Some(folder) = cases() else {
        eprintln!("not checked: CHECKVALVE_CASES names no folder of cases");
        return;
    };
    let inventories: BTreeMap<String, Inventory> =
        lines(&folder.join("airbyte-inventory.jsonl.gz"))
            .iter()
            .map(|row| (row["commit"].as_str().unwrap().to_owned(), inventory(row)))
            .collect();
    let (mut differing, mut documents) = (Vec::new(), Documents::new());
    let cases = lines(&folder.join("airbyte.jsonl.gz"));
    for case in &cases {
        let commit = case["commit"].as_str().unwrap();
        let head = inventories[commit].clone();
        let mut base = head.clone();
        let (removed, added) =
            (texts(&case["removed_connectors"]), texts(&case["added_connectors"]));
        base.retain(|folder, _| !added.contains(folder));
        base.extend(removed.iter().map(|folder| (folder.clone(), (None, None))));
        let (head, base) = (catalog(&head, &mut documents), catalog(&base, &mut documents));
        let mut expected = texts(&case["expected_connectors"]);
        // `Y-strict-encrypt` without a `Y` also expects `Y`, of which there is nothing to run.
        let twinless = |name: &String| {
            head.named(name).is_none() && head.named(&format!("{name}-strict-encrypt")).is_some()
        };
        let nothing: Vec<String> = expected.iter().filter(|name| twinless(name)).cloned().collect();
        expected.retain(|name| !nothing.contains(name));
        if !nothing.is_empty() {
            differing.push(format!("{commit}: not in the tree: {}", nothing.join(", ")));
        }

        // The stated rule: new sides of renames, the head's inventory.
        let stated = run(&affected(None, &head, files(case, false)));
        assert_eq!(stated, expected, "{commit}: by the stated rule");
        // Ours: both sides, and what a deletion or a move takes away is known from the base.
        let ours = affected(Some(&base), &head, files(case, true));
        assert!(expected.is_subset(&run(&ours)), "{commit}: one is missed");
        for folder in &removed {
            assert!(ours.contains_key(last(folder)), "{commit}: {folder} is not named");
        }
        let more: Vec<String> = run(&ours).difference(&expected).cloned().collect();
        // More is justified only by the base: a path that lay in the connector there.
        for name in &more {
            let there = base.named(name).unwrap();
            let inside =
                |path: &str| path.strip_prefix(&there.root).is_some_and(|r| r.starts_with('/'));
            let files = files(case, true);
            assert!(files.iter().flat_map(ChangedFile::paths).any(inside), "{commit}: {name}");
        }
        if !more.is_empty() {
            differing
                .push(format!("{commit}: more, by where files lay before: {}", more.join(", ")));
        }
    }
    println!("{} cases; deviations: {differing:#?}", cases.len());
}
