//! `checkvalve deliveries`: what GitHub sent, how it was handled, and once more. It looks into the
//! server's database, and does not need the server.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::exit::UsageError;
use super::select::{CliError, print_json, shown};
use crate::ambient;
use crate::config::duration;
use crate::config::server::Settings;
use crate::domain::recovery::HANDLING;
use crate::domain::time::Timestamp;
use crate::store::{Delivery, DeliveryQuery, DeliveryRow, HandledAgain, MissingRow, Store};

/// Of events that never came, those shown.
const MISSING: u32 = 100;
/// The way by which it is asked for, in the record.
const ROUTE: &str = "command";

#[derive(Debug, Clone, Args)]
pub struct DeliveriesArgs {
    #[command(subcommand)]
    command: DeliveriesCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum DeliveriesCommand {
    /// What GitHub sent and how it was handled, newest first; and what never came
    List(ListArgs),
    /// One delivery: its headers, what was done with it, its body
    Show(ShowArgs),
    /// Handle once more: a delivery, or all of a class. What was done already is not done again
    Handle(HandleArgs),
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    #[command(flatten)]
    class: ClassArgs,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct ShowArgs {
    /// `X-GitHub-Delivery`, as the App's settings on GitHub show it
    guid: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct HandleArgs {
    /// Deliveries, by `X-GitHub-Delivery`
    #[arg(value_name = "GUID")]
    guids: Vec<String>,
    #[command(flatten)]
    class: ClassArgs,
    /// Only say which those are
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A class of deliveries: AND between the options.
#[derive(Debug, Clone, Default, Args)]
struct ClassArgs {
    /// Of this event, as in `pull_request`, or with its action, as in `pull_request.opened`
    #[arg(long, value_name = "EVENT[.ACTION]", help_heading = "Class")]
    event: Option<String>,
    /// Handled with this outcome
    #[arg(long, value_enum, help_heading = "Class")]
    outcome: Option<Outcome>,
    /// Received since then: `2h` ago, or a time such as `2026-11-22T06:00:00Z`
    #[arg(long, value_name = "TIME", help_heading = "Class")]
    since: Option<String>,
    /// Received before then
    #[arg(long, value_name = "TIME", help_heading = "Class")]
    until: Option<String>,
    /// Handled by a program that meant less, or something else, by it
    #[arg(long, help_heading = "Class")]
    older: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    /// Not handled yet, or to be tried again
    Waiting,
    /// Acted on
    Done,
    /// Not for us
    Ignored,
    /// Could not be handled
    Refused,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug, Serialize)]
struct ListAnswer<'a> {
    deliveries: &'a [DeliveryRow],
    missing: &'a [MissingRow],
    /// The version of handling of this program.
    handling: u32,
}

#[derive(Debug, Serialize)]
struct ShowAnswer<'a> {
    #[serde(flatten)]
    row: &'a DeliveryRow,
    headers: Value,
    /// The JSON that GitHub sent; null where it was not kept.
    body: Value,
    handled_again: &'a [HandledAgain],
}

#[derive(Debug, Serialize)]
struct HandleAnswer<'a> {
    dry_run: bool,
    deliveries: &'a [String],
    /// Events that never came: GitHub is asked for them again.
    asked_for: &'a [String],
}

pub async fn run(
    args: &DeliveriesArgs,
    settings: &Settings,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    // What is typed wrongly is said before a database is looked for.
    match &args.command {
        DeliveriesCommand::List(args) => {
            let query = args.class.query(ambient::now())?;
            list(&open(settings).await?, args, query, out).await
        }
        DeliveriesCommand::Show(args) => show(&open(settings).await?, args, out).await,
        DeliveriesCommand::Handle(args) => {
            let class = args.class()?;
            handle(&open(settings).await?, args, class, out).await
        }
    }
}

/// The server's database. One that is not there is not made: it would be the wrong one.
async fn open(settings: &Settings) -> anyhow::Result<Store> {
    let state = settings.state_dir(ambient::env)?;
    let url = settings.database_url(&state);
    let file = url.strip_prefix("sqlite:").map(|file| file.strip_prefix("//").unwrap_or(file));
    if let Some(file) = file.filter(|file| !Path::new(file).exists()) {
        let error = format!(
            "there is no database at {file}: give the server's CHECKVALVE_STATE_DIR or \
             CHECKVALVE_DATABASE_URL, as the server has it"
        );
        return Err(UsageError(error).into());
    }
    Ok(Store::open(&url).await?)
}

