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
const PARTS: usize = 300;

/// The contents of a tree's files, in the order of its paths.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) files: Vec<(EntryKind, Source)>,
    pub(super) work_tree: Option<PathBuf>,
    /// Digests of parts that were written down, where the contents are not there.
    pub(super) known: BTreeMap<String, String>,
}

/// Digests of many connectors' inputs, of one tree.
pub(super) struct Digests<'s> {
    sources: &'s Sources,
    paths: &'s Paths,
    /// Which files a pattern stands for; many connectors have the same ones.
    matched: RefCell<HashMap<String, Rc<Vec<usize>>>>,
    /// Digests of parts; connectors share many.
    digested: RefCell<HashMap<String, String>>,
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
        let known = sources.known.iter().map(|(part, digest)| (part.clone(), digest.clone()));
        let digested = RefCell::new(known.collect());
        Self { sources, paths, matched: RefCell::default(), digested }
    }

    /// A digest of each part of the inputs: a file, what is in a folder of an input, or all that
    /// a pattern stands for.
    pub(super) fn of(&self, inputs: &Inputs) -> BTreeMap<String, String> {
        let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for input in &inputs.paths {
            self.path(input, &mut parts);
        }
        for glob in &inputs.globs {
            parts.entry(glob.clone()).or_default().extend(self.matching(glob).iter());
        }
        parts.into_iter().map(|(name, files)| self.part(name, &files)).collect()
    }

    /// A part of a name is the same for every connector.
    fn part(&self, name: String, files: &[usize]) -> (String, String) {
        if let Some(known) = self.digested.borrow().get(&name) {
            return (name, known.clone());
        }
        let digest = self.digest(files);
        self.digested.borrow_mut().insert(name.clone(), digest.clone());
        (name, digest)
    }

    fn path(&self, input: &str, parts: &mut BTreeMap<String, Vec<usize>>) {
        if let Some(at) = self.paths.position(input) {
            parts.entry(input.to_owned()).or_default().push(at);
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
                parts.entry(format!("{input}/")).or_default().extend(range);
                return;
            }
        }
        for (name, files) in children {
            parts.entry(name).or_default().extend(files);
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
            let Some((kind, source)) = self.sources.files.get(*at) else { continue };
            let kind = match kind {
                EntryKind::File => "file",
                EntryKind::Executable => "executable",
                EntryKind::Symlink => "link",
                EntryKind::Submodule => "module",
            };
            let content = match source {
                Source::Blob(oid) => oid.to_string(),
                Source::Disk(path) => self.on_disk(path),
            };
            digest.update(format!("{}\0{kind}\0{content}\n", self.paths.at(*at)));
        }
        hex::encode(digest.finalize())
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
