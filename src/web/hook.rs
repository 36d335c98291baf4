//! `POST /webhooks/github`: verify the raw bytes, store, answer. Nothing else happens here, and
//! nothing is acknowledged before it is on disk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use super::Web;
use super::error::WebError;
use super::metrics::HookResult;
use super::signers::Doubt;
use crate::github::webhook::{
    DELIVERY_HEADER, EVENT_HEADER, EVENTS, PAYLOAD_MAX_BYTES, SIGNATURE_HEADER, form_payload,
};
use crate::store::{NewDelivery, Taken};

/// Reserved at most on the word of a `Content-Length`.
const PREALLOCATED: usize = 256 * 1024;

/// Beyond this a sender of too much is cut off.
const HEARD_OUT: usize = 2 * PAYLOAD_MAX_BYTES;

/// GitHub hangs up after ten seconds, an Enterprise Server after thirty; a failure that it sees can be
/// delivered again ("Troubleshooting webhooks").
const PATIENCE: Duration = Duration::from_secs(9);
const PATIENCE_OF_ENTERPRISE: Duration = Duration::from_secs(29);
const _: () = assert!(PATIENCE.as_secs() < 10 && PATIENCE_OF_ENTERPRISE.as_secs() < 30);
/// An Enterprise Server says so in each delivery.
const ENTERPRISE_HEADER: &str = "x-github-enterprise-version";

/// How long the first delivery of an App waits until its registration has brought its secret.
const REGISTRATION: Duration = Duration::from_secs(4);

/// Come to every App, beside the events that one subscribes to. Others are kept and ignored.
const UNASKED: [&str; 3] = ["installation", "installation_repositories", "ping"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentType {
    Json,
    Form,
}

/// A request that was refused: how it is counted, and what is answered.
struct Refusal(HookResult, WebError);

impl Refusal {
    fn new(result: HookResult, status: StatusCode, message: &str, mend: &str) -> Self {
        Self(result, WebError::new(status, result.as_str(), message, mend))
    }
}

pub(crate) async fn take(State(web): State<Arc<Web>>, request: Request) -> Response {
    let enterprise = request.headers().contains_key(ENTERPRISE_HEADER);
    let patience = if enterprise { PATIENCE_OF_ENTERPRISE } else { PATIENCE };
    let answered = tokio::time::timeout(patience, taken(&web, request)).await;
    let result = match answered {
        Ok(Ok(result)) => result,
        Ok(Err(Refusal(result, error))) => {
            web.metrics.hook(result);
            return error.into_response();
        }
        Err(_) => {
            web.metrics.hook(HookResult::Unavailable);
            return WebError::unavailable("database", "a delivery took too long").into_response();
        }
    };
    web.metrics.hook(result);
    (StatusCode::ACCEPTED, Json(json!({"status": result.as_str()}))).into_response()
}

async fn taken(web: &Web, request: Request) -> Result<HookResult, Refusal> {
    let (parts, body) = request.into_parts();
    let kind = content_type(&parts.headers)?;
    if web.signers.is_empty() && !web.signers.ready(REGISTRATION).await {
        let error = WebError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_app",
            "No GitHub App is registered here yet.",
            "Open the address that `checkvalve serve` printed, then deliver this again.",
        );
        return Err(Refusal(HookResult::Unavailable, error));
    }
    let raw = whole(&parts.headers, body).await?;
    let signature = text(&parts.headers, SIGNATURE_HEADER);
    let which = web.signers.verify(signature, &raw).await.map_err(doubted)?;
    web.metrics.signed(which);
    let (delivery, result) = delivery(&parts.headers, kind, raw)?;
    match web.store.take_in(delivery).await {
        Ok(Taken::Fresh) => Ok(result),
        Ok(Taken::Duplicate) => Ok(HookResult::Duplicate),
        Err(error) => {
            let error = WebError::unavailable("database", error.to_string());
            Err(Refusal(HookResult::Unavailable, error))
        }
    }
}

