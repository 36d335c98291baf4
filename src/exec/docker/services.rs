//! What runs beside a step: its services, on a network that is theirs and the step's alone. They
//! are ready before it begins, and end with it, however it ends.

mod probe;
mod tail;

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, EndpointSettings, HealthConfig, NetworkingConfig};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::mpsc;

use super::container::{Container, host_config, labels};
use super::image::Image;
use super::network::OwnNetwork;
use super::watch::{OUT_OF_MEMORY, is_running, judge_container};
use super::{Course, Docker, Exit, Given, Halt, Left, unless_stopped};
use crate::domain::names::ServiceAlias;
use crate::domain::pipeline::Network;
use crate::domain::service::{Service, waves};
use crate::exec::{Labels, StepRun};
use probe::Look;
use tail::Tail;

/// The services of a step that is about to run, or runs.
#[derive(Debug)]
pub(super) struct Beside {
    network: OwnNetwork,
    running: Vec<Running>,
}

/// One of them.
#[derive(Debug)]
struct Running {
    service: Service,
    container: Container,
    output: Tail,
    /// Bytes of memory that it may use.
    memory: u64,
}

/// What a service is made from.
struct Site<'a> {
    step: &'a StepRun,
    images: &'a BTreeMap<&'a ServiceAlias, Image>,
    /// The step's own, which has a shell.
    own: &'a str,
}

impl Docker {
    /// Starts a step's services and waits until they are ready. `own` is the id of the step's image.
    pub(super) async fn services(
        &self,
        given: &Given<'_>,
        own: &str,
        course: &mut Course,
    ) -> Result<Option<Beside>, Halt> {
        let Given { step, cancel, log } = *given;
        if step.services.is_empty() {
            return Ok(None);
        }
        // The file's reader refuses such services with their line; this is the last guard.
        let waves = waves(&step.services).map_err(|unfit| Halt::never(unfit.to_string()))?;
        let mut images = BTreeMap::new();
        for Service { alias, image, .. } in &step.services {
            let found = unless_stopped(cancel, self.find_image(image, course)).await?;
            course.services.extend(found.digest.clone().map(|digest| (alias.clone(), digest)));
            images.insert(alias, found);
        }
        course.enter("services");
        let outside = step.network == Network::Bridge;
        let made = OwnNetwork::make(self, labels(&step.labels), outside);
        let network = unless_stopped(cancel, made).await?;
        let mut beside = Beside { network, running: Vec::new() };
        let site = Site { step, images: &images, own };
        for wave in waves {
            let begun = unless_stopped(cancel, self.begin(&mut beside, &wave, &site)).await;
            if let Err(halt) = begun {
                beside.tell(log).await;
                beside.end().await;
                return Err(halt);
            }
        }
        course.leave();
        Ok(Some(beside))
    }

    /// Starts services that wait for nobody any more, at once.
    async fn begin(
        &self,
        beside: &mut Beside,
        wave: &[&Service],
        site: &Site<'_>,
    ) -> Result<(), Halt> {
        let already = beside.running.len();
        let network = beside.network.name();
        let launches = wave.iter().map(|service| self.launch(service, network, site));
        let mut failed = None;
        for launched in join_all(launches).await {
            match launched {
                Ok(running) => beside.running.push(running),
                Err(halt) => failed = failed.or(Some(halt)),
            }
        }
        if let Some(halt) = failed {
            return Err(halt);
        }
        let labels = &site.step.labels;
        let ready = |running| self.until_ready(running, (site.own, labels));
        try_join_all(beside.running.iter().skip(already).map(ready)).await?;
        Ok(())
    }

    async fn launch(
        &self,
        service: &Service,
        network: &str,
        site: &Site<'_>,
    ) -> Result<Running, Halt> {
        let image = site.images.get(&service.alias);
        let id = image.map_or(service.image.as_str(), |image| image.id.as_str());
        let body = self.service_body(service, (id, network), &site.step.labels);
        let container = Container::create(&self.api, &self.removals, &service.image, body).await?;
        let output = Tail::attach(&self.api, container.name()).await?;
        let _permit = self.starts.acquire().await.map_err(|e| Halt::again(e.to_string()))?;
        container.start(&service.image, false).await?;
        let memory = self.granted(service.resources).memory;
        Ok(Running { service: service.clone(), container, output, memory })
    }