impl ClassArgs {
    fn query(&self, now: Timestamp) -> Result<DeliveryQuery, CliError> {
        let (event, action) = match self.event.as_deref().map(|event| event.split_once('.')) {
            Some(Some((event, action))) => (Some(event.to_owned()), Some(action.to_owned())),
            Some(None) => (self.event.clone(), None),
            None => (None, None),
        };
        let parsed =
            |name: &str, text: Option<&String>| text.map(|text| time(name, text, now)).transpose();
        Ok(DeliveryQuery {
            event,
            action,
            outcome: self.outcome.map(|outcome| outcome.as_str().to_owned()),
            since: parsed("--since", self.since.as_ref())?,
            until: parsed("--until", self.until.as_ref())?,
            handled_before: self.older.then_some(HANDLING),
            after: None,
        })
    }

    fn is_empty(&self) -> bool {
        let Self { event, outcome, since, until, older } = self;
        event.is_none() && outcome.is_none() && since.is_none() && until.is_none() && !older
    }
}

/// A duration is so long ago.
fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    if let Ok(ago) = duration::parse(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(now.as_millis().saturating_sub(ago).max(0)));
    }
    Timestamp::parse(text).ok_or_else(|| {
        CliError::Usage(format!(
            "`{name} {}` is no time: write `2h` for two hours ago, or `2026-11-22T06:00:00Z`",
            shown(text)
        ))
    })
}

async fn list(
    store: &Store,
    args: &ListArgs,
    query: DeliveryQuery,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let deliveries = store.deliveries(&query, args.limit).await?;
    let missing = store.missing(MISSING).await?;
    if args.json {
        let answer = ListAnswer { deliveries: &deliveries, missing: &missing, handling: HANDLING };
        return Ok(print_json(out, &answer)?);
    }
    Ok(print_list(&deliveries, &missing, out)?)
}

fn print_list(
    deliveries: &[DeliveryRow],
    missing: &[MissingRow],
    out: &mut impl Write,
) -> Result<(), CliError> {
    for row in missing {
        let event = shown(&event(&row.event, row.action.as_deref()));
        let state = if row.state == "given_up" { "given up" } else { "missing" };
        let said = row.note.as_deref().unwrap_or(&row.failure);
        let (guid, asked) = (shown(&row.guid), row.asked);
        let at = row.delivered_at;
        writeln!(
            out,
            "{at}  {state:8}  {guid}  {event}  asked for {asked} times: {}",
            shown(said)
        )?;
    }
    for row in deliveries {
        let event = shown(&event(&row.event, row.action.as_deref()));
        let note = shown(row.note.as_deref().unwrap_or_default());
        let (at, state, guid) = (row.received_at, &row.state, shown(&row.guid));
        writeln!(out, "{}", format!("{at}  {state:8}  {guid}  {event}  {note}").trim_end())?;
    }
    if deliveries.is_empty() && missing.is_empty() {
        writeln!(out, "no delivery of that class is kept")?;
    }
    if missing.iter().any(|row| row.state == "given_up") {
        let mend =
            "`checkvalve deliveries handle GUID` has GitHub asked again for what was given up";
        writeln!(out, "{mend}")?;
    }
    Ok(())
}

fn event(event: &str, action: Option<&str>) -> String {
    action.map_or_else(|| event.to_owned(), |action| format!("{event}.{action}"))
}

async fn show(store: &Store, args: &ShowArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let Some(delivery) = store.delivery(&args.guid).await? else {
        return Err(unknown(store, &args.guid).await?.into());
    };
    let (headers, body) = content(&delivery);
    if args.json {
        let Delivery { row, again, .. } = &delivery;
        let answer = ShowAnswer { row, headers, body, handled_again: again };
        return Ok(print_json(out, &answer)?);
    }
    Ok(print_delivery(&delivery, (&headers, &body), out)?)
}

/// Headers and body as JSON.
fn content(delivery: &Delivery) -> (Value, Value) {
    let headers = delivery.headers.as_deref().map(serde_json::from_str);
    let headers = headers.and_then(Result::ok).unwrap_or_else(|| serde_json::Map::new().into());
    let body = if delivery.body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&delivery.body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&delivery.body).into_owned().into())
    };
    (headers, body)
}

