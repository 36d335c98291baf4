//! Why a connector is selected, or which rules looked at it and why none matched.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ChangeKind, Impacts, Reason};
use crate::domain::catalog::{Catalog, Connector};
use crate::domain::change::{ChangeSet, ChangedFile};
use crate::domain::depends::Dependency;
use crate::domain::names::ConnectorName;
use crate::domain::rules::{Derivation, ImpactRule, Pattern, RepoRules, Unclaimed};

/// One rule that looked at the connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    pub rule: String,
    pub because: String,
}

/// The answer to "why?" and "why not?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub name: String,
    pub selected: bool,
    pub reasons: Vec<Reason>,
    /// In the order in which the rules apply.
    pub looked: Vec<Look>,
}

/// Explains one connector's part in a change. `None` if no connector of either side has the name.
pub fn explain(
    rules: &RepoRules,
    sides: (Option<&Catalog>, &Catalog),
    change: &ChangeSet,
    impacts: &Impacts,
    name: &str,
) -> Option<Explanation> {
    Explainer::new(rules, sides, change, impacts).explain(name)
}

/// Explains connectors of one change: what is the same for all of them is looked up once.
#[derive(Debug)]
pub struct Explainer<'a> {
    rules: &'a RepoRules,
    base: Option<&'a Catalog>,
    head: &'a Catalog,
    change: &'a ChangeSet,
    impacts: &'a Impacts,
    /// The changed paths that are not ignored.
    left: BTreeSet<&'a str>,
    /// Those of them that each impact rule matches.
    matching: Vec<Vec<&'a str>>,
    /// Of each connector that is built from one of them, the shortest way by each derivation.
    built: BTreeMap<&'a ConnectorName, Ways<'a>>,
}

/// The number of a derivation, and the shortest way from a changed path by it.
type Ways<'a> = BTreeMap<usize, (&'a str, Dependency<'a>)>;

impl<'a> Explainer<'a> {
    pub fn new(
        rules: &'a RepoRules,
        (base, head): (Option<&'a Catalog>, &'a Catalog),
        change: &'a ChangeSet,
        impacts: &'a Impacts,
    ) -> Self {
        let paths = change.files().iter().flat_map(ChangedFile::paths);
        let left: BTreeSet<&str> = paths.filter(|path| !impacts.ignored.contains(*path)).collect();
        let matching = |rule: &ImpactRule| {
            let matches = |path: &&str| rule.paths.iter().any(|pattern| pattern.matches(path));
            left.iter().copied().filter(matches).collect()
        };
        let matching = rules.impact.iter().map(matching).collect();
        let built = ways([Some(head), base], &left);
        Self { rules, base, head, change, impacts, left, matching, built }
    }

