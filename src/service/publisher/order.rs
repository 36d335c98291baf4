//! What is told first. Pure: from what a head should look like, what GitHub has acknowledged, and
//! how much may be written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::shown::{all, of_run};
use crate::ambient;
use crate::domain::budget::{BURST, Urgency};
use crate::domain::check::{CheckConclusion, CheckStatus, DesiredCheck};
use crate::domain::detail::{Detail, stage};
use crate::domain::ids::CheckId;
use crate::domain::links::Links;
use crate::domain::run::Run;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::render::checks::{self, HEAD_CHECK, Made, View};
use crate::store::{Annotated, CheckRecord, ClaimedHead, Stage, Wish};

/// A check run whose making was not acknowledged is looked for during this time before it is made
/// again: GitHub's lists may lag behind its writes.
const LOOKED_FOR: Duration = Duration::from_mins(1);
/// Between two tellings of what is only a matter of words, while writes are plenty and while not.
const OFTEN: Duration = Duration::from_secs(5);
const SELDOM: Duration = Duration::from_mins(1);

/// Most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// `checkvalve`'s conclusion, for which a merge waits.
    Verdict,
    /// `checkvalve` appears, or says how far it is.
    Head,
    Failed,
    Concluded,
    /// A failed step that has a check run of its own beside its connector's.
    Beside,
    Running,
    Queued,
    /// Nothing but words.
    Wording,
}

/// One write to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) desired: DesiredCheck,
    pub(super) record: CheckRecord,
    /// The check run to be changed; `None`: it is to be made.
    pub(super) github_id: Option<u64>,
    rank: Rank,
}

impl Write {
    pub(super) fn wish(&self) -> Wish<'_> {
        let urgency = match self.rank {
            Rank::Queued => Urgency::Queued,
            _ if self.is_first() => Urgency::First,
            Rank::Verdict
            | Rank::Head
            | Rank::Failed
            | Rank::Concluded
            | Rank::Beside
            | Rank::Running
            | Rank::Wording => Urgency::News,
        };
        Wish { urgency, makes: self.github_id.is_none().then_some(&self.record) }
    }

    /// By which GitHub knows it, and since when at the latest.
    pub(super) fn at_github(&self) -> (Option<u64>, Timestamp) {
        (self.github_id, self.record.known_since())
    }

    /// Does a merge wait for it, or does it show that we are there?
    pub(super) fn is_first(&self) -> bool {
        let appears = self.rank == Rank::Head && self.github_id.is_none();
        self.rank == Rank::Verdict || appears
    }
}

/// A check run that looks as desired, and lacks annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) desired: DesiredCheck,
    pub(super) id: CheckId,
    pub(super) github_id: u64,
    pub(super) annotated: Annotated,
}

impl Standing {
    fn of(desired: &DesiredCheck, record: &CheckRecord) -> Option<Self> {
        let (id, annotated) = (record.id, record.annotated);
        let lacks = annotated.sent < desired.annotations.len() as u64 || annotated.is_uncertain();
        let github_id = record.github_id.filter(|_| lacks && !desired.annotations.is_empty())?;
        Some(Self { desired: desired.clone(), id, github_id, annotated })
    }
}

/// What is to be done about a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agenda {
    pub(super) stage: Stage,
    pub(super) writes: Vec<Write>,
    /// After all writes: whose annotations are not all there.
    pub(super) standing: Vec<Standing>,
    /// When there is more to tell than may be told yet.
    pub(super) later: Option<Duration>,
}

/// Of each name the one that GitHub made last, which is the one it shows; its ids tell, while the
/// clocks of several hosts would not. One of which nothing is known yet comes before all; one that
/// GitHub was never asked for does not count.
pub(super) fn latest(checks: &[CheckRecord]) -> BTreeMap<&str, &CheckRecord> {
    let age = |record: &CheckRecord| (record.github_id.is_none(), record.github_id);
    let mut latest: BTreeMap<&str, &CheckRecord> = BTreeMap::new();
    for record in checks.iter().filter(|record| record.may_exist()) {
        let known = latest.entry(&record.name).or_insert(record);
        if age(record) >= age(known) {
            *known = record;
        }
    }
    latest
}

/// Are there check runs of which nobody knows whether GitHub made them?
pub(super) fn in_doubt(head: &ClaimedHead) -> bool {
    latest(&head.checks).values().any(|record| record.github_id.is_none())
}