/// Why there is nothing to be shown or handled.
async fn unknown(store: &Store, guid: &str) -> anyhow::Result<UsageError> {
    let name = shown(guid);
    Ok(UsageError(match store.missing_one(guid).await? {
        Some(missing) if missing.state != "came" => format!(
            "delivery `{name}` never came ({}); `checkvalve deliveries handle {name}` has GitHub \
             asked for it again",
            shown(&missing.failure)
        ),
        Some(_) | None => format!(
            "there is no delivery `{name}`; `checkvalve deliveries list` shows those that are kept"
        ),
    }))
}

fn print_delivery(
    delivery: &Delivery,
    (headers, body): (&Value, &Value),
    out: &mut impl Write,
) -> Result<(), CliError> {
    let row = &delivery.row;
    writeln!(out, "delivery    {}", shown(&row.guid))?;
    writeln!(out, "event       {}", shown(&event(&row.event, row.action.as_deref())))?;
    writeln!(out, "received    {}", row.received_at)?;
    writeln!(out, "outcome     {}", row.state)?;
    if let Some(note) = &row.note {
        writeln!(out, "because     {}", shown(note))?;
    }
    if let Some(at) = row.handled_at {
        let version = row.handled_by.unwrap_or(1);
        writeln!(out, "handled     {at}, by version {version} of handling (this is {HANDLING})")?;
    }
    writeln!(out, "tries       {}", row.attempt)?;
    for again in &delivery.again {
        let HandledAgain { at, actor, route } = again;
        writeln!(out, "again       {at}, asked for by {} ({route})", shown(actor))?;
    }
    for (name, value) in headers.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "header      {}: {}", shown(name), shown(&value))?;
    }
    if body.is_null() {
        writeln!(out, "\nIts body was not kept.")?;
        return Ok(());
    }
    writeln!(out)?;
    let text = serde_json::to_string_pretty(body).map_err(std::io::Error::other)?;
    for line in text.lines() {
        writeln!(out, "{}", shown(line))?;
    }
    Ok(())
}

impl HandleArgs {
    /// The class that is asked for; `None`: deliveries are named.
    fn class(&self) -> Result<Option<DeliveryQuery>, CliError> {
        match (self.guids.is_empty(), self.class.is_empty()) {
            (false, true) => Ok(None),
            (true, false) => self.class.query(ambient::now()).map(Some),
            (true, true) => Err(CliError::Usage(
                "say which: a GUID, or a class by --event, --outcome, --since, --until, --older"
                    .to_owned(),
            )),
            (false, false) => Err(CliError::Usage(
                "give GUIDs or a class, not both: a class is all that its options fit".to_owned(),
            )),
        }
    }
}

async fn handle(
    store: &Store,
    args: &HandleArgs,
    class: Option<DeliveryQuery>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (known, missing) = match class {
        Some(query) => (store.delivery_class(&query).await?, Vec::new()),
        None => named(store, &args.guids).await?,
    };
    if !args.dry_run {
        let actor = ambient::env("USER").or_else(|| ambient::env("LOGNAME"));
        let actor = actor.as_deref().unwrap_or("somebody");
        store.handle_again(&known, (actor, ROUTE)).await?;
        for guid in &missing {
            store.ask_again(guid).await?;
        }
    }
    let answer = HandleAnswer { dry_run: args.dry_run, deliveries: &known, asked_for: &missing };
    if args.json {
        return Ok(print_json(out, &answer)?);
    }
    Ok(print_handled(&answer, out)?)
}

/// Those that are here, and those that never came.
async fn named(store: &Store, guids: &[String]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut known, mut missing) = (Vec::new(), Vec::new());
    for guid in guids {
        if store.delivery(guid).await?.is_some() {
            known.push(guid.clone());
        } else if store.missing_one(guid).await?.is_some() {
            missing.push(guid.clone());
        } else {
            return Err(unknown(store, guid).await?.into());
        }
    }
    Ok((known, missing))
}

fn print_handled(answer: &HandleAnswer<'_>, out: &mut impl Write) -> Result<(), CliError> {
    let HandleAnswer { dry_run, deliveries, asked_for } = answer;
    let would = if *dry_run { "would be" } else { "will be" };
    for guid in *deliveries {
        writeln!(out, "{}", shown(guid))?;
    }
    for guid in *asked_for {
        writeln!(out, "{} never came: GitHub {would} asked for it again", shown(guid))?;
    }
    match deliveries.len() {
        0 if asked_for.is_empty() => writeln!(out, "no delivery of that class is kept")?,
        0 => {}
        1 => writeln!(out, "1 delivery {would} handled again by the server")?,
        n => writeln!(out, "{n} deliveries {would} handled again by the server")?,
    }
    Ok(())
}
