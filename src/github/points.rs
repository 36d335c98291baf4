//! Points for what is asked of GitHub: taken some at a time from what all processes share, so that
//! together they stay within its limits. Who finds none waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::reads::{Leave, Purse};

/// A wait that is longer is the caller's.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for who has others to turn to meanwhile.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);
/// So often background work looks whether there is something to spare.
const LOOK: Duration = Duration::from_secs(1);
/// For what nobody knows better.
const PAUSE: Duration = Duration::from_secs(5);

/// For whom something is asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Haste {
    #[default]
    Patient,
    /// Somebody else could be served instead.
    Prompt,
    /// Nobody waits for it.
    Background,
}

tokio::task_local! {
    static HASTE: Haste;
}

/// Whatever `work` asks of GitHub waits for points a moment at most: it is to come back instead, so that
/// others do not wait behind it.
pub async fn promptly<F: Future>(work: F) -> F::Output {
    HASTE.scope(Haste::Prompt, work).await
}

/// Whatever `work` asks of GitHub is asked with points that can be spared: nobody waits for it, and it keeps
/// nobody waiting.
pub async fn in_background<F: Future>(work: F) -> F::Output {
    HASTE.scope(Haste::Background, work).await
}

/// Which points may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    All,
    /// What is left when there are enough for all who may come.
    Spare,
}

/// Where points are kept for all processes.
pub trait Ledger: Debug + Send + Sync {
    /// Takes so many of an installation's (`None`: of the App's own); after how long they may be used,
    /// `None`: there are none for now.
    fn take(
        &self,
        installation: Option<u64>,
        points: u32,
        share: Share,
    ) -> BoxFuture<'_, Result<Option<Duration>, String>>;
}

/// Why a request can't go now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoLeave {
    After(Duration),
    /// The ledger is away.
    Unknown(String),
}

/// An installation (`None`: the App), and which of its points.
type Whose = (Option<u64>, Share);

/// What this process holds; without a ledger, all it wants.
#[derive(Debug, Default)]
pub(super) struct Points {
    ledger: Option<Arc<dyn Ledger>>,
    purses: Mutex<BTreeMap<Whose, Arc<Shared>>>,
    /// An Enterprise Server has no limits, unless its owner set some.
    may_be_unlimited: bool,
    /// To whom it said nothing of limits.
    unlimited: Mutex<BTreeSet<Option<u64>>>,
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<dyn Ledger>,
    who: Option<u64>,
    share: Share,
    purse: Arc<tokio::sync::Mutex<Purse>>,
    began: Instant,
    /// Whoever asks waits until then.
    short_until: Mutex<Option<Instant>>,
}

impl Points {
    pub(super) fn of(ledger: Arc<dyn Ledger>, may_be_unlimited: bool) -> Self {
        Self { ledger: Some(ledger), may_be_unlimited, ..Self::default() }
    }

    /// An answer to somebody came, and spoke of limits or not.
    pub(super) fn heard(&self, who: Option<u64>, limited: bool) {
        if self.may_be_unlimited {
            let mut unlimited = self.unlimited.lock().unwrap_or_else(PoisonError::into_inner);
            if limited {
                unlimited.remove(&who)
            } else {
                unlimited.insert(who)
            };
        }
    }

    /// Who would wait for points now.
    pub(super) fn short(&self) -> Vec<Option<u64>> {
        let purses = self.purses.lock().unwrap_or_else(PoisonError::into_inner);
        let short =
            purses.values().filter(|shared| shared.share == Share::All && shared.is_short());
        short.map(|shared| shared.who).collect()
    }

    /// Waits for leave to ask.
    pub(super) async fn take(&self, who: Option<u64>, cost: u32) -> Result<(), NoLeave> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        if self.unlimited.lock().unwrap_or_else(PoisonError::into_inner).contains(&who) {
            return Ok(());
        }
        let haste = HASTE.try_get().unwrap_or_default();
        let (share, patience) = match haste {
            Haste::Patient => (Share::All, PATIENCE),
            Haste::Prompt => (Share::All, LITTLE_PATIENCE),
            Haste::Background => (Share::Spare, PATIENCE),
        };
        let shared = {
            let mut purses = self.purses.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Shared::new(ledger.clone(), who, share));
            purses.entry((who, share)).or_insert_with(new).clone()
        };
        timeout(patience, take(&shared, cost)).await.unwrap_or(Err(NoLeave::After(PAUSE)))
    }
}