fn doubted(doubt: Doubt) -> Refusal {
    match doubt {
        Doubt::Refused(error) => {
            tracing::debug!(%error, "a delivery was refused");
            Refusal::new(
                HookResult::Unsigned,
                StatusCode::UNAUTHORIZED,
                &format!("The signature was refused: {error}."),
                "Sign the raw body with the App's webhook secret; GitHub does so when the secret of \
                 its settings equals CHECKVALVE_WEBHOOK_SECRET.",
            )
        }
        Doubt::Unknown(error) => {
            let error = WebError::unavailable("database", error.to_string());
            Refusal(HookResult::Unavailable, error)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

fn content_type(headers: &HeaderMap) -> Result<ContentType, Refusal> {
    let kind = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(ContentType::Json),
        "application/x-www-form-urlencoded" => Ok(ContentType::Form),
        _ => Err(Refusal::new(
            HookResult::WrongType,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The content type is neither JSON nor a form.",
            "Choose `application/json` in the webhook's settings.",
        )),
    }
}

/// The raw body. What is too large is read on for a while and dropped: a server that hangs up on
/// someone who still sends is seen as a broken connection, not as a 413.
async fn whole(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let declared = text(headers, header::CONTENT_LENGTH.as_str()).and_then(|n| n.parse().ok());
    let mut kept = BytesMut::with_capacity(declared.unwrap_or(0).min(PREALLOCATED));
    let mut size = 0;
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame =
            frame.map_err(|_| malformed("The body ended early.", "Send the whole body."))?;
        size += frame.len();
        if size <= PAYLOAD_MAX_BYTES {
            kept.extend_from_slice(&frame);
        } else if size <= HEARD_OUT {
            kept = BytesMut::new();
        } else {
            break;
        }
    }
    if size > PAYLOAD_MAX_BYTES {
        return Err(Refusal::new(
            HookResult::TooLarge,
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is larger than 25 MiB.",
            "GitHub itself never sends so much; whoever did is not GitHub.",
        ));
    }
    Ok(kept.freeze())
}

fn malformed(message: &str, mend: &str) -> Refusal {
    Refusal::new(HookResult::Malformed, StatusCode::BAD_REQUEST, message, mend)
}

/// What a payload says of itself. Reading this much checks that the whole is JSON and keeps nothing
/// of the rest; what the rest means is asked by whoever handles it.
#[derive(Debug, Default)]
struct Head {
    action: Option<String>,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

/// Takes every JSON value; of an object, the text under `action`.
struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "action" {
                head.action = map.next_value::<Text>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(head)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Head, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Head::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Head, E> {
        Ok(Head::default())
    }

    fn visit_unit<E>(self) -> Result<Head, E> {
        Ok(Head::default())
    }
}

/// A text, or whatever else stands there.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_str().map(str::to_owned)))
    }
}

fn delivery(
    headers: &HeaderMap,
    kind: ContentType,
    raw: Bytes,
) -> Result<(NewDelivery, HookResult), Refusal> {
    let required = |name: &str| {
        let mend = "Send the headers that GitHub sends.";
        text(headers, name).ok_or_else(|| malformed(&format!("There is no `{name}` header."), mend))
    };
    let event = required(EVENT_HEADER)?.to_owned();
    let guid = required(DELIVERY_HEADER)?.to_owned();
    let body = match kind {
        ContentType::Json => raw,
        ContentType::Form => form_payload(&raw)
            .map(|payload| Bytes::from(payload.into_owned()))
            .ok_or_else(|| malformed("The form has no `payload`.", "Send what GitHub sends."))?,
    };
    let head = head(&body)?;
    let echo = is_echo(&event, head.action.as_deref());
    let acted_on = EVENTS.contains(&event.as_str()) || UNASKED.contains(&event.as_str());
    let ignored = echo || !acted_on;
    let result = if ignored { HookResult::Ignored } else { HookResult::Accepted };
    let body = if echo { stub(head.action.as_deref()) } else { body };
    let headers = kept(headers);
    Ok((NewDelivery { guid, event, action: head.action, headers, body }, result))
}

/// The headers that are kept beside the body, as a JSON object: GitHub's own, and what tells who sent
/// it. Not the signatures, of which a weak secret could be guessed.
fn kept(headers: &HeaderMap) -> Option<String> {
    const MOST: usize = 20;
    const LONGEST: usize = 256;
    let wanted =
        |name: &str| name.starts_with("x-github-") || matches!(name, "content-type" | "user-agent");
    let some = headers.iter().filter(|(name, _)| wanted(name.as_str())).take(MOST);
    let text = some.filter_map(|(name, value)| {
        let value = value.to_str().ok().filter(|value| value.len() <= LONGEST)?;
        Some((name.as_str(), value))
    });
    serde_json::to_string(&text.collect::<BTreeMap<_, _>>()).ok()
}

fn head(body: &[u8]) -> Result<Head, Refusal> {
    let not_json = |error: &dyn fmt::Display| {
        malformed(&format!("The body is not JSON: {error}."), "Send what GitHub sends.")
    };
    // Strings that are passed over are not looked at, so whether they are UTF-8 is asked here.
    let text = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// GitHub tells us of every check run that we write ourselves (and of other Apps' too); there are
/// far more of them than of anything else, and nothing is to be done. Counted, the body dropped.
fn is_echo(event: &str, action: Option<&str>) -> bool {
    matches!(event, "check_run" | "check_suite")
        && matches!(action, Some("created" | "completed" | "requested"))
}

fn stub(action: Option<&str>) -> Bytes {
    Bytes::from(json!({"action": action}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_echoes_of_checks_lose_their_body() {
        assert!(is_echo("check_run", Some("completed")));
        assert!(is_echo("check_suite", Some("requested")));
        assert!(!is_echo("check_run", Some("rerequested")));
        assert!(!is_echo("check_run", Some("requested_action")));
        assert!(!is_echo("pull_request", Some("created")));
    }
}