/// `found` are those that were in doubt and exist.
pub(super) fn agenda(head: &ClaimedHead, links: &Links, found: &BTreeMap<CheckId, u64>) -> Agenda {
    let known = |record: &CheckRecord| CheckRecord {
        github_id: record.github_id.or_else(|| found.get(&record.id).copied()),
        ..record.clone()
    };
    let records: Vec<CheckRecord> = head.checks.iter().map(known).collect();
    let last = latest(&records);
    let view = view(head, &last);
    let stage = Stage { detail: view.detail, wanted: 0 };
    let mut agenda = Agenda { stage, writes: Vec::new(), standing: Vec::new(), later: None };
    for desired in all(head, links, &view, &last) {
        let record = last.get(desired.name.as_str()).copied();
        match due(head, view.detail, &desired, record) {
            Due::Never => agenda.standing.extend(record.and_then(|r| Standing::of(&desired, r))),
            Due::Later(wait) => agenda.later = Some(agenda.later.map_or(wait, |l| l.min(wait))),
            Due::Now(rank, github_id) => {
                let of_details = github_id.is_none() && desired.name != HEAD_CHECK;
                agenda.stage.wanted += u32::from(of_details);
                let rank = if of_details && !may_make(view.detail, &desired.name) {
                    Rank::Beside
                } else {
                    rank
                };
                let record = intent(&desired, record, github_id);
                agenda.writes.push(Write { desired, record, github_id, rank });
            }
        }
    }
    agenda.writes.sort_by_key(|write| write.rank);
    agenda
}

/// What GitHub should show of a head in the end, by name, whatever it shows now.
pub(super) fn wanted(head: &ClaimedHead, links: &Links) -> BTreeMap<String, DesiredCheck> {
    let last = latest(&head.checks);
    let all = all(head, links, &view(head, &last), &last);
    all.into_iter().map(|check| (check.name.clone(), check)).collect()
}

/// Does GitHub lack anything but annotations, as far as we know? What a finer detail would show is
/// lacking nowhere: an hour with room to spare is not for commits of the day before.
pub(super) fn is_behind(head: &ClaimedHead, links: &Links) -> bool {
    let agenda = agenda(head, links, &BTreeMap::new());
    let asked_for = |name: &str| head.checks.iter().any(|check| check.name == name);
    let is_due = |write: &Write| {
        let name = write.desired.name.as_str();
        write.github_id.is_some() || name == HEAD_CHECK || asked_for(name)
    };
    agenda.writes.iter().any(is_due) || agenda.later.is_some()
}

/// As finely as the repository wants and the hour allows.
fn view<'a>(head: &'a ClaimedHead, last: &BTreeMap<&'a str, &'a CheckRecord>) -> View<'a> {
    let made = |record: &&'a CheckRecord| Made {
        occasion: record.occasion.as_str(),
        completed: record.completed,
    };
    let made = last.iter().map(|(name, record)| (*name, made(record))).collect();
    let wanted = checks::wanted(&head.runs, &head.gone);
    let view = View { made, wanted, gone: &head.gone, ..View::default() };
    let (need, room) = (view.need(&head.runs), head.room.own());
    let detail = stage(head.detail, view.wanted, need, room);
    View { detail, spare: room.saturating_sub(need.of(detail)), ..view }
}

#[derive(Debug, PartialEq, Eq)]
enum Due {
    Never,
    Later(Duration),
    /// With GitHub's id of the check run that is to be changed; `None`: one is to be made.
    Now(Rank, Option<u64>),
}

/// A completed check run can't reliably go back to running, so what runs again gets a new one of
/// the same name; everything else is an update.
fn due(
    head: &ClaimedHead,
    detail: Detail,
    desired: &DesiredCheck,
    last: Option<&CheckRecord>,
) -> Due {
    let Some(last) = last else {
        return if is_outdated(head, desired) {
            Due::Never
        } else {
            Due::Now(rank(desired, None), None)
        };
    };
    let Some(github_id) = last.github_id else {
        // Looked for, and not found.
        let age = last.begun_at.map_or(LOOKED_FOR, |begun_at| head.now.since(begun_at));
        return match LOOKED_FOR.checked_sub(age).filter(|left| !left.is_zero()) {
            Some(left) => Due::Later(left.min((age / 2).max(Duration::from_secs(2)))),
            None => Due::Now(rank(desired, None), None),
        };
    };
    if last.digest.as_deref() == Some(desired.digest().as_str()) {
        return Due::Never;
    }
    let again = last.occasion != desired.occasion || !desired.is_completed();
    if last.completed && again {
        let may_make = may_make(detail, &desired.name) || is_pressed(head, desired);
        return match (may_make, desired.is_completed()) {
            (true, _) => Due::Now(rank(desired, None), None),
            // One that is there says how it ended this time; it can't say that it runs again.
            (false, true) => Due::Now(rank(desired, Some(last)), Some(github_id)),
            (false, false) => Due::Never,
        };
    }
    let pause = if head.spare >= BURST / 2 { OFTEN } else { SELDOM };
    match left(head.now, pause, last).filter(|_| is_wording(desired, last)) {
        Some(left) if !desired.is_completed() => Due::Later(left),
        Some(_) | None => Due::Now(rank(desired, Some(last)), Some(github_id)),
    }
}

