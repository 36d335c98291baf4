//! A real `PostgreSQL` for tests: a fresh database each time it is asked for.
//!
//! `scripts/with-postgres` starts one server for many test processes and says where in
//! `CHECKVALVE_TEST_POSTGRES_URL`. Without it, this process starts its own, which ends with the
//! process however that ends.

#![expect(clippy::expect_used, reason = "a test may panic")]

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use checkvalve::ambient;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// The URL of a new, empty database; `None`, said on stderr, where there is no `PostgreSQL`. Under
/// `CHECKVALVE_REQUIRE=all` that is a failure.
pub(crate) async fn database() -> Option<String> {
    let server = match server() {
        Ok(server) => server,
        Err(why) if ambient::env("CHECKVALVE_REQUIRE").as_deref() == Some("all") => {
            panic!("PostgreSQL is required and missing: {why}")
        }
        Err(why) => {
            eprintln!("SKIPPED, no PostgreSQL: {why}");
            return None;
        }
    };
    let name = format!("test_{}", ambient::ulid().to_string().to_lowercase());
    let mut admin = PgConnection::connect(&server).await.expect("connect to the test server");
    let create = AssertSqlSafe(format!("create database {name}"));
    admin.execute(create).await.expect("create the test's database");
    let mut url = url::Url::parse(&server).expect("the test server's URL");
    url.set_path(&name);
    Some(url.into())
}

/// The superuser's URL of a running server.
fn server() -> Result<String, String> {
    static OWN: OnceLock<Result<Server, String>> = OnceLock::new();
    match ambient::env("CHECKVALVE_TEST_POSTGRES_URL") {
        Some(url) => Ok(url),
        None => match OWN.get_or_init(start) {
            Ok(server) => Ok(server.url.clone()),
            Err(why) => Err(why.clone()),
        },
    }
}

struct Server {
    url: String,
    /// Its stdin is open as long as this process lives; at its end the script stops the server.
    _script: Child,
}

/// `scripts/with-postgres` around a shell that says the URL and then waits for the end of its
/// input, which comes with the end of this process, even by SIGKILL.
fn start() -> Result<Server, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/with-postgres");
    let said: PathBuf = std::env::temp_dir().join(format!("checkvalve-pg-{}", ambient::ulid()));
    let mut child = Command::new(script)
        .args([
            "sh",
            "-c",
            r#"echo "$CHECKVALVE_TEST_POSTGRES_URL" > "$0.new"; mv "$0.new" "$0"; cat"#,
        ])
        .arg(&said)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("scripts/with-postgres: {error}"))?;
    for _ in 0..600 {
        if let Ok(url) = std::fs::read_to_string(&said) {
            let _ = std::fs::remove_file(&said);
            // Nothing more is said there, and a full pipe must not stop the server.
            drop(child.stderr.take());
            return Ok(Server { url: url.trim().to_owned(), _script: child });
        }
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            let mut why = String::new();
            let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut why));
            return Err(why.trim().to_owned());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err("PostgreSQL did not start within 30 s".to_owned())
}