    /// `None` if no connector of either side has the name.
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let now = self.head.named(name);
        let connector = now.or_else(|| self.base.and_then(|base| base.named(name)))?;
        let impact = self.impacts.connectors.get(&connector.name);
        let looked = match self.change {
            ChangeSet::Everything { because } => {
                vec![look("everything", format!("the change is not known in full: {because}"))]
            }
            ChangeSet::Complete { .. } => self.looks(connector),
        };
        let mut explanation = Explanation {
            name: connector.name.to_string(),
            selected: impact.is_some_and(|impact| impact.change != ChangeKind::Removed),
            reasons: impact.map(|impact| impact.reasons.clone()).unwrap_or_default(),
            looked,
        };
        if connector.archived {
            let because = "its support level is `archived`: a change never selects it".to_owned();
            explanation.looked.push(look("archived", because));
        }
        if now.is_none() {
            let because = "it is gone at head: named, and not run".to_owned();
            explanation.looked.push(look("removed", because));
        }
        Some(explanation)
    }

    fn looks(&self, connector: &Connector) -> Vec<Look> {
        let Self { rules, impacts, left, .. } = self;
        let mut looks = Vec::new();
        if !impacts.ignored.is_empty() {
            looks.push(look("ignore", format!("{} select nothing", some(&impacts.ignored))));
        }
        let inside = |path: &&str| within(path, &connector.root);
        let verdict = match left.iter().copied().find(inside) {
            Some(path) if connector.marker.is_some() => format!("`{path}` lies in it"),
            Some(_) | None => format!("none of {} lies in it", count(left.len())),
        };
        if connector.marker.is_some() {
            looks.push(look(format!("root {}", shown(&connector.root)), verdict));
        }
        for pattern in &connector.owns {
            let verdict = match left.iter().find(|path| pattern.matches(path)) {
                Some(path) => format!("`{path}` matches"),
                None => format!("none of {} matches", count(left.len())),
            };
            looks.push(look(format!("owns {pattern}"), verdict));
        }
        for (rule, matching) in rules.impact.iter().zip(&self.matching) {
            let patterns: Vec<&str> = rule.paths.iter().map(Pattern::as_str).collect();
            let reached = || matching.iter().find(|path| rule.reaches(path, connector).is_some());
            // Of hundreds of connectors that nothing reaches, that need not be asked again.
            let reached = self.is_reached(connector).then(reached).flatten();
            let verdict = match (reached, matching.first()) {
                (Some(path), _) => format!("`{path}` reaches it"),
                (None, Some(path)) => {
                    format!("`{path}` matches, but reaches {} and not this one", rule.reaches)
                }
                (None, None) => format!("none of {} matches", count(left.len())),
            };
            looks.push(look(format!("impact {}", patterns.join(", ")), verdict));
        }
        looks.extend(self.of_dependencies(connector));
        looks.push(of_unclaimed(rules, impacts));
        looks
    }

    fn of_dependencies(&self, connector: &Connector) -> Vec<Look> {
        let rule = connector.rule.and_then(|rule| self.rules.connectors.get(rule));
        let derivations = rule.map(|rule| rule.depends.as_slice()).unwrap_or_default();
        let ways = self.built.get(&connector.name);
        let look = |(number, derivation): (usize, &Derivation)| {
            let verdict = if let Some((path, found)) = ways.and_then(|ways| ways.get(&number)) {
                let chain: Vec<String> =
                    found.chain().iter().map(|edge| format!("`{edge}`")).collect();
                format!("`{path}` reaches it by {}", chain.join(", "))
            } else {
                let places = self.head.dependencies().of(&connector.name);
                let places = places.iter().filter(|one| one.derivation() == number).count();
                let places =
                    if places == 1 { "1 place".to_owned() } else { format!("{places} places") };
                format!("none of {} is among the {places} it is built from", count(self.left.len()))
            };
            look(format!("depends {}", named(derivation)), verdict)
        };
        derivations.iter().enumerate().map(look).collect()
    }

    fn is_reached(&self, connector: &Connector) -> bool {
        let Impacts { connectors, archived, .. } = self.impacts;
        connectors.contains_key(&connector.name) || archived.contains(&connector.name)
    }
}

/// Over both sides.
fn ways<'a>(
    sides: [Option<&'a Catalog>; 2],
    paths: &BTreeSet<&'a str>,
) -> BTreeMap<&'a ConnectorName, Ways<'a>> {
    let mut best: BTreeMap<&ConnectorName, Ways<'a>> = BTreeMap::new();
    for side in sides.into_iter().flatten() {
        for path in paths {
            for claim in side.dependencies().reached(path) {
                let found = claim.dependency;
                let ways = best.entry(claim.connector).or_default();
                let known = ways.entry(found.derivation()).or_insert((*path, found));
                if (found.distance(), *path) < (known.1.distance(), known.0) {
                    *known = (*path, found);
                }
            }
        }
    }
    best
}

fn look(rule: impl Into<String>, because: String) -> Look {
    Look { rule: rule.into(), because }
}

/// As it is written in a repository file.
fn named(derivation: &Derivation) -> &'static str {
    match derivation {
        Derivation::PyprojectPath => "pyproject-path",
        Derivation::RequirementsPath => "requirements-path",
        Derivation::SetupPy => "setup-py",
        Derivation::Gradle => "gradle",
        Derivation::DockerfileCopy => "dockerfile-copy",
        Derivation::DockerfileFrom => "dockerfile-from",
        Derivation::GoImports => "go-imports",
        Derivation::PythonImports { .. } => "python-imports",
    }
}

fn of_unclaimed(rules: &RepoRules, impacts: &Impacts) -> Look {
    let verdict = match (impacts.unclaimed.is_empty(), rules.unclaimed) {
        (true, _) => "every changed path is claimed or ignored".to_owned(),
        (false, Unclaimed::None) => {
            format!("{}: claimed by nothing, and selects nothing", some(&impacts.unclaimed))
        }
        (false, Unclaimed::All) => {
            format!("{}: claimed by nothing, so everything is selected", some(&impacts.unclaimed))
        }
        (false, Unclaimed::Error) => {
            format!("{}: claimed by nothing, which is an error here", some(&impacts.unclaimed))
        }
    };
    look("unclaimed", verdict)
}

fn within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn shown(root: &str) -> &str {
    if root.is_empty() { "." } else { root }
}

fn count(paths: usize) -> String {
    if paths == 1 { "1 changed path".to_owned() } else { format!("{paths} changed paths") }
}

fn some(paths: &BTreeSet<String>) -> String {
    let first: Vec<String> = paths.iter().take(3).map(|path| format!("`{path}`")).collect();
    let more = paths.len() - first.len();
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}
