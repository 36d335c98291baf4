//! The text of `checkvalve`: of every step that went wrong what tells of it, within one budget that
//! is shared fairly.

use std::fmt::Write as _;

use crate::domain::check::SUMMARY_MAX_BYTES;
use crate::domain::links::Links;
use crate::domain::parties::Party;
use crate::domain::run::{Run, Tests};
use crate::domain::verdict::Standing;
use crate::render::findings;
use crate::render::log;
use crate::render::markdown::{fenced, link, one_line, text as escaped};

use super::step::{failing_test, log_block};
use super::{conflict, step_look, title};

/// What a step is given at least; if they are more than the budget has shares, the rest is named.
const SHARE_MIN: usize = 1_500;
/// What one step may take however few they are.
const SHARE_MAX: usize = 12_000;
/// For the words about what is left out.
const REST: usize = 8_000;
/// Bytes of a test's message: its first lines.
const MESSAGE_MAX: usize = 1_000;
/// Bytes of the files of a conflict.
const CONFLICT_MAX: usize = 4_000;
/// Steps that are named without being shown.
const NAMED: usize = 20;

/// `None` if nothing went wrong so far.
pub(super) fn text(parties: &[Party<'_>], newest: &Run, links: &Links) -> Option<String> {
    let bad = |standing: &&Standing<'_>| standing.required && step_look(standing).is_bad();
    let all = parties.iter().flat_map(|party| &party.verdict.standings);
    let mut failed: Vec<&Standing<'_>> = all.filter(bad).collect();
    // All steps of a connector are held for the same.
    let held = |standing: &Standing<'_>| standing.step.state.conflict().is_some();
    failed.dedup_by(|next, one| held(one) && held(next) && one.job.id == next.job.id);
    if failed.is_empty() {
        return None;
    }
    let budget = SUMMARY_MAX_BYTES - REST;
    let unshown = failed.split_off(failed.len().min(budget / SHARE_MIN));
    let needs = failed.iter().map(|standing| of_step(standing, links, SHARE_MAX).len());
    let shares = shares(&needs.collect::<Vec<_>>(), budget);
    let mut text = String::from("## What went wrong\n\n");
    for (standing, share) in failed.into_iter().zip(shares) {
        text.push_str(&of_step(standing, links, share));
    }
    if !unshown.is_empty() {
        text.push_str(&rest(&unshown, newest, links));
    }
    Some(text)
}

/// Who needs less than an equal share leaves the rest to those that need more.
fn shares(needs: &[usize], budget: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|at| needs[*at]);
    let mut shares = vec![0; needs.len()];
    let (mut left, mut waiting) = (budget, needs.len());
    for at in order {
        shares[at] = needs[at].min(left / waiting);
        left -= shares[at];
        waiting -= 1;
    }
    shares
}

/// Failing tests first, then what tools found, then the telling part of the log.
fn of_step(standing: &Standing<'_>, links: &Links, share: usize) -> String {
    let Standing { run, job, step, .. } = *standing;
    let name = format!("{} / {}", job.connector, step.id);
    let url = links.step(run.id, &job.connector, &step.id);
    let title = one_line(&title::of_step(standing), 150);
    let name = link(&one_line(&name, 150), &url);
    let mut shown =
        format!("### {} {name}\n\n{}\n\n", step_look(standing).emoji(), escaped(&title));
    if shown.len() > share {
        return String::new();
    }
    if let Some(tests) = &step.facts.tests {
        let room = (share - shown.len()) / 5 * 3;
        shown.push_str(&tests_part(tests, room));
    }
    if let Some(found) = &step.facts.annotations {
        let room = (share - shown.len()) / 2;
        shown.push_str(&findings::within(found, room));
    }
    let held = conflict::text(standing, CONFLICT_MAX);
    if shown.len() + held.len() <= share {
        shown.push_str(&held);
    }
    shown.push_str(&log_block(&step.facts.excerpt, share - shown.len()));
    shown
}

fn tests_part(tests: &Tests, room: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for failure in &tests.failures {
        let message = log::plain(failure.message.as_bytes());
        let part = failing_test(failure, &fenced(&message, MESSAGE_MAX));
        if shown.len() + part.len() + 60 > room {
            break;
        }
        shown.push_str(&part);
        count += 1;
    }
    let more = tests.failed.saturating_sub(count);
    if more > 0 && shown.len() + 60 <= room {
        let _ = writeln!(shown, "… and {more} more failing tests.\n");
    }
    shown
}

fn rest(unshown: &[&Standing<'_>], newest: &Run, links: &Links) -> String {
    let names = unshown.iter().take(NAMED);
    let names =
        names.map(|it| escaped(&one_line(&format!("{} / {}", it.job.connector, it.step.id), 60)));
    let names: Vec<String> = names.collect();
    let more = unshown.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let page = link("the run's page", &links.run(newest.id));
    format!("Also failed, and shown on {page}: {}{more}\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn what_one_does_not_need_the_others_have() {
        assert_eq!(shares(&[100, 900, 900], 1_000), [100, 450, 450]);
        assert_eq!(shares(&[900, 10], 1_000), [900, 10]);
        assert_eq!(shares(&[500, 500, 500], 900), [300, 300, 300]);
        assert!(shares(&[], 900).is_empty());
    }
}
