//! What holds when all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use checkvalve::domain::names::Sha;
use checkvalve::domain::parties::{Parties, Whose, worst};
use checkvalve::domain::run::Run;
use checkvalve::domain::state::{Outcome, RunState, SkipReason, StepState};
use checkvalve::domain::trigger::Trigger;
use github_simulator::{CheckRun, Delivery, PullRequest};
use serde_json::Value;

use crate::deeds::Story;
use crate::world::REPO;

/// Of an event about a merge group: its branch, its head, and whether it is gone.
pub(crate) fn group_of(delivery: &Delivery) -> Option<(String, String, bool)> {
    if delivery.event != "merge_group" {
        return None;
    }
    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    let of = |name: &str| body["merge_group"][name].as_str().unwrap().to_owned();
    let branch = of("head_ref").trim_start_matches("refs/heads/").to_owned();
    Some((branch, of("head_sha"), delivery.action.as_deref() == Some("destroyed")))
}

impl Story {
    pub(crate) async fn is_settled(&self) {
        let runs = self.world.runs().await;
        Self::every_run_has_ended(&runs);
        self.each_cause_has_one_run(&runs);
        let mut heads: BTreeSet<String> = runs.iter().map(|run| run.head_sha.to_string()).collect();
        heads.extend(self.heads.values().flatten().cloned());
        for head in &heads {
            self.every_check_is_concluded(head);
            self.the_verdict_agrees(head, &runs);
        }
        let pulls = self.pulls.values().map(|number| self.world.sim.pull_request(REPO, *number));
        for pull in pulls.filter(|pull| pull.state == "open") {
            self.is_tested(&pull, &runs);
        }
        self.every_command_is_answered();
        let violations = self.world.sim.violations();
        assert_eq!(violations, Vec::<String>::new());
    }

    fn every_run_has_ended(runs: &[Run]) {
        for run in runs {
            assert_eq!(run.state, RunState::Concluded, "{run:?}");
            assert!(run.jobs.iter().all(|job| job.state == RunState::Concluded), "{run:?}");
        }
    }

    /// Nothing is done twice.
    fn each_cause_has_one_run(&self, runs: &[Run]) {
        let mut causes = BTreeSet::new();
        for run in runs {
            let (trigger, head) = (run.trigger.as_str(), run.head_sha.as_str());
            let cause = (run.pull, &run.base_ref, head, trigger, &run.cause);
            assert!(causes.insert(cause), "{cause:?} has two runs");
        }
        let of = |trigger| runs.iter().filter(move |run| run.trigger == trigger);
        let commented: BTreeSet<&str> =
            of(Trigger::Comment).map(|run| run.cause.as_str()).collect();
        assert_eq!(commented.len(), of(Trigger::Comment).count(), "a comment is obeyed once");
        assert!(commented.len() <= self.asked.len());
        assert!(of(Trigger::Button).count() <= self.pressed, "a press is obeyed once");
        for (number, most) in &self.causes {
            let own = of(Trigger::PullRequest).filter(|run| run.pull == Some(*number));
            // Of a fork's head that is found before its event comes, nobody knows who pushed it: judged anew.
            let (unknown, own): (Vec<&Run>, Vec<&Run>) =
                own.partition(|run| run.cause.ends_with("-pusher-unknown"));
            for own in [unknown.len(), own.len()] {
                assert!(own <= *most, "#{number} has {own} runs of its own for {most} causes");
            }
        }
    }

    fn every_check_is_concluded(&self, head: &str) {
        let all = self.world.sim.check_runs(REPO, head);
        let open: Vec<&CheckRun> = all.iter().filter(|check| check.status != "completed").collect();
        assert!(open.is_empty(), "{head}: {open:?}");
        let ids: BTreeSet<&str> = all.iter().map(|check| check.external_id.as_str()).collect();
        assert_eq!(ids.len(), all.len(), "{head}: a check run was made twice");
    }

    /// Who has left the commit: by GitHub's word, and not by ours.
    fn gone(&self, head: &str) -> Vec<Whose> {
        let mut gone = Vec::new();
        for number in self.causes.keys() {
            let pull = self.world.sim.pull_request(REPO, *number);
            if pull.state != "open" || pull.head_sha != head {
                gone.push(Whose::Pull(*number));
            }
        }
        let mut groups: BTreeMap<String, bool> = BTreeMap::new();
        for delivery in self.world.sim.deliveries().iter().filter(|one| !one.redelivery) {
            if let Some((branch, sha, is_gone)) = group_of(delivery)
                && sha == head
            {
                groups.insert(branch, is_gone);
            }
        }
        gone.extend(groups.into_iter().filter(|(_, gone)| *gone).map(|(of, _)| Whose::Group(of)));
        gone
    }

