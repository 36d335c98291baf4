//! The store's contract: every story is told to a real `SQLite` file and to a real `PostgreSQL`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/postgres.rs"]
mod postgres;

#[path = "store/again.rs"]
mod again;
#[path = "store/approvals.rs"]
mod approvals;
#[path = "store/apps.rs"]
mod apps;
#[path = "store/audit.rs"]
mod audit;
#[path = "store/branches.rs"]
mod branches;
#[path = "store/brought.rs"]
mod brought;
#[path = "store/budget.rs"]
mod budget;
#[path = "store/cache.rs"]
mod cache;
#[path = "store/chaos.rs"]
mod chaos;
#[path = "store/checks.rs"]
mod checks;
#[path = "store/comments.rs"]
mod comments;
#[path = "store/compare.rs"]
mod compare;
#[path = "store/deliveries.rs"]
mod deliveries;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/jobs.rs"]
mod jobs;
#[path = "store/locks.rs"]
mod locks;
#[path = "store/maintenance.rs"]
mod maintenance;
#[path = "store/own.rs"]
mod own;
#[path = "store/planning.rs"]
mod planning;
#[path = "store/reads.rs"]
mod reads;
#[path = "store/recovery.rs"]
mod recovery;
#[path = "store/rotations.rs"]
mod rotations;
#[path = "store/runs.rs"]
mod runs;
#[path = "store/turns.rs"]
mod turns;

use fixture::Place;

/// Makes two tests of each story.
macro_rules! stories {
    ($($topic:ident: $($story:ident),+ $(,)?;)+) => {
        mod on_sqlite {
            $(mod $topic {$(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    crate::$topic::$story(&crate::Place::sqlite()).await;
                }
            )+})+
        }
        mod on_postgres {
            $(mod $topic {$(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    let Some(place) = crate::Place::postgres().await else { return };
                    crate::$topic::$story(&place).await;
                }
            )+})+
        }
    };
}

