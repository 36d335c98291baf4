//! Switches for what goes wrong at GitHub, and for where GitHub's behaviour is not settled.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::operations::Operation;

/// What a PATCH with `queued` or `in_progress` does to a completed run: reports conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletedPatch {
    /// 200, and nothing changes.
    #[default]
    Ignore,
    /// 200, and the run is open again.
    Allow,
    /// 422.
    Reject,
}

/// How installation tokens look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormat {
    /// `ghs_` and 36 characters.
    Classic,
    /// `ghs_<app id>_<JWT>`, about 520 characters with dots.
    Stateless,
    /// Both in turn, as GitHub's staged rollout shows them.
    #[default]
    Mixed,
}

/// What a person's "Re-run" button on one check sends: both have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerunButton {
    /// `check_run.rerequested`.
    #[default]
    Run,
    /// `check_suite.rerequested`.
    Suite,
    /// Both.
    Both,
}

/// A secondary rate limit's answer: GitHub has all these forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondaryLimit {
    /// 403 or 429.
    pub status: u16,
    /// How long it lasts. Calls during it are violations and prolong it.
    pub lasts: Duration,
    /// Send `retry-after`.
    pub retry_after: bool,
    /// Say `x-ratelimit-remaining: 0` instead.
    pub remaining_zero: bool,
}

impl SecondaryLimit {
    /// What GitHub sends when its published numbers are exceeded.
    pub(crate) fn githubs() -> Self {
        let lasts = Duration::from_mins(1);
        Self { status: 403, lasts, retry_after: true, remaining_zero: false }
    }
}

/// What happens to deliveries by chance, in percent of them. The same seed does the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryPlan {
    /// Where chance begins.
    pub seed: u64,
    /// Neither sent nor logged.
    pub lost: u8,
    /// Logged as failed, never sent.
    pub dropped: u8,
    /// Sent twice.
    pub duplicated: u8,
    /// Sent later, so that others overtake.
    pub delayed: u8,
    /// So much later, of the simulator's time.
    pub delay: Duration,
}

/// A small generator: the same numbers from the same seed, anywhere.
#[derive(Debug, Clone, Copy, Default)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn hits(&mut self, percent: u8) -> bool {
        self.next() % 100 < u64::from(percent)
    }
}

/// Reads that GitHub describes as failing now and then.
const UNRELIABLE: &[&str] = &[
    "pulls/get",
    "pulls/list",
    "pulls/list-files",
    "repos/compare-commits-with-basehead",
    "repos/get-commit",
    "repos/list-pull-requests-associated-with-commit",
];

#[derive(Debug, Clone)]
struct Failure {
    method: String,
    prefix: String,
    times: u32,
    status: u16,
}

/// What of GitHub answers nothing but 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Away {
    #[default]
    Nothing,
    /// The git program's requests.
    Git,
    /// REST and git.
    Everything,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
struct State {
    latency: Duration,
    failures: Vec<Failure>,
    away: Away,
    drop: u32,
    lose: u32,
    duplicate: u32,
    delay: (u32, Duration),
    reverse: u32,
    everything_twice: bool,
    secondary_by_count: bool,
    delivery_timeout: Option<Duration>,
    unknown_fresh_tokens: u32,
    fresh_tokens_after: Duration,
    completed_patch: CompletedPatch,
    token_format: TokenFormat,
    rerun_button: RerunButton,
    unreliable: (u8, Chance),
    plan: Option<(DeliveryPlan, Chance)>,
    old_payloads: bool,
    future_payloads: bool,
    forges_manifest: bool,
}

/// The switches of one simulator; all of them off at start. Every one may be turned while it runs.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
    paused: watch::Sender<bool>,
    secondary: Mutex<Option<SecondaryLimit>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            paused: watch::Sender::new(false),
            secondary: Mutex::default(),
        }
    }
}

/// Whether a delivery is kept back to be sent after those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    No,
    Kept,
    /// Sends this one and then what was kept, last first.
    Last,
}

