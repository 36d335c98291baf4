//! The command line: one file a subcommand.

pub mod affected;
mod app;
pub mod config;
pub mod deliveries;
pub mod demo;
mod engine;
pub mod exit;
mod front;
pub mod list;
pub mod plan;
pub mod registry;
pub mod replay;
mod reports;
pub mod results;
pub mod rotate;
pub mod schema;
mod secrets;
pub mod select;
pub mod serve;
pub mod signals;
pub mod state_dir;
pub mod terminal;
pub mod test;
pub mod testing;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::exit::Exit;
use self::select::{CliError, Global};
use crate::ambient;
use crate::config::server::{LogFormat, Settings};
use crate::render::graph;
use crate::store::Store;

/// Checks every pull request on a connector monorepo, one check run per step.
#[derive(Debug, Parser)]
#[command(name = "checkvalve", version, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct GlobalArgs {
    /// The repository (default: the one that this folder belongs to; a bare one will do where no
    /// work tree is needed)
    #[arg(long, global = true, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// The server's settings file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A repository file to use instead of `.github/checkvalve.yml`
    #[arg(long, global = true, value_name = "FILE")]
    pipelines: Option<PathBuf>,
    /// Say more (repeat for still more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything here, with a simulated GitHub: a pull request is opened, checks appear
    Demo(demo::DemoArgs),
    /// Webhook server, pages, intake, publisher, and N workers
    Serve(ServeArgs),
    /// Workers only
    Worker(WorkerArgs),
    /// Run pipelines here
    #[command(alias = "test-connectors")]
    Test(testing::TestArgs),
    /// Connectors, with what is known of them
    List(list::ListArgs),
    /// Which connectors a change affects, and why
    Affected(affected::AffectedArgs),
    /// What would run, in which order, and why
    Plan(plan::PlanArgs),
    /// The repository file: check it, show what it means, print its JSON Schema
    Config(config::ConfigArgs),
    /// The JSON Schema of an answer or file
    Schema(schema::SchemaArgs),
    /// A registry of the connectors, from their metadata
    Registry(registry::RegistryArgs),
    /// Plan again from a run's replay.json, and print the plan's hash
    Replay(replay::ReplayArgs),
    /// What GitHub sent, how it was handled; handle once more
    Deliveries(deliveries::DeliveriesArgs),
    /// Bring the database up to date
    Migrate,
    /// Forget the GitHub App that `/setup` registered: the next start registers another one
    ForgetApp,
    /// Give the App's webhook a new secret, here and on GitHub, without losing a delivery
    RotateWebhookSecret(rotate::RotateArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where to listen (default 127.0.0.1:8080)
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Jobs at once; 0: none (default: one a core)
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

#[derive(Debug, Args)]
struct WorkerArgs {
    /// Jobs at once (default: one a core)
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// Parses the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    let arguments = testing::run_flags_after_subcommand(std::env::args_os().collect());
    match execute(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}

fn execute(arguments: Vec<OsString>) -> anyhow::Result<Exit> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let wanted = !error.use_stderr();
            error.print().map_err(CliError::Output)?;
            return Ok(if wanted { Exit::Passed } else { Exit::Usage });
        }
    };
    let lasts = matches!(cli.command, Command::Serve(_) | Command::Worker(_));
    let started_anew = if lasts { ambient::arena::keep_to_one() } else { Ok(()) };
    let settings = Settings::read(ambient::env, cli.global.config.as_deref())?;
    start_log(&settings, &cli)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        if let Err(error) = started_anew {
            tracing::info!("goes on with more than one arena for what it allocates: {error}");
            ambient::arena::survive_closed_pipes();
        }
        dispatch(cli, settings).await
    })
}

async fn dispatch(cli: Cli, mut settings: Settings) -> anyhow::Result<Exit> {
    let global = Global {
        repo: cli.global.repo,
        pipelines: cli.global.pipelines,
        verbose: cli.global.verbose,
        record: matches!(cli.command, Command::Test(_)),
    };
    match cli.command {
        Command::Demo(args) => demo::run(&args, settings).await,
        Command::Serve(args) => {
            if let Some(listen) = args.listen {
                settings.set("CHECKVALVE_LISTEN", listen);
            }
            let workers = args.workers.map_or_else(|| settings.workers(), Ok)?;
            serve::run(&settings, serve::Parts { server: true, workers }).await?;
            Ok(Exit::Passed)
        }
        Command::Worker(args) => {
            let workers = args.workers.map_or_else(|| settings.workers(), Ok)?.max(1);
            serve::run(&settings, serve::Parts { server: false, workers }).await?;
            Ok(Exit::Passed)
        }
        Command::Test(args) => Box::pin(testing::run(&args, &global, &settings)).await,
        Command::List(args) => passed(list::run(&args, &global, &mut io::stdout()).await),
        Command::Affected(args) => passed(affected::run(&args, &global, &mut io::stdout()).await),
        Command::Plan(args) => {
            passed(plan::run(&args, &global, graph::plan_svg, &mut io::stdout()).await)
        }
        Command::Config(args) => passed(config::run(&args, &global, &mut io::stdout()).await),
        Command::Schema(args) => passed(schema::run(&args, &mut io::stdout())),
        Command::Registry(args) => Ok(registry::run(&args, &global, &mut io::stdout()).await?),
        Command::Replay(args) => Ok(replay::run(&args, &mut io::stdout()).await?),
        Command::Deliveries(args) => {
            deliveries::run(&args, &settings, &mut io::stdout()).await?;
            Ok(Exit::Passed)
        }
        Command::Migrate => {
            let state = settings.state_dir(ambient::env)?;
            state_dir::StateDir::open(&state)?;
            Store::open(&settings.database_url(&state)).await?;
            eprintln!("the database is up to date");
            Ok(Exit::Passed)
        }
        Command::ForgetApp => app::forget(&settings).await,
        Command::RotateWebhookSecret(args) => rotate::run(&args, &settings).await,
    }
}

fn passed(done: Result<(), CliError>) -> anyhow::Result<Exit> {
    Ok(done.map(|()| Exit::Passed)?)
}

/// Logs go to standard error: servers say what they do, commands only what goes wrong.
fn start_log(settings: &Settings, cli: &Cli) -> anyhow::Result<()> {
    let quiet = !matches!(cli.command, Command::Serve(_) | Command::Worker(_));
    let default = match (quiet, cli.global.verbose) {
        (true, 0) => "warn",
        (true, 1) | (false, 0) => "info",
        (true, 2) | (false, 1) => "checkvalve=debug,info",
        _ => "debug",
    };
    let filter = EnvFilter::try_new(settings.text("CHECKVALVE_LOG").unwrap_or(default))
        .map_err(|error| exit::UsageError(format!("CHECKVALVE_LOG: {error}")))?;
    // Colours are for people: a log file, or a journal, has none.
    let colours = io::stderr().is_terminal() && ambient::env("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours);
    match settings.log_format()? {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
