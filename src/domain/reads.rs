//! What may be asked of GitHub, and how fast: points that all processes of a database share.
//!
//! GitHub counts 900 points a minute (a read is 1, a write 5). What an installation writes has at most 400
//! of them ([`budget`](super::budget)), and waits for no read; reads share most of the rest. What the App
//! asks by itself (its log of deliveries, and for deliveries again) is counted apart, by GitHub and here.
//!
//! A process takes some points at a time and keeps them for a moment, so that not every request asks the
//! database; the first few go before it has.

/// How many points there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// At once, after a rest.
    pub burst: u32,
    /// Then one every so many milliseconds.
    pub pace: u32,
}

/// For what an installation's token reads: 490 in any minute at most.
pub const OF_INSTALLATION: Points = Points { burst: 110, pace: 200 };
/// For what is asked as the App: 868 in any minute at most.
pub const OF_APP: Points = Points { burst: 60, pace: 90 };
/// In GitHub's count.
pub const WRITE: u32 = 5;
pub const READ: u32 = 1;

/// Points that were taken are used within this, or not at all.
pub const KEPT: i64 = 10_000;
/// Who would have to wait for longer takes none.
pub const LONGEST_WAIT: i64 = 8_000;
/// What waits for nobody leaves so many to what somebody waits for.
pub const LEFT_BY_BACKGROUND: u32 = 40;
const _: () = assert!(LEFT_BY_BACKGROUND + MOST <= OF_APP.burst);
/// What a process may use before it has taken it.
const CREDIT: i64 = 10;
/// Points taken at once.
const LEAST: u32 = 5;
const MOST: u32 = 20;
/// So many processes may use their credit within a minute.
const PROCESSES: i64 = 3;

const fn in_a_minute(points: Points) -> i64 {
    points.burst as i64 + (60_000 + KEPT) / points.pace as i64 + PROCESSES * CREDIT
}
const _: () = assert!(in_a_minute(OF_INSTALLATION) + 400 <= 900);
const _: () = assert!(in_a_minute(OF_APP) <= 900);

/// Whose points they are.
pub fn of(installation: Option<u64>) -> Points {
    if installation.is_some() { OF_INSTALLATION } else { OF_APP }
}

/// What a process holds of them, by a clock of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purse {
    /// Below zero: used on credit.
    left: i64,
    until: i64,
    /// As many are taken next.
    size: u32,
    /// There was a wait: no credit before this is over.
    strict_until: i64,
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Paid,
    /// What it costs is to be taken meanwhile.
    OnCredit,
    /// Not before so many are taken.
    Short(u32),
}

impl Default for Purse {
    fn default() -> Self {
        Self { left: 0, until: 0, size: LEAST, strict_until: 0 }
    }
}

impl Purse {
    /// One that uses nothing before it has taken it.
    pub fn without_credit() -> Self {
        Self { strict_until: i64::MAX, ..Self::default() }
    }

    /// Takes what a request costs.
    pub fn take(&mut self, cost: u32, now: i64) -> Leave {
        self.expire(now);
        let cost = i64::from(cost);
        if self.left >= cost {
            self.left -= cost;
            return Leave::Paid;
        }
        if now >= self.strict_until && self.left - cost >= -CREDIT {
            self.left -= cost;
            return Leave::OnCredit;
        }
        Leave::Short(self.wanted(cost))
    }

    /// What is still to be taken for what was used on credit.
    pub fn owes(&self) -> Option<u32> {
        (self.left < 0).then(|| self.wanted(0))
    }

    fn wanted(&self, cost: i64) -> u32 {
        let least = u32::try_from(cost - self.left).unwrap_or(0);
        self.size.max(least).min(MOST)
    }

    /// Points were taken. Who had used up the last ones takes more next time.
    pub fn fill(&mut self, points: u32, now: i64) {
        let busy = now < self.until;
        self.left += i64::from(points);
        self.until = now + KEPT;
        if busy {
            self.size = (self.size * 2).min(MOST);
        }
    }

    /// There are fewer than are wanted: nothing goes on credit for a while.
    pub fn wait(&mut self, now: i64) {
        self.strict_until = self.strict_until.max(now + KEPT);
    }

