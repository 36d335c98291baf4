//! Why the database did not do it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else holds the job (or delivery, head, planning) now; this writer must stop.
    #[error("the lease is lost: another worker holds it, or it was settled")]
    LeaseLost,
    #[error("the database holds something that it should not: {0}")]
    Inconsistent(String),
    #[error("`{0}` is no database: write `sqlite:<file>` or `postgres://…`")]
    Url(String),
    /// The database's file, or the disk that it lies on.
    #[error("the database file {}: {problem}; {mend}", file.display())]
    File { file: PathBuf, problem: String, mend: &'static str },
    #[error(
        "the database server {server} can't be used: {problem}; see that it runs and lets us in, \
             and that CHECKVALVE_DATABASE_URL names its host, user and database"
    )]
    Server { server: String, problem: String },
    /// The group commit that this delivery was part of did not happen; nothing was stored.
    #[error("the delivery could not be stored: {0}")]
    Intake(String),
    #[error("the database did not answer within {0} s")]
    Slow(u64),
    #[error("statement {name}: {source}")]
    Statement { name: String, source: sqlx::Error },
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

const WRITABLE: &str = "make the file and its folder writable for the user that runs this, or set CHECKVALVE_STATE_DIR";
const SPACE: &str = "free some space on that disk; nothing that was acknowledged is lost";
const LOCKED: &str = "another program holds it locked; end that one, or wait for it";
const BROKEN: &str = "the file is damaged or no SQLite database; restore it from a backup";
const NO_FILE: &str = "give the path of a file, in CHECKVALVE_DATABASE_URL";
const DISK: &str = "look at the disk (dmesg, quota, mount), then start again";

/// The index that keeps two that claimed at the same time from holding one lock.
const LOCK_HELD: &str = "jobs_lock_held";

impl StoreError {
    /// Would the same transaction succeed if it were tried again now? `PostgreSQL` ends one of two
    /// transactions that wait for each other (40P01), or that can't be put in one order (40001); and of two jobs
    /// with one lock that were claimed at the same time, one is left where it was.
    pub(super) fn is_conflict(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                let held = error.constraint() == Some(LOCK_HELD);
                held || matches!(error.code().as_deref(), Some("40P01" | "40001"))
            }
            Self::Database(_)
            | Self::LeaseLost
            | Self::Inconsistent(_)
            | Self::Url(_)
            | Self::File { .. }
            | Self::Server { .. }
            | Self::Intake(_)
            | Self::Slow(_)
            | Self::Statement { .. }
            | Self::Migrate(_) => false,
        }
    }

    /// Did the connection break, so that another one may do better? SQLSTATE class 57P is a server
    /// that shuts down or starts; 25P03 ends the transaction of a process that was frozen.
    pub(super) fn is_disconnected(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(error, sqlx::Error::Io(_))
            || error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|code| code.starts_with("57P") || code == "25P03")
    }

    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::File { mend, .. } if *mend == LOCKED)
    }

    /// What `SQLite`'s result codes mean to the one who has to mend it
    /// (<https://www.sqlite.org/rescode.html>).
    pub(super) fn of_file(file: &Path, error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()?.parse().ok());
        // The low byte is the primary code; extended ones say more than we need.
        let mend = match code.map(|code: u32| code & 0xff) {
            Some(3 | 8 | 14 | 23) => WRITABLE,
            Some(13) => SPACE,
            Some(5 | 6) => LOCKED,
            Some(10) => DISK,
            Some(11 | 26) => BROKEN,
            _ => return Self::Database(error),
        };
        Self::File { file: file.to_owned(), problem: plain(&error), mend }
    }

    /// A file or folder that could not be made or opened.
    pub(super) fn of_io(file: &Path, error: &std::io::Error) -> Self {
        let kind = error.kind();
        let mend = if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            SPACE
        } else if matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
            WRITABLE
        } else if matches!(kind, ErrorKind::IsADirectory | ErrorKind::NotADirectory) {
            NO_FILE
        } else {
            DISK
        };
        Self::File { file: file.to_owned(), problem: error.to_string(), mend }
    }

    pub(super) fn read_only(file: &Path) -> Self {
        Self::File { file: file.to_owned(), problem: "it is read-only".to_owned(), mend: WRITABLE }
    }
}

fn plain(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    /// What `SQLite` itself says when it is made to fail in this way.
    async fn failing(pragma: &'static str, statement: &'static str) -> StoreError {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        conn.execute("create table t (x text)").await.unwrap();
        conn.execute(pragma).await.unwrap();
        let error = conn.execute(statement).await.unwrap_err();
        StoreError::of_file(Path::new("/state/checkvalve.db"), error)
    }

    #[tokio::test]
    async fn a_full_disk_and_a_read_only_file_are_named_with_their_mend() {
        let full = failing("pragma max_page_count = 2", "insert into t values (zeroblob(100000))");
        let full = full.await.to_string();
        assert_eq!(
            full,
            "the database file /state/checkvalve.db: database or disk is full; \
             free some space on that disk; nothing that was acknowledged is lost"
        );
        let read_only = failing("pragma query_only = on", "insert into t values ('x')");
        let read_only = read_only.await.to_string();
        assert!(read_only.contains("attempt to write a readonly database"), "{read_only}");
        assert!(read_only.contains("make the file and its folder writable"), "{read_only}");
        let other = failing("pragma query_only = on", "select no_such_column from t").await;
        assert!(matches!(other, StoreError::Database(_)), "{other:?}");
    }
}
