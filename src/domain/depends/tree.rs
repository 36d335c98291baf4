//! The questions that references ask of a tree.

use std::cell::Cell;
use std::collections::HashMap;

use crate::domain::catalog::Paths;

/// So many paths may a wildcard stand for; beyond, it is the folder before it.
const MAX_MATCHES: usize = 1000;
/// A longer component with wildcards is the folder before it, in characters.
const MAX_COMPONENT: usize = 256;
/// So many bytes are compared, looked up and kept for one tree: a hostile one asks for more.
const MAX_WORK: usize = 300_000_000;
/// What a folder, a mention and the like cost beside their names, in bytes.
const ENTRY: usize = 128;

/// A tree's folders, each with what lies directly in it.
#[derive(Debug)]
pub(super) struct Tree<'t> {
    paths: &'t Paths,
    folders: HashMap<&'t str, Vec<&'t str>>,
    /// Are these not all of its folders?
    pub(super) is_cut: bool,
    /// The bytes that were compared, looked up and kept.
    work: Cell<usize>,
}

impl<'t> Tree<'t> {
    /// Without folders if nothing will be asked: large trees have many.
    pub(super) fn new(paths: &'t Paths, used: bool) -> Self {
        let mut folders: HashMap<&'t str, Vec<&'t str>> = HashMap::from([("", Vec::new())]);
        let mut before = "";
        let mut work = 0;
        for path in paths.iter().take_while(|_| used) {
            if work > MAX_WORK {
                break;
            }
            let mut child = path;
            loop {
                let folder = folder(child);
                work += folder.len() + ENTRY;
                let children = folders.entry(folder).or_default();
                // What lies in one folder is in one piece of the order.
                if children.last() == Some(&child) {
                    break;
                }
                children.push(child);
                if folder.is_empty() || within(before, folder) {
                    break;
                }
                child = folder;
            }
            before = path;
        }
        Self { paths, folders, is_cut: work > MAX_WORK, work: Cell::new(0) }
    }

    /// Counts bytes of names that are compared or looked up.
    pub(super) fn charge(&self, bytes: usize) {
        self.work.set(self.work.get().saturating_add(bytes));
    }

    /// Counts things that are kept.
    pub(super) fn charge_entries(&self, entries: usize) {
        self.charge(entries.saturating_mul(ENTRY));
    }

    /// Counts a look at each folder on the way up from a path.
    pub(super) fn charge_upwards(&self, path: &str) {
        let depth = path.bytes().filter(|byte| *byte == b'/').count();
        self.charge(path.len().saturating_mul(depth + 1));
    }

