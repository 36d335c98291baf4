//! Results of `test` that later calls on this machine may use: a database in the state folder,
//! through the same code and under the same keys as a server's, and their logs and artifacts beside
//! it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tracing::warn;

use super::state_dir::StateDir;
use crate::ambient;
use crate::blobs::{BlobError, Blobs, BlobsUrl};
use crate::config::server::Settings;
use crate::domain::cache::{Cached, Ingredients, Known};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::objects;
use crate::domain::run::{Artifact, LogRef, StepFacts, StepRecord};
use crate::domain::state::Conclusion;
use crate::engine::Left;
use crate::store::{NewResult, NewRun, Store, StoreError};

/// The folder for it below the state folder.
const FOLDER: &str = "test";

/// Why a result could not be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("the results of earlier calls: {0}")]
    Store(#[from] StoreError),
    #[error("the results of earlier calls: {0}")]
    Blobs(#[from] BlobError),
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// The results of one repository, as one call uses them.
#[derive(Debug, Clone)]
pub struct Results {
    store: Store,
    blobs: Blobs,
    pub run: RunId,
    /// Stands for the repository in keys.
    pub repository: u64,
}

impl Results {
    /// Opens what is in the state folder, and forgets what is older than is to be kept.
    pub async fn open(settings: &Settings, run: &NewRun) -> anyhow::Result<Self> {
        let state = settings.state_dir(ambient::env)?;
        let folder = StateDir::folder_in(&state, FOLDER)?;
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let results = Self::at(&folder, run).await?;
        results.forget(settings.retention()?).await;
        Ok(results)
    }

    async fn at(folder: &Path, run: &NewRun) -> anyhow::Result<Self> {
        let store = Store::open(&format!("sqlite:{}", folder.join("results.db").display())).await?;
        let objects = BlobsUrl::Folder(folder.join("objects"));
        let blobs = Blobs::open(&objects, |_| None).await?;
        store.begin_own_run(run).await?;
        Ok(Self { store, blobs, run: run.id, repository: run.repository.id })
    }

    /// What can't be removed now is removed by a later call.
    async fn forget(&self, older_than: Duration) {
        let forgotten = async {
            for run in self.store.old_own_runs(older_than).await? {
                for key in self.blobs.list(&prefix(run)).await? {
                    self.blobs.delete(&key).await?;
                }
                self.store.forget_own_run(run).await?;
            }
            Ok::<(), ResultsError>(())
        };
        if let Err(error) = forgotten.await {
            warn!("old results are kept: {error}");
        }
    }

    pub(super) async fn end(&self, conclusion: Conclusion) {
        if let Err(error) = self.store.end_own_run(self.run, conclusion).await {
            warn!("{error}");
        }
    }

    pub(super) async fn recall(
        &self,
        connector: &ConnectorName,
        step: &StepId,
        ingredients: &Ingredients,
    ) -> Result<Known, ResultsError> {
        Ok(self.store.recall(self.repository, connector, step, ingredients).await?)
    }

    /// Keeps the result of a step of this run, with what it left in the spool.
    pub(super) async fn remember(
        &self,
        connector: &ConnectorName,
        (record, left): (&StepRecord, Option<&Left>),
        ingredients: &Ingredients,
    ) -> Result<(), ResultsError> {
        let Some(outcome) = record.state.outcome() else { return Ok(()) };
        let mut facts = StepFacts { artifacts: Vec::new(), log: None, ..record.facts.clone() };
        let folder = format!("{}/{}", prefix(self.run), objects::segment(connector.as_str()));
        if let Some(left) = left {
            if let Some(log) = &record.facts.log {
                let key = format!("{folder}/{}", objects::step_log(&left.step, left.attempt));
                self.blobs.put_file(&key, &left.log, "text/plain; charset=utf-8").await?;
                facts.log = Some(LogRef { key, ..log.clone() });
            }
            for path in &left.artifacts {
                let name = objects::step_artifact(&left.step, left.attempt, path);
                let (key, file) = (format!("{folder}/{name}"), left.out.join(path));
                self.blobs.put_file(&key, &file, "application/octet-stream").await?;
                let failed = |source| ResultsError::Io { path: path.clone(), source };
                let bytes = tokio::fs::metadata(&file).await.map_err(failed)?.len();
                facts.artifacts.push(Artifact { path: path.clone(), key, bytes });
            }
        }
        let result = NewResult {
            repository: self.repository,
            connector,
            step: &record.id,
            origin: self.run,
            outcome,
            facts: &facts,
            ingredients,
        };
        Ok(self.store.keep_own_result(result).await?)
    }

    pub(super) async fn take_back(&self, ingredients: &Ingredients) -> Result<(), ResultsError> {
        Ok(self.store.forget_own_result(ingredients).await?)
    }

    /// Is all that an earlier result left still there?
    pub(super) async fn has(&self, earlier: &Cached) -> Result<bool, ResultsError> {
        let log = earlier.facts.log.iter().map(|log| &log.key);
        for key in log.chain(earlier.facts.artifacts.iter().map(|artifact| &artifact.key)) {
            if self.blobs.get(key, Some((0, 0))).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies objects to files below a folder, all of them or none; false if one is not there.
    pub(super) async fn copy_all(
        &self,
        copies: &[(&str, String)],
        to: &Path,
    ) -> Result<bool, ResultsError> {
        let failed = |source| ResultsError::Io { path: to.display().to_string(), source };
        tokio::fs::create_dir_all(to).await.map_err(failed)?;
        // Whatever ends this, dropped, it is gone.
        let aside = tempfile::Builder::new().prefix(".copies-").tempdir_in(to).map_err(failed)?;
        for (at, (key, _)) in copies.iter().enumerate() {
            if !self.copy(key, &aside.path().join(at.to_string())).await? {
                return Ok(false);
            }
        }
        let mut there = Vec::new();
        for (at, (_, name)) in copies.iter().enumerate() {
            let (from, path) = (aside.path().join(at.to_string()), to.join(name));
            if let Err(source) = moved(&from, &path) {
                for path in &there {
                    let _ = std::fs::remove_file(path);
                }
                return Err(ResultsError::Io { path: path.display().to_string(), source });
            }
            there.push(path);
        }
        Ok(true)
    }

    async fn copy(&self, key: &str, to: &Path) -> Result<bool, ResultsError> {
        const PIECE: u64 = 4 << 20;
        let failed = |source| ResultsError::Io { path: to.display().to_string(), source };
        let Some(mut piece) = self.blobs.get(key, Some((0, PIECE))).await? else {
            return Ok(false);
        };
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut at = 0;
        loop {
            file.write_all(&piece.bytes).await.map_err(failed)?;
            at += piece.bytes.len() as u64;
            if piece.bytes.is_empty() || at >= piece.total {
                file.flush().await.map_err(failed)?;
                return Ok(true);
            }
            match self.blobs.get(key, Some((at, PIECE))).await? {
                Some(next) => piece = next,
                None => return Ok(false),
            }
        }
    }
}

/// Within one folder's file system; nothing waits between one file and the next.
fn moved(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::rename(from, to)
}

/// The folder of a run's objects.
fn prefix(run: RunId) -> String {
    format!("runs/{run}")
}

/// What stands for a repository here, where GitHub's id is not known: where it comes from, else
/// where it lies. A commit is packed as git has it, a work tree as it lies there, which may differ
/// by the machine's settings.
pub(super) fn repository_id(origin: &str, committed: bool) -> u64 {
    let digest = Sha256::digest(format!("{origin}\0{committed}"));
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    // As GitHub's ids, it must fit where numbers have a sign.
    u64::from_be_bytes(id) >> 1
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::cache::Reuse;
    use crate::domain::names::Sha;
    use crate::domain::run::Repository;
    use crate::domain::trigger::{Scope, Trigger};
    use crate::domain::trust::Trust;

    /// With objects under these keys, each of which holds its key many times.
    pub(in crate::cli) async fn results(folder: &Path, keys: &[&str]) -> Results {
        let head_sha: Sha = "a".repeat(40).parse().unwrap();
        let run = NewRun {
            id: RunId::new(ambient::ulid()),
            repository: Repository {
                id: 1,
                name: "acme/connectors".parse().unwrap(),
                installation: 0,
                private: false,
            },
            pull: None,
            title: String::new(),
            head_ref: String::new(),
            base_ref: String::new(),
            base_sha: head_sha.clone(),
            head_sha,
            trigger: Trigger::Manual,
            cause: "test".to_owned(),
            actor: String::new(),
            scope: Scope::Affected,
            reuse: Reuse::All,
            trust: Trust::Trusted,
            problem: None,
        };
        let results = Results::at(folder, &run).await.unwrap();
        for key in keys {
            let object = Bytes::from(key.repeat(6 << 20));
            results.blobs.put(key, object, "text/plain").await.unwrap();
        }
        results
    }

    /// All that is in a folder, at any depth.
    fn below(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names.extend(below(&path));
            }
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
        names.sort();
        names
    }

    #[tokio::test]
    async fn copies_are_all_there_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let results = results(folder.path(), &["a", "b"]).await;
        let to = folder.path().join("reports");
        let copies = |keys: [&'static str; 3]| keys.map(|key| (key, format!("unit/1/{key}.txt")));
        assert!(!results.copy_all(&copies(["a", "missing", "b"]), &to).await.unwrap());
        assert_eq!(below(&to), [""; 0]);
        // Where one can't be put, those before it are not left.
        std::fs::create_dir_all(to.join("unit/1/b.txt/x")).unwrap();
        let error = results.copy_all(&copies(["a", "a", "b"]), &to).await.unwrap_err();
        assert!(error.to_string().contains("unit/1/b.txt: "), "{error}");
        assert_eq!(below(&to), ["1", "b.txt", "unit", "x"]);
        std::fs::remove_dir_all(&to).unwrap();
        assert!(results.copy_all(&copies(["a", "b", "b"]), &to).await.unwrap());
        assert_eq!(below(&to), ["1", "a.txt", "b.txt", "unit"]);
        let read = std::fs::read_to_string(to.join("unit/1/b.txt")).unwrap();
        assert!(read == "b".repeat(6 << 20), "{} bytes", read.len());
    }
}
