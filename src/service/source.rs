//! A repository's commits on this host: the bare cache, kept up to date from GitHub.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use tracing::debug;

use crate::domain::annotation::Standing;
use crate::domain::names::Sha;
use crate::domain::patience::{Passing, Pause, Waited};
use crate::domain::plan::{Inputs, Merge};
use crate::domain::run::Repository;
use crate::engine::Source;
use crate::exec::SourceArchive;
use crate::git::{BareRepo, GitCache, GitError, Merged};
use crate::github::{Github, GithubError, Retry};

/// What a job's part of the tree is called in its folder.
pub(super) const ARCHIVE: &str = "source.tar";

/// Why a commit could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no access token for the repository: {0}")]
    Github(#[from] GithubError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(
        "git on this host merges {} with {} in another way than where the run was planned; have \
         the same version of git on all hosts",
        .head.short(), .base.short()
    )]
    OtherMerge { head: Sha, base: Sha },
}

impl SourceError {
    /// Is it worth waiting for?
    pub fn passing(&self) -> Passing {
        match self {
            Self::Git(error) => of_git(error),
            Self::Github(error) => match error.retry() {
                Retry::After(wait) => Passing::Away(wait),
                Retry::Unknown => Passing::Away(Duration::ZERO),
                Retry::Never if error.is_missing() => Passing::Refused,
                Retry::Never if error.may_be_mended() => Passing::Away(Duration::ZERO),
                // A token that is refused now may be granted in a moment.
                Retry::Never => Passing::Refused,
            },
            // Another host may have the version of git that planned it.
            Self::OtherMerge { .. } => Passing::Refused,
        }
    }

    /// What is waited for, in words that stay the same from one try to the next.
    pub fn awaits(&self) -> String {
        match self {
            Self::Git(error) => git_awaits(error),
            Self::Github(error) => match error.retry() {
                Retry::After(_) if matches!(error, GithubError::RateLimited { .. }) => {
                    "GitHub limits how often we may ask".to_owned()
                }
                Retry::After(_) | Retry::Unknown => "GitHub's API does not answer".to_owned(),
                Retry::Never => self.to_string(),
            },
            Self::OtherMerge { .. } => self.to_string(),
        }
    }
}

/// A refusal of git's may be that of a host of GitHub's which does not know a new token yet; and what
/// git stumbles over here, for want of memory or in a broken cache, another host may do.
pub(super) fn of_git(error: &GitError) -> Passing {
    if matches!(
        error,
        GitError::NoAccess { .. }
            | GitError::NotInstalled(_)
            | GitError::Failed { .. }
            | GitError::Output { .. }
    ) {
        return Passing::Refused;
    }
    if matches!(error, GitError::TimedOut { .. }) {
        return Passing::TimedOut;
    }
    if error.may_pass() { Passing::Away(Duration::ZERO) } else { Passing::Never }
}

/// Whoever reads it on the check is told no paths of ours, and the same words at each try.
pub(super) fn git_awaits(error: &GitError) -> String {
    let words = match error {
        GitError::NoAccess { .. } => {
            "git may not read the repository yet; if that lasts, check that the App is installed \
             on it with read access to contents"
        }
        GitError::Network { .. } | GitError::TimedOut { .. } => "GitHub does not answer git",
        GitError::NotInstalled(_) => "the server has no git that starts",
        GitError::Failed { .. } | GitError::Output { .. } => "git fails on the server",
        GitError::DiskFull(_) => "no space is left on the server's disk",
        GitError::Io { .. } => "the server can't read or write its files",
        GitError::NoRepository(_)
        | GitError::Vanished { .. }
        | GitError::UnknownRevision(_)
        | GitError::NoBase
        | GitError::Unread { .. }
        | GitError::NoWorkTree => return error.to_string(),
    };
    words.to_owned()
}

/// Where commits come from.
#[derive(Debug, Clone)]
pub struct Sources {
    pub github: Arc<Github>,
    pub cache: GitCache,
    /// `CHECKVALVE_GITHUB_URL`; repositories are at `<it>/<owner>/<repo>.git`.
    pub github_url: String,
}

impl Sources {
    fn cached(&self, repository: &Repository) -> BareRepo {
        let url = format!("{}/{}.git", self.github_url, repository.name);
        self.cache.repository(repository.id, &url)
    }

    /// Packs what many fetches left of a repository, if it is cached here. Takes minutes for a
    /// large one, during which fetches of it wait.
    pub async fn tidy(&self, repository: &Repository) -> Result<(), GitError> {
        self.cached(repository).tidy().await
    }

    /// The default branch's name and head, as the repository has them now.
    pub async fn default_branch(
        &self,
        repository: &Repository,
    ) -> Result<(String, Sha), SourceError> {
        let token = self.github.token(repository.installation).await?;
        Ok(self.cached(repository).default_branch(Some(&token)).await?)
    }

