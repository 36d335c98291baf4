//! How the `git` program is run: nothing inherited that could redirect, prompt, execute or leak.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::{GitError, telling};
use crate::ambient;

/// For what only reads local objects; a large repository on a slow disk needs some of it.
pub(super) const LOCAL: Duration = Duration::from_mins(2);

/// What an isolated git may know of its surroundings.
const KEPT: &[&str] = &[
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];
/// Variables that print credentials or change what a command prints.
const DROPPED: &[&str] = &[
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_SETUP",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_CURL_VERBOSE",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];
/// Variables that name another repository than the folder that was asked for.
const REDIRECTING: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// The server's cache: no configuration but ours.
    Isolated,
    /// A person's own clone: their configuration counts (ignored files, line ends, safe folders).
    Own { redirected: bool },
}

/// The git program in one repository.
#[derive(Debug, Clone)]
pub(super) struct Git {
    /// A bare repository (isolated), or a folder in one's own.
    pub(super) dir: PathBuf,
    pub(super) surroundings: Surroundings,
    pub(super) ca_file: Option<PathBuf>,
}

/// Configuration for one command, passed through the environment.
#[derive(Default)]
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    pub(super) fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.push((key.into(), value.into()));
    }
}

/// Ends the command's whole process group unless it ended: git's helpers (`git-remote-https`,
/// `index-pack`) outlive a killed git for a while.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Gone already is what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Git {
    pub(super) fn isolated(dir: &Path, ca_file: Option<PathBuf>) -> Self {
        Self { dir: dir.to_owned(), surroundings: Surroundings::Isolated, ca_file }
    }

    /// A command ready to run; `settings` are added to those that always hold.
    pub(super) fn command(&self, settings: Settings) -> std::process::Command {
        let mut command = std::process::Command::new("git");
        let mut all = Settings::default();
        match self.surroundings {
            Surroundings::Isolated => {
                command.env_clear().arg("--git-dir").arg(&self.dir);
                for name in KEPT {
                    if let Some(value) = ambient::env(name) {
                        command.env(name, value);
                    }
                }
                command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
                command.env("HOME", "/nonexistent").env("GIT_ATTR_NOSYSTEM", "1");
                all.set("protocol.allow", "never");
                all.set("safe.directory", "*");
                all.set("gc.auto", "0");
            }
            Surroundings::Own { redirected } => {
                command.arg("-C").arg(&self.dir);
                let redirecting = if redirected { REDIRECTING } else { &[] };
                for name in DROPPED.iter().chain(redirecting) {
                    command.env_remove(name);
                }
            }
        }
        for (key, value) in [
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("core.quotePath", "false"),
            ("submodule.recurse", "false"),
            ("diff.ignoreSubmodules", "none"),
            ("log.showSignature", "false"),
            // About the file of grafts, which is none.
            ("advice.graftFileDeprecated", "false"),
        ] {
            all.set(key, value);
        }
        all.0.extend(settings.0);
        command.env("GIT_CONFIG_COUNT", all.0.len().to_string());
        for (at, (key, value)) in all.0.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        if let Some(file) = &self.ca_file {
            command.env("GIT_SSL_CAINFO", file);
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_GRAFT_FILE", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a local command to its end; its standard output, if it succeeded.
    pub(super) async fn read<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, GitError> {
        let output = self.run(args, Settings::default(), None, LOCAL).await?;
        output.success(&shown(args))
    }

    /// Runs a command to its end, whatever its status.
    pub(super) async fn run<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        settings: Settings,
        input: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Ended, GitError> {
        let mut command = self.command(settings);
        command.args(args);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut command = tokio::process::Command::from(command);
        let mut child = command.process_group(0).spawn().map_err(GitError::start)?;
        let mut group = Group(child.id());
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // It may end before it has read all; its status tells.
                let _ = stdin.write_all(&input).await;
            }
        };
        let whole = async {
            let ((), out, err) = tokio::join!(feed, drain(stdout), drain(stderr));
            let status = child.wait().await?;
            Ok::<_, std::io::Error>((status, out?, err?))
        };
        let shown = shown(args);
        match tokio::time::timeout(limit, whole).await {
            Err(_) => Err(GitError::TimedOut { command: shown, after: limit }),
            Ok(Err(source)) => Err(GitError::io(format!("git {shown}"), source)),
            Ok(Ok((status, stdout, stderr))) => {
                group.0 = None;
                let stderr = String::from_utf8_lossy(&stderr).into_owned();
                Ok(Ended { code: status.code(), stdout, stderr })
            }
        }
    }
}

async fn drain<R: tokio::io::AsyncRead + Unpin>(from: Option<R>) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut from) = from {
        from.read_to_end(&mut all).await?;
    }
    Ok(all)
}

/// The subcommand, as an error names it.
pub(super) fn shown<S: AsRef<OsStr>>(args: &[S]) -> String {
    args.first().map(|arg| arg.as_ref().to_string_lossy().into_owned()).unwrap_or_default()
}

/// A command that ran to its end.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None`: killed by a signal.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Ended {
    pub(super) fn success(self, command: &str) -> Result<Vec<u8>, GitError> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        if self.stderr.contains("No space left on device") {
            return Err(GitError::DiskFull(telling(&self.stderr)));
        }
        Err(GitError::Failed { command: command.to_owned(), text: telling(&self.stderr) })
    }
}
