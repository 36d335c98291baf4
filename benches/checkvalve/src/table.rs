//! What the benchmarks print.
#![expect(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]

/// Columns under their heads; the first to the left, figures to the right.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, name: &str, figures: impl IntoIterator<Item = String>) {
        self.rows.push(std::iter::once(name.to_owned()).chain(figures).collect());
    }

    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        println!();
    }
}

pub(crate) fn title(text: &str) {
    println!("\n## {text}\n");
}

/// A sentence below a table. `ok` is what an aim says: reached or missed.
pub(crate) fn aim(text: &str, ok: bool) {
    println!("{}  {text}", if ok { "reached" } else { "MISSED " });
}

/// What the figures have to be read with.
pub(crate) fn circumstances() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(2).collect();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!("({cores} cores; load averages of 1 and 5 minutes: {})", load.join(", "));
}

pub(crate) fn note(text: &str) {
    println!("{text}");
}
