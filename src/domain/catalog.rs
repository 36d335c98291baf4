//! The connectors of a repository at one commit, found from the tree's paths and the contents of
//! their attribute files alone: nothing is checked out for it.

mod attributes;
mod discovery;
mod finding;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

pub(in crate::domain) use self::attributes::tagged;
pub use self::attributes::{Document, Facts};
pub use self::discovery::{Draft, discover};
pub use self::finding::{Finding, Flaw};
use super::depends::Dependencies;
use super::impact::Rule;
use super::names::ConnectorName;
use super::rules::{Component, Pattern, RepoRules, Variables};

/// One unit of the monorepo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connector {
    pub name: ConnectorName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its folder, or its file; empty for the whole tree.
    pub root: String,
    /// The file that made it one; components have none.
    #[serde(skip)]
    pub marker: Option<String>,
    /// `language`, `release_stage`, `support_level`, `version`, … as its attribute file says.
    pub attributes: BTreeMap<String, String>,
    #[serde(skip)]
    pub variables: Variables,
    /// Patterns elsewhere that are its own, variables filled in.
    #[serde(skip)]
    pub owns: Vec<Pattern>,
    #[serde(skip)]
    pub attribute_file: Option<String>,
    /// The number of the connector rule that found it; components have none.
    #[serde(skip)]
    pub rule: Option<usize>,
    /// The picture in its folder.
    #[serde(skip)]
    pub icon: Option<String>,
    /// Its documentation in the tree.
    #[serde(skip)]
    pub page: Option<String>,
    /// It follows Airbyte's layout.
    #[serde(skip)]
    pub airbyte: bool,
    /// Kept for the record only: never selected by a change.
    pub archived: bool,
    /// Another form of the same connector, tested whenever this one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin: Option<ConnectorName>,
}

impl Connector {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The paths of a tree, sorted, with the questions that discovery asks of them.
#[derive(Debug, Default)]
pub struct Paths {
    sorted: Vec<String>,
}

impl Paths {
    pub fn new(mut paths: Vec<String>) -> Self {
        paths.sort_unstable();
        paths.dedup();
        Self { sorted: paths }
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(String::as_str)
    }

    pub fn has_file(&self, path: &str) -> bool {
        self.position(path).is_some()
    }

    /// Everything in a folder; the empty folder is the whole tree.
    pub fn within(&self, folder: &str) -> &[String] {
        &self.sorted[self.range(folder)]
    }

    /// Where those stand among all.
    pub fn range(&self, folder: &str) -> std::ops::Range<usize> {
        if folder.is_empty() {
            return 0..self.sorted.len();
        }
        // `a-b` sorts between `a` and `a/b`: the folder's range begins at `a/`, ends before `a0`.
        let (from, to) = (format!("{folder}/"), format!("{folder}0"));
        let start = self.sorted.partition_point(|path| *path < from);
        let end = self.sorted.partition_point(|path| *path < to);
        start..end.max(start)
    }

    /// Where a file stands among all.
    pub fn position(&self, path: &str) -> Option<usize> {
        self.sorted.binary_search_by(|probe| probe.as_str().cmp(path)).ok()
    }

    /// The path that stands there; empty if there is none.
    pub fn at(&self, position: usize) -> &str {
        self.sorted.get(position).map_or("", String::as_str)
    }

    pub fn has_folder(&self, folder: &str) -> bool {
        !self.within(folder).is_empty()
    }
}

/// A pattern with wildcards that connectors of one rule own, found by what its variables stand for
/// at a path: as many tries as rules, not as connectors.
#[derive(Debug)]
struct OwnedPattern {
    pattern: Pattern,
    variables: Vec<String>,
    holders: HashMap<Vec<String>, Vec<usize>>,
}

/// Who a path belongs to, and by what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim<'c> {
    pub connector: &'c ConnectorName,
    pub rule: Rule,
}

/// All connectors of one tree, with an index from paths to them.
#[derive(Debug, Default)]
pub struct Catalog {
    connectors: Vec<Connector>,
    by_name: BTreeMap<ConnectorName, usize>,
    pub findings: Vec<Finding>,
    /// Roots and owned paths without wildcards.
    places: HashMap<String, Vec<(usize, Rule)>>,
    patterns: Vec<OwnedPattern>,
    components: Vec<(usize, Component)>,
    dependencies: Dependencies,
}

