//! Posts webhook deliveries: as fast as some connections can, or at a steady rate whatever the
//! answers do. One thread, so that the load takes as little of the machine as it can.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::payload::Signed;
use crate::stats::{Samples, figure};

/// Where deliveries go: the product's and every floor's.
pub(crate) const PATH: &str = "/webhooks/github";

/// No answer for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

static GUIDS: AtomicU64 = AtomicU64::new(1);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From the request's first byte (at a steady rate: from when it was due) to the answer's last.
    pub(crate) times: Samples,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        figure(self.times.len()) / self.elapsed.as_secs_f64()
    }
}

/// A delivery's bytes, ready to be sent under ever new GUIDs.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    guid_at: usize,
}

const GUID_LENGTH: usize = 36;

impl Request {
    pub(crate) fn new(address: SocketAddr, event: &str, signed: &Signed) -> Self {
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: {address}\r\nX-GitHub-Delivery: ");
        let guid_at = head.len();
        let mut bytes = head.into_bytes();
        bytes.resize(guid_at + GUID_LENGTH, b'0');
        let rest = format!(
            "\r\nX-GitHub-Event: {event}\r\nX-Hub-Signature-256: {}\r\nUser-Agent: \
             GitHub-Hookshot/bench\r\nAccept: */*\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            signed.signature,
            signed.body.len()
        );
        bytes.extend_from_slice(rest.as_bytes());
        bytes.extend_from_slice(&signed.body);
        Self { bytes, guid_at }
    }

    /// The bytes under a GUID that was never used before.
    pub(crate) fn fresh(&mut self) -> &[u8] {
        let number = GUIDS.fetch_add(1, Ordering::Relaxed);
        let guid = format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id());
        let place = self.guid_at..self.guid_at + GUID_LENGTH;
        if let Some(place) = self.bytes.get_mut(place) {
            place.copy_from_slice(guid.as_bytes());
        }
        &self.bytes
    }
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4096) })
    }

    /// Sends it and reads the whole answer, which must be a 2xx.
    async fn post(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let status = tokio::time::timeout(PATIENCE, self.exchange(request))
            .await
            .context("no answer within 20 s")??;
        if !(200..300).contains(&status) {
            bail!("a delivery was answered {status}: {}", String::from_utf8_lossy(&self.answer));
        }
        Ok(())
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some((status, length)) = complete(&self.answer)
                && self.answer.len() >= length
            {
                return Ok(status);
            }
        }
    }
}

/// Status and whole length of an answer whose head has arrived.
fn complete(answer: &[u8]) -> Option<(u16, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(answer.get(..end)?).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize =
        length.next_back().map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
    Some((status, end + 4 + length))
}

/// Each connection sends its next delivery when the one before is acknowledged.
pub(crate) fn closed(
    address: SocketAddr,
    signed: &Signed,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Outcome> {
    block_on(async {
        let request = Request::new(address, "pull_request", signed);
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(pour(address, request.clone(), start + length));
        }
        let mut outcome = Outcome::default();
        while let Some(times) = tasks.join_next().await {
            outcome.times.extend(times??);
        }
        outcome.elapsed = start.elapsed();
        Ok(outcome)
    })
}

async fn pour(
    address: SocketAddr,
    mut request: Request,
    until: Instant,
) -> anyhow::Result<Samples> {
    let mut connection = Connection::open(address).await?;
    let mut times = Samples::default();
    loop {
        let begin = Instant::now();
        if begin >= until {
            return Ok(times);
        }
        connection.post(request.fresh()).await?;
        times.push(begin.elapsed());
    }
}

/// `rate` deliveries a second, each due at its time: a slow answer holds up no other, and waiting
/// counts.
pub(crate) fn open(
    address: SocketAddr,
    signed: &Signed,
    rate: u32,
    length: Duration,
) -> anyhow::Result<Outcome> {
    block_on(async {
        let request = Request::new(address, "pull_request", signed);
        let start = Instant::now();
        let (idle, mut freed) = tokio::sync::mpsc::unbounded_channel::<Connection>();
        let mut tasks = JoinSet::new();
        let mut due = start;
        while due < start + length {
            tokio::time::sleep_until(due.into()).await;
            let (mut request, idle) = (request.clone(), idle.clone());
            let kept = freed.try_recv().ok();
            tasks.spawn(async move {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => Connection::open(address).await?,
                };
                connection.post(request.fresh()).await?;
                let taken = due.elapsed();
                // Nobody takes it after the last one.
                let _ = idle.send(connection);
                anyhow::Ok(taken)
            });
            due += Duration::from_secs(1) / rate;
        }
        let mut outcome = Outcome::default();
        while let Some(taken) = tasks.join_next().await {
            outcome.times.push(taken??);
        }
        outcome.elapsed = start.elapsed();
        Ok(outcome)
    })
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
