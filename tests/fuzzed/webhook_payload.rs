//! What holds for every body that anybody may send: the event's name in the first line, the payload
//! after it.

use checkvalve::domain::event::Event;
use checkvalve::github::webhook::{EVENTS, form_payload, parse};

/// Never a panic; the same answer each time; what is understood was JSON, and names an installation
/// where we would act for one.
pub(crate) fn holds(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let event = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes.get(end + 1..).unwrap_or_default();
    judged(&event, body);
    // Under any other name, too: fields of one event must not surprise another's reader.
    for event in EVENTS.into_iter().chain(["installation", "installation_repositories", "ping"]) {
        judged(event, body);
    }
    if let Some(payload) = form_payload(bytes) {
        judged(&event, &payload);
    }
}

fn judged(event: &str, body: &[u8]) {
    let answer = parse(event, body);
    assert_eq!(answer, parse(event, body), "not the same twice");
    let understood = match answer {
        Ok(understood) => understood,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let text = std::str::from_utf8(body).unwrap_or_else(|_| panic!("understood, and no UTF-8"));
    assert!(text.trim_start().starts_with('{'), "understood, and no object: {text}");
    assert!(understood.occasion.as_deref() != Some(""), "an occasion that tells nothing");
    match understood.event {
        Event::PullRequest { repository, pull, .. } => {
            named(&repository, body);
            assert_eq!(pull.head_sha.as_str().len(), 40);
        }
        Event::Comment { repository, .. }
        | Event::CheckRun { repository, .. }
        | Event::CheckSuite { repository, .. }
        | Event::Push { repository, .. }
        | Event::MergeGroup { repository, .. }
        | Event::Repository { repository, .. } => named(&repository, body),
        Event::Label { repository, label, .. } => {
            named(&repository, body);
            assert!(label.starts_with('/'), "a label that is no command: {label}");
        }
        Event::Ping | Event::Installation { .. } => {}
        Event::Ignored { because } => assert!(!because.is_empty()),
    }
}

fn named(repository: &checkvalve::domain::run::Repository, body: &[u8]) {
    let name = repository.name.as_str();
    assert_eq!(name.matches('/').count(), 1, "{name}");
    assert!(!name.contains(char::is_whitespace) && !name.contains(".."), "{name}");
    let text = String::from_utf8_lossy(body);
    assert!(text.contains("installation"), "acted on for nobody: {text}");
}
