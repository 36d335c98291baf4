//! Webhook deliveries: signed, sent in order (unless a fault says otherwise), logged for three
//! days, never repeated by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::api::Delivery;
use crate::enterprise::{Enterprise, log_window, receiver_time};
use crate::faults::{Batch, Fate};
use crate::simulator::Inner;
use crate::world::World;

/// Larger payloads are not delivered and not logged.
const LARGEST_PAYLOAD: usize = 25 * 1024 * 1024;
/// A receiver that takes longer than this no longer holds up the deliveries behind it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The App's webhook settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hook {
    pub(crate) url: Option<String>,
    pub(crate) secret: Option<String>,
    /// `application/x-www-form-urlencoded` instead of JSON.
    pub(crate) form: bool,
}

/// The hook's number, in `X-GitHub-Hook-ID`.
pub(crate) const HOOK_ID: u64 = 109_948_940;

/// One attempt, as the delivery log shows it.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryRow {
    pub(crate) id: u64,
    pub(crate) guid: String,
    pub(crate) event: String,
    pub(crate) action: Option<String>,
    pub(crate) installation_id: Option<u64>,
    pub(crate) repository_id: Option<u64>,
    pub(crate) payload: Bytes,
    /// The hook's secret when this was put in line.
    pub(crate) secret: Option<String>,
    pub(crate) delivered_at: DateTime<Utc>,
    pub(crate) redelivery: bool,
    pub(crate) duration: Duration,
    pub(crate) status: String,
    pub(crate) status_code: Option<u16>,
    pub(crate) url: String,
    pub(crate) request_headers: BTreeMap<String, String>,
    pub(crate) response_headers: BTreeMap<String, String>,
    pub(crate) response_body: String,
}

impl DeliveryRow {
    pub(crate) fn view(&self) -> Delivery {
        Delivery {
            id: self.id,
            guid: self.guid.clone(),
            event: self.event.clone(),
            action: self.action.clone(),
            status_code: self.status_code,
            status: self.status.clone(),
            duration: self.duration,
            redelivery: self.redelivery,
            body: self.payload.clone(),
        }
    }
}

/// What waits to be sent, and how much of it is under way.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Job>,
    under_way: watch::Sender<UnderWay>,
}

#[derive(Debug, Clone, Copy, Default)]
struct UnderWay {
    queued: usize,
    sending: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    row: u64,
    /// Of the simulator's time; `None` is at once.
    due: Option<DateTime<Utc>>,
    batch: Batch,
}

impl Outbox {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Job>) {
        let (queue, jobs) = mpsc::unbounded_channel();
        (Self { queue, under_way: watch::Sender::default() }, jobs)
    }

    fn enqueue(&self, job: Job) {
        self.under_way.send_modify(|n| n.queued += 1);
        if self.queue.send(job).is_err() {
            // The simulator has stopped; nobody waits for this any more.
            self.under_way.send_modify(|n| n.queued -= 1);
        }
    }
}

impl Inner {
    /// Logs a new event's delivery and sends it, as the faults decide.
    pub(crate) fn post(
        &self,
        world: &mut World,
        event: &str,
        ids: (Option<u64>, Option<u64>),
        payload: &Value,
    ) -> Option<String> {
        let bytes = github_json(&crate::forms::form(payload.clone(), self.faults.payload_forms()));
        if bytes.len() > LARGEST_PAYLOAD {
            return None;
        }
        let fate = self.faults.fate();
        if fate == Fate::Lost {
            return None;
        }
        let id = world.id();
        let guid = self.entropy.guid();
        let row = DeliveryRow {
            id,
            guid: guid.clone(),
            event: event.to_owned(),
            action: payload["action"].as_str().map(str::to_owned),
            installation_id: ids.0,
            repository_id: ids.1,
            payload: bytes.into(),
            secret: world.hook.secret.clone(),
            delivered_at: self.clock.now(),
            redelivery: false,
            duration: Duration::ZERO,
            status: "pending".to_owned(),
            status_code: None,
            url: world.hook.url.clone().unwrap_or_default(),
            request_headers: BTreeMap::new(),
            response_headers: BTreeMap::new(),
            response_body: String::new(),
        };
        self.dispatch(world, row, fate);
        Some(guid)
    }

