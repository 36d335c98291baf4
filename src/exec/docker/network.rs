//! The network of steps that may use one: a bridge of our own on which containers can't reach
//! each other, so that no job sees another's ports. All installations on an engine share it: there
//! is nothing on it to be seen, and an engine has room for some thirty networks only. A step with
//! services has a network of its own, from a pool of ours that has room for thousands.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::container::is_missing;
use super::{ApiError, Docker, Halt, told};
use crate::ambient;
use crate::domain::subnet::Subnet;

/// The network's name.
pub(super) const STEPS: &str = "checkvalve-steps";

/// Of the network that all steps share.
const LABEL: &str = "io.checkvalve.network";
/// May containers on it reach each other?
const NEIGHBOURS: &str = "com.docker.network.bridge.enable_icc";
const MTU: &str = "com.docker.network.driver.mtu";
/// Has the bridge no address, by which containers would reach the host?
const NO_ADDRESS: &str = "com.docker.network.bridge.inhibit_ipv4";
/// How many pieces of the pool are tried: others may be taken by who is no engine's network, or by
/// another process just now.
const TRIES: u32 = 64;
/// A network goes after its containers, which an engine may be slow to let go of.
const REMOVALS: u32 = 20;
const SOON: Duration = Duration::from_millis(250);

/// Finds the network, or makes it; its id, by which containers join it: engines before 25 make a
/// second one of the same name without a word when they are asked twice at once, and from then on
/// refuse the name as ambiguous.
pub(super) async fn ensure(api: &Api, name: &str, turn: &Mutex<()>) -> Result<String, Halt> {
    if let Some(id) = find(api, name).await? {
        return Ok(id);
    }
    // Of this process one asks; other processes may, too.
    let _turn = turn.lock().await;
    if let Some(id) = find(api, name).await? {
        return Ok(id);
    }
    let asked = Instant::now();
    let made = make(api, name).await?;
    // One that another process has asked for is dated by then, and may be seen as late.
    tokio::time::sleep(asked.elapsed().max(SOON)).await;
    let chosen = find(api, name).await?;
    let chosen = chosen.ok_or_else(|| Halt::again(format!("the network `{name}` vanished")))?;
    if let Some(made) = made.filter(|made| *made != chosen) {
        // Another process was faster. Failing this, it goes with the next look.
        let _ = api.remove_network(&made).await;
    }
    Ok(chosen)
}

/// A network that somebody else made: it must be there, and is not the host's own.
pub(super) async fn prepared(api: &Api, name: &str) -> Result<String, Halt> {
    let found = api.inspect_network(name, None::<InspectNetworkOptions>).await;
    let mend = "make it, or have CHECKVALVE_UNTRUSTED_NETWORK name another";
    let network = match found {
        Ok(network) => network,
        Err(error) if is_missing(&error) => {
            let why = format!("the network `{name}`, for steps before an approval, is not there");
            return Err(Halt::never(format!("{why}: {mend}")));
        }
        Err(error) => return Err(halt(name, &error)),
    };
    if network.driver.as_deref() == Some("host") {
        let why = format!("the network `{name}`, for steps before an approval, is the host's own");
        return Err(Halt::never(format!("{why}: {mend}")));
    }
    network.id.ok_or_else(|| Halt::again(format!("the network `{name}` has no id")))
}

/// The oldest of this name: all processes choose the same one.
async fn find(api: &Api, name: &str) -> Result<Option<String>, Halt> {
    let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
    let options = ListNetworksOptions { filters: Some(filters) };
    let listed = api.list_networks(Some(options)).await.map_err(|error| halt(name, &error))?;
    // The filter finds every name that holds this one.
    let named: Vec<Network> =
        listed.into_iter().filter(|network| network.name.as_deref() == Some(name)).collect();
    let oldest = named
        .iter()
        .filter(|network| keeps_apart(network))
        .min_by_key(|network| (network.created.clone(), network.id.clone()));
    match oldest {
        Some(oldest) => {
            // With two of them neither can be used. A container that was to join one of these fails to
            // start, and its step is tried again.
            for younger in
                named.iter().filter(|network| network.id != oldest.id && is_ours(network))
            {
                let _ = api.remove_network(younger.id.as_deref().unwrap_or_default()).await;
            }
            Ok(oldest.id.clone())
        }
        None if named.is_empty() => Ok(None),
        // Steps would reach each other's ports.
        None => Err(Halt::never(format!(
            "the engine's network `{name}` is not as Checkvalve makes it (a bridge with \
             {NEIGHBOURS}=false): remove it, and it is made anew"
        ))),
    }
}

fn is_ours(network: &Network) -> bool {
    network.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL))
}

fn keeps_apart(network: &Network) -> bool {
    let option = network.options.as_ref().and_then(|options| options.get(NEIGHBOURS));
    network.driver.as_deref() == Some("bridge") && option.is_some_and(|value| value == "false")
}