stories! {
    again:
        what_is_handled_again_goes_after_what_comes_now,
        what_is_held_for_points_is_passed_over_until_there_are_some,
        what_waits_for_one_installation_keeps_no_other_ones_waiting;
    brought:
        who_pushed_a_head_is_known_as_long_as_it_is_asked;
    apps:
        one_app_is_kept_and_ends_all_offers,
        who_forgets_the_app_forgets_all_its_secrets_at_once,
        a_secret_counts_for_the_app_that_it_was_kept_for_alone,
        what_servers_spoke_of_is_not_the_apps_that_is_registered,
        what_an_old_rotation_keeps_is_its_to_give_up,
        who_replaces_a_secret_retires_those_that_servers_speak_of,
        a_secret_is_replaced_in_steps_that_can_be_repeated,
        a_secret_that_no_server_heard_of_is_given_up,
        of_many_that_replace_a_secret_at_once_one_does;
    approvals:
        an_approval_is_of_one_commit_and_void_for_good_once_another_was_seen,
        who_pushed_a_head_is_known_from_its_event_alone,
        by_whose_approval_a_run_runs_is_known_also_when_it_is_void,
        an_approval_can_be_taken_back_once,
        a_strangers_run_is_planned_and_ends_by_asking_for_an_approval;
    audit:
        an_act_is_carried_out_once_and_written_down,
        what_turns_out_otherwise_is_owed_until_it_is_said,
        of_many_that_carry_out_one_act_one_does,
        a_cancel_that_comes_before_the_plan_holds,
        what_was_asked_for_is_forgotten_when_it_is_old;
    budget:
        one_budget_for_all_who_publish,
        an_hour_that_is_used_up_leaves_the_verdicts,
        who_is_told_to_wait_tells_the_others,
        a_head_with_more_to_tell_comes_back,
        heads_know_what_others_have_in_hand;
    cache:
        a_result_is_found_by_its_key_alone,
        a_late_holder_keeps_no_result,
        whose_code_it_was_decides_who_finds_its_results,
        a_result_is_taken_back_by_who_holds_the_job;
    branches:
        a_due_time_is_taken_once,
        schedules_count_from_when_they_were_first_seen,
        what_the_app_lost_is_published_when_it_is_back,
        what_is_private_is_not_shown_by_an_old_event,
        what_acts_on_an_old_event_replaces_nothing_that_is_known,
        what_was_installed_anew_counts_as_given_back,
        a_run_that_nobody_asked_for_is_forgotten,
        pointed_at_another_base_it_is_another_change,
        objects_stand_under_the_name_of_their_time;
    turns:
        of_several_one_works_and_the_others_know_for_whom_they_wait,
        another_takes_over_when_a_turn_dies_or_is_given_back,
        who_waited_for_a_failure_goes_on_beside_others,
        of_many_that_ask_at_once_one_has_it;
    own:
        results_of_an_own_run_are_found_until_it_is_forgotten;
    deliveries:
        deliveries_are_claimed_in_the_order_in_which_they_came,
        one_of_many_equal_deliveries_is_fresh,
        bodies_come_back_as_they_were,
        a_delivery_is_claimed_once_until_its_lease_ends,
        a_late_handler_is_refused,
        what_failed_for_now_comes_back_when_it_is_due,
        a_delivery_can_be_handled_again,
        who_handles_what_is_asked_for_again_is_too_late,
        classes_of_deliveries_are_found,
        bodies_about_our_own_checks_are_not_kept,
        a_waiting_loop_is_woken;
    runs:
        one_run_per_cause,
        racing_creators_make_one_run,
        another_head_supersedes_and_the_same_does_not,
        a_run_made_with_a_problem_is_concluded,
        the_generation_rises_when_head_base_or_openness_change,
        runs_are_listed_newest_first_and_filtered,
        lists_are_read_without_steps_and_without_what_is_private,
        repositories_are_found_by_any_case,
        a_revision_tells_what_changed;
    planning:
        a_run_is_planned_once,
        a_plan_round_trips,
        a_run_without_jobs_is_a_success,
        a_planner_that_lost_its_lease_is_refused,
        what_a_conflict_holds_is_concluded_and_claimed_by_nobody,
        planning_that_fails_for_good_concludes,
        planning_that_fails_for_now_comes_back,
        a_pause_of_an_hour_is_one_try_of_planning,
        a_large_plan_is_stored_whole;
    jobs:
        no_job_is_claimed_twice,
        claims_are_fair_between_runs,
        the_last_job_concludes_the_run,
        a_late_writer_is_refused_after_takeover,
        a_heartbeat_keeps_the_lease,
        a_takeover_starts_running_steps_again,
        a_job_is_open_until_it_concludes,
        a_cancelled_run_ends_what_nobody_holds,
        a_holder_hears_that_it_should_stop,
        named_connectors_are_cancelled_alone,
        a_released_job_is_queued_at_once,
        a_released_job_that_was_cancelled_ends,
        a_postponed_job_says_why_and_comes_back_when_it_is_due,
        a_postponed_job_that_was_cancelled_ends,
        a_job_that_kills_its_holders_is_given_up,
        what_ran_under_a_lease_that_is_over_waits_again,
        an_abandoned_cancelled_job_ends,
        only_current_holders_are_alive,
        a_settled_job_has_no_unsettled_step,
        tails_are_fenced,
        concurrent_settlers_conclude_the_run_once;
    locks:
        jobs_with_one_lock_never_run_at_once,
        a_lock_goes_to_who_waits_longest,
        who_waits_is_as_urgent_as_whoever_waits_behind,
        who_waits_learns_who_has_the_lock,
        a_lock_is_free_when_its_holder_ends_or_gives_back,
        a_dead_holders_lock_goes_with_its_job,
        locks_are_a_repositorys_own,
        a_new_head_leaves_alone_what_outlives_it;
    reads:
        what_waits_for_nobody_leaves_some_to_the_others,
        all_processes_take_from_one_purse;
    recovery:
        what_is_asked_for_too_long_is_given_up_and_begun_anew_for_who_wants_it,
        how_far_comments_were_looked_at_never_goes_back,
        what_never_came_is_asked_for_until_it_comes_or_is_given_up,
        a_look_at_the_log_goes_on_where_it_was,
        the_head_of_the_own_run_outlives_the_run,
        what_runs_of_a_pull_request_is_known;
    rotations:
        jobs_that_share_a_secret_never_run_at_once,
        what_is_renewed_outlives_its_job_and_so_does_the_lock,
        a_lock_of_nobody_is_freed,
        a_dead_holders_renewal_is_anybodys_until_the_job_is_taken_over,
        a_newer_value_is_not_lost_to_an_older_ones_end,
        a_try_that_failed_comes_back_and_a_late_one_is_refused,
        what_can_t_be_written_back_keeps_no_lock_for_ever;
    checks:
        a_head_is_published_once_per_change,
        a_change_while_publishing_is_not_lost,
        what_is_called_otherwise_is_told_again_under_its_name,
        a_publisher_that_lost_its_head_is_refused,
        what_a_late_publisher_told_is_told_again,
        a_head_comes_back_when_it_is_due,
        intents_survive_and_are_found_by_githubs_id,
        what_github_was_never_asked_for_is_forgotten;
    comments:
        comments_are_answered_once,
        a_reply_that_was_begun_is_known_until_its_end_is,
        a_comment_is_in_one_hand_and_comes_back_by_itself,
        of_many_who_want_a_comment_one_gets_it;
    compare:
        a_head_is_compared_by_one_when_it_is_due,
        what_github_shows_otherwise_is_told_again,
        who_leaves_a_commit_has_it_judged_anew,
        a_merge_group_of_which_nothing_is_heard_counts_as_gone,
        what_is_refused_for_good_is_not_compared_sooner,
        refusals_count_from_the_first_and_end_with_access;
    chaos:
        everything_at_once_settles;
    maintenance:
        every_statement_is_prepared,
        idle_is_said_only_when_nothing_is_left,
        retention_forgets_what_is_old,
        a_forgotten_head_does_not_stay_due,
        objects_get_their_final_names_once,
        what_can_t_be_archived_lets_others_go_first,
        a_named_lease_has_one_holder,
        two_processes_may_open_at_once,
        numbers_are_counted;
}

