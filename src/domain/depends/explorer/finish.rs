//! From the graph to what each connector is built from.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::Manifest;
use super::super::found::{Built, Dependencies, Extent, Place, Step};
use super::super::graph::{Graph, Node, Reached, Walk};
use super::super::tree::{Tree, upwards, within};
use super::{Explorer, Start};
use crate::domain::names::ConnectorName;
use crate::domain::rules::Derivation;

/// So many places are kept of all connectors together; further connectors count as built from
/// anything.
const MAX_PLACES: usize = 1_000_000;
/// So many mentions are followed for all connectors together; likewise.
const MAX_FOLLOWED: usize = 20_000_000;

pub(super) fn finish(explorer: Explorer<'_>) -> Dependencies {
    let Explorer { tree, sets, connectors, graph, unread, missing, .. } = explorer;
    let mut texts = Texts::default();
    let files: Vec<u32> = (0..graph.len())
        .map(|id| match graph.node(id) {
            Some(Node::File { path, .. }) => texts.number(path),
            _ => 0,
        })
        .collect();
    let mut walk = Walk::new(&graph);
    let mut built: Vec<(ConnectorName, Built)> = Vec::new();
    let mut places = 0;
    let mut left_out = 0_usize;
    for start in &connectors {
        let file = |id: usize| files.get(id).copied().unwrap_or_default();
        let walked = if tree.is_cut || places > MAX_PLACES {
            None
        } else {
            walk.from(&graph, &start.nodes, MAX_FOLLOWED, file)
        };
        left_out += usize::from(walked.is_none());
        let one = match walked {
            Some((reached, steps)) => of_connector(start, &graph, &reached, &steps, &mut texts),
            None => anything(&mut texts),
        };
        places += one.places.len();
        built.push((start.name.clone(), one));
    }
    let mut notes = Vec::new();
    if unread > 0 {
        notes.push(format!(
            "The files that say what connectors are built from say too much to follow: what leads \
             to any of {unread} that were left counts as built from everything"
        ));
    }
    if let Some(one) = missing.first() {
        notes.push(format!(
            "`{one}`{} says what connectors are built from and can't be read: what leads to it \
             counts as built from everything; fetch the whole repository",
            match missing.len() {
                1 => String::new(),
                more => format!(" (and {} more)", more - 1),
            }
        ));
    }
    if left_out > 0 {
        notes.push(format!(
            "{left_out} connectors count as built from everything: the tree has more folders, or \
             those before them more dependencies, than are followed"
        ));
    }
    let go = sets.iter().any(|set| set.contains(&Derivation::GoImports));
    let packages = if go { packages(&tree) } else { HashSet::new() };
    Dependencies::new(texts.all, built, packages, notes)
}

fn anything(texts: &mut Texts) -> Built {
    let path = texts.number("");
    let place = Place { path, extent: Extent::Whole, by: 0, step: None, length: 0 };
    Built { steps: Vec::new(), places: vec![place] }
}

/// The folders that the go command takes for packages when it is not asked for them by name.
fn packages(tree: &Tree<'_>) -> HashSet<String> {
    let aside = |part: &str| part == "testdata" || part.starts_with(['_', '.']);
    let folders = tree.folders().filter(|folder| tree.has_go(folder));
    folders.filter(|folder| !folder.split('/').any(aside)).map(str::to_owned).collect()
}

fn of_connector(
    start: &Start<'_>,
    graph: &Graph,
    reached: &[Reached],
    steps: &[Step],
    texts: &mut Texts,
) -> Built {
    let packages = reached.iter().filter_map(|one| match graph.node(one.node) {
        Some(Node::Package { folder, .. }) => Some(folder.as_str()),
        _ => None,
    });
    let above: HashSet<&str> = packages.flat_map(upwards).collect();
    let mut found: BTreeMap<(&str, Extent, usize), &Reached> = BTreeMap::new();
    for one in reached {
        let (Some(by), Some(node)) = (one.by, graph.node(one.node)) else { continue };
        let Some((path, extent)) = place(node, &above) else { continue };
        if within(path, start.root) {
            continue;
        }
        let known = found.entry((path, extent, by)).or_insert(one);
        if one.length < known.length {
            *known = one;
        }
    }
    let places = found.into_iter().map(|((path, extent, by), one)| Place {
        path: texts.number(path),
        extent,
        by,
        step: one.step,
        length: one.length,
    });
    let mut places: Vec<Place> = places.collect();
    let steps = needed(steps, &mut places);
    Built { steps, places }
}

/// What a mention of a node means for the tree; `above` are the folders that hold the connector's
/// packages.
fn place<'g>(node: &'g Node, above: &HashSet<&str>) -> Option<(&'g str, Extent)> {
    Some(match node {
        Node::Package { folder, .. } => (folder, Extent::Package),
        Node::File { manifest: Manifest::Go | Manifest::GoMod, .. } => return None,
        Node::Copied(path) if above.contains(path.as_str()) => (path, Extent::NoPackages),
        Node::Project { folder: path, .. }
        | Node::File { path, .. }
        | Node::Copied(path)
        | Node::Place(path) => (path, Extent::Whole),
    })
}

/// The steps that lead to places, numbered anew.
fn needed(steps: &[Step], places: &mut [Place]) -> Vec<Step> {
    let mut keep = vec![false; steps.len()];
    for place in places.iter() {
        let mut at = place.step;
        while let Some(step) = at {
            let Some(kept) = keep.get_mut(step as usize) else { break };
            if std::mem::replace(kept, true) {
                break;
            }
            at = steps.get(step as usize).and_then(|step| step.before);
        }
    }
    let mut numbers = vec![0_u32; steps.len()];
    let mut kept = Vec::new();
    for ((step, keep), number) in steps.iter().zip(keep).zip(&mut numbers) {
        if keep {
            *number = u32::try_from(kept.len()).unwrap_or(u32::MAX);
            kept.push(*step);
        }
    }
    let number = |old: u32| numbers.get(old as usize).copied();
    for step in &mut kept {
        step.before = step.before.and_then(number);
    }
    for place in places {
        place.step = place.step.and_then(number);
    }
    kept
}

/// Texts that are kept once.
#[derive(Debug, Default)]
struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}