    fn expire(&mut self, now: i64) {
        if now >= self.until && self.left > 0 {
            self.left = 0;
            self.size = (self.size / 2).max(LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_requests_do_not_wait_and_what_they_used_is_taken() {
        let mut purse = Purse::default();
        assert_eq!(purse.take(READ, 0), Leave::OnCredit);
        assert_eq!(purse.take(READ, 0), Leave::OnCredit);
        assert_eq!(purse.owes(), Some(LEAST));
        purse.fill(LEAST, 1);
        assert_eq!(purse.owes(), None);
        for _ in 0..3 {
            assert_eq!(purse.take(READ, 2), Leave::Paid);
        }
        // No process goes further ahead than this, whatever it wants at once.
        let ahead = (0..20).filter(|_| purse.take(READ, 3) == Leave::OnCredit).count();
        assert_eq!(i64::try_from(ahead).unwrap(), CREDIT);
        assert_eq!(purse.take(READ, 3), Leave::Short(11), "all that it owes, and this one");
    }

    #[test]
    fn who_asks_much_takes_more_at_a_time_and_what_is_kept_too_long_is_gone() {
        let mut purse = Purse::default();
        for now in 0..100 {
            match purse.take(READ, now) {
                Leave::Paid => {}
                Leave::OnCredit => purse.fill(purse.owes().unwrap(), now),
                Leave::Short(points) => purse.fill(points, now),
            }
        }
        assert_eq!(purse.size, MOST);
        purse.fill(MOST, 100);
        assert_eq!(purse.take(READ, 100 + KEPT), Leave::OnCredit);
        assert_eq!((purse.left, purse.size), (-1, MOST / 2));
    }

    #[test]
    fn nothing_goes_on_credit_while_others_wait() {
        let mut purse = Purse::default();
        purse.wait(0);
        assert_eq!(purse.take(WRITE, 1), Leave::Short(WRITE));
        purse.fill(WRITE, 2);
        assert_eq!(purse.take(WRITE, 2), Leave::Paid);
        assert_eq!(purse.take(READ, 2), Leave::Short(LEAST));
        assert_eq!(purse.take(READ, KEPT), Leave::OnCredit);
    }

    #[test]
    fn what_waits_for_nobody_has_no_credit_whatever_happens() {
        let mut purse = Purse::without_credit();
        assert_eq!(purse.take(READ, 0), Leave::Short(LEAST));
        purse.wait(0);
        assert_eq!(purse.take(READ, 2 * KEPT), Leave::Short(LEAST));
        purse.fill(LEAST, 2 * KEPT);
        assert_eq!(purse.take(READ, 2 * KEPT), Leave::Paid);
    }

    /// The ledger as the database keeps it: after how long the points may be used.
    fn leave(paid_at: &mut i64, points: u32, now: i64) -> Option<i64> {
        let Points { burst, pace } = OF_INSTALLATION;
        let at_once = i64::from(burst * pace);
        let paid = (*paid_at).max(now) + i64::from(points * pace);
        (paid <= now + at_once + LONGEST_WAIT).then(|| {
            *paid_at = paid;
            (paid - now - at_once).max(0)
        })
    }

    /// What a process holds, and what it has taken and may use later.
    type Process = (Purse, Option<(i64, u32)>);

    /// How much a process gets at once, that wants all there is.
    fn turn((purse, coming): &mut Process, paid_at: &mut i64, now: i64) -> u32 {
        let mut count = 0;
        while coming.is_none() {
            let points = match purse.take(READ, now) {
                Leave::Short(points) => Some(points),
                Leave::OnCredit => {
                    count += READ;
                    purse.owes()
                }
                Leave::Paid => {
                    count += READ;
                    None
                }
            };
            let Some(points) = points else { continue };
            let Some(wait) = leave(paid_at, points, now) else { break };
            *coming = Some((now + wait, points));
        }
        count
    }

    /// Processes that rest for a while, and want all they can get at once: in no minute is it more than
    /// writes leave of what GitHub allows.
    #[test]
    fn no_minute_has_more_reads_than_writes_leave() {
        const STEP: usize = 50;
        let (mut paid_at, mut spent) = (0, Vec::new());
        let mut processes: Vec<Process> = vec![<_>::default(); 3];
        for now in (0..300_000_i64).step_by(STEP) {
            let mut count = 0;
            for (nth, process) in (0_i64..).zip(&mut processes) {
                if let Some((at, points)) = process.1.filter(|(at, _)| *at <= now) {
                    process.0.fill(points, at);
                    process.1 = None;
                }
                // Each begins at another time, rests, and begins again.
                if (now + nth * 7_000) % 90_000 > 20_000 {
                    count += turn(process, &mut paid_at, now);
                }
            }
            spent.push(count);
        }
        let minutes = spent.windows(60_000 / STEP).map(|minute| minute.iter().sum::<u32>());
        let most = minutes.max().unwrap();
        assert!((350..=500).contains(&most), "{most}");
    }
}
