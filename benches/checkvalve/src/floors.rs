//! Floors of webhook intake: bare axum programs that verify a delivery and do the one thing that
//! the product has to do as well. Each is a process of its own, as the product is.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use clap::Args;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::net::TcpListener;

use crate::http;
use crate::load::PATH;
use crate::payload::SECRET;
use crate::process::Process;

/// What a floor does with a delivery.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Floor {
    /// Commit it to this database, an event a transaction; without one it is only read
    #[arg(long)]
    database: Option<String>,
    /// Then create a check run through the API at this address
    #[arg(long)]
    api: Option<SocketAddr>,
    /// Before that, fetch base and head into this bare repository and diff them
    #[arg(long)]
    git: Option<String>,
    /// The installation's token
    #[arg(long, env = "CHECKVALVE_BENCH_TOKEN", default_value = "", hide_env_values = true)]
    token: String,
}

impl Floor {
    pub(crate) fn reading() -> Self {
        Self::default()
    }

    pub(crate) fn committing(database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::default() }
    }

    /// And telling GitHub.
    pub(crate) fn checking(self, api: SocketAddr, token: &str, git: Option<String>) -> Self {
        Self { api: Some(api), token: token.to_owned(), git, ..self }
    }

    /// Starts it as a process of its own.
    pub(crate) fn start(&self) -> anyhow::Result<(Process, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").stdin(Stdio::null()).stdout(Stdio::piped());
        command.env("CHECKVALVE_BENCH_TOKEN", &self.token);
        let arguments = [
            ("--database", self.database.clone()),
            ("--api", self.api.map(|api| api.to_string())),
            ("--git", self.git.clone()),
        ];
        for (name, value) in arguments {
            command.args(value.iter().flat_map(|value| [name, value]));
        }
        let mut process = Process::spawn(&mut command)?;
        let mut line = String::new();
        let said = process.child().stdout.take().context("no output")?;
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().parse().context("the floor did not start")?;
        Ok((process, address))
    }
}

enum Database {
    /// One writer, as `SQLite` has it.
    Sqlite(SqlitePool),
    /// Sixteen connections: as many as there are posters.
    Postgres(PgPool),
}

struct Duty {
    database: Option<Database>,
    floor: Floor,
}

const INSERT: &str = "insert into deliveries (guid, event, body) values ($1, $2, $3)";

/// Serves until it is killed; the address is the one line of output.
pub(crate) fn serve(floor: &Floor) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = match &floor.database {
            Some(url) => Some(open(url).await?),
            None => None,
        };
        let duty = Arc::new(Duty { database, floor: floor.clone() });
        let router = Router::new().route(PATH, post(take)).with_state(duty);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn open(url: &str) -> anyhow::Result<Database> {
    const POSTGRES: &str = "create table deliveries (guid text primary key, event text not null, \
                            received_at timestamptz not null default now(), body bytea not null)";
    const SQLITE: &str = "create table deliveries (guid text primary key, event text not null, \
                          received_at integer not null default (unixepoch()), body blob not null)";
    if url.starts_with("postgres:") {
        let pool =
            PgPoolOptions::new().min_connections(16).max_connections(16).connect(url).await?;
        sqlx::query(POSTGRES).execute(&pool).await?;
        return Ok(Database::Postgres(pool));
    }
    let options = url
        .parse::<SqliteConnectOptions>()?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    sqlx::query(SQLITE).execute(&pool).await?;
    Ok(Database::Sqlite(pool))
}

async fn take(State(duty): State<Arc<Duty>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    match handle(&duty, &headers, &body).await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("floor: {error:#}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

async fn handle(duty: &Duty, headers: &HeaderMap, body: &Bytes) -> anyhow::Result<StatusCode> {
    let Some(database) = &duty.database else { return Ok(StatusCode::ACCEPTED) };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let signature = header("x-hub-signature-256").strip_prefix("sha256=").unwrap_or("");
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?.chain_update(body);
    if mac.verify_slice(&hex::decode(signature)?).is_err() {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    let (guid, event) = (header("x-github-delivery"), header("x-github-event"));
    match database {
        Database::Sqlite(pool) => {
            let query = sqlx::query(INSERT).bind(guid).bind(event).bind(body.as_ref());
            query.execute(pool).await?;
        }
        Database::Postgres(pool) => {
            let query = sqlx::query(INSERT).bind(guid).bind(event).bind(body.as_ref());
            query.execute(pool).await?;
        }
    }
    if let Some(api) = duty.floor.api {
        let (floor, body) = (duty.floor.clone(), body.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = check(api, &floor, &body) {
                eprintln!("floor: {error:#}");
            }
        });
    }
    Ok(StatusCode::ACCEPTED)
}

/// What follows from a pull request at the very least.
fn check(api: SocketAddr, floor: &Floor, body: &[u8]) -> anyhow::Result<()> {
    let event: Value = serde_json::from_slice(body)?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let (base, head) = (text("/pull_request/base/sha"), text("/pull_request/head/sha"));
    if let Some(cache) = &floor.git {
        git(cache, &["fetch", "--quiet", "--no-tags", "origin", base, head])?;
        git(cache, &["diff-tree", "-r", "-M", "-z", base, head])?;
    }
    let check = json!({ "name": "checkvalve", "head_sha": head, "status": "queued" }).to_string();
    let request = format!(
        "POST /api/v3/repos/{}/check-runs HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer \
         {}\r\nAccept: application/vnd.github+json\r\nUser-Agent: checkvalve-bench\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{check}",
        text("/repository/full_name"),
        floor.token,
        check.len()
    );
    let answer = http::send(api, request.as_bytes())?;
    anyhow::ensure!(answer.status == 201, "{}", String::from_utf8_lossy(&answer.body));
    Ok(())
}

fn git(cache: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("git").args(["--git-dir", cache]).args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