/// A newer head has ended this one before the step had a check run: nothing is made to say so.
fn is_outdated(head: &ClaimedHead, desired: &DesiredCheck) -> bool {
    let superseded = head.runs.last().is_some_and(|run| run.superseded_by.is_some());
    superseded
        && desired.name != HEAD_CHECK
        && desired.status.word() == CheckConclusion::Cancelled.as_str()
}

/// Somebody pressed "Re-run" on it: they get a new one however coarse the others are, while the hour
/// has any left.
fn is_pressed(head: &ClaimedHead, desired: &DesiredCheck) -> bool {
    let pressed = |run: &Run| run.trigger == Trigger::Button;
    head.room.left > 0 && of_run(head, &desired.occasion).is_some_and(pressed)
}

/// Does a check run of this name get a new one for a new occasion, where not every step has one?
fn may_make(detail: Detail, name: &str) -> bool {
    let of_step = name.contains(" / ");
    match detail {
        _ if name == HEAD_CHECK => true,
        Detail::Step => true,
        Detail::Connector => !of_step,
        Detail::Summary => false,
    }
}

/// What is left of the pause since GitHub was told last.
fn left(now: Timestamp, pause: Duration, last: &CheckRecord) -> Option<Duration> {
    pause.checked_sub(now.since(last.told_at?)).filter(|left| !left.is_zero())
}

/// Are status and conclusion what GitHub shows already?
fn is_wording(desired: &DesiredCheck, last: &CheckRecord) -> bool {
    last.shown.as_deref() == Some(desired.status.word())
}

fn rank(desired: &DesiredCheck, last: Option<&CheckRecord>) -> Rank {
    let wording = last.is_some_and(|last| is_wording(desired, last));
    let head = desired.name == HEAD_CHECK;
    match desired.status {
        CheckStatus::Completed { .. } if wording => Rank::Wording,
        CheckStatus::Completed { .. } if head => Rank::Verdict,
        CheckStatus::Completed {
            conclusion:
                CheckConclusion::Failure | CheckConclusion::TimedOut | CheckConclusion::ActionRequired,
            ..
        } => Rank::Failed,
        CheckStatus::Completed { .. } => Rank::Concluded,
        CheckStatus::Queued | CheckStatus::InProgress { .. } if head => Rank::Head,
        CheckStatus::Queued | CheckStatus::InProgress { .. } if wording => Rank::Wording,
        CheckStatus::InProgress { .. } => Rank::Running,
        CheckStatus::Queued => Rank::Queued,
    }
}

