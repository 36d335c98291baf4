//! GitHub's "Re-run" and "Re-run all", and our own buttons.

use super::effects::Effects;
use super::meant::{Meant, approves, label};
use super::{Asker, Commands, Failure};
use crate::domain::audit::{AuditRecord, Decision, Route};
use crate::domain::command::Tested;
use crate::domain::event::{Actor, Button, CheckFacts, PullFacts};
use crate::domain::names::Sha;
use crate::domain::run::Run;
use crate::domain::state::RunState;
use crate::domain::trigger::Trigger;
use crate::render::checks::{HEAD_CHECK, connector_of_check, step_of_check};
use crate::render::replies;
use crate::store::{Act, Handled};

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
        let act = self.pressed(sender, &check.head_sha, (route, format!("{cause}-{guid}")));
        let act = Act { asked: format!("{} on {}", label(button), check.name), ..act };
        if let Some(known) = self.store.audited(self.repository.id, &act.cause).await? {
            return Ok(handled(&known));
        }
        let approves = approves(button);
        // What is approved is a pull request's, whoever has the commit beside it; and so is what was made
        // for one.
        let of_pull = approves || self.is_of_pull(check).await?;
        let group = if of_pull { None } else { self.group_of_head(&check.head_sha).await? };
        if let Some(group) = group.filter(|group| group.is_meant(&check.name)) {
            let mut effects = Effects::nothing();
            match button {
                Button::Action(action) if action == "cancel" => {
                    self.cancel(&mut effects, check, &group.open()).await?;
                }
                Button::Action(_) | Button::Rerun => {
                    wish_of(&mut effects, (check, button), &group.runs);
                }
            }
            return self.on_group(act, sender, &group, (&effects, cause)).await;
        }
        // Who approves is asked about anew, and by itself.
        let may_not = if approves { None } else { self.may_not(sender).await? };
        let meant = self.meant(check, button).await?;
        let (pull, runs) = match self.pull_of_head(&check.head_sha, may_not, &meant).await? {
            Ok(found) => found,
            Err((pull, why)) => {
                let act = Act { pull, ..act };
                return Ok(handled(&self.refused(&act, why).await?));
            }
        };
        let cause = unconcluded_cause(&runs, cause);
        let mut effects = Effects::nothing();
        if approves {
            let person = Asker { actor: sender, route, written: None, comment: None };
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
        if matches!(button, Button::Action(action) if action == "cancel") {
            let open = self.store.open_runs(self.repository.id, pull.number).await?;
            return self.cancel(effects, check, &open).await;
        }
        wish_of(effects, (check, button), runs);
        Ok(())
    }

    /// Not long after its run has ended, when a delivery comes late and something else runs.
    async fn cancel(
        &self,
        effects: &mut Effects,
        check: &CheckFacts,
        open: &[Run],
    ) -> Result<(), Failure> {
        let of = self.occasion(check).await?;
        if of.is_some_and(|of| open.iter().all(|run| run.id != of)) {
            effects.not.push(replies::ended_already());
        } else {
            effects.cancel(open, &[], &[]);
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
        if let Some(group) = self.group_of_head(head).await? {
            let mut effects = Effects::nothing();
            rerun_all_checks(&mut effects, &group.runs);
            return self.on_group(act, sender, &group, (&effects, cause)).await;
        }
        let may_not = self.may_not(sender).await?;
        let (pull, runs) = match self.pull_of_head(head, may_not, &Meant::Counting).await? {
            Ok(found) => found,
            Err((pull, why)) => {
                let act = Act { pull, ..act };
                return Ok(handled(&self.refused(&act, why).await?));
            }
        };
        let mut effects = Effects::nothing();
        rerun_all_checks(&mut effects, &runs);
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
}

/// What a button asks for that neither approves nor cancels.
fn wish_of(effects: &mut Effects, (check, button): (&CheckFacts, &Button), runs: &[Run]) {
    match (button, step_of_check(&check.name)) {
        (Button::Rerun, Some((connector, step, _))) => {
            effects.rerun_step(runs, connector, step);
        }
        (Button::Rerun, None) if check.name == HEAD_CHECK => effects.rerun_all(runs),
        (Button::Rerun, None) => {
            effects.rerun_connector(runs, connector_of_check(&check.name));
        }
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
}

/// "Re-run all checks", where nothing runs.
fn rerun_all_checks(effects: &mut Effects, runs: &[Run]) {
    if runs.iter().any(|run| run.state != RunState::Concluded) {
        effects.not.push("What runs now is left alone.".to_owned());
    } else {
        effects.test(&Tested::Affected);
    }
}

/// The cause of a run that a button asks for. The same check run can be pressed on more than once, by
/// GitHub in two events of one press, and where it was not replaced by another one: the run of it is
/// made once, until that is over.
pub(super) fn unconcluded_cause(runs: &[Run], cause: String) -> String {
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

pub(in super::super) fn handled(record: &AuditRecord) -> Handled {
    let said = record.ruling.because.replace('\n', " ");
    match record.ruling.decision {
        Decision::Accepted | Decision::Partly => Handled::Done(said),
        Decision::Refused => Handled::Ignored(said),
    }
}
