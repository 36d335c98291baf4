//! An engine on a host that is reached over SSH: each connection is `ssh HOST docker system
//! dial-stdio`, as Docker's own client does it, behind a socket of ours.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker as Api;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

use super::super::told;

/// Where a connection can't be taken, such as for want of file descriptors, it may be later.
const PAUSE: Duration = Duration::from_secs(1);

/// What `ssh` said last.
#[derive(Debug, Clone, Default)]
pub(super) struct Said(Arc<Mutex<Option<String>>>);

impl Said {
    pub(super) fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, line: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }
}

/// The socket lives as long as the runtime.
pub(super) fn connect(host: &str) -> Result<(Api, Said), String> {
    let folder = tempfile::Builder::new().prefix("checkvalve-ssh-").tempdir();
    let folder = folder.map_err(|e| format!("no folder for a socket: {e}"))?;
    let arguments = arguments(host, &folder)?;
    let socket = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).map_err(|e| format!("no socket: {e}"))?;
    let said = Said::default();
    let says = said.clone();
    tokio::spawn(async move {
        let _folder = folder;
        loop {
            let (client, _) = accepted(PAUSE, || listener.accept()).await;
            tokio::spawn(carry(client, arguments.clone(), says.clone()));
        }
    });
    let api = Api::connect_with_host(&format!("unix://{}", socket.display()));
    api.map(|api| (api, said)).map_err(|e| told(&e))
}

/// The next connection, however often none can be taken before.
async fn accepted<C, F>(pause: Duration, mut accept: impl FnMut() -> F) -> C
where
    F: Future<Output = io::Result<C>>,
{
    loop {
        match accept().await {
            Ok(client) => return client,
            Err(error) => {
                tracing::warn!("a connection to the engine could not be taken: {error}");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// `ssh://[user@]host[:port]`
fn arguments(host: &str, folder: &TempDir) -> Result<Vec<String>, String> {
    let wrong = || "write `ssh://user@host` or `ssh://user@host:port`".to_owned();
    let url = url::Url::parse(host).map_err(|_| wrong())?;
    let name = url.host_str().filter(|name| !name.starts_with('-')).ok_or_else(wrong)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.password().is_some() {
        return Err(wrong());
    }
    // One connection is kept for all, since each would cost a handshake. Its path is short: a
    // socket's has an end.
    let control = format!("ControlPath={}/c", folder.path().display());
    let options = ["BatchMode=yes", "ConnectTimeout=30", "ControlMaster=auto", "ControlPersist=60"];
    let mut arguments = vec!["-T".to_owned()];
    for option in options.into_iter().chain([control.as_str()]) {
        arguments.extend(["-o".to_owned(), option.to_owned()]);
    }
    if !url.username().is_empty() {
        arguments.extend(["-l".to_owned(), url.username().to_owned()]);
    }
    arguments.extend(url.port().into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    let command = [name.trim_matches(['[', ']']), "docker", "system", "dial-stdio"];
    arguments.push("--".to_owned());
    arguments.extend(command.map(str::to_owned));
    Ok(arguments)
}

/// Carries one connection until the engine closes it, or nobody takes its answers any more.
async fn carry(client: UnixStream, arguments: Vec<String>, said: Said) {
    let child = Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => return said.note(format!("`ssh` could not be run: {e}; install it")),
    };
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return;
    };
    let (mut from, mut to) = client.into_split();
    let there = async {
        let _ = tokio::io::copy(&mut from, &mut input).await;
        let _ = input.shutdown().await;
        // The end of a request is not yet that of its answer.
        drop(input);
        std::future::pending::<()>().await;
    };
    let errors = child.stderr.take();
    let listen = async {
        let mut lines = errors.map(|errors| BufReader::new(errors).lines());
        while let Some(lines) = lines.as_mut()
            && let Ok(Some(line)) = lines.next_line().await
        {
            tracing::debug!("ssh: {line}");
            said.note(format!("ssh: {line}"));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = tokio::io::copy(&mut output, &mut to) => {}
        () = there => {}
        () = listen => {}
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_can_t_be_taken_is_not_the_last_one() {
        let mut tries = 0;
        let accept = || {
            tries += 1;
            // EMFILE
            let full = io::Error::from_raw_os_error(24);
            std::future::ready(if tries < 4 { Err(full) } else { Ok("client") })
        };
        assert_eq!(accepted(Duration::from_millis(1), accept).await, "client");
        assert_eq!(tries, 4);
    }

    #[test]
    fn a_host_is_taken_apart_and_options_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let of = |host: &str| arguments(host, &folder).map(|all| all[11..].join(" "));
        let command = "docker system dial-stdio";
        assert_eq!(of("ssh://ci@build:2222").unwrap(), format!("-l ci -p 2222 -- build {command}"));
        assert_eq!(of("ssh://build").unwrap(), format!("-- build {command}"));
        assert_eq!(of("ssh://ci@[::1]").unwrap(), format!("-l ci -- ::1 {command}"));
        for wrong in ["ssh://", "ssh://-oProxyCommand=x", "ssh://a/b", "ssh://a:secret@b"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
