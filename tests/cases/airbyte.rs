//! Merged pull requests of Airbyte: by their stated rule exactly, and by ours, which sees more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use checkvalve::config::repository::resolve;
use checkvalve::domain::catalog::{Catalog, Facts, Paths, discover};
use checkvalve::domain::change::{ChangeSet, ChangedFile};
use checkvalve::domain::impact::{Reason, impacts};
use serde::Deserialize;

use super::rows::{File, Row, folder, lines};
use super::verdict::{Answer, Found, is_stated, names, of_impacts};

const FOLDER: &str = "airbyte-integrations/connectors";

/// Folder, support level, documentation page, language, dependencies.
type Listed = (String, Option<String>, Option<String>, Option<String>, serde_json::Value);

/// Every connector of one commit's tree.
#[derive(Debug, Deserialize)]
struct Inventory {
    commit: String,
    connectors: Vec<Listed>,
}

/// Folder → (support level, documentation page).
pub(crate) type Folders = BTreeMap<String, (Option<String>, Option<String>)>;

/// Read once each: the commits share most of them.
type Documents = BTreeMap<(Option<String>, Option<String>), Arc<Facts>>;

fn document(level: Option<&String>, page: Option<&String>) -> Arc<Facts> {
    let url = page.map(|page| {
        let page = page.strip_prefix("docs/").unwrap().strip_suffix(".md").unwrap();
        format!("https://docs.airbyte.com/{page}")
    });
    let data = serde_json::json!({"data": {"supportLevel": level, "documentationUrl": url}});
    let asked = ["data.supportLevel", "data.documentationUrl"];
    Arc::new(Facts::read("metadata.yaml", data.to_string().as_bytes(), asked))
}

fn catalog(folders: &Folders, documents: &mut Documents) -> Catalog {
    let marker = |folder: &str| format!("{FOLDER}/{folder}/metadata.yaml");
    // What makes none, whatever lies in it.
    let none = ["source-scaffold-x", ".hidden/source-x"].map(marker);
    let paths = Paths::new(folders.keys().map(|folder| marker(folder)).chain(none).collect());
    let rules = resolve(None, "here", &paths).unwrap();
    let mut of_path = BTreeMap::new();
    for (folder, (level, page)) in folders {
        let parsed = documents
            .entry((level.clone(), page.clone()))
            .or_insert_with(|| document(level.as_ref(), page.as_ref()));
        of_path.insert(marker(folder), Arc::clone(parsed));
    }
    discover(&rules, &paths).finish(|path| of_path.get(path))
}

fn affected(base: Option<&Catalog>, head: &Catalog, files: Vec<ChangedFile>) -> Found {
    let rules = resolve(None, "here", &Paths::new(vec![format!("{FOLDER}/x/y")])).unwrap();
    of_impacts(impacts(&rules, base, head, &ChangeSet::Complete { files }))
}

fn last(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap()
}

/// A row, and one connector of which ours says something else.
struct Deviation<'a> {
    row: &'a Row,
    /// Names of the connectors at the head.
    head: &'a BTreeSet<String>,
    name: &'a str,
    found: Option<&'a Answer>,
}

impl Deviation<'_> {
    /// Is it selected, and by paths alone that the change takes away: renames, or deletions?
    fn by_paths_that_left(&self, renamed: bool) -> bool {
        let left = |file: &File, path: &str| match file.sides() {
            (Some(before), Some(_)) => renamed && file.is_rename() && before == path,
            (Some(before), None) => !renamed && before == path,
            (None, _) => false,
        };
        let those = |reason: &Reason| self.row.files.iter().any(|file| left(file, &reason.path));
        self.found.is_some_and(|one| one.reasons.iter().all(those))
    }

    /// Are those paths of a folder that the connector no longer has?
    fn moved(&self) -> bool {
        let inside = |path: &str, root: &str| {
            path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
        };
        self.found.is_some_and(|one| !one.reasons.iter().any(|r| inside(&r.path, &one.root)))
    }
}

type Holds = fn(&Deviation<'_>) -> bool;

/// As the table in `docs/cases.md` has them.
const CLASSES: &[(&str, Holds)] = &[
    ("no such connector", |one| {
        let other = format!("{}-strict-encrypt", one.name);
        one.found.is_none() && !one.head.contains(one.name) && one.head.contains(&other)
    }),
    ("rename side", |one| one.head.contains(one.name) && one.by_paths_that_left(true)),
    ("moved folder", |one| one.moved() && one.by_paths_that_left(false)),
];

/// The answers to many rows.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) cases: usize,
    /// Class → what it justifies, case by case.
    justified: BTreeMap<&'static str, Vec<String>>,
    pub(crate) wrong: Vec<String>,
}

