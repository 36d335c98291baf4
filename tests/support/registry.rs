//! A registry with one image of one layer, for pulling from.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::routing::get;
use serde_json::json;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) struct Registry {
    pub(crate) address: String,
}

/// The manifest, then what it names.
type Blobs = Vec<(String, Vec<u8>)>;

impl Registry {
    pub(crate) async fn start(layer: &[u8]) -> Self {
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
        let routes = Router::new()
            .route("/v2/", get(StatusCode::OK))
            .route("/v2/some/image/manifests/{reference}", get(manifest_of))
            .route("/v2/some/image/blobs/{digest}", get(blob))
            .with_state(blobs);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address }
    }
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
