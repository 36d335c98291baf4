//! On whose word a run's code runs, as the API and the run's page tell it.

use checkvalve::domain::audit::{Route, Ruling};
use checkvalve::domain::run::{Problem, ProblemKind, Selection};
use checkvalve::domain::state::Conclusion;
use checkvalve::domain::trust::{Decisive, Role, Showing, Trust};
use checkvalve::store::{Act, ApprovalOrder, Orders, PlannedRun};
use serde_json::json;

use super::house::{House, TERM, Tale};

fn strangers() -> Tale {
    let problem = Problem {
        kind: ProblemKind::NotTrusted,
        title: "Approval needed: mallory may not write to this repository".to_owned(),
        text: "Look at it.".to_owned(),
        place: None,
    };
    let problem = Some((Conclusion::ActionRequired, problem));
    Tale { problem, trust: Trust::Untrusted, ..Tale::default() }
}

/// Ada approves the tale's commit, or takes that back.
async fn obey(house: &House, tale: &Tale, (cause, order): (&str, ApprovalOrder)) {
    let act = Act {
        repository: tale.repository(),
        pull: Some(tale.pull),
        head: Some(tale.sha.repeat(40).parse().unwrap()),
        actor: "ada".to_owned(),
        route: Route::Button,
        cause: cause.to_owned(),
        asked: "Approve this commit on checkvalve".to_owned(),
    };
    let orders = Orders { approval: Some(order), ..Orders::default() };
    let judge = |_: &_| Ruling::of(&["done".to_owned()], &[]);
    house.store.obey(&act, &orders, &judge).await.unwrap();
}

#[tokio::test]
async fn on_whose_word_a_run_runs_is_told_with_who_gave_it_and_for_what() {
    let house = House::open().await;
    let trusted = house.make(&Tale::default()).await;
    let trust = &house.json(&format!("/api/v1/runs/{trusted}")).await["trust"];
    let why = "Who wrote and who pushed this commit may write to the repository.";
    assert_eq!(*trust, json!({ "state": "trusted", "because": why }));
    assert!(house.page(&format!("/runs/{trusted}")).await.contains(why));

    let tale = strangers();
    let waits = house.make(&tale).await;
    let trust = &house.json(&format!("/api/v1/runs/{waits}")).await["trust"];
    assert_eq!((&trust["state"], trust.get("approval")), (&json!("untrusted"), None));
    assert!(trust["because"].as_str().unwrap().contains("mallory may not write"), "{trust}");
    assert!(house.page(&format!("/runs/{waits}")).await.contains("<strong>not trusted</strong>"));

    let head: checkvalve::domain::names::Sha = "a".repeat(40).parse().unwrap();
    let give =
        ApprovalOrder::Give { head: head.clone(), base_ref: "main".to_owned(), known: Some(1) };
    obey(&house, &tale, ("check-run-1", give)).await;
    let approved = Tale { trust: Trust::Approved, ..Tale::default() };
    let id = house.make(&approved).await;
    let trust = house.json(&format!("/api/v1/runs/{id}")).await["trust"].clone();
    let why = "`ada` approved `aaaaaaaaaaaa` for `main` by button.";
    assert_eq!((&trust["state"], &trust["because"]), (&json!("approved"), &json!(why)));
    let approval = &trust["approval"];
    let of = ["actor", "route", "head_sha", "base_ref", "void_at"].map(|field| &approval[field]);
    let expected = [json!("ada"), json!("button"), json!(head), json!("main"), json!(null)];
    assert_eq!(of, expected.each_ref());
    assert!(approval["at"].as_str().unwrap().ends_with('Z'), "{approval}");
    let page = house.page(&format!("/runs/{id}")).await;
    assert!(page.contains("<strong>approved</strong>") && page.contains("<code>ada</code>"));
    // The stranger's run stays what it was, and lists say what needs no second question.
    let trust = &house.json(&format!("/api/v1/runs/{waits}")).await["trust"];
    assert_eq!(trust["state"], "untrusted");
    let list = house.json("/api/v1/runs?repo=acme/connectors").await;
    let states = [0, 1, 2].map(|nth| list[nth]["trust"]["state"].as_str().unwrap());
    assert_eq!(states, ["approved", "untrusted", "trusted"]);
    assert!(list[0]["trust"].get("approval").is_none());

    obey(&house, &tale, ("comment-1", ApprovalOrder::Withdraw { head })).await;
    let trust = &house.json(&format!("/api/v1/runs/{id}")).await["trust"];
    assert_eq!(trust["approval"]["void_because"], "taken back by ada");
    assert!(trust["because"].as_str().unwrap().ends_with("holds no more: taken back by ada."));
}

#[tokio::test]
async fn the_page_of_a_run_that_waits_shows_what_to_look_at() {
    let house = House::open().await;
    let file =
        |role, path: &str| Decisive {
            role, path: path.to_owned(), shortened: path.contains('…')
        };
    let showing = Showing {
        files: vec![
            file(Role::Configuration, ".github/checkvalve.yml"),
            file(Role::Script, "a/<b>x</b>\u{202e}hs.nur"),
            file(Role::Other, "a/…/b"),
        ],
        more: 7,
        more_of: [(Role::Other, 7)].into(),
        unknown: None,
    };
    let shown = async |tale: &Tale| {
        let id = house.make(tale).await;
        let lease = house.store.claim_planning(house.worker, TERM).await.unwrap().unwrap();
        let selection = Selection { showing: Some(showing.clone()), ..Selection::default() };
        let planned = PlannedRun { merge_base: None, selection, jobs: Vec::new() };
        house.store.settle_planning(lease, planned).await.unwrap();
        house.page(&format!("/runs/{id}")).await
    };
    let page = shown(&strangers()).await;
    assert!(page.contains("Look at these before you approve"), "{page}");
    let link = format!("/blob/{}/.github/checkvalve.yml\"><code>.github", "a".repeat(40));
    assert!(page.contains(&link), "{page}");
    assert!(page.contains("script: ") && page.contains("7 other"), "{page}");
    assert!(!page.contains("<b>x") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("<code>a/…/b</code>") && !page.contains("%E2%80%A6"), "{page}");
    let page = shown(&Tale { trust: Trust::Approved, ..Tale::default() }).await;
    assert!(!page.contains("Look at these before you approve"), "{page}");
}