impl Judgement {
    /// Compares with ours: both sides of renames, and what a deletion or a move takes away.
    pub(crate) fn judge(&mut self, row: &Row, head: &BTreeSet<String>, found: &Found) {
        self.cases += 1;
        let run = names(found, false);
        for name in run.symmetric_difference(&row.expected_connectors) {
            let found = found.get(name);
            let one = Deviation { row, head, name, found };
            match CLASSES.iter().find(|(_, holds)| holds(&one)) {
                Some((class, _)) => {
                    let case = format!("{} {name}", row.commit);
                    self.justified.entry(class).or_default().push(case);
                }
                None => self.wrong.push(format!("{}: {name}: {found:?}", row.commit)),
            }
        }
        for folder in &row.removed_connectors {
            if !found.contains_key(last(folder)) {
                self.wrong.push(format!("{}: {folder} is gone and not named", row.commit));
            }
        }
    }

    pub(crate) fn summary(&self) -> String {
        format!("airbyte: {} cases; deviations: {:#?}", self.cases, self.justified)
    }
}

/// The connectors of each commit.
pub(crate) fn inventories(folder: &Path) -> BTreeMap<String, Folders> {
    let rows = lines::<Inventory>(&folder.join("airbyte-inventory.jsonl.gz")).into_iter();
    let folders = |one: Inventory| one.connectors.into_iter().map(|c| (c.0, (c.1, c.2))).collect();
    rows.map(|one| (one.commit.clone(), folders(one))).collect()
}

pub(crate) fn names_of(folders: &Folders) -> BTreeSet<String> {
    folders.keys().map(|folder| last(folder).to_owned()).collect()
}

/// Both sides of a row: what it adds is not in the base, what it removes is there alone.
fn sides(row: &Row, head: &Folders, documents: &mut Documents) -> (Catalog, Catalog) {
    let mut base = head.clone();
    base.retain(|folder, _| !row.added_connectors.contains(folder));
    base.extend(row.removed_connectors.iter().map(|folder| (folder.clone(), (None, None))));
    (catalog(&base, documents), catalog(head, documents))
}

/// What the given cases have nothing of, or not by itself.
fn made() -> (Folders, Row) {
    let page = |name: &str| Some(format!("docs/integrations/sources/{name}.md"));
    let community = || Some("community".to_owned());
    let head = Folders::from([
        ("source-left".to_owned(), (community(), page("left"))),
        ("source-got".to_owned(), (community(), page("got"))),
        ("source-got-strict-encrypt".to_owned(), (community(), page("got"))),
        ("source-old".to_owned(), (Some("archived".to_owned()), page("old"))),
        ("third-party/acme/source-theirs".to_owned(), (None, None)),
        ("source-lef".to_owned(), (None, None)),
    ]);
    let row = serde_json::json!({
        "commit": "made", "parent": "made before",
        "files": [
            {"status": "R", "path": format!("{FOLDER}/source-got/src/schema.json"),
             "old_path": format!("{FOLDER}/source-left/src/schema.json")},
            {"status": "M", "path": format!("{FOLDER}/source-old/main.py")},
            {"status": "M", "path": "docs/integrations/sources/old.md"},
            {"status": "M", "path": format!("{FOLDER}/source-scaffold-x/main.py")},
            {"status": "M", "path": format!("{FOLDER}/third-party/acme/source-theirs/a.py")},
            {"status": "M", "path": format!("{FOLDER}/third-party/acme/README.md")},
            {"status": "M", "path": "docs/integrations/sources/left-migrations.md"},
        ],
        "expected_connectors": ["source-got", "source-got-strict-encrypt", "source-theirs"],
    });
    (head, serde_json::from_value(row).unwrap())
}

#[test]
fn no_connector_of_airbyte_is_missed_and_each_one_more_is_justified() {
    let Some(folder) = folder() else { return };
    let inventories = inventories(&folder);
    let cases = lines::<Row>(&folder.join("airbyte.jsonl.gz"));
    let cases = cases.into_iter().map(|row| (inventories[&row.commit].clone(), row));
    let (mut judgement, mut documents) = (Judgement::default(), Documents::new());
    for (head, row) in cases.chain([made()]) {
        let head = &head;
        let there = names_of(head);
        let (base, head) = sides(&row, head, &mut documents);
        // The stated rule: new sides of renames, the head's inventory.
        let new_sides = row.files.iter().map(|file| file.changed(false)).collect();
        let stated = names(&affected(None, &head, new_sides), false);
        let expected = row.expected_connectors.intersection(&there).cloned().collect();
        assert_eq!(stated, expected, "{}: by the stated rule", row.commit);
        judgement.judge(&row, &there, &affected(Some(&base), &head, row.changed()));
    }
    println!("{}", judgement.summary());
    assert!(judgement.wrong.is_empty(), "{:#?}", judgement.wrong);
    let used: BTreeSet<&str> = judgement.justified.keys().copied().collect();
    let stated: BTreeSet<&str> = CLASSES.iter().map(|(name, _)| *name).collect();
    is_stated(&stated, &used);
}
