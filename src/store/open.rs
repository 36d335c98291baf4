//! Opening and migrating a database.

use std::future::ready;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection,
};

use super::nudge::Nudges;
use super::pool::Pool;
use super::{Inner, Store, StoreError, intake, logs};
use crate::ambient::failpoint::{self, Deed};

/// Version, description and text of each file in `migrations/`. A list, as the driver's macro for
/// it would build both databases' drivers a second time, for the compiler's own use.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "start", include_str!("../../migrations/0001_start.sql")),
    (2, "cache", include_str!("../../migrations/0002_cache.sql")),
    (3, "keys", include_str!("../../migrations/0003_keys.sql")),
    (4, "making", include_str!("../../migrations/0004_making.sql")),
    (5, "rotations", include_str!("../../migrations/0005_rotations.sql")),
    (6, "branches", include_str!("../../migrations/0006_branches.sql")),
    (7, "budget", include_str!("../../migrations/0007_budget.sql")),
    (8, "turns_of_runs", include_str!("../../migrations/0008_turns_of_runs.sql")),
    (9, "audit", include_str!("../../migrations/0009_audit.sql")),
    (10, "annotations", include_str!("../../migrations/0010_annotations.sql")),
    (11, "recovery", include_str!("../../migrations/0011_recovery.sql")),
    (12, "approvals", include_str!("../../migrations/0012_approvals.sql")),
    (13, "heads", include_str!("../../migrations/0013_heads.sql")),
    (14, "app", include_str!("../../migrations/0014_app.sql")),
    (15, "postponed", include_str!("../../migrations/0015_postponed.sql")),
    (16, "comments", include_str!("../../migrations/0016_comments.sql")),
    (17, "secrets_of_apps", include_str!("../../migrations/0017_secrets_of_apps.sql")),
    (19, "handled_again_last", include_str!("../../migrations/0019_handled_again_last.sql")),
    (20, "log_under_way", include_str!("../../migrations/0020_log_under_way.sql")),
    (21, "waits", include_str!("../../migrations/0021_waits.sql")),
    (22, "held_and_waited", include_str!("../../migrations/0022_held_and_waited.sql")),
    (23, "held_back", include_str!("../../migrations/0023_held_back.sql")),
    (25, "names_and_groups", include_str!("../../migrations/0025_names_and_groups.sql")),
    (26, "reads", include_str!("../../migrations/0026_reads.sql")),
    (27, "in_their_order", include_str!("../../migrations/0027_in_their_order.sql")),
    (28, "said_again", include_str!("../../migrations/0028_said_again.sql")),
];

/// The one thing that must be said in two ways: what time it is, for the database, in milliseconds.
const SQLITE_CLOCK: &str = "create view if not exists clock as
    select cast(round(unixepoch('subsec') * 1000) as integer) as now";
/// Not replaced when it is there: that would wait for everyone who reads the time in a transaction,
/// a backup for instance, and all others would wait behind it.
const POSTGRES_CLOCK: &str = "do $$ begin
    if to_regclass(format('%I.clock', current_schema())) is null then
        create view clock as
            select (extract(epoch from clock_timestamp()) * 1000)::bigint as now;
    end if;
end $$";

/// Any number will do, as long as nobody else locks it: "checkval" in ASCII.
const MIGRATION_LOCK: &str = "select pg_advisory_xact_lock(7163368254486536556)";

/// Of `PostgreSQL`, for one process.
const CONNECTIONS: u32 = 12;
/// A connection that was used this long ago is taken to be alive.
const FRESH: Duration = Duration::from_millis(500);
/// Prepared statements kept for a connection: all of them.
const STATEMENTS: usize = 300;
/// How long a start waits for another process's.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a connection of `SQLite` keeps of the file, at most: minus KiB. The kernel keeps the rest, and ten
/// connections each would keep their own copy. Readers read little more than once.
const CACHE: &str = "-512";
const READERS_CACHE: &str = "-256";
/// Of `SQLite`, besides the writer.
const READERS: u32 = 4;

