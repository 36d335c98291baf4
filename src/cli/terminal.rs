//! Tells people at a terminal, logs of build servers and scripts what happens, each in its own
//! way.

mod board;
mod events;
mod screen;
mod texts;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use self::board::{Board, FRAME, Look, spinner};
use self::events::Held;
use self::texts::{
    Paint, clean, clean_lines, counted, described, failed, failure, outcome_line, reused_lines,
};
use super::test::{LocalDone, LocalResult, Verdict};
use crate::ambient;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::plan::Plan;
use crate::domain::run::StepRecord;
use crate::domain::state::Conclusion;
use crate::domain::time::human;

/// In which way to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Live, for people
    Human,
    /// A line for each event
    Plain,
    /// A JSON object for each event
    Json,
}

impl Format {
    /// What suits standard output. A build server shows what was written, not what moved, though
    /// some give their jobs a terminal.
    pub fn of_stdout() -> Self {
        let moves = ambient::env("TERM").is_some_and(|term| term != "dumb");
        let people = io::stdout().is_terminal() && moves && ambient::env("CI").is_none();
        if people { Self::Human } else { Self::Plain }
    }
}

/// Where it is told.
pub struct Terminal {
    format: Format,
    paint: Paint,
    inner: Arc<Mutex<Inner>>,
    ticker: Mutex<Option<Ticker>>,
    /// Can the screen be drawn on?
    live: bool,
}

struct Inner {
    out: Box<dyn Write + Send>,
    /// Of the last JSON line.
    seq: u64,
    held: Held,
    /// What moves, once something runs, and how it looks.
    board: Option<Board>,
    frame: usize,
    plain: bool,
    paint: Paint,
}

/// Draws until it is dropped.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It draws, and panics nowhere.
            let _ = thread.join();
        }
    }
}

impl Terminal {
    /// Standard output, in a given way or in the one that suits it.
    pub fn stdout(format: Option<Format>) -> Self {
        let format = format.unwrap_or_else(Format::of_stdout);
        let terminal = io::stdout().is_terminal();
        let term = ambient::env("TERM");
        let moves = terminal && term.as_deref().is_some_and(|term| term != "dumb");
        let colours = moves && ambient::env("NO_COLOR").is_none();
        let mut told = Self::told(format, unbuffered(), Paint(colours));
        told.lock().plain = term.as_deref() == Some("linux");
        told.live = moves && format == Format::Human;
        told
    }

    /// Anything that takes text.
    pub fn new(format: Format, out: Box<dyn Write + Send>) -> Self {
        Self::told(format, out, Paint(false))
    }

    fn told(format: Format, out: Box<dyn Write + Send>, paint: Paint) -> Self {
        let held = Held::default();
        let inner = Inner { out, seq: 0, held, board: None, frame: 0, plain: false, paint };
        let inner = Arc::new(Mutex::new(inner));
        Self { format, paint, inner, ticker: Mutex::new(None), live: false }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something for people, beside the events.
    pub fn say(&self, text: &str) {
        match self.format {
            Format::Json => self.event(events::message(text)),
            Format::Human | Format::Plain => self.line(&clean_lines(text)),
        }
    }

    pub(super) fn begin<'p>(&self, run: RunId, plans: impl ExactSizeIterator<Item = &'p Plan>) {
        let connectors = plans.len();
        match (self.format, connectors) {
            (Format::Json, _) => return self.event(events::begun(run, plans)),
            (_, 0) => return self.line("nothing to run"),
            (_, n) => self.line(&format!("{} to test", counted(n, "connector"))),
        }
        if self.live {
            self.lock().board = Some(Board::new(connectors, ambient::now()));
            *self.ticker.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(tick(self.inner.clone()));
        }
    }

    /// It was asked to end.
    pub(super) fn stopping(&self) {
        self.say("stopping; once more (Ctrl-C) to stop at once");
        if let Some(board) = &mut self.lock().board {
            board.stopping = true;
        }
    }

    /// A connector's turn has come.
    pub(super) fn connector(&self, plan: &Plan) {
        if self.format == Format::Json {
            self.event(events::connector(plan));
        } else if let Some(board) = &mut self.lock().board {
            board.connector(plan, ambient::now());
        }
    }

    /// A step changed.
    pub(super) fn step(&self, connector: &ConnectorName, step: &StepRecord) {
        match self.format {
            Format::Json => {
                if step.state.is_settled() {
                    let rest = self.lock().held.rest(connector, &step.id);
                    if let Some((attempt, offset, text)) = rest {
                        let of = (&step.id, attempt);
                        self.event(events::log(connector, of, (offset, &text)));
                    }
                }
                self.event(events::step(connector, step));
            }
            Format::Plain => {
                let (name, id) = (clean(connector.as_str()), clean(step.id.as_str()));
                self.line(&format!("{name} / {id}: {}", described(step)));
            }
            Format::Human => {
                if let Some(board) = &mut self.lock().board {
                    board.step(connector, step);
                }
            }
        }
    }

