//! A tree as planning sees it: a commit's, or the work tree's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::answers::Answers;
use super::definition::{Definition, Tape};
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
    /// Is what is read to be written down, so that all can be planned again without the repository?
    pub(super) record: bool,
}

/// A repository, or what was written down of one.
#[derive(Debug, Clone, Copy)]
enum Origin<'r> {
    Repository(Contents<'r>),
    Told(&'r Definition),
}

pub(super) struct Snapshot<'r> {
    from: Origin<'r>,
    pub(super) paths: Paths,
    /// In the order of the paths.
    files: Vec<(EntryKind, Source)>,
    /// What stands behind paths that are not UTF-8.
    odd: BTreeMap<String, Vec<Odd>>,
    /// Symbolic links and submodules.
    special: BTreeMap<String, EntryKind>,
    /// What was read.
    tape: Option<Mutex<Tape>>,
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
        let (tape, from) = (from.record.then(Mutex::default), Origin::Repository(from));
        Self { from, paths: Paths::new(paths), files, odd, special, tape }
    }

    /// A tree that was written down: files in the order of their paths, and what is special.
    pub(super) fn told(
        definition: &'r Definition,
        files: BTreeMap<String, Source>,
        special: BTreeMap<String, EntryKind>,
    ) -> Self {
        let kind = |path: &String| special.get(path).copied().unwrap_or(EntryKind::File);
        let files: Vec<(String, (EntryKind, Source))> =
            files.into_iter().map(|(path, source)| (path.clone(), (kind(&path), source))).collect();
        let (paths, files) = files.into_iter().unzip();
        let (from, odd) = (Origin::Told(definition), BTreeMap::new());
        Self { from, paths: Paths::new(paths), files, odd, special, tape: None }
    }

    /// Writes down what was read out of files, for the next survey.
    pub(super) fn keep_answers(&self) {
        match self.from {
            Origin::Repository(from) => from.answers.keep(),
            Origin::Told(_) => {}
        }
    }

    pub(super) fn source(&self, path: &str) -> Option<&Source> {
        let at = self.paths.position(path)?;
        if let Some(mut tape) = self.tape() {
            tape.asked.insert(at);
        }
        self.files.get(at).map(|(_, source)| source)
    }

    /// What was read, if that is written down.
    pub(super) fn tape(&self) -> Option<MutexGuard<'_, Tape>> {
        self.tape.as_ref().map(|tape| tape.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The symbolic links and submodules.
    pub(super) fn specials(&self) -> &BTreeMap<String, EntryKind> {
        &self.special
    }

    pub(super) fn file_at(&self, at: usize) -> Option<(&str, &Source)> {
        self.files.get(at).map(|(_, source)| (self.paths.at(at), source))
    }

    /// Its paths and what they hold.
    pub(super) fn into_parts(self) -> (Paths, Sources) {
        let (work_tree, known) = match self.from {
            Origin::Repository(from) => (from.work_tree.map(Path::to_owned), BTreeMap::new()),
            Origin::Told(definition) => (None, definition.digests().clone()),
        };
        (self.paths, Sources { files: self.files, odd: self.odd, work_tree, known })
    }

    /// Is the path a symbolic link or a submodule?
    pub(super) fn special(&self, path: &str) -> Option<EntryKind> {
        self.special.get(path).copied()
    }

    /// One file's content, if it is there; an error if it can't be read.
    pub(super) async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let Some(source) = self.source(path) else { return Ok(None) };
        let unread = || GitError::Unread { path: path.to_owned() };
        let content = match (self.from, source) {
            (Origin::Told(definition), source) => definition.content(source).ok_or_else(unread)?,
            (Origin::Repository(from), Source::Blob(oid)) => {
                from.objects.read(oid, LARGEST).await?.ok_or_else(unread)?
            }
            (Origin::Repository(_), Source::Disk(below)) => {
                let failed = |source| GitError::Io { what: format!("`{path}`"), source };
                self.on_disk(below).map_err(failed)?
            }
        };
        if let Some(mut tape) = self.tape() {
            tape.contents.insert(source.clone(), content.clone());
        }
        Ok(Some(content))
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
        // Of what is written down there are answers, and no contents to ask anew.
        let Origin::Repository(from) = self.from else { return Ok(()) };
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
        from.objects.read_each(&oids, LARGEST, show).await
    }

    /// At most one byte more than [`LARGEST`], which tells that it is larger. A symbolic link's is
    /// its target's name, as in a commit.
    fn on_disk(&self, path: &Path) -> io::Result<Vec<u8>> {
        let Origin::Repository(from) = self.from else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let path = from.work_tree.ok_or(io::ErrorKind::NotFound)?.join(path);
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
            let known = match (self.from, source) {
                (Origin::Told(definition), source) => definition.answer(question, source),
                (Origin::Repository(from), Source::Blob(oid)) => from.answers.find(question, oid),
                (Origin::Repository(_), Source::Disk(_)) => None,
            };
            match known {
                Some(known) => {
                    self.note(question, source, &known);
                    found.insert(source.clone(), known);
                }
                None => unknown.push(source),
            }
        }
        let show = |source: Source, content: &[u8]| {
            let answer = answer(content);
            if let (Origin::Repository(from), Source::Blob(oid)) = (self.from, &source) {
                from.answers.learn(question, oid, &answer);
            }
            self.note(question, &source, &answer);
            found.insert(source, answer);
        };
        self.each(unknown.into_iter(), show).await?;
        Ok(found)
    }

    fn note<A: serde::Serialize>(&self, question: &str, source: &Source, answer: &A) {
        if let Some(mut tape) = self.tape()
            && let Ok(answer) = serde_json::to_value(answer)
        {
            tape.answers.entry(question.to_owned()).or_default().insert(source.clone(), answer);
        }
    }
}
