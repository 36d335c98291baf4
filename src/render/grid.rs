//! Connectors × steps as a table: what GitHub, the pages and the reports show alike.

use std::time::Duration;

use crate::domain::names::StepId;
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::verdict::Standing;

use super::look::{self, Look};

/// One step of one connector.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    pub run: &'a Run,
    pub job: &'a Job,
    pub step: &'a StepRecord,
    pub look: Look,
    pub took: Option<Duration>,
}

/// One connector.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub job: &'a Job,
    pub run: &'a Run,
    pub cells: Vec<Cell<'a>>,
}

/// All connectors, in the order given; the columns in the order in which steps appear first.
#[derive(Debug, Clone, Default)]
pub struct Grid<'a> {
    pub columns: Vec<&'a StepId>,
    pub rows: Vec<Row<'a>>,
}

impl<'a> Grid<'a> {
    /// Every step of one run.
    pub fn of_run(run: &'a Run) -> Self {
        Self::of(run.jobs.iter().flat_map(|job| job.steps.iter().map(move |step| (run, job, step))))
    }

    /// What counts for each step of a head commit, over all of its runs.
    pub fn of_standings(standings: &[Standing<'a>]) -> Self {
        Self::of(standings.iter().map(|standing| (standing.run, standing.job, standing.step)))
    }

    fn of(cells: impl Iterator<Item = (&'a Run, &'a Job, &'a StepRecord)>) -> Self {
        let mut grid = Self::default();
        for (run, job, step) in cells {
            if !grid.columns.contains(&&step.id) {
                grid.columns.push(&step.id);
            }
            let same = |row: &Row<'_>| row.job.connector == job.connector;
            if !grid.rows.last().is_some_and(same) {
                grid.rows.push(Row { job, run, cells: Vec::new() });
            }
            let cell =
                Cell { run, job, step, look: Look::of_step(job, step), took: look::took(step) };
            if let Some(row) = grid.rows.last_mut() {
                // The newest run that holds a step of it stands for the connector.
                if run.id > row.run.id {
                    (row.run, row.job) = (run, job);
                }
                row.cells.push(cell);
            }
        }
        grid
    }
}

impl<'a> Row<'a> {
    pub fn cell(&self, step: &StepId) -> Option<&Cell<'a>> {
        self.cells.iter().find(|cell| cell.step.id == *step)
    }

    /// The worst of its steps; running while any is unsettled.
    pub fn look(&self) -> Look {
        let has = |look: Look| self.cells.iter().any(|cell| cell.look == look);
        let worst = [Look::Errored, Look::Failed, Look::TimedOut, Look::ActionRequired];
        if has(Look::Running) {
            return Look::Running;
        }
        if has(Look::Waiting) {
            return if self.cells.iter().all(|cell| cell.look == Look::Waiting) {
                Look::Waiting
            } else {
                Look::Running
            };
        }
        if let Some(look) = worst.into_iter().find(|look| has(*look)) {
            return look;
        }
        let settled = [Look::Cancelled, Look::Passed, Look::Tolerated];
        settled.into_iter().find(|look| has(*look)).unwrap_or(Look::Skipped)
    }

    /// From the first start to the last end of its steps.
    pub fn took(&self) -> Option<Duration> {
        let start = self.cells.iter().filter_map(|cell| look::started_at(cell.step)).min()?;
        let end = self
            .cells
            .iter()
            .filter(|cell| cell.took.is_some())
            .filter_map(|cell| look::settled_at(cell.step))
            .max()?;
        Some(end.since(start))
    }
}
