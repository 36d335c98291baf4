//! How long whole pipelines take: over their critical path, and beside the same containers started
//! by hand as soon as what they need is done.

use crate::pipelines::{Repository, Run, Step, critical_path};
use crate::stats::{median, milliseconds};
use crate::table::{self, Table};

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let reference = Repository::reference()?;
    compare("Reference pipeline: 8 steps that sleep, a container a step", &reference, rounds)?;
    let inheriting = Repository::inheriting()?;
    compare(
        "The same with `from`: live containers, and a copy where heirs part",
        &inheriting,
        rounds,
    )?;
    let example = Repository::example("source-orders")?;
    compare("Example repository, source-orders: 7 steps of Python", &example, rounds)
}

fn compare(title: &str, repository: &Repository, rounds: usize) -> anyhow::Result<()> {
    let steps = repository.steps()?;
    // One after the other, so that no step slows another down: what each takes by itself.
    let alone = repository.run_by_hand(&steps, true, false)?;
    let critical = critical_path(&steps, &alone);
    let (mut by_hand, mut product) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        by_hand.push(repository.run_by_hand(&steps, true, true)?);
        product.push(repository.run_product()?);
    }
    report(
        title,
        &steps,
        critical,
        [
            ("floor: the same containers, commits and commands by hand", &by_hand),
            ("checkvalve test --executor docker", &product),
        ],
    );
    Ok(())
}

fn report(title: &str, steps: &[Step], critical: f64, rows: [(&str, &Vec<Run>); 2]) {
    table::title(title);
    let mut table = Table::new(&[
        "way",
        "whole ms",
        "x critical path",
        "x floor",
        "first to last mark ms",
        "x floor",
        "beyond path, ms a step on it",
    ]);
    table.row("critical path, steps' own time", [format!("{critical:.0}"), "1.00".to_owned()]);
    let middle = |runs: &[Run]| {
        let walls: Vec<f64> = runs.iter().map(|run| milliseconds(run.wall)).collect();
        let spans: Vec<f64> = runs.iter().map(Run::span).collect();
        (median(&walls), median(&spans))
    };
    let floor = middle(rows[0].1);
    let depth = crate::stats::figure(longest_chain(steps));
    for (name, runs) in rows {
        let (wall, span) = middle(runs);
        table.row(
            name,
            [
                format!("{wall:.0}"),
                format!("{:.2}", wall / critical),
                format!("{:.2}", wall / floor.0),
                format!("{span:.0}"),
                format!("{:.2}", span / floor.1),
                format!("{:.0}", (wall - critical) / depth),
            ],
        );
    }
    table.print();
    let ratio = middle(rows[1].1).0 / floor.0;
    table::aim(&format!("{ratio:.3} of the floor (aim: at most 1.10)"), ratio <= 1.10);
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