/// A backup reads all tables, and the view of the clock, in one long transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_a_backup() {
    use sqlx::{Connection as _, Executor as _};
    let Some(place) = Place::postgres().await else { return };
    let _running = place.open().await;
    let mut backup = sqlx::PgConnection::connect(&place.url).await.unwrap();
    let mut reading = backup.begin().await.unwrap();
    reading.execute("select now from clock").await.unwrap();
    let started = tokio::time::timeout(std::time::Duration::from_secs(15), place.open()).await;
    assert!(started.is_ok(), "it waits for the backup's end, and everyone else behind it");
}

/// Who asks may go away at any moment: what it had begun must not stay open for who asks next.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_waits_for_is_nobodys() {
    use std::time::Duration;

    use checkvalve::store::Hold;
    let Some(place) = Place::postgres().await else { return };
    let (store, other) = (place.open().await, place.open().await);
    for micros in (0..2_000_u64).step_by(5) {
        let asked = store.hold_comment(7, micros);
        let _ = tokio::time::timeout(Duration::from_micros(micros), asked).await;
    }
    // As many at once as there are connections.
    for round in 1..5_u64 {
        let asking = (0..12).map(|nth| {
            let (store, comment) = (store.clone(), round * 10_000 + nth);
            async move {
                store.queue().await.unwrap();
                let held = store.hold_comment(7, comment).await.unwrap();
                assert!(matches!(held, Hold::Ours(..)), "{held:?}");
                comment
            }
        });
        for comment in futures_util::future::join_all(asking).await {
            let taken = other.hold_comment(7, comment).await.unwrap();
            assert!(matches!(taken, Hold::Theirs(_)), "it was written where nobody sees it");
        }
    }
}
