//! The clock of an `SQLite` database, moved on: what takes days there takes a statement here.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::path::Path;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, SqliteConnection};

pub(crate) struct Clock {
    pub(crate) database: SqliteConnection,
}

impl Clock {
    /// Of a database that was opened, and so migrated, before.
    pub(crate) async fn of(url: &str) -> Self {
        let mut database = SqliteConnection::connect(url).await.unwrap();
        let moves = "create table moved_on (by BIGINT not null);
             insert into moved_on values (0);
             drop view clock;
             create view clock as select cast(round(unixepoch('subsec') * 1000) as integer)
                + (select by from moved_on) as now";
        database.execute(moves).await.unwrap();
        Self { database }
    }

    /// Of the server with this state folder.
    pub(crate) async fn of_state(state: &Path) -> Self {
        Self::of(&format!("sqlite:{}", state.join("checkvalve.db").display())).await
    }

    pub(crate) async fn skip(&mut self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap();
        let moves = sqlx::query("update moved_on set by = by + $1").bind(millis);
        moves.execute(&mut self.database).await.unwrap();
    }
}