impl Catalog {
    /// The catalog with what its connectors are built from.
    #[must_use]
    pub fn with_dependencies(mut self, dependencies: Dependencies) -> Self {
        self.dependencies = dependencies;
        self
    }

    pub fn dependencies(&self) -> &Dependencies {
        &self.dependencies
    }

    pub fn iter(&self) -> impl Iterator<Item = &Connector> {
        self.by_name.values().map(|index| &self.connectors[*index])
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(ConnectorName::as_str)
    }

    pub fn len(&self) -> usize {
        self.connectors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.connectors.is_empty()
    }

    pub fn connector(&self, name: &ConnectorName) -> Option<&Connector> {
        self.by_name.get(name).map(|index| &self.connectors[*index])
    }

    /// By name as people write it: case is ignored, as no two connectors differ in case alone.
    pub fn named(&self, name: &str) -> Option<&Connector> {
        let exact = name.parse().ok().and_then(|name| self.connector(&name));
        exact.or_else(|| self.iter().find(|c| c.name.as_str().eq_ignore_ascii_case(name)))
    }

    /// The connectors whose name matches.
    pub fn matching(&self, name: &Pattern) -> Vec<&Connector> {
        match name.literal_paths() {
            Some(names) => {
                let names = names.iter().filter_map(|name| name.parse().ok());
                names.filter_map(|name| self.connector(&name)).collect()
            }
            None => self.iter().filter(|c| name.matches(c.name.as_str())).collect(),
        }
    }

    /// The connectors whose root holds the path or who own it, each once, by the first rule.
    pub fn claims(&self, path: &str) -> Vec<Claim<'_>> {
        let mut found: BTreeSet<(usize, Rule)> = BTreeSet::new();
        for place in with_parents(path) {
            if let Some(holders) = self.places.get(place) {
                found.extend(holders);
            }
        }
        for owned in &self.patterns {
            for bound in owned.pattern.bindings(path) {
                let key: Vec<String> =
                    owned.variables.iter().filter_map(|name| bound.get(name).cloned()).collect();
                let holders = owned.holders.get(&key).into_iter().flatten();
                found.extend(holders.map(|index| (*index, Rule::Owns)));
            }
        }
        for (index, component) in &self.components {
            if covers(component, path) {
                found.insert((*index, Rule::Root));
            }
        }
        let mut claims: Vec<Claim<'_>> = found
            .into_iter()
            .map(|(index, rule)| Claim { connector: &self.connectors[index].name, rule })
            .collect();
        claims.sort_unstable();
        claims.dedup_by(|later, earlier| later.connector == earlier.connector);
        claims
    }

    fn index(&mut self, rules: &RepoRules, rule_of: &[Option<usize>]) {
        let mut patterns: BTreeMap<(usize, usize), OwnedPattern> = BTreeMap::new();
        for (index, connector) in self.connectors.iter().enumerate() {
            let Some(rule) = rule_of[index] else { continue };
            let place = self.places.entry(connector.root.clone()).or_default();
            place.push((index, Rule::Root));
            for pattern in &connector.owns {
                for path in pattern.literal_paths().unwrap_or_default() {
                    self.places.entry(path).or_default().push((index, Rule::Owns));
                }
            }
            for (nth, pattern) in rules.connectors[rule].owns.iter().enumerate() {
                let Some(filled) = pattern.fill(&connector.variables) else { continue };
                if filled.literal_paths().is_some() {
                    continue;
                }
                let owned = patterns.entry((rule, nth)).or_insert_with(|| OwnedPattern {
                    pattern: pattern.clone(),
                    variables: pattern.variables().into_iter().map(str::to_owned).collect(),
                    holders: HashMap::new(),
                });
                let values = owned.variables.iter();
                let key = values.filter_map(|v| connector.variables.get(v).cloned()).collect();
                owned.holders.entry(key).or_default().push(index);
            }
        }
        self.patterns = patterns.into_values().collect();
    }
}

fn covers(component: &Component, path: &str) -> bool {
    component.include.iter().any(|pattern| pattern.matches(path))
        && !component.exclude.iter().any(|pattern| pattern.matches(path))
}

/// The path, then each folder above it, then the root.
fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(cut) => Some(&path[..cut]),
        None if path.is_empty() => None,
        None => Some(""),
    })
}

#[cfg(test)]
mod tests;
