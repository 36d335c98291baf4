use proptest::prelude::*;

use super::*;

const START: i64 = 1_700_000_000_123;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn makes(repository: u64) -> Write {
    Write { repository, urgency: Urgency::News, makes: true }
}

fn changes(repository: u64) -> Write {
    Write { makes: false, ..makes(repository) }
}

fn makes_or_changes(makes: bool) -> Write {
    Write { makes, ..changes(1) }
}

fn verdict(repository: u64) -> Write {
    Write { urgency: Urgency::First, ..changes(repository) }
}

#[test]
fn twenty_at_once_then_one_a_second_and_verdicts_do_not_wait() {
    let mut budget = Budget::default();
    assert_eq!(budget.spare(at(0)), 20);
    for _ in 0..18 {
        budget.take(changes(1), at(0)).unwrap();
    }
    assert_eq!(budget.take(changes(1), at(0)), Err(Duration::from_secs(1)));
    budget.take(verdict(1), at(0)).unwrap();
    budget.take(verdict(2), at(0)).unwrap();
    assert_eq!(budget.take(verdict(2), at(0)), Err(Duration::from_secs(1)));
    assert_eq!(budget.spare(at(0)), 0);
    assert_eq!(budget.take(changes(1), at(2_999)), Err(Duration::from_millis(1)));
    budget.take(changes(1), at(3_000)).unwrap();
}

#[test]
fn what_has_not_happened_yet_leaves_room_for_what_does() {
    let mut budget = Budget::default();
    let queued = Write { urgency: Urgency::Queued, ..makes(1) };
    for _ in 0..12 {
        budget.take(queued, at(0)).unwrap();
    }
    assert_eq!(budget.take(queued, at(0)), Err(Duration::from_secs(1)));
    for _ in 0..6 {
        budget.take(makes(1), at(0)).unwrap();
    }
    assert_eq!(budget.take(queued, at(0)), Err(Duration::from_secs(7)));
}

#[test]
fn the_last_check_runs_of_an_hour_are_for_checkvalve() {
    let mut budget = Budget::default();
    let (made, now) = use_up_details(&mut budget);
    assert_eq!((made, now < 400_000), (400, true), "{now} ms");
    let wait = budget.take(makes(1), at(now + 20_000)).unwrap_err();
    assert!(wait > Duration::from_mins(50), "{wait:?}");
    for _ in 0..20 {
        budget.take(Write { urgency: Urgency::First, ..makes(1) }, at(now + 60_000)).unwrap();
    }
    budget.take(changes(1), at(now + 100_000)).unwrap();
    assert!(budget.left(at(3_600_000 + 61_000)) >= 20);
}

/// Takes details until the hour has no more of them; how many, and when.
fn use_up_details(budget: &mut Budget) -> (u32, i64) {
    let (mut now, mut made) = (0, 0);
    while budget.left(at(now)) > 0 {
        match budget.take(makes(1), at(now)) {
            Ok(()) => made += 1,
            Err(wait) => now += i64::try_from(wait.as_millis()).unwrap(),
        }
    }
    (made, now)
}

#[test]
fn answers_have_a_part_of_the_hour_and_leave_one_to_checkvalve() {
    let mut budget = Budget::default();
    let (made, mut now) = use_up_details(&mut budget);
    assert_eq!(made, 400);
    let (mut answered, mut wait) = (0, Duration::ZERO);
    while wait < Duration::from_mins(2) {
        now += i64::try_from(wait.as_millis()).unwrap();
        // Publishers take whatever comes free, first.
        assert!(budget.take(makes(1), at(now)).is_err());
        match budget.answer(1, Answer::Writer, at(now)) {
            Ok(()) => (answered, wait) = (answered + 1, Duration::ZERO),
            Err(lack) => wait = lack.wait,
        }
    }
    assert_eq!(answered, 25);
    let lack = budget.answer(1, Answer::Writer, at(now)).unwrap_err();
    assert!(!lack.told_enough, "check runs have used it up: {lack:?}");
    for nth in 1..=25 {
        let first = Write { urgency: Urgency::First, ..makes(1) };
        budget.take(first, at(now + nth * 2_000)).unwrap();
    }
}

#[test]
fn a_strangers_answer_waits_for_a_moment_or_was_one_too_many() {
    let mut budget = Budget::default();
    while budget.take(makes(1), at(0)).is_ok() {}
    let lack = budget.answer(1, Answer::Stranger, at(0)).unwrap_err();
    assert_eq!(lack, Lack { wait: Duration::from_secs(1), told_enough: false });
    let (_, now) = use_up_details(&mut budget);
    let lack = budget.answer(1, Answer::Stranger, at(now + 10_000)).unwrap_err();
    assert!(!lack.told_enough && lack.wait > Duration::from_mins(30), "{lack:?}");
}

#[test]
fn strangers_get_few_answers_and_people_leave_most_of_the_hour_to_check_runs() {
    let mut budget = Budget::default();
    let ask = |budget: &mut Budget, to: Answer, from: i64| {
        let minutes = (0..600).map(|second| from + second * 1_000);
        minutes.filter(|at_ms| budget.answer(1, to, at(*at_ms)).is_ok()).count()
    };
    assert_eq!(ask(&mut budget, Answer::Stranger, 0), 30);
    let lack = budget.answer(1, Answer::Stranger, at(600_000)).unwrap_err();
    assert!(lack.wait > Duration::from_mins(45) && lack.told_enough, "{lack:?}");
    assert_eq!(ask(&mut budget, Answer::Writer, 600_000), 120, "150 in all");
    assert_eq!(budget.left(at(1_200_000)), 400 - 150);
    budget.take(makes(1), at(1_200_000)).unwrap();
    // An hour later they are forgotten.
    assert_eq!(ask(&mut budget, Answer::Stranger, 2 * 3_600_000), 30);
}