/// Where the database is.
enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Store {
    /// `sqlite:<file>` or `postgres://…`; migrates, guarded against another process doing the same.
    /// A file that is missing is made (mode 0600, its folder 0700), and beside it `<name>-logs.db`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        match place(url)? {
            Place::Sqlite(file) => open_sqlite(&file).await,
            Place::Postgres(options) => open_postgres(*options).await,
        }
    }

    /// Closes all connections, waiting for what is under way; `SQLite` folds its log into the file.
    pub async fn close(&self) {
        if let Some(listener) = &self.inner.listener {
            listener.abort();
        }
        self.inner.main.close().await;
        self.inner.logs.close().await;
    }
}

impl Pool {
    async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

fn place(url: &str) -> Result<Place, StoreError> {
    let wrong = || StoreError::Url(without_password(url));
    if let Some(file) = url.strip_prefix("sqlite:") {
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.is_empty() || file.starts_with(':') || file.contains('?') || file.ends_with('/') {
            return Err(wrong());
        }
        return Ok(Place::Sqlite(PathBuf::from(file)));
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(wrong());
    }
    let options: PgConnectOptions = url.parse().map_err(|_| wrong())?;
    Ok(Place::Postgres(Box::new(options.application_name("checkvalve"))))
}

/// The URL as an error may show it.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Two processes that open a new file at once both turn its write-ahead log on, and `SQLite` tells
/// one of them that it is locked without waiting (the busy timeout does not count there).
async fn open_sqlite(file: &Path) -> Result<Store, StoreError> {
    let started = std::time::Instant::now();
    loop {
        match open_sqlite_once(file).await {
            Err(error) if error.is_locked() && started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

async fn open_sqlite_once(file: &Path) -> Result<Store, StoreError> {
    let main = sqlite(file, SqliteSynchronous::Full).await?;
    let logs_file = logs_file(file);
    // A log's tail that a power failure takes is written again, or ends with its step.
    let logs = sqlite(&logs_file, SqliteSynchronous::Off).await?;
    if let Pool::Sqlite { writer, .. } = &main {
        let mut conn = writer.acquire().await.map_err(|error| main.explain(error))?;
        migrate_sqlite(&mut conn).await.map_err(|error| explain_migration(&main, error))?;
    }
    if let Pool::Sqlite { writer, .. } = &logs {
        writer.execute(logs::TABLE).await.map_err(|error| logs.explain(error))?;
    }
    store(main, logs, Nudges::new(), None).await
}

/// `checkvalve.db` → `checkvalve-logs.db`.
fn logs_file(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-logs.db"))
}

async fn sqlite(file: &Path, synchronous: SqliteSynchronous) -> Result<Pool, StoreError> {
    make_file(file)?;
    let lasting = matches!(synchronous, SqliteSynchronous::Full);
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(STATEMENTS)
        // Pages of 4 KiB: a checkpoint each 16 MiB, so that a burst of webhooks does not wait for many.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", CACHE)
        .optimize_on_close(true, None);
    let explain = |error| StoreError::of_file(file, error);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(move |conn, _| {
            Box::pin(async move {
                // The one before may have been in less of a hurry.
                if lasting {
                    sqlx::query("pragma synchronous = full").execute(&mut *conn).await?;
                }
                Ok(usable(conn))
            })
        })
        .connect_with(options.clone())
        .await
        .map_err(explain)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .before_acquire(|conn, _| Box::pin(ready(Ok(usable(conn)))))
        .connect_lazy_with(options.pragma("query_only", "on").pragma("cache_size", READERS_CACHE));
    Ok(Pool::Sqlite { writer, readers, file: Arc::from(file) })
}

/// When the disk is full `SQLite` itself ends the transaction (<https://www.sqlite.org/lang_transaction.html>,
/// "automatic rollback"); the driver's own rollback then fails, and it takes the transaction to be open for
/// ever. Such a connection is replaced: otherwise nothing is written until a restart, with space or without.
fn usable(conn: &SqliteConnection) -> bool {
    !conn.is_in_transaction()
}

/// Makes the file and its folder readable for us alone. `SQLite` gives its `-wal` and `-shm` files
/// the same mode.
fn make_file(file: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::of_io(file, &error);
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    // Said before SQLite is asked, which would open it and fail at the first write; and to root,
    // whom the mode does not stop, it is a mistake all the same.
    match std::fs::metadata(file) {
        Ok(meta) if meta.permissions().readonly() => return Err(StoreError::read_only(file)),
        Ok(_) | Err(_) => {}
    }
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)
        .map(drop)
        .map_err(failed)
}

/// All migrations in one immediate transaction: of two processes that start at once, one waits.
async fn migrate_sqlite(conn: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut tx = conn.begin_with("begin immediate").await?;
    migrate(&mut *tx).await?;
    tx.execute(SQLITE_CLOCK).await?;
    Ok(failpoint::around(Deed::Commit, migrations, tx.commit()).await?)
}

async fn migrate_postgres(conn: &mut PgConnection) -> Result<(), MigrateError> {
    let mut tx = conn.begin().await?;
    tx.execute(MIGRATION_LOCK).await?;
    migrate(&mut *tx).await?;
    tx.execute(POSTGRES_CLOCK).await?;
    // Here, under the lock: of two who say "if not exists" at once, one is refused.
    tx.execute(logs::TABLE).await?;
    Ok(failpoint::around(Deed::Commit, migrations, tx.commit()).await?)
}

/// The place of their commit.
fn migrations() -> String {
    "migrations".to_owned()
}

/// Migrations that we do not know are a newer program's; they only expand, so we can go on.
async fn migrate<C: Migrate>(conn: &mut C) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        let sql = AssertSqlSafe(*sql).into_sql_str();
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true).set_locking(false);
    migrator.run_direct(None, conn, false).await
}

fn explain_migration(pool: &Pool, error: MigrateError) -> StoreError {
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        pool.explain(error)
    } else {
        StoreError::Migrate(error)
    }
}