    fn the_verdict_agrees(&self, head: &str, runs: &[Run]) {
        let sha: Sha = head.parse().unwrap();
        let of_head: Vec<&Run> = runs.iter().filter(|run| run.head_sha == sha).collect();
        let gone = self.gone(head);
        let all: BTreeSet<Whose> = of_head.iter().filter_map(|run| Whose::of(run)).collect();
        // Of those that have all left, the last one's stays: which one that was, is the server's to know.
        if all.is_empty() || all.iter().all(|whose| gone.contains(whose)) {
            return;
        }
        let parties = Parties::of(of_head.iter().copied(), &gone);
        let verdicts = parties.judged.iter().map(|party| party.verdict.conclusion);
        let Some(verdict) = worst(verdicts) else { panic!("{head} has no verdict: {of_head:?}") };
        assert_eq!(self.shown(head).as_deref(), Some(verdict.as_str()), "{head}: {of_head:#?}");
    }

    /// What GitHub shows as `checkvalve`.
    fn shown(&self, head: &str) -> Option<String> {
        let checks = self.world.sim.latest_check_runs(REPO, head);
        checks.into_iter().find(|check| check.name == "checkvalve")?.conclusion
    }

    /// An open pull request has a run of its head against its base, and is green only if all of it is.
    fn is_tested(&self, pull: &PullRequest, runs: &[Run]) {
        let head = pull.head_sha.as_str();
        let of_pull = |run: &&Run| run.pull == Some(pull.number) && run.head_sha.as_str() == head;
        let of_pull: Vec<&Run> = runs.iter().filter(of_pull).collect();
        let own = of_pull.iter().rfind(|run| run.trigger == Trigger::PullRequest);
        let own = own.unwrap_or_else(|| panic!("#{} is not tested at {head}", pull.number));
        assert_eq!(own.base_ref, pull.base_branch, "#{} at {head}: {own:?}", pull.number);
        if self.shown(head).as_deref() != Some("success") {
            return;
        }
        let others = self.pulls.values().filter(|number| **number != pull.number);
        let others = others.map(|number| self.world.sim.pull_request(REPO, *number));
        let shared =
            others.filter(|other| other.state == "open" && other.head_sha == head).count() > 0;
        let is_strange = self.strange.contains(&pull.number) && !self.approved.contains(head);
        assert!(!is_strange || shared, "#{} is green, and nobody approved it", pull.number);
        if is_strange {
            return;
        }
        // One that came to no plan, a later command for all of it stands in for.
        let is_planned = |run: &&&Run| run.problem.is_none() && run.selection.is_some();
        let mut later = of_pull.iter().filter(|run| run.id > own.id && run.scope.is_whole());
        let own = Some(own).filter(is_planned).or_else(|| later.rfind(is_planned));
        let own = own.unwrap_or_else(|| panic!("#{} is green without a plan", pull.number));
        for (job, step) in
            own.jobs.iter().flat_map(|job| job.steps.iter().map(move |step| (job, step)))
        {
            let states = of_pull
                .iter()
                .flat_map(|run| &run.jobs)
                .filter(|other| other.connector == job.connector);
            let mut states = states.flat_map(|job| &job.steps).filter(|other| other.id == step.id);
            let last = states.rfind(|record| !is_left_out(&record.state));
            let outcome = last.and_then(|record| record.state.outcome());
            assert_eq!(
                outcome,
                Some(Outcome::Succeeded),
                "{} / {} of {head}",
                job.connector,
                step.id
            );
        }
    }

    fn every_command_is_answered(&self) {
        for (number, comment) in &self.asked {
            let comments = self.world.sim.comments(REPO, *number);
            let found = comments.iter().find(|one| one.id == *comment).unwrap();
            let reactions: Vec<&str> =
                found.reactions.iter().map(|(_, what)| what.as_str()).collect();
            let last = reactions.last().copied().unwrap_or_default();
            let is_answered = matches!(last, "rocket" | "confused");
            assert!(is_answered, "#{number}: {:?} has {reactions:?}", found.body);
            let replies = comments
                .iter()
                .filter(|one| one.body.contains(&format!("answers {comment} ")))
                .count();
            assert!(replies <= 1, "{:?} has {replies} answers", found.body);
        }
    }
}

/// Its run was not asked for it.
fn is_left_out(state: &StepState) -> bool {
    match state {
        StepState::Skipped { reason, .. } => {
            matches!(reason, SkipReason::NotAsked | SkipReason::Unapproved)
        }
        StepState::Waiting | StepState::Running { .. } | StepState::Finished { .. } => false,
    }
}
