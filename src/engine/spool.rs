//! A try's log on its way to a file: redacted, counted, capped, and read for what it tells.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::Journal;
use crate::domain::names::StepId;
use crate::domain::output::{Reader, Told};
use crate::domain::redact::{RedactedStream, Redactor};
use crate::domain::state::Outcome;

/// How much of a log is kept beside the state: of one that tells of a failure, and of any other.
const TELLING: usize = 12 * 1024;
const LAST: usize = 4 * 1024;
/// How many chunks are written as one: an engine's have up to 32 KiB, and many steps print at once.
const BATCH: usize = 32;

/// What the log came to.
#[derive(Debug, Default)]
pub(super) struct Spooled {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) cut: u64,
    pub(super) told: Box<Told>,
    redactor: Arc<Redactor>,
}

impl Spooled {
    /// What is kept of the log beside the state.
    pub(super) fn excerpt(&self, outcome: Outcome) -> String {
        let excerpt = match outcome {
            Outcome::Succeeded => self.told.last(LAST),
            Outcome::Failed | Outcome::TimedOut | Outcome::Errored | Outcome::Cancelled => {
                self.told.telling(TELLING)
            }
        };
        // Without terminal sequences, a value may have come together again.
        self.redactor.text(&excerpt).into_owned()
    }
}

/// The file of a try's log.
pub(super) struct Spool {
    path: PathBuf,
    file: File,
    cap: u64,
    bytes: u64,
    cut: u64,
    reader: Box<Reader>,
    redactor: Arc<Redactor>,
}

impl Spool {
    pub(super) async fn create(path: &Path, cap: u64, redactor: Arc<Redactor>) -> io::Result<Self> {
        let file = File::create(path).await.map_err(|e| place(path, &e))?;
        let path = path.to_owned();
        Ok(Self { path, file, cap, bytes: 0, cut: 0, reader: Box::default(), redactor })
    }

    /// Writes all that comes, until nobody sends any more. After an error the rest is only read,
    /// so that the step is not stuck.
    pub(super) async fn fill<J: Journal>(
        mut self,
        mut chunks: mpsc::Receiver<Bytes>,
        (journal, step, attempt): (&J, &StepId, u32),
        on_error: impl FnOnce(),
    ) -> io::Result<Spooled> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut redacted = RedactedStream::new(self.redactor.clone());
        loop {
            let ended = chunks.recv_many(&mut batch, BATCH).await == 0;
            // Before the first byte is written anywhere.
            let chunk = if ended { redacted.finish() } else { redacted.push(joined(&mut batch)) };
            let offset = self.bytes;
            match self.write(chunk).await {
                Ok(Some(written)) => journal.printed(step, attempt, offset, &written).await,
                Ok(None) => {}
                Err(e) => {
                    on_error();
                    while chunks.recv().await.is_some() {}
                    return Err(place(&self.path, &e));
                }
            }
            if ended {
                break;
            }
        }
        self.file.flush().await.map_err(|e| place(&self.path, &e))?;
        let Self { bytes, cut, redactor, .. } = self;
        let told = Box::new(self.reader.finish());
        Ok(Spooled { bytes, lines: told.lines(), cut, told, redactor })
    }

    /// Writes what the cap leaves room for, and answers it.
    async fn write(&mut self, mut chunk: Bytes) -> io::Result<Option<Bytes>> {
        if chunk.is_empty() {
            return Ok(None);
        }
        if self.cut > 0 {
            self.cut += chunk.len() as u64;
            return Ok(None);
        }
        let room = usize::try_from(self.cap - self.bytes).unwrap_or(usize::MAX);
        if chunk.len() > room {
            self.cut = (chunk.len() - room) as u64;
            let mut last = BytesMut::from(&chunk[..room]);
            let note = format!(
                "\ncheckvalve: the log is cut off here: a step may print {} MiB, the rest is not \
                 kept\n",
                self.cap >> 20
            );
            last.extend_from_slice(note.as_bytes());
            chunk = last.freeze();
        }
        self.file.write_all(&chunk).await?;
        self.bytes += chunk.len() as u64;
        self.reader.push(&chunk);
        Ok(Some(chunk))
    }
}

