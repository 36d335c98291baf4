//! Takes a running container's output and waits for its end.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::errors::Error as ApiError;
use bollard::models::ContainerState;
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::container::{Container, is_missing, no_shell};
use super::output::{Output, Pumped};
use super::{Exit, Halt, halt, told};

/// How often a quiet engine is asked whether the container still runs. A line that was cut without
/// a word would else be waited for until the step's time is up.
pub(super) const LOOK: Duration = Duration::from_secs(30);
/// How long one look may take, and how many may fail before the engine counts as gone.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(10);
pub(super) const LOOKS: u32 = 3;

/// How long, and how many times, a container that was killed is looked at again.
pub(super) const SECOND_LOOK: Duration = Duration::from_millis(200);
pub(super) const SECOND_LOOKS: u32 = 4;
/// What the engine's init prints when there is no shell to run; its status is then 127 or 126, as
/// if it were the step's.
const NOTHING: &[u8] = b"[FATAL tini";
/// How long the end of the output and the end of the container may lie apart.
const APART: Duration = Duration::from_secs(5);

/// Why the kernel ended it.
pub(super) const OUT_OF_MEMORY: &str = "out of memory";

/// A container that is about to start: its output is attached before, so that none is missed.
pub(super) struct Watch<'a> {
    api: &'a Api,
    name: &'a str,
    log: mpsc::Sender<Bytes>,
    pump: AbortOnDropHandle<Pumped>,
    exited: CancellationToken,
}

/// How the wait for the end went.
struct End {
    /// Was the connection lost meanwhile? Then the status may be the engine's doing.
    lost: bool,
    stopped: bool,
}

impl<'a> Watch<'a> {
    pub(super) async fn begin(
        api: &'a Api,
        name: &'a str,
        log: mpsc::Sender<Bytes>,
    ) -> Result<Self, Halt> {
        let exited = CancellationToken::new();
        let output = Output::attach(api, name, log.clone(), exited.clone()).await;
        let output = output.map_err(|e| halt("the container could not be attached to", &e))?;
        let pump = AbortOnDropHandle::new(tokio::spawn(output.pump()));
        Ok(Self { api, name, log, pump, exited })
    }

    /// Waits until the container has ended by itself, or was ended because of `stop`: SIGTERM, and
    /// SIGKILL after `grace`. All of its output is in the log then. `image` is for people.
    pub(super) async fn until_exit(
        self,
        stop: &CancellationToken,
        grace: Duration,
        image: &str,
    ) -> Result<Exit, Halt> {
        let end = self.wait(stop, grace).await?;
        let state = self.inspect().await?;
        self.exited.cancel();
        let Self { api, name, log, pump, .. } = self;
        let pumped = pump.await.map_err(|e| Halt::again(e.to_string()))?;
        if let Err(why) = pumped.result {
            let note = format!("\ncheckvalve: the output was cut off here: {why}\n");
            let _ = log.send(note.into()).await;
        }
        if state.exit_code.is_some_and(|code| found_nothing(code, &pumped.head)) {
            return Err(no_shell(image, &String::from_utf8_lossy(&pumped.head)));
        }
        judge(api, name, &state, &end).await
    }

    async fn wait(&self, stop: &CancellationToken, grace: Duration) -> Result<End, Halt> {
        let mut lost = false;
        tokio::select! {
            biased;
            ended = self.ended(&mut lost) => {
                ended?;
                return Ok(End { lost, stopped: false });
            }
            () = stop.cancelled() => {}
        }
        self.signal("SIGTERM").await;
        if let Ok(ended) = tokio::time::timeout(grace, self.ended(&mut lost)).await {
            ended?;
        } else {
            self.signal("SIGKILL").await;
            self.ended(&mut lost).await?;
        }
        Ok(End { lost, stopped: true })
    }

    async fn signal(&self, signal: &str) {
        let options = KillContainerOptions { signal: signal.to_owned() };
        // It may just have ended, or the engine be away, which the wait finds out.
        if let Err(e) = self.api.kill_container(self.name, Some(options)).await {
            tracing::debug!(container = self.name, signal, error = told(&e), "not delivered");
        }
    }

    /// Resolves when the container no longer runs. Safe to drop and to call again.
    async fn ended(&self, lost: &mut bool) -> Result<(), Halt> {
        let mut failed = 0;
        loop {
            // "Not running" holds from the end on; "next exit" would have to be in place before
            // the start, and be waited for in vain once it was missed.
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            let mut wait = Box::pin(self.api.wait_container(self.name, Some(options)));
            let answer = tokio::time::timeout(LOOK, wait.next()).await;
            match answer {
                Ok(Some(Ok(_) | Err(ApiError::DockerContainerWaitError { .. }))) => return Ok(()),
                Ok(Some(Err(e))) if is_missing(&e) => return Err(vanished()),
                Ok(Some(Err(_)) | None) => {
                    *lost = true;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(_quiet) => {}
            }
            match tokio::time::timeout(LOOK_LIMIT, self.inspect()).await {
                Ok(Ok(state)) if state.running == Some(true) => failed = 0,
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(gone)) if failed + 1 == LOOKS => return Err(gone),
                Err(_) if failed + 1 == LOOKS => {
                    return Err(Halt::again("the Docker Engine does not answer any more"));
                }
                Ok(Err(_)) | Err(_) => failed += 1,
            }
        }
    }