    /// The repository with these commits in it. A token is asked for only if one is missing.
    pub async fn with_commits(
        &self,
        repository: &Repository,
        commits: &[Sha],
    ) -> Result<BareRepo, SourceError> {
        let repo = self.cached(repository);
        if !repo.has(commits).await? {
            let token = self.github.token(repository.installation).await?;
            repo.fetch(Some(&token), commits).await?;
        }
        Ok(repo)
    }

    /// Writes a job's part of the tree as an archive into `folder`: the head's, or the merge's.
    async fn archive(
        &self,
        repository: &Repository,
        (head, merge): (&Sha, Option<&Merge>),
        inputs: &Inputs,
        folder: &Path,
    ) -> Result<SourceArchive, SourceError> {
        let repo = self.with_commits(repository, std::slice::from_ref(head)).await?;
        let mut commit = head;
        if let Some(merge) = merge {
            self.merge(repository, head, merge).await?;
            commit = &merge.commit;
        }
        let tar: PathBuf = folder.join(ARCHIVE);
        repo.export(commit, inputs, &tar).await?;
        Ok(SourceArchive { tar })
    }

    /// Of these paths the files of the head that are tested as they stand there, compared with what
    /// the change began from.
    async fn standings(
        &self,
        of: &CommitSource,
        paths: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Standing>, SourceError> {
        let CommitSource { repository, head, base, merge, .. } = of;
        if let Some(merge) = merge {
            self.merge(repository, head, merge).await?;
        }
        let commits: Vec<Sha> = base.iter().chain([head]).cloned().collect();
        let repo = self.with_commits(repository, &commits).await?;
        let tested = merge.as_ref().map_or(head, |merge| &merge.commit);
        let began = base.as_ref().unwrap_or(head);
        let names =
            paths.iter().flat_map(|path| [head, tested, began].map(|at| (at, path.as_str())));
        let blobs = repo.objects().blobs(&names.collect::<Vec<_>>()).await?;
        let known = paths.iter().zip(blobs.chunks(3)).filter_map(|(path, blobs)| {
            // In a merge that changes the file, lines are others than the head's.
            let [Some(shown), Some(tested), began] = blobs else { return None };
            let changed = began.as_ref() != Some(shown);
            let standing = if changed { Standing::Changed } else { Standing::Unchanged };
            (shown == tested).then(|| (path.clone(), standing))
        });
        Ok(known.collect())
    }

    /// Makes the merge that a job tests here, too, where it was not made yet.
    async fn merge(
        &self,
        repository: &Repository,
        head: &Sha,
        merge: &Merge,
    ) -> Result<(), SourceError> {
        let commits = [merge.base.clone(), head.clone()];
        let repo = self.with_commits(repository, &commits).await?;
        match repo.objects().merge(&merge.base, head).await? {
            Merged::Commit(commit) if commit == merge.commit => Ok(()),
            Merged::Commit(_) | Merged::Conflict(_) => {
                Err(SourceError::OtherMerge { head: head.clone(), base: merge.base.clone() })
            }
        }
    }
}

/// A job's part of a commit's tree, fetched when a step needs it.
#[derive(Debug)]
pub struct CommitSource {
    pub sources: Sources,
    pub repository: Repository,
    pub head: Sha,
    /// Where the change began, if that is known.
    pub base: Option<Sha>,
    /// What is tested in place of the head.
    pub merge: Option<Merge>,
    pub inputs: Inputs,
    /// Where the archive is written.
    pub folder: PathBuf,
    /// Written once, whoever asks for it how often.
    pub fetched: OnceCell<Arc<SourceArchive>>,
    /// Why something of it could not be had.
    pub fault: Fault,
}

/// The last reason why something could not be had.
#[derive(Debug, Default)]
pub struct Fault(Mutex<Option<(Passing, String)>>);

impl Fault {
    /// Keeps it, and says it in words.
    pub(super) fn note(&self, error: &SourceError) -> String {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((error.passing(), error.awaits()));
        error.to_string()
    }

    /// The pause before another try, if that is worth it.
    pub(super) fn pause(&self, waited: Waited) -> Option<Pause> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (passing, awaits) = last.as_ref()?;
        waited.pause(*passing, awaits)
    }
}

impl Source for CommitSource {
    fn fetch(&self) -> BoxFuture<'_, Result<Arc<SourceArchive>, String>> {
        Box::pin(async {
            let Self { sources, repository, head, merge, inputs, folder, fetched, fault, .. } =
                self;
            let of = (head, merge.as_ref());
            let archive = fetched.get_or_try_init(async || {
                sources.archive(repository, of, inputs, folder).await.map(Arc::new)
            });
            archive.await.cloned().map_err(|error| fault.note(&error))
        })
    }

    fn standings(&self, paths: BTreeSet<String>) -> BoxFuture<'_, BTreeMap<String, Standing>> {
        Box::pin(async move {
            self.sources.standings(self, &paths).await.unwrap_or_else(|error| {
                debug!(head = %self.head, "files that findings name are not known: {error}");
                BTreeMap::new()
            })
        })
    }
}