    /// Was so much asked that the rest must go unanswered?
    pub(super) fn is_spent(&self) -> bool {
        self.is_cut || self.work.get() > MAX_WORK
    }

    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.folders.contains_key(path)
    }

    pub(super) fn is_file(&self, path: &str) -> bool {
        self.paths.has_file(path)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.is_folder(path) || self.is_file(path)
    }

    /// Whole paths of what lies directly in a folder.
    pub(super) fn children(&self, folder: &str) -> &[&'t str] {
        self.folders.get(folder).map(Vec::as_slice).unwrap_or_default()
    }

    /// The files directly in a folder.
    pub(super) fn files(&self, folder: &str) -> impl Iterator<Item = &'t str> {
        self.children(folder).iter().copied().filter(|child| !self.is_folder(child))
    }

    /// A path and everything beneath it.
    pub(super) fn beneath(&self, path: &str) -> &'t [String] {
        self.paths.within(path)
    }

    /// The folders of the tree, in no order.
    pub(super) fn folders(&self) -> impl Iterator<Item = &'t str> {
        self.folders.keys().copied()
    }

    /// The folder's own Go files: is it a package?
    pub(super) fn has_go(&self, folder: &str) -> bool {
        self.charge(self.children(folder).len());
        self.files(folder).any(|file| extension(file) == "go")
    }

    /// What a path with wildcards stands for in a folder; without any, itself if it is there.
    pub(super) fn matching(&self, folder: &str, pattern: &str) -> Vec<String> {
        let mut found = vec![folder.to_owned()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            // With `COPY --parents`, folders at any depth.
            if part == "**" {
                return found;
            }
            match self.in_folders(&found, part) {
                Some(next) if next.is_empty() => return next,
                Some(next) => found = next,
                None => return found,
            }
        }
        found
    }

    /// What a component stands for in folders; `None` if that is too much to find out.
    fn in_folders(&self, folders: &[String], component: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        for folder in folders {
            if component.contains(['*', '?', '[']) {
                found.extend(self.in_folder(folder, component)?);
            } else {
                let path = join(folder, component);
                found.extend(self.exists(&path).then_some(path));
            }
            if found.len() > MAX_MATCHES {
                return None;
            }
        }
        Some(found)
    }

    fn in_folder(&self, folder: &str, component: &str) -> Option<Vec<String>> {
        let component: Vec<char> = component.chars().take(MAX_COMPONENT + 1).collect();
        if component.len() > MAX_COMPONENT {
            return None;
        }
        let mut found = Vec::new();
        for child in self.children(folder) {
            let name = file_name(child);
            self.charge(name.len() * component.len());
            if self.is_spent() {
                return None;
            }
            if glob(&component, name) {
                found.push((*child).to_owned());
            }
        }
        Some(found)
    }
}

/// `*`, `?` and `[a-z]` within one component.
fn glob(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // `reach[at]`: the pattern so far matches the text's first `at` characters.
    let mut reach = vec![false; text.len() + 1];
    if let Some(start) = reach.first_mut() {
        *start = true;
    }
    let mut at = 0;
    while let Some(token) = pattern.get(at) {
        let rest = pattern.get(at..).unwrap_or_default();
        let (accepts, length): (Box<dyn Fn(char) -> bool>, usize) = match (token, class(rest)) {
            ('*', _) => {
                let mut seen = false;
                for here in &mut reach {
                    seen |= *here;
                    *here = seen;
                }
                at += 1;
                continue;
            }
            ('?', _) => (Box::new(|_| true), 1),
            ('[', Some((class, length))) => (class, length),
            (c, _) => {
                let c = *c;
                (Box::new(move |other| other == c), 1)
            }
        };
        let moved = text.iter().zip(&reach).map(|(c, here)| *here && accepts(*c));
        reach = std::iter::once(false).chain(moved).collect();
        at += length;
    }
    reach.last().copied().unwrap_or_default()
}

type Class<'p> = Box<dyn Fn(char) -> bool + 'p>;

/// `[a-z]`, `[^a-z]`: what it accepts, and its length.
fn class(pattern: &[char]) -> Option<(Class<'_>, usize)> {
    let inner = pattern.strip_prefix(&['['])?;
    let end = inner.iter().skip(1).position(|c| *c == ']')? + 1;
    let inner = inner.get(..end)?;
    let (negated, ranges) = match inner {
        ['^' | '!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let accepts = move |c: char| {
        let range = ranges.windows(3).any(|w| matches!(w, [a, '-', b] if (*a..=*b).contains(&c)));
        (range || ranges.contains(&c)) != negated
    };
    Some((Box::new(accepts), end + 2))
}

/// A path as it is written in a file of the folder; from the tree's top if it begins with `/`.
/// `None` if it leads out of the tree.
pub(super) fn resolved(folder: &str, written: &str) -> Option<String> {
    let mut parts: Vec<&str> = if written.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|part| !part.is_empty()).collect()
    };
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

pub(super) fn within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What stands behind the name's last dot.
pub(super) fn extension(path: &str) -> &str {
    file_name(path).rsplit_once('.').map_or("", |(_, extension)| extension)
}

pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// The folder, then each above it, then the tree's top.
pub(super) fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(cut) => Some(&path[..cut]),
        None if path.is_empty() => None,
        None => Some(""),
    })
}