/// No transaction of ours waits for anything outside the database. One that lies idle belongs to a
/// process that was frozen, or to a host that was cut off, and its locks would hold up all others:
/// the server ends it.
const FROZEN: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "5s")];

async fn open_postgres(options: PgConnectOptions) -> Result<Store, StoreError> {
    let options = options.options(FROZEN);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .after_connect(|conn, _| Box::pin(prefer_lz4(conn)))
        // One that lay idle may be dead since the server's restart; asking each time costs a way
        // there and back.
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.clone().statement_cache_capacity(STATEMENTS))
        .await;
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => return Err(no_server(&options, error).await),
    };
    migrate_postgres(&mut *pool.acquire().await?).await?;
    let main = Pool::Postgres(pool.clone());
    let logs = Pool::Postgres(pool.clone());
    let nudges = Nudges::new();
    let listener = tokio::spawn(nudges.clone().listen(pool));
    store(main, logs, nudges, Some(listener.abort_handle())).await
}

/// A pool only says that it waited in vain; one connection says why.
async fn no_server(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let tried = tokio::time::timeout(Duration::from_secs(5), PgConnection::connect_with(options));
    let problem = match tried.await {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(_)) | Err(_) => error.to_string(),
    };
    let server = format!("{}:{}", options.get_host(), options.get_port());
    StoreError::Server { server, problem }
}

/// Webhooks are stored about twice as fast with lz4 as with `PostgreSQL`'s own compression; a server
/// built without it says no, and keeps its own.
async fn prefer_lz4(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    match conn.execute("set default_toast_compression = 'lz4'").await {
        Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn store(
    main: Pool,
    logs: Pool,
    nudges: Nudges,
    listener: Option<tokio::task::AbortHandle>,
) -> Result<Store, StoreError> {
    let intake = intake::Intake::start(&main, &nudges).await?;
    Ok(Store { inner: Arc::new(Inner { main, logs, intake, nudges, listener }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let file = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        };
        let mut files: Vec<(String, String)> =
            std::fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap().path())).collect();
        files.sort();
        let embedded: Vec<(String, String)> = MIGRATIONS
            .iter()
            .map(|(version, name, sql)| (format!("{version:04}_{name}.sql"), (*sql).to_owned()))
            .collect();
        assert_eq!(embedded, files);
    }

    #[test]
    fn what_is_no_database_is_refused_without_showing_its_password() {
        for bad in ["", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:a/", "checkvalve.db"] {
            assert!(matches!(place(bad), Err(StoreError::Url(_))), "{bad}");
        }
        let error = place("mysql://me:hunter2@db/x").err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(
            matches!(place("sqlite:x.db"), Ok(Place::Sqlite(file)) if file == Path::new("x.db"))
        );
        assert_eq!(logs_file(Path::new("/s/checkvalve.db")), Path::new("/s/checkvalve-logs.db"));
    }
}
