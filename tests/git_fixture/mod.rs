//! Repositories made for one test by the real git program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use checkvalve::config::grants::Grants;
use checkvalve::domain::names::Sha;
use checkvalve::domain::run::Selection;
use checkvalve::domain::trigger::Scope;
use checkvalve::git::BareRepo;
use checkvalve::service::planning::{self, Planned, PlanningError};

/// As a server that grants nothing plans; and once more, from nothing but what that wrote down.
pub(crate) async fn plan(
    repo: &BareRepo,
    base: &Sha,
    head: &Sha,
    scope: &Scope,
) -> Result<Planned, PlanningError> {
    let name = "acme/connectors".parse().unwrap();
    let planned = planning::plan(repo, base, head, scope, (&name, &Grants::default())).await?;
    let Some(definition) = &planned.definition else {
        assert!(planned.jobs.is_empty(), "what is planned is written down");
        return Ok(planned);
    };
    let written = serde_json::to_string(definition).unwrap();
    let again = planning::plan_again(&serde_json::from_str(&written).unwrap()).await?;
    // Of connectors that are not planned there may be nothing any more.
    let of_all = |it: &Selection| Selection { unselected: None, notes: Vec::new(), ..it.clone() };
    assert_eq!(of_all(&again.selection), of_all(&planned.selection));
    assert_eq!(again.jobs.len(), planned.jobs.len());
    for (one, other) in planned.jobs.iter().zip(&again.jobs) {
        assert_eq!(one.plan, other.plan);
        assert_eq!((&one.reasons, &one.only), (&other.reasons, &other.only));
        assert_eq!(one.plan.digest(), other.plan.digest());
    }
    Ok(planned)
}

/// A repository with a work tree, gone at the end of the test.
pub(crate) struct Repo {
    pub(crate) dir: tempfile::TempDir,
}

impl Repo {
    pub(crate) fn new() -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    pub(crate) fn git<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.path())
            .args(args)
            .envs([
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_AUTHOR_NAME", "Ada"),
                ("GIT_AUTHOR_EMAIL", "ada@example.org"),
                ("GIT_COMMITTER_NAME", "Ada"),
                ("GIT_COMMITTER_EMAIL", "ada@example.org"),
                ("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z"),
                ("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z"),
                ("GIT_ALLOW_PROTOCOL", "file"),
            ])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "git {:?}: {stderr}",
            args.iter().map(AsRef::as_ref).collect::<Vec<_>>()
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(OsStr::from_bytes(path.as_ref()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.path().join(path)).unwrap();
    }

    /// Commits everything that is there.
    pub(crate) fn commit(&self, message: &str) -> Sha {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    pub(crate) fn head(&self) -> Sha {
        self.sha("HEAD")
    }

    pub(crate) fn sha(&self, revision: &str) -> Sha {
        self.git(&["rev-parse", revision]).parse().unwrap()
    }
}

/// Long enough that git finds it again after a rename with a small change.
pub(crate) fn prose(topic: &str) -> String {
    (0..40).fold(String::new(), |all, line| all + &format!("{topic}, line {line}\n"))
}
