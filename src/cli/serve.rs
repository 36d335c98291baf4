//! `serve` and `worker`: the loops put together.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::app;
use super::engine::docker_options;
use super::exit::UsageError;
use super::front::{Front, Ground};
use super::state_dir::{StateDir, clear};
use crate::ambient;
use crate::blobs::Blobs;
use crate::config::server::{ExecutorKind, Served, Settings};
use crate::domain::ids::WorkerId;
use crate::domain::links::Links;
use crate::engine::{Engine, EngineOptions};
use crate::exec::Executor as _;
use crate::exec::docker::{Docker, DockerOptions, Reaper};
use crate::exec::host::Host;
use crate::exec::{Executors, Trust};
use crate::git::GitCache;
use crate::github::Github;
use crate::secrets::Providers;
use crate::secrets::seal::Seal;
use crate::service::archive::Archivist;
use crate::service::commands::{self, Answers};
use crate::service::intake::Intake;
use crate::service::janitor::Janitor;
use crate::service::ledger::SharedPoints;
use crate::service::places::Places;
use crate::service::planner::Planner;
use crate::service::publisher::Publisher;
use crate::service::recovery::Recovery;
use crate::service::rotations::Keeper;
use crate::service::schedule::{self, Scheduler};
use crate::service::secrets::SecretAccess;
use crate::service::source::Sources;
use crate::service::ticking::{Rhythm, drive};
use crate::service::worker::Worker;
use crate::store::{Store, Topic};
use crate::web::{self, Signers};

/// Which parts of the program run in this process.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Webhook, pages, intake, planning, publishing.
    pub server: bool,
    /// Jobs at once; 0: none.
    pub workers: usize,
}

/// A running server (or worker).
#[derive(Debug)]
pub struct Running {
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    pub links: Links,
    pub store: Store,
    pub worker: WorkerId,
    stop: CancellationToken,
    tasks: TaskTracker,
    janitor: Janitor,
    docker: Option<Docker>,
    /// Its lock goes last: who takes our place clears our spool and expires our leases.
    _state: StateDir,
}

impl Running {
    /// Stops all loops, gives unfinished jobs back, and clears this host's containers.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        let patience = Duration::from_secs(20);
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            warn!("some loops did not end in {patience:?}");
        }
        // The engine may still be making one that was asked for as we were told to stop.
        if let Some(docker) = &self.docker {
            docker.settled().await;
        }
        if let Err(error) = self.janitor.reap().await {
            warn!("containers were left behind: {error:#}");
        }
    }
}

/// What the loops share.
struct Common {
    store: Store,
    blobs: Blobs,
    github: Arc<Github>,
    links: Links,
    sources: Sources,
    archivist: Archivist,
    worker: WorkerId,
}

/// Puts everything together and starts it.
pub async fn start(settings: &Settings, parts: Parts) -> anyhow::Result<Running> {
    understood(settings)?;
    let state = StateDir::open(&settings.state_dir(ambient::env)?)?;
    let listen = settings.listen()?;
    // Bound first: the address may be asked for with port 0, and links need the true one.
    let listener = if parts.server { Some(bind(listen).await?) } else { None };
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let links = Links {
        public: settings.public_url(address.unwrap_or(listen))?,
        github: settings.github_url()?,
    };
    let ground = Ground::open(settings, &state, links).await?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let known = app::known(settings, &ground.store, &ground.seal).await?;
    let known = known.map(|app| app::github(settings, app)).transpose()?;
    let executors = executors(settings, &state, parts).await?;
    let (github, signers) = match listener {
        None => (known.ok_or_else(app::none_yet)?, None),
        Some(listener) => {
            let front = Front::open(settings, &ground, known.is_some()).await?;
            let web = front.web(settings, &ground, executors.as_ref(), &stop);
            tasks.spawn(web::serve(listener, web::router(web), stop.clone()));
            (front.github(settings, &ground, known).await?, Some(front.signers))
        }
    };
    let common = connect(settings, &state, ground, github)?;
    let docker = match &executors {
        Some(Executors::Docker(docker)) => Some(docker.clone()),
        Some(Executors::Host(_)) | None => None,
    };
    let janitor = janitor(settings, &common, docker.as_ref().map(Docker::reaper))?;
    common.store.expire_leases_of(common.worker).await?;
    if let Err(error) = janitor.reap().await {
        warn!("containers of an earlier process were not looked at: {error:#}");
    }
    let setup = Setup {
        settings,
        state: &state,
        common: &common,
        executors: executors.as_ref(),
        tasks: &tasks,
        stop: &stop,
    };
    if let Some(signers) = signers {
        serve(setup, signers)?;
    }
    if parts.workers > 0 {
        work(setup, parts.workers)?;
    }
    clean(setup, &janitor);
    if let Some(address) = address {
        info!("listening on http://{address}, seen from outside as {}", common.links.public);
    }
    let (store, worker) = (common.store.clone(), common.worker);
    let links = common.links;
    Ok(Running { address, links, store, worker, stop, tasks, janitor, docker, _state: state })
}

