//! One step's container: made without privileges, removed whatever happens.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::errors::Error as ApiError;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, RemoveContainerOptions, StartContainerOptions,
};

use tokio_util::task::TaskTracker;

use super::{Docker, Halt, agent, halt, secrets, told};
use crate::ambient;
use crate::ambient::failpoint::{self, Deed};
use crate::domain::build::AUTHORITIES_AT;
use crate::domain::names::StepId;
use crate::domain::output::place;
use crate::domain::pipeline::Resources;
use crate::exec::source::relative;
use crate::exec::{Labels, StepRun, Trust, script};

/// Below it each step has a folder of its own, its `$CHECKVALVE_OUT`.
const OUT: &str = "/checkvalve/out";
/// `$CHECKVALVE_SECRETS` in a container: in memory, so that no layer ever holds one.
pub(super) const SECRETS: &str = "/checkvalve/secrets";
/// What steps trust, if anything was said about it.
pub(super) const TRUST: &str = AUTHORITIES_AT;
/// Where the source tree lies, in the container's own layer.
const WORKSPACE: &str = place::WORKSPACE;

/// The kernel's limit of one argument, with its end.
const LONGEST: usize = 128 * 1024;
/// A step that never stops forking ends here, not the host.
const PROCESSES: i64 = 4096;
/// How often a start is tried again while the engine finds two networks of one name, and how soon.
pub(super) const AMBIGUOUS: u32 = 20;
pub(super) const SOON: Duration = Duration::from_millis(250);
/// What package managers can't do without; everything else is dropped.
const CAPABILITIES: [&str; 5] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID"];

pub(super) const LABEL_INSTANCE: &str = "io.checkvalve.instance";
pub(super) const LABEL_JOB: &str = "io.checkvalve.job";
pub(super) const LABEL_EPOCH: &str = "io.checkvalve.epoch";

impl Docker {
    /// A container for one step, whose end is the step's; from the image of that id, which may be
    /// what another step left.
    pub(super) fn body(
        &self,
        step: &StepRun,
        (image, inherited): (&str, bool),
        network: String,
    ) -> Result<ContainerCreateBody, Halt> {
        // What it leaves must not hold its variables, which an image of it would keep; and its
        // folder for outputs is not in what it inherits.
        let (command, env) = if step.leave || inherited {
            (self.standalone(step)?, Vec::new())
        } else {
            let env = self.variables(step).map(|(name, value)| format!("{name}={value}"));
            (script::script(&step.run), env.collect())
        };
        Ok(ContainerCreateBody {
            entrypoint: Some(["sh", "-e", "-c"].map(String::from).to_vec()),
            cmd: Some(secrets::command(command, &step.secrets)),
            env: Some(env),
            ..self.common(step, image, network)
        })
    }

    /// A container for this step and others after it.
    pub(super) fn shared_body(
        &self,
        step: &StepRun,
        image: &str,
        network: String,
    ) -> ContainerCreateBody {
        ContainerCreateBody {
            entrypoint: Some(["sh", "-c"].map(String::from).to_vec()),
            cmd: Some(vec![agent::SCRIPT.to_owned()]),
            attach_stdin: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            ..self.common(step, image, network)
        }
    }

    fn common(&self, step: &StepRun, image: &str, network: String) -> ContainerCreateBody {
        let workdir = relative(&step.workdir).display().to_string();
        let workdir = format!("{WORKSPACE}/{workdir}");
        let has_secrets = !step.secrets.is_empty();
        ContainerCreateBody {
            image: Some(image.to_owned()),
            working_dir: Some(workdir.trim_end_matches('/').to_owned()),
            labels: Some(labels(&step.labels)),
            attach_stdin: Some(has_secrets),
            open_stdin: Some(has_secrets),
            // Nobody attaches later to read what was written.
            stdin_once: Some(has_secrets),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // An image's own would run beside the step, with its output nowhere.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(HostConfig {
                // Of a stranger's code nothing is given back.
                cap_add: (!step.guarded).then(|| CAPABILITIES.map(String::from).to_vec()),
                ..host_config(network, self.granted(step.resources))
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// The step's commands with its variables, for a shell that has none of them.
    pub(super) fn standalone(&self, step: &StepRun) -> Result<String, Halt> {
        let variables: Vec<(String, String)> = self.variables(step).collect();
        let script = script::standalone(&variables, &out(&step.labels.step), &step.run);
        if script.len() < LONGEST { Ok(script) } else { Err(too_long()) }
    }

    fn variables<'s>(&'s self, step: &'s StepRun) -> impl Iterator<Item = (String, String)> + 's {
        let trusted = self.options.trust.iter().flat_map(Trust::variables);
        let trusted = trusted.filter(|name| !step.env.contains_key(*name));
        let own = step.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        own.chain(trusted.map(|name| (name.to_owned(), TRUST.to_owned()))).chain([
            ("CHECKVALVE_OUT".to_owned(), out(&step.labels.step)),
            ("CHECKVALVE_SECRETS".to_owned(), SECRETS.to_owned()),
        ])
    }

    /// What a step gets: an engine refuses more than it has, so that is the most.
    pub(super) fn granted(&self, asked: Option<Resources>) -> Resources {
        let Resources { cpus, memory } = asked.unwrap_or(self.limits);
        Resources { cpus: cpus.clamp(0.01, self.cores), memory }
    }
}

fn too_long() -> Halt {
    Halt::never(
        "the step's commands and variables are longer than the kernel takes (128 KiB each, and \
         together for a step that others inherit from or that inherits); move them into a script \
         in the repository",
    )
}

/// `$CHECKVALVE_OUT` of a step.
pub(super) fn out(step: &StepId) -> String {
    format!("{OUT}/{step}")
}

pub(super) fn host_config(network: String, limits: Resources) -> HostConfig {
    let memory = i64::try_from(limits.memory).unwrap_or(i64::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "a few cores in billionths fit well")]
    let nano_cpus = (limits.cpus * 1e9) as i64;
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(String::from).to_vec()),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        privileged: Some(false),
        // An init reaps orphans and lets SIGTERM end a shell, which as process 1 would ignore it.
        init: Some(true),
        pids_limit: Some(PROCESSES),
        memory: Some(memory),
        // Equal to the memory: no swap, so that a limit is a limit.
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus),
        // Output is taken by attaching; following stored logs is slow and can lose lines.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        network_mode: Some(network),
        tmpfs: Some(HashMap::from([(
            SECRETS.to_owned(),
            "rw,noexec,nosuid,nodev,size=16m,mode=1777".to_owned(),
        )])),
        ..HostConfig::default()
    }
}

