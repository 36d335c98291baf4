//! Points for what is asked of GitHub: however many take them, they are the same.

use std::time::{Duration, Instant};

use checkvalve::domain::reads::{
    LEFT_BY_BACKGROUND, LONGEST_WAIT, OF_APP, OF_INSTALLATION, Points,
};

use crate::fixture::Place;

/// As many as are there after so long, and as may be waited for.
fn most(all: Points, elapsed: Duration) -> u32 {
    let millis = u32::try_from(elapsed.as_millis()).unwrap() + u32::try_from(LONGEST_WAIT).unwrap();
    all.burst + millis / all.pace + 1
}

pub(crate) async fn all_processes_take_from_one_purse(place: &Place) {
    let stores = [place.open().await, place.open().await];
    for (who, all) in [(Some(7), OF_INSTALLATION), (None, OF_APP)] {
        let began = Instant::now();
        let (mut one, mut other, mut first, mut second) = (0, 0, Vec::new(), Vec::new());
        // More than there are, always two at once.
        for _ in 0..30 {
            let take = |nth: usize| stores[nth].take_points(who, 10);
            let (ours, theirs) = tokio::join!(take(0), take(1));
            for (taken, all, waits) in
                [(ours, &mut one, &mut first), (theirs, &mut other, &mut second)]
            {
                let taken: Option<Duration> = taken.unwrap();
                *all += if taken.is_some() { 10 } else { 0 };
                waits.extend(taken);
            }
        }
        let most = most(all, began.elapsed());
        assert!(one + other <= most, "{one} and {other}: {most}");
        assert!(one + other > most - 20, "{one} and {other}: {most}");
        // Nobody gets all of them.
        assert!(one > 0 && other > 0);
        assert_eq!(first[0].min(second[0]), Duration::ZERO);
        let longest = *first.iter().chain(&second).max().unwrap();
        assert!(longest > Duration::from_secs(4), "{longest:?}");
        assert!(longest <= Duration::from_millis(u64::try_from(LONGEST_WAIT).unwrap()));
        assert_eq!(stores[0].take_points(who, 100).await.unwrap(), None, "there are none");
    }
    // What the others use up is theirs.
    assert_eq!(stores[1].take_points(Some(8), 10).await.unwrap(), Some(Duration::ZERO));
}

/// Some of what there is at once is for whoever is waited for.
pub(crate) async fn what_waits_for_nobody_leaves_some_to_the_others(place: &Place) {
    let store = place.open().await;
    let began = Instant::now();
    for (who, all) in [(Some(7), OF_INSTALLATION), (None, OF_APP)] {
        let mut taken = 0;
        while let Some(wait) = store.take_spare_points(who, 5).await.unwrap() {
            assert_eq!(wait, Duration::ZERO, "nothing is waited for");
            taken += 5;
        }
        let spare = all.burst - LEFT_BY_BACKGROUND;
        let more = u32::try_from(began.elapsed().as_millis()).unwrap() / all.pace + 1;
        assert!((spare..=spare + more).contains(&taken), "{taken}");
        let left = store.take_points(who, LEFT_BY_BACKGROUND).await.unwrap();
        assert_eq!(left, Some(Duration::ZERO));
    }
}
