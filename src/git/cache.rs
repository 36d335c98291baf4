//! One bare repository per repository served, filled by fetching exact commits.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};

use super::command::{Git, LOCAL, Settings};
use super::error::{GitError, of_fetch};
use super::objects::{Objects, TreeEntry, lines};
use crate::domain::change::ChangeSet;
use crate::domain::names::Sha;
use crate::domain::plan::Inputs;

/// A first fetch of a large repository takes minutes; it holds only its own repository's lock.
const FETCH: Duration = Duration::from_mins(30);
/// How often a repository that another process works on is asked for.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// How many commits are kept from garbage collection; the oldest go first.
const KEPT_COMMITS: usize = 4000;

type Locks = Mutex<std::collections::BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// The folder of bare repositories.
#[derive(Debug, Clone)]
pub struct GitCache {
    folder: PathBuf,
    ca_file: Option<PathBuf>,
    locks: Arc<Locks>,
}

impl GitCache {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ca_file: None, locks: Arc::default() }
    }

    /// Trusts the certificate authorities of a PEM file (which replaces the system's).
    #[must_use]
    pub fn with_ca_file(mut self, file: Option<PathBuf>) -> Self {
        self.ca_file = file;
        self
    }

    /// The repository with this key; it appears on disk with its first fetch. The key should
    /// survive renames (GitHub's repository id), the URL is where it is fetched from now.
    pub fn repository(&self, key: impl fmt::Display, url: &str) -> BareRepo {
        let key: String = key
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
            .collect();
        let dir = self.folder.join(format!("{key}.git"));
        let answers = Some(self.folder.join(format!("{key}.answers")));
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(locks.entry(key).or_default());
        let git = Git::isolated(&dir, self.ca_file.clone());
        let common = dir.clone();
        BareRepo { objects: Objects { git, common, answers }, dir, url: url.to_owned(), lock }
    }
}