/// Wrong settings are refused before anything is started, not when they are first needed.
fn understood(settings: &Settings) -> anyhow::Result<()> {
    settings.key()?;
    settings.executor()?;
    settings.lease()?;
    settings.slots()?;
    settings.resources(None)?;
    settings.retention()?;
    settings.recovery()?;
    Ok(())
}

async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        let mend = if error.kind() == io::ErrorKind::AddrInUse {
            "another program has that port; stop it, or choose another with --listen"
        } else {
            "choose another address with --listen; ports below 1024 need privileges"
        };
        anyhow::anyhow!("can't listen on {listen}: {error} ({mend})")
    })
}

fn connect(
    settings: &Settings,
    state: &StateDir,
    ground: Ground,
    github: Github,
) -> anyhow::Result<Common> {
    let Ground { store, blobs, links, worker, .. } = ground;
    let points = SharedPoints { store: store.clone() };
    let github = Arc::new(github.sharing(Arc::new(points)));
    let sources = Sources {
        github: github.clone(),
        cache: GitCache::new(state.folder("git")?).with_ca_file(trusted_by_git(settings, state)?),
        github_url: links.github.clone(),
    };
    let spool = state.spool()?;
    clear(&spool)?;
    let archivist = Archivist::new(store.clone(), blobs.clone(), links.clone(), spool);
    Ok(Common { store, blobs, github, links, sources, archivist, worker })
}

/// git takes one file in place of the system's authorities: theirs and ours, in the state folder.
fn trusted_by_git(settings: &Settings, state: &StateDir) -> anyhow::Result<Option<PathBuf>> {
    let Some(file) = settings.ca_file() else { return Ok(None) };
    let trust = Trust::with(&file)?;
    let all = state.path.join("ca.pem");
    let mut new = tempfile::NamedTempFile::new_in(&state.path)?;
    new.write_all(trust.pem())?;
    new.persist(&all)?;
    Ok(Some(all))
}

