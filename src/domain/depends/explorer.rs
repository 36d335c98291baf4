//! From files to what they lead to: asks for one layer of files after the other.

mod context;
mod finish;
mod resolve;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use self::context::Context;
use super::found::Dependencies;
use super::graph::{Arrow, Family, Graph, Node, NodeId};
use super::tree::{Tree, extension, file_name, folder, join, upwards};
use super::{Manifest, Reference, Written};
use crate::domain::catalog::{Catalog, Connector, Paths};
use crate::domain::names::ConnectorName;
use crate::domain::rules::{Derivation, RepoRules};

/// More files than this are not read; what would be in them counts as anything.
const MAX_FILES: usize = 100_000;
/// So many are asked for at a time, and so often: each time costs a process of git's.
const AT_ONCE: usize = 1000;
const MAX_ROUNDS: usize = 500;
/// What a look at one waiting file costs, as bytes of names.
const LOOK: usize = 16;

/// Follows references through one tree.
#[derive(Debug)]
pub struct Explorer<'t> {
    tree: Tree<'t>,
    /// The different lists of derivations that connectors' rules have.
    sets: Vec<&'t [Derivation]>,
    connectors: Vec<Start<'t>>,
    graph: Graph,
    context: Context,
    /// Files that are to be followed.
    waiting: Vec<NodeId>,
    /// How many files were asked for, and how often.
    asked: usize,
    rounds: usize,
    learned: HashMap<(Manifest, String), Arc<[Reference]>>,
    /// Files that were too many to be read or followed.
    unread: usize,
    /// Files that are there and can't be read.
    missing: BTreeSet<String>,
}

/// A connector, and what it consists of.
#[derive(Debug)]
struct Start<'t> {
    name: &'t ConnectorName,
    root: &'t str,
    nodes: Vec<NodeId>,
}

impl<'t> Explorer<'t> {
    pub fn new(rules: &'t RepoRules, catalog: &'t Catalog, paths: &'t Paths) -> Self {
        let used = rules.connectors.iter().any(|rule| !rule.depends.is_empty());
        let mut explorer = Self {
            tree: Tree::new(paths, used),
            sets: Vec::new(),
            connectors: Vec::new(),
            graph: Graph::default(),
            context: Context::default(),
            waiting: Vec::new(),
            asked: 0,
            rounds: 0,
            learned: HashMap::new(),
            unread: 0,
            missing: BTreeSet::new(),
        };
        for connector in catalog.iter() {
            let rule = connector.rule.and_then(|rule| rules.connectors.get(rule));
            let Some(derivations) = rule.map(|rule| rule.depends.as_slice()) else { continue };
            // A connector that is the whole tree is built from nothing else.
            if derivations.is_empty() || connector.root.is_empty() {
                continue;
            }
            let set = explorer.set(derivations);
            let nodes = explorer.start(set, derivations, connector);
            explorer.connectors.push(Start { name: &connector.name, root: &connector.root, nodes });
        }
        if explorer.connectors.is_empty() {
            return explorer;
        }
        explorer.context = Context::new(catalog, &explorer.tree, &explorer.sets);
        explorer
    }

    fn set(&mut self, derivations: &'t [Derivation]) -> usize {
        self.sets.iter().position(|set| *set == derivations).unwrap_or_else(|| {
            self.sets.push(derivations);
            self.sets.len() - 1
        })
    }

    /// What a connector's own files are.
    fn start(&mut self, set: usize, derivations: &[Derivation], of: &Connector) -> Vec<NodeId> {
        let root = of.root.as_str();
        let project = |family| Node::Project { set, family, folder: root.to_owned() };
        let mut nodes = Vec::new();
        if self.tree.is_folder(root) {
            nodes.extend([Family::Python, Family::Gradle, Family::Docker].map(project));
        }
        for path in self.tree.beneath(root).iter().map(String::as_str).chain([root]) {
            nodes.extend(own(set, derivations, path));
        }
        let mut ids: Vec<NodeId> = nodes.iter().map(|node| self.visit(node)).collect();
        ids.dedup();
        ids
    }

