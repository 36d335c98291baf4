//! `deliveries`: what GitHub sent is shown and handled again beside the server, or without it.

use bytes::Bytes;
use checkvalve::domain::recovery::{Attempt, AttemptEnd};
use checkvalve::domain::time::Timestamp;
use checkvalve::store::{Handled, NewDelivery, Store};
use serde_json::Value;

use super::bench::Bench;

async fn store(bench: &Bench) -> Store {
    let file = bench.place("state").join("checkvalve.db");
    Store::open(&format!("sqlite:{}", file.display())).await.unwrap()
}

async fn handled(store: &Store, guid: &str, (event, action): (&str, &str), how: Handled) {
    let delivery = NewDelivery {
        guid: guid.to_owned(),
        event: event.to_owned(),
        action: Some(action.to_owned()),
        headers: Some(r#"{"x-github-event":"e"}"#.to_owned()),
        body: Bytes::from_static(b"{\"text\":\"\\u001b[31m \xc2\x9b\"}"),
    };
    store.take_in(delivery).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    store.settle_delivery(claimed, how).await.unwrap();
}

/// As its schema says.
fn fits(bench: &Bench, name: &str, answer: &Value) {
    let schema = bench.run(&["schema", name]).exits(0).json();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    if let Err(error) = validator.validate(answer) {
        panic!("{name}: {error}: {answer}");
    }
}

#[tokio::test]
async fn what_github_sent_is_listed_shown_and_handled_again() {
    let bench = Bench::new();
    let store = store(&bench).await;
    let done = || Handled::Done("made a run".to_owned());
    handled(&store, "guid-1", ("pull_request", "opened"), done()).await;
    let refused = Handled::Refused("given up\u{1b}[2J".to_owned());
    handled(&store, "guid-2", ("issue_comment", "created"), refused).await;
    let lost = Attempt {
        id: 7,
        guid: "guid-3".to_owned(),
        event: "push".to_owned(),
        action: None,
        delivered_at: Timestamp::from_millis(1_000),
        end: AttemptEnd::of_status("timed out"),
    };
    store.note_missing(&[lost]).await.unwrap();

    let text = bench.run(&["deliveries", "list"]).exits(0);
    assert!(!text.out.contains('\u{1b}'), "{:?}", text.out);
    assert!(!text.out.contains("asked again"), "nothing was given up: {}", text.out);
    text.says(&["guid-1  pull_request.opened  made a run", "refused ", "missing ", "timed out"]);
    store.give_up("guid-3", "GitHub's log has it no more").await.unwrap();
    let text = bench.run(&["deliveries", "list"]).exits(0);
    text.says(&["given up  guid-3  push", "deliveries handle GUID` has GitHub asked again"]);
    let listed = bench.run(&["deliveries", "list", "--json"]).exits(0).json();
    fits(&bench, "deliveries", &listed);
    assert_eq!(listed["missing"][0]["state"], "given_up");
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 2);
    let class = ["deliveries", "list", "--event", "issue_comment.created", "--outcome", "refused"];
    let class = bench.run(&[&class[..], &["--since", "1h", "--json"]].concat()).exits(0).json();
    assert_eq!(class["deliveries"][0]["guid"], "guid-2");
    bench.run(&["deliveries", "list", "--older", "--event", "ping"]).exits(0);

    let shown = bench.run(&["deliveries", "show", "guid-1"]).exits(0);
    assert!(!shown.out.contains(['\u{1b}', '\u{9b}']), "{:?}", shown.out);
    shown.says(&["outcome     done", "because     made a run", "header      x-github-event: e"]);
    let shown = bench.run(&["deliveries", "show", "guid-1", "--json"]).exits(0).json();
    fits(&bench, "delivery", &shown);
    assert_eq!(shown["body"]["text"], "\u{1b}[31m \u{9b}");

    let refused = ["deliveries", "handle", "--outcome", "refused"];
    let would = bench.run(&[&refused[..], &["--dry-run"]].concat()).exits(0);
    would.says(&["guid-2\n", "1 delivery would be handled again"]);
    assert!(store.claim_delivery().await.unwrap().is_none(), "it was only asked which");
    let again = bench.run(&[&refused[..], &["--json"]].concat()).exits(0).json();
    fits(&bench, "deliveries-handled", &again);
    assert_eq!(store.claim_delivery().await.unwrap().unwrap().guid, "guid-2");
    let both = bench.run(&["deliveries", "handle", "guid-1", "guid-3"]).exits(0);
    both.says(&[
        "guid-3 never came: GitHub will be asked for it again",
        "1 delivery will be handled",
    ]);
    assert_eq!(store.claim_delivery().await.unwrap().unwrap().guid, "guid-1");
    let shown = bench.run(&["deliveries", "show", "guid-1"]).exits(0);
    shown.says(&["again       ", "(command)"]);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said_with_the_mend() {
    let bench = Bench::new();
    let asked = bench.run(&["deliveries", "list"]).exits(2);
    asked.complains(&["there is no database at", "CHECKVALVE_STATE_DIR"]);
    assert!(!bench.place("state").join("checkvalve.db").exists(), "none was made");
    let store = store(&bench).await;
    bench.run(&["deliveries", "handle"]).exits(2).complains(&["a GUID, or a class by --event"]);
    let both = bench.run(&["deliveries", "handle", "x", "--event", "push"]).exits(2);
    both.complains(&["not both"]);
    bench.run(&["deliveries", "list", "--since", "lately"]).exits(2).complains(&["`2h`"]);
    bench.run(&["deliveries", "list", "--outcome", "lost"]).exits(2).complains(&["waiting"]);
    for command in ["show", "handle"] {
        let unknown = bench.run(&["deliveries", command, "nowhere"]).exits(2);
        unknown.complains(&["no delivery `nowhere`", "checkvalve deliveries list"]);
    }
    let empty = bench.run(&["deliveries", "list"]).exits(0);
    empty.says(&["no delivery of that class is kept"]);
    drop(store);
}