async fn executors(
    settings: &Settings,
    state: &StateDir,
    parts: Parts,
) -> anyhow::Result<Option<Executors>> {
    let trust = settings.ca_file().map(|file| Trust::with(&file)).transpose()?;
    match settings.executor()? {
        ExecutorKind::Host => Ok(Some(Executors::Host(Host::default().with_trust(trust)))),
        ExecutorKind::Docker => {
            let options = docker_options(state.instance.clone(), settings, trust);
            let options = options.map_err(UsageError::from)?;
            let options = DockerOptions { builds: Some(state.folder("builds")?), ..options };
            match Docker::connect(settings.text("DOCKER_HOST"), options).await {
                Ok(docker) => Ok(Some(Executors::Docker(docker))),
                Err(error) if parts.workers == 0 => {
                    info!("no engine here, and no workers either: {error}");
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

fn janitor(
    settings: &Settings,
    common: &Common,
    reaper: Option<Reaper>,
) -> anyhow::Result<Janitor> {
    Ok(Janitor {
        store: common.store.clone(),
        archivist: common.archivist.clone(),
        reaper,
        worker: common.worker,
        retention: settings.retention()?,
        kept: Arc::default(),
    })
}

/// What a part of the program is put together from.
#[derive(Clone, Copy)]
struct Setup<'a> {
    settings: &'a Settings,
    state: &'a StateDir,
    common: &'a Common,
    executors: Option<&'a Executors>,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Setup<'_> {
    /// Starts a loop that ends with everything else.
    fn start<F, W>(&self, rhythm: Rhythm, topic: Option<Topic>, pass: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = anyhow::Result<bool>> + Send + 'static,
    {
        let nudge = topic.map(|topic| self.common.store.nudge(topic));
        self.tasks.spawn(drive(rhythm, nudge, self.stop.clone(), pass));
    }
}

fn serve(setup: Setup<'_>, signers: Arc<Signers>) -> anyhow::Result<()> {
    let Setup { settings, common, .. } = setup;
    setup.start(Rhythm { name: "signers", period: Duration::from_secs(1) }, None, move || {
        let signers = signers.clone();
        async move { Ok(signers.look().await.map(|()| false)?) }
    });
    let served = Arc::new(settings.repositories()?);
    let (store, github) = (&common.store, &common.github);
    follow_branches(setup, &served);
    let answers = Answers { store: store.clone(), github: github.clone(), served: served.clone() };
    let intake = Intake { store: store.clone(), github: github.clone(), served };
    recover(setup, &intake)?;
    let planner = Planner {
        store: store.clone(),
        sources: common.sources.clone(),
        blobs: common.blobs.clone(),
        grants: settings.grants().clone(),
        worker: common.worker,
    };
    let publisher = Publisher {
        store: store.clone(),
        github: github.clone(),
        links: common.links.clone(),
        worker: common.worker,
    };
    let comparing = publisher.clone();
    setup.start(Rhythm { name: "comparing", period: Duration::from_secs(30) }, None, move || {
        let publisher = comparing.clone();
        async move { publisher.compare().await }
    });
    let (answers, stop) = (answers, setup.stop.clone());
    setup.start(Rhythm { name: "answers", period: commands::PERIOD }, None, move || {
        let (answers, stop) = (answers.clone(), stop.clone());
        async move { Ok(answers.pass(&stop).await.map(|()| false)?) }
    });
    // Several at once, so that one slow repository does not hold up the others.
    for _ in 0..4 {
        let stop = setup.stop.clone();
        let (intake, planner, publisher) = (intake.clone(), planner.clone(), publisher.clone());
        let each = |name| Rhythm { name, period: Duration::from_secs(2) };
        setup.start(each("intake"), Some(Topic::Deliveries), move || {
            let (intake, stop) = (intake.clone(), stop.clone());
            async move { intake.pass(&stop).await }
        });
        setup.start(each("planner"), Some(Topic::Planning), move || {
            let planner = planner.clone();
            async move { planner.pass().await }
        });
        setup.start(each("publisher"), Some(Topic::Heads), move || {
            let publisher = publisher.clone();
            async move { publisher.pass().await }
        });
    }
    Ok(())
}

/// Default branches and their schedules.
fn follow_branches(setup: Setup<'_>, served: &Arc<Served>) {
    let Setup { common, .. } = setup;
    let scheduler = Scheduler {
        store: common.store.clone(),
        github: common.github.clone(),
        sources: common.sources.clone(),
        served: served.clone(),
        worker: common.worker,
        pauses: Arc::default(),
    };
    let rhythm = Rhythm { name: "schedules", period: schedule::PERIOD };
    setup.start(rhythm, Some(Topic::Schedules), move || {
        let scheduler = scheduler.clone();
        async move { scheduler.pass(ambient::now()).await }
    });
}

/// What never came: deliveries, and runs of open pull requests.
fn recover(setup: Setup<'_>, intake: &Intake) -> anyhow::Result<()> {
    let every = setup.settings.recovery()?;
    let (intake, worker) = (intake.clone(), setup.common.worker);
    let kept = setup.settings.retention()?;
    let recovery = Recovery { intake, worker, every, kept, memory: Arc::default() };
    let stop = setup.stop.clone();
    setup.start(Rhythm { name: "recovery", period: every }, None, move || {
        let (recovery, stop) = (recovery.clone(), stop.clone());
        async move { recovery.pass(&stop).await }
    });
    Ok(())
}

fn work(setup: Setup<'_>, workers: usize) -> anyhow::Result<()> {
    let Setup { settings, state, common, .. } = setup;
    let executor = setup.executors.context("there is nothing to run steps with")?.clone();
    let resources = settings.resources(executor.capacity())?;
    let options = EngineOptions { resources, ..EngineOptions::default() };
    let providers = Arc::new(super::secrets::providers(settings, false)?);
    let keeper = keeper(setup, providers.clone())?;
    let worker = Worker {
        store: common.store.clone(),
        sources: common.sources.clone(),
        archivist: common.archivist.clone(),
        engine: Engine::with_options(executor, settings.slots()?, options),
        secrets: SecretAccess { providers, grants: settings.grants().clone() },
        keeper: keeper.clone(),
        worker: common.worker,
        instance: state.instance.clone(),
        spool: state.spool()?,
        term: settings.lease()?,
        places: Places::new(workers),
        tasks: setup.tasks.clone(),
    };
    for _ in 0..workers {
        let (worker, ending) = (worker.clone(), setup.stop.clone());
        let rhythm = Rhythm { name: "worker", period: Duration::from_secs(2) };
        setup.start(rhythm, Some(Topic::Jobs), move || {
            let (worker, ending) = (worker.clone(), ending.clone());
            async move { worker.pass(&ending).await }
        });
    }
    setup.start(Rhythm { name: "rotations", period: Duration::from_secs(2) }, None, move || {
        let keeper = keeper.clone();
        async move { keeper.pass().await }
    });
    Ok(())
}

fn keeper(setup: Setup<'_>, providers: Arc<Providers>) -> anyhow::Result<Keeper> {
    let seal = Arc::new(Seal::new(&setup.state.key(setup.settings)?)?);
    let Common { store, worker, .. } = setup.common;
    Ok(Keeper { store: store.clone(), providers, seal, worker: *worker })
}

fn clean(setup: Setup<'_>, janitor: &Janitor) {
    let archivist = setup.common.archivist.clone();
    let rhythm = Rhythm { name: "archive", period: Duration::from_secs(5) };
    setup.start(rhythm, Some(Topic::Runs), move || {
        let archivist = archivist.clone();
        async move { archivist.pass().await }
    });
    let reaping = janitor.clone();
    setup.start(Rhythm { name: "reaper", period: Duration::from_secs(30) }, None, move || {
        let janitor = reaping.clone();
        async move {
            janitor.reap().await?;
            janitor.reap_built().await
        }
    });
    let trimming = janitor.clone();
    setup.start(Rhythm { name: "snapshots", period: Duration::from_mins(10) }, None, move || {
        let janitor = trimming.clone();
        async move { janitor.trim().await }
    });
    let (sources, ending) = (setup.common.sources.clone(), setup.stop.clone());
    let store = setup.common.store.clone();
    setup.start(Rhythm { name: "git", period: Duration::from_hours(1) }, None, move || {
        let (sources, store, ending) = (sources.clone(), store.clone(), ending.clone());
        async move {
            // It takes minutes for a large repository, and is begun anew in an hour.
            let pack = pack(&sources, &store);
            ending.run_until_cancelled(pack).await.unwrap_or(Ok(false))
        }
    });
    let tidying = janitor.clone();
    setup.start(Rhythm { name: "janitor", period: Duration::from_secs(5) }, None, move || {
        let janitor = tidying.clone();
        async move { janitor.tidy().await }
    });
}

/// Packs the cached repositories. One that can't be packed is not tried again at once, since a full
/// disk would only get fuller, and does not keep the others from it.
async fn pack(sources: &Sources, store: &Store) -> anyhow::Result<bool> {
    for row in store.repositories().await? {
        if let Err(error) = sources.tidy(&row.repository).await {
            warn!(repository = %row.repository.name, "the git cache was not packed: {error}");
        }
    }
    Ok(false)
}

/// `serve` and `worker` from the command line: starts, waits for an end signal, stops.
pub async fn run(settings: &Settings, parts: Parts) -> anyhow::Result<()> {
    if parts.server {
        settings.repositories().map_err(UsageError::from)?;
    }
    settings.github_app().map_err(UsageError::from)?;
    let mut ended = std::pin::pin!(super::signals::end());
    // A database or an engine that does not answer must not keep us from our end.
    let running = tokio::select! {
        running = start(settings, parts) => running?,
        () = &mut ended => return Ok(()),
    };
    ended.await;
    info!("stopping: unfinished jobs go back to the queue");
    running.stop().await;
    Ok(())
}
