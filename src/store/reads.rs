//! What may be asked of GitHub: points that are taken here, by all processes.

use std::time::Duration;

use super::Store;
use super::error::StoreError;
use super::rows::number;
use crate::domain::reads::{LEFT_BY_BACKGROUND, LONGEST_WAIT, of};

statements! {
    // A clock that was set back must not keep them for as long.
    TAKE = sql!(
        "insert into reads (installation, paid_at) values ($1, ", now!(), " + $2)
         on conflict (installation) do update set paid_at = $2 + case
            when reads.paid_at < ", now!(), " then ", now!(), "
            when reads.paid_at > ", now!(), " + $4 then ", now!(), " + $3
            else reads.paid_at end
         where reads.paid_at + $2 <= ", now!(), " + $5 or reads.paid_at > ", now!(), " + $4
         returning paid_at - ", now!(), " - $3"
    );
}

impl Store {
    /// Takes so many points of an installation's (`None`: of the App's own); how long to wait before
    /// they are used. `None`: there are too few, and none were taken.
    pub async fn take_points(
        &self,
        installation: Option<u64>,
        points: u32,
    ) -> Result<Option<Duration>, StoreError> {
        let most = in_all(installation) + LONGEST_WAIT;
        self.take_up_to(most, installation, points).await
    }

    /// The same for what waits for nobody: some are left to the others, and none is waited for.
    pub async fn take_spare_points(
        &self,
        installation: Option<u64>,
        points: u32,
    ) -> Result<Option<Duration>, StoreError> {
        let left = i64::from(LEFT_BY_BACKGROUND) * i64::from(of(installation).pace);
        self.take_up_to(in_all(installation) - left, installation, points).await
    }

    async fn take_up_to(
        &self,
        most: i64,
        installation: Option<u64>,
        points: u32,
    ) -> Result<Option<Duration>, StoreError> {
        let burst = in_all(installation);
        let cost = i64::from(points) * i64::from(of(installation).pace);
        let args = args![installation.unwrap_or(0), cost, burst, burst + LONGEST_WAIT, most];
        let mut tx = self.begin_lightly().await?;
        let taken: Option<(i64,)> = tx.one(TAKE, args).await?;
        tx.commit().await?;
        Ok(taken.map(|(wait,)| Duration::from_millis(number(wait.max(0)))))
    }
}

/// What there is at once, in milliseconds of its pace.
fn in_all(installation: Option<u64>) -> i64 {
    let all = of(installation);
    i64::from(all.burst) * i64::from(all.pace)
}
