//! The end of what a service said: all of it is read, so that nothing stands still, and the last
//! lines are kept for whoever wants to know why it was of no use.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker as Api;
use bollard::query_parameters::AttachContainerOptions;
use futures_util::StreamExt;
use tokio_util::task::AbortOnDropHandle;

use super::super::{Halt, halt};

/// How many bytes and lines are kept.
const BYTES: usize = 64 * 1024;
const LINES: usize = 100;
/// How long the output's last words may follow the end of what said them.
const LATE: Duration = Duration::from_millis(100);

/// A service's output.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<Kept>>,
    pump: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// Was there more before?
    cut: bool,
}

impl Tail {
    /// To be called before the container is started.
    pub(super) async fn attach(api: &Api, name: &str) -> Result<Self, Halt> {
        let options = AttachContainerOptions {
            stream: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = api.attach_container(name, Some(options)).await;
        let attached = attached.map_err(|e| halt("a service could not be attached to", &e))?;
        let mut output = attached.output;
        let kept = Arc::new(Mutex::new(Kept::default()));
        let keeps = kept.clone();
        let pump = tokio::spawn(async move {
            while let Some(Ok(chunk)) = output.next().await {
                keeps.lock().unwrap_or_else(PoisonError::into_inner).add(&chunk.into_bytes());
            }
        });
        Ok(Self { kept, pump: AbortOnDropHandle::new(pump) })
    }

    /// Its last lines, as a part of the step's log.
    pub(super) async fn told(&self, alias: &str) -> String {
        for _ in 0..2 {
            // Of a container that has ended the line ends, too, a moment later.
            if !self.pump.is_finished() {
                tokio::time::sleep(LATE / 2).await;
            }
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).told(alias)
    }
}

impl Kept {
    fn add(&mut self, chunk: &[u8]) {
        let chunk = &chunk[chunk.len().saturating_sub(BYTES)..];
        let over = (self.bytes.len() + chunk.len()).saturating_sub(BYTES);
        self.cut |= over > 0;
        self.bytes.drain(..over);
        self.bytes.extend(chunk);
    }

    fn told(&mut self, alias: &str) -> String {
        let text = String::from_utf8_lossy(self.bytes.make_contiguous());
        // The begin of a line that was cut could be the end of something that must not be shown.
        let skip = usize::from(self.cut);
        let lines: Vec<&str> = text.lines().skip(skip).collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        if last.is_empty() {
            return format!("checkvalve: service `{alias}` said nothing\n");
        }
        let before = if self.cut || last.len() < lines.len() { "last" } else { "" };
        let mut told = format!("checkvalve: service `{alias}` said {before}").trim_end().to_owned();
        told.push_str(":\n");
        for line in last {
            let _ = writeln!(told, "{alias} | {line}");
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_told() {
        let mut kept = Kept::default();
        assert_eq!(kept.told("db"), "checkvalve: service `db` said nothing\n");
        kept.add(b"one\ntw");
        kept.add(b"o\n");
        assert_eq!(kept.told("db"), "checkvalve: service `db` said:\ndb | one\ndb | two\n");
        for line in 0..20_000 {
            kept.add(format!("line {line}\n").as_bytes());
        }
        let told = kept.told("db");
        assert!(
            told.starts_with("checkvalve: service `db` said last:\ndb | line 19900\n"),
            "{told}"
        );
        assert_eq!(told.lines().count(), LINES + 1);
        kept.add(&vec![b'x'; 2 * BYTES]);
        assert_eq!(kept.told("db"), "checkvalve: service `db` said nothing\n", "a line's end");
    }
}
