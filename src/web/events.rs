//! `/api/v1/runs/{run}/events`: a run's changes as server-sent events, resumable by id.
//!
//! Level-triggered: each look asks the store what changed since the revision that the client has.
//! A nudge makes the look come at once; without it, it comes by the clock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Web;
use super::access::Visitor;
use super::api::Views;
use super::error::{Answer, WebError};
use super::files::visible_run;
use super::follow::{after, beyond};
use super::logs::{self, Log};
use super::metrics::OpenStream;
use super::names::{Asked, Named};
use crate::domain::ids::RunId;
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::{RunState, StepState};
use crate::store::{Nudge, Topic};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often the store is asked without a nudge.
const TICK: Duration = Duration::from_secs(2);
/// The same while a step runs: its log grows four times a second.
const LIVE_TICK: Duration = Duration::from_millis(500);
/// Nudges that come closer than this are answered by one look.
const PAUSE: Duration = Duration::from_millis(100);
/// What of an ended log is sent at most; the rest is at its `log_url`.
const LOG_LIMIT: u64 = 256 * 1024;

/// What a client has: the `id` of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    revision: i64,
    /// Bytes that it has of the logs of running steps, by (connector, step) in the run's order,
    /// which is fixed once the run is planned; with the attempt.
    logs: BTreeMap<(usize, usize), (u32, u64)>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.revision)?;
        for ((job, step), (attempt, offset)) in &self.logs {
            write!(f, "/{job}.{step}.{attempt}.{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let revision = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        let mut logs = BTreeMap::new();
        for part in parts {
            let mut numbers = part.split('.');
            let mut next =
                || numbers.next().and_then(|number| number.parse::<u64>().ok()).ok_or(());
            let (job, step, attempt, offset) = (next()?, next()?, next()?, next()?);
            let index = |number: u64| usize::try_from(number).map_err(|_| ());
            let attempt = u32::try_from(attempt).map_err(|_| ())?;
            logs.insert((index(job)?, index(step)?), (attempt, offset));
        }
        Ok(Self { revision, logs })
    }
}

/// The data of a `log` event.
#[derive(Debug, Serialize)]
struct LogPiece<'a> {
    connector: &'a str,
    step: &'a str,
    attempt: u32,
    /// Of `text`'s first byte in the whole log.
    offset: u64,
    /// Bytes before it that were left out: the whole log is at the step's `log_url`.
    skipped: u64,
    text: &'a str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EventsQuery {
    /// As `Last-Event-ID`, for a client that has read the run already: its revision.
    after: Option<String>,
}