    /// Logs a row and queues it.
    fn dispatch(&self, world: &mut World, mut row: DeliveryRow, fate: Fate) {
        if world.hook.url.is_none() {
            "no webhook configured".clone_into(&mut row.status);
            world.deliveries.push(row);
            return;
        }
        let Fate::Send { copies, delay, batch } = fate else {
            "failed to connect to host".clone_into(&mut row.status);
            world.deliveries.push(row);
            return;
        };
        let due = (!delay.is_zero()).then(|| self.clock.now() + delay);
        for copy in 0..copies {
            let mut row = row.clone();
            if copy > 0 {
                row.id = world.id();
            }
            self.outbox.enqueue(Job { row: row.id, due, batch });
            world.deliveries.push(row);
        }
    }

    /// Sends a logged delivery again: same GUID, same bytes, new number. `None` when the log
    /// does not have it (any more).
    pub(crate) fn redeliver(&self, wanted: impl Fn(&DeliveryRow) -> bool) -> Option<u64> {
        let now = self.clock.now();
        let mut world = self.world();
        let original = world.deliveries.iter().rev().find(|row| wanted(row))?;
        if now - original.delivered_at > log_window(world.enterprise) {
            return None;
        }
        let mut row = original.clone();
        row.id = world.id();
        row.redelivery = true;
        row.secret.clone_from(&world.hook.secret);
        row.delivered_at = now;
        row.status_code = None;
        "pending".clone_into(&mut row.status);
        let id = row.id;
        let fate = Fate::Send { copies: 1, delay: Duration::ZERO, batch: Batch::No };
        self.dispatch(&mut world, row, fate);
        Some(id)
    }

    /// Waits until nothing is queued or being sent (while paused: being sent).
    pub(crate) async fn quiet(&self) {
        let mut under_way = self.outbox.under_way.subscribe();
        // The sender lives as long as we do: an error cannot happen.
        let _ = under_way
            .wait_for(|n| n.sending == 0 && (n.queued == 0 || self.faults.is_paused()))
            .await;
    }
}

/// Sends what the outbox holds, until the simulator stops.
pub(crate) async fn run(inner: Arc<Inner>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut kept = Vec::new();
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            () = inner.stop.cancelled() => None,
        };
        let Some(job) = job else { return };
        tokio::select! {
            () = inner.faults.until_resumed() => {}
            () = inner.stop.cancelled() => return,
        }
        match job.batch {
            Batch::No => start(&inner, job).await,
            Batch::Kept => kept.push(job),
            Batch::Last => {
                start(&inner, job).await;
                for job in kept.drain(..).rev() {
                    start(&inner, job).await;
                }
            }
        }
    }
}

/// Starts a delivery and gives it a moment, so that quick receivers see events in order.
async fn start(inner: &Arc<Inner>, job: Job) {
    inner.outbox.under_way.send_modify(|n| {
        n.queued = n.queued.saturating_sub(1);
        n.sending += 1;
    });
    let sender = Arc::clone(inner);
    let sending = tokio::spawn(async move {
        tokio::select! {
            () = attempt(&sender, job) => {}
            () = sender.stop.cancelled() => {}
        }
        sender.outbox.under_way.send_modify(|n| n.sending -= 1);
    });
    if job.due.is_none() {
        let _ = tokio::time::timeout(PATIENCE, sending).await;
    }
}

async fn attempt(inner: &Inner, job: Job) {
    if let Some(due) = job.due {
        inner.clock.sleep_until(due).await;
    }
    let (row, mut hook, sender) = {
        let world = inner.world();
        let Some(row) = world.deliveries.iter().rev().find(|row| row.id == job.row) else { return };
        let sender = Sender { app_id: world.app.id, enterprise: world.enterprise };
        (row.clone(), world.hook.clone(), sender)
    };
    if inner.choices().old_secret_in_flight {
        hook.secret.clone_from(&row.secret);
    }
    let (content_type, body) = encode(&hook, &row.payload);
    let headers = headers(&row, &hook, sender, (content_type, &body));
    let url = hook.url.unwrap_or_default();
    let mut request = inner.http.post(&url).body(body);
    for (name, value) in &headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let patience = inner.faults.receiver_time().unwrap_or(receiver_time(sender.enterprise));
    let started = Instant::now();
    let result = tokio::select! {
        result = request.send() => Some(result),
        () = inner.clock.sleep(patience) => None,
    };
    let duration = started.elapsed();
    let (status_code, status, response_headers, response_body) = match result {
        Some(Ok(response)) => {
            let code = response.status().as_u16();
            let status =
                if code < 400 { "OK".to_owned() } else { format!("Invalid HTTP Response: {code}") };
            let headers = response
                .headers()
                .iter()
                .map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
                .collect();
            (Some(code), status, headers, response.text().await.unwrap_or_default())
        }
        None => (None, "timed out".to_owned(), BTreeMap::new(), String::new()),
        Some(Err(error)) => {
            tracing::debug!(%error, url, "delivery failed");
            (None, "failed to connect to host".to_owned(), BTreeMap::new(), String::new())
        }
    };
    let mut world = inner.world();
    if let Some(row) = world.deliveries.iter_mut().rev().find(|row| row.id == job.row) {
        row.duration = duration;
        row.status = status;
        row.status_code = status_code;
        row.url = url;
        row.request_headers = headers;
        row.response_headers = response_headers;
        row.response_body = response_body;
    }
}

