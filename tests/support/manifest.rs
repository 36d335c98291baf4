//! `app-manifest.yml`, as GitHub would read it.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
struct Manifest {
    default_permissions: BTreeMap<String, String>,
    default_events: Vec<String>,
}

/// The permissions and the events of an App that was registered with the manifest.
pub fn granted() -> (BTreeMap<String, String>, Vec<String>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/app-manifest.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let manifest: Manifest = serde_saphyr::from_str(&text).unwrap();
    (manifest.default_permissions, manifest.default_events)
}
