//! The web room: the webhook route, the pages, the JSON API, live events.
//!
//! It meets the service's loops in the database alone. Every page is a view of a stored run and is
//! whole without script; the one script keeps an open page current. Nothing here decides what runs.

mod access;
mod api;
mod assets;
mod control;
mod error;
mod events;
mod files;
mod follow;
mod headers;
mod health;
mod hook;
mod logs;
mod metrics;
mod names;
mod pages;
mod range;
mod routes;
mod setup;
mod signers;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::domain::links::Links;
use crate::store::Store;

pub use health::{EngineAnswer, Health, NoEngine};
pub use metrics::Metrics;
pub use setup::{AppSecrets, Registration, TOKEN_LIFE};
pub use signers::{GivenSecrets, Signers, SignersError, kept_secret, opened_secret};

/// How long answers under way may still take once the server was asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// All that the routes need.
#[derive(Debug)]
pub struct Web {
    pub store: Store,
    pub blobs: Blobs,
    pub links: Links,
    /// Who may sign deliveries.
    pub signers: Arc<Signers>,
    /// Makes the App when there is none; absent where the settings name one.
    pub registration: Option<Arc<Registration>>,
    /// Opens private repositories and the changing routes of the API; absent: neither is open.
    pub api_token: Option<SecretString>,
    /// `CHECKVALVE_KEY`: keys the comparison of tokens; cookies and CSRF tokens when login comes.
    pub key: Arc<[u8; 32]>,
    pub health: Arc<dyn Health>,
    pub metrics: Arc<Metrics>,
    /// Ends the live streams, which would else outlive every graceful stop.
    pub stop: CancellationToken,
}

/// All routes.
pub fn router(state: Web) -> Router {
    routes::router(Arc::new(state))
}

/// Serves until `stop`; then lets answers under way end, but no longer than ten seconds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    // Events are small writes that should leave at once.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
    });
    let stopped = stop.clone().cancelled_owned();
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
    tokio::select! {
        ended = async { server.await } => ended,
        () = drained(&stop) => Ok(()),
    }
}

async fn drained(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}
