//! The network of steps that may use one: a bridge of our own on which containers can't reach
//! each other, so that no job sees another's ports. All installations on an engine share it: there
//! is nothing on it to be seen, and an engine has room for some thirty networks only.

use std::collections::HashMap;

use bollard::Docker as Api;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;

use super::container::is_missing;
use super::{ApiError, Halt, told};

/// The network's name.
pub(super) const STEPS: &str = "checkvalve-steps";

/// Makes the network if it is not there.
pub(super) async fn ensure(api: &Api) -> Result<(), Halt> {
    match api.inspect_network(STEPS, None::<InspectNetworkOptions>).await {
        Ok(_) => return Ok(()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(halt(&error)),
    }
    let isolated = ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
    let request = NetworkCreateRequest {
        name: STEPS.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from([isolated])),
        labels: Some(HashMap::from([("io.checkvalve.network".to_owned(), "steps".to_owned())])),
        ..NetworkCreateRequest::default()
    };
    match api.create_network(request).await {
        // 409: another step was faster.
        Ok(_) | Err(ApiError::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
        Err(error) => Err(halt(&error)),
    }
}

fn halt(error: &ApiError) -> Halt {
    Halt::again(format!("the network `{STEPS}` could not be made: {}", told(error)))
}
