//! Several steps in one container: a shell that is handed one step after the other over its
//! standard input, and tells how each one ended.
//!
//! Between two steps every process but that shell is ended, so that what a step left running can
//! neither change the next one's verdict nor write into its log. The word about a step's end holds
//! a mark that the shell learns before the step begins, over a pipe, and keeps in a variable of its
//! own. A step that means harm can get around that, as the shell is its own user's: it could as well
//! change the files that its heirs inherit. It gains no more than that by it.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as ApiError;
use bollard::exec::StartExecOptions;
use bollard::models::ExecConfig;
use bollard::query_parameters::{AttachContainerOptions, KillContainerOptions};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use memchr::memmem;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::container::{Container, no_shell};
use super::output::remember;
use super::watch::{OUT_OF_MEMORY, Witness, found_nothing, is_running, judge_container};
use super::{Exit, Halt, halt, told};
use crate::ambient;

/// Reads a mark, then lines up to the same mark again, says that it begins, runs them as a script,
/// ends what is left of it, and prints the mark, the script's status, how many processes could not be ended, and how
/// many the kernel has ended for want of memory. Two processes stay: the engine's init and this
/// shell. Nothing but what a shell has built in.
pub(super) const SCRIPT: &str = r#"exec 2>/dev/null
trap : TERM
folder=$PWD
killed() {
  for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r $file ] && while read -r key value; do [ "$key" = oom_kill ] && ooms=$value; done <$file
  done
}
ooms=0
while IFS= read -r mark; do
  script=
  while IFS= read -r line && [ "$line" != "$mark" ]; do script="$script$line