/// What happens to a new delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Send {
        copies: u32,
        delay: Duration,
        batch: Batch,
    },
    /// Logged as failed, never sent.
    Dropped,
    /// Neither sent nor logged.
    Lost,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every REST and git answer takes this much longer.
    pub fn latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// The next `times` calls of this method whose path (without `/api/v3`) begins with
    /// `prefix` fail with `status`. The method `GIT` means requests of the git program; status 0
    /// closes the connection after 10 seconds as GitHub ends slow calls.
    pub fn fail_next(&self, method: &str, prefix: &str, times: u32, status: u16) {
        let failure =
            Failure { method: method.to_owned(), prefix: prefix.to_owned(), times, status };
        self.state().failures.push(failure);
    }

    /// What [`Faults::fail_next`] asked for is over.
    pub fn fail_no_more(&self) {
        self.state().failures.clear();
    }

    /// See [`Away`].
    pub fn away(&self, away: Away) {
        self.state().away = away;
    }

    /// The next deliveries never arrive; the delivery log shows them as failed.
    pub fn drop_deliveries(&self, times: u32) {
        self.state().drop = times;
    }

    /// The next deliveries never arrive and no log knows of them.
    pub fn lose_deliveries(&self, times: u32) {
        self.state().lose = times;
    }

    /// The next deliveries arrive twice.
    pub fn duplicate_deliveries(&self, times: u32) {
        self.state().duplicate = times;
    }

    /// Every delivery arrives twice.
    pub fn deliver_everything_twice(&self, twice: bool) {
        self.state().everything_twice = twice;
    }

    /// The next deliveries arrive so much later; those after them overtake.
    pub fn delay_deliveries(&self, times: u32, by: Duration) {
        self.state().delay = (times, by);
    }

    /// The next deliveries are collected and then sent last first.
    pub fn reverse_deliveries(&self, times: u32) {
        self.state().reverse = times;
    }

    /// Deliveries wait until [`Self::resume_deliveries`].
    pub fn pause_deliveries(&self) {
        self.paused.send_replace(true);
    }

    /// Sends what waited.
    pub fn resume_deliveries(&self) {
        self.paused.send_replace(false);
    }

    /// How long a receiver may take; 10 s by default, 30 s on an Enterprise Server.
    pub fn delivery_timeout(&self, timeout: Duration) {
        self.state().delivery_timeout = Some(timeout);
    }

    /// Tokens minted from now on answer 401 to so many calls, as replication lag makes them.
    pub fn unknown_fresh_tokens(&self, calls: u32) {
        self.state().unknown_fresh_tokens = calls;
    }

    /// Tokens minted from now on answer 401 until they are so old. GitHub's take up to 5 s.
    pub fn fresh_tokens_after(&self, age: Duration) {
        self.state().fresh_tokens_after = age;
    }

    /// So many in a hundred comparisons, commits and pull requests answer 500, 502 or 503
    /// instead. The same seed does the same again.
    pub fn unreliable_reads(&self, percent: u8, seed: u64) {
        self.state().unreliable = (percent, Chance(seed));
    }

    /// See [`DeliveryPlan`]; `None` ends it. What is asked for by number goes before.
    pub fn delivery_plan(&self, plan: Option<DeliveryPlan>) {
        self.state().plan = plan.map(|plan| (plan, Chance(plan.seed)));
    }

    /// Payloads look as they did years ago: numbers for an installation's times, and fields
    /// missing that came later.
    pub fn old_payloads(&self, old: bool) {
        self.state().old_payloads = old;
    }

    /// Payloads have fields that nobody knows yet.
    pub fn future_payloads(&self, future: bool) {
        self.state().future_payloads = future;
    }

    /// The redirect after a registration carries another `state` than the one that was sent,
    /// as a forged one does.
    pub fn wrong_manifest_state(&self, wrong: bool) {
        self.state().forges_manifest = wrong;
    }

    /// See [`CompletedPatch`].
    pub fn completed_patch(&self, mode: CompletedPatch) {
        self.state().completed_patch = mode;
    }

    /// See [`TokenFormat`].
    pub fn token_format(&self, format: TokenFormat) {
        self.state().token_format = format;
    }

    /// See [`RerunButton`].
    pub fn rerun_button(&self, button: RerunButton) {
        self.state().rerun_button = button;
    }

    /// A secondary rate limit begins with the next call.
    pub fn secondary_limit(&self, limit: SecondaryLimit) {
        *self.secondary.lock().unwrap_or_else(PoisonError::into_inner) = Some(limit);
    }

    /// Counts as GitHub publishes it: 100 calls at once, 900 points a minute for one endpoint (reading 1, writing
    /// 5), 80 new contents a minute and 500 an hour. Off at start.
    pub fn enforce_secondary_limits(&self, on: bool) {
        self.state().secondary_by_count = on;
    }

    pub(crate) fn enforces_secondary_limits(&self) -> bool {
        self.state().secondary_by_count
    }

    pub(crate) fn take_secondary_limit(&self) -> Option<SecondaryLimit> {
        self.secondary.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn latency_of_calls(&self) -> Duration {
        self.state().latency
    }

    pub(crate) fn take_failure(&self, method: &str, path: &str) -> Option<u16> {
        let mut state = self.state();
        let away = match state.away {
            Away::Nothing => false,
            Away::Git => method == "GIT",
            Away::Everything => true,
        };
        if away {
            return Some(503);
        }
        let found = state
            .failures
            .iter_mut()
            .find(|f| f.times > 0 && f.method == method && path.starts_with(&f.prefix))?;
        found.times -= 1;
        let status = found.status;
        state.failures.retain(|failure| failure.times > 0);
        Some(status)
    }

    pub(crate) fn fate(&self) -> Fate {
        let mut state = self.state();
        if take(&mut state.lose) {
            return Fate::Lost;
        }
        if take(&mut state.drop) {
            return Fate::Dropped;
        }
        let plan = match state.plan.as_mut().map(|(plan, chance)| by_chance(*plan, chance)) {
            Some(Fate::Send { copies, delay, .. }) => (copies > 1, delay),
            Some(fate) => return fate,
            None => (false, Duration::ZERO),
        };
        let twice = take(&mut state.duplicate) || state.everything_twice || plan.0;
        let delay = if take(&mut state.delay.0) { state.delay.1 } else { plan.1 };
        let batch = match (take(&mut state.reverse), state.reverse) {
            (false, _) => Batch::No,
            (true, 0) => Batch::Last,
            (true, _) => Batch::Kept,
        };
        Fate::Send { copies: 1 + u32::from(twice), delay, batch }
    }

    /// What a call of this operation answers instead, by chance.
    pub(crate) fn unreliable(&self, operation: &Operation) -> Option<u16> {
        let mut state = self.state();
        let (percent, chance) = &mut state.unreliable;
        let hit = UNRELIABLE.contains(&operation.id) && chance.hits(*percent);
        hit.then(|| match chance.next() % 3 {
            0 => 500,
            1 => 502,
            _ => 503,
        })
    }

    pub(crate) fn receiver_time(&self) -> Option<Duration> {
        self.state().delivery_timeout
    }

    pub(crate) fn age_of_fresh_tokens(&self) -> Duration {
        self.state().fresh_tokens_after
    }

    /// Whether payloads are old, and whether they are of the future.
    pub(crate) fn payload_forms(&self) -> (bool, bool) {
        let state = self.state();
        (state.old_payloads, state.future_payloads)
    }

    pub(crate) fn forges_manifest_state(&self) -> bool {
        self.state().forges_manifest
    }

    pub(crate) fn lag_of_fresh_tokens(&self) -> u32 {
        self.state().unknown_fresh_tokens
    }

    pub(crate) fn completed_patch_mode(&self) -> CompletedPatch {
        self.state().completed_patch
    }

    pub(crate) fn format_of_tokens(&self) -> TokenFormat {
        self.state().token_format
    }

    pub(crate) fn rerun_button_mode(&self) -> RerunButton {
        self.state().rerun_button
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    pub(crate) async fn until_resumed(&self) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as we do: an error cannot happen.
        let _ = paused.wait_for(|paused| !paused).await;
    }
}

fn by_chance(plan: DeliveryPlan, chance: &mut Chance) -> Fate {
    if chance.hits(plan.lost) {
        return Fate::Lost;
    }
    if chance.hits(plan.dropped) {
        return Fate::Dropped;
    }
    let copies = 1 + u32::from(chance.hits(plan.duplicated));
    let delay = if chance.hits(plan.delayed) { plan.delay } else { Duration::ZERO };
    Fate::Send { copies, delay, batch: Batch::No }
}

/// One less, if there is one.
fn take(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
