//! What `acceptance` tells of what an image says, and whom it holds up by that.

use std::time::Instant;

use checkvalve::domain::state::Outcome;
use checkvalve::exec::images::TalkEnd;

use super::speaker::{Speaker, WELL, judged, with};

#[tokio::test]
async fn a_secret_is_hidden_wherever_a_text_is_cut() {
    let places = [
        ("check", "all is well"),
        ("read1", "not a message at all"),
        ("read1", "\"level\":\"INFO\",\"message\":\"reading"),
        ("read1", "\"name\":\"x"),
        ("discover", "\"name\":\"tags"),
        ("discover", "\"description\":\"a tag\",\"type\":\"string"),
    ];
    for from in [1_900, 2_036, 2_040, 2_047, 5_000] {
        for place in places {
            let done = judged(Speaker::new(move |call, good| says(call, good, place, from))).await;
            let told = format!("{} {:?}", done.log("acceptance"), done.step("acceptance").facts);
            assert!(!told.contains("s3cr3t"), "{place:?} {from}: {told}");
        }
    }
}

/// The good answer to a call, but for a text of one call that holds the secret so many letters in.
fn says(call: &str, good: String, (on, was): (&str, &str), from: usize) -> (Vec<u8>, TalkEnd) {
    if call != on {
        return (good.into_bytes(), WELL);
    }
    let text = format!("{}s3cr3t-token and more", "x".repeat(from));
    let key = was.rsplit_once('"').map_or("", |(key, _)| key);
    let to = if key.is_empty() { text } else { format!("{key}\"{text}") };
    // A breach of the schema quotes the record.
    let breach = if on == "read1" { "\"seen\":[]" } else { "\"seen\":1" };
    (good.replace("\"seen\":1", breach).replace(was, &to).into_bytes(), WELL)
}

/// Whoever shares the runtime's thread goes on while lines are judged.
#[tokio::test]
async fn lines_are_judged_on_a_thread_of_their_own() {
    let record =
        r#"{"type":"RECORD","record":{"stream":"tags","data":{"name":"x"},"emitted_at":2}}"#;
    let many = format!("{record}\n").repeat(11_000);
    assert!(many.len() < 1 << 20, "one chunk");
    let speaker = Speaker::new(move |call, good| {
        let said = if call == "read1" { format!("{good}{many}") } else { good };
        (said.into_bytes(), WELL)
    });
    let config = "acceptance_tests:\n  basic_read: { tests: [{}] }\n";
    let done_at = speaker.done.clone();
    let begun = Instant::now();
    let done = with(speaker, "acceptance-test-config.yml", config).await;
    let (ended, all) = (done_at.lock().unwrap().unwrap(), begun.elapsed());
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    let (heard, talked) = (all, ended.duration_since(begun));
    assert!(talked < heard / 2, "the image had to wait for its judge: {talked:?} of {heard:?}");
}

#[tokio::test]
async fn a_configuration_that_can_not_be_kept_out_of_logs_is_not_used() {
    let large = format!(r#"{{"token": "s3cr3t-token", "blob": "{}"}}"#, "xy".repeat(140 << 10));
    let done = with(Speaker::good(), "secrets/config.json", &large).await;
    let log = done.log("acceptance");
    assert!(done.tests("acceptance").3.contains(&"connection 1: can be made"), "{log}");
    assert!(log.contains("larger than 256 KiB"), "{log}");
}
