//! What commands and buttons come to: pure, by the runs that there are.

use std::collections::BTreeSet;

use super::approvals::Approval;
use crate::domain::audit::Ruling;
use crate::domain::command::{Asked, Command, Tested};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::run::Run;
use crate::domain::state::RunState;
use crate::domain::trigger::{Scope, Target};
use crate::domain::trust::Trust;
use crate::domain::verdict;
use crate::render::replies;
use crate::store::{CancelOrder, Created, Done};

/// What is to be done, once a comment or button is understood.
#[derive(Debug)]
pub(in super::super) struct Effects {
    /// What is to become of the head's approval; with it goes a run of its own.
    pub(super) approval: Option<Approval>,
    /// On whose word the run's code runs; nobody's until that is judged.
    pub(super) trust: Trust,
    pub(super) scope: Option<Scope>,
    /// No earlier result is to be used.
    pub(super) afresh: bool,
    /// Runs to end, each with the connectors of it (`None`: all).
    pub(super) cancels: Vec<(RunId, Option<Vec<ConnectorName>>)>,
    /// A sentence each: what is not done, and why.
    pub(super) not: Vec<String>,
    pub(super) help: bool,
}

impl Effects {
    pub(super) fn nothing() -> Self {
        Self {
            approval: None,
            trust: Trust::Untrusted,
            scope: None,
            afresh: false,
            cancels: Vec::new(),
            not: Vec::new(),
            help: false,
        }
    }

    pub(super) fn new(asked: &Asked) -> Self {
        Self { afresh: asked.no_cache, not: asked.problems.clone(), ..Self::nothing() }
    }

    fn add(&mut self, scope: Scope) {
        self.scope = Some(Scope::join(self.scope.take(), scope));
    }

    /// What else a comment asks for that approves a commit, or takes that back.
    pub(super) fn with_approval(&mut self, command: &Command) {
        match (&self.approval, command) {
            // It runs all of that.
            (Some(Approval::Give { .. }), Command::Test(Tested::Affected) | Command::Retest(_)) => {
            }
            (Some(Approval::Give { .. }), _) => self.not.push(replies::after_the_approval()),
            (Some(Approval::Withdraw { .. }) | None, _) => {
                self.not.push(replies::not_without_approval());
            }
        }
    }

    /// `/test`
    pub(super) fn test(&mut self, tested: &Tested) {
        self.add(match tested {
            Tested::Affected => Scope::Affected,
            Tested::All => Scope::All,
            Tested::Named(targets) => Scope::Only { targets: targets.clone() },
        });
    }

    /// `/retest`: what did not succeed and what never ran; what runs now is left alone.
    pub(super) fn retest(&mut self, runs: &[Run], named: &[Target]) {
        let concluded = runs.iter().all(|run| run.state == RunState::Concluded);
        if concluded && runs.iter().all(|run| run.selection.is_none()) {
            return self.add(Scope::Affected);
        }
        let unsuccessful = if named.is_empty() {
            verdict::to_retest(runs)
        } else {
            verdict::to_retest_named(runs)
        };
        let mut targets = Vec::new();
        for (connector, steps) in &unsuccessful {
            let wanted = |step: &&StepId| {
                named.is_empty() || named.iter().any(|target| means(runs, target, connector, step))
            };
            targets.extend(steps.iter().filter(wanted).map(|step| Target {
                connector: connector.to_string(),
                step: Some(step.to_string()),
            }));
        }
        for target in named {
            let hits = |(connector, steps): &(ConnectorName, Vec<StepId>)| {
                steps.iter().any(|step| means(runs, target, connector, step))
            };
            if !unsuccessful.iter().any(hits) {
                self.not.push(replies::nothing_to_retest(target, runs));
            }
        }
        if !targets.is_empty() {
            self.add(Scope::Again { targets });
        } else if named.is_empty() {
            let planning = |run: &Run| run.state != RunState::Concluded && run.selection.is_none();
            self.not.push(replies::nothing_to_run_again(runs.iter().any(planning)));
        }
    }

    /// `--from`
    pub(super) fn begin_at(&mut self, step: &str) {
        self.scope =
            self.scope.take().map(|of| Scope::From { step: step.to_owned(), of: Box::new(of) });
    }

