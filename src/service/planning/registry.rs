//! The registries of a tree, from its connectors' metadata.

use std::collections::{BTreeMap, BTreeSet};

use super::PlanningError;
use super::answers::Answers;
use super::snapshot::{Contents, Snapshot, Source};
use super::survey::{RepositoryFile, survey_here};
use crate::domain::catalog::{Connector, Document, Flaw};
use crate::domain::change::ChangedFile;
use crate::domain::names::Sha;
use crate::domain::registry::{Candidate, Commit, Registries, build};
use crate::git::{GitError, LocalRepo};

/// The registries of a commit, or of the work tree; `None` if no connector has Airbyte's metadata.
/// In a bare repository the commit is HEAD's unless another is asked for.
pub async fn registries_here(
    repo: &LocalRepo,
    head: Option<&Sha>,
    file: Option<&RepositoryFile>,
    icons: Option<&str>,
) -> Result<Option<Registries>, PlanningError> {
    let survey = survey_here(repo, None, head, file).await?;
    let commit = match head {
        Some(head) => Some(head.clone()),
        None if repo.work_tree().is_none() => Some(repo.resolve("HEAD").await?),
        None => None,
    };
    let objects = repo.objects();
    let answers = Answers::open(objects.answers());
    let from = Contents { objects, answers: &answers, work_tree: None, record: false };
    let tree = if let Some(commit) = &commit {
        Snapshot::new(from, objects.tree(commit).await?)
    } else {
        let entries = repo.files(&repo.unstaged().await?).await?;
        Snapshot::new(Contents { work_tree: repo.work_tree(), ..from }, entries)
    };
    let files: BTreeMap<&str, &Connector> = survey
        .connectors()
        .into_iter()
        .filter_map(|c| Some((c.attribute_file.as_deref()?, c)))
        .collect();
    let contents = tree.read(&files.keys().copied().collect()).await?;
    let document = |path: &str| match tree.source(path).and_then(|source| contents.get(source)) {
        Some(content) => Document::parse(path, content),
        None => Err(Flaw::unusable(None, "can't be read", "fetch the whole repository")),
    };
    let candidates = files.iter().map(|(path, connector)| {
        let document = document(path);
        Candidate { connector, path, document, commit: None }
    });
    let mut candidates: Vec<Candidate<'_>> = candidates.filter(Candidate::is_airbyte).collect();
    if candidates.is_empty() {
        return Ok(None);
    }
    let paths: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.path).collect();
    let commits = match &commit {
        Some(commit) => history(repo, commit, &tree, &paths).await?,
        None => committed(repo, from, &paths).await?,
    };
    for candidate in &mut candidates {
        candidate.commit = commits.get(candidate.path).cloned();
    }
    Ok(Some(build(&candidates, icons)))
}

/// The commits that made the files of a commit's tree what they are.
async fn history(
    repo: &LocalRepo,
    commit: &Sha,
    tree: &Snapshot<'_>,
    paths: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Commit>, GitError> {
    let object = |path: &&str| match tree.source(path)? {
        Source::Blob(oid) => Some(((*path).to_owned(), oid.clone())),
        Source::Disk(_) => None,
    };
    let wanted = paths.iter().filter_map(object).collect();
    repo.objects().last_changes(commit, &wanted).await
}

/// The same of the work tree: files that differ from HEAD have no commit yet.
async fn committed(
    repo: &LocalRepo,
    from: Contents<'_>,
    paths: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Commit>, GitError> {
    // A repository without a commit has no history.
    let Ok(head) = repo.resolve("HEAD").await else { return Ok(BTreeMap::new()) };
    let change = repo.changes(&head, &head, &repo.unstaged().await?).await.change;
    if !change.is_complete() {
        return Ok(BTreeMap::new());
    }
    let changed: BTreeSet<&str> = change.files().iter().flat_map(ChangedFile::paths).collect();
    let tree = Snapshot::new(from, from.objects.tree(&head).await?);
    let same = paths.difference(&changed).copied().collect();
    history(repo, &head, &tree, &same).await
}