pub(super) fn labels(labels: &Labels) -> HashMap<String, String> {
    [
        (LABEL_INSTANCE, labels.instance.clone()),
        ("io.checkvalve.run", labels.run.to_string()),
        (LABEL_JOB, labels.job.to_string()),
        (LABEL_EPOCH, labels.epoch.to_string()),
        ("io.checkvalve.connector", labels.connector.to_string()),
        ("io.checkvalve.step", labels.step.to_string()),
        ("io.checkvalve.attempt", labels.attempt.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// An image that no step can use: the pipeline's fault, but not the connector's failure.
pub(super) fn no_shell(image: &str, told: &str) -> Halt {
    let told = told.trim();
    Halt::never(format!(
        "image `{image}` has no `sh`, which the step's commands need; choose an image with a shell \
         ({told})"
    ))
}

/// How a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Done,
    /// Not now, but perhaps soon.
    Again,
}

/// A container that is removed when this goes out of scope, at the latest.
#[derive(Debug)]
pub(super) struct Container {
    api: Api,
    /// Ours, known before the engine is asked: an answer that never comes leaves nothing behind.
    name: String,
    armed: bool,
    removals: TaskTracker,
}

impl Container {
    pub(super) async fn create(
        api: &Api,
        removals: &TaskTracker,
        image: &str,
        body: ContainerCreateBody,
    ) -> Result<Self, Halt> {
        let name = format!("checkvalve-{}", ambient::ulid().to_string().to_lowercase());
        let (api, removals) = (api.clone(), removals.clone());
        let mut container = Self { api: api.clone(), name, armed: true, removals };
        let options =
            CreateContainerOptions { name: Some(container.name.clone()), ..Default::default() };
        match api.create_container(Some(options), body).await {
            Ok(_) => Ok(container),
            Err(e) => {
                // Refused, there is none; without an answer there may be one yet.
                container.armed = !matches!(e, ApiError::DockerResponseServerError { .. });
                Err(halt(&format!("no container of image `{image}` could be made"), &e))
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// Starts it. What fails here never was the step's: its commands have not begun. With `again`
    /// it may be worth another try soon.
    pub(super) async fn start(&self, image: &str, again: bool) -> Result<Start, Halt> {
        let started = self.api.start_container(&self.name, None::<StartContainerOptions>);
        let started = failpoint::around(Deed::Start, || image.to_owned(), started).await;
        let Err(error) = started else { return Ok(Start::Done) };
        let text = told(&error);
        // Two processes made the network at once, and the slower has not removed its own yet:
        // engines before 25 look it up by name here, whatever it was joined by.
        if again && text.contains("is ambiguous") {
            return Ok(Start::Again);
        }
        if text.contains("docker-init") {
            return Err(Halt::never(format!(
                "the Docker Engine lacks its init program, which steps run under; install \
                 `docker-init` beside it ({text})"
            )));
        }
        if text.contains("exec: \"sh\"") {
            return Err(no_shell(image, &text));
        }
        if text.contains("argument list too long") {
            return Err(too_long());
        }
        // An engine answers 4xx also for its own troubles here.
        Err(Halt::again(format!("the container of image `{image}` could not be started: {text}")))
    }

    /// The same, without a process: what it holds changes no more.
    pub(super) async fn ended(self) -> Self {
        let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
        match self.api.kill_container(&self.name, Some(options)).await {
            // It had ended already.
            Ok(()) | Err(ApiError::DockerResponseServerError { .. }) => {}
            Err(e) => tracing::debug!(container = self.name, error = told(&e), "not ended"),
        }
        self
    }

    /// Ends and removes it. Failing that, the reaper finds it by its labels.
    pub(super) async fn remove(mut self) {
        remove(&self.api, &self.name, false).await;
        self.armed = false;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Outside of a runtime there is nobody to ask; the reaper will see to it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (api, name) = (self.api.clone(), self.name.clone());
        // A creation that was under way may still come true.
        let removal = async move { remove(&api, &name, true).await };
        self.removals.spawn_on(removal, &runtime);
    }
}

/// Removes a container, running or not, with its anonymous volumes.
async fn remove(api: &Api, name: &str, may_yet_appear: bool) {
    const TRIES: u32 = 3;
    for again in (0..TRIES).rev() {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match api.remove_container(name, Some(options)).await {
            Ok(()) => return,
            Err(e) if is_missing(&e) && (again == 0 || !may_yet_appear) => return,
            Err(e) if again == 0 => {
                tracing::warn!(container = name, error = told(&e), "left to the reaper");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// The engine removes it already: someone else asked first.
pub(super) fn is_going(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 409, message }
        if message.contains("already in progress"))
}

pub(super) fn is_missing(error: &ApiError) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code: 404, .. })
}