#[test]
fn who_is_not_answered_takes_no_turn_from_others() {
    let mut budget = Budget::default();
    while budget.take(verdict(1), at(0)).is_ok() {}
    budget.is_content(1);
    budget.answer(2, Answer::Writer, at(0)).unwrap_err();
    budget.answer(3, Answer::Stranger, at(0)).unwrap_err();
    let mut made = 0;
    // Two seconds are for verdicts.
    for second in 3..=10 {
        made += u32::from(budget.take(changes(1), at(second * 1_000)).is_ok());
    }
    assert_eq!(made, 8);
}

#[test]
fn a_repository_that_wants_much_leaves_half_to_another_one() {
    let mut budget = Budget::default();
    let mut made = BTreeMap::from([(1, 0), (2, 0)]);
    for second in 0..600 {
        // Ten heads of one repository ask for each of the other's.
        for repository in [1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1] {
            if budget.take(changes(repository), at(second * 1_000)).is_ok() {
                *made.get_mut(&repository).unwrap() += 1;
            }
        }
    }
    assert!((made[&1] + made[&2]) >= 600, "{made:?}");
    assert!(made[&2] >= 280 && made[&1] >= 280, "{made:?}");
}

#[test]
fn who_wants_nothing_costs_the_others_nothing() {
    let mut budget = Budget::default();
    let mut made = 0;
    for second in 0..100 {
        made += u32::from(budget.take(changes(1), at(second * 1_000)).is_ok());
        if second % 20 == 0 {
            let _ = budget.take(changes(2), at(second * 1_000));
            budget.is_content(2);
        }
    }
    assert!(made >= 95, "{made}");
}

#[test]
fn who_commands_is_answered_before_details_are_told() {
    let mut budget = Budget::default();
    while budget.take(makes(1), at(0)).is_ok() {}
    assert!(budget.answer(1, Answer::Stranger, at(0)).is_err(), "strangers wait like details");
    assert_eq!(budget.answer(1, Answer::Writer, at(0)), Ok(()));
    assert!(budget.answer(1, Answer::Writer, at(0)).is_err());
    assert_eq!(budget.take(verdict(1), at(0)), Ok(()), "and a verdict before both");
    // What is earned goes to answers first.
    assert!(budget.take(makes(1), at(2_000)).is_err());
    assert_eq!(budget.answer(1, Answer::Writer, at(2_000)), Ok(()));
}

#[test]
fn a_clock_that_is_set_back_does_not_close_it() {
    let mut budget = Budget::default();
    while budget.take(makes(1), at(7_200_000)).is_ok() {}
    assert!(budget.take(makes(1), at(0)).unwrap_err() <= Duration::from_secs(3));
    budget.take(makes(1), at(3_000)).unwrap();
}

#[test]
fn it_is_stored_and_read_back() {
    let mut budget = Budget::default();
    while budget.take(makes(1), at(0)).is_ok() {}
    let text = serde_json::to_string(&budget).unwrap();
    assert_eq!(serde_json::from_str::<Budget>(&text).unwrap(), budget);
    assert_eq!(serde_json::from_str::<Budget>("{}").unwrap(), Budget::default());
}

proptest! {
    /// Whatever is asked for when: no minute has more than 80 writes and 75 new check runs, no
    /// hour more than 450.
    #[test]
    fn githubs_limits_are_kept(
        asked in proptest::collection::vec((0_i64..3_000, 1_u64..4, 0_usize..3, any::<bool>()), 1..1500),
    ) {
        let mut budget = Budget::default();
        let mut now = 0;
        let (mut writes, mut made) = (Vec::new(), Vec::new());
        for (later, repository, urgency, makes) in asked {
            now += later;
            let urgency = [Urgency::First, Urgency::Answer, Urgency::Queued][urgency];
            if budget.take(Write { repository, urgency, makes }, at(now)).is_ok() {
                writes.push(now);
                if makes {
                    made.push(now);
                }
            }
        }
        let most = |times: &[i64], span: i64| {
            let until = |from: &i64| times.partition_point(|at| at - from <= span);
            let within = times.iter().enumerate().map(|(nth, from)| until(from) - nth);
            within.max().unwrap_or(0)
        };
        prop_assert!(most(&writes, 59_999) <= 80);
        prop_assert!(most(&made, 60_000) <= 75);
        prop_assert!(most(&made, 3_600_000) <= 450);
    }

    /// Whoever waits as long as it is told gets its write, if nobody else comes.
    #[test]
    fn a_wait_is_true(before in 0_usize..600, makes in any::<bool>()) {
        let mut budget = Budget::default();
        let write = makes_or_changes(makes);
        for _ in 0..before {
            let _ = budget.take(write, at(0));
        }
        if let Err(wait) = budget.take(write, at(0)) {
            let later = i64::try_from(wait.as_millis()).unwrap();
            prop_assert!(budget.take(write, at(later - 1)).is_err());
            prop_assert!(budget.take(write, at(later)).is_ok());
        }
    }
}
