//! The table of threats in the documentation names the test that holds each of its rows, and those
//! tests are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
                // A story of the store's, of which a macro makes two tests.
                let story = line.strip_prefix("pub(crate) async fn ");
                let story = story.filter(|_| folder.ends_with("tests/store"));
                marked |= story.is_some();
                if let (true, Some(name)) = (marked, name.or(story)) {
                    names.insert(name.split(['(', '<']).next().unwrap().to_owned());
                }
                let within = line.starts_with("#[") || line.starts_with("//");
                marked = line.starts_with("#[test]")
                    || line.starts_with("#[tokio::test")
                    || marked && within;
            }
        }
    }
}

#[test]
fn every_threat_of_the_table_has_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let table = text.split("## Threats, and what holds each").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    let mut known = BTreeSet::new();
    for folder in ["tests", "src"] {
        tests_below(&root.join(folder), &mut known);
    }
    assert!(known.len() > 500, "{} tests are found", known.len());
    for row in rows {
        let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test holds: {row}");
        for name in named {
            assert!(known.contains(name), "`{name}` is no test: {row}");
        }
    }
}
