//! The two drivers behind one face: the same statement, bound and read in the same way.

use std::fmt::Write as _;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::query::QueryAs;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, FromRow, Postgres, SqlSafeStr, Sqlite};

use super::arg::{Arg, bind};
use super::error::StoreError;
use super::nudge::{Nudges, Topic, Topics};
use crate::ambient::failpoint::{self, Deed};

/// How long a statement may take before its caller hears [`StoreError::Slow`]: a black-holed
/// connection must not hang a loop for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A statement: one text for both databases, but for `for update skip locked`, which `SQLite` does
/// not know and, having one writer at a time, does not need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Sql {
    pub(super) const fn same(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }

    pub(super) const fn pair(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }
}

/// The constants of a topic, listed so that a test can prepare them all.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* pub(in crate::store) const $name: $crate::store::pool::Sql = $sql;)+
        pub(in crate::store) const STATEMENTS: &[(&str, $crate::store::pool::Sql)] =
            &[$((stringify!($name), $name)),+];
    };
}

/// A statement that is the same on both databases.
macro_rules! sql {
    ($($text:expr),+ $(,)?) => { $crate::store::pool::Sql::same(concat!($($text),+)) };
}

/// A claim: rows that another claim looks at are passed over, not waited for.
macro_rules! skip_locked {
    ($before:expr, $after:expr) => {
        $crate::store::pool::Sql::pair(
            concat!($before, $after),
            concat!($before, " for update skip locked", $after),
        )
    };
}

/// The database's clock, in milliseconds.
macro_rules! now {
    () => {
        "(select now from clock)"
    };
}

/// Tries a transaction again that the database ended in favour of another one, or whose connection
/// broke: an hour's job must not run again because its last write met a restart. Only for what does
/// no harm when it is done again after a commit that was not acknowledged.
macro_rules! retried {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            match $call.await {
                Err(error) if (error.is_conflict() || error.is_disconnected()) && tries < 5 => {
                    tries += 1;
                }
                answer => break answer,
            }
        }
    }};
}

/// Tries what has no effect (or none if repeated) again when the connection breaks under it: after a
/// server's restart each of a pool's connections does, once.
macro_rules! reconnecting {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            match $call.await {
                Err(error) if error.is_disconnected() && tries < 40 => {
                    tries += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(tries)).await;
                }
                answer => break answer,
            }
        }
    }};
}

/// Expands one expression for both drivers, `$db` being the driver's type.
macro_rules! on {
    ($conn:expr, |$c:ident, $db:ident| $query:expr) => {
        match $conn {
            Conn::Sqlite($c) => {
                type $db = Sqlite;
                $query
            }
            Conn::Postgres($c) => {
                type $db = Postgres;
                $query
            }
        }
    };
}

/// A row that both drivers can read.
pub(super) trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// An insert of any number of rows, in statements of a few fixed sizes so that they stay prepared.
pub(super) struct Rows {
    pub(super) insert: &'static str,
    /// Values a row.
    pub(super) columns: usize,
    /// What follows them in every row.
    pub(super) fixed: &'static str,
    pub(super) rest: &'static str,
}

/// Rows a statement, largest first.
const SIZES: [usize; 6] = [32, 16, 8, 4, 2, 1];

impl Rows {
    /// Only placeholders are made here; no value ever becomes part of the text.
    fn text(&self, rows: usize) -> String {
        let mut text = format!("{} values ", self.insert);
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 1..=self.columns {
                let comma = if column == 1 { "" } else { ", " };
                // Writing to a string does not fail.
                let _ = write!(text, "{comma}${}", row * self.columns + column);
            }
            text.push_str(self.fixed);
            text.push(')');
        }
        text.push_str(self.rest);
        text
    }
}

/// One of the two drivers' connections, transactions or pools.
#[derive(Debug)]
pub(super) enum Conn<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// From when on not even a power failure takes a transaction back. `SQLite` then waits for the disk;
/// `PostgreSQL`, which lets many wait together, always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// When its commit returns.
    AtOnce,
    /// When the commit of the next one returns that lasts at once: the log is written in one order.
    WithTheNext,
}

/// The connections to one database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// One writer, so that writers queue here and not in `SQLITE_BUSY`, and a few readers.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        file: Arc<Path>,
    },
    Postgres(PgPool),
}

