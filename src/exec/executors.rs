//! The executors that the product has, as one.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::docker::Docker;
use super::images::{BuildEnd, ImageBuild, Said, Scan, Talk, TalkEnd};
use super::{Divided, Division, Ended, ExecError, Executor, StepRun, Trust, docker, host};
use crate::domain::pipeline::Resources;

/// The executors that the product has.
#[derive(Debug, Clone)]
pub enum Executors {
    Docker(Docker),
    Host(host::Host),
}

impl Executors {
    /// Waits until nothing is left of runs that were dropped. Whoever is about to exit should.
    pub async fn settled(&self) {
        match self {
            Self::Docker(docker) => docker.settled().await,
            Self::Host(_) => {}
        }
    }
}

/// What steps of either executor leave.
#[derive(Debug)]
pub enum Lefts {
    Docker(Box<docker::Left>),
    Host(host::Left),
}

impl Executor for Executors {
    type Left = Lefts;

    async fn run(
        &self,
        step: StepRun,
        on: Option<Lefts>,
        log: mpsc::Sender<Bytes>,
        cancel: CancellationToken,
    ) -> (Ended, Option<Lefts>) {
        match self {
            Self::Docker(docker) => {
                let (ended, left) = docker.run(step, on.and_then(docker_s), log, cancel).await;
                (ended, left.map(docker_left))
            }
            Self::Host(host) => {
                let (ended, left) = host.run(step, on.and_then(host_s), log, cancel).await;
                (ended, left.map(Lefts::Host))
            }
        }
    }

    async fn warm(&self, step: StepRun) -> Option<Lefts> {
        match self {
            Self::Docker(docker) => docker.warm(step).await.map(docker_left),
            Self::Host(host) => host.warm(step).await.map(Lefts::Host),
        }
    }

    async fn divide(&self, left: Lefts, into: Division) -> Divided<Lefts> {
        match (self, left) {
            (Self::Docker(docker), Lefts::Docker(left)) => {
                docker.divide(*left, into).await.map(docker_left)
            }
            (Self::Host(host), Lefts::Host(left)) => host.divide(left, into).await.map(Lefts::Host),
            (Self::Docker(_), Lefts::Host(_)) | (Self::Host(_), Lefts::Docker(_)) => {
                Divided::nothing()
            }
        }
    }

    fn capacity(&self) -> Option<Resources> {
        match self {
            Self::Docker(docker) => docker.capacity(),
            Self::Host(host) => host.capacity(),
        }
    }

    fn identity(&self) -> Option<String> {
        match self {
            Self::Docker(docker) => docker.identity(),
            Self::Host(host) => host.identity(),
        }
    }

    fn trust(&self) -> Option<Trust> {
        match self {
            Self::Docker(docker) => docker.trust(),
            Self::Host(host) => host.trust(),
        }
    }

    async fn identify(&self, image: &str) -> Result<Option<String>, String> {
        match self {
            Self::Docker(docker) => docker.identify(image).await,
            Self::Host(host) => host.identify(image).await,
        }
    }

    async fn keep(&self, share: Lefts, name: &str) {
        match (self, share) {
            (Self::Docker(docker), Lefts::Docker(share)) => docker.keep(*share, name).await,
            (Self::Host(host), Lefts::Host(share)) => host.keep(share, name).await,
            (Self::Docker(_), Lefts::Host(_)) | (Self::Host(_), Lefts::Docker(_)) => {}
        }
    }

    async fn recall(&self, name: &str) -> Option<Lefts> {
        match self {
            Self::Docker(docker) => docker.recall(name).await.map(docker_left),
            Self::Host(host) => host.recall(name).await.map(Lefts::Host),
        }
    }

    async fn build(
        &self,
        build: ImageBuild,
        log: mpsc::Sender<Bytes>,
        stop: CancellationToken,
    ) -> BuildEnd {
        match self {
            Self::Docker(docker) => docker.build(build, log, stop).await,
            Self::Host(host) => host.build(build, log, stop).await,
        }
    }

    async fn talk(&self, talk: Talk, said: mpsc::Sender<Said>, stop: CancellationToken) -> TalkEnd {
        match self {
            Self::Docker(docker) => docker.talk(talk, said, stop).await,
            Self::Host(host) => host.talk(talk, said, stop).await,
        }
    }

    async fn scan(&self, scan: Scan, log: mpsc::Sender<Bytes>, stop: CancellationToken) -> Ended {
        match self {
            Self::Docker(docker) => docker.scan(scan, log, stop).await,
            Self::Host(host) => host.scan(scan, log, stop).await,
        }
    }

    async fn forget(&self, image: &str) -> Result<(), ExecError> {
        match self {
            Self::Docker(docker) => docker.forget(image).await,
            Self::Host(host) => host.forget(image).await,
        }
    }
}

fn docker_left(left: docker::Left) -> Lefts {
    Lefts::Docker(Box::new(left))
}

fn docker_s(left: Lefts) -> Option<docker::Left> {
    match left {
        Lefts::Docker(left) => Some(*left),
        Lefts::Host(_) => None,
    }
}

fn host_s(left: Lefts) -> Option<host::Left> {
    match left {
        Lefts::Host(left) => Some(left),
        Lefts::Docker(_) => None,
    }
}
