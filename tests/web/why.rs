//! "Why not …?", on the run's page and in the API.

use checkvalve::domain::objects;
use serde_json::json;

use super::house::{House, TOKEN, Tale};

/// The part of the run's page that answers; nothing in it may act.
async fn answer(house: &House, run: &str, name: &str) -> String {
    let page = house.page(&format!("/runs/{run}?explain={}", objects::segment(name))).await;
    for bad in ["<script>alert", "<b>", "<i>"] {
        assert!(!page.contains(bad), "{bad} in {page}");
    }
    let from = page.find("<section id=\"why-not\"").unwrap();
    let length = page[from..].find("</section>").unwrap();
    page[from..from + length].to_owned()
}

#[tokio::test]
async fn the_page_asks_with_a_form_that_needs_no_script() {
    let house = House::open().await;
    let id = house.make(&Tale::default()).await.to_string();
    let page = house.page(&format!("/runs/{id}?explain=x")).await;
    assert!(!page.contains("why-not"), "nothing can be asked before the run is planned");
    let lease =
        house.store.claim_planning(house.worker, super::house::TERM).await.unwrap().unwrap();
    house.store.settle_planning(lease, Tale::default().planned()).await.unwrap();
    let shown = answer(&house, &id, "").await;
    for part in [
        "<form class=\"ask\" method=\"get\" action=\"#why-not\">",
        "<label for=\"explain\">Connector</label>",
        "<input id=\"explain\" name=\"explain\"",
        "<option value=\"source-other\">",
        "<option value=\"source-faker\">",
        "2 connectors are not selected.",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("role=\"status\""), "nothing was asked yet");
}

#[tokio::test]
async fn each_connector_is_answered_for() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await.to_string();
    let shown = answer(&house, &id, " Source-OTHER ").await;
    for part in [
        "source-other is not selected",
        "<code>root connectors/source-other</code>",
        "none of 3 changed paths lies in it",
        "impact &lt;i&gt;shared/**&lt;/i&gt;",
        "<code>x&lt;script&gt;alert(4)&lt;/script&gt;</code> matches, but reaches kind <code>go</code>",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown = answer(&house, &id, "source-faker").await;
    assert!(shown.contains("source-faker is selected"), "{shown}");
    assert!(shown.contains("</code> lies in its folder"), "{shown}");
    let shown = answer(&house, &id, "source-<b>old</b>").await;
    assert!(shown.contains("source-&lt;b&gt;old&lt;/b&gt; is not selected"), "{shown}");
    let shown = answer(&house, &id, "source-othr").await;
    assert!(shown.contains("No connector is called <code>source-othr</code>"), "{shown}");
    assert!(shown.contains("href=\"?explain=source-other#why-not\">source-other</a>"), "{shown}");
    let shown = answer(&house, &id, "\"><script>alert(6)</script>").await;
    assert!(shown.contains("No connector is called"), "{shown}");
}

#[tokio::test]
async fn the_api_says_the_same() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await.to_string();
    let why = |name: &str| format!("/api/v1/runs/{id}/connectors/{}/why", objects::segment(name));
    let other = house.json(&why("source-other")).await;
    assert_eq!(
        other,
        json!({
            "name": "source-other",
            "selected": false,
            "reasons": [],
            "looked": [
                {
                    "rule": "root connectors/source-other",
                    "because": "none of 3 changed paths lies in it",
                },
                {
                    "rule": "impact <i>shared/**</i>",
                    "because": "`x<script>alert(4)</script>` matches, but reaches kind `go`",
                },
            ],
        })
    );
    let faker = house.json(&why("source-faker")).await;
    assert_eq!((&faker["selected"], &faker["reasons"][0]["rule"]), (&json!(true), &json!("root")));
    let answer = house.get(&why("source-othr")).await;
    assert_eq!(answer.status(), 404);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "unknown_connector");
    assert_eq!(body["error"]["mend"], "Did you mean `source-other`?");

    let run = house.json(&format!("/api/v1/runs/{id}")).await;
    let selection = &run["selection"];
    assert_eq!(
        (&selection["not_selected"], &selection["removed"], &selection["archived"]),
        (&json!(2), &json!(["source-gone"]), &json!(["source-<b>old</b>"]))
    );
    let connector = &run["connectors"][0];
    assert_eq!(
        (&connector["language"], &connector["support_level"], &connector["release_stage"]),
        (&json!("<b>python</b>"), &json!("certified"), &json!(null))
    );
    let list = house.json("/api/v1/runs").await;
    assert!(list[0].get("selection").is_none(), "{list}");
}

#[tokio::test]
async fn what_is_private_is_not_explained_to_strangers() {
    let house = House::open().await;
    let tale = Tale { private: true, repository: "acme/hidden", ..Tale::default() };
    let id = house.planned(&tale).await;
    for path in [
        format!("/runs/{id}?explain=source-other"),
        format!("/api/v1/runs/{id}/connectors/source-other/why"),
    ] {
        let answer = house.get(&path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(!answer.text().await.unwrap().contains("source-other</code>"), "{path}");
        let request = house.request(reqwest::Method::GET, &path).bearer_auth(TOKEN);
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
}