/// Makes one; `None`: the engine says that there is one already.
async fn make(api: &Api, name: &str) -> Result<Option<String>, Halt> {
    let mut options = HashMap::from([(NEIGHBOURS.to_owned(), "false".to_owned())]);
    options.extend(mtu(api).await.map(|mtu| (MTU.to_owned(), mtu)));
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(options),
        labels: Some(HashMap::from([(LABEL.to_owned(), "steps".to_owned())])),
        ..NetworkCreateRequest::default()
    };
    match api.create_network(request).await {
        Ok(made) => Ok(Some(made.id)),
        Err(ApiError::DockerResponseServerError { status_code: 409, .. }) => Ok(None),
        Err(error) => Err(halt(name, &error)),
    }
}

/// The daemon's `mtu` holds for its default bridge alone. Where it is set the host's own line is
/// narrower, and larger packets may be lost without a word: downloads would hang.
async fn mtu(api: &Api) -> Option<String> {
    let default = api.inspect_network("bridge", None::<InspectNetworkOptions>).await.ok()?;
    default.options?.remove(MTU)
}

fn halt(name: &str, error: &ApiError) -> Halt {
    Halt::again(format!("the network `{name}` could not be made: {}", told(error)))
}

/// A network of one step and its services; removed when this goes out of scope, at the latest.
#[derive(Debug)]
pub(super) struct OwnNetwork {
    api: Api,
    /// Ours, known before the engine is asked.
    name: String,
    armed: bool,
    removals: TaskTracker,
}

impl OwnNetwork {
    /// `outside`: leads it beyond the step and its services?
    pub(super) async fn make(
        docker: &Docker,
        labels: HashMap<String, String>,
        outside: bool,
    ) -> Result<Self, Halt> {
        let api = &docker.api;
        let id = ambient::ulid();
        let name = format!("checkvalve-{}", id.to_string().to_lowercase());
        let mut options = HashMap::new();
        if outside {
            options.extend(mtu(api).await.map(|mtu| (MTU.to_owned(), mtu)));
        } else {
            options.insert(NO_ADDRESS.to_owned(), "true".to_owned());
        }
        let taken = taken(api).await.map_err(|error| halt(&name, &error))?;
        let removals = docker.removals.clone();
        let mut network = Self { api: api.clone(), name: name.clone(), armed: true, removals };
        let pool = docker.options.pool;
        // Processes that ask at once begin at other places.
        #[expect(clippy::cast_possible_truncation, reason = "its random end is what is wanted")]
        let from = id.0 as u32;
        let mut why = "every part of it is taken".to_owned();
        let free = |piece: &Subnet| !taken.iter().any(|taken| taken.overlaps(piece));
        let pieces = (0..pool.pieces()).map(|n| pool.piece(from.wrapping_add(n)));
        for piece in pieces.filter(free).take(TRIES as usize) {
            let config = IpamConfig { subnet: Some(piece.to_string()), ..IpamConfig::default() };
            let request = NetworkCreateRequest {
                name: name.clone(),
                driver: Some("bridge".to_owned()),
                internal: Some(!outside),
                options: Some(options.clone()),
                labels: Some(labels.clone()),
                ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
                ..NetworkCreateRequest::default()
            };
            match api.create_network(request).await {
                Ok(_) => return Ok(network),
                Err(error) if told(&error).contains("overlap") => why = told(&error),
                Err(error) => {
                    // Refused, there is none; without an answer there may be one yet.
                    network.armed = !matches!(error, ApiError::DockerResponseServerError { .. });
                    return Err(halt(&name, &error));
                }
            }
        }
        network.armed = false;
        Err(Halt::again(format!(
            "the step's services found no network in {pool}: {why}. Choose another range with \
             CHECKVALVE_NETWORK_POOL"
        )))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Once its containers are gone. Failing that, the reaper finds it by its labels.
    pub(super) async fn remove(mut self) {
        remove(&self.api, &self.name, false).await;
        self.armed = false;
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Outside of a runtime there is nobody to ask; the reaper will see to it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (api, name) = (self.api.clone(), self.name.clone());
        let removal = async move { remove(&api, &name, true).await };
        self.removals.spawn_on(removal, &runtime);
    }
}

/// With `may_yet_appear` its creation, or that of a container on it, may still be under way.
async fn remove(api: &Api, name: &str, may_yet_appear: bool) {
    for again in (0..REMOVALS).rev() {
        match api.remove_network(name).await {
            Ok(()) => return,
            Err(e) if is_missing(&e) && (!may_yet_appear || again < REMOVALS - 3) => return,
            Err(e) if again == 0 => {
                tracing::warn!(network = name, error = told(&e), "left to the reaper");
            }
            Err(_) => tokio::time::sleep(SOON).await,
        }
    }
}

/// What the engine's networks have.
async fn taken(api: &Api) -> Result<Vec<Subnet>, ApiError> {
    let networks = api.list_networks(None::<ListNetworksOptions>).await?;
    let configs = networks.into_iter().filter_map(|network| network.ipam?.config).flatten();
    Ok(configs.filter_map(|config| config.subnet?.parse().ok()).collect())
}
