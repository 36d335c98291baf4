//! `/metrics` in Prometheus' text format: what this process counted, and what the database knows.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use super::error::{Answer, WebError};
use crate::github::webhook::Which;
use crate::store::Queue;

/// Live streams at once; each asks the database about twice a second.
const STREAMS: u64 = 1_000;

/// How a webhook request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookResult {
    Accepted,
    Duplicate,
    /// Kept without being acted on.
    Ignored,
    /// 401
    Unsigned,
    /// 400
    Malformed,
    /// 413
    TooLarge,
    /// 415
    WrongType,
    /// 503
    Unavailable,
}

impl HookResult {
    const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Duplicate,
        Self::Ignored,
        Self::Unsigned,
        Self::Malformed,
        Self::TooLarge,
        Self::WrongType,
        Self::Unavailable,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::WrongType => "wrong_type",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Counts of this process since its start.
#[derive(Debug, Default)]
pub struct Metrics {
    hooks: [AtomicU64; HookResult::ALL.len()],
    signed_current: AtomicU64,
    signed_next: AtomicU64,
    streams: AtomicU64,
}

impl Metrics {
    pub(crate) fn hook(&self, result: HookResult) {
        self.hooks[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn signed(&self, which: Which) {
        match which {
            Which::Current => self.signed_current.fetch_add(1, Ordering::Relaxed),
            Which::Next => self.signed_next.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Counts a live stream for as long as the answer is kept; 503 when there are too many.
    pub(crate) fn stream(self: &Arc<Self>) -> Result<OpenStream, WebError> {
        let open = OpenStream(Arc::clone(self));
        if self.streams.fetch_add(1, Ordering::Relaxed) < STREAMS {
            return Ok(open);
        }
        Err(WebError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            "Too many live streams are open.",
            "Ask again without `follow`, or in a moment.",
        ))
    }

    fn families(&self) -> Vec<Family> {
        let count = |counter: &AtomicU64| int(counter.load(Ordering::Relaxed));
        let hooks = HookResult::ALL
            .into_iter()
            .zip(&self.hooks)
            .map(|(result, counter)| Sample::with("result", result.as_str(), count(counter)))
            .collect();
        let secrets = vec![
            Sample::with("secret", "current", count(&self.signed_current)),
            Sample::with("secret", "next", count(&self.signed_next)),
        ];
        vec![
            Family {
                name: "checkvalve_webhook_requests_total".to_owned(),
                help: "Webhook requests by how they were answered.",
                kind: "counter",
                samples: hooks,
            },
            Family {
                name: "checkvalve_webhook_signatures_total".to_owned(),
                help: "Good signatures by secret: when `current` stands still, it can be replaced.",
                kind: "counter",
                samples: secrets,
            },
            Family::gauge(
                "checkvalve_live_streams",
                "Open event and log streams.",
                count(&self.streams),
            ),
        ]
    }
}

/// One open stream; closing it is dropping this.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<Metrics>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    labels: Vec<(String, String)>,
    value: i64,
}

impl Sample {
    fn with(label: &str, value: &str, count: i64) -> Self {
        Self { labels: vec![(label.to_owned(), value.to_owned())], value: count }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Family {
    name: String,
    help: &'static str,
    kind: &'static str,
    samples: Vec<Sample>,
}

impl Family {
    fn gauge(name: &str, help: &'static str, value: i64) -> Self {
        let samples = vec![Sample { labels: Vec::new(), value }];
        Self { name: name.to_owned(), help, kind: "gauge", samples }
    }
}

/// Prometheus has no integers wider than a float's; a count beyond `i64` can't happen.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn queue_families(queue: &Queue) -> Vec<Family> {
    let gauge = |name: &str, help, value| Family::gauge(name, help, int(value));
    vec![
        gauge("checkvalve_queue_queued", "Jobs and runs that wait.", queue.queued),
        gauge("checkvalve_queue_running", "Jobs that run.", queue.running),
        gauge(
            "checkvalve_queue_oldest_seconds",
            "Age of the oldest that waits.",
            queue.oldest_seconds,
        ),
        gauge(
            "checkvalve_deliveries_pending",
            "Deliveries not handled yet.",
            queue.deliveries_pending,
        ),
        gauge("checkvalve_checks_pending", "Heads with unpublished checks.", queue.checks_pending),
    ]
}

/// Name, labels and value, as `Store::counts` gives them.
type Count = (String, Vec<(String, String)>, i64);

/// What the store counts, grouped into one family per name, as the format demands.
fn stored_families(counts: Vec<Count>) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for (name, labels, value) in counts {
        let sample = Sample { labels, value };
        if let Some(family) = families.iter_mut().find(|family| family.name == name) {
            family.samples.push(sample);
            continue;
        }
        let (kind, help) = if name.ends_with("_total") {
            ("counter", "What was found when heads were compared with what GitHub shows.")
        } else {
            ("gauge", "Rows of the database; retention takes old ones away.")
        };
        families.push(Family { name, help, kind, samples: vec![sample] });
    }
    families
}

/// Prometheus' text format, version 0.0.4.
fn exposition(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, help, kind, samples } in families {
        let _ = writeln!(text, "# HELP {name} {}", help.replace('\\', r"\\").replace('\n', r"\n"));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for Sample { labels, value } in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
                .collect();
            let _ = match labels.as_slice() {
                [] => writeln!(text, "{name} {value}"),
                labels => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
            };
        }
    }
    text
}

fn escape(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// `GET /metrics`
pub(crate) async fn show(State(web): State<Arc<Web>>) -> Answer {
    let mut families = web.metrics.families();
    families.extend(queue_families(&web.store.queue().await?));
    families.extend(stored_families(web.store.counts().await?));
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let response: Response = (kind, exposition(&families)).into_response();
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_grouped_and_labels_escaped() {
        let label = |value: &str| vec![("event".to_owned(), value.to_owned())];
        let counts = vec![
            ("a_total".to_owned(), label("x\"y\\z\n"), 1),
            ("b_total".to_owned(), Vec::new(), 2),
            ("a_total".to_owned(), label("ping"), 3),
        ];
        let text = exposition(&stored_families(counts));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE a_total counter",
                r#"a_total{event="x\"y\\z\n"} 1"#,
                r#"a_total{event="ping"} 3"#,
                "# TYPE b_total counter",
                "b_total 2",
            ]
        );
    }

    #[test]
    fn a_stream_is_counted_while_it_is_open() {
        let metrics = Arc::new(Metrics::default());
        let open = metrics.stream().unwrap();
        assert!(exposition(&metrics.families()).contains("checkvalve_live_streams 1"));
        drop(open);
        assert!(exposition(&metrics.families()).contains("checkvalve_live_streams 0"));
    }
}
