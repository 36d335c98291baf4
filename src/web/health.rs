//! `/healthz`: the process lives. `/readyz`: what it stands on answers.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Web;

/// How long each of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer of [`Health::engine`].
pub type EngineAnswer<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// What `/readyz` asks beside the database and the object store.
pub trait Health: Debug + Send + Sync {
    /// Does the container engine answer? The error says what is wrong and names the mend.
    fn engine(&self) -> EngineAnswer<'_>;
}

/// For a server without workers, or with the host executor: there is no engine to ask.
#[derive(Debug, Clone, Copy)]
pub struct NoEngine;

impl Health for NoEngine {
    fn engine(&self) -> EngineAnswer<'_> {
        Box::pin(async { Ok(()) })
    }
}

/// `GET /healthz`
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 503 if anything fails. The texts name no address or credential: those are in our
/// own log.
pub(crate) async fn ready(State(web): State<Arc<Web>>) -> Response {
    let (database, store, engine) = tokio::join!(
        judged("database", async { web.store.check().await.map_err(|e| e.to_string()) }),
        judged("store", async { web.blobs.check().await.map_err(|e| e.to_string()) }),
        judged("engine", web.health.engine()),
    );
    let ready = [&database, &store, &engine].iter().all(|part| part["ok"] == true);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": ready, "database": database, "store": store, "engine": engine});
    (status, Json(body)).into_response()
}

async fn judged(what: &'static str, asked: impl Future<Output = Result<(), String>>) -> Value {
    let error = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => return json!({"ok": true}),
        Ok(Err(error)) => error,
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    tracing::warn!(what, error, "not ready");
    json!({"ok": false, "error": format!("the {what} does not answer; see the server's log")})
}
