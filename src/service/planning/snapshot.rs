//! A tree as planning sees it: a commit's, or the work tree's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::answers::Answers;
use super::sources::{Odd, Sources};
use crate::domain::catalog::Paths;
use crate::domain::names::Sha;
use crate::git::{EntryKind, GitError, Objects, TreeEntry};

/// Larger files are nobody's configuration.
const LARGEST: usize = 1024 * 1024;

/// Where a file's content comes from; equal sources have equal contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    Blob(Sha),
    /// Below the top of the work tree.
    Disk(PathBuf),
}

/// Where the contents of a repository's files come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents<'r> {
    pub(super) objects: &'r Objects,
    pub(super) answers: &'r Answers,
    /// Of what differs from the index.
    pub(super) work_tree: Option<&'r Path>,
}

pub(super) struct Snapshot<'r> {
    from: Contents<'r>,
    pub(super) paths: Paths,
    /// In the order of the paths.
    files: Vec<(EntryKind, Source)>,
    /// What stands behind paths that are not UTF-8.
    odd: BTreeMap<String, Vec<Odd>>,
    /// Symbolic links and submodules.
    special: BTreeMap<String, EntryKind>,
}

impl<'r> Snapshot<'r> {
    pub(super) fn new(from: Contents<'r>, entries: Vec<TreeEntry>) -> Self {
        let is_special =
            |entry: &&TreeEntry| matches!(entry.kind, EntryKind::Symlink | EntryKind::Submodule);
        let special = entries.iter().filter(is_special);
        let special = special.map(|entry| (entry.path.clone(), entry.kind)).collect();
        // A submodule's path is a folder here: nothing in it is this repository's.
        let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Submodule);
        let source = |entry: &TreeEntry| match from.work_tree {
            Some(_) if entry.is_unstaged() => Source::Disk(entry.as_path().to_owned()),
            Some(_) | None => Source::Blob(entry.oid.clone()),
        };
        // Names that are not UTF-8 sort otherwise as texts, and several may read the same.
        let mut files: Vec<TreeEntry> = files.collect();
        files.sort_by(|a, b| (&a.path, a.path_bytes()).cmp(&(&b.path, b.path_bytes())));
        let mut odd: BTreeMap<String, Vec<Odd>> = BTreeMap::new();
        for same in files.chunk_by(|a, b| a.path == b.path) {
            if let [entry] = same
                && entry.raw.is_none()
            {
                continue;
            }
            let one = |entry: &TreeEntry| {
                let (path, kind) = (entry.path_bytes().to_vec(), entry.kind);
                Odd { path, kind, source: source(entry) }
            };
            odd.insert(same[0].path.clone(), same.iter().map(one).collect());
        }
        files.dedup_by(|later, earlier| later.path == earlier.path);
        let file = |entry: TreeEntry| ((entry.kind, source(&entry)), entry.path);
        let (files, paths) = files.into_iter().map(file).unzip();
        Self { from, paths: Paths::new(paths), files, odd, special }
    }

    /// Writes down what was read out of files, for the next survey.
    pub(super) fn keep_answers(&self) {
        self.from.answers.keep();
    }

    pub(super) fn source(&self, path: &str) -> Option<&Source> {
        self.files.get(self.paths.position(path)?).map(|(_, source)| source)
    }

    /// Its paths and what they hold.
    pub(super) fn into_parts(self) -> (Paths, Sources) {
        let work_tree = self.from.work_tree.map(Path::to_owned);
        (self.paths, Sources { files: self.files, odd: self.odd, work_tree })
    }

    /// Is the path a symbolic link or a submodule?
    pub(super) fn special(&self, path: &str) -> Option<EntryKind> {
        self.special.get(path).copied()
    }

    /// One file's content, if it is there; an error if it can't be read.
    pub(super) async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        match self.source(path) {
            Some(Source::Blob(oid)) => {
                let read = self.from.objects.read(oid, LARGEST).await?;
                read.map(Some).ok_or_else(|| GitError::Unread { path: path.to_owned() })
            }
            Some(Source::Disk(below)) => {
                let failed = |source| GitError::Io { what: format!("`{path}`"), source };
                self.on_disk(below).map(Some).map_err(failed)
            }
            None => Ok(None),
        }
    }

    /// Contents of those of the paths that can be read.
    pub(super) async fn read(
        &self,
        paths: &BTreeSet<&str>,
    ) -> Result<HashMap<Source, Vec<u8>>, GitError> {
        let mut found = HashMap::new();
        let sources = paths.iter().filter_map(|path| self.source(path));
        self.each(sources, |source, content| drop(found.insert(source, content.to_vec()))).await?;
        Ok(found)
    }

    /// Shows the contents of those of the sources that can be read, each once.
    async fn each(
        &self,
        sources: impl Iterator<Item = &Source>,
        mut show: impl FnMut(Source, &[u8]),
    ) -> Result<(), GitError> {
        let mut oids = BTreeSet::new();
        for source in sources {
            match source {
                Source::Blob(oid) => drop(oids.insert(oid)),
                Source::Disk(path) => {
                    if let Ok(content) = self.on_disk(path) {
                        show(source.clone(), &content);
                    }
                }
            }
        }
        let show = |oid: &Sha, content: Vec<u8>| show(Source::Blob(oid.clone()), &content);
        self.from.objects.read_each(&oids, LARGEST, show).await
    }

    /// At most one byte more than [`LARGEST`], which tells that it is larger. A symbolic link's is
    /// its target's name, as in a commit.
    fn on_disk(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = self.from.work_tree.ok_or(io::ErrorKind::NotFound)?.join(path);
        if let Ok(target) = std::fs::read_link(&path) {
            return Ok(target.as_os_str().as_bytes().to_vec());
        }
        let file = std::fs::File::open(path)?;
        let mut content = Vec::new();
        file.take(LARGEST as u64 + 1).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Answers a question about files, from what is known already or from their contents, each
    /// source once. What can't be read has no answer.
    pub(super) async fn ask<A>(
        &self,
        question: &str,
        sources: impl Iterator<Item = &Source>,
        answer: impl Fn(&[u8]) -> A,
    ) -> Result<HashMap<Source, A>, GitError>
    where
        A: serde::Serialize + serde::de::DeserializeOwned,
    {
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        for source in sources.collect::<BTreeSet<_>>() {
            let known = match source {
                Source::Blob(oid) => self.from.answers.find(question, oid),
                Source::Disk(_) => None,
            };
            match known {
                Some(known) => drop(found.insert(source.clone(), known)),
                None => unknown.push(source),
            }
        }
        let show = |source: Source, content: &[u8]| {
            let answer = answer(content);
            if let Source::Blob(oid) = &source {
                self.from.answers.learn(question, oid, &answer);
            }
            found.insert(source, answer);
        };
        self.each(unknown.into_iter(), show).await?;
        Ok(found)
    }
}
