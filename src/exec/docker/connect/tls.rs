//! An engine behind TLS, as Docker has it: a folder with `ca.pem`, and perhaps `cert.pem` and
//! `key.pem`, by which the engine knows us. The engine's certificate is always verified.

use std::path::Path;
use std::sync::Arc;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker as Api};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::super::told;
use super::TIMEOUT;
use crate::ambient::authorities;

pub(super) fn connect(address: &str, folder: &Path) -> Result<Api, String> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(config(folder)?)
        .https_only()
        .enable_http1()
        .wrap_connector(http);
    // Idle connections would be closed by the engine under a request.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https);
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(bollard::errors::Error::from) }
    };
    let host = format!("https://{address}");
    Api::connect_with_custom_transport(
        transport,
        Some(host),
        TIMEOUT.as_secs(),
        API_DEFAULT_VERSION,
    )
    .map_err(|e| told(&e))
}

fn config(folder: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let ca = folder.join("ca.pem");
    let trusted = if ca.exists() {
        authorities::of_file(&ca).map_err(|why| unusable(&ca, &why))?
    } else {
        authorities::of_the_system()
    };
    roots.add_parsable_certificates(trusted);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if !cert.exists() && !key.exists() {
        return Ok(config.with_no_client_auth());
    }
    let chain = CertificateDer::pem_file_iter(&cert).map_err(|e| unusable(&cert, &e))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| unusable(&cert, &e))?;
    let own = PrivateKeyDer::from_pem_file(&key).map_err(|e| unusable(&key, &e))?;
    config.with_client_auth_cert(chain, own).map_err(|e| unusable(&cert, &e))
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> String {
    format!("`{}` (of DOCKER_CERT_PATH) can't be used: {why}", file.display())
}
