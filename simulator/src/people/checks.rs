//! The buttons of the Checks tab, and what other Apps do.

#![expect(clippy::unused_async, reason = "everything that acts is async, as what pushes must be")]

use super::no_repository;
use crate::api::CheckRun;
use crate::error::Error;
use crate::events::Deed;
use crate::faults::RerunButton;
use crate::shapes::checks::run_view;
use crate::simulator::Simulator;
use crate::world::{OTHER_APP_ID, Run, World};

impl Simulator {
    /// "Re-run" next to one check: by the switch, `check_run.rerequested`,
    /// `check_suite.rerequested`, or both. The run itself does not change; its suite is queued.
    pub async fn rerequest_check_run(
        &self,
        repository: &str,
        run: u64,
        user: &str,
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let (id, suite, app) = place(&mut world, repository, run, user)?;
        if app != world.app.id {
            return Err(Error::Refused(format!("check run {run} belongs to another App")));
        }
        requeue(&mut world, id, suite);
        let button = self.inner.faults.rerun_button_mode();
        if button != RerunButton::Suite {
            self.inner.emit_run(&mut world, Deed::new("rerequested", id, user), run, None);
        }
        if button != RerunButton::Run {
            self.inner.emit_suite(&mut world, Deed::new("rerequested", id, user), suite);
        }
        Ok(())
    }

    /// "Re-run all checks": `check_suite.rerequested`.
    pub async fn rerequest_check_suite(
        &self,
        repository: &str,
        suite: u64,
        user: &str,
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        world.meet(user);
        let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
        if !found.suites.contains_key(&suite) {
            return Err(Error::NotFound(format!("check suite {suite} in {repository}")));
        }
        let id = found.id;
        requeue(&mut world, id, suite);
        self.inner.emit_suite(&mut world, Deed::new("rerequested", id, user), suite);
        Ok(())
    }

    /// Presses a button of a completed check run: `check_run.requested_action`.
    pub async fn click_action(
        &self,
        repository: &str,
        run: u64,
        identifier: &str,
        user: &str,
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let (id, _, _) = place(&mut world, repository, run, user)?;
        let row = world.repositories.get(&id).and_then(|found| found.runs.get(&run));
        let row = row.ok_or_else(|| no_run(repository, run))?;
        if row.status != "completed" {
            return Err(Error::Refused(format!("check run {run} shows no buttons before its end")));
        }
        if !row.actions.iter().any(|action| action.identifier == identifier) {
            return Err(Error::NotFound(format!("button `{identifier}` on check run {run}")));
        }
        self.inner.emit_run(
            &mut world,
            Deed::new("requested_action", id, user),
            run,
            Some(identifier),
        );
        Ok(())
    }

    /// A completed check run of another App (GitHub Actions), to tell ours from.
    pub async fn other_apps_check_run(
        &self,
        repository: &str,
        sha: &str,
        name: &str,
        conclusion: &str,
    ) -> Result<CheckRun, Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        let home = world.repository(repository).ok_or_else(|| no_repository(repository))?.id;
        let (suite_id, _) =
            world.suite(home, OTHER_APP_ID, sha, now).ok_or_else(|| no_repository(repository))?;
        let id = world.id();
        let run = Run {
            id,
            app_id: OTHER_APP_ID,
            suite_id,
            name: name.to_owned(),
            head_sha: sha.to_owned(),
            status: "completed".to_owned(),
            conclusion: Some(conclusion.to_owned()),
            created_at: now,
            started_at: Some(now),
            completed_at: Some(now),
            details_url: format!("{}/apps/github-actions", world.url),
            external_id: String::new(),
            title: None,
            summary: None,
            text: None,
            annotations: Vec::new(),
            actions: Vec::new(),
        };
        let view = run_view(&run);
        let order = &self.inner.choices().suite_order;
        let mut suite_done = false;
        if let Some(found) = world.repositories.get_mut(&home) {
            found.runs.insert(id, run);
            found.forget_old_runs(suite_id, name);
            suite_done = found.settle_suite(suite_id, order, now);
        }
        let deed = |action| Deed::new(action, home, "github-actions[bot]");
        for action in ["created", "completed"] {
            self.inner.emit_run(&mut world, deed(action), id, None);
        }
        if suite_done {
            self.inner.emit_suite(&mut world, deed("completed"), suite_id);
        }
        Ok(view)
    }

    /// A check run is gone without a word, as after an outage of GitHub's or a restored backup.
    pub fn lose_check_run(&self, repository: &str, run: u64) -> Result<(), Error> {
        let mut world = self.inner.world();
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        found.runs.remove(&run).map(drop).ok_or_else(|| no_run(repository, run))
    }

    /// Switches `check_suite.requested` on pushes off or on, as the repository's settings do.
    pub fn auto_trigger_checks(&self, repository: &str, on: bool) {
        if let Some(found) = self.inner.world().repository_mut(repository) {
            found.auto_trigger_checks = on;
        }
    }
}

/// Where a run is: repository, suite, App.
fn place(
    world: &mut World,
    repository: &str,
    run: u64,
    user: &str,
) -> Result<(u64, u64, u64), Error> {
    world.meet(user);
    let found = world.repository(repository).ok_or_else(|| no_repository(repository))?;
    let row = found.runs.get(&run).ok_or_else(|| no_run(repository, run))?;
    Ok((found.id, row.suite_id, row.app_id))
}

fn no_run(repository: &str, run: u64) -> Error {
    Error::NotFound(format!("check run {run} in {repository}"))
}

/// A re-request queues the suite and clears its conclusion.
pub(crate) fn requeue(world: &mut World, repository: u64, suite: u64) {
    let repository = world.repositories.get_mut(&repository);
    if let Some(suite) = repository.and_then(|found| found.suites.get_mut(&suite)) {
        suite.status = "queued";
        suite.conclusion = None;
    }
}