    /// The sandbox is a step's: no privileges, the capabilities that programs need which begin as
    /// root and become another user, limits, no log of the engine's.
    fn service_body(
        &self,
        service: &Service,
        (image, network): (&str, &str),
        of: &Labels,
    ) -> ContainerCreateBody {
        let some = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
        let env = service.env.iter().map(|(name, value)| format!("{name}={value}"));
        let endpoint = EndpointSettings {
            aliases: Some(vec![service.alias.to_string()]),
            ..EndpointSettings::default()
        };
        let mut host = host_config(network.to_owned(), self.granted(service.resources));
        host.tmpfs = None;
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: some(&service.entrypoint),
            cmd: some(&service.command),
            env: Some(env.collect()),
            labels: Some(labels(of)),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
            }),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    async fn until_ready(
        &self,
        running: &Running,
        (image, labels): (&str, &Labels),
    ) -> Result<(), Halt> {
        let Some(ready) = &running.service.ready else { return Ok(()) };
        let mut look = Look::at(self, running.container.name(), ready, (image, labels));
        let result = running.watch(&mut look).await;
        look.close().await;
        result
    }
}

impl Running {
    async fn watch(&self, look: &mut Look<'_>) -> Result<(), Halt> {
        loop {
            if !is_running(&self.container).await? {
                return Err(self.ended_too_soon().await);
            }
            if look.again().await? {
                return Ok(());
            }
            if look.is_over() {
                let alias = &self.service.alias;
                let reason = format!("service `{alias}` was not ready {}", look.told());
                return Err(Halt::Failed { reason });
            }
            look.pause().await;
        }
    }

    async fn ended_too_soon(&self) -> Halt {
        match judge_container(&self.container, false, false).await {
            Ok(exit) => {
                Halt::Failed { reason: format!("{} before it was ready", self.ended(&exit)) }
            }
            Err(halt) => halt,
        }
    }

    /// How it ended, in words.
    fn ended(&self, exit: &Exit) -> String {
        let alias = &self.service.alias;
        if exit.reason.as_deref() == Some(OUT_OF_MEMORY) {
            let mib = self.memory >> 20;
            return format!("service `{alias}` ran out of memory (limit {mib} MiB)");
        }
        format!("service `{alias}` ended with status {}", exit.code)
    }

    /// How it ended, if it has; what an engine does not say now it won't say of a step either.
    async fn end(&self) -> Option<Exit> {
        match is_running(&self.container).await {
            Ok(false) => judge_container(&self.container, false, false).await.ok(),
            Ok(true) | Err(_) => None,
        }
    }
}

impl Beside {
    /// The network on which the step reaches them.
    pub(super) fn network(&self) -> &str {
        self.network.name()
    }

    /// Looks after them once the step has ended: where it failed, what they said last is shown, and
    /// one that has ended is named.
    pub(super) async fn after(
        &self,
        result: Result<(Exit, Option<Left>), Halt>,
        log: &mpsc::Sender<Bytes>,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let (mut exit, left) = result?;
        if exit.stopped {
            return Ok((exit, left));
        }
        let mut dead = Vec::new();
        for (running, end) in
            self.running.iter().zip(join_all(self.running.iter().map(Running::end)).await)
        {
            dead.extend(end.filter(|end| end.code != 0).map(|end| running.ended(&end)));
        }
        let words = dead.join("; ");
        if exit.code != 0 {
            self.tell(log).await;
            if !dead.is_empty() && exit.reason.is_none() {
                exit.reason = Some(format!("{words} while the step ran"));
            }
        } else if !dead.is_empty() {
            let _ = log.send(format!("checkvalve: {words} while the step ran\n").into()).await;
        }
        Ok((exit, left))
    }

    /// Shows what each of them said last.
    async fn tell(&self, log: &mpsc::Sender<Bytes>) {
        let texts = self.running.iter().map(|one| one.output.told(one.service.alias.as_str()));
        for text in join_all(texts).await {
            // Nobody to read it is nobody to miss it.
            let _ = log.send(text.into()).await;
        }
    }

    /// Ends them all, and the network after them.
    pub(super) async fn end(self) {
        let Self { network, running } = self;
        join_all(running.into_iter().map(|running| running.container.remove())).await;
        network.remove().await;
    }
}