fn place(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn joined(batch: &mut Vec<Bytes>) -> Bytes {
    if batch.len() == 1 {
        return batch.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(batch.iter().map(Bytes::len).sum());
    for chunk in batch.drain(..) {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::StepRecord;
    use crate::engine::{Kept, Left};

    struct Deaf;

    impl Journal for Deaf {
        type Error = io::Error;

        async fn record(&self, _: &[StepRecord]) -> io::Result<()> {
            Ok(())
        }

        async fn printed(&self, _: &StepId, _: u32, _: u64, _: &Bytes) {}

        async fn keep(&self, _: &Left) -> io::Result<Kept> {
            Ok(Kept::default())
        }
    }

    async fn spooled(path: &Path, cap: u64, chunks: &[&[u8]]) -> io::Result<Spooled> {
        let name = "token".parse().unwrap();
        let redactor = Redactor::new([(&name, b"sesame-open-42".as_slice())], "source-x").unwrap();
        let (sender, receiver) = mpsc::channel(100);
        for chunk in chunks {
            sender.send(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        drop(sender);
        let step = "unit".parse().unwrap();
        Spool::create(path, cap, Arc::new(redactor))
            .await?
            .fill(receiver, (&Deaf, &step, 1), || {})
            .await
    }

    #[tokio::test]
    async fn a_log_is_counted_and_its_end_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        let log = spooled(&path, 1 << 20, &[b"a\nb", b"\n\x1b[31mred\x1b[0m\xff"]).await.unwrap();
        assert_eq!((log.bytes, log.lines, log.cut), (17, 3, 0));
        assert_eq!(log.excerpt(Outcome::Failed), "a\nb\nred\u{fffd}");
        let told = b"\x1b]0;title\x07a\n\x1b]8;;x\x1b\\link\n\x1b]0;no end\nb\x07";
        let log = spooled(&path, 1 << 20, &[told]).await.unwrap();
        assert_eq!(log.excerpt(Outcome::Succeeded), "a\nlink\n\nb");
        let many = "0123456789\n".repeat(5000);
        let log = spooled(&path, 1 << 20, &[many.as_bytes()]).await.unwrap();
        assert_eq!((log.bytes, log.lines), (55_000, 5000));
        let excerpt = log.excerpt(Outcome::Failed);
        assert!(excerpt.len() <= TELLING && excerpt.len() > TELLING / 2, "{}", excerpt.len());
        assert!(excerpt.contains(" lines left out …\n0123456789\n"), "{excerpt}");
        assert!(log.excerpt(Outcome::Succeeded).len() <= LAST);
    }

    #[tokio::test]
    async fn the_cap_is_said_in_the_log_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        let log = spooled(&path, 5, &[b"1234", b"5678", b"9"]).await.unwrap();
        assert_eq!(log.cut, 4);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("12345\ncheckvalve: the log is cut off here"), "{text}");
        assert_eq!(text.len() as u64, log.bytes);
    }

    #[tokio::test]
    async fn a_secret_reaches_neither_the_log_nor_its_remembered_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        let chunks: [&[u8]; 4] = [b"a sesame-", b"open-42\n", b"sesame-\x1b[1mopen-42\n", b"ses"];
        let log = spooled(&path, 1 << 20, &chunks).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "a ***\nsesame-\x1b[1mopen-42\nses");
        assert_eq!(log.bytes, text.len() as u64);
        assert_eq!(log.excerpt(Outcome::Failed), "a ***\n***\nses");
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_that_names_the_place() {
        let error = spooled(Path::new("/dev/full"), 1 << 30, &[&[b'x'; 9000]]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }
}