/// `GET /api/v1/runs/{run}/events`
pub(crate) async fn show(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named(id): Named<RunId>,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let cursor = last.map(str::to_owned).or(query.after);
    let cursor: Cursor =
        cursor.map_or(Ok(Cursor::default()), |text| text.parse()).map_err(|()| {
            WebError::bad_request(
                "bad_cursor",
                "The event id is none of ours.",
                "Send the `id` of the last event as `Last-Event-ID`, or nothing.",
            )
        })?;
    if run.state == RunState::Concluded && cursor.revision >= run.revision {
        // Tells an `EventSource` to stop asking: there will be nothing more.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let open = web.metrics.stream()?;
    let live = Live {
        nudge: web.store.nudge(Topic::Runs),
        web,
        run,
        cursor,
        ready: VecDeque::new(),
        ended: false,
        due: None,
        looked: None,
        _open: open,
    };
    let events = stream::unfold(live, |mut live| async move {
        let event = live.next().await?;
        Some((Ok::<_, axum::Error>(event), live))
    });
    // Some proxies would hold events back.
    Ok(([("x-accel-buffering", "no")], Sse::new(events).keep_alive(keep_alive)).into_response())
}

#[derive(Debug)]
struct Live {
    web: Arc<Web>,
    /// As last read.
    run: Run,
    /// What the client has once it has read all of `ready`.
    cursor: Cursor,
    ready: VecDeque<Event>,
    ended: bool,
    /// Registered before the first look and kept: a change during a look ends the next wait.
    nudge: Nudge,
    /// When the run is to be read again, whether or not a nudge comes.
    due: Option<Instant>,
    looked: Option<Instant>,
    _open: OpenStream,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended || self.web.stop.is_cancelled() {
                return None;
            }
            if let Err(error) = self.look().await {
                tracing::warn!(?error, run = %self.run.id, "an event stream was cut");
                return None;
            }
            if !self.ready.is_empty() || self.ended {
                continue;
            }
            let running = |job: &Job| job.state == RunState::Running;
            let tick = if self.run.jobs.iter().any(running) { LIVE_TICK } else { TICK };
            tokio::select! {
                () = self.web.stop.cancelled() => return None,
                () = self.nudge.changed() => self.due = None,
                () = tokio::time::sleep(tick) => {}
            }
            if let Some(rest) = self.looked.and_then(|at| PAUSE.checked_sub(at.elapsed())) {
                tokio::time::sleep(rest).await;
            }
        }
    }

    async fn look(&mut self) -> Result<(), WebError> {
        let now = Instant::now();
        self.looked = Some(now);
        if self.due.is_some_and(|due| now < due) {
            return self.logs().await;
        }
        self.due = Some(now + TICK);
        let since = self.cursor.revision;
        let Some((run, jobs, steps)) = self.web.store.run_since(self.run.id, since).await? else {
            // Retention took it away.
            self.ended = true;
            return Ok(());
        };
        self.run = run;
        if self.run.revision <= since {
            return self.logs().await;
        }
        // The logs' last bytes come before the news that their steps ended.
        self.logs().await?;
        let views = Views::of(&self.web, &self.run).await?;
        let before = self.cursor.clone();
        for job in &self.run.jobs {
            let changed =
                |step: &&StepRecord| steps.iter().any(|(j, s)| *j == job.id && *s == step.id);
            for step in job.steps.iter().filter(changed) {
                self.ready.push_back(event("step", &before, &views.step_event(job, step))?);
            }
            if jobs.contains(&job.id) {
                self.ready.push_back(event("connector", &before, &views.connector(job))?);
            }
        }
        // The run comes last and alone carries the new id: who is cut off before it gets the rest
        // of this look again.
        self.cursor.revision = self.run.revision;
        self.ready.push_back(event("run", &self.cursor, &views.listed())?);
        self.ended = self.run.state == RunState::Concluded;
        Ok(())
    }

    /// What running steps printed since the last look, and the rest of those that ended.
    async fn logs(&mut self) -> Result<(), WebError> {
        let web = Arc::clone(&self.web);
        for (j, job) in self.run.jobs.iter().enumerate() {
            for (s, step) in job.steps.iter().enumerate() {
                let had = self.cursor.logs.get(&(j, s)).copied();
                let running = matches!(step.state, StepState::Running { .. })
                    && job.state != RunState::Concluded;
                if !running && had.is_none() {
                    continue;
                }
                let had = had.filter(|(attempt, _)| *attempt == step.attempt);
                let (_, offset) = had.unwrap_or((step.attempt, 0));
                let (skipped, bytes) = fresh(&web, &self.run, job, step, offset).await?;
                let text = if running { whole_characters(&bytes) } else { bytes };
                let start = offset + skipped;
                if running {
                    self.cursor.logs.insert((j, s), (step.attempt, after(start, &text)));
                } else {
                    self.cursor.logs.remove(&(j, s));
                }
                if text.is_empty() {
                    continue;
                }
                let piece = LogPiece {
                    connector: job.connector.as_str(),
                    step: step.id.as_str(),
                    attempt: step.attempt,
                    offset: start,
                    skipped,
                    text: &String::from_utf8_lossy(&text),
                };
                self.ready.push_back(event("log", &self.cursor, &piece)?);
            }
        }
        Ok(())
    }
}

/// The bytes after `offset` that can be had, and how many before them can't.
async fn fresh(
    web: &Web,
    run: &Run,
    job: &Job,
    step: &StepRecord,
    offset: u64,
) -> Result<(u64, Bytes), WebError> {
    match logs::find(web, run, job, step, step.attempt).await? {
        Log::None => Ok((0, Bytes::new())),
        Log::Live(tail) => Ok(beyond(&tail, offset)),
        Log::Stored(stored) => {
            let from = offset.max(stored.total.saturating_sub(LOG_LIMIT));
            let bytes = stored.part(&web.blobs, from, LOG_LIMIT).await?;
            Ok((from - offset, bytes))
        }
    }
}

/// Cuts off a last character that has only half arrived; it comes whole next time.
fn whole_characters(bytes: &Bytes) -> Bytes {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.slice(..error.valid_up_to()),
        Ok(_) | Err(_) => bytes.clone(),
    }
}

fn event(kind: &str, id: &Cursor, object: &impl Serialize) -> Result<Event, WebError> {
    let event = Event::default().event(kind).id(id.to_string());
    event.json_data(object).map_err(|error| WebError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let logs = BTreeMap::from([((0, 1), (1, 5321)), ((12, 0), (3, 0))]);
        for cursor in [Cursor { revision: 12, logs }, Cursor::default()] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "x", "1/", "1/2.3.4", "1/-2.3.4.5", "1/2.3.99999999999.5"] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn characters_are_never_torn() {
        let bytes = Bytes::from("aé".as_bytes()[..2].to_vec());
        assert_eq!(whole_characters(&bytes), "a");
        assert_eq!(whole_characters(&Bytes::from("aé")), "aé");
        // Bytes that are no UTF-8 at all are not held back for ever.
        assert_eq!(whole_characters(&Bytes::from_static(b"a\xffb")).len(), 3);
    }
}
