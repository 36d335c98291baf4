//! A throw-away `PostgreSQL` on a Unix socket, with its own settings but for the sizes that a server
//! of this machine would be given.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

/// A running server; stopped and removed when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
}

const USER: &str = "bench";
/// In the socket's name only.
const PORT: u16 = 5432;

impl Postgres {
    /// `None`, said aloud, where there is no server to start.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        let Some(programs) = programs() else {
            if std::env::vars_os()
                .any(|(name, value)| name == "CHECKVALVE_REQUIRE" && value == "all")
            {
                bail!("no PostgreSQL server is installed, and CHECKVALVE_REQUIRE=all wants one");
            }
            eprintln!("skipped: no PostgreSQL server (initdb) is installed");
            return Ok(None);
        };
        let folder = tempfile::Builder::new().prefix("checkvalve-bench-pg-").tempdir()?;
        if rustix::process::geteuid().is_root() {
            let (user, group) = postgres_account()?;
            chown(folder.path(), Some(user), Some(group))?;
        }
        let server = Self { folder, programs };
        let data = server.data();
        server
            .run("initdb", &["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"])?;
        let options = format!(
            "-c listen_addresses='' -c port={PORT} -c unix_socket_directories={} -c \
             shared_buffers=256MB -c max_wal_size=4GB",
            server.folder.path().display()
        );
        let log = server.folder.path().join("log").display().to_string();
        server.run("pg_ctl", &["-w", "-D", &data, "-l", &log, "-o", &options, "start"])?;
        Ok(Some(server))
    }

    /// Makes an empty database; its address.
    pub(crate) fn create(&self, name: &str) -> anyhow::Result<String> {
        let folder = self.folder.path().display().to_string();
        let port = PORT.to_string();
        self.run("createdb", &["-h", &folder, "-p", &port, "-U", USER, name])?;
        Ok(format!("postgres://{USER}@localhost:{PORT}/{name}?host={folder}"))
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// As the account `postgres` when we are root, which the server refuses to run as.
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let path = self.programs.join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let log = self.folder.path().join(format!("{program}.out"));
        let out = std::fs::File::create(&log)?;
        let status = command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdout(out.try_clone()?)
            .stderr(out)
            .status()?;
        if !status.success() {
            bail!("{program}: {status}: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]) {
            eprintln!("the throw-away PostgreSQL was not stopped: {error:#}");
        }
    }
}

/// The newest installed server's programs, where Debian has them, or of the `PATH`.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::vars_os().find(|(name, _)| name == "PATH").map(|(_, path)| path);
    let elsewhere = path.iter().flat_map(std::env::split_paths);
    let mut all = folders.into_iter().rev().chain(elsewhere);
    all.find(|folder| folder.join("initdb").exists())
}

fn postgres_account() -> anyhow::Result<(u32, u32)> {
    let accounts = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    let line = accounts.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut numbers = line.context("there is no account `postgres`")?.split(':').skip(1);
    let mut number = || -> anyhow::Result<u32> { Ok(numbers.next().context("no id")?.parse()?) };
    Ok((number()?, number()?))
}
