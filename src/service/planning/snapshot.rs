//! A tree as planning sees it: a commit's, or the work tree's.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::domain::catalog::Paths;
use crate::domain::depends::{Manifest, Reference, references};
use crate::domain::names::Sha;
use crate::git::{EntryKind, GitError, LocalRepo, Objects, TreeEntry};

/// Larger files are nobody's configuration.
const LARGEST: usize = 1024 * 1024;

/// Where a file's content comes from; equal sources have equal contents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Blob(Sha),
    Disk(String),
}

pub(super) struct Snapshot<'r> {
    objects: &'r Objects,
    work_tree: Option<&'r Path>,
    pub(super) paths: Paths,
    blobs: HashMap<String, Sha>,
}

impl<'r> Snapshot<'r> {
    pub(super) async fn commit(objects: &'r Objects, commit: &Sha) -> Result<Self, GitError> {
        let entries = objects.tree(commit).await?;
        Ok(Self::new(objects, None, entries))
    }

    pub(super) async fn work_tree(repo: &'r LocalRepo) -> Result<Self, GitError> {
        let entries = repo.files().await?;
        Ok(Self::new(repo.objects(), repo.work_tree(), entries))
    }

    fn new(objects: &'r Objects, work_tree: Option<&'r Path>, entries: Vec<TreeEntry>) -> Self {
        // A submodule's path is a folder here: nothing in it is this repository's.
        let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Submodule);
        let blobs: HashMap<String, Sha> = files.map(|entry| (entry.path, entry.oid)).collect();
        let paths = Paths::new(blobs.keys().cloned().collect());
        Self { objects, work_tree, paths, blobs }
    }

    pub(super) fn source(&self, path: &str) -> Option<Source> {
        let oid = self.blobs.get(path)?;
        Some(match self.work_tree {
            Some(_) => Source::Disk(path.to_owned()),
            None => Source::Blob(oid.clone()),
        })
    }

    /// One file's content, if it is there.
    pub(super) async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let Some(source) = self.source(path) else { return Ok(None) };
        Ok(self.read(&BTreeSet::from([path])).await?.remove(&source))
    }

    /// Contents of those of the paths that are there.
    pub(super) async fn read(
        &self,
        paths: &BTreeSet<&str>,
    ) -> Result<HashMap<Source, Vec<u8>>, GitError> {
        if let Some(top) = self.work_tree {
            let read = |path: &&str| {
                let content = read_start(&top.join(path)).ok()?;
                Some((Source::Disk((*path).to_owned()), content))
            };
            return Ok(paths.iter().filter_map(read).collect());
        }
        let oids: BTreeSet<&Sha> = paths.iter().filter_map(|path| self.blobs.get(*path)).collect();
        let found = self.objects.read(&oids, LARGEST).await?;
        Ok(found.into_iter().map(|(oid, content)| (Source::Blob(oid), content)).collect())
    }

    /// What files mention, of those that are there.
    pub(super) async fn references(
        &self,
        wanted: &BTreeSet<(Manifest, String)>,
    ) -> Result<HashMap<(Manifest, String), Vec<Reference>>, GitError> {
        let paths = wanted.iter().map(|(_, path)| path.as_str()).collect();
        let contents = self.read(&paths).await?;
        let one = |(manifest, path): &(Manifest, String)| {
            let content = contents.get(&self.source(path)?)?;
            Some(((*manifest, path.clone()), references(*manifest, content)))
        };
        Ok(wanted.iter().filter_map(one).collect())
    }
}

/// At most one byte more than [`LARGEST`], which tells that it is larger.
fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = std::fs::File::open(path)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST as u64 + 1), &mut content)?;
    Ok(content)
}
