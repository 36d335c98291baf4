//! Listens to an image: every line is heard as it comes, told in the log, and forgotten.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::renewals::{Renewals, Turned};
use super::{Site, again};
use crate::domain::acceptance::{End, Heard, Line, Lines, Message, NewConfig, Secrets, heard};
use crate::domain::redact::Redactor;
use crate::exec::Executor;
use crate::exec::images::{Halted, Said, Talk, TalkEnd};

/// How many chunks of output may wait to be heard.
const CHUNKS: usize = 32;
/// Bytes of a line of the error stream that are told.
const TOLD: usize = 4_000;

/// Who hears what an image prints. A judge may take its time for a line: it has a thread.
pub(super) struct Ear<J> {
    pub(super) judge: J,
    hear: fn(&mut J, Heard),
    /// What is told is freed of these, before it is cut.
    pub(super) redactor: Arc<Redactor>,
    /// Looked for in all that is printed.
    pub(super) secrets: Secrets,
    /// What becomes of configurations that it says are new; nothing, if it was given none.
    pub(super) renewals: Option<Renewals>,
    /// Why nothing that it says can be told any more.
    pub(super) lost: Option<String>,
    /// Bytes of the longest line that was not read.
    longest: u64,
}

impl<J> Ear<J> {
    pub(super) fn new(judge: J, hear: fn(&mut J, Heard), redactor: Arc<Redactor>) -> Self {
        let secrets = Secrets::default();
        Self { judge, hear, redactor, secrets, renewals: None, lost: None, longest: 0 }
    }

    pub(super) fn watching(self, secrets: Secrets, renewals: Renewals) -> Self {
        Self { secrets, renewals: Some(renewals), ..self }
    }

    /// Hears all of it, and tells what people read.
    fn listen(mut self, mut said: mpsc::Receiver<Said>, log: &mpsc::Sender<Bytes>) -> Self {
        let (mut out, mut err) = (Lines::default(), Lines::default());
        while let Some(said) = said.blocking_recv() {
            let mut told = String::new();
            match said {
                Said::Out(chunk) => out.take(&chunk, |line| self.out(line, &mut told)),
                Said::Err(chunk) => err.take(&chunk, |line| self.err(line, &mut told)),
            }
            say(log, told);
        }
        let mut told = String::new();
        out.finish(|line| self.out(line, &mut told));
        err.finish(|line| self.err(line, &mut told));
        say(log, told);
        self
    }

    fn out(&mut self, line: Line<'_>, told: &mut String) {
        match line {
            Line::Whole(bytes) => {
                let heard = heard(bytes);
                // Whoever gives a new configuration means to say what it holds.
                if let Heard::Message(Message::Control(Some(new))) = heard {
                    return self.turn(new, told);
                }
                self.watch(line);
                if let Some(line) = heard.told(&self.redactor).filter(|_| self.lost.is_none()) {
                    let _ = writeln!(told, "{line}");
                }
                (self.hear)(&mut self.judge, heard);
            }
            Line::TooLong { bytes, .. } => {
                self.watch(line);
                self.longest = bytes.max(self.longest);
                too_long(bytes, told);
            }
        }
    }

    /// What it was given is another thing from now on.
    fn turn(&mut self, new: NewConfig, told: &mut String) {
        let Some(renewals) = self.renewals.as_mut().filter(|_| self.lost.is_none()) else { return };
        match renewals.take(new, &mut self.secrets) {
            Turned::Same => {}
            Turned::New { redactor, line } => {
                self.redactor = redactor;
                let _ = writeln!(told, "{line}");
            }
            Turned::Lost(why) => {
                let _ = writeln!(told, "! nothing more is told of what it says: {why}");
                self.lost = Some(why);
            }
        }
    }

    fn err(&mut self, line: Line<'_>, told: &mut String) {
        self.watch(line);
        match line {
            Line::Whole(_) if self.lost.is_some() => {}
            Line::Whole(line) => {
                let line = String::from_utf8_lossy(line);
                let line = self.redactor.text(&line);
                let _ = writeln!(told, "{}", &line[..line.floor_char_boundary(TOLD)]);
            }
            Line::TooLong { bytes, .. } => too_long(bytes, told),
        }
    }

    fn watch(&mut self, (Line::Whole(line) | Line::TooLong { start: line, .. }): Line<'_>) {
        self.secrets.hear(line);
    }
}

/// Nothing is told of how it began: a secret may be cut in two there.
fn too_long(bytes: u64, told: &mut String) {
    let _ = writeln!(told, "! a line of {bytes} bytes is not read");
}

/// Nobody to read it is nobody to miss it.
fn say(log: &mpsc::Sender<Bytes>, told: String) {
    if !told.is_empty() {
        let _ = log.blocking_send(told.into());
    }
}

/// Calls an image and lets each line of its answer be heard.
pub(super) async fn listen<E: Executor, J: Send + 'static>(
    site: &Site<'_, E>,
    talk: Talk,
    ear: Ear<J>,
) -> Result<(End, Ear<J>), Halted> {
    let limit = talk.limit;
    let (saying, said) = mpsc::channel(CHUNKS);
    let call = site.executor.talk(talk, saying, site.stop.clone());
    let log = site.log.clone();
    // It ends with the call, whose sender is gone then.
    let listening = tokio::task::spawn_blocking(move || ear.listen(said, &log));
    let (end, ear) = tokio::join!(call, listening);
    let ear = ear.map_err(|e| again(e.to_string()))?;
    let end = match end {
        TalkEnd::Halted(halted) => return Err(halted),
        _ if ear.longest > 0 => End::TooLong(ear.longest),
        TalkEnd::Exited { code, out_of_memory } => End::Exited { code, out_of_memory },
        TalkEnd::TimedOut => End::TimedOut(limit),
        TalkEnd::Unfit(why) => End::Unfit(why),
    };
    Ok((end, ear))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_at_the_cut_is_hidden() {
        let redactor = Redactor::of([b"secret-0123456789".as_slice()], "source-x").unwrap();
        let mut ear = Ear::new((), |(), _| {}, Arc::new(redactor));
        let line = format!("{}secret-0123456789", "x".repeat(TOLD - 10));
        let (mut told, mut start) = (String::new(), String::new());
        ear.err(Line::Whole(line.as_bytes()), &mut told);
        assert!(told.ends_with("x***\n"));
        ear.err(Line::TooLong { bytes: 1 << 30, start: b"a secret-0123" }, &mut start);
        assert_eq!(start, "! a line of 1073741824 bytes is not read\n");
    }
}
