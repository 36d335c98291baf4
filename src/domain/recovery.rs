//! What never came, judged: GitHub's delivery log against what we hold, and open pull requests against
//! the runs that were made of them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command;
use super::event::{Actor, PullFacts, is_acted_on};
use super::names::Sha;
use super::time::Timestamp;

/// The version of what handling a delivery means; kept with each that is handled, so that those that
/// an older one handled can be found, and handled again. Raise it with every change that should make
/// somebody want that; the causes of what is done must stay as they are then, or handling again does
/// it again. 2: one event under two GUIDs is done once.
pub const HANDLING: u32 = 2;
/// So far back GitHub's log goes, and so long it delivers again. What was asked for in vain for so long
/// is given up.
pub const WINDOW: Duration = Duration::from_hours(3 * 24);
/// The same of an Enterprise Server.
pub const ENTERPRISE_WINDOW: Duration = Duration::from_hours(7 * 24);
/// Pauses between two times of asking for an event grow up to this.
const LONGEST_WAIT: Duration = Duration::from_hours(6);
/// An event may still be on its way for so long; most take a second.
const ON_ITS_WAY: Duration = Duration::from_mins(1);
/// Who moved a fork's head is told by its event alone: so many looks it is waited for.
const LOOKS_FOR_PUSHER: u32 = 3;

/// One attempt at delivering an event, as GitHub's log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Of the attempt: a redelivery has another.
    pub id: u64,
    /// Of the event: a redelivery has the same.
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    /// By GitHub's clock.
    pub delivered_at: Timestamp,
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// We answered 2xx.
    Acknowledged,
    /// It may still come.
    UnderWay,
    /// In GitHub's words: `timed out`, `failed to connect to host`, …
    Failed(String),
}

impl AttemptEnd {
    /// By the log's `status`. Its filter by the answer's code knows nothing of attempts that were not
    /// answered, so the text is what counts.
    pub fn of_status(status: &str) -> Self {
        match status {
            "OK" => Self::Acknowledged,
            "" | "pending" => Self::UnderWay,
            failed => Self::Failed(failed.to_owned()),
        }
    }
}

/// Of a part of the log, newest attempts first, the events that never came: what we do not hold
/// although its newest attempt ended. Acknowledged before `since` is acknowledged by somebody else's
/// database; after it, ours has lost it (it was restored from a backup). What would be ignored need
/// not come: most of it tells of check runs that we wrote ourselves. `seen` are the events of the
/// parts before this one, whose newest attempt was judged there; this part's are added.
pub fn missing(
    mut attempts: Vec<Attempt>,
    held: &BTreeSet<String>,
    since: Timestamp,
    seen: &mut BTreeSet<String>,
) -> Vec<Attempt> {
    attempts.sort_by_key(|attempt| std::cmp::Reverse((attempt.delivered_at, attempt.id)));
    attempts.retain(|attempt| seen.insert(attempt.guid.clone()) && !held.contains(&attempt.guid));
    attempts.retain(|attempt| is_acted_on(&attempt.event, attempt.action.as_deref()));
    attempts.retain(|attempt| match attempt.end {
        AttemptEnd::Acknowledged => attempt.delivered_at >= since,
        AttemptEnd::UnderWay => false,
        AttemptEnd::Failed(_) => true,
    });
    attempts
}

/// How long nothing is asked after the `asked`th time: an attempt that is under way must not be
/// joined by another, and who does not answer now is left in peace longer each time.
pub fn wait_after(asked: u32, every: Duration) -> Duration {
    let doubled = every.saturating_mul(2_u32.saturating_pow(asked.saturating_sub(1)));
    doubled.min(LONGEST_WAIT.max(every))
}

/// What we know of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullKnown {
    /// As it was seen last.
    pub facts: PullFacts,
    /// The head for which its own run was made last.
    pub own_head: Option<Sha>,
}

/// An open pull request as a list of GitHub's shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPull {
    pub facts: PullFacts,
    /// When anything about it changed last, by GitHub's clock.
    pub updated_at: Option<Timestamp>,
}

/// Whether an open pull request is to get the run that no event brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Nothing,
    /// Its event may still come.
    Perhaps,
    Run,
}

/// What an open pull request lacks at `now`, by GitHub's clock, if it is looked at `every` so often.
/// `in_fork`: who pushed its head decides whether it may run, and only an event says who that is.
pub fn lack(
    pull: &OpenPull,
    known: Option<&PullKnown>,
    (now, every): (Timestamp, Duration),
    in_fork: bool,
) -> Lack {
    let as_known = known.is_some_and(|known| {
        known.own_head.as_ref() == Some(&pull.facts.head_sha)
            && known.facts.open
            && known.facts.base_ref == pull.facts.base_ref
    });
    if as_known {
        return Lack::Nothing;
    }
    let patience = if in_fork { every.saturating_mul(LOOKS_FOR_PUSHER) } else { patience(every) };
    match pull.updated_at {
        Some(updated_at) if now.since(updated_at) < patience => Lack::Perhaps,
        Some(_) | None => Lack::Run,
    }
}