    /// `/cancel`: `open` are the runs that have not ended, `known` those of the head.
    pub(super) fn cancel(&mut self, open: &[Run], known: &[Run], named: &[Target]) {
        if open.is_empty() {
            self.not.push(replies::nothing_to_cancel());
        } else if named.is_empty() {
            self.cancels.extend(open.iter().map(|run| (run.id, None)));
        } else {
            for target in named {
                self.cancel_one(open, known, target);
            }
        }
    }

    /// `/cancel` in a comment, by which of `all` that have not ended `open` can be meant: what was made after
    /// it was written goes on, which is said where nothing ends.
    pub(super) fn cancel_earlier(
        &mut self,
        (open, all): (&[Run], usize),
        known: &[Run],
        named: &[Target],
    ) {
        let late = open.len() < all;
        if !(late && open.is_empty()) {
            self.cancel(open, known, named);
        }
        if late && self.cancels.is_empty() {
            self.not.push(replies::made_later());
        }
    }

    fn cancel_one(&mut self, open: &[Run], known: &[Run], target: &Target) {
        if target.step.is_some() {
            return self.not.push(replies::no_step_alone(target));
        }
        let mut hit = false;
        for run in open {
            let job = run.jobs.iter().find(|job| is_named(target, &job.connector));
            let connector = match job {
                Some(job) if job.state != RunState::Concluded => Some(job.connector.clone()),
                // Not planned: what it will have is not known.
                None if run.selection.is_none() => target.connector.parse().ok(),
                Some(_) | None => None,
            };
            if let Some(connector) = connector {
                hit = true;
                self.end(run.id, connector);
            }
        }
        if !hit {
            self.not.push(replies::not_to_cancel(target, open.iter().chain(known)));
        }
    }

    fn end(&mut self, run: RunId, connector: ConnectorName) {
        match self.cancels.iter_mut().find(|(of, _)| *of == run) {
            Some((_, Some(connectors))) if !connectors.contains(&connector) => {
                connectors.push(connector);
            }
            Some(_) => {}
            None => self.cancels.push((run, Some(vec![connector]))),
        }
    }

    /// "Re-run" on a step: it, and what was skipped because of it.
    pub(super) fn rerun_step(&mut self, runs: &[Run], connector: &str, step: &str) {
        // Whoever presses it on a step wants to see that step run.
        self.afresh = true;
        let standings = verdict::head_verdict(runs).standings;
        let of_connector: Vec<_> =
            standings.iter().filter(|s| s.job.connector.as_str() == connector).collect();
        let Some(pressed) = of_connector.iter().find(|s| s.step.id.as_str() == step) else {
            return self.not.push(format!("`{connector} / {step}` is not known on this commit."));
        };
        if !pressed.step.state.is_settled() {
            return self.not.push(format!("`{connector} / {step}` runs now."));
        }
        let mut again: BTreeSet<&StepId> = BTreeSet::from([&pressed.step.id]);
        for spec in pressed.job.plan.steps() {
            let skipped = of_connector
                .iter()
                .any(|s| s.step.id == spec.id && s.step.state.outcome().is_none());
            if skipped && spec.needs.iter().any(|needed| again.contains(needed)) {
                again.insert(&spec.id);
            }
        }
        let target =
            |id: &StepId| Target { connector: connector.to_owned(), step: Some(id.to_string()) };
        self.add(Scope::Again { targets: again.into_iter().map(target).collect() });
    }

    /// "Re-run" on a connector: what of it did not succeed; all of it, if all is green.
    pub(super) fn rerun_connector(&mut self, runs: &[Run], name: &str) {
        let standings = verdict::head_verdict(runs).standings;
        let mut steps = standings.iter().filter(|s| s.job.connector.as_str() == name).peekable();
        if steps.peek().is_none() {
            return self.not.push(format!("`{name}` is not known on this commit."));
        }
        if steps.any(|standing| !standing.step.state.is_settled()) {
            return self.not.push(format!("`{name}` runs now."));
        }
        let target = Target { connector: name.to_owned(), step: None };
        self.retest(runs, std::slice::from_ref(&target));
        if self.scope.is_none() {
            self.not.clear();
            self.afresh = true;
            self.add(Scope::Again { targets: vec![target] });
        }
    }

