//! One try at one step: in a container of its own, or in the one where others ran before it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Said};
use super::container::{self, Container, Start};
use super::left::{self, Form, Left};
use super::secrets::Handover;
use super::{Docker, Given, Held, image, network, watch};
use crate::domain::pipeline::Network;
use crate::exec::{Course, Exit, Halt, StepRun, unless_stopped};

/// What a container that was started is held by.
pub(super) enum Attached<'c> {
    Watch(watch::Watch<'c>),
    Agent(Agent),
}

impl Docker {
    pub(super) async fn try_run(
        &self,
        given: &Given<'_>,
        on: Option<Left>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Given { step, cancel, .. } = *given;
        let (image, from) = match on {
            Some(Left { image, base, form: Form::Alive(container, agent) }) => {
                course.image_digest.clone_from(&image.digest);
                course.enter("run");
                let held = Held { container, agent: None, image, base };
                return self.go_on(held, agent, given, course).await;
            }
            Some(Left { image, form: Form::Kept(kept), .. }) => (image, Some(kept)),
            Some(ready @ Left { form: Form::Ready { .. }, .. }) => {
                if let Some(held) = ready.ready_for(step) {
                    course.image_digest.clone_from(&held.image.digest);
                    return self.start_in(held, given, course).await;
                }
                let found = self.find_image(&step.image, course);
                (unless_stopped(cancel, found).await?, None)
            }
            // Divided, there is none that has only ended.
            Some(Left { form: Form::Ended(_), .. }) | None => {
                let found = self.find_image(&step.image, course);
                (unless_stopped(cancel, found).await?, None)
            }
        };
        course.image_digest.clone_from(&image.digest);
        let own = from.as_ref().map_or(&image.id, |kept| &kept.id).clone();
        let beside = self.services(given, &own, course).await?;
        let network = beside.as_ref().map(|beside| beside.network().to_owned());
        let result = self.try_alone(given, (image, from), network, course).await;
        let Some(beside) = beside else { return result };
        let result = beside.after(result, given.log).await;
        beside.end().await;
        result
    }

    /// The network of a step without services: none, or the one that steps share.
    pub(super) async fn network_of(
        &self,
        step: &StepRun,
        cancel: &CancellationToken,
    ) -> Result<String, Halt> {
        match step.network {
            Network::None => Ok("none".to_owned()),
            Network::Bridge if step.guarded => match &self.options.guarded_network {
                None => Ok("none".to_owned()),
                Some(name) => unless_stopped(cancel, network::prepared(&self.api, name)).await,
            },
            Network::Bridge => {
                let (name, turn) = (&self.options.network, &*self.network_turn);
                unless_stopped(cancel, network::ensure(&self.api, name, turn)).await
            }
        }
    }

    /// Runs the step in a container of its own, on a network of its own if it has one.
    async fn try_alone(
        &self,
        given: &Given<'_>,
        (image, from): (image::Image, Option<Arc<left::Kept>>),
        network: Option<String>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Given { step, cancel, .. } = *given;
        course.enter("create");
        let network = match network {
            Some(own) => own,
            None => self.network_of(step, cancel).await?,
        };
        let id = from.as_ref().map_or(&image.id, |kept| &kept.id);
        let body = if image.is_shared(step) {
            self.shared_body(step, id, network)
        } else {
            self.body(step, (id, from.is_some()), network)?
        };
        let made = Container::create(&self.api, &self.removals, &step.image, body).await;
        let container = made.map_err(|halt| match (halt, &from) {
            // What another step left has been removed in the meantime: it can be made again.
            (Halt::Errored { reason, .. }, Some(_)) => Halt::again(reason),
            (halt, _) => halt,
        })?;
        // From here on the container is there: whatever happens, it is left to the step's heirs,
        // or removed and waited for.
        let held = Held { container, agent: None, image, base: from };
        let result = self.use_container(held, given, course).await;
        course.leave();
        result
    }

    async fn use_container(
        &self,
        held: Held,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        if held.base.is_none() {
            let upload = self.upload(&held.container, given.step, &held.image);
            if let Err(halt) = unless_stopped(given.cancel, upload).await {
                held.container.remove().await;
                return Err(halt);
            }
        }
        self.start_in(held, given, course).await
    }

