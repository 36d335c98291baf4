//! The graph that references make, and the shortest ways through it.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use super::Manifest;
use super::found::Step;

/// Something that a connector can be built from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// A folder with manifests of a family, for one set of derivations.
    Project { set: usize, family: Family, folder: String },
    /// A Go package: for others, its tests import nothing.
    Package { set: usize, folder: String, tests: bool },
    /// One file that is read.
    File { set: usize, manifest: Manifest, path: String },
    /// What an image's build copies.
    Copied(String),
    /// A file or folder that is not read.
    Place(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Python,
    Gradle,
    Docker,
}

pub(super) type NodeId = usize;

/// From one node to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrow {
    pub(super) to: NodeId,
    /// The line that makes it, and the derivation; `None` for what a thing consists of.
    pub(super) mention: Option<(u32, usize)>,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Node, NodeId>,
    arrows: Vec<Vec<Arrow>>,
}

impl Graph {
    /// The node's number, and whether it is new.
    pub(super) fn id(&mut self, node: &Node) -> (NodeId, bool) {
        if let Some(id) = self.ids.get(node) {
            return (*id, false);
        }
        let id = self.nodes.len();
        self.nodes.push(node.clone());
        self.ids.insert(node.clone(), id);
        self.arrows.push(Vec::new());
        (id, true)
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(super) fn add(&mut self, from: NodeId, arrow: Arrow) {
        if let Some(arrows) = self.arrows.get_mut(from) {
            arrows.push(arrow);
        }
    }

    fn arrows(&self, from: NodeId) -> &[Arrow] {
        self.arrows.get(from).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// A node that a walk came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    pub(super) node: NodeId,
    /// The derivation and the step that named it; `None` for what is a part of a node before.
    pub(super) by: Option<usize>,
    pub(super) step: Option<u32>,
    pub(super) length: u32,
}

/// Shortest ways from one connector's own files, over and over without clearing what is large.
#[derive(Debug)]
pub(super) struct Walk {
    round: u32,
    /// How many arrows it followed in all rounds.
    followed: usize,
    /// Per node: the round that last came to it, and the derivations that named it then.
    seen: Vec<(u32, u64)>,
}

impl Walk {
    pub(super) fn new(graph: &Graph) -> Self {
        Self { round: 0, followed: 0, seen: vec![(0, 0); graph.len()] }
    }

    /// Everything that can be reached, nearest first, and the steps there; `None` if `most` arrows
    /// of all rounds do not suffice. `file` is the number of the file that a node is.
    pub(super) fn from(
        &mut self,
        graph: &Graph,
        starts: &[NodeId],
        most: usize,
        file: impl Fn(NodeId) -> u32,
    ) -> Option<(Vec<Reached>, Vec<Step>)> {
        self.round += 1;
        let mut steps = Vec::new();
        let mut found = Vec::new();
        let start = |node: &NodeId| Reached { node: *node, by: None, step: None, length: 0 };
        let mut queue: VecDeque<Reached> = starts.iter().map(start).collect();
        while let Some(here) = queue.pop_front() {
            let Some(new) = self.come(here.node, here.by) else { continue };
            found.push(here);
            if !new {
                continue;
            }
            let arrows = graph.arrows(here.node);
            self.followed += arrows.len();
            if self.followed > most {
                return None;
            }
            // What a thing consists of is as near as the thing: put in front, in its order.
            for arrow in arrows.iter().rev() {
                if arrow.mention.is_none() {
                    queue.push_front(Reached { node: arrow.to, by: None, ..here });
                }
            }
            for arrow in arrows {
                let Some((line, by)) = arrow.mention else { continue };
                let step = u32::try_from(steps.len()).ok();
                steps.push(Step { before: here.step, file: file(here.node), line });
                let length = here.length + 1;
                queue.push_back(Reached { node: arrow.to, by: Some(by), step, length });
            }
        }
        Some((found, steps))
    }

    /// Is it the first time in this round; `None` if the derivation came here before.
    fn come(&mut self, node: NodeId, by: Option<usize>) -> Option<bool> {
        let seen = self.seen.get_mut(node)?;
        let new = seen.0 != self.round;
        let bit = 1 << by.map_or(0, |by| by.saturating_add(1).min(63));
        if new {
            *seen = (self.round, bit);
        } else if by.is_none() || seen.1 & bit != 0 {
            return None;
        } else {
            seen.1 |= bit;
        }
        Some(new)
    }
}
