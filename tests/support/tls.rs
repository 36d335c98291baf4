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

/// Makes an authority and a server's certificate for 127.0.0.1 in a folder: `ca.pem`, `leaf.pem`,
/// `leaf.key`; and as Docker's clients have it, `cert.pem` and `key.pem`. False, said, where there is
/// no openssl 3.
pub(crate) fn certificates(folder: &Path) -> bool {
    let new = "req -x509 -newkey rsa:2048 -nodes -days 2";
    let of = "-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE";
    let made = openssl(folder, &format!("{new} -keyout ca.key -out ca.pem -subj /CN=authority"))
        && openssl(
            folder,
            &format!(
                "{new} -keyout leaf.key -out leaf.pem -subj /CN=leaf {of} -addext \
                 subjectAltName=IP:127.0.0.1"
            ),
        )
        && openssl(folder, &format!("{new} -keyout key.pem -out cert.pem -subj /CN=client {of}"));
    if !made {
        let required = ambient::env("CHECKVALVE_REQUIRE");
        assert_ne!(required.as_deref(), Some("all"), "openssl 3 is needed");
        eprintln!("SKIPPED: no openssl 3 here");
    }
    made
}

/// Answers every GET with a page of its own: enough to see that TLS stood. `None`, said, where
/// there is no openssl 3.
pub(crate) async fn server() -> Option<Server> {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
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
