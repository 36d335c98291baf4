//! GitHub's "Re-run" and "Re-run all", and our own buttons.

use std::collections::BTreeSet;

use super::effects::Effects;
use super::{Asker, Commands, Failure};
use crate::domain::audit::{AuditRecord, Decision, Route};
use crate::domain::command::Tested;
use crate::domain::event::{Actor, Button, CheckFacts, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::run::Run;
use crate::domain::state::RunState;
use crate::domain::trigger::Trigger;
use crate::render::checks::{HEAD_CHECK, connector_of_check, is_for, step_of_check};
use crate::render::replies;
use crate::store::{Act, Handled};

/// The button that approves a commit.
const APPROVE: &str = "approve";

impl Commands<'_> {
    /// "Re-run" on one of our check runs, or one of our buttons.
    pub(in super::super) async fn button(
        &self,
        check: &CheckFacts,
        button: &Button,
        sender: &Actor,
        guid: &str,
    ) -> Result<Handled, Failure> {
        if check.app_id != self.github.app_id().await? {
            return Ok(Handled::Ignored("another App's check run".to_owned()));
        }
        if self.is_ourselves(sender).await? {
            return Ok(Handled::Ignored("our own request".to_owned()));
        }
        let (route, what) = match button {
            Button::Rerun => (Route::Rerun, "rerun"),
            Button::Action(action) => (Route::Button, action.as_str()),
        };
        let cause = format!("check-run-{}-{what}", check.id);
        let label = if what == "rerun" { "Re-run" } else { replies::button(what) };
        let act = self.pressed(sender, &check.head_sha, (route, format!("{cause}-{guid}")));
        let act = Act { asked: format!("{label} on {}", check.name), ..act };
        if let Some(known) = self.store.audited(self.repository.id, &act.cause).await? {
            return Ok(handled(&known));
        }
        let parts = step_of_check(&check.name);
        let whose = parts.and_then(|(_, _, whose)| whose);
        let approves = matches!(button, Button::Action(action) if action == APPROVE);
        // Who approves is asked about anew, and by itself.
        let may_not = if approves { None } else { self.may_not(sender).await? };
        let (pull, runs) = match self.pull_of_head(&check.head_sha, may_not, whose).await? {
            Ok(found) => found,
            Err((pull, why)) => {
                let act = Act { pull, ..act };
                return Ok(handled(&self.refused(&act, why).await?));
            }
        };
        let cause = unconcluded_cause(&runs, cause);
        let mut effects = Effects::default();
        if approves {
            let person = Asker { actor: sender, route, written: None };
            let judged = self.judge(&pull).await?;
            let what = (&judged, Some(check.head_sha.as_str()));
            self.approve(&mut effects, (&pull, &runs), what, &person).await?;
        } else {
            self.wish(&mut effects, (check, button), (&pull, &runs)).await?;
        }
        self.press(act, &pull, effects, cause).await
    }

    /// What a button other than the one that approves asks for.
    async fn wish(
        &self,
        effects: &mut Effects,
        (check, button): (&CheckFacts, &Button),
        (pull, runs): (&PullFacts, &[Run]),
    ) -> Result<(), Failure> {
        let cancels = matches!(button, Button::Action(action) if action == "cancel");
        match (button, step_of_check(&check.name)) {
            (Button::Rerun, Some((connector, step, _))) => {
                effects.rerun_step(runs, connector, step);
            }
            (Button::Rerun, None) if check.name == HEAD_CHECK => effects.rerun_all(runs),
            (Button::Rerun, None) => {
                effects.rerun_connector(runs, connector_of_check(&check.name));
            }
            (Button::Action(_), _) if cancels => self.cancel(effects, check, pull).await?,
            (Button::Action(action), _) => match action.as_str() {
                "retest" => effects.retest(runs, &[]),
                "test" => effects.test(&Tested::Affected),
                "no-cache" => {
                    effects.afresh = true;
                    effects.test(&Tested::Affected);
                }
                _ => effects.not.push(format!("No button is called `{action}`.")),
            },
        }
        Ok(())
    }

    /// Not long after its run has ended, when a delivery comes late and something else runs.
    async fn cancel(
        &self,
        effects: &mut Effects,
        check: &CheckFacts,
        pull: &PullFacts,
    ) -> Result<(), Failure> {
        let known = self.store.check_by_github_id(self.repository.id, check.id).await?;
        let of: Option<RunId> = known.and_then(|(record, _)| record.occasion.parse().ok());
        let open = self.store.open_runs(self.repository.id, pull.number).await?;
        if of.is_some_and(|of| open.iter().all(|run| run.id != of)) {
            effects.not.push(replies::ended_already());
        } else {
            effects.cancel(&open, &[], &[]);
        }
        Ok(())
    }

    /// "Re-run all checks": everything that is affected, unless something still runs.
    pub(in super::super) async fn suite(
        &self,
        suite: u64,
        head: &Sha,
        sender: &Actor,
        (guid, occasion): (&str, &str),
    ) -> Result<Handled, Failure> {
        if self.is_ourselves(sender).await? {
            return Ok(Handled::Ignored("our own request".to_owned()));
        }
        // Each press is written down; the run of it is made once, whoever tells of it.
        let cause = format!("check-suite-{suite}-{occasion}");
        let written = format!("check-suite-{suite}-{guid}");
        let act = self.pressed(sender, head, (Route::RerunAll, written));
        let act = Act { asked: "Re-run all checks".to_owned(), ..act };
        if let Some(known) = self.store.audited(self.repository.id, &act.cause).await? {
            return Ok(handled(&known));
        }
        let may_not = self.may_not(sender).await?;
        let (pull, runs) = match self.pull_of_head(head, may_not, None).await? {
            Ok(found) => found,
            Err((pull, why)) => {
                let act = Act { pull, ..act };
                return Ok(handled(&self.refused(&act, why).await?));
            }
        };
        let mut effects = Effects::default();
        if runs.iter().any(|run| run.state != RunState::Concluded) {
            effects.not.push("What runs now is left alone.".to_owned());
        } else {
            effects.test(&Tested::Affected);
        }
        self.press(act, &pull, effects, cause).await
    }

    fn pressed(&self, sender: &Actor, head: &Sha, (route, cause): (Route, String)) -> Act {
        Act {
            repository: self.repository.clone(),
            pull: None,
            head: Some(head.clone()),
            actor: sender.login.clone(),
            route,
            cause,
            asked: String::new(),
        }
    }

    /// Nothing of untrusted code is started; what runs may always be ended.
    async fn press(
        &self,
        act: Act,
        pull: &PullFacts,
        mut effects: Effects,
        cause: String,
    ) -> Result<Handled, Failure> {
        let act = Act { pull: Some(pull.number), ..act };
        if effects.scope.is_some() {
            let judged = self.judge(pull).await?;
            if let Some(doubt) = judged.doubt(pull) {
                let why = replies::code_not_trusted(&doubt, &pull.head_sha);
                return Ok(handled(&self.refused(&act, why).await?));
            }
            effects.trust = judged.trust();
        }
        let by = (Trigger::Button, cause);
        Ok(handled(&self.carry_out(&act, pull, &effects, by).await?))
    }

    /// The open pull request that has this commit as its head now, with its runs of that, if
    /// nobody said why it `may_not` be commanded; else why nothing is done. GitHub names no pull
    /// request where the branch is a fork's, so that the commit alone says which one is meant; and the
    /// check run's name, if it says for `whose` it is.
    async fn pull_of_head(
        &self,
        head: &Sha,
        may_not: Option<String>,
        whose: Option<&str>,
    ) -> Result<Found, Failure> {
        let mut runs = self.store.runs_of_head(self.repository.id, head).await?;
        let numbers: BTreeSet<u64> = runs.iter().filter_map(|run| run.pull).collect();
        let near = numbers.last().copied();
        if let Some(why) = may_not {
            return Ok(Err((near, why)));
        }
        let mut found = Vec::new();
        for number in numbers {
            let pull = self.github.pull(self.repository, number).await?;
            found.extend(pull.filter(|pull| pull.open && pull.head_sha == *head));
        }
        let is_meant =
            |pull: &PullFacts| whose.is_none_or(|whose| is_for(whose, &pull.base_ref, pull.number));
        if found.iter().any(is_meant) {
            found.retain(is_meant);
        }
        Ok(match (found.pop(), found.is_empty()) {
            (None, _) => Err((near, replies::no_such_head())),
            (Some(pull), true) => {
                runs.retain(|run| run.pull == Some(pull.number));
                Ok((pull, runs))
            }
            (Some(last), false) => {
                let numbers = found.iter().map(|pull| pull.number).chain([last.number]);
                Err((near, replies::ambiguous(&numbers.collect::<Vec<_>>())))
            }
        })
    }
}