/// In the order in which they ask.
async fn take(shared: &Arc<Shared>, cost: u32) -> Result<(), NoLeave> {
    let mut purse = shared.purse.clone().lock_owned().await;
    loop {
        match purse.take(cost, shared.now()) {
            Leave::Paid => return Ok(()),
            Leave::OnCredit => {
                let shared = shared.clone();
                drop(purse);
                tokio::spawn(async move { shared.pay().await });
                return Ok(());
            }
            Leave::Short(points) => {
                // Points that are on their way are there for the next one, if this one gives up.
                let buyer = shared.clone();
                let fetching = tokio::spawn(async move {
                    let fetched = buyer.fetch(&mut purse, points).await;
                    (purse, fetched)
                });
                let (held, fetched) = fetching.await.map_err(|_| NoLeave::After(PAUSE))?;
                purse = held;
                match fetched {
                    Err(NoLeave::After(_)) if shared.share == Share::Spare => sleep(LOOK).await,
                    fetched => fetched?,
                }
            }
        }
    }
}

impl Shared {
    fn new(ledger: Arc<dyn Ledger>, who: Option<u64>, share: Share) -> Self {
        let purse = match share {
            Share::All => Purse::default(),
            Share::Spare => Purse::without_credit(),
        };
        let purse = Arc::new(tokio::sync::Mutex::new(purse));
        let short_until = Mutex::default();
        Self { ledger, who, share, purse, began: Instant::now(), short_until }
    }

    fn is_short(&self) -> bool {
        let until = *self.short_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > Instant::now())
    }

    fn is_short_for(&self, wait: Duration) {
        let until = Some(Instant::now() + wait);
        *self.short_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX / 4)
    }

    /// Pays for what went on credit, unless somebody has. Who comes next asks again if it fails.
    async fn pay(&self) {
        let mut purse = self.purse.lock().await;
        if let Some(points) = purse.owes() {
            let _failed = self.fetch(&mut purse, points).await;
        }
    }

    async fn fetch(&self, purse: &mut Purse, points: u32) -> Result<(), NoLeave> {
        let taken = self.ledger.take(self.who, points, self.share).await;
        let Some(wait) = taken.map_err(NoLeave::Unknown)? else {
            purse.wait(self.now());
            self.is_short_for(PAUSE);
            return Err(NoLeave::After(PAUSE));
        };
        if !wait.is_zero() {
            purse.wait(self.now());
            self.is_short_for(wait);
            sleep(wait).await;
        }
        purse.fill(points, self.now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Has so many points at once, and no more for what waits for nobody.
    #[derive(Debug, Default)]
    struct Few {
        taken: Mutex<Vec<(Option<u64>, Share)>>,
        wait: Option<Duration>,
    }

    impl Ledger for Few {
        fn take(
            &self,
            installation: Option<u64>,
            _: u32,
            share: Share,
        ) -> BoxFuture<'_, Result<Option<Duration>, String>> {
            self.taken.lock().unwrap().push((installation, share));
            let wait = if share == Share::All { self.wait } else { None };
            async move { Ok(wait) }.boxed()
        }
    }

    fn points(few: Few, may_be_unlimited: bool) -> (Arc<Few>, Points) {
        let few = Arc::new(few);
        (few.clone(), Points::of(few, may_be_unlimited))
    }

    #[tokio::test]
    async fn who_has_limits_has_them_whatever_others_are_told() {
        let (_, points) = points(Few::default(), true);
        points.heard(Some(1), false);
        points.heard(Some(2), true);
        for _ in 0..50 {
            points.take(Some(1), 1).await.unwrap();
        }
        let mut last = Ok(());
        for _ in 0..50 {
            last = points.take(Some(2), 1).await;
        }
        assert_eq!(last, Err(NoLeave::After(PAUSE)));
        points.heard(Some(1), true);
        for _ in 0..50 {
            last = points.take(Some(1), 1).await;
        }
        assert_eq!(last, Err(NoLeave::After(PAUSE)), "its owner has set some");
    }

    #[tokio::test]
    async fn github_com_has_limits_whatever_it_says() {
        let (_, points) = points(Few::default(), false);
        points.heard(Some(1), false);
        let mut last = Ok(());
        for _ in 0..50 {
            last = points.take(Some(1), 1).await;
        }
        assert_eq!(last, Err(NoLeave::After(PAUSE)));
    }

    /// Those in the background wait on their own, and who has others to turn to does not wait for long.
    #[tokio::test]
    async fn who_waits_for_points_is_known_and_waits_as_long_as_it_likes() {
        let wait = Some(Duration::from_secs(3));
        let (few, points) = points(Few { wait, ..Few::default() }, false);
        let waits = in_background(points.take(Some(1), 1));
        assert!(timeout(LOOK * 3, waits).await.is_err(), "it goes on looking");
        assert!(few.taken.lock().unwrap().len() > 1);
        assert_eq!(points.short(), [], "nobody waits for those");

        // More than the credit.
        let refused = promptly(points.take(Some(1), 11)).await;
        assert_eq!(refused, Err(NoLeave::After(PAUSE)));
        assert_eq!(points.short(), [Some(1)]);
        let asked = few.taken.lock().unwrap().len();
        points.take(Some(1), 11).await.unwrap();
        assert_eq!(points.short(), []);
        assert_eq!(
            few.taken.lock().unwrap().len(),
            asked,
            "what was on its way is there for the next"
        );
    }
}