/// The record that the write is acknowledged in; a check run that was looked for in vain keeps its
/// name at GitHub (`external_id`), should it still turn up.
fn intent(
    desired: &DesiredCheck,
    last: Option<&CheckRecord>,
    github_id: Option<u64>,
) -> CheckRecord {
    match last {
        Some(last) if last.github_id == github_id => last.clone(),
        Some(_) | None => {
            let id = CheckId::new(ambient::ulid());
            CheckRecord::new(id, &desired.name, &desired.occasion, ambient::now())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::detail::Room;
    use crate::domain::run::Repository;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn head(spare: u32) -> ClaimedHead {
        let name = "acme/connectors".parse().unwrap();
        ClaimedHead {
            repository: Repository { id: 7, name, installation: 3, private: false },
            head_sha: "a".repeat(40).parse().unwrap(),
            runs: Vec::new(),
            checks: Vec::new(),
            gone: Vec::new(),
            refused_since: None,
            detail: None,
            room: Room::default(),
            spare,
            now: NOW,
            version: 1,
            epoch: 1,
        }
    }

    fn ended(conclusion: CheckConclusion) -> CheckStatus {
        CheckStatus::Completed { conclusion, started_at: None, completed_at: NOW }
    }

    const RUNS: CheckStatus = CheckStatus::InProgress { started_at: NOW };

    fn desired(name: &str, status: CheckStatus) -> DesiredCheck {
        DesiredCheck {
            name: name.to_owned(),
            head_sha: "a".repeat(40).parse().unwrap(),
            occasion: "run_1".to_owned(),
            status,
            details_url: String::new(),
            title: "a title".to_owned(),
            summary: String::new(),
            text: None,
            annotations: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// What GitHub acknowledged so many seconds ago, in other words than these.
    fn told(check: &DesiredCheck, seconds: u64) -> CheckRecord {
        let told_at =
            Timestamp::from_millis(NOW.as_millis() - 1_000 * i64::try_from(seconds).unwrap());
        let id = CheckId::new(ambient::ulid());
        CheckRecord {
            github_id: Some(5),
            digest: Some("other words".to_owned()),
            completed: check.is_completed(),
            told_at: Some(told_at),
            shown: Some(check.status.word().to_owned()),
            ..CheckRecord::new(id, &check.name, "run_1", NOW)
        }
    }

    fn seconds(seconds: u64) -> Due {
        Due::Later(Duration::from_secs(seconds))
    }

    #[test]
    fn verdicts_come_first_then_failures_and_words_come_last() {
        let success = ended(CheckConclusion::Success);
        let (passed, verdict) = (desired("a / b", success), desired("checkvalve", success));
        let running = desired("a / b", RUNS);
        let order = [
            rank(&verdict, None),
            rank(&desired("checkvalve", RUNS), None),
            rank(&desired("a / b", ended(CheckConclusion::TimedOut)), Some(&told(&running, 1))),
            rank(&passed, Some(&told(&running, 1))),
            Rank::Beside,
            rank(&running, None),
            rank(&desired("a / b", CheckStatus::Queued), None),
            rank(&passed, Some(&told(&passed, 1))),
        ];
        assert!(order.is_sorted() && order.windows(2).all(|two| two[0] != two[1]), "{order:?}");
        assert_eq!(rank(&verdict, Some(&told(&verdict, 1))), Rank::Wording);
    }

    #[test]
    fn words_wait_and_states_do_not() {
        let check = desired("checkvalve", RUNS);
        let state =
            |head: &ClaimedHead, last: &CheckRecord| due(head, Detail::Step, &check, Some(last));
        assert_eq!(state(&head(20), &told(&check, 2)), seconds(3));
        assert_eq!(state(&head(20), &told(&check, 5)), Due::Now(Rank::Head, Some(5)));
        assert_eq!(state(&head(3), &told(&check, 5)), seconds(55));
        let queued = desired("checkvalve", CheckStatus::Queued);
        assert_eq!(state(&head(3), &told(&queued, 0)), Due::Now(Rank::Head, Some(5)));
        let same = CheckRecord { digest: Some(check.digest()), ..told(&check, 100) };
        assert_eq!(state(&head(20), &same), Due::Never);
    }

    #[test]
    fn what_runs_again_is_made_anew_where_there_is_room_for_it() {
        let last = told(&desired("a / b", ended(CheckConclusion::Failure)), 100);
        let again =
            |status| DesiredCheck { occasion: "run_2".to_owned(), ..desired("a / b", status) };
        let (running, passed) = (again(RUNS), again(ended(CheckConclusion::Success)));
        let due = |detail, check| due(&head(20), detail, check, Some(&last));
        assert_eq!(due(Detail::Step, &running), Due::Now(Rank::Running, None));
        assert_eq!(due(Detail::Connector, &running), Due::Never);
        assert_eq!(due(Detail::Connector, &passed), Due::Now(Rank::Concluded, Some(5)));
        assert!(may_make(Detail::Connector, "a") && may_make(Detail::Summary, "checkvalve"));
        assert!(!may_make(Detail::Summary, "a"));
    }

    #[test]
    fn what_may_exist_is_looked_for_during_a_minute() {
        let check = desired("a / b", RUNS);
        let begun = |ago: i64| CheckRecord {
            begun_at: Some(Timestamp::from_millis(NOW.as_millis() - 1_000 * ago)),
            ..CheckRecord::new(CheckId::new(ambient::ulid()), "a / b", "run_1", NOW)
        };
        let due = |ago| due(&head(20), Detail::Step, &check, Some(&begun(ago)));
        assert_eq!((due(0), due(10), due(59)), (seconds(2), seconds(5), seconds(1)));
        assert_eq!(due(60), Due::Now(Rank::Running, None));
        let mut head = head(20);
        head.checks = vec![begun(1)];
        assert!(in_doubt(&head));
        head.checks[0].begun_at = None;
        assert!(!in_doubt(&head) && latest(&head.checks).is_empty());
        // Should it turn up after all, it is still known by the name that it was made under.
        let late = begun(61);
        assert_eq!(intent(&check, Some(&late), None).id, late.id);
    }
}
