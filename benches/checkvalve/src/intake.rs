//! Webhook intake: what is acknowledged is on disk. Each measurement has a server and a database of
//! its own, so that nobody pays for the work that another left behind.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::floors::Floor;
use crate::load;
use crate::payload::{self, Signed};
use crate::postgres::Postgres;
use crate::server::{GitHub, Options, Server};
use crate::stats::{Samples, figure, median, milliseconds};
use crate::table::{self, Table};

const FLOOD: Duration = Duration::from_secs(3);
const ALONE: Duration = Duration::from_millis(1500);
const STEADY: Duration = Duration::from_secs(3);
const RATE: u32 = 100;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    BodyOnly,
    Floor(Kind),
    Product(Kind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::BodyOnly => "floor: body read only, not durable",
            Self::Floor(Kind::Sqlite) => "floor: SQLite, a commit an event",
            Self::Floor(Kind::Postgres) => "floor: PostgreSQL, a commit an event",
            Self::Product(Kind::Sqlite) => "checkvalve, SQLite",
            Self::Product(Kind::Postgres) => "checkvalve, PostgreSQL",
        }
    }

    fn floor(self) -> Option<Self> {
        match self {
            Self::Product(kind) => Some(Self::Floor(kind)),
            Self::BodyOnly | Self::Floor(_) => None,
        }
    }
}

/// All rounds of one.
#[derive(Debug, Default)]
struct Figures {
    steady: Samples,
    alone: Samples,
    flood: Samples,
    rates: Vec<f64>,
    /// Processor time a delivery during the flood, in microseconds.
    cpu: Vec<f64>,
}

impl Figures {
    fn rate(&self) -> f64 {
        median(&self.rates)
    }
}

/// Measures everyone whose name contains `only`.
pub(crate) fn run(rounds: usize, only: &str) -> anyhow::Result<()> {
    let github = GitHub::start()?;
    let postgres = Postgres::start()?;
    let signed = payload::pull_request();
    let mut everyone = vec![Who::BodyOnly, Who::Floor(Kind::Sqlite), Who::Product(Kind::Sqlite)];
    if postgres.is_some() {
        everyone.extend([Who::Floor(Kind::Postgres), Who::Product(Kind::Postgres)]);
    }
    everyone.retain(|who| who.name().contains(only));
    let mut all: Vec<(Who, Figures)> =
        everyone.into_iter().map(|who| (who, Figures::default())).collect();
    for round in 0..rounds {
        for (index, (who, figures)) in all.iter_mut().enumerate() {
            let database = format!("intake_{round}_{index}");
            let place = Place::new(*who, postgres.as_ref(), &database)?;
            measure(*who, &place, &github, &signed, figures)?;
        }
    }
    report(&all, signed.body.len());
    Ok(())
}

/// Where one measurement keeps its deliveries.
struct Place {
    folder: TempDir,
    database: Option<String>,
}

impl Place {
    fn new(who: Who, postgres: Option<&Postgres>, name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
        let sqlite = |path: &Path| format!("sqlite:{}", path.display());
        let database = match (who, postgres) {
            (Who::BodyOnly, _) => None,
            (Who::Floor(Kind::Postgres) | Who::Product(Kind::Postgres), Some(postgres)) => {
                Some(postgres.create(name)?)
            }
            (Who::Floor(_) | Who::Product(_), _) => Some(sqlite(&folder.path().join("bench.db"))),
        };
        Ok(Self { folder, database })
    }
}

fn measure(
    who: Who,
    place: &Place,
    github: &GitHub,
    signed: &Signed,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (process, address) = match who {
        Who::BodyOnly => Floor::reading().start()?,
        Who::Floor(_) => {
            Floor::committing(place.database.as_deref().unwrap_or_default()).start()?
        }
        Who::Product(_) => {
            let options = Options { database: place.database.clone(), ..Options::recording() };
            let server = Server::start(github, &place.folder.path().join("state"), &options)?;
            (server.process, server.address)
        }
    };
    // The calmest first: what a flood leaves behind is still being handled for a while.
    let steady = load::open(address, signed, RATE, STEADY)?;
    let alone = load::closed(address, signed, 1, ALONE)?;
    let before = process.cpu()?;
    let flood = load::closed(address, signed, 16, FLOOD)?;
    let cpu = milliseconds(process.cpu()?.saturating_sub(before)) * 1e3;
    drop(process);
    let sent = steady.times.len() + alone.times.len() + flood.times.len();
    if let Some(database) = &place.database {
        let kept = github.runtime.block_on(count(database))?;
        ensure!(
            i64::try_from(sent)? == kept,
            "{}: {sent} deliveries were acknowledged, and {kept} are in the database",
            who.name()
        );
    }
    figures.cpu.push(cpu / figure(flood.times.len()));
    figures.rates.push(flood.rate());
    figures.steady.extend(steady.times);
    figures.alone.extend(alone.times);
    figures.flood.extend(flood.times);
    Ok(())
}

/// Deliveries in the database of a server that was killed.
pub(crate) async fn count(database: &str) -> anyhow::Result<i64> {
    const COUNT: &str = "select count(*) from deliveries";
    if database.starts_with("postgres:") {
        let mut connection = PgConnection::connect(database).await?;
        return Ok(sqlx::query_scalar(COUNT).fetch_one(&mut connection).await?);
    }
    let options: SqliteConnectOptions = database.parse()?;
    let mut connection = SqliteConnection::connect_with(&options).await?;
    Ok(sqlx::query_scalar(COUNT).fetch_one(&mut connection).await?)
}

fn report(all: &[(Who, Figures)], length: usize) {
    table::title(&format!("Webhook intake: signed pull_request deliveries of {length} bytes"));
    let mut table = Table::new(&[
        "server",
        "acks/s c16",
        "x floor",
        "p50 ms",
        "p99 ms",
        "c1 p50 ms",
        "c1 p99 ms",
        "100/s p50 ms",
        "100/s p99 ms",
        "CPU us/ack",
    ]);
    let floor_of = |who: Who| {
        let floor = all.iter().find(|(other, _)| Some(*other) == who.floor());
        floor.map(|(_, figures)| figures)
    };
    for (who, figures) in all {
        let share = floor_of(*who).map(|floor| figures.rate() / floor.rate());
        let two = |value: f64| format!("{value:.2}");
        table.row(
            who.name(),
            [
                format!("{:.0}", figures.rate()),
                share.map(two).unwrap_or_default(),
                two(figures.flood.median()),
                two(figures.flood.quantile(0.99)),
                two(figures.alone.median()),
                two(figures.alone.quantile(0.99)),
                two(figures.steady.median()),
                two(figures.steady.quantile(0.99)),
                format!("{:.0}", median(&figures.cpu)),
            ],
        );
    }
    table.print();
    for (who, figures) in all {
        let Some(floor) = floor_of(*who) else { continue };
        let share = figures.rate() / floor.rate();
        let name = who.name();
        table::aim(&format!("{name}: {share:.2} of its floor (aim: at least 0.7)"), share >= 0.7);
        let p99 = figures.steady.quantile(0.99);
        table::aim(&format!("{name}: p99 at 100/s {p99:.1} ms (aim: at most 50)"), p99 <= 50.0);
        let ratio = figures.alone.median() / floor.alone.median();
        table::aim(
            &format!("{name}: p50 alone {ratio:.2} of its floor's (aim: at most 1.5)"),
            ratio <= 1.5,
        );
    }
    table::note("Every acknowledged delivery was found in the database after a SIGKILL.");
}
