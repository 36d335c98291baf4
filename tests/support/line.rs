//! A line to the Docker Engine that can be cut.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use checkvalve::ambient;
use checkvalve::exec::docker::DEFAULT_HOST;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// A socket that leads to the engine's.
pub(crate) struct Line {
    pub(crate) host: String,
    refusing: Arc<AtomicBool>,
    cut: watch::Sender<u64>,
}

impl Line {
    /// For an engine with a socket on this machine.
    pub(crate) fn to_engine(folder: &Path) -> Self {
        let engine = ambient::env("DOCKER_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let engine = engine.strip_prefix("unix://").unwrap().to_owned();
        let socket = folder.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let refusing = Arc::new(AtomicBool::new(false));
        let (cut, _) = watch::channel(0);
        let (refuses, cuts) = (refusing.clone(), cut.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let mut cut = cuts.subscribe();
                let mut server = UnixStream::connect(&engine).await.unwrap();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { host: format!("unix://{}", socket.display()), refusing, cut }
    }

    /// Breaks what is connected now.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// Breaks every new connection.
    pub(crate) fn refuse(&self) {
        self.refusing.store(true, Ordering::SeqCst);
    }

    /// Lets them through again.
    pub(crate) fn mend(&self) {
        self.refusing.store(false, Ordering::SeqCst);
    }
}