    /// The node's number; a new one's parts are looked up.
    fn visit(&mut self, node: &Node) -> NodeId {
        let (id, new) = self.graph.id(node);
        if !new {
            return id;
        }
        // Twice its name, and its place in the walks.
        self.tree.charge_entries(3);
        let parts = match node {
            Node::Project { set, family, folder } => self.manifests(*set, *family, folder),
            Node::Package { set, folder, tests } => {
                self.tree.charge_upwards(folder);
                self.sources(*set, folder, *tests)
            }
            Node::File { .. } => {
                self.waiting.push(id);
                Vec::new()
            }
            Node::Copied(_) | Node::Place(_) => Vec::new(),
        };
        for part in parts {
            let to = self.visit(&part);
            self.graph.add(id, Arrow { to, mention: None });
        }
        id
    }

    /// The manifests of a family that lie directly in a folder.
    fn manifests(&self, set: usize, family: Family, folder: &str) -> Vec<Node> {
        let derivations = self.sets.get(set).copied().unwrap_or_default();
        let mut found = Vec::new();
        let mut add = |manifest, path: &str| {
            if self.tree.is_file(path) {
                found.push(Node::File { set, manifest, path: path.to_owned() });
            }
        };
        for derivation in derivations {
            match (derivation, family) {
                (Derivation::PyprojectPath, Family::Python) => {
                    add(Manifest::Pyproject, &join(folder, "pyproject.toml"));
                }
                (Derivation::SetupPy, Family::Python) => {
                    add(Manifest::SetupPy, &join(folder, "setup.py"));
                }
                (Derivation::RequirementsPath, Family::Python) => {
                    let own = self.tree.files(folder);
                    let apart = join(folder, "requirements");
                    for path in own.chain(self.tree.files(&apart)).filter(|p| is_requirements(p)) {
                        add(Manifest::Requirements, path);
                    }
                }
                (Derivation::Gradle, Family::Gradle) => {
                    for name in ["build.gradle", "build.gradle.kts"] {
                        add(Manifest::Gradle, &join(folder, name));
                    }
                    let top = context::gradle_top(&self.tree, folder);
                    for name in context::GRADLE_SETTINGS {
                        add(Manifest::GradleSettings, &join(top, name));
                    }
                }
                (Derivation::DockerfileCopy | Derivation::DockerfileFrom, Family::Docker) => {
                    for path in self.tree.files(folder).filter(|path| is_dockerfile(path)) {
                        add(Manifest::Dockerfile, path);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The source files of a Go package, and its module.
    fn sources(&self, set: usize, folder: &str, tests: bool) -> Vec<Node> {
        let sources = self.tree.files(folder).filter(|path| extension(path) == "go");
        let sources = sources.filter(|path| tests || !path.ends_with("_test.go"));
        let file = |manifest, path: &str| Node::File { set, manifest, path: path.to_owned() };
        let mut found: Vec<Node> = sources.map(|path| file(Manifest::Go, path)).collect();
        let module = upwards(folder).map(|folder| join(folder, "go.mod"));
        let module = module.into_iter().find(|path| self.tree.is_file(path));
        found.extend(module.map(|path| file(Manifest::GoMod, &path)));
        found
    }

    /// The files that it wants to see next, each once; empty when there is nothing left to follow.
    pub fn wanted(&mut self) -> BTreeSet<(Manifest, String)> {
        let mut wanted = BTreeSet::new();
        if !self.is_spent() {
            // Nothing is followed before it is known what names stand for.
            wanted = self.context.wanted(AT_ONCE);
        }
        if wanted.is_empty() {
            wanted = self.next();
        }
        self.asked += wanted.len();
        self.rounds += 1;
        wanted
    }

    /// Follows what was learned, as far as that goes.
    fn next(&mut self) -> BTreeSet<(Manifest, String)> {
        let mut wanted = BTreeSet::new();
        loop {
            let mut later = Vec::new();
            let waiting = std::mem::take(&mut self.waiting);
            self.tree.charge(waiting.len() * LOOK);
            let before = self.graph.len();
            for id in waiting {
                let Some(Node::File { set, manifest, path }) = self.graph.node(id).cloned() else {
                    continue;
                };
                let key = (manifest, path);
                match self.learned.get(&key).cloned() {
                    _ if self.is_spent() => self.leads_anywhere(id, set),
                    Some(references) => self.follow(id, set, &key, &references),
                    None => {
                        later.push(id);
                        wanted.extend((wanted.len() < AT_ONCE).then_some(key));
                    }
                }
            }
            let progress = self.graph.len() > before && !self.waiting.is_empty();
            self.waiting.extend(later);
            if !progress {
                return wanted;
            }
        }
    }

    /// Is the rest of the files left unread?
    fn is_spent(&self) -> bool {
        self.asked > MAX_FILES || self.rounds > MAX_ROUNDS || self.tree.is_spent()
    }

    /// Shows it what one file mentions that it wanted; `None` if the file can't be read.
    pub fn learn(&mut self, manifest: Manifest, path: &str, found: Option<Arc<[Reference]>>) {
        let references = found.unwrap_or_else(|| {
            self.missing.insert(path.to_owned());
            Arc::new([Reference { line: 1, to: Written::Anything }])
        });
        self.tree.charge(path.len() + references.iter().map(|one| one.to.length()).sum::<usize>());
        self.tree.charge_entries(1 + references.len());
        self.context.learn(manifest, path, &references);
        self.learned.insert((manifest, path.to_owned()), references);
    }

    /// What is in the file goes unanswered: it may be anything.
    fn leads_anywhere(&mut self, from: NodeId, set: usize) {
        self.unread += 1;
        let anything = self.visit(&Node::Place(String::new()));
        for by in 0..self.sets.get(set).map_or(0, |derivations| derivations.len()) {
            self.graph.add(from, Arrow { to: anything, mention: Some((1, by)) });
        }
    }

    fn follow(
        &mut self,
        from: NodeId,
        set: usize,
        (manifest, path): &(Manifest, String),
        references: &[Reference],
    ) {
        let derivations = self.sets.get(set).copied().unwrap_or_default();
        for (by, derivation) in derivations.iter().enumerate() {
            let file = resolve::File { set, derivation, manifest: *manifest, path };
            let mut found = Vec::new();
            for reference in references {
                let nodes = file.leads_to(&reference.to, &self.tree, &self.context);
                self.tree.charge(path.len() + reference.to.length());
                self.tree.charge_entries(nodes.len());
                if self.tree.is_spent() {
                    return self.leads_anywhere(from, set);
                }
                found.extend(nodes.into_iter().map(|node| (reference.line, node)));
            }
            found.extend(file.implied(&self.tree).into_iter().map(|node| (1, node)));
            // Of several mentions of one thing, the first counts.
            let mut seen = HashSet::new();
            for (line, node) in found {
                let to = self.visit(&node);
                if seen.insert(to) {
                    self.graph.add(from, Arrow { to, mention: Some((line, by)) });
                }
            }
        }
    }

    pub fn finish(self) -> Dependencies {
        finish::finish(self)
    }
}

/// What one of a connector's own files is to a set of derivations.
fn own(set: usize, derivations: &[Derivation], path: &str) -> Option<Node> {
    let has = |wanted: fn(&Derivation) -> bool| derivations.iter().any(wanted);
    let file = |manifest| Some(Node::File { set, manifest, path: path.to_owned() });
    match extension(path) {
        "go" if has(|one| *one == Derivation::GoImports) => {
            Some(Node::Package { set, folder: folder(path).to_owned(), tests: true })
        }
        "py" if has(|one| matches!(one, Derivation::PythonImports { .. })) => {
            file(Manifest::Python)
        }
        "txt" | "in"
            if is_requirements(path) && has(|one| *one == Derivation::RequirementsPath) =>
        {
            file(Manifest::Requirements)
        }
        _ => None,
    }
}

/// `requirements-dev.txt`, `requirements.in`, `requirements/dev.txt`, …
fn is_requirements(path: &str) -> bool {
    let name = file_name(path);
    matches!(extension(name), "txt" | "in")
        && (name.contains("requirements") || file_name(folder(path)) == "requirements")
}

/// `Dockerfile`, `Dockerfile.dev`, `dev.Dockerfile`
fn is_dockerfile(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let named =
        name == "dockerfile" || name.starts_with("dockerfile.") || name.ends_with(".dockerfile");
    named && !name.ends_with(".dockerignore")
}
