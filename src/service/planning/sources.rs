//! What a connector's inputs hold, in digests: by which a later run knows what has changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use aws_lc_rs::digest;
use sha2::{Digest, Sha256};

use super::answers::Answers;
use super::snapshot::{Contents, Snapshot, Source};
use crate::domain::catalog::Paths;
use crate::domain::names::Sha;
use crate::domain::plan::Inputs;
use crate::domain::rules::Pattern;
use crate::git::{EntryKind, GitError, LocalRepo};

/// A folder with more parts is told as one.
pub(super) const PARTS: usize = 300;

/// The contents of a tree's files, in the order of its paths.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) files: Vec<(EntryKind, Source)>,
    pub(super) odd: BTreeMap<String, Vec<Odd>>,
    pub(super) work_tree: Option<PathBuf>,
    /// Digests of parts that were written down, where the contents are not there.
    pub(super) known: BTreeMap<String, String>,
}

/// A file whose path is not UTF-8, so that others' may read the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) source: Source,
}

/// Digests of many connectors' inputs, of one tree.
pub(super) struct Digests<'s> {
    sources: &'s Sources,
    paths: &'s Paths,
    /// Which files a pattern stands for; many connectors have the same ones.
    matched: RefCell<HashMap<String, Rc<Vec<usize>>>>,
    /// Digests of parts; connectors share many.
    digested: RefCell<HashMap<Part, String>>,
}

/// A part of a connector's inputs. A path and a pattern may read the same and stand for different
/// files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Path(String),
    Pattern(String),
}

impl Part {
    fn name(&self) -> &str {
        match self {
            Self::Path(name) | Self::Pattern(name) => name,
        }
    }
}

/// What inputs hold at a commit, or in the work tree as it is now: digests as plans have them, in
/// the order of the inputs.
pub async fn sources_here(
    repo: &LocalRepo,
    commit: Option<&Sha>,
    inputs: &[&Inputs],
) -> Result<Vec<BTreeMap<String, String>>, GitError> {
    let answers = Answers::open(None);
    let objects = repo.objects();
    let entries = match (commit, repo.work_tree()) {
        (None, Some(top)) => {
            let mut entries = repo.files(&repo.unstaged().await?).await?;
            // As it is packed: without what a sparse checkout leaves out.
            entries.retain(|entry| top.join(entry.as_path()).symlink_metadata().is_ok());
            entries
        }
        (Some(commit), _) => objects.tree(commit).await?,
        (None, None) => objects.tree(&repo.resolve("HEAD").await?).await?,
    };
    let work_tree = repo.work_tree().filter(|_| commit.is_none());
    let from = Contents { objects, answers: &answers, work_tree, record: false };
    let (paths, sources) = Snapshot::new(from, entries).into_parts();
    let digests = Digests::new(&sources, &paths);
    Ok(inputs.iter().map(|inputs| digests.of(inputs)).collect())
}

impl<'s> Digests<'s> {
    pub(super) fn new(sources: &'s Sources, paths: &'s Paths) -> Self {
        Self { sources, paths, matched: RefCell::default(), digested: RefCell::default() }
    }

    /// A digest of each part of the inputs: a file, what is in a folder of an input, or all that
    /// a pattern stands for.
    pub(super) fn of(&self, inputs: &Inputs) -> BTreeMap<String, String> {
        let mut parts: BTreeMap<Part, Vec<usize>> = BTreeMap::new();
        for input in &inputs.paths {
            self.path(input, &mut parts);
        }
        for glob in &inputs.globs {
            let files = self.matching(glob);
            parts.entry(Part::Pattern(glob.clone())).or_default().extend(files.iter());
        }
        let mut digests: BTreeMap<String, String> = BTreeMap::new();
        for (part, files) in parts {
            if let Some(digest) = self.sources.known.get(part.name()) {
                digests.insert(part.name().to_owned(), digest.clone());
                continue;
            }
            let digest = self.part(&part, files);
            // Two of one name are told as one.
            digests.entry(part.name().to_owned()).or_default().push_str(&digest);
        }
        digests
    }

    /// A part is the same for every connector, however many of its inputs lead to it.
    fn part(&self, part: &Part, mut files: Vec<usize>) -> String {
        if let Some(known) = self.digested.borrow().get(part) {
            return known.clone();
        }
        files.sort_unstable();
        files.dedup();
        let digest = self.digest(&files);
        self.digested.borrow_mut().insert(part.clone(), digest.clone());
        digest
    }

    fn path(&self, input: &str, parts: &mut BTreeMap<Part, Vec<usize>>) {
        if let Some(at) = self.paths.position(input) {
            parts.entry(Part::Path(input.to_owned())).or_default().push(at);
        }
        let range = self.paths.range(input);
        let skip = if input.is_empty() { 0 } else { input.len() + 1 };
        let child = |at: usize| {
            let path = self.paths.at(at);
            let rest = path.get(skip..).unwrap_or_default();
            path[..skip + rest.find('/').unwrap_or(rest.len())].to_owned()
        };
        let mut children: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for at in range.clone() {
            children.entry(child(at)).or_default().push(at);
            if children.len() > PARTS {
                parts.entry(Part::Path(format!("{input}/"))).or_default().extend(range);
                return;
            }
        }
        for (name, files) in children {
            parts.entry(Part::Path(name)).or_default().extend(files);
        }
    }