    async fn inspect(&self) -> Result<ContainerState, Halt> {
        inspect(self.api, self.name).await
    }
}

async fn inspect(api: &Api, name: &str) -> Result<ContainerState, Halt> {
    match api.inspect_container(name, None::<InspectContainerOptions>).await {
        Ok(container) => container.state.ok_or_else(vanished),
        Err(e) if is_missing(&e) => Err(vanished()),
        Err(e) => Err(halt("the Docker Engine went away while the step ran", &e)),
    }
}

/// Waits for a container's end from before it on: an engine that was restarted meanwhile knows
/// how it found the container, and not how the step ended.
pub(super) struct Witness {
    end: Pin<Box<dyn Future<Output = bool> + Send>>,
    saw: Option<bool>,
}

impl Witness {
    pub(super) fn of(container: &Container) -> Self {
        let (api, name) = (container.api().clone(), container.name().to_owned());
        let end = async move {
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            let mut wait = Box::pin(api.wait_container(&name, Some(options)));
            matches!(
                wait.next().await,
                Some(Ok(_) | Err(ApiError::DockerContainerWaitError { .. }))
            )
        };
        Self { end: Box::pin(end), saw: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.saw.is_some()
    }

    pub(super) async fn wait(&mut self) {
        self.saw = Some((&mut self.end).await);
    }

    /// Did it see the end, all the time? To be asked when the end is near.
    pub(super) async fn saw_the_end(&mut self) -> bool {
        if self.saw.is_none() {
            let _ = tokio::time::timeout(APART, self.wait()).await;
        }
        self.saw == Some(true)
    }
}

/// How a container ended in which a step ran that was not to end it.
pub(super) async fn judge_container(
    container: &Container,
    stopped: bool,
    lost: bool,
) -> Result<Exit, Halt> {
    let (api, name) = (container.api(), container.name());
    let mut looks = 0;
    let state = loop {
        let state = inspect(api, name).await?;
        if state.running != Some(true) {
            break state;
        }
        // Its output ends a moment before it does; or else the line broke.
        looks += 1;
        if looks > SECOND_LOOKS {
            return Err(Halt::again("the line to the step's container broke"));
        }
        tokio::time::sleep(SECOND_LOOK).await;
    };
    judge(api, name, &state, &End { lost, stopped }).await
}

/// Does it run? An engine that does not answer is asked a few times.
pub(super) async fn is_running(container: &Container) -> Result<bool, Halt> {
    let mut failed = 0;
    loop {
        let look = inspect(container.api(), container.name());
        match tokio::time::timeout(LOOK_LIMIT, look).await {
            Ok(Ok(state)) => return Ok(state.running == Some(true)),
            Ok(Err(gone)) if failed + 1 == LOOKS => return Err(gone),
            Err(_) if failed + 1 == LOOKS => {
                return Err(Halt::again("the Docker Engine does not answer any more"));
            }
            Ok(Err(_)) | Err(_) => failed += 1,
        }
    }
}

fn vanished() -> Halt {
    Halt::again("the container was removed by somebody else while the step ran")
}

/// Did the init find nothing to run, by what was printed first?
pub(super) fn found_nothing(code: i64, head: &[u8]) -> bool {
    matches!(code, 126 | 127) && head.starts_with(NOTHING)
}

/// Is the status the step's own?
async fn judge(api: &Api, name: &str, state: &ContainerState, end: &End) -> Result<Exit, Halt> {
    let Some(code) = state.exit_code else {
        return Err(Halt::again("the engine does not know how the container ended"));
    };
    let mut out_of_memory = state.oom_killed == Some(true) && code != 0;
    // 255 is what an engine notes that found a container dead; the other two are its signals.
    let killed = matches!(code, 137 | 143 | 255);
    for _ in 0..SECOND_LOOKS {
        if !killed || end.stopped || out_of_memory {
            break;
        }
        // Word of a lack of memory comes a moment after the end. An engine that shuts down ends
        // its containers, reports that, and is gone. Who removes a container ends it first.
        tokio::time::sleep(SECOND_LOOK).await;
        match api.inspect_container(name, None::<InspectContainerOptions>).await {
            Err(e) if is_missing(&e) => return Err(vanished()),
            Ok(container) if !end.lost => {
                let oom_killed = container.state.and_then(|state| state.oom_killed);
                out_of_memory = oom_killed == Some(true);
            }
            Ok(_) | Err(_) => {
                return Err(Halt::again("the Docker Engine was stopped while the step ran"));
            }
        }
    }
    // The limit is known where the container is made.
    let reason = out_of_memory.then(|| OUT_OF_MEMORY.to_owned());
    Ok(Exit { code, reason, stopped: end.stopped })
}
