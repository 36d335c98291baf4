//! The cases as they are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use checkvalve::domain::change::{ChangedFile, FileStatus};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::given::given;

/// The folder of the cases.
pub(crate) fn folder() -> Option<PathBuf> {
    given("CHECKVALVE_CASES", "layouts.jsonl.gz")
}

pub(crate) fn lines<T: DeserializeOwned>(file: &Path) -> Vec<T> {
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    assert!(output.status.success(), "{}", file.display());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct File {
    status: String,
    path: String,
    #[serde(default)]
    old_path: Option<String>,
}

impl File {
    /// With both sides of a rename; by the stated rule of Airbyte only the new one counts.
    pub(crate) fn changed(&self, both_sides: bool) -> ChangedFile {
        let status = match self.status.as_str() {
            "A" => FileStatus::Added,
            "D" => FileStatus::Deleted,
            "T" => FileStatus::TypeChanged,
            "R" if both_sides => FileStatus::Renamed,
            "M" | "R" => FileStatus::Modified,
            other => panic!("a status `{other}`"),
        };
        ChangedFile { path: self.path.clone(), status, old_path: self.old_path.clone() }
    }

    pub(crate) fn is_rename(&self) -> bool {
        self.old_path.is_some()
    }

    /// Where the file lies before the change and after it.
    pub(crate) fn sides(&self) -> (Option<&str>, Option<&str>) {
        let path = self.path.as_str();
        match self.status.as_str() {
            "A" => (None, Some(path)),
            "D" => (Some(path), None),
            _ => (self.old_path.as_deref().or(Some(path)), Some(path)),
        }
    }
}

/// A change, and what the rule that its repository states makes of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    #[serde(default)]
    pub(crate) repo: String,
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) commit: String,
    pub(crate) parent: String,
    pub(crate) files: Vec<File>,
    pub(crate) expected_connectors: BTreeSet<String>,
    #[serde(default)]
    pub(crate) expected_direct: BTreeSet<String>,
    #[serde(default)]
    pub(crate) added_connectors: BTreeSet<String>,
    #[serde(default)]
    pub(crate) removed_connectors: BTreeSet<String>,
    #[serde(default)]
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) base_state: String,
    /// Of the layout that has tests of the connectors' common part: are these reached?
    #[serde(default)]
    core_tests_impacted: bool,
    #[serde(default)]
    pub(crate) all_dags: BTreeSet<String>,
    /// Files of which the change touches the version alone.
    #[serde(default)]
    pub(crate) version_bump_only: BTreeSet<String>,
    #[serde(skip)]
    shared: Shared,
}

/// What the connectors of either side of a change have in common.
#[derive(Debug, Clone, Default)]
struct Shared {
    packages: BTreeSet<String>,
    needed: BTreeSet<String>,
}

impl Row {
    /// What is to be run. The common part is a component beside the connectors, called `core`.
    pub(crate) fn expected(&self) -> BTreeSet<String> {
        let core = self.core_tests_impacted.then(|| "core".to_owned());
        self.expected_connectors.iter().cloned().chain(core).collect()
    }

    /// Adds what is known of its two trees.
    fn with(mut self, states: &BTreeMap<String, State>) -> Self {
        for state in [&self.base_state, &self.state].into_iter().filter_map(|id| states.get(id)) {
            self.shared.packages.extend(state.go_packages.iter().cloned());
            for facts in state.connectors.values() {
                self.shared.needed.extend(facts.deps.iter().cloned());
            }
        }
        self
    }

    /// Is some connector built from this path, as the case has it? A file belongs to the package
    /// that is nearest above it.
    pub(crate) fn needed(&self, path: &str) -> bool {
        let Shared { packages, needed } = &self.shared;
        let inside = |folder: &str| path.strip_prefix(folder).is_some_and(|p| p.starts_with('/'));
        let package = packages.iter().filter(|package| inside(package)).max_by_key(|p| p.len());
        package.is_some_and(|package| needed.contains(package))
            || needed
                .iter()
                .filter(|folder| !packages.contains(*folder))
                .any(|folder| inside(folder.strip_suffix("/**").unwrap_or(folder)))
    }

    pub(crate) fn changed(&self) -> Vec<ChangedFile> {
        self.files.iter().map(|file| file.changed(true)).collect()
    }
}

/// What a tree of the Estuary layout holds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct State {
    #[serde(rename = "state")]
    pub(crate) id: String,
    pub(crate) connectors: BTreeMap<String, Facts>,
    pub(crate) go_packages: BTreeSet<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Facts {
    pub(crate) kind: String,
    /// Folders of packages; with `/**`, folders that are copied as a whole.
    pub(crate) deps: BTreeSet<String>,
    pub(crate) variants: Vec<String>,
}

/// The rows of the three layouts that are not Airbyte's, and the trees that they speak of.
pub(crate) fn layouts(folder: &Path) -> (Vec<Row>, BTreeMap<String, State>) {
    let states: BTreeMap<String, State> = lines(&folder.join("layout-states.jsonl.gz"))
        .into_iter()
        .map(|state: State| (state.id.clone(), state))
        .collect();
    let rows = lines::<Row>(&folder.join("layouts.jsonl.gz")).into_iter();
    (rows.map(|row| row.with(&states)).collect(), states)
}