    /// Runs the step in a container that has all it needs but a process.
    async fn start_in(
        &self,
        held: Held,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        course.enter("start");
        let shared = held.image.is_shared(given.step);
        let attached = match self.start(&held.container, shared, given).await {
            Ok(attached) => attached,
            Err(halt) => {
                held.container.remove().await;
                return Err(halt);
            }
        };
        course.enter("run");
        match attached {
            Attached::Agent(agent) => self.go_on(held, agent, given, course).await,
            Attached::Watch(watch) => {
                let (grace, cancel) = (self.options.grace, given.cancel);
                let ended = watch.until_exit(cancel, grace, &given.step.image).await;
                self.leave(held, ended, given, course).await
            }
        }
    }

    /// Runs the step where others ran before it, or will after it.
    async fn go_on(
        &self,
        held: Held,
        mut agent: Agent,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Given { step, log, cancel } = *given;
        let script = match self.standalone(step) {
            Ok(script) => script,
            Err(halt) => return self.leave(held, Err(halt), given, course).await,
        };
        let stop = (cancel, self.options.grace);
        let (ended, agent) = match agent.run(&held.container, &script, log, stop).await {
            Ok(Said::Lives { exit, alone }) => (Ok(exit), alone.then_some(agent)),
            Ok(Said::Ended(exit)) => (Ok(exit), None),
            Err(halt) => (Err(halt), None),
        };
        self.leave(Held { agent, ..held }, ended, given, course).await
    }

    /// Takes out what is wanted of the step, and hands its container on, or removes it.
    pub(super) async fn leave(
        &self,
        held: Held,
        ended: Result<Exit, Halt>,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Held { container, agent, image, base } = held;
        let ended = match ended {
            Ok(exit) => self.finish(&container, exit, given, course).await,
            Err(halt) => Err(halt),
        };
        course.leave();
        match ended {
            Ok(exit) if given.step.leave && !exit.stopped => {
                let form = match agent {
                    Some(agent) => Form::Alive(container, agent),
                    None => Form::Ended(container.ended().await),
                };
                Ok((exit, Some(Left { image, base, form })))
            }
            Ok(exit) => {
                container.remove().await;
                Ok((exit, None))
            }
            Err(halt) => {
                container.remove().await;
                Err(halt)
            }
        }
    }

    async fn finish(
        &self,
        container: &Container,
        mut exit: Exit,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<Exit, Halt> {
        let Given { step, log, .. } = *given;
        if exit.reason.as_deref() == Some(watch::OUT_OF_MEMORY) {
            let mib = self.granted(step.resources).memory >> 20;
            exit.reason = Some(format!("out of memory: limit {mib} MiB"));
        }
        if step.keep_out {
            course.enter("collect");
            for note in self.collect(container, step).await? {
                // Nobody to read it is nobody to miss it.
                let _ = log.send(format!("checkvalve: {note}\n").into()).await;
            }
        }
        Ok(exit)
    }

    /// Starts a container, attached before, so that no output is missed.
    pub(super) async fn start<'c>(
        &'c self,
        container: &'c Container,
        shared: bool,
        given: &Given<'_>,
    ) -> Result<Attached<'c>, Halt> {
        let Given { step, log, cancel } = *given;
        let permit = unless_stopped(cancel, async {
            self.starts.acquire().await.map_err(|e| Halt::again(e.to_string()))
        });
        let _permit = permit.await?;
        let mut tries = 0;
        loop {
            // A start that fails ends what was attached before it.
            let handover = Handover::attach(&self.api, container.name(), &step.secrets).await?;
            let attached = if shared {
                Attached::Agent(Agent::attach(container, &step.image).await?)
            } else {
                let watch = watch::Watch::begin(&self.api, container.name(), log.clone());
                Attached::Watch(watch.await?)
            };
            tries += 1;
            match container.start(&step.image, tries < container::AMBIGUOUS).await? {
                Start::Done => {
                    if let Some(handover) = handover {
                        unless_stopped(cancel, handover.give()).await?;
                    }
                    return Ok(attached);
                }
                Start::Again => tokio::time::sleep(container::SOON).await,
            }
        }
    }
}
