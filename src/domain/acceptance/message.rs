//! The protocol's messages: one JSON object a line.

use serde_json::{Map, Value};

use crate::domain::builtin::one_line;
use crate::domain::redact::Redactor;

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
    /// A configuration that counts from now on; none if it tells of something else.
    Control(Option<NewConfig>),
}

/// A configuration in place of the one that the image was given.
#[derive(Debug, Clone, PartialEq)]
pub struct NewConfig {
    pub config: Map<String, Value>,
    /// In milliseconds, if it says when.
    pub emitted_at: Option<i64>,
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

/// Reads a line. Bytes that are no UTF-8 are no message.
pub fn heard(line: &[u8]) -> Heard {
    let noise = || Heard::Noise(String::from_utf8_lossy(line).into_owned());
    let Ok(mut bodies) = serde_json::from_slice::<Map<String, Value>>(line) else { return noise() };
    let Some(Value::String(kind)) = bodies.remove("type") else { return noise() };
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
        "control" => Ok(Message::Control(new_config(body))),
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

fn new_config(mut body: Map<String, Value>) -> Option<NewConfig> {
    let is_config = body.get("type").and_then(Value::as_str) == Some("CONNECTOR_CONFIG");
    // A float, as Python's clock has it.
    let emitted_at = body.get("emitted_at").and_then(Value::as_f64);
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds have room in 63 bits")]
    let emitted_at = emitted_at.map(|at| at as i64);
    match body.get_mut("connectorConfig").and_then(|new| new.get_mut("config")).map(Value::take) {
        Some(Value::Object(config)) if is_config => Some(NewConfig { config, emitted_at }),
        Some(_) | None => None,
    }
}

fn record(mut body: Map<String, Value>) -> Result<Message, String> {
    let stream = text(&body, "stream")?;
    let namespace = text(&body, "namespace").ok();
    let emitted_at = body.remove("emitted_at");
    let Some(Value::Object(data)) = body.remove("data") else {
        return Err(format!("its `data` is no object (stream `{stream}`)"));
    };
    Ok(Message::Record(Record { stream, namespace, data, emitted_at }))
}

impl Heard {
    /// The line of a log that a person reads, without secrets before it is cut; records and states
    /// are not told one by one.
    pub fn told(&self, redactor: &Redactor) -> Option<String> {
        let tell = |text: &str| one_line(&redactor.text(text));
        match self {
            Self::Noise(line) if line.trim().is_empty() => None,
            Self::Noise(line) => Some(format!("| {}", tell(line))),
            Self::Malformed { kind, why } => Some(format!("! {} {}", tell(kind), tell(why))),
            Self::Message(message) => match message {
                Message::Log { level, message } => {
                    Some(format!("{:<5} {}", tell(level), tell(message)))
                }
                Message::Trace { kind, error: Some(error) } => {
                    Some(format!("{} {}", tell(kind), tell(error)))
                }
                Message::Status { status, message } => {
                    let line = format!("{} {}", tell(status), tell(message));
                    Some(line.trim_end().to_owned())
                }
                Message::Spec(_)
                | Message::Catalog(_)
                | Message::Record(_)
                | Message::State(_)
                | Message::Trace { .. }
                | Message::Control(_) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &[u8]) -> Option<String> {
        heard(line).told(&Redactor::default())
    }

    #[test]
    fn of_what_stands_twice_the_last_counts() {
        let line = br#"{"type":"LOG","log":{"message":"a"},"log":{"message":"b"},"more":[1]}"#;
        assert_eq!(told(line).unwrap(), "INFO  b");
    }

    #[test]
    fn a_secret_at_the_cut_is_hidden() {
        let name = "config".parse().unwrap();
        let values = [(&name, b"{\"key\":\"secret-0123456789\"}".as_slice())];
        let redactor = Redactor::new(values, "source-x").unwrap();
        let long = format!("{}secret-0123456789", "x".repeat(2040));
        // Less of a stream's name than of a line has room beside what is said of it.
        let stream = format!("{}secret-0123456789", "x".repeat(1900));
        for (line, begins) in [
            (long.clone(), "| xx"),
            (format!(r#"{{"type":"LOG","log":{{"message":"{long}"}}}}"#), "INFO  xx"),
            (format!(r#"{{"type":"RECORD","record":{{"stream":"{stream}"}}}}"#), "! RECORD its"),
        ] {
            let told = heard(line.as_bytes()).told(&redactor).unwrap();
            assert!(told.starts_with(begins) && told.contains("x***"), "{told}");
            assert!(!told.contains("secret-"), "{told}");
        }
    }

    #[test]
    fn what_is_no_message_is_noise() {
        for line in
            ["", "Traceback", "{\"type\":\"RECORD\",\"rec", "[1]", "{\"type\":\"NEWS\"}", "{}"]
        {
            assert!(matches!(heard(line.as_bytes()), Heard::Noise(_)), "{line}");
        }
        assert_eq!(told(b"\xff\x1b[31m").unwrap(), "| \u{fffd}\u{fffd}[31m");
        assert_eq!(told(b" "), None);
    }

    #[test]
    fn a_new_configuration_is_taken_and_never_told() {
        let line = br#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1.7e12,"connectorConfig":{"config":{"token":"new"}}}}"#;
        let Heard::Message(Message::Control(Some(new))) = heard(line) else { panic!() };
        assert_eq!(
            (new.config["token"].as_str(), new.emitted_at),
            (Some("new"), Some(1_700_000_000_000))
        );
        assert_eq!(told(line), None);
        for other in [
            r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","connectorConfig":{}}}"#,
            r#"{"type":"CONTROL","control":{"type":"OTHER","connectorConfig":{"config":{}}}}"#,
        ] {
            let control = heard(other.as_bytes());
            assert_eq!(control, Heard::Message(Message::Control(None)), "{other}");
        }
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
            assert_eq!(told(line.as_bytes()).unwrap(), why);
        }
        let line = r#"{"type":"LOG","log":{"level":"WARN","message":"slow\nline"}}"#;
        assert_eq!(told(line.as_bytes()).unwrap(), "WARN  slow line");
        let line =
            r#"{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"m"}}}"#;
        assert_eq!(told(line.as_bytes()).unwrap(), "ERROR m");
    }
}
