//! Which connectors a change affects, each with the chain from a changed file to it.

mod explain;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

pub use self::explain::{Explainer, Explanation, Look, explain};
use super::catalog::{Catalog, Connector};
use super::change::ChangeSet;
use super::names::ConnectorName;
use super::rules::{ImpactRule, Pattern, Reaches, RepoRules, Unclaimed};

/// What the change does to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Modified,
    Added,
    Removed,
}

/// The rule that led from a path to a connector: the API's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    Root,
    Owns,
    Impact,
    Depends,
    Unclaimed,
    Everything,
}

impl Rule {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Owns => "owns",
            Self::Impact => "impact",
            Self::Depends => "depends",
            Self::Unclaimed => "unclaimed",
            Self::Everything => "everything",
        }
    }
}

/// Changed path → rule, over the names or paths between → connector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    pub path: String,
    pub rule: Rule,
    #[serde(default)]
    pub via: Vec<String>,
}

/// How many reasons a connector keeps: the shortest chains.
pub const MAX_REASONS: usize = 20;
/// The path of [`Rule::Everything`]'s reason: no path in particular.
pub const EVERY_PATH: &str = "*";

/// A connector that the change affects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impact {
    pub name: ConnectorName,
    pub root: String,
    pub change: ChangeKind,
    /// Shortest chain first, at most [`MAX_REASONS`].
    pub reasons: Vec<Reason>,
}

/// What a change affects, and what became of its other paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impacts {
    /// Why it is not known what changed; then everything is selected.
    pub because: Option<String>,
    /// How many files the change touches.
    pub files: usize,
    /// By name, removed ones among them.
    pub connectors: BTreeMap<ConnectorName, Impact>,
    pub ignored: BTreeSet<String>,
    /// Changed paths that no rule claims, whatever the rules then make of them.
    pub unclaimed: BTreeSet<String>,
    /// Reached by the change, but kept for the record only: not run.
    pub archived: BTreeSet<ConnectorName>,
    /// Of the unclaimed, those that the rules do not accept.
    pub refused: BTreeSet<String>,
}

impl Impacts {
    /// The connectors whose pipelines are to run.
    pub fn to_run(&self) -> impl Iterator<Item = &Impact> {
        self.connectors.values().filter(|impact| impact.change != ChangeKind::Removed)
    }

    pub fn removed(&self) -> impl Iterator<Item = &Impact> {
        self.connectors.values().filter(|impact| impact.change == ChangeKind::Removed)
    }

    /// What either of two sets of rules selects: a path counts as ignored or unclaimed only if both
    /// say so.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        for (name, impact) in other.connectors {
            match self.connectors.get_mut(&name) {
                Some(mine) => {
                    // One set of rules may not know the connector on one side.
                    if mine.change != impact.change {
                        mine.change = ChangeKind::Modified;
                    }
                    mine.reasons.extend(impact.reasons);
                    keep_shortest(&mut mine.reasons);
                }
                None => {
                    self.connectors.insert(name, impact);
                }
            }
        }
        self.archived.extend(other.archived);
        self.archived.retain(|name| !self.connectors.contains_key(name));
        self.ignored = self.ignored.intersection(&other.ignored).cloned().collect();
        self.unclaimed = self.unclaimed.intersection(&other.unclaimed).cloned().collect();
        // A change can't take back that its base wants every path to be spoken for.
        self.refused.extend(other.refused);
        self.refused.retain(|path| self.unclaimed.contains(path));
        self
    }
}

/// Applies the rules to a change: over the catalogs of both sides, as a connector that a rename or
/// a deletion takes away is known from the base alone.
///
/// `base` is `None` if that side is not known; then nothing counts as added.
pub fn impacts(
    rules: &RepoRules,
    base: Option<&Catalog>,
    head: &Catalog,
    change: &ChangeSet,
) -> Impacts {
    let mut hits = Hits { rules, base, head, reasons: BTreeMap::new() };
    let mut impacts = Impacts { files: change.files().len(), ..Impacts::default() };
    match change {
        ChangeSet::Everything { because } => {
            impacts.because = Some(because.clone());
            hits.everyone(&[Reason {
                path: EVERY_PATH.to_owned(),
                rule: Rule::Everything,
                via: Vec::new(),
            }]);
        }
        ChangeSet::Complete { files } => {
            let paths: BTreeSet<&str> =
                files.iter().flat_map(super::change::ChangedFile::paths).collect();
            hits.paths(&paths, &mut impacts);
        }
    }
    hits.twins();
    let archived = |name: &ConnectorName| head.connector(name).is_some_and(|one| one.archived);
    // Of a change that is not known, they are no news.
    if change.is_complete() {
        let reached = hits.reasons.keys().filter(|name| archived(name));
        impacts.archived = reached.cloned().collect();
    }
    impacts.connectors = hits.into_impacts();
    impacts
}

