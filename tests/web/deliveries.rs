//! `/deliveries`: the operator's alone.

use std::collections::BTreeSet;

use checkvalve::domain::recovery::{Attempt, AttemptEnd};
use checkvalve::domain::time::Timestamp;
use checkvalve::store::Handled;
use reqwest::Method;

use super::house::{House, Plot, SECRET, TOKEN};

const OPENED: &[u8] = br#"{"action":"opened","title":"<script>alert(1)</script>"}"#;

async fn taken(house: &House, guid: &str) {
    let answer = house.hook(SECRET, "pull_request", guid, OPENED).send().await.unwrap();
    assert_eq!(answer.status(), 202);
}

async fn handled(house: &House, guid: &str, how: Handled) {
    taken(house, guid).await;
    let claimed = house.store.claim_delivery().await.unwrap().unwrap();
    house.store.settle_delivery(claimed, how).await.unwrap();
}

async fn page(house: &House, path: &str) -> (u16, String) {
    let answer = house.request(Method::GET, path).bearer_auth(TOKEN).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The value of the page's hidden field.
fn csrf(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn deliveries_are_shown_to_who_runs_the_server_and_to_nobody_else() {
    let house = House::open().await;
    handled(&house, "guid-1", Handled::Refused("no <b>such</b> thing".to_owned())).await;
    for path in ["/deliveries", "/deliveries/guid-1", "/deliveries/none"] {
        let answer = house.get(path).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert!(!answer.text().await.unwrap().contains("such"), "{path}");
        let wrong = house.request(Method::GET, path).bearer_auth("another").send().await.unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
    }
    let (status, list) = page(&house, "/deliveries").await;
    assert_eq!(status, 200, "{list}");
    for said in ["guid-1", "pull_request", "opened", "refused", "no &lt;b&gt;such"] {
        assert!(list.contains(said), "{said}: {list}");
    }
    let (status, shown) = page(&house, "/deliveries/guid-1").await;
    assert_eq!(status, 200, "{shown}");
    assert!(shown.contains("x-github-event") && shown.contains("alert(1)"), "{shown}");
    assert!(!shown.contains("<script>alert") && !shown.contains("x-hub-signature"), "{shown}");
    assert_eq!(page(&house, "/deliveries/none").await.0, 404);

    // What never came stands above, with what can be done about it.
    assert!(!list.contains("Never came"), "{list}");
    let attempt = |guid: &str| Attempt {
        id: 7,
        guid: guid.to_owned(),
        event: "push".to_owned(),
        action: None,
        delivered_at: Timestamp::from_millis(1_000),
        end: AttemptEnd::of_status("timed out"),
    };
    house.store.note_missing(&[attempt("guid-2"), attempt("guid-3")]).await.unwrap();
    house.store.give_up("guid-3", "GitHub's log has it no more").await.unwrap();
    let (_, list) = page(&house, "/deliveries").await;
    for said in ["Never came", "timed out", "Asked for 0 times", "Given up: GitHub"] {
        assert!(list.contains(said), "{said}: {list}");
    }
    assert!(list.contains("checkvalve deliveries handle guid-3"), "{list}");
    assert!(!list.contains("deliveries handle guid-2"), "it is asked for: {list}");

    let plot = Plot { api_token: false, ..Plot::default() };
    let closed = House::on(plot).await;
    let answer =
        closed.request(Method::GET, "/deliveries").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("CHECKVALVE_API_TOKEN"));
}

#[tokio::test]
async fn lists_are_limited_and_paged() {
    let house = House::open().await;
    for nth in 0..103 {
        taken(&house, &format!("guid-{nth}")).await;
    }
    let (_, first) = page(&house, "/deliveries?event=pull_request.opened&outcome=waiting").await;
    let guids = |page: &str| -> BTreeSet<String> {
        let parts = page.split(">guid-").skip(1);
        parts.map(|part| part.split_once('<').unwrap().0.to_owned()).collect()
    };
    let older = first.split("href=\"").find(|part| part.contains("after=")).unwrap();
    let older = older.split_once('"').unwrap().0.replace("&amp;", "&");
    let (_, second) = page(&house, &older).await;
    assert_eq!((guids(&first).len(), guids(&second).len()), (100, 3));
    assert!(guids(&first).is_disjoint(&guids(&second)), "each once");
    let (_, none) = page(&house, "/deliveries?event=push").await;
    assert!(none.contains("No delivery of that class is kept"), "{none}");
    assert_eq!(page(&house, "/deliveries?outcome=perhaps").await.0, 400);
    assert_eq!(page(&house, "/deliveries?after=somewhere").await.0, 400);
}

#[tokio::test]
async fn handle_again_takes_the_form_of_its_own_page() {
    let house = House::open().await;
    handled(&house, "guid-1", Handled::Done("made a run".to_owned())).await;
    handled(&house, "guid-2", Handled::Done("made a run".to_owned())).await;
    let form = csrf(&page(&house, "/deliveries/guid-1").await.1);
    let other = csrf(&page(&house, "/deliveries/guid-2").await.1);
    let path = "/deliveries/guid-1/handle";
    let post = |token: &str| {
        house.request(Method::POST, path).bearer_auth(TOKEN).body(format!("csrf={token}"))
    };
    for wrong in ["", "abc", &other] {
        let answer = post(wrong).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{wrong}");
    }
    let foreign = post(&form).header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    let nobody = house.request(Method::POST, path).body(format!("csrf={form}"));
    assert_eq!(nobody.send().await.unwrap().status(), 401);
    assert!(house.store.claim_delivery().await.unwrap().is_none(), "nothing was done");

    let answer = post(&form).header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], "/deliveries/guid%2D1");
    assert_eq!(house.store.claim_delivery().await.unwrap().unwrap().guid, "guid-1");
    let (_, shown) = page(&house, "/deliveries/guid-1").await;
    assert!(shown.contains("handled again for"), "{shown}");
    let again = house.store.delivery("guid-1").await.unwrap().unwrap().again;
    assert_eq!((again[0].actor.as_str(), again[0].route.as_str()), ("api", "page"));
}
