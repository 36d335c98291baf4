//! Which address is answered by what, and what all answers go through.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};
use tower_http::trace::TraceLayer;
use tracing::Span;

use super::error::WebError;
use super::{
    Web, api, assets, control, error, events, files, headers, health, hook, metrics, pages, setup,
};

type Routes = Router<Arc<Web>>;

pub(crate) fn router(web: Arc<Web>) -> Router {
    let compressed =
        CompressionLayer::new().compress_when(DefaultPredicate::new().and(may_compress));
    let read = Routes::new()
        .merge(page_routes())
        .merge(api_routes())
        .merge(server_routes())
        .fallback(nothing_here)
        .layer(from_fn(headers::patience))
        .layer(compressed);
    // The hook stands beside the layers that it does not need: it is the one hot path.
    Routes::new()
        .route("/webhooks/github", post(hook::take))
        .merge(read)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&web), error::render))
        .layer(from_fn_with_state(Arc::clone(&web), headers::secure))
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .with_state(web)
}

fn page_routes() -> Routes {
    let mut routes = Routes::new()
        .route("/", get(pages::home))
        .route("/r/{owner}/{repo}", get(pages::repository))
        .route("/r/{owner}/{repo}/pull/{n}", get(pages::pull))
        .route("/r/{owner}/{repo}/connectors/{name}/badge.json", get(api::badge))
        .route("/runs/{run}", get(pages::run))
        .route("/runs/{run}/{connector}", get(pages::job))
        .route("/runs/{run}/{connector}/{step}", get(pages::step))
        .route("/runs/{run}/{connector}/{step}/artifacts/{*path}", get(files::artifact))
        .route("/assets/{name}", get(assets::show));
    for file in files::report_files() {
        routes = routes.route(&format!("/runs/{{run}}/{{connector}}/{file}"), report(file));
    }
    routes
}

fn report(file: &'static str) -> MethodRouter<Arc<Web>> {
    get(move |visitor, state, names, headers| files::report(file, visitor, state, names, headers))
}

fn api_routes() -> Routes {
    Routes::new()
        .route("/api/v1/runs", get(api::runs))
        .route("/api/v1/runs/{run}", get(api::run))
        .route("/api/v1/runs/{run}/events", get(events::show))
        .route("/api/v1/runs/{run}/connectors/{connector}/steps/{step}/log", get(api::log))
        .route("/api/v1/runs/{run}/connectors/{connector}/why", get(api::why))
        .route("/api/v1/runs/{run}/cancel", post(control::cancel))
        .route("/api/v1/runs/{run}/retest", post(control::retest))
        .route("/api/v1/queue", get(api::queue))
}

fn server_routes() -> Routes {
    Routes::new()
        .route("/deliveries", get(pages::deliveries))
        .route("/deliveries/{guid}", get(pages::delivery))
        .route("/deliveries/{guid}/handle", post(pages::handle_delivery))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/setup", get(setup::show))
        .route("/setup/callback", get(setup::callback))
}

async fn nothing_here() -> WebError {
    nowhere()
}

/// What stands where nothing is.
pub(super) fn nowhere() -> WebError {
    WebError::not_found("There is no such page.")
}

async fn wrong_method() -> WebError {
    WebError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "This address does not answer that method.",
        "docs/api.md lists the routes with their methods.",
    )
}

/// Answers of which a client may ask for a part, and those that are streamed, stay as they are: a
/// range counts bytes of the object, and a compressor would hold lines back.
fn may_compress(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    !headers.contains_key(header::ACCEPT_RANGES) && !headers.contains_key("x-accel-buffering")
}

/// The path alone: a query may one day hold what should not be logged.
fn span(request: &Request) -> Span {
    let path = request.uri().path();
    tracing::info_span!("request", method = %request.method(), path)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer gives the payload away")]
fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    WebError::internal(format!("panic: {}", text.unwrap_or("no message"))).into_response()
}
