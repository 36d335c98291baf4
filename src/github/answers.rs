//! What GitHub's answers mean: success, try again, ask somebody to mend something.

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{GithubError, quotable};
use super::rates::Rates;
use super::transport::{Answer, Request, Silence};
use crate::domain::reads::{READ, WRITE};

/// A call, with what is needed to judge its failures.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// In words, after "to": `create a check run`.
    pub(super) name: &'static str,
    pub(super) request: Request,
    /// Does doing it twice have the effect of once?
    repeatable: bool,
    /// Does it wait for points? Not what all else waits for.
    waits: bool,
}

impl Call {
    pub(super) fn get(name: &'static str, uri: String) -> Self {
        let request = Request { method: Method::GET, uri, body: None, known: None };
        Self { name, request, repeatable: true, waits: true }
    }

    /// The same, answered 304 and without a body where this is still its tag.
    pub(super) fn unless(mut self, known: Option<String>) -> Self {
        self.request.known = known;
        self
    }

    /// The same, not held up by what else is asked.
    pub(super) fn at_once(mut self) -> Self {
        self.waits = false;
        self
    }

    /// Points that it is to take first. What an installation writes is paid for where it is decided.
    pub(super) fn cost(&self, who: Option<u64>) -> Option<u32> {
        let reads = self.request.method == Method::GET;
        match (reads, who) {
            _ if !self.waits => None,
            (true, _) => Some(READ),
            (false, None) => Some(WRITE),
            (false, Some(_)) => None,
        }
    }

    /// Sets something: sending it twice does no harm.
    pub(super) fn set(name: &'static str, method: Method, uri: String, body: Value) -> Self {
        let request = Request { method, uri, body: Some(body), known: None };
        Self { name, request, repeatable: true, waits: true }
    }

    /// Makes something: sending it twice would make two.
    pub(super) fn make(name: &'static str, uri: String, body: Value) -> Self {
        let request = Request { method: Method::POST, uri, body: Some(body), known: None };
        Self { name, request, repeatable: false, waits: true }
    }

    /// Adds something to what is there: sending it twice would add it twice.
    pub(super) fn add(name: &'static str, uri: String, body: Value) -> Self {
        let request = Request { method: Method::PATCH, uri, body: Some(body), known: None };
        Self { name, request, repeatable: false, waits: true }
    }

    /// The error of a call that may or may not have reached GitHub.
    pub(super) fn lost(&self, why: String) -> GithubError {
        if self.repeatable {
            GithubError::Unavailable { call: self.name, why }
        } else {
            GithubError::Unknown { call: self.name, why }
        }
    }

    /// The answer's body.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, GithubError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.lost(quotable(&format!("its answer ({}) is unreadable: {error}", answer.status)))
        })
    }
}

/// An attempt that did not succeed.
#[derive(Debug)]
pub(super) enum Setback {
    /// Another attempt may, after a pause.
    Passing(GithubError),
    /// 401: the token or the JWT was not accepted, and nothing happened.
    Unauthorized {
        message: String,
        /// GitHub's clock in milliseconds.
        date: Option<i64>,
    },
    Final(GithubError),
}

/// GitHub's error object. `status` in the body is absent on older servers.
#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Value>,
}

/// Judges silence: the request never left, or nobody knows.
pub(super) fn silent(call: &Call, silence: Silence) -> Setback {
    match (silence.seen, call.repeatable) {
        (false, _) => {
            Setback::Passing(GithubError::Unavailable { call: call.name, why: silence.why })
        }
        (true, true) => Setback::Passing(call.lost(silence.why)),
        (true, false) => Setback::Final(call.lost(silence.why)),
    }
}

/// Judges an answer, and notes what it says about rate limits.
pub(super) fn judge(
    call: &Call,
    who: Option<u64>,
    answer: Answer,
    rates: &Rates,
) -> Result<Answer, Setback> {
    let status = answer.status.as_u16();
    let message = if answer.status.is_success() { String::new() } else { message(&answer) };
    let limited = limited(&answer, &message);
    let wait = rates.note(who, &answer, limited);
    let name = call.name;
    match (status, wait) {
        (200..=299, _) => Ok(answer),
        (304, _) if call.request.known.is_some() => Ok(answer),
        (_, Some(wait)) if limited => {
            Err(Setback::Final(GithubError::RateLimited { call: name, wait }))
        }
        (401, _) => Err(Setback::Unauthorized { message, date: answer.date() }),
        (403, _) if message.contains("not accessible by integration") => {
            let missing = answer.header("x-accepted-github-permissions").map_or_else(
                || "GitHub does not say which".to_owned(),
                |accepted| format!("needed: {}", quotable(accepted)),
            );
            Err(Setback::Final(GithubError::Permission { call: name, missing }))
        }
        (404 | 410, _) => {
            let path = call.request.uri.split('?').next().unwrap_or_default().to_owned();
            Err(Setback::Final(GithubError::NotFound { call: name, path }))
        }
        // 5xx may come from a gateway after the work was done.
        (408 | 500..=599, _) => {
            let error = call.lost(format!("it answered {status} {message}").trim().to_owned());
            Err(if call.repeatable { Setback::Passing(error) } else { Setback::Final(error) })
        }
        _ => Err(Setback::Final(GithubError::Refused { call: name, status, message })),
    }
}

/// Exceeded limits are 403 or 429, and only sometimes carry `retry-after`. The last texts are that
/// of the pause after too many invalid credentials.
fn limited(answer: &Answer, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    match answer.status.as_u16() {
        429 => true,
        403 => {
            answer.header("retry-after").is_some()
                || message.contains("rate limit")
                || message.contains("login attempts exceeded")
        }
        _ => false,
    }
}

/// GitHub's words, with the fields that it names; of an answer that is not GitHub's, the beginning.
fn message(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let body: ErrorBody = match serde_json::from_slice(&answer.body) {
        Ok(body) => body,
        Err(_) => return quotable(&text.chars().take(200).collect::<String>()),
    };
    let details = body.errors.iter().map(detail).collect::<Vec<_>>().join("; ");
    let separator = if details.is_empty() { "" } else { ": " };
    quotable(&format!("{}{separator}{details}", body.message))
}

fn detail(error: &Value) -> String {
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    match (text("message"), text("field"), text("code"), error.as_str()) {
        (Some(message), Some(field), ..) => format!("{field}: {message}"),
        (Some(message), ..) => message.to_owned(),
        (None, Some(field), code, _) => format!("{field}: {}", code.unwrap_or("wrong")),
        (.., Some(error)) => error.to_owned(),
        _ => error.to_string(),
    }
}
