//! A registry with one image of one layer, for pulling from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) struct Registry {
    pub(crate) address: String,
    asked: Arc<AtomicUsize>,
}

/// The manifest, then what it names.
type Blobs = Vec<(String, Vec<u8>)>;

/// Who may pull, and how slowly the registry answers for an image.
#[derive(Clone, Default)]
pub(crate) struct Manner {
    /// `user:password`; everybody if there is none.
    pub(crate) login: Option<String>,
    pub(crate) delay: Duration,
}

#[derive(Clone)]
struct Door {
    manner: Manner,
    asked: Arc<AtomicUsize>,
}

impl Registry {
    pub(crate) async fn with(layer: &[u8], manner: Manner) -> Self {
        let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": config.len(), "digest": digest(&config)},
            "layers": [{"mediaType": LAYER, "size": layer.len(), "digest": digest(layer)}],
        });
        let manifest = manifest.to_string().into_bytes();
        let blobs: Blobs = [manifest, config, layer.to_vec()]
            .into_iter()
            .map(|bytes| (digest(&bytes), bytes))
            .collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let door = Door { manner, asked: asked.clone() };
        let routes = Router::new()
            .route("/v2/", get(StatusCode::OK))
            .route("/v2/some/image/manifests/{reference}", get(manifest_of))
            .route("/v2/some/image/blobs/{digest}", get(blob))
            .with_state(blobs)
            .layer(middleware::from_fn_with_state(door, enter));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, asked }
    }

    /// How often a manifest was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn enter(State(door): State<Door>, request: Request, next: Next) -> Response {
    let known = door.manner.login.as_ref().is_none_or(|login| {
        let given = request.headers().get(header::AUTHORIZATION);
        let wanted = format!("Basic {}", STANDARD.encode(login));
        given.is_some_and(|given| given.as_bytes() == wanted.as_bytes())
    });
    if !known {
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")];
        return (StatusCode::UNAUTHORIZED, ask).into_response();
    }
    if request.uri().path().contains("/manifests/") {
        door.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(door.manner.delay).await;
    }
    next.run(request).await
}

async fn manifest_of(State(blobs): State<Blobs>) -> (HeaderMap, Vec<u8>) {
    let (digest, manifest) = blobs[0].clone();
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(MANIFEST)),
        (HeaderName::from_static("docker-content-digest"), digest.parse().unwrap()),
    ]);
    (headers, manifest)
}

async fn blob(
    State(blobs): State<Blobs>,
    Path(digest): Path<String>,
) -> Result<Vec<u8>, StatusCode> {
    let blob = blobs.into_iter().find(|(known, _)| *known == digest);
    blob.map(|(_, bytes)| bytes).ok_or(StatusCode::NOT_FOUND)
}