/// The cause of a run that a button asks for. The same check run can be pressed on more than once, by
/// GitHub in two events of one press, and where it was not replaced by another one: the run of it is
/// made once, until that is over.
fn unconcluded_cause(runs: &[Run], cause: String) -> String {
    let nth = |run: &Run| match run.cause.strip_prefix(&cause)? {
        "" => Some(1),
        more => more.strip_prefix('-')?.parse::<u32>().ok(),
    };
    let asked = runs.iter().filter(|run| run.trigger == Trigger::Button);
    let last = asked.filter_map(|run| Some((nth(run)?, run))).max_by_key(|(nth, _)| *nth);
    match last {
        None => cause,
        Some((_, run)) if run.state != RunState::Concluded => run.cause.clone(),
        Some((nth, _)) => format!("{cause}-{}", nth + 1),
    }
}

/// A pull request with its runs; or the one on whose page it is told, and why it is not done.
type Found = Result<(PullFacts, Vec<Run>), (Option<u64>, String)>;

pub(in super::super) fn handled(record: &AuditRecord) -> Handled {
    let said = record.ruling.because.replace('\n', " ");
    match record.ruling.decision {
        Decision::Accepted | Decision::Partly => Handled::Done(said),
        Decision::Refused => Handled::Ignored(said),
    }
}
