//! A server behind a certificate authority that no system knows.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use checkvalve::ambient;

pub(crate) struct Server {
    pub(crate) url: String,
    /// The authority, as PEM.
    pub(crate) ca_file: PathBuf,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs openssl in `folder`; false if there is none here.
fn openssl(folder: &Path, arguments: &str) -> bool {
    let run = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

/// Answers every GET with a page of its own: enough to see that TLS stood. `None`, said, where
/// there is no openssl 3.
pub(crate) async fn server() -> Option<Server> {
    let folder = tempfile::tempdir().unwrap();
    let made = openssl(
        folder.path(),
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
    ) && openssl(
        folder.path(),
        "req -x509 -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.pem -days 2 -subj /CN=leaf \
         -CA ca.pem -CAkey ca.key -addext subjectAltName=IP:127.0.0.1 \
         -addext basicConstraints=critical,CA:FALSE",
    );
    if !made {
        let required = ambient::env("CHECKVALVE_REQUIRE");
        assert_ne!(required.as_deref(), Some("all"), "openssl 3 is needed");
        eprintln!("SKIPPED: no openssl 3 here");
        return None;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let process = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-cert", "leaf.pem", "-key", "leaf.key", "-accept"])
        .arg(free.to_string())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ca_file = folder.path().join("ca.pem");
    let server = Server { url: format!("https://{free}"), ca_file, process, _folder: folder };
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(free).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(server)
}