    /// A step printed something.
    pub(super) fn printed(
        &self,
        connector: &ConnectorName,
        (step, attempt): (&StepId, u32),
        offset: u64,
        chunk: &[u8],
    ) {
        if self.format != Format::Json {
            return;
        }
        let told = self.lock().held.take((connector, step), attempt, offset, chunk);
        if let Some((offset, text)) = told {
            self.event(events::log(connector, (step, attempt), (offset, &text)));
        }
    }

    pub(super) fn connector_done(&self, done: &LocalDone) {
        if self.format == Format::Json {
            return self.event(events::connector_done(done));
        }
        if let Some(board) = &mut self.lock().board {
            board.done(done.plan.connector(), done.conclusion);
        }
        let mut lines = vec![outcome_line(done, self.paint)];
        // Plain lines have said so of each step.
        if self.format == Format::Human {
            lines.extend(reused_lines(done).iter().map(|line| self.paint.dim(line)));
        }
        self.line(&lines.join("\n"));
    }

    /// Everything has ended: what failed and why, then the verdict.
    pub(super) fn end(&self, result: &LocalResult, took: Duration, reports: Option<&Path>) {
        self.stop_drawing();
        if self.format == Format::Json {
            return self.event(events::ended(result, took));
        }
        for job in &result.jobs {
            for step in failed(job) {
                self.line(&failure(job.plan.connector(), step));
            }
        }
        let mut text = self.verdict(result);
        let _ = write!(text, " · {}", human(took));
        if let Some(folder) = reports {
            let _ = write!(text, "\nlogs: {}", clean(&folder.display().to_string()));
        }
        self.line(&text);
    }

    fn verdict(&self, result: &LocalResult) -> String {
        let count =
            |conclusion| result.jobs.iter().filter(move |job| job.conclusion == conclusion).count();
        let passed = count(Conclusion::Success);
        let failed = count(Conclusion::Failure);
        let cancelled = count(Conclusion::Cancelled);
        let mut text = match result.verdict {
            Verdict::Passed => self.paint.green("passed"),
            Verdict::Failed => self.paint.red("failed"),
            Verdict::CouldNotRun => self.paint.red("could not run"),
            Verdict::Interrupted => self.paint.yellow("interrupted"),
        };
        let _ = write!(text, ": {passed} of {} passed", counted(result.jobs.len(), "connector"));
        for (count, what) in [(failed, "failed"), (cancelled, "cancelled")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }

    /// Takes away what moves.
    fn stop_drawing(&self) {
        drop(self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut inner = self.lock();
        if inner.board.take().is_some() {
            let _ = screen::say(&mut inner.out, "");
        }
    }

    fn event(&self, event: Value) {
        let mut inner = self.lock();
        inner.seq += 1;
        let line = events::line(inner.seq, ambient::now(), event);
        inner.line(&line);
    }

    fn line(&self, text: &str) {
        self.lock().line(text);
    }
}

impl Drop for Terminal {
    /// Also where an error ends us early.
    fn drop(&mut self) {
        self.stop_drawing();
    }
}

impl Inner {
    /// Writes a line above what moves. Nobody to read it (a closed pipe) is no reason to stop
    /// testing.
    fn line(&mut self, text: &str) {
        if self.board.is_some() {
            let _ = screen::say(&mut self.out, text);
            self.draw();
        } else {
            // One write, too: others may write to the same file.
            let line = format!("{text}\n");
            let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    fn draw(&mut self) {
        let Some(board) = &self.board else { return };
        let look = Look { paint: self.paint, spinner: spinner(self.frame, self.plain) };
        let lines = board.lines(ambient::now(), screen::size(), look);
        let _ = screen::draw(&mut self.out, &lines);
    }
}

/// Standard output without the library's buffer, which writes a picture in two parts.
fn unbuffered() -> Box<dyn Write + Send> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(out) => Box::new(std::fs::File::from(out)),
        Err(_) => Box::new(io::stdout()),
    }
}

/// Draws a picture now and then: a thread of its own, so that nothing that runs has to.
fn tick(inner: Arc<Mutex<Inner>>) -> Ticker {
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::spawn(move || {
        while stopped.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.frame = inner.frame.wrapping_add(1);
            inner.draw();
        }
    });
    Ticker { stop: Some(stop), thread: Some(thread) }
}

#[cfg(test)]
mod tests;
