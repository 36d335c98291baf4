//! The example repository in a folder of its own, and the program started there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use checkvalve::ambient;
use serde_json::Value;

pub(crate) const WEATHER: &str = "airbyte-integrations/connectors/source-weather";

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// The status is as expected, or the test fails with all that was said.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Standard error says all of these.
    #[track_caller]
    pub(crate) fn complains(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "`{text}` is not in: {}", self.err);
        }
        assert!(!self.err.contains('\u{1b}'), "colours in a file: {:?}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text), "`{text}` is not in: {}", self.out);
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// One JSON object a line.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A clone of the example repository with `origin/main`, and a folder for state.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/connectors");
        let copied = Command::new("cp").arg("-r").arg(example).arg(bench.repo()).status().unwrap();
        assert!(copied.success());
        bench.git(&["init", "--quiet", "--initial-branch=main"]);
        bench.commit("Begin");
        bench.git(&["remote", "add", "origin", "https://github.invalid/acme/connectors.git"]);
        bench.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
        bench
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.path().join("connectors")
    }

    /// A place for whatever a test needs.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repo()).args(identity).args(args);
        let done = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The program, with an environment that holds nothing but what a test gives.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let program = match program {
            "connectors-ci" => env!("CARGO_BIN_EXE_connectors-ci"),
            _ => env!("CARGO_BIN_EXE_checkvalve"),
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", ambient::env("PATH").unwrap())
            .env("HOME", self.dir.path())
            .env("CHECKVALVE_STATE_DIR", self.place("state"))
            .stdin(Stdio::null());
        if let Some(host) = ambient::env("DOCKER_HOST") {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        self.run_with(args, &[])
    }

    pub(crate) fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Answer {
        answer(self.command("checkvalve", args).envs(env.iter().copied()))
    }
}

pub(crate) fn answer(command: &mut Command) -> Answer {
    let done = command.output().unwrap();
    Answer {
        status: done.status.code().unwrap_or(-1),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}