impl Pool {
    /// Starts a transaction that writes. `SQLite`'s must be immediate: a deferred one that becomes a
    /// writer later fails at once with `SQLITE_BUSY_SNAPSHOT`, whatever the timeout.
    pub(super) async fn begin<'a>(
        &'a self,
        nudges: &'a Nudges,
        lasting: Lasting,
    ) -> Result<Tx<'a>, StoreError> {
        let begin = match lasting {
            Lasting::AtOnce => "begin immediate",
            Lasting::WithTheNext => "pragma synchronous = normal; begin immediate",
        };
        let conn = match self {
            Self::Sqlite { writer, .. } => {
                Conn::Sqlite(self.patiently(writer.begin_with(begin)).await?)
            }
            Self::Postgres(pool) => {
                Conn::Postgres(reconnecting!(self.patiently(begun(pool, "begin")))?)
            }
        };
        Ok(Tx { conn, pool: self, nudges, topics: Topics::default() })
    }

    /// Starts a transaction that reads one state of the database throughout.
    pub(super) async fn snapshot<'a>(&'a self, nudges: &'a Nudges) -> Result<Tx<'a>, StoreError> {
        const BEGIN: &str = "begin transaction isolation level repeatable read, read only";
        let conn = match self {
            Self::Sqlite { readers, .. } => Conn::Sqlite(self.patiently(readers.begin()).await?),
            Self::Postgres(pool) => {
                Conn::Postgres(reconnecting!(self.patiently(begun(pool, BEGIN)))?)
            }
        };
        Ok(Tx { conn, pool: self, nudges, topics: Topics::default() })
    }

    /// Reads with one statement.
    pub(super) async fn all<T: Record>(
        &self,
        sql: Sql,
        args: Vec<Arg>,
    ) -> Result<Vec<T>, StoreError> {
        reconnecting!(self.all_once(sql, args.clone()))
    }

    async fn all_once<T: Record>(&self, sql: Sql, args: Vec<Arg>) -> Result<Vec<T>, StoreError> {
        let work = on!(self.readers(), |pool, Db| {
            let args = bind::<Db>(args)?;
            let query: QueryAs<'_, Db, T, _> = sqlx::query_as_with(text::<Db>(sql), args);
            Box::pin(query.fetch_all(pool)) as Work<'_, Vec<T>>
        });
        self.patiently(work).await
    }

    pub(super) async fn one<T: Record>(
        &self,
        sql: Sql,
        args: Vec<Arg>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Writes with one statement of its own transaction; answers how many rows it touched.
    pub(super) async fn execute(&self, sql: Sql, args: Vec<Arg>) -> Result<u64, StoreError> {
        let work = on!(self.writers(), |pool, Db| {
            let query = sqlx::query_with(text::<Db>(sql), bind::<Db>(args)?);
            Box::pin(async move { Ok(query.execute(pool).await?.rows_affected()) }) as Work<'_, u64>
        });
        let place = || sql.sqlite.to_owned();
        failpoint::around(Deed::Commit, place, self.patiently(work)).await
    }

    /// Inserts these rows with one statement, which is its own transaction: one way there and back.
    pub(super) async fn insert<T: Record>(
        &self,
        rows: &Rows,
        values: Vec<Vec<Arg>>,
    ) -> Result<Vec<T>, StoreError> {
        let text = AssertSqlSafe(rows.text(values.len()));
        let args = values.into_iter().flatten().collect();
        let work = on!(self.writers(), |pool, Db| {
            let args = bind::<Db>(args)?;
            let query: QueryAs<'_, Db, T, _> = sqlx::query_as_with(text, args);
            Box::pin(query.fetch_all(pool)) as Work<'_, Vec<T>>
        });
        let place = || rows.insert.to_owned();
        failpoint::around(Deed::Commit, place, self.patiently(work)).await
    }

    pub(super) async fn prepare(&self, name: &str, sql: Sql) -> Result<(), StoreError> {
        let prepared = on!(self.readers(), |pool, Db| {
            pool.prepare(text::<Db>(sql).into_sql_str()).await.map(drop)
        });
        prepared.map_err(|source| StoreError::Statement { name: name.to_owned(), source })
    }

    pub(super) async fn prepare_rows(&self, name: &str, rows: &Rows) -> Result<usize, StoreError> {
        for size in SIZES {
            let text = AssertSqlSafe(rows.text(size)).into_sql_str();
            on!(self.readers(), |pool, _Db| pool.prepare(text).await.map(drop))
                .map_err(|source| StoreError::Statement { name: name.to_owned(), source })?;
        }
        Ok(SIZES.len())
    }

    fn readers(&self) -> Conn<&SqlitePool, &PgPool> {
        match self {
            Self::Sqlite { readers, .. } => Conn::Sqlite(readers),
            Self::Postgres(pool) => Conn::Postgres(pool),
        }
    }

    fn writers(&self) -> Conn<&SqlitePool, &PgPool> {
        match self {
            Self::Sqlite { writer, .. } => Conn::Sqlite(writer),
            Self::Postgres(pool) => Conn::Postgres(pool),
        }
    }

    async fn patiently<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(answer) => answer.map_err(|error| self.explain(error)),
            Err(_) => Err(StoreError::Slow(PATIENCE.as_secs())),
        }
    }

    pub(super) fn explain(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Sqlite { file, .. } => StoreError::of_file(file, error),
            Self::Postgres(_) => StoreError::Database(error),
        }
    }
}

