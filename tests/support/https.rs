//! HTTPS before a server that speaks HTTP, behind a certificate authority that no system knows: as a
//! company has its GitHub Enterprise Server.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::tls;

/// The way in. It goes with the runtime that it was made in.
pub(crate) struct Https {
    /// `https://127.0.0.1:PORT`
    pub(crate) url: String,
    /// The authority, as PEM.
    pub(crate) ca_file: PathBuf,
    upstream: Arc<OnceLock<String>>,
    _folder: tempfile::TempDir,
}

impl Https {
    /// `None`, said, where there is no openssl to make certificates.
    pub(crate) async fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if !tls::certificates(folder.path()) {
            return None;
        }
        let leaf = CertificateDer::from_pem_file(folder.path().join("leaf.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.path().join("leaf.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let upstream: Arc<OnceLock<String>> = Arc::default();
        let leads_to = upstream.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(upstream) = leads_to.get().cloned() else { continue };
                let acceptor = acceptor.clone();
                tokio::spawn(pass_on(acceptor, client, upstream));
            }
        });
        let ca_file = folder.path().join("ca.pem");
        Some(Self { url, ca_file, upstream, _folder: folder })
    }

    /// Leads to `http://HOST:PORT`.
    pub(crate) fn lead_to(&self, url: &str) {
        let address = url.strip_prefix("http://").unwrap().to_owned();
        self.upstream.set(address).unwrap();
    }
}

/// Until either side has had enough.
async fn pass_on(acceptor: TlsAcceptor, client: TcpStream, upstream: String) {
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(&upstream).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