"; done
  printf '\036%s begin\036' "$mark"
  (cd "$folder" && exec sh -e -c "$script") </dev/null 2>&1
  status=$?
  kill -s KILL -- -1
  tries=0
  while set -- /proc/[0-9]*; [ $# -gt 2 ] && [ $tries -lt 2000 ]; do tries=$((tries + 1)); done
  left=$(($# - 2))
  killed
  printf '\036%s %s %s %s\036' "$mark" "$status" $left $ooms
done
"#;

/// More bytes than the shell ever says at once.
const LONGEST: usize = 100;
/// Before and behind what the shell says.
const FENCE: u8 = 0x1e;
/// How long a quiet engine is waited for before the container is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How long the order to end may take to arrive.
const ORDER: Duration = Duration::from_secs(5);

/// A running container that takes steps.
pub(super) struct Agent {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, ApiError>> + Send>>,
    head: Vec<u8>,
    /// The image, for people.
    image: String,
    /// How many processes the kernel has ended for want of memory.
    ooms: u64,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

/// How a step in a shared container ended.
pub(super) enum Said {
    /// The container lives on; `alone` if nothing of the step does.
    Lives { exit: Exit, alone: bool },
    /// The container ended with it.
    Ended(Exit),
}

/// What was heard of a step.
struct Heard {
    /// Absent if the container ended before the shell could say it.
    word: Option<Word>,
    stopped: bool,
    reader: Reader,
}

/// The end of a step, as the shell tells it.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    status: i64,
    left: u32,
    /// Since the container began.
    ooms: u64,
}

impl Agent {
    /// To be called before the container is started.
    pub(super) async fn attach(
        container: &Container,
        image: impl Into<String>,
    ) -> Result<Self, Halt> {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = container.api().attach_container(container.name(), Some(options)).await;
        let AttachContainerResults { output, input } =
            attached.map_err(|e| halt("the container could not be attached to", &e))?;
        Ok(Self { input, output, head: Vec::new(), image: image.into(), ooms: 0 })
    }

    /// Runs a script. `stop` ends it: SIGTERM to all its processes, and SIGKILL after `grace`.
    /// All of its output is in the log then.
    pub(super) async fn run(
        &mut self,
        container: &Container,
        script: &str,
        log: &mpsc::Sender<Bytes>,
        stop: (&CancellationToken, Duration),
    ) -> Result<Said, Halt> {
        let mut witness = Witness::of(container);
        let heard = self.listen((container, &mut witness), script, log, stop).await?;
        let Heard { word, stopped, mut reader } = heard;
        let Some(Word { status, left, ooms }) = word else {
            let rest = reader.rest();
            if !rest.is_empty() {
                let _ = log.send(rest).await;
            }
            let lost = !witness.saw_the_end().await;
            let exit = ended(container, (stopped, lost), &self.head, &self.image).await?;
            if !reader.begun && !stopped {
                return Err(Halt::again("the step's container ended before the step began"));
            }
            return Ok(Said::Ended(exit));
        };
        if left > 0 {
            let note = format!("checkvalve: {left} processes of the step could not be ended\n");
            let _ = log.send(note.into()).await;
        }
        let killed = std::mem::replace(&mut self.ooms, ooms) < ooms && status != 0 && !stopped;
        let reason = killed.then(|| OUT_OF_MEMORY.to_owned());
        let exit = Exit { code: status, reason, stopped };
        Ok(Said::Lives { exit, alone: left == 0 && !stopped })
    }

    /// Hands the script over and its output on, until the shell says that it has ended, or says no
    /// more.
    async fn listen(
        &mut self,
        (container, witness): (&Container, &mut Witness),
        script: &str,
        log: &mpsc::Sender<Bytes>,
        (stop, grace): (&CancellationToken, Duration),
    ) -> Result<Heard, Halt> {
        let mark = ambient::ulid().to_string();
        let order = format!("{mark}\n{script}\n{mark}\n");
        let Self { input, output, head, .. } = self;
        // A container that is gone already is met while its output is read.
        let mut sending = Box::pin(async {
            let _ = input.write_all(order.as_bytes()).await;
            let _ = input.flush().await;
        });
        let (mut sent, mut stopping) = (false, None);
        let mut reader = Reader::new(&mark);
        let word = loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled(), if stopping.is_none() => {
                    terminate(container).await;
                    stopping = Some(Instant::now() + grace);
                    continue;
                }
                () = until(stopping) => {
                    kill(container).await;
                    stopping = Some(Instant::now() + LOOK);
                    continue;
                }
                () = &mut sending, if !sent => {
                    sent = true;
                    continue;
                }
                () = witness.wait(), if !witness.is_done() => continue,
                // Last: a step that never stops printing must not keep the others from their turn.
                next = timeout(LOOK, output.next()) => next,
            };
            match next {
                Ok(Some(Ok(chunk))) => {
                    let chunk = chunk.into_bytes();
                    remember(head, &chunk);
                    let read = reader.read(chunk);
                    if !read.output.is_empty() {
                        // Without a reader the step goes on, its output read and forgotten.
                        let _ = log.send(read.output).await;
                    }
                    if read.word.is_some() {
                        break read.word;
                    }
                }
                Ok(Some(Err(_)) | None) => break None,
                Err(_quiet) if is_running(container).await? => {}
                Err(_quiet) => break None,
            }
        };
        Ok(Heard { word, stopped: stopping.is_some(), reader })
    }
}

/// The container went away under the step, by its own doing or somebody else's.
async fn ended(
    container: &Container,
    (stopped, lost): (bool, bool),
    head: &[u8],
    image: &str,
) -> Result<Exit, Halt> {
    let exit = judge_container(container, stopped, lost).await?;
    if found_nothing(exit.code, head) {
        return Err(no_shell(image, &String::from_utf8_lossy(head)));
    }
    if exit.code == 0 && !stopped {
        return Err(Halt::again("the line to the step's container broke"));
    }
    Ok(exit)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Asks every process of the step to end. The shell that runs the steps ignores it.
async fn terminate(container: &Container) {
    let order = ["sh", "-c", "kill -s TERM -- -1"].map(String::from).to_vec();
    let config = ExecConfig { cmd: Some(order), ..ExecConfig::default() };
    let asked = async {
        let made = container.api().create_exec(container.name(), config).await?;
        let options = StartExecOptions { detach: true, ..StartExecOptions::default() };
        container.api().start_exec(&made.id, Some(options)).await
    };
    match timeout(ORDER, asked).await {
        Ok(Ok(_)) => {}
        // It may just have ended, or be beyond hearing: SIGKILL comes next.
        Ok(Err(e)) => tracing::debug!(container = container.name(), "not asked: {}", told(&e)),
        Err(_) => tracing::debug!(container = container.name(), "not asked in time"),
    }
}

async fn kill(container: &Container) {
    let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
    if let Err(e) = container.api().kill_container(container.name(), Some(options)).await {
        tracing::debug!(container = container.name(), "not killed: {}", told(&e));
    }
}

/// What a chunk held.
struct Read {
    /// The step's.
    output: Bytes,
    /// The shell's, at its end.
    word: Option<Word>,
}

/// Tells a step's output from the shell's word about its end.
struct Reader {
    /// Fence, mark and blank.
    mark: Vec<u8>,
    finder: memmem::Finder<'static>,
    /// What may be the begin of the word.
    held: BytesMut,
    /// Has the shell said that the step begins?
    begun: bool,
}

impl Reader {
    fn new(mark: &str) -> Self {
        let mark = [&[FENCE], mark.as_bytes(), b" "].concat();
        let finder = memmem::Finder::new(&mark).into_owned();
        Self { mark, finder, held: BytesMut::new(), begun: false }
    }

    fn read(&mut self, chunk: Bytes) -> Read {
        let mut chunk = chunk;
        if !self.held.is_empty() {
            self.held.extend_from_slice(&chunk);
            chunk = self.held.split().freeze();
        }
        if let Some(at) = self.finder.find(&chunk) {
            let said = &chunk[at + self.mark.len()..];
            if let Some(end) = memchr::memchr(FENCE, said) {
                if said[..end] == *b"begin" && !self.begun {
                    self.begun = true;
                    let rest = at + self.mark.len() + end + 1;
                    return self.read(chunk.slice(rest..));
                }
                let word = word(&said[..end]);
                return Read { output: chunk.slice(..at), word: Some(word) };
            }
            if said.len() > LONGEST {
                // Nobody but the shell should know the mark, and it says little.
                let word = Word { status: 255, left: 1, ooms: 0 };
                return Read { output: chunk.slice(..at), word: Some(word) };
            }
            self.held.extend_from_slice(&chunk[at..]);
            return Read { output: chunk.slice(..at), word: None };
        }
        // A begin of the mark at the very end.
        let tail = chunk.len().saturating_sub(self.mark.len() - 1);
        let begins = memchr::memchr_iter(FENCE, &chunk[tail..]).map(|at| tail + at);
        let held = begins.into_iter().find(|at| self.mark.starts_with(&chunk[*at..]));
        let cut = held.unwrap_or(chunk.len());
        self.held.extend_from_slice(&chunk[cut..]);
        Read { output: chunk.slice(..cut), word: None }
    }

    /// What was held back in vain.
    fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

/// `<status> <left> <ooms>`; what can't be read is taken for the worst.
fn word(said: &[u8]) -> Word {
    let said = std::str::from_utf8(said).unwrap_or_default();
    let mut numbers = said.split(' ').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    let (status, left, ooms) = (next(), next(), next());
    Word {
        status: status.unwrap_or(255),
        left: left.and_then(|left| u32::try_from(left).ok()).unwrap_or(1),
        ooms: ooms.and_then(|ooms| u64::try_from(ooms).ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> (Vec<u8>, Option<Word>) {
        let mut reader = Reader::new("MARK");
        let mut output = Vec::new();
        for chunk in chunks {
            let read = reader.read(Bytes::copy_from_slice(chunk));
            output.extend_from_slice(&read.output);
            if read.word.is_some() {
                return (output, read.word);
            }
        }
        output.extend_from_slice(&reader.rest());
        (output, None)
    }

    #[test]
    fn a_step_that_has_begun_is_told_from_one_that_has_not() {
        let mut reader = Reader::new("MARK");
        assert!(reader.read(Bytes::from_static(b"\x1eMARK be")).output.is_empty() && !reader.begun);
        let read = reader.read(Bytes::from_static(b"gin\x1eout\x1eMARK 0 0 0\x1e"));
        assert!(reader.begun && read.output == "out" && read.word.is_some());
    }

    #[test]
    fn a_word_without_end_is_the_worst() {
        let mut reader = Reader::new("MARK");
        assert!(reader.read(Bytes::from_static(b"\x1eMARK ")).word.is_none());
        let endless = Bytes::from(vec![b'x'; 10 * LONGEST]);
        assert_eq!(reader.read(endless).word, Some(Word { status: 255, left: 1, ooms: 0 }));
    }

    #[test]
    fn only_the_shell_knows_the_mark() {
        let told = b"a\x1eMARX 0 0 0\x1eb\x1eMARK 3 1 7\x1e";
        let word = Word { status: 3, left: 1, ooms: 7 };
        assert_eq!(read(&[told]), (b"a\x1eMARX 0 0 0\x1eb".to_vec(), Some(word)));
        assert_eq!(read(&[b"x\x1eMA"]), (b"x\x1eMA".to_vec(), None));
    }

    proptest! {
        #[test]
        fn the_word_is_found_however_the_output_is_cut(
            before in proptest::collection::vec(prop_oneof![Just(0x1e), Just(b'M'), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(0_usize..90, 0..6),
        ) {
            let whole = [&before[..], b"\x1eMARK 0 0 0\x1e"].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks), (before, Some(Word { status: 0, left: 0, ooms: 0 })));
        }
    }

    /// The script runs in any POSIX shell; here as a plain process, where `kill -1` must not run.
    #[test]
    fn the_script_hands_over_one_step_after_the_other() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let script = SCRIPT.replace("kill -s KILL -- -1", "").replace("-lt 2000", "-lt 1");
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let order =
            "A\necho one; echo two >&2; x='A B'\n\nexit 3\nA\nB\ncat; echo ${x:-unset}\nB\n";
        shell.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let parts: Vec<&str> = text.split('\x1e').collect();
        assert!(parts[..3] == ["", "A begin", "one\ntwo\n"], "{text:?}");
        assert!(parts[3].starts_with("A 3 ") && parts[5] == "B begin", "{text:?}");
        assert!(parts[6] == "unset\n" && parts[7].starts_with("B 0 "), "{text:?}");
    }
}
