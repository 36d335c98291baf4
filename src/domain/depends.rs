//! What connectors are built from beyond their own folder, derived from what their files say:
//! path dependencies, copied folders, imports. Each edge keeps the file and line that made it.
//!
//! Two halves, both pure. [`references`] reads one file; its answer depends on the content alone,
//! so that it can be kept by the content's id. [`Explorer`] follows references through a tree: it
//! says which files it wants to see next, is shown them, and ends with [`Dependencies`].
//!
//! The readers are scanners and no compilers: where a text is computed they skip it, and where it
//! is ambiguous they name more rather than less.

mod cursor;
mod dockerfile;
mod explorer;
mod found;
mod go;
mod gradle;
mod graph;
mod image;
mod pyproject;
mod python;
mod python_text;
mod requirement;
mod requirements;
mod setup_py;
mod tree;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use self::explorer::Explorer;
pub use self::found::{Claimed, Dependencies, Dependency, Edge, Extent};

/// Raised whenever [`references`] answers differently for any content: kept answers are then void.
pub const VERSION: u32 = 4;

/// A file that mentions more than this many things is taken to be built from anything.
const MAX_REFERENCES: usize = 2_000;
/// The longest thing that is told by its name, in bytes; a longer one may be anything.
const MAX_NAME: usize = 1024;
/// What a file names, all together, in bytes; of a file that names more, anything.
const MAX_NAMES: usize = 128 * 1024;

/// Files are read up to here; what a longer one says behind may be anything. Go's imports stand in
/// front.
const MAX_BYTES: usize = 1024 * 1024;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// A path from the file's own folder; from the repository's root if it begins with `/`.
    Path(String),
    /// The path of a file of the same kind, which is read as a part of this one.
    Included(String),
    /// What a Dockerfile copies out of its build's context; `*`, `?` and `[…]` are wildcards.
    Copied(String),
    /// An image, without its tag and digest.
    Image(String),
    /// A Gradle project: `:a:b`.
    Project(String),
    /// Where Gradle's settings put a project: a path from their own folder.
    ProjectFolder { project: String, folder: String },
    /// The name of the Go module that a `go.mod` makes.
    Module(String),
    /// A Go module that a `go.mod` takes from a folder: a path from its own.
    Replaced { module: String, folder: String },
    /// A Go package, by its import path.
    Package(String),
    /// A Python module: how many dots stand in front, and its name.
    PythonModule { dots: u32, name: String },
    /// More than is told one by one: anything in the tree.
    Anything,
}

impl Written {
    /// Of all that it names, in bytes.
    fn length(&self) -> usize {
        match self {
            Self::Path(name)
            | Self::Included(name)
            | Self::Copied(name)
            | Self::Image(name)
            | Self::Project(name)
            | Self::Module(name)
            | Self::Package(name)
            | Self::PythonModule { name, .. } => name.len(),
            Self::ProjectFolder { project: name, folder }
            | Self::Replaced { module: name, folder } => name.len() + folder.len(),
            Self::Anything => 0,
        }
    }
}

/// The mentions in one file, in its order, each thing once. A text that can't be read mentions
/// nothing.
pub fn references(manifest: Manifest, text: &[u8]) -> Vec<Reference> {
    let length = text.len();
    let text = String::from_utf8_lossy(text.get(..MAX_BYTES).unwrap_or(text));
    let mut found = Mentions::default();
    match manifest {
        Manifest::Pyproject => pyproject::read(&text, &mut found),
        Manifest::Requirements => requirements::read(&text, &mut found),
        Manifest::SetupPy => setup_py::read(&text, &mut found),
        Manifest::Gradle => gradle::build(&text, &mut found),
        Manifest::GradleSettings => gradle::settings(&text, &mut found),
        Manifest::Dockerfile => dockerfile::read(&text, &mut found),
        Manifest::Go => go::source(&text, &mut found),
        Manifest::GoMod => go::module(&text, &mut found),
        Manifest::Python => python::read(&text, &mut found),
    }
    if length > MAX_BYTES && manifest != Manifest::Go {
        found.add(1, Written::Anything);
    }
    found.references
}

/// Mentions gathered so far.
#[derive(Debug, Default)]
struct Mentions {
    references: Vec<Reference>,
    seen: HashSet<Written>,
    /// The length of all names, in bytes.
    named: usize,
    /// Anything is said: more would be kept for nothing.
    full: bool,
}

impl Mentions {
    /// Adds a mention; of the same thing, the first counts.
    fn add(&mut self, line: u32, to: Written) {
        if self.full || self.seen.contains(&to) {
            return;
        }
        self.named += to.length();
        self.full = to == Written::Anything
            || to.length() > MAX_NAME
            || self.named > MAX_NAMES
            || self.references.len() == MAX_REFERENCES;
        let to = if self.full { Written::Anything } else { to };
        self.seen.insert(to.clone());
        self.references.push(Reference { line, to });
    }

    fn path(&mut self, line: u32, path: &str) {
        if !path.is_empty() {
            self.add(line, Written::Path(path.to_owned()));
        }
    }
}

/// The line of a byte in a text, for offsets that only grow.
#[derive(Debug)]
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    fn line(&mut self, offset: usize) -> u32 {
        if offset < self.at {
            (self.at, self.line) = (0, 1);
        }
        let passed = self.text.get(self.at..offset).unwrap_or_default();
        let breaks = passed.matches('\n').count();
        self.line = self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        self.at = offset.min(self.text.len());
        self.line
    }
}

/// The numbered lines of a text.
fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}

#[cfg(test)]
mod tests;
