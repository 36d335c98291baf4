//! What a step costs beyond its container: a chain of steps that do nothing, through the product and
//! by hand, in turn.

use crate::by_hand::{self, How};
use crate::pipelines::{Repository, Run, SLOTS};
use crate::stats::{median, milliseconds};
use crate::table::{self, Table};

/// Short, so that the four ways take turns often: a shared machine's moods last for seconds.
const STEPS: usize = 5;

#[derive(Default)]
struct Figures {
    /// From one step's beginning to the next one's.
    periods: Vec<f64>,
    walls: Vec<f64>,
}

impl Figures {
    fn add(&mut self, run: &Run) {
        self.periods.extend(run.periods());
        self.walls.push(milliseconds(run.wall));
    }
}

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let (repository, heirs) = (Repository::chain(STEPS)?, Repository::heirs(STEPS)?);
    let steps = repository.steps()?;
    let (mut plain, mut same) = (Figures::default(), Figures::default());
    let (mut product, mut chained) = (Figures::default(), Figures::default());
    for _ in 0..rounds {
        plain.add(&by_hand::run(&repository, &steps, How { slots: 1, sandbox: false })?);
        same.add(&by_hand::run(&repository, &steps, How { slots: 1, sandbox: true })?);
        product.add(&repository.run_product(SLOTS)?);
        chained.add(&heirs.run_product(SLOTS)?);
    }
    table::title(&format!("Steps: a chain of {STEPS} that do nothing, without network"));
    let mut table = Table::new(&[
        "way",
        "ms a step",
        "x floor",
        "whole ms",
        "x floor",
        "beyond floor, ms a step",
    ]);
    let floor = (median(&same.periods), median(&same.walls));
    for (name, figures) in [
        ("raw API, the cheapest container", &plain),
        ("floor: raw API, the product's container", &same),
        ("checkvalve test --executor docker", &product),
        ("the same, each `from` the one before", &chained),
    ] {
        let (period, wall) = (median(&figures.periods), median(&figures.walls));
        table.row(
            name,
            [
                format!("{period:.0}"),
                format!("{:.2}", period / floor.0),
                format!("{wall:.0}"),
                format!("{:.2}", wall / floor.1),
                format!("{:.1}", period - floor.0),
            ],
        );
    }
    table.print();
    let ratio = median(&product.periods) / floor.0;
    table::aim(&format!("a step takes {ratio:.3} of its floor (aim: at most 1.05)"), ratio <= 1.05);
    let ratio = median(&chained.periods) / median(&plain.periods);
    let told =
        format!("an inheriting step takes {ratio:.3} of the cheapest container (aim: at most 0.4)");
    table::aim(&told, ratio <= 0.4);
    Ok(())
}
