//! The protocol's messages: one JSON object a line.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::builtin::one_line;

/// A message, with what is judged of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Spec(Map<String, Value>),
    /// Did the check succeed; the connector's own words.
    Status {
        status: String,
        message: String,
    },
    Catalog(Map<String, Value>),
    Record(Record),
    State(Map<String, Value>),
    Log {
        level: String,
        message: String,
    },
    /// An ERROR with a message, or another kind of trace.
    Trace {
        kind: String,
        error: Option<String>,
    },
    Control,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub stream: String,
    pub namespace: Option<String>,
    pub data: Map<String, Value>,
    /// As it came; none if it is missing.
    pub emitted_at: Option<Value>,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Message(Message),
    /// No message at all: it is logged, and ignored.
    Noise(String),
    /// A message without what its type must have: which type, and what is wrong.
    Malformed {
        kind: String,
        why: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    bodies: Map<String, Value>,
}

/// Reads a line. Bytes that are no UTF-8 are no message.
pub fn heard(line: &[u8]) -> Heard {
    let noise = || Heard::Noise(one_line(&String::from_utf8_lossy(line)));
    let Ok(envelope) = serde_json::from_slice::<Envelope>(line) else { return noise() };
    let Envelope { kind, mut bodies } = envelope;
    let key = match kind.as_str() {
        "SPEC" => "spec",
        "CONNECTION_STATUS" => "connectionStatus",
        "CATALOG" => "catalog",
        "RECORD" => "record",
        "STATE" => "state",
        "LOG" => "log",
        "TRACE" => "trace",
        "CONTROL" => "control",
        _ => return noise(),
    };
    let Some(Value::Object(body)) = bodies.remove(key) else {
        return Heard::Malformed { kind, why: format!("it has no object `{key}`") };
    };
    let message = match key {
        "spec" => Ok(Message::Spec(body)),
        "catalog" => Ok(Message::Catalog(body)),
        "state" => Ok(Message::State(body)),
        "control" => Ok(Message::Control),
        "connectionStatus" => text(&body, "status").map(|status| {
            let message = text(&body, "message").unwrap_or_default();
            Message::Status { status, message }
        }),
        "log" => text(&body, "message").map(|message| {
            let level = text(&body, "level").unwrap_or_else(|_| "INFO".to_owned());
            Message::Log { level, message }
        }),
        "trace" => trace(&body),
        _ => record(body),
    };
    match message {
        Ok(message) => Heard::Message(message),
        Err(why) => Heard::Malformed { kind, why },
    }
}

fn text(body: &Map<String, Value>, key: &str) -> Result<String, String> {
    let text = body.get(key).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("it has no text `{key}`"))
}

fn trace(body: &Map<String, Value>) -> Result<Message, String> {
    let kind = text(body, "type")?;
    let error = body.get("error").and_then(|error| error.get("message")).and_then(Value::as_str);
    Ok(Message::Trace { error: error.map(str::to_owned), kind })
}

fn record(mut body: Map<String, Value>) -> Result<Message, String> {
    let stream = text(&body, "stream")?;
    let namespace = text(&body, "namespace").ok();
    let emitted_at = body.remove("emitted_at");
    let Some(Value::Object(data)) = body.remove("data") else {
        return Err(format!("its `data` is no object (stream `{}`)", one_line(&stream)));
    };
    Ok(Message::Record(Record { stream, namespace, data, emitted_at }))
}

impl Heard {
    /// The line of a log that a person reads; records and states are not told one by one.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Noise(line) if line.trim().is_empty() => None,
            Self::Noise(line) => Some(format!("| {line}")),
            Self::Malformed { kind, why } => Some(format!("! {} {why}", one_line(kind))),
            Self::Message(message) => match message {
                Message::Log { level, message } => {
                    Some(format!("{:<5} {}", one_line(level), one_line(message)))
                }
                Message::Trace { kind, error: Some(error) } => {
                    Some(format!("{} {}", one_line(kind), one_line(error)))
                }
                Message::Status { status, message } => {
                    let line = format!("{} {}", one_line(status), one_line(message));
                    Some(line.trim_end().to_owned())
                }
                Message::Spec(_)
                | Message::Catalog(_)
                | Message::Record(_)
                | Message::State(_)
                | Message::Trace { .. }
                | Message::Control => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_noise() {
        for line in
            ["", "Traceback", "{\"type\":\"RECORD\",\"rec", "[1]", "{\"type\":\"NEWS\"}", "{}"]
        {
            assert!(matches!(heard(line.as_bytes()), Heard::Noise(_)), "{line}");
        }
        assert_eq!(heard(b"\xff\x1b[31m").told().unwrap(), "| \u{fffd}\u{fffd}[31m");
        assert_eq!(heard(b" ").told(), None);
    }

    #[test]
    fn messages_lack_nothing_that_is_judged() {
        for (line, why) in [
            (r#"{"type":"RECORD"}"#, "! RECORD it has no object `record`"),
            (
                r#"{"type":"RECORD","record":{"stream":"a"}}"#,
                "! RECORD its `data` is no object (stream `a`)",
            ),
            (r#"{"type":"LOG","log":{}}"#, "! LOG it has no text `message`"),
        ] {
            assert_eq!(heard(line.as_bytes()).told().unwrap(), why);
        }
        let line = r#"{"type":"LOG","log":{"level":"WARN","message":"slow\nline"}}"#;
        assert_eq!(heard(line.as_bytes()).told().unwrap(), "WARN  slow line");
        let line =
            r#"{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"m"}}}"#;
        assert_eq!(heard(line.as_bytes()).told().unwrap(), "ERROR m");
    }
}