/// A cached repository.
#[derive(Debug, Clone)]
pub struct BareRepo {
    objects: Objects,
    dir: PathBuf,
    url: String,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl BareRepo {
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Are all of these commits here?
    pub async fn has(&self, shas: &[Sha]) -> Result<bool, GitError> {
        Ok(self.missing(shas).await?.is_empty())
    }

    /// Brings the commits here with all their history, and keeps them. What is here already costs
    /// no request. A commit that its origin no longer has is [`GitError::Vanished`].
    pub async fn fetch(&self, auth: Option<&SecretString>, shas: &[Sha]) -> Result<(), GitError> {
        if shas.is_empty() || self.missing(shas).await?.is_empty() {
            return Ok(());
        }
        let _turn = self.lock.lock().await;
        let _file = self.lock_file().await?;
        self.make(shas).await?;
        let missing = self.missing(shas).await?;
        if missing.is_empty() {
            return Ok(());
        }
        self.break_locks();
        self.fetch_missing(auth, &missing).await?;
        self.forget_oldest().await
    }

    /// Removes what a git that was killed left locked: whoever holds the repository's lock knows
    /// that no other one is at work. Each of these would make every later one fail.
    fn break_locks(&self) {
        let folders = ["", "refs/checkvalve", "objects/info", "objects/info/commit-graphs"];
        for folder in folders.map(|folder| self.dir.join(folder)) {
            // Mostly there is none, and not even all folders.
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if path.extension().is_some_and(|extension| extension == "lock") {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        // What it had received so far: of a large repository gigabytes, each time.
        let Ok(packs) = std::fs::read_dir(self.dir.join("objects/pack")) else { return };
        for pack in packs.filter_map(Result::ok) {
            if pack.file_name().to_string_lossy().starts_with("tmp_") {
                let _ = std::fs::remove_file(pack.path());
            }
        }
    }

    async fn fetch_missing(
        &self,
        auth: Option<&SecretString>,
        missing: &[Sha],
    ) -> Result<(), GitError> {
        let refspecs: Vec<String> =
            missing.iter().map(|sha| format!("{sha}:{}", kept_as(sha))).collect();
        let mut args = vec![
            "fetch",
            "--quiet",
            "--force",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--end-of-options",
            &self.url,
        ];
        args.extend(refspecs.iter().map(String::as_str));
        let header = auth.map(basic_header);
        let mut settings = self.towards_origin(header.as_ref());
        // One pack per fetch, never thousands of loose files.
        settings.set("fetch.unpackLimit", "1");
        let ended = self.objects.git.run(&args, settings, None, FETCH).await?;
        if ended.code == Some(0) {
            return Ok(());
        }
        let stderr = redacted(&ended.stderr, auth, header.as_ref());
        Err(of_fetch(&self.url, &stderr, missing))
    }

    /// The origin's default branch and its head, as they are now: one question, and nothing is fetched.
    pub async fn default_branch(
        &self,
        auth: Option<&SecretString>,
    ) -> Result<(String, Sha), GitError> {
        let header = auth.map(basic_header);
        let settings = self.towards_origin(header.as_ref());
        let args = ["ls-remote", "--symref", "--end-of-options", &self.url, "HEAD"];
        let ended = self.objects.git.run(&args, settings, None, LOCAL).await?;
        if ended.code != Some(0) {
            let stderr = redacted(&ended.stderr, auth, header.as_ref());
            return Err(of_fetch(&self.url, &stderr, &[]));
        }
        let answer = String::from_utf8_lossy(&ended.stdout);
        let mut lines = answer.lines().filter_map(|line| line.strip_suffix("\tHEAD"));
        let branch = lines.next().and_then(|line| line.strip_prefix("ref: refs/heads/"));
        let head = lines.next().and_then(|sha| sha.parse().ok());
        // One without a commit has no head.
        let none = || GitError::UnknownRevision("HEAD".to_owned());
        Ok((branch.ok_or_else(none)?.to_owned(), head.ok_or_else(none)?))
    }

    /// What git needs to talk to the origin, and to no other.
    fn towards_origin(&self, header: Option<&SecretString>) -> Settings {
        let mut settings = Settings::default();
        settings.set(format!("protocol.{}.allow", scheme(&self.url)), "always");
        settings.set("http.lowSpeedLimit", "1000");
        settings.set("http.lowSpeedTime", "60");
        if let (Some(header), Some(origin)) = (header, origin(&self.url)) {
            settings.set(format!("http.{origin}/.extraHeader"), header.expose_secret());
        }
        settings
    }

    /// Those that are not here with their whole history. Only a fetch that succeeded, and was
    /// checked for completeness, makes the reference that says so.
    async fn missing(&self, shas: &[Sha]) -> Result<Vec<Sha>, GitError> {
        if !self.dir.is_dir() {
            return Ok(shas.to_vec());
        }
        let mut missing = Vec::new();
        for sha in shas {
            let name = kept_as(sha);
            let found = self.objects.git.read(&["for-each-ref", "--count=1", &name]).await?;
            if found.is_empty() && !missing.contains(sha) {
                missing.push(sha.clone());
            }
        }
        Ok(missing)
    }

    /// Makes the repository beside its place and moves it there, so that half of one is never seen.
    async fn make(&self, shas: &[Sha]) -> Result<(), GitError> {
        if self.dir.is_dir() {
            return Ok(());
        }
        let format =
            if shas.iter().any(|sha| sha.as_str().len() == 64) { "sha256" } else { "sha1" };
        let new = self.dir.with_extension("new");
        if new.exists() {
            std::fs::remove_dir_all(&new).map_err(|e| GitError::io("the git cache", e))?;
        }
        let git = Git { dir: new.clone(), ..self.objects.git.clone() };
        let format = format!("--object-format={format}");
        let ended = git
            .run(
                &["init", "--quiet", "--bare", "--template=", &format],
                Settings::default(),
                None,
                LOCAL,
            )
            .await?;
        ended.success("init")?;
        std::fs::rename(&new, &self.dir).map_err(|e| GitError::io("the git cache", e))
    }

    /// Keeps other processes with the same cache out, as the mutex does within this one.
    async fn lock_file(&self) -> Result<File, GitError> {
        let path = self.dir.with_extension("lock");
        let io = |e| GitError::io(format!("the git cache's lock `{}`", path.display()), e);
        if let Some(folder) = path.parent() {
            make_private(folder).map_err(io)?;
        }
        let file = File::create(&path).map_err(io)?;
        // Asked for again and again: a thread that waits would keep the program from its end.
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_POLL).await,
                Err(Errno::INTR) => {}
                Err(error) => return Err(io(error.into())),
            }
        }
    }