    fn matching(&self, glob: &str) -> Rc<Vec<usize>> {
        if let Some(known) = self.matched.borrow().get(glob) {
            return known.clone();
        }
        let pattern = Pattern::parse(glob).ok();
        let paths = self.paths.iter().enumerate();
        let matches = |path: &str| pattern.as_ref().is_some_and(|pattern| pattern.matches(path));
        let found: Vec<usize> = paths.filter(|(_, path)| matches(path)).map(|(at, _)| at).collect();
        let found = Rc::new(found);
        self.matched.borrow_mut().insert(glob.to_owned(), found.clone());
        found
    }

    fn digest(&self, files: &[usize]) -> String {
        let mut digest = Sha256::new();
        for at in files {
            let path = self.paths.at(*at);
            if let Some(odd) = self.sources.odd.get(path) {
                for Odd { path, kind, source } in odd {
                    self.add(&mut digest, (path, *kind), source);
                }
            } else if let Some((kind, source)) = self.sources.files.get(*at) {
                self.add(&mut digest, (path.as_bytes(), *kind), source);
            }
        }
        hex::encode(digest.finalize())
    }

    fn add(&self, digest: &mut Sha256, (path, kind): (&[u8], EntryKind), source: &Source) {
        let kind = match kind {
            EntryKind::File => "file",
            EntryKind::Executable => "executable",
            // A submodule is no file of this tree: there are none here.
            EntryKind::Symlink | EntryKind::Submodule => "link",
        };
        let content = match source {
            Source::Blob(oid) => oid.to_string(),
            Source::Disk(path) => self.on_disk(path),
        };
        digest.update(path);
        digest.update(format!("\0{kind}\0{content}\n"));
    }

    /// A file that differs from the index has no object's name yet. One that can't be read now is
    /// met again, and told, where the source is packed.
    fn on_disk(&self, path: &Path) -> String {
        let path = self.sources.work_tree.as_deref().unwrap_or(Path::new("")).join(path);
        let content = match std::fs::read_link(&path) {
            Ok(target) => target.as_os_str().as_bytes().to_vec(),
            Err(_) => std::fs::read(&path).unwrap_or_default(),
        };
        // As git calls it, so that a work tree's plan is the one that its commit will have.
        let mut digest = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        digest.update(format!("blob {}\0", content.len()).as_bytes());
        digest.update(&content);
        hex::encode(digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::Sha;

    fn blob(digit: char) -> Source {
        Source::Blob(digit.to_string().repeat(40).parse::<Sha>().unwrap())
    }

    fn tree(files: &[(&str, char)]) -> (Paths, Sources) {
        let paths = Paths::new(files.iter().map(|(path, _)| (*path).to_owned()).collect());
        let files = files.iter().map(|(_, digit)| (EntryKind::File, blob(*digit))).collect();
        (paths, Sources { files, odd: BTreeMap::new(), work_tree: None, known: BTreeMap::new() })
    }

    fn inputs(paths: &[&str], globs: &[&str]) -> Inputs {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Inputs { paths: owned(paths), globs: owned(globs) }
    }

    #[test]
    fn a_file_that_is_called_like_a_pattern_is_not_taken_for_it() {
        let glob = "a/*.txt";
        let (paths, mut sources) = tree(&[("a/*.txt", '1'), ("a/b.txt", '2')]);
        let of = |sources: &Sources, first: Inputs, then: Inputs| {
            let digests = Digests::new(sources, &paths);
            digests.of(&first);
            digests.of(&then)
        };
        let (file, pattern) = (inputs(&[glob], &[]), inputs(&[], &[glob]));
        let alone = of(&sources, pattern.clone(), pattern.clone());
        assert_eq!(of(&sources, file.clone(), pattern.clone()), alone, "whoever was asked before");
        assert_ne!(of(&sources, pattern.clone(), file.clone()), alone);
        let both = inputs(&[glob], &[glob]);
        let before = of(&sources, both.clone(), both.clone());
        sources.files[1].1 = blob('3');
        assert_ne!(of(&sources, both.clone(), both), before, "neither hides the other");
    }

    #[test]
    fn inputs_that_overlap_are_told_as_the_ones_that_they_are() {
        let (paths, sources) = tree(&[("a/one", '1'), ("a/two", '2')]);
        let of = |first: &Inputs, then: &Inputs| {
            let digests = Digests::new(&sources, &paths);
            digests.of(first);
            digests.of(then)
        };
        let (whole, twice) = (inputs(&["a"], &[]), inputs(&["a", "a/one"], &[]));
        assert_eq!(of(&whole, &twice), of(&twice, &whole));
    }

    #[test]
    fn files_whose_names_read_the_same_are_all_digested() {
        let (paths, mut sources) = tree(&[("a/\u{fffd}", '1')]);
        let digest = |names: [&[u8]; 2], sources: &mut Sources, digit| {
            let odd = |path: &[u8], source| {
                let kind = EntryKind::File;
                Odd { path: [b"a/", path].concat(), kind, source }
            };
            let both = vec![odd(names[0], blob('1')), odd(names[1], blob(digit))];
            sources.odd = BTreeMap::from([("a/\u{fffd}".to_owned(), both)]);
            Digests::new(sources, &paths).of(&inputs(&["a"], &[]))
        };
        let before = digest([b"\xfe", b"\xff"], &mut sources, '2');
        assert_ne!(digest([b"\xfe", b"\xff"], &mut sources, '3'), before, "its content");
        assert_ne!(digest([b"\xfd", b"\xff"], &mut sources, '2'), before, "its name");
    }
}
