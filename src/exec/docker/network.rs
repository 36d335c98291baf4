//! The network of steps that may use one: a bridge of our own on which containers can't reach
//! each other, so that no job sees another's ports. All installations on an engine share it: there
//! is nothing on it to be seen, and an engine has room for some thirty networks only.

use std::collections::HashMap;

use bollard::Docker as Api;
use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions};
use tokio::sync::Mutex;

use super::{ApiError, Halt, told};

/// The network's name.
pub(super) const STEPS: &str = "checkvalve-steps";

/// May containers on it reach each other?
const NEIGHBOURS: &str = "com.docker.network.bridge.enable_icc";
const MTU: &str = "com.docker.network.driver.mtu";

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
    let made = make(api, name).await?;
    let chosen = find(api, name).await?;
    let chosen = chosen.ok_or_else(|| Halt::again(format!("the network `{name}` vanished")))?;
    if let Some(made) = made.filter(|made| *made != chosen) {
        // Another process was faster. Failing this, there is one more that nobody uses.
        let _ = api.remove_network(&made).await;
    }
    Ok(chosen)
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
        Some(network) => Ok(network.id.clone()),
        None if named.is_empty() => Ok(None),
        // Steps would reach each other's ports.
        None => Err(Halt::never(format!(
            "the engine's network `{name}` is not as Checkvalve makes it (a bridge with \
             {NEIGHBOURS}=false): remove it, and it is made anew"
        ))),
    }
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
        labels: Some(HashMap::from([("io.checkvalve.network".to_owned(), "steps".to_owned())])),
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