    /// Lets go of the oldest commits beyond [`KEPT_COMMITS`]; [`BareRepo::tidy`] then frees them.
    async fn forget_oldest(&self) -> Result<(), GitError> {
        let args = [
            "for-each-ref",
            "--sort=-creatordate",
            "--format=delete %(refname)",
            "refs/checkvalve/",
        ];
        let all = self.objects.git.read(&args).await?;
        let all = String::from_utf8_lossy(&all);
        let old = lines(all.lines().skip(KEPT_COMMITS));
        if old.is_empty() {
            return Ok(());
        }
        let args = ["update-ref", "--stdin"];
        let input = Some(old.into_bytes());
        let ended = self.objects.git.run(&args, Settings::default(), input, LOCAL).await?;
        ended.success("update-ref").map(drop)
    }

    /// Packs what many fetches left, and frees what is no longer kept. For the janitor: it takes
    /// the repository's lock, and minutes for a large one.
    pub async fn tidy(&self) -> Result<(), GitError> {
        if !self.dir.is_dir() {
            return Ok(());
        }
        let _turn = self.lock.lock().await;
        let _file = self.lock_file().await?;
        self.break_locks();
        let mut settings = Settings::default();
        settings.set("gc.auto", "6700");
        settings.set("gc.autoPackLimit", "50");
        settings.set("gc.autoDetach", "false");
        let ended =
            self.objects.git.run(&["gc", "--auto", "--quiet"], settings, None, FETCH).await?;
        ended.success("gc").map(drop)
    }

    pub async fn merge_base(&self, base: &Sha, head: &Sha) -> Result<Option<Sha>, GitError> {
        self.objects.merge_base(base, head).await
    }

    pub async fn diff(&self, from: &Sha, to: &Sha) -> ChangeSet {
        self.objects.diff(from, to).await
    }

    pub async fn tree(&self, commit: &Sha) -> Result<Vec<TreeEntry>, GitError> {
        self.objects.tree(commit).await
    }

    pub async fn export(&self, commit: &Sha, inputs: &Inputs, tar: &Path) -> Result<(), GitError> {
        self.objects.export(commit, inputs, tar).await
    }
}

/// The reference that keeps a commit from garbage collection.
fn kept_as(sha: &Sha) -> String {
    format!("refs/checkvalve/{sha}")
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("file", |(scheme, _)| scheme)
}

/// `https://host:port`, the part of a URL that the credential is for: a redirect elsewhere does not
/// get it.
fn origin(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.origin().ascii_serialization())
}

/// As GitHub wants an installation's token: the password of the user `x-access-token`.
fn basic_header(token: &SecretString) -> SecretString {
    let pair = format!("x-access-token:{}", token.expose_secret());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Authorization: Basic {encoded}").into()
}

fn redacted(text: &str, token: Option<&SecretString>, header: Option<&SecretString>) -> String {
    let mut text = text.to_owned();
    let encoded = header.map(|h| h.expose_secret().trim_start_matches("Authorization: Basic "));
    for secret in token.map(ExposeSecret::expose_secret).into_iter().chain(encoded) {
        if !secret.is_empty() {
            text = text.replace(secret, "[redacted]");
        }
    }
    text
}
