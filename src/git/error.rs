//! What can go wrong with git, told apart by who can mend it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::names::Sha;

/// A failed git operation. Texts never hold credentials.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("the `git` program could not be started ({0}); install git 2.30 or newer")]
    NotInstalled(io::Error),
    #[error("`{}` is not in a git repository; run this in one, or give `--repo DIR`", .0.display())]
    NoRepository(PathBuf),
    #[error(
        "the repository `{url}` is not there or may not be read: {text}; check that the App is \
         installed on it with read access to contents"
    )]
    NoAccess { url: String, text: String },
    #[error("the commit {} is no longer there: it was pushed over or its branch was deleted", .sha.short())]
    Vanished { sha: Sha },
    #[error("git could not reach `{url}`: {text}")]
    Network { url: String, text: String },
    #[error("no space is left on the disk: {0}")]
    DiskFull(String),
    #[error("`git {command}` did not end within {} s", .after.as_secs())]
    TimedOut { command: String, after: Duration },
    #[error("there is no commit `{0}` in this repository")]
    UnknownRevision(String),
    #[error(
        "nothing to compare with: there is no origin/HEAD, origin/main or origin/master; give \
         `--base REF`"
    )]
    NoBase,
    #[error(
        "`{path}` is in the tree and can't be read; in a clone without all files' contents, fetch \
         them first: `git fetch --refetch --no-filter`"
    )]
    Unread { path: String },
    #[error("the repository is bare and has no work tree")]
    NoWorkTree,
    #[error("`git {command}` failed: {text}")]
    Failed { command: String, text: String },
    #[error("`git {command}` printed what was not expected: {text}")]
    Output { command: String, text: String },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl GitError {
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull(format!("{what}: {source}"));
        }
        Self::Io { what, source }
    }

    /// git did not start: it is not there, or the system has no room for another process just now.
    pub(super) fn start(source: io::Error) -> Self {
        let is_missing =
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
        if is_missing {
            return Self::NotInstalled(source);
        }
        Self::io("git could not be started", source)
    }

    /// Is it worth trying again, with nothing changed by anyone?
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Network { .. } | Self::TimedOut { .. } | Self::DiskFull(_) | Self::Io { .. } => {
                true
            }
            Self::NotInstalled(_)
            | Self::NoRepository(_)
            | Self::NoAccess { .. }
            | Self::Vanished { .. }
            | Self::UnknownRevision(_)
            | Self::NoBase
            | Self::Unread { .. }
            | Self::NoWorkTree
            | Self::Failed { .. }
            | Self::Output { .. } => false,
        }
    }
}

/// Reads what a failed `fetch` printed. git has one exit status for all of it, so its words are
/// what there is; they are stable under `LC_ALL=C`.
pub(super) fn of_fetch(url: &str, stderr: &str, wanted: &[Sha]) -> GitError {
    let lower = stderr.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (url, text) = (url.to_owned(), telling(stderr));
    if says(&["no space left", "disk quota exceeded"]) {
        return GitError::DiskFull(text);
    }
    if says(&[
        "not our ref",
        "unadvertised object",
        "couldn't find remote ref",
        "no such remote ref",
    ]) {
        let named = wanted.iter().find(|sha| lower.contains(sha.as_str()));
        if let Some(sha) = named.or(wanted.first()) {
            return GitError::Vanished { sha: sha.clone() };
        }
    }
    let refused = [
        "authentication failed",
        "could not read username",
        "returned error: 401",
        "returned error: 403",
        "returned error: 404",
        "repository not found",
        "' not found",
        "does not appear to be a git repository",
        "access denied",
    ];
    if says(&refused) {
        return GitError::NoAccess { url, text };
    }
    let away = [
        "could not resolve",
        "unable to access",
        "connection",
        "timed out",
        "timeout",
        "early eof",
        "rpc failed",
        "hung up",
        "unexpected disconnect",
        "returned error: 5",
        "tls",
        "ssl",
    ];
    if says(&away) {
        return GitError::Network { url, text };
    }
    GitError::Failed { command: "fetch".to_owned(), text }
}

/// The lines of git's output that tell something, in one.
pub(super) fn telling(stderr: &str) -> String {
    let lines = stderr.lines().map(str::trim).filter(|line| {
        !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("remote: Enumerating")
    });
    let text = lines.collect::<Vec<_>>().join("; ");
    match text.char_indices().nth(500) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None if text.is_empty() => "it gave no reason".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fetch_prints_is_told_apart() {
        let sha: Sha = "a".repeat(40).parse().unwrap();
        let other: Sha = "b".repeat(40).parse().unwrap();
        let of = |text: &str| of_fetch("https://x/y.git", text, &[sha.clone(), other.clone()]);
        let vanished = format!("fatal: remote error: upload-pack: not our ref {other}");
        assert!(matches!(of(&vanished), GitError::Vanished { sha } if sha == other));
        // A server that hands out nothing but what its branches hold.
        let refused =
            format!("error: Server does not allow request for unadvertised object {other}");
        assert!(matches!(of(&refused), GitError::Vanished { sha } if sha == other));
        for text in [
            "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
            "remote: Repository not found.\nfatal: repository 'https://x/y.git/' not found",
            "fatal: unable to access 'https://x/y.git/': The requested URL returned error: 403",
        ] {
            assert!(matches!(of(text), GitError::NoAccess { .. }), "{text}");
        }
        for text in [
            "fatal: unable to access 'https://x/': Could not resolve host: x",
            "error: RPC failed; curl 56 GnuTLS recv error",
            "fatal: unable to access 'https://x/': The requested URL returned error: 502",
        ] {
            assert!(matches!(of(text), GitError::Network { .. }), "{text}");
        }
        let full = "error: file write error: No space left on device\nfatal: unable to write";
        assert!(matches!(of(full), GitError::DiskFull(_)));
        assert!(matches!(of("fatal: odd"), GitError::Failed { .. }));
    }

    #[test]
    fn no_room_for_another_process_is_not_a_missing_git() {
        let of = |kind: io::ErrorKind| GitError::start(io::Error::from(kind));
        assert!(matches!(of(io::ErrorKind::NotFound), GitError::NotInstalled(_)));
        assert!(
            of(io::ErrorKind::WouldBlock).may_pass() && of(io::ErrorKind::OutOfMemory).may_pass()
        );
    }
}
