//! How fast somebody writes to GitHub, by its own clock.

use chrono::{DateTime, Utc};
use github_simulator::Call;

/// So many writes at once it took: what was ever written more than one a second since then.
pub(crate) fn at_once(calls: &[Call]) -> i64 {
    let writes = calls.iter().filter(|call| {
        call.path.contains("/check-runs") && matches!(&*call.method, "POST" | "PATCH")
    });
    let mut times: Vec<DateTime<Utc>> = writes.map(|call| call.at).collect();
    times.sort_unstable();
    let (mut most, mut left, mut last) = (0, 0, None);
    for at in times {
        let since = last.map_or(0, |last: DateTime<Utc>| (at - last).num_milliseconds());
        left = (left - since).max(0) + 1_000;
        most = most.max(left);
        last = Some(at);
    }
    most / 1_000
}
