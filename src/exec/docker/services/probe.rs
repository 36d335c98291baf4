//! Asks whether a service is ready, from within: what an engine far away has on its networks can't
//! be reached from here.

use std::time::Duration;

use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::super::container::{Container, host_config, labels};
use super::super::watch::{is_running, judge_container};
use super::super::{ApiError, Docker, Halt, halt, told};
use crate::domain::service::Ready;
use crate::domain::time::human;
use crate::exec::Labels;

/// Is there somebody who listens on the port (`$1`, four hexadecimal digits) for others than
/// itself? Nothing but what a shell has built in.
const LISTENS: &str = r"for file in /proc/net/tcp /proc/net/tcp6; do
  [ -r $file ] && while read -r _ at _ state _; do
    case $state:$at in
      0A:*7F:$1 | 0A:00000000000000000000000001000000:$1) ;;
      0A:*:$1) exit 0 ;;
    esac
  done <$file
done
echo nothing listens on it for others
exit 1";
/// The same, until there is.
const WAITS: &str = "while ! (LISTENS) >/dev/null; do sleep 0.2 || sleep 1; done";

/// The first pause between two tries; they double up to the interval.
const SOON: Duration = Duration::from_millis(100);
/// How long one try may take: a program that hangs is not ready.
const TRY: Duration = Duration::from_secs(10);
/// How much of what a probe said is told.
const SAID: usize = 500;

/// Looks at a service again and again.
pub(super) struct Look<'a> {
    docker: &'a Docker,
    name: &'a str,
    ready: &'a Ready,
    /// An image with a shell, and whose a container of it is.
    shell: (&'a str, &'a Labels),
    /// Looks at the port where the service has no shell.
    helper: Option<Container>,
    over: Instant,
    pause: Duration,
    last: String,
}

/// What a program in a container came to.
struct Answer {
    code: Option<i64>,
    said: String,
}

impl<'a> Look<'a> {
    pub(super) fn at(
        docker: &'a Docker,
        name: &'a str,
        ready: &'a Ready,
        shell: (&'a str, &'a Labels),
    ) -> Self {
        let over = Instant::now() + ready.timeout();
        let (last, helper) = (String::new(), None);
        Self { docker, name, ready, shell, helper, over, pause: SOON, last }
    }

    /// Ends what looked.
    pub(super) async fn close(self) {
        if let Some(helper) = self.helper {
            helper.remove().await;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.over
    }

    pub(super) async fn pause(&mut self) {
        let left = self.over.saturating_duration_since(Instant::now());
        self.pause = self.pause.min(self.ready.interval());
        sleep(self.pause.min(left)).await;
        self.pause = self.pause.saturating_mul(2);
    }

    /// `within 30 s: port 5432: nothing listens on it`
    pub(super) fn told(&self) -> String {
        let within = human(self.ready.timeout());
        let within = within.strip_suffix(" 00 s").unwrap_or(&within);
        format!("within {within}: {}", self.last)
    }

    /// Is it ready? An error is the engine's.
    pub(super) async fn again(&mut self) -> Result<bool, Halt> {
        let left = self.over.saturating_duration_since(Instant::now());
        let limit = left.clamp(Duration::from_secs(1), TRY);
        if let Some(port) = self.ready.port {
            match timeout(limit, self.listens(port)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(why))) => {
                    self.last = format!("port {port}: {why}");
                    return Ok(false);
                }
                Ok(Err(halt)) => return Err(halt),
                Err(_) => {
                    self.last = format!("port {port} could not be looked at in time");
                    return Ok(false);
                }
            }
        }
        if self.ready.run.is_empty() {
            return Ok(true);
        }
        let probe = self.ready.told();
        let why = match timeout(limit, self.exec(&self.ready.run)).await {
            Ok(Ok(Answer { code: Some(0), .. })) => return Ok(true),
            Ok(Ok(Answer { code, said })) => {
                let code = code.map_or("nothing".to_owned(), |code| code.to_string());
                let said = if said.is_empty() { said } else { format!(" ({said})") };
                format!("{probe} answered {code}{said}")
            }
            Ok(Err(e)) => refused(&probe, &e)?,
            Err(_) => format!("{probe} did not answer within {}", human(limit)),
        };
        self.last = why;
        Ok(false)
    }

    /// Why nobody can reach the port yet.
    async fn listens(&mut self, port: u16) -> Result<Option<String>, Halt> {
        if let Some(helper) = &self.helper {
            if is_running(helper).await? {
                return Ok(Some("nothing listens on it for others".to_owned()));
            }
            let exit = judge_container(helper, false, false).await?;
            let why = format!("looking at it ended with status {}", exit.code);
            return Ok((exit.code != 0).then_some(why));
        }
        let words = ["sh", "-c", LISTENS, "sh", &format!("{port:04X}")].map(str::to_owned);
        match self.exec(&words).await {
            Ok(Answer { code: Some(0), .. }) => Ok(None),
            Ok(Answer { code: Some(126 | 127), .. }) => self.help(port).await,
            Ok(Answer { said, .. }) => Ok(Some(said)),
            Err(e) if lacks_program(&e) => self.help(port).await,
            Err(e) => refused("looking at it", &e).map(Some),
        }
    }

    /// A service without a shell is looked at from a container that shares its network.
    async fn help(&mut self, port: u16) -> Result<Option<String>, Halt> {
        let (image, of) = self.shell;
        let network = format!("container:{}", self.name);
        let script = WAITS.replace("LISTENS", LISTENS);
        let words = ["sh", "-c", &script, "sh", &format!("{port:04X}")].map(str::to_owned);
        let mut host = host_config(network, self.docker.granted(None));
        host.tmpfs = None;
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(words.to_vec()),
            labels: Some(labels(of)),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let docker = self.docker;
        let helper = Container::create(&docker.api, &docker.removals, image, body).await?;
        match helper.start(image, false).await {
            // The service has ended since it was looked at: the next look finds that.
            Err(Halt::Errored { reason, .. }) if reason.contains("non running container") => {
                helper.remove().await;
                return Ok(Some("it ends".to_owned()));
            }
            started => drop(started?),
        }
        self.helper = Some(helper);
        Ok(Some("nothing listens on it for others".to_owned()))
    }

    async fn exec(&self, words: &[String]) -> Result<Answer, ApiError> {
        let config = ExecConfig {
            cmd: Some(words.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let api = &self.docker.api;
        let id = api.create_exec(self.name, config).await?.id;
        let started = api.start_exec(&id, None::<StartExecOptions>).await?;
        let mut said = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(chunk) = output.next().await {
                let chunk = chunk?.into_bytes();
                let room = SAID - said.len();
                said.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        }
        let code = api.inspect_exec(&id).await?.exit_code;
        let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Answer { code, said })
    }
}

/// The engine's own refusal (a program that is not there, a container that has just ended) is an
/// answer; an engine that does not answer is ours.
fn refused(probe: &str, error: &ApiError) -> Result<String, Halt> {
    if matches!(error, ApiError::DockerResponseServerError { .. }) {
        return Ok(format!("{probe} could not be run: {}", told(error)));
    }
    Err(halt("a service could not be looked at", error))
}

fn lacks_program(error: &ApiError) -> bool {
    let text = told(error);
    text.contains("executable file not found") || text.contains("no such file or directory")
}
