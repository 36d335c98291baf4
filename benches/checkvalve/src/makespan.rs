//! How long whole pipelines take: over their critical path, and beside the same containers started
//! by hand as soon as what they need is done.

use crate::by_hand::{self, How};
use crate::pipelines::{REFERENCE, Repository, Run, SLOTS, Step, critical_path};
use crate::stats::{figure, median, milliseconds};
use crate::table::{self, Table};

/// Jobs at once of the crowd, and the steps at once for all of them.
const CROWD: usize = 50;
const CROWD_SLOTS: usize = 16;
/// The longest way through [`REFERENCE`], in milliseconds.
const PATH: f64 = 2_500.0;
const BOUND: &str = "bound: the longer of the path and all work / slots";
const FLOOR: &str = "floor: the same containers, commits and commands by hand";
const PRODUCT: &str = "checkvalve test --executor docker";

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let plain = Repository::reference(1)?;
    compare("Reference pipeline: 8 steps that sleep, a container a step", &plain, rounds)?;
    let inheriting = Repository::inheriting(1)?;
    compare(
        "The same with `from`: live containers, and a copy where heirs part",
        &inheriting,
        rounds,
    )?;
    let example = Repository::example("source-orders")?;
    compare("Example repository, source-orders: 7 steps of Python", &example, rounds)
}

/// Fifty of them at once.
pub(crate) fn crowd(rounds: usize) -> anyhow::Result<()> {
    let plain = Repository::reference(CROWD)?;
    compare_crowd("50 reference pipelines at 16 slots, a container a step", &plain, rounds)?;
    let inheriting = Repository::inheriting(CROWD)?;
    compare_crowd("50 reference pipelines at 16 slots, with `from`", &inheriting, rounds)
}

fn compare(title: &str, repository: &Repository, rounds: usize) -> anyhow::Result<()> {
    let steps = repository.steps()?;
    // One after the other, so that no step slows another down: what each takes by itself.
    let alone = by_hand::run(repository, &steps, How { slots: 1, sandbox: true })?;
    let path = critical_path(&steps, &alone);
    let work: f64 = alone.marks.iter().map(|mark| (mark.2 - mark.1) * 1e3).sum();
    let rows = Rows::measure(repository, &steps, SLOTS, rounds)?;
    let limits =
        [("critical path, steps' own time", path), (BOUND, path.max(work / figure(SLOTS)))];
    rows.report(title, &limits, longest_chain(&steps));
    Ok(())
}

fn compare_crowd(title: &str, repository: &Repository, rounds: usize) -> anyhow::Result<()> {
    let steps = repository.steps()?;
    anyhow::ensure!(steps.len() == CROWD * REFERENCE.len(), "{} steps", steps.len());
    let work: f64 = REFERENCE.iter().map(|step| step.1 * 1e3).sum();
    let bound = PATH.max(work * figure(CROWD) / figure(CROWD_SLOTS));
    let rows = Rows::measure(repository, &steps, CROWD_SLOTS, rounds)?;
    let limits = [(BOUND, bound), ("critical path, what the steps sleep", PATH)];
    rows.report(title, &limits, steps.len());
    Ok(())
}

/// Both ways, in turn.
struct Rows {
    by_hand: Vec<Run>,
    product: Vec<Run>,
}

impl Rows {
    fn measure(
        repository: &Repository,
        steps: &[Step],
        slots: usize,
        rounds: usize,
    ) -> anyhow::Result<Self> {
        let mut rows = Self { by_hand: Vec::new(), product: Vec::new() };
        for _ in 0..rounds {
            rows.by_hand.push(by_hand::run(repository, steps, How { slots, sandbox: true })?);
            rows.product.push(repository.run_product(slots)?);
        }
        Ok(rows)
    }

    /// No way can be faster than the first of the limits, in milliseconds; `count` are steps that what is
    /// beyond it is divided by.
    fn report(&self, title: &str, limits: &[(&str, f64); 2], count: usize) {
        let [limit, other] = limits;
        table::title(title);
        let mut table = Table::new(&[
            "way",
            "whole ms",
            "x limit",
            "x floor",
            "first to last mark ms",
            "x floor",
            "beyond limit, ms a step",
        ]);
        table.row(limit.0, [format!("{:.0}", limit.1), "1.00".to_owned()]);
        let floor = middle(&self.by_hand);
        for (name, runs) in [(FLOOR, &self.by_hand), (PRODUCT, &self.product)] {
            let (wall, span) = middle(runs);
            table.row(
                name,
                [
                    format!("{wall:.0}"),
                    format!("{:.2}", wall / limit.1),
                    format!("{:.2}", wall / floor.0),
                    format!("{span:.0}"),
                    format!("{:.2}", span / floor.1),
                    format!("{:.0}", (wall - limit.1) / figure(count)),
                ],
            );
        }
        table.print();
        let (ours, by_hand) = (middle(&self.product).0 / other.1, floor.0 / other.1);
        table::note(&format!(
            "Of the {} ({:.0} ms): by hand {by_hand:.2} times, checkvalve {ours:.2} times.",
            other.0, other.1
        ));
        let ratio = middle(&self.product).0 / floor.0;
        table::aim(&format!("{ratio:.3} of the floor (aim: at most 1.10)"), ratio <= 1.10);
    }
}

/// The whole, and from the first mark to the last, in milliseconds.
fn middle(runs: &[Run]) -> (f64, f64) {
    let walls: Vec<f64> = runs.iter().map(|run| milliseconds(run.wall)).collect();
    let spans: Vec<f64> = runs.iter().map(Run::span).collect();
    (median(&walls), median(&spans))
}

/// How many steps stand on the longest way.
fn longest_chain(steps: &[Step]) -> usize {
    let mut depth = std::collections::BTreeMap::new();
    for step in steps {
        let before = step.needs().filter_map(|id| depth.get(id)).max().copied().unwrap_or(0);
        depth.insert(step.id.as_str(), before + 1);
    }
    depth.into_values().max().unwrap_or(1)
}
