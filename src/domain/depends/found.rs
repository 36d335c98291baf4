//! What the connectors of one tree are built from, with an index from paths to connectors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::tree::upwards;
use crate::domain::names::ConnectorName;

/// Chains are told up to this length: the edges next to the connector and next to the place.
const MAX_CHAIN: usize = 40;

/// The file and line that made an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge<'d> {
    pub file: &'d str,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Edge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How much of the tree a place stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// This file; or this folder with all that lies beneath.
    Whole,
    /// A Go package: the folder, and what lies beneath that is no package of its own.
    Package,
    /// The folder without the Go packages in it: those count where they are imported.
    NoPackages,
}

/// One step of a connector's way through the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The step before; `None` for what is the connector's own.
    pub(super) before: Option<u32>,
    pub(super) file: u32,
    pub(super) line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) path: u32,
    pub(super) extent: Extent,
    /// Which of the rule's derivations found it.
    pub(super) by: usize,
    /// The last step of the chain, and its length.
    pub(super) step: Option<u32>,
    pub(super) length: u32,
}

#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) steps: Vec<Step>,
    /// By path.
    pub(super) places: Vec<Place>,
}

/// A place that a connector is built from.
#[derive(Debug, Clone, Copy)]
pub struct Dependency<'d> {
    all: &'d Dependencies,
    built: &'d Built,
    place: Place,
}

impl<'d> Dependency<'d> {
    /// Empty for the whole tree.
    pub fn path(&self) -> &'d str {
        self.all.text(self.place.path)
    }

    pub fn extent(&self) -> Extent {
        self.place.extent
    }

    /// Which of its rule's derivations found it, by its number.
    pub fn derivation(&self) -> usize {
        self.place.by
    }

    /// How many edges lead to it.
    pub fn distance(&self) -> usize {
        self.place.length as usize
    }

    /// From the place to the connector: the file that names the place first, the connector's own
    /// last. Of a long chain the middle is left out.
    pub fn chain(&self) -> Vec<Edge<'d>> {
        let step = |at: u32| self.built.steps.get(at as usize);
        let steps =
            std::iter::successors(self.place.step.and_then(step), |one| one.before.and_then(step));
        let edges = steps.map(|one| Edge { file: self.all.text(one.file), line: one.line });
        let mut chain: Vec<Edge<'d>> = edges.collect();
        if chain.len() > MAX_CHAIN {
            chain.drain(MAX_CHAIN / 2..chain.len() - MAX_CHAIN / 2);
        }
        chain
    }
}

/// A connector that a path reaches, by the shortest chain.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'d> {
    pub connector: &'d ConnectorName,
    pub dependency: Dependency<'d>,
}

/// What the connectors of one tree are built from.
#[derive(Debug, Default)]
pub struct Dependencies {
    texts: Vec<String>,
    built: Vec<(ConnectorName, Built)>,
    by_name: BTreeMap<ConnectorName, usize>,
    /// Path → connector and its place.
    places: HashMap<String, Vec<(usize, usize)>>,
    /// The folders that are Go packages.
    packages: HashSet<String>,
    notes: Vec<String>,
}

impl Dependencies {
    pub(super) fn new(
        texts: Vec<String>,
        built: Vec<(ConnectorName, Built)>,
        packages: HashSet<String>,
        notes: Vec<String>,
    ) -> Self {
        let mut places: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        for (connector, (_, one)) in built.iter().enumerate() {
            for (at, place) in one.places.iter().enumerate() {
                let path = texts.get(place.path as usize).map_or("", String::as_str);
                match places.get_mut(path) {
                    Some(holders) => holders.push((connector, at)),
                    None => drop(places.insert(path.to_owned(), vec![(connector, at)])),
                }
            }
        }
        let by_name = built.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        Self { texts, built, by_name, places, packages, notes }
    }

    fn text(&self, at: u32) -> &str {
        self.texts.get(at as usize).map_or("", String::as_str)
    }

    /// What could not be followed to its end.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The places that a connector is built from, sorted by path.
    pub fn of(&self, connector: &ConnectorName) -> Vec<Dependency<'_>> {
        let built = self.by_name.get(connector).and_then(|at| self.built.get(*at));
        let places = built.into_iter().flat_map(|(_, built)| {
            built.places.iter().map(move |place| Dependency { all: self, built, place: *place })
        });
        places.collect()
    }

    /// The connectors that are built from the path, each once, by its shortest chain.
    pub fn claims(&self, path: &str) -> Vec<Claimed<'_>> {
        let mut best: BTreeMap<&ConnectorName, Dependency<'_>> = BTreeMap::new();
        for claimed in self.reached(path) {
            let better = |than: &Dependency<'_>| {
                (claimed.dependency.place.length, claimed.dependency.path())
                    < (than.place.length, than.path())
            };
            if best.get(claimed.connector).is_none_or(better) {
                best.insert(claimed.connector, claimed.dependency);
            }
        }
        best.into_iter().map(|(connector, dependency)| Claimed { connector, dependency }).collect()
    }

    /// All ways in which the path reaches connectors, in no order.
    pub fn reached(&self, path: &str) -> Vec<Claimed<'_>> {
        let mut found = Vec::new();
        // Does a package lie between the path and the folder looked at?
        let mut inner = false;
        for folder in upwards(path) {
            let package = self.packages.contains(folder);
            for (connector, at) in self.places.get(folder).into_iter().flatten() {
                let Some((name, built)) = self.built.get(*connector) else { continue };
                let Some(place) = built.places.get(*at) else { continue };
                let holds = match place.extent {
                    Extent::Whole => true,
                    Extent::Package => !inner,
                    Extent::NoPackages => !inner && !package,
                };
                if holds {
                    let dependency = Dependency { all: self, built, place: *place };
                    found.push(Claimed { connector: name, dependency });
                }
            }
            inner |= package;
        }
        found
    }
}
