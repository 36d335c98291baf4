//! A line to an object store on which some writes wait until they are let through, as by one that is slow.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Gate {
    /// Leads to the store.
    pub(crate) endpoint: String,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// Before a server at `endpoint`: what is to be written under a name that ends so has to wait.
    pub(crate) async fn before(endpoint: &str, end: &'static str) -> Self {
        let server: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (is_open, opens) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server, end, opens.clone()));
            }
        });
        Self { endpoint, is_open }
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

async fn pass_on(
    mut client: TcpStream,
    server: SocketAddr,
    end: &str,
    mut is_open: watch::Receiver<bool>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut from, mut to) = client.split();
    let (mut answers, mut asks) = server.split();
    let requests = async {
        let mut asked = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut asked).await {
            let head = String::from_utf8_lossy(&asked[..count]);
            let line = head.lines().next().unwrap_or_default();
            let path = line.strip_prefix("PUT ").and_then(|rest| rest.split([' ', '?']).next());
            if path.is_some_and(|path| path.ends_with(end)) {
                let _ = is_open.wait_for(|is_open| *is_open).await;
            }
            if asks.write_all(&asked[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        _ = copy(&mut answers, &mut to) => {}
    }
}
