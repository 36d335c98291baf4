//! What Checkvalve costs, every figure beside its floor: a bare program that does nothing but the
//! operation, measured in the same run and in turn with it. Shared machines are noisy; the ratio of
//! two neighbours is not.
//!
//! `scripts/bench` runs this; `docs/performance.md` keeps the figures. Everything stays on this
//! machine (loopback, throw-away folders, a throw-away `PostgreSQL`), is bounded in time, and fails
//! when an answer is wrong or an event is lost.

#![recursion_limit = "256"] // a payload of GitHub's is one large `json!`

mod by_hand;
mod cached;
mod cold;
mod containers;
mod docker;
mod first_check;
mod first_line;
mod floors;
mod http;
mod impact;
mod intake;
mod load;
mod log;
mod makespan;
mod many;
mod memory;
mod monorepo;
mod payload;
mod pipelines;
mod postgres;
mod process;
mod server;
mod stats;
mod steps;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Measures Checkvalve beside bare programs that do nothing but the operation")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
    /// How often each measurement is repeated; the default is each benchmark's own
    #[arg(long, global = true, value_name = "N")]
    rounds: Option<usize>,
    /// `cargo bench` adds this by itself
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Webhook deliveries acknowledged after they are durable
    Intake {
        /// Only those whose name contains this
        #[arg(long, default_value = "")]
        only: String,
    },
    /// From the webhook to the first check run at GitHub
    FirstCheck {
        /// Milliseconds that every answer of GitHub's takes longer
        #[arg(long, default_value_t = 0)]
        latency: u64,
    },
    /// From the webhook to the first line of a step
    FirstLine,
    /// What a step costs beyond its container
    Steps,
    /// How long whole pipelines take beyond their critical path
    Makespan,
    /// How long fifty pipelines take that share sixteen slots
    Crowd,
    /// From the webhook to all verdicts, when nothing has changed
    Cached,
    /// A step that prints a million lines
    Log,
    /// Resident memory, idle and under load
    Memory,
    /// From exec to the first accepted event
    Cold,
    /// Which connectors a change affects
    Impact,
    /// A floor, which the benchmarks start as a program of its own
    #[command(hide = true)]
    Floor(floors::Floor),
}

fn main() -> ExitCode {
    let Arguments { benchmark, rounds, .. } = Arguments::parse();
    let result = match benchmark {
        Benchmark::Intake { only } => intake::run(rounds.unwrap_or(3), &only),
        Benchmark::FirstCheck { latency } => {
            first_check::run(rounds.unwrap_or(30), Duration::from_millis(latency))
        }
        Benchmark::FirstLine => first_line::run(rounds.unwrap_or(10)),
        Benchmark::Steps => steps::run(rounds.unwrap_or(10)),
        Benchmark::Makespan => makespan::run(rounds.unwrap_or(5)),
        Benchmark::Crowd => makespan::crowd(rounds.unwrap_or(2)),
        Benchmark::Cached => cached::run(rounds.unwrap_or(5)),
        Benchmark::Log => log::run(rounds.unwrap_or(3)),
        Benchmark::Memory => memory::run(),
        Benchmark::Cold => cold::run(rounds.unwrap_or(10)),
        Benchmark::Impact => impact::run(rounds.unwrap_or(9)),
        Benchmark::Floor(floor) => floors::serve(&floor),
    };
    match result {
        Ok(()) => {
            table::circumstances();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