/// A comment as a list of GitHub's shows it. Times are GitHub's, to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedComment {
    pub id: u64,
    /// The pull request that it stands on; `None`: an issue.
    pub pull: Option<u64>,
    pub author: Actor,
    pub body: String,
    pub written_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether a comment is to be obeyed although no event may have told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// It asks for nothing.
    Nothing,
    /// Its event may still come.
    Perhaps,
    Command,
}

/// What is to become of a comment at `now`, by GitHub's clock, if comments are looked at `every` so
/// often. What an edited one said at first is not known, and what it says since runs nothing. What was
/// asked for longer ago than github.com would deliver an event again, nobody waits for any more.
pub fn unheard(comment: &ListedComment, (now, every): (Timestamp, Duration)) -> Unheard {
    let edited = comment.updated_at != comment.written_at;
    let age = now.since(comment.written_at);
    let over = comment.pull.is_none() || edited || age >= WINDOW;
    if over || command::parse(&comment.body).is_empty() {
        Unheard::Nothing
    } else if age < patience(every) {
        Unheard::Perhaps
    } else {
        Unheard::Command
    }
}

/// So long an event is waited for; and so long GitHub's lists may lack what was just written.
pub fn patience(every: Duration) -> Duration {
    every.min(ON_ITS_WAY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn attempt(id: u64, guid: &str, status: &str) -> Attempt {
        Attempt {
            id,
            guid: guid.to_owned(),
            event: "push".to_owned(),
            action: None,
            delivered_at: at(i64::try_from(id).unwrap()),
            end: AttemptEnd::of_status(status),
        }
    }

    fn found(attempts: &[Attempt], held: &[&str], since: i64) -> Vec<u64> {
        let held = held.iter().map(|guid| (*guid).to_owned()).collect();
        let missing = missing(attempts.to_vec(), &held, at(since), &mut BTreeSet::new());
        missing.iter().map(|attempt| attempt.id).collect()
    }

    #[test]
    fn what_failed_and_is_not_here_is_missing() {
        let log = [
            attempt(5, "refused", "Invalid HTTP Response: 503"),
            attempt(4, "late", "timed out"),
            attempt(3, "here", "timed out"),
            attempt(2, "fine", "OK"),
        ];
        assert_eq!(found(&log, &["here", "fine"], 0), [5, 4]);
    }

    #[test]
    fn of_several_attempts_the_newest_counts() {
        let again = [attempt(9, "a", "pending"), attempt(2, "a", "timed out")];
        assert_eq!(found(&again, &[], 0), Vec::<u64>::new(), "one is under way");
        let in_vain = [attempt(2, "a", "timed out"), attempt(9, "a", "failed to connect to host")];
        assert_eq!(found(&in_vain, &[], 0), [9]);
        let mut seen = BTreeSet::from(["a".to_owned()]);
        let judged_before = vec![attempt(2, "a", "timed out")];
        assert_eq!(missing(judged_before, &BTreeSet::new(), at(0), &mut seen), []);
    }

    #[test]
    fn acknowledged_and_lost_is_missing_since_this_database_is_in_use() {
        let log = [attempt(9, "restored from a backup", "OK"), attempt(3, "another's", "OK")];
        assert_eq!(found(&log, &[], 5), [9]);
    }

    #[test]
    fn pauses_double_and_never_end_the_arithmetic() {
        let every = Duration::from_mins(5);
        let waits: Vec<u64> =
            (1..=9).map(|asked| wait_after(asked, every).as_secs() / 60).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
        let rarely = Duration::from_hours(24);
        assert_eq!(wait_after(3, rarely), rarely, "nobody looks more often than that");
        assert!(wait_after(u32::MAX, Duration::MAX) >= wait_after(1, Duration::MAX));
    }

    #[test]
    fn what_would_be_ignored_need_not_come() {
        let of = |event: &str, action: Option<&str>| Attempt {
            event: event.to_owned(),
            action: action.map(str::to_owned),
            ..attempt(1, "a", "timed out")
        };
        let is_asked_for = |event: &str, action| !found(&[of(event, action)], &[], 0).is_empty();
        for echo in ["created", "completed"] {
            assert!(!is_asked_for("check_run", Some(echo)), "{echo}");
        }
        assert!(!is_asked_for("check_suite", Some("requested")));
        assert!(!is_asked_for("issue_comment", Some("edited")) && !is_asked_for("star", None));
        assert!(is_asked_for("check_run", Some("rerequested")));
        assert!(is_asked_for("issue_comment", Some("created")) && is_asked_for("push", None));
        assert!(is_asked_for("check_run", None), "the log does not say what it is");
    }

    #[test]
    fn a_command_that_nobody_told_of_is_obeyed_and_edits_never_are() {
        let said = |body: &str| ListedComment {
            id: 1,
            pull: Some(12),
            author: Actor { login: "ada".to_owned(), bot: false },
            body: body.to_owned(),
            written_at: at(100),
            updated_at: at(100),
        };
        let asked = |comment: &ListedComment, now| unheard(comment, (at(now), WINDOW));
        assert_eq!(asked(&said("/retest"), 159), Unheard::Perhaps, "its event may still come");
        assert_eq!(asked(&said("/retest"), 160), Unheard::Command);
        assert_eq!(asked(&said("I like it"), 160), Unheard::Nothing);
        let edited = ListedComment { updated_at: at(101), ..said("/retest") };
        assert_eq!(asked(&edited, 160), Unheard::Nothing);
        let on_issue = ListedComment { pull: None, ..said("/retest") };
        assert_eq!(asked(&on_issue, 160), Unheard::Nothing);
        let soon = Duration::from_secs(1);
        assert_eq!(unheard(&said("/retest"), (at(101), soon)), Unheard::Command);
        let late = at(100).plus(WINDOW);
        assert_eq!(unheard(&said("/retest"), (late, soon)), Unheard::Nothing, "who waits for it?");
    }

    fn pull(head: char) -> PullFacts {
        PullFacts {
            number: 1,
            title: String::new(),
            author: Actor { login: "ada".to_owned(), bot: false },
            open: true,
            draft: false,
            head_sha: head.to_string().repeat(40).parse().unwrap(),
            head_ref: "change".to_owned(),
            head_repo: None,
            head_repo_id: None,
            base_sha: "0".repeat(40).parse().unwrap(),
            base_ref: "main".to_owned(),
        }
    }

    #[test]
    fn a_head_without_its_own_run_gets_one_and_no_other_does() {
        let open = OpenPull { facts: pull('a'), updated_at: Some(at(0)) };
        let every = Duration::from_mins(5);
        let asked = |known: Option<&PullKnown>| lack(&open, known, (at(600), every), false);
        let ran = |facts: PullFacts, head| PullKnown { own_head: Some(pull(head).head_sha), facts };
        assert_eq!(asked(None), Lack::Run);
        assert_eq!(asked(Some(&ran(pull('a'), 'a'))), Lack::Nothing);
        assert_eq!(asked(Some(&ran(pull('b'), 'b'))), Lack::Run, "the head has moved");
        assert_eq!(asked(Some(&PullKnown { facts: pull('a'), own_head: None })), Lack::Run);
        let closed = PullFacts { open: false, ..pull('a') };
        assert_eq!(asked(Some(&ran(closed, 'a'))), Lack::Run, "it was reopened");
        let elsewhere = PullFacts { base_ref: "next".to_owned(), ..pull('a') };
        assert_eq!(asked(Some(&ran(elsewhere, 'a'))), Lack::Run, "it was pointed at another base");
        // Base branches move on without anybody's doing.
        let older = PullFacts { base_sha: "1".repeat(40).parse().unwrap(), ..pull('a') };
        assert_eq!(asked(Some(&ran(older, 'a'))), Lack::Nothing);
    }

    #[test]
    fn an_event_that_may_still_come_is_waited_for() {
        let open = OpenPull { facts: pull('a'), updated_at: Some(at(0)) };
        let every = Duration::from_mins(5);
        let asked = |now, in_fork| lack(&open, None, (at(now), every), in_fork);
        assert_eq!(asked(59, false), Lack::Perhaps);
        assert_eq!(asked(60, false), Lack::Run);
        assert_eq!(asked(899, true), Lack::Perhaps, "it alone says who pushed");
        assert_eq!(asked(900, true), Lack::Run);
    }

    proptest! {
        /// Whatever the order, and however it is cut into parts: every event that failed and is not
        /// held is found once, and nothing that is held.
        #[test]
        fn nothing_is_missed_or_found_twice(
            log in prop::collection::vec((0_u64..20, 0_u8..3), 0..60),
            held in prop::collection::btree_set(0_u64..20, 0..20),
            part in 1_usize..10,
        ) {
            let status = |end: u8| ["OK", "pending", "timed out"][usize::from(end)];
            let mut attempts: Vec<Attempt> = log.iter().enumerate()
                .map(|(id, (guid, end))| {
                    attempt(u64::try_from(id).unwrap(), &guid.to_string(), status(*end))
                })
                .collect();
            attempts.reverse();
            let held: BTreeSet<String> = held.iter().map(ToString::to_string).collect();
            let mut seen = BTreeSet::new();
            let mut found = Vec::new();
            for part in attempts.chunks(part) {
                found.extend(missing(part.to_vec(), &held, at(0), &mut seen));
            }
            let mut newest = std::collections::BTreeMap::new();
            for attempt in &attempts {
                newest.entry(attempt.guid.as_str()).or_insert(attempt);
            }
            let mut expected: Vec<&str> = newest.iter()
                .filter(|(guid, attempt)| {
                    !held.contains(**guid) && attempt.end != AttemptEnd::UnderWay
                })
                .map(|(guid, _)| *guid)
                .collect();
            expected.sort_unstable();
            let mut guids: Vec<&str> = found.iter().map(|attempt| attempt.guid.as_str()).collect();
            guids.sort_unstable();
            prop_assert_eq!(guids, expected);
        }
    }
}
