//! What connectors are built from beyond their own folder, derived from what their files say:
//! path dependencies, copied folders, imports. Each edge keeps the file and line that made it.
//!
//! Two halves, both pure. [`references`] reads one file; its answer depends on the content alone,
//! so that it can be kept by the content's id. [`Explorer`] follows references through a tree: it
//! says which files it wants to see next, is shown them, and ends with [`Dependencies`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Paths};
use super::names::ConnectorName;
use super::rules::RepoRules;

/// Raised whenever [`references`] answers differently for any content: kept answers are then void.
pub const VERSION: u32 = 1;

/// What kind of file says it: how its text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manifest {
    Pyproject,
    Requirements,
    SetupPy,
    Gradle,
    GradleSettings,
    Dockerfile,
    Go,
    GoMod,
    Python,
}

/// One mention of something else, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// From 1.
    pub line: u32,
    pub to: Written,
}

/// What a mention names, before anyone knows whether the tree has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// A path from the file's own folder.
    Path(String),
}

/// The mentions in one file, in its order. A text that can't be read mentions nothing.
pub fn references(_manifest: Manifest, _text: &[u8]) -> Vec<Reference> {
    Vec::new()
}

/// The file and line that made an edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    pub file: String,
    pub line: u32,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How much of the tree a target stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// This file; or this folder with all that lies beneath.
    Whole,
    /// The files that lie directly in this folder: a package of a language that has such.
    Direct,
}

/// A place that a connector is built from, and the shortest chain that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub path: String,
    pub extent: Extent,
    /// From the connector's own file to the one that names the place.
    pub chain: Vec<Edge>,
}

/// What the connectors of one tree are built from, with an index from paths to connectors.
#[derive(Debug, Default)]
pub struct Dependencies {
    of: BTreeMap<ConnectorName, Vec<Dependency>>,
}

impl Dependencies {
    /// Sorted by path.
    pub fn of(&self, connector: &ConnectorName) -> &[Dependency] {
        self.of.get(connector).map(Vec::as_slice).unwrap_or_default()
    }

    /// The connectors that are built from the path, each with its shortest chain.
    pub fn claims(&self, _path: &str) -> Vec<(&ConnectorName, &[Edge])> {
        Vec::new()
    }
}

/// Follows references through one tree.
#[derive(Debug)]
pub struct Explorer<'t> {
    _tree: (&'t RepoRules, &'t Catalog, &'t Paths),
}

impl<'t> Explorer<'t> {
    pub fn new(rules: &'t RepoRules, catalog: &'t Catalog, paths: &'t Paths) -> Self {
        Self { _tree: (rules, catalog, paths) }
    }

    /// The files that it wants to see next, each once; empty when there is nothing left to follow.
    pub fn wanted(&mut self) -> BTreeSet<(Manifest, String)> {
        BTreeSet::new()
    }

    /// Shows it one file that it wanted.
    pub fn learn(&mut self, _manifest: Manifest, _path: &str, _references: &[Reference]) {}

    pub fn finish(self) -> Dependencies {
        Dependencies::default()
    }
}