    /// "Re-run" on `checkvalve`: what did not succeed; everything, if all is green.
    pub(super) fn rerun_all(&mut self, runs: &[Run]) {
        self.retest(runs, &[]);
        if self.scope.is_none() && runs.iter().all(|run| run.state == RunState::Concluded) {
            self.not.clear();
            self.add(Scope::Affected);
        }
    }

    /// The runs that are to end, by whose word.
    pub(super) fn cancel_orders(&self, actor: &str) -> Vec<CancelOrder> {
        let why = format!("cancelled by {actor}");
        let order = |(run, connectors): &(RunId, Option<Vec<ConnectorName>>)| CancelOrder {
            run: *run,
            connectors: connectors.clone(),
            why: why.clone(),
        };
        self.cancels.iter().map(order).collect()
    }

    /// What is said about it, by what was really done.
    pub(super) fn ruling(&self, done: &Done) -> Ruling {
        let (mut will, mut not) = (Vec::new(), self.not.clone());
        if self.help {
            will.push("The commands are shown.".to_owned());
        }
        self.say_cancelled(done, &mut will, &mut not);
        self.say_approved(done, &mut will, &mut not);
        match (done.made, &self.scope) {
            (Some(Created::Fresh(_)), Some(scope)) => will.extend(replies::will_run(scope)),
            (Some(Created::Exists(run)), _) => will.push(format!("`{run}` was made for this.")),
            // Whatever event brings it makes its run.
            (Some(Created::Outdated), _) if self.approval.is_some() => {}
            (Some(Created::Outdated), _) => not.push(replies::another_head()),
            (Some(Created::Fresh(_)) | None, _) => {}
        }
        Ruling::of(&will, &not)
    }

    fn say_approved(&self, done: &Done, will: &mut Vec<String>, not: &mut Vec<String>) {
        match (&self.approval, done.approved) {
            (Some(Approval::Give { .. }), Some(true)) => will.push(replies::approved()),
            (Some(Approval::Give { .. }), _) => not.push(replies::approved_before()),
            (Some(Approval::Withdraw { .. }), Some(true)) => will.push(replies::taken_back()),
            (Some(Approval::Withdraw { .. }), _) => not.push(replies::nothing_to_take_back()),
            (None, _) => {}
        }
    }

    fn say_cancelled(&self, done: &Done, will: &mut Vec<String>, not: &mut Vec<String>) {
        if self.cancels.is_empty() {
            return;
        }
        let stopped = || done.stopped.iter().map(|(_, stopped)| stopped);
        let ended: BTreeSet<&ConnectorName> = stopped().flat_map(|stopped| &stopped.jobs).collect();
        let noted: BTreeSet<&ConnectorName> =
            stopped().flat_map(|stopped| &stopped.noted).collect();
        if !ended.is_empty() {
            will.push(replies::ended(&ended));
        }
        if stopped().any(|stopped| stopped.unplanned) {
            will.push("What was being planned is not run.".to_owned());
        }
        if !noted.is_empty() {
            will.push(replies::noted(&noted));
        }
        let named = self.cancels.iter().filter_map(|(_, connectors)| connectors.as_ref()).flatten();
        let named: BTreeSet<&ConnectorName> = named.collect();
        for late in named.iter().filter(|name| !ended.contains(*name) && !noted.contains(*name)) {
            not.push(replies::ended_before(late));
        }
        if named.is_empty() && stopped().all(crate::store::Stopped::is_nothing) {
            not.push(replies::ended_already());
        }
    }
}

fn is_named(target: &Target, connector: &ConnectorName) -> bool {
    target.connector.eq_ignore_ascii_case(connector.as_str())
}

/// Does somebody who writes `target` mean this step?
fn means(runs: &[Run], target: &Target, connector: &ConnectorName, step: &StepId) -> bool {
    let called = |name: &str| {
        let jobs = runs.iter().flat_map(|run| &run.jobs).filter(|job| job.connector == *connector);
        jobs.filter_map(|job| job.plan.step(step)).any(|spec| spec.is_called(name))
    };
    is_named(target, connector) && target.step.as_deref().is_none_or(called)
}
