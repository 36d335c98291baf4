//! A server that speaks S3, over HTTP, in this process: `s3s` checks every signature, `s3s-fs` keeps
//! the objects in a folder.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

pub(crate) const KEY_ID: &str = "AKIATESTTESTTESTTEST";
pub(crate) const SECRET: &str = "a secret that only signs";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const BUCKET: &str = "reports";

/// Runs until the test's runtime ends.
pub(crate) struct Server {
    /// `AWS_ENDPOINT_URL`.
    pub(crate) endpoint: String,
    _folder: tempfile::TempDir,
}

/// A server with one empty bucket.
pub(crate) async fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
    service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let service = service.clone();
            tokio::spawn(async move {
                let http = Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    Server { endpoint, _folder: folder }
}
