//! A line to GitHub that is cut where it hurts most: after a request with a certain text in it was
//! carried out, and before its answer arrives.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
pub struct Cutter {
    address: SocketAddr,
    upstream: Arc<OnceLock<String>>,
    /// How many answers are still to be lost.
    left: Arc<AtomicUsize>,
}

impl Cutter {
    /// Loses the answers to the next `times` requests that have `text` in them.
    pub async fn new(text: &'static [u8], times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cutter =
            Self { address, upstream: Arc::default(), left: Arc::new(AtomicUsize::new(times)) };
        let serving = cutter.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(upstream) = serving.upstream.get().cloned() else { continue };
                let left = serving.left.clone();
                tokio::spawn(async move { pass_on(client, &upstream, text, &left).await });
            }
        });
        cutter
    }

    /// An address that leads to another one through here.
    pub fn via(&self, url: &str) -> String {
        let rest = url.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        self.upstream.get_or_init(|| host.to_owned());
        format!("http://{}/{path}", self.address).trim_end_matches('/').to_owned()
    }

    pub fn is_used_up(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

async fn pass_on(mut client: TcpStream, upstream: &str, text: &[u8], left: &AtomicUsize) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut request = Vec::new();
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                request.extend_from_slice(&asked[..count]);
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                let named = request.windows(text.len()).any(|part| part == text);
                let one_less = |left: usize| left.checked_sub(1);
                if named && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                    return;
                }
                request.clear();
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