/// The body as the hook's content type wants it; the signature covers these bytes.
fn encode(hook: &Hook, payload: &Bytes) -> (&'static str, Bytes) {
    if !hook.form {
        return ("application/json", payload.clone());
    }
    let encoded =
        percent_encoding::percent_encode(payload, percent_encoding::NON_ALPHANUMERIC).to_string();
    ("application/x-www-form-urlencoded", format!("payload={encoded}").into())
}

/// Who delivers.
#[derive(Debug, Clone, Copy)]
struct Sender {
    app_id: u64,
    enterprise: Option<Enterprise>,
}

fn headers(
    row: &DeliveryRow,
    hook: &Hook,
    sender: Sender,
    (content_type, body): (&str, &[u8]),
) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = [
        ("Accept", "*/*".to_owned()),
        ("Content-Type", content_type.to_owned()),
        ("User-Agent", format!("GitHub-Hookshot/{}", &row.guid[..7])),
        ("X-GitHub-Delivery", row.guid.clone()),
        ("X-GitHub-Event", row.event.clone()),
        ("X-GitHub-Hook-ID", HOOK_ID.to_string()),
        ("X-GitHub-Hook-Installation-Target-ID", sender.app_id.to_string()),
        ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(enterprise) = sender.enterprise {
        headers.insert("X-GitHub-Enterprise-Version".to_owned(), enterprise.version());
        headers.insert("X-GitHub-Enterprise-Host".to_owned(), "simulator".to_owned());
    }
    if let Some(secret) = &hook.secret {
        headers.insert("X-Hub-Signature-256".to_owned(), sha256_signature(secret, body));
        headers.insert("X-Hub-Signature".to_owned(), sha1_signature(secret, body));
    }
    headers
}

/// `X-Hub-Signature-256` over the raw bytes.
pub(crate) fn sha256_signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length: the error cannot happen.
    Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes())
        .map(|mac| {
            format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
        })
        .unwrap_or_default()
}

fn sha1_signature(secret: &str, body: &[u8]) -> String {
    Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes())
        .map(|mac| format!("sha1={}", hex::encode(mac.chain_update(body).finalize().into_bytes())))
        .unwrap_or_default()
}

/// Compact JSON with control characters as `\u001B`: GitHub's hexadecimal digits are capitals.
pub(crate) fn github_json(value: &Value) -> Vec<u8> {
    struct Capitals;
    impl serde_json::ser::Formatter for Capitals {
        fn write_char_escape<W: ?Sized + std::io::Write>(
            &mut self,
            writer: &mut W,
            escape: serde_json::ser::CharEscape,
        ) -> std::io::Result<()> {
            use serde_json::ser::CharEscape as Escape;
            match escape {
                Escape::AsciiControl(byte) => write!(writer, "\\u00{byte:02X}"),
                Escape::Quote => writer.write_all(b"\\\""),
                Escape::ReverseSolidus => writer.write_all(b"\\\\"),
                Escape::Solidus => writer.write_all(b"/"),
                Escape::Backspace => writer.write_all(b"\\b"),
                Escape::FormFeed => writer.write_all(b"\\f"),
                Escape::LineFeed => writer.write_all(b"\\n"),
                Escape::CarriageReturn => writer.write_all(b"\\r"),
                Escape::Tab => writer.write_all(b"\\t"),
            }
        }
    }
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Capitals);
    // Writing a `Value` into memory cannot fail.
    let _ = value.serialize(&mut serializer);
    bytes
}