/// Begins a transaction, whether or not anybody still waits for it. Were its beginning broken off on the
/// way, the driver would give the connection back with a transaction open of which it does not know:
/// whoever had it next would write into that, and lose it.
async fn begun(
    pool: &PgPool,
    begin: &'static str,
) -> Result<sqlx::Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let beginning = tokio::spawn(async move { pool.begin_with(begin).await });
    beginning.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

type Work<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'a>>;

/// The statement's text for a driver.
trait Dialect {
    fn of(sql: Sql) -> &'static str;
}

impl Dialect for Sqlite {
    fn of(sql: Sql) -> &'static str {
        sql.sqlite
    }
}

impl Dialect for Postgres {
    fn of(sql: Sql) -> &'static str {
        sql.postgres
    }
}

fn text<D: Dialect>(sql: Sql) -> &'static str {
    D::of(sql)
}

type Transactions = Conn<sqlx::Transaction<'static, Sqlite>, sqlx::Transaction<'static, Postgres>>;

/// A transaction; dropped without `commit`, it never happened.
#[derive(Debug)]
pub(super) struct Tx<'a> {
    conn: Transactions,
    pool: &'a Pool,
    nudges: &'a Nudges,
    topics: Topics,
}

impl Tx<'_> {
    pub(super) async fn all<T: Record>(
        &mut self,
        sql: Sql,
        args: Vec<Arg>,
    ) -> Result<Vec<T>, StoreError> {
        let work = on!(&mut self.conn, |tx, Db| {
            let args = bind::<Db>(args)?;
            let query: QueryAs<'_, Db, T, _> = sqlx::query_as_with(text::<Db>(sql), args);
            Box::pin(query.fetch_all(&mut **tx)) as Work<'_, Vec<T>>
        });
        self.pool.patiently(work).await
    }

    pub(super) async fn one<T: Record>(
        &mut self,
        sql: Sql,
        args: Vec<Arg>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    pub(super) async fn execute(&mut self, sql: Sql, args: Vec<Arg>) -> Result<u64, StoreError> {
        let work = on!(&mut self.conn, |tx, Db| {
            let query = sqlx::query_with(text::<Db>(sql), bind::<Db>(args)?);
            Box::pin(async move { Ok(query.execute(&mut **tx).await?.rows_affected()) })
                as Work<'_, u64>
        });
        self.pool.patiently(work).await
    }

    /// The time, by the database's clock.
    pub(super) async fn now(&mut self) -> Result<i64, StoreError> {
        const NOW: Sql = Sql::same("select now from clock");
        let now: Option<(i64,)> = self.one(NOW, args![]).await?;
        now.map(|(now,)| now)
            .ok_or_else(|| StoreError::Inconsistent("its clock has no time".to_owned()))
    }

    /// Inserts all rows; what `returning` asks for comes back, in no order that counts.
    pub(super) async fn insert<T: Record>(
        &mut self,
        rows: &Rows,
        mut values: std::collections::VecDeque<Vec<Arg>>,
    ) -> Result<Vec<T>, StoreError> {
        let mut returned = Vec::new();
        while let Some(size) = SIZES.into_iter().find(|size| *size <= values.len()) {
            let args: Vec<Arg> = values.drain(..size).flatten().collect();
            let text = AssertSqlSafe(rows.text(size));
            let work = on!(&mut self.conn, |tx, Db| {
                let args = bind::<Db>(args)?;
                let query: QueryAs<'_, Db, T, _> = sqlx::query_as_with(text, args);
                Box::pin(query.fetch_all(&mut **tx)) as Work<'_, Vec<T>>
            });
            returned.extend(self.pool.patiently(work).await?);
        }
        Ok(returned)
    }

    /// Wakes who waits for this, once the transaction is committed.
    pub(super) fn nudge(&mut self, topic: Topic) {
        self.topics.add(topic);
    }

    #[track_caller]
    pub(super) fn commit(self) -> impl Future<Output = Result<(), StoreError>> {
        let asked_for = Location::caller();
        async move {
            let (nudges, topics) = (self.nudges, self.topics);
            let place = || asked_for.to_string();
            failpoint::around(Deed::Commit, place, self.commit_now()).await?;
            nudges.wake(topics);
            Ok(())
        }
    }

    async fn commit_now(self) -> Result<(), StoreError> {
        match self.conn {
            Conn::Sqlite(tx) => self.pool.patiently(tx.commit()).await,
            Conn::Postgres(mut tx) => {
                if let Some(payload) = self.nudges.payload(self.topics) {
                    let notify = sqlx::query("select pg_notify($1, $2)")
                        .bind(super::nudge::CHANNEL)
                        .bind(payload);
                    self.pool.patiently(notify.execute(&mut *tx)).await?;
                }
                self.pool.patiently(tx.commit()).await
            }
        }
    }
}