/// Reasons gathered so far.
struct Hits<'a> {
    rules: &'a RepoRules,
    base: Option<&'a Catalog>,
    head: &'a Catalog,
    reasons: BTreeMap<ConnectorName, Vec<Reason>>,
}

impl Hits<'_> {
    fn paths(&mut self, paths: &BTreeSet<&str>, impacts: &mut Impacts) {
        let mut left = BTreeSet::new();
        for path in paths {
            if self.rules.ignore.iter().any(|pattern| pattern.matches(path)) {
                impacts.ignored.insert((*path).to_owned());
            } else {
                left.insert(*path);
                if !self.claims(path) {
                    impacts.unclaimed.insert((*path).to_owned());
                }
            }
        }
        let rules = self.rules;
        for rule in &rules.impact {
            for path in self.impact_rule(rule, &left) {
                impacts.unclaimed.remove(path);
            }
        }
        for path in self.depends(&left) {
            impacts.unclaimed.remove(path);
        }
        match self.rules.unclaimed {
            Unclaimed::None => {}
            Unclaimed::Error => impacts.refused.clone_from(&impacts.unclaimed),
            Unclaimed::All => {
                let reason = |path: &String| Reason {
                    path: path.clone(),
                    rule: Rule::Unclaimed,
                    via: Vec::new(),
                };
                // Thousands of paths times hundreds of connectors; no more are kept anyway.
                let reasons: Vec<Reason> =
                    impacts.unclaimed.iter().take(MAX_REASONS).map(reason).collect();
                self.everyone(&reasons);
            }
        }
    }

    /// Roots and owned paths, on both sides.
    fn claims(&mut self, path: &str) -> bool {
        let sides = [Some(self.head), self.base];
        let claims: BTreeSet<(ConnectorName, Rule)> = sides
            .into_iter()
            .flatten()
            .flat_map(|side| side.claims(path))
            .map(|claim| (claim.connector.clone(), claim.rule))
            .collect();
        let claimed = !claims.is_empty();
        for (name, rule) in claims {
            self.add(&name, Reason { path: path.to_owned(), rule, via: Vec::new() });
        }
        claimed
    }

    /// Adds what the rule reaches; the paths that it claims, whether they reach anything or not.
    fn impact_rule<'p>(&mut self, rule: &ImpactRule, paths: &BTreeSet<&'p str>) -> Vec<&'p str> {
        let matching = |path: &&'p str| {
            let pattern = rule.paths.iter().find(|pattern| pattern.matches(path))?;
            Some((*path, pattern))
        };
        let claimed: Vec<(&'p str, &Pattern)> = paths.iter().filter_map(matching).collect();
        let reason = |path: &str, pattern: &Pattern| Reason {
            path: path.to_owned(),
            rule: Rule::Impact,
            via: vec![pattern.to_string()],
        };
        let head = self.head;
        let fixed: Vec<&Connector> = match &rule.reaches {
            Reaches::All => head.iter().collect(),
            Reaches::Selector(selector) => head.iter().filter(|c| selector.matches(c)).collect(),
            Reaches::Names(names) => {
                for (path, _) in &claimed {
                    for (name, pattern) in named(head, rule, names, path) {
                        self.add(name, reason(path, pattern));
                    }
                }
                Vec::new()
            }
        };
        // The paths are in order and the chains equally long: no later one would be kept.
        for (path, pattern) in claimed.iter().take(MAX_REASONS) {
            for connector in &fixed {
                self.add(&connector.name, reason(path, pattern));
            }
        }
        claimed.into_iter().map(|(path, _)| path).collect()
    }

    /// What is built from the paths, on both sides; the paths that anything is built from.
    fn depends<'p>(&mut self, paths: &BTreeSet<&'p str>) -> Vec<&'p str> {
        let sides = [Some(self.head), self.base];
        let mut claimed = Vec::new();
        // The paths are in order, and those of one place have the same chain: of each place no more
        // than so many would be kept.
        let mut told: HashMap<(usize, &ConnectorName, &str, usize), usize> = HashMap::new();
        for path in paths {
            let sides = sides.into_iter().enumerate();
            let claims = sides.flat_map(|(side, catalog)| {
                let claims = catalog.map(|catalog| catalog.dependencies().claims(path));
                claims.into_iter().flatten().map(move |claim| (side, claim))
            });
            let mut found = false;
            for (side, claim) in claims {
                found = true;
                let by = claim.dependency;
                let place = (side, claim.connector, by.path(), by.derivation());
                let count = told.entry(place).or_default();
                *count += 1;
                if *count <= MAX_REASONS {
                    let via = by.chain().iter().map(ToString::to_string).collect();
                    let reason = Reason { path: (*path).to_owned(), rule: Rule::Depends, via };
                    self.add(claim.connector, reason);
                }
            }
            claimed.extend(found.then_some(*path));
        }
        claimed
    }

    fn everyone(&mut self, reasons: &[Reason]) {
        let head = self.head;
        for connector in head.iter() {
            for reason in reasons {
                self.add(&connector.name, reason.clone());
            }
        }
    }

    fn add(&mut self, name: &ConnectorName, reason: Reason) {
        if let Some(reasons) = self.reasons.get_mut(name) {
            reasons.push(reason);
            // Bounded memory for changes of everything.
            if reasons.len() > 8 * MAX_REASONS {
                keep_shortest(reasons);
            }
        } else {
            self.reasons.insert(name.clone(), vec![reason]);
        }
    }

    /// A connector's other form is tested with it.
    fn twins(&mut self) {
        let paired: Vec<(ConnectorName, Reason)> = self
            .reasons
            .iter()
            .filter_map(|(name, reasons)| {
                let connector = self.head.connector(name).filter(|c| !c.archived)?;
                let reason = reasons.iter().min_by_key(|reason| order(reason))?;
                let via = reason.via.iter().cloned().chain([name.to_string()]).collect();
                let reason = Reason { path: reason.path.clone(), rule: Rule::Impact, via };
                Some((connector.twin.clone()?, reason))
            })
            .collect();
        for (twin, reason) in paired {
            if self.reasons.contains_key(&twin) {
                continue;
            }
            self.add(&twin, reason);
        }
    }

    fn into_impacts(mut self) -> BTreeMap<ConnectorName, Impact> {
        // A connector that is gone is named even where only an ignored path says so.
        for gone in self.base.into_iter().flat_map(Catalog::iter) {
            if self.head.connector(&gone.name).is_none() && !self.reasons.contains_key(&gone.name) {
                let path = gone.marker.clone().unwrap_or_else(|| gone.root.clone());
                self.add(&gone.name, Reason { path, rule: Rule::Root, via: Vec::new() });
            }
        }
        let (head, base) = (self.head, self.base);
        let impact = |(name, mut reasons): (ConnectorName, Vec<Reason>)| {
            let (now, before) =
                (head.connector(&name), base.and_then(|base| base.connector(&name)));
            let change = match (now, before) {
                (Some(_), None) if base.is_some() => ChangeKind::Added,
                (Some(_), _) => ChangeKind::Modified,
                (None, _) => ChangeKind::Removed,
            };
            let connector: &Connector = now.or(before)?;
            if now.is_some_and(|connector| connector.archived) {
                return None;
            }
            keep_shortest(&mut reasons);
            Some((name.clone(), Impact { name, root: connector.root.clone(), change, reasons }))
        };
        self.reasons.into_iter().filter_map(impact).collect()
    }
}

/// The connectors that a rule's names stand for at a path, each with the first pattern that says
/// so: looked up by name, as most names have no wildcards.
fn named<'c>(
    head: &'c Catalog,
    rule: &'c ImpactRule,
    names: &[Pattern],
    path: &str,
) -> BTreeMap<&'c ConnectorName, &'c Pattern> {
    let mut found = BTreeMap::new();
    for pattern in &rule.paths {
        for bound in pattern.bindings(path) {
            for name in names.iter().filter_map(|name| name.fill(&bound)) {
                for connector in head.matching(&name) {
                    found.entry(&connector.name).or_insert(pattern);
                }
            }
        }
    }
    found
}

fn order(reason: &Reason) -> (usize, Rule, &str, &[String]) {
    (reason.via.len(), reason.rule, &reason.path, &reason.via)
}

fn keep_shortest(reasons: &mut Vec<Reason>) {
    reasons.sort_by(|a, b| order(a).cmp(&order(b)));
    reasons.dedup();
    reasons.truncate(MAX_REASONS);
}

#[cfg(test)]
mod tests;
