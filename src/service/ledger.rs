//! Points for what is asked of GitHub, kept in the database.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::github::{Ledger, Share};
use crate::store::Store;

/// All who have this database share its points.
#[derive(Debug, Clone)]
pub struct SharedPoints {
    pub store: Store,
}

impl Ledger for SharedPoints {
    fn take(
        &self,
        installation: Option<u64>,
        points: u32,
        share: Share,
    ) -> BoxFuture<'_, Result<Option<Duration>, String>> {
        let taken = async move {
            let taken = match share {
                Share::All => self.store.take_points(installation, points).await,
                Share::Spare => self.store.take_spare_points(installation, points).await,
            };
            taken.map_err(|error| {
                format!("the database did not say whether it may be asked: {error}")
            })
        };
        taken.boxed()
    }
}
