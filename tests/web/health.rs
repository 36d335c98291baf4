//! How connectors do on the default branch, on the repository's page.

use std::time::Duration;

use checkvalve::domain::state::{Conclusion, Outcome};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::MOST_CLAIMS;

use super::house::{House, Tale, finished};

/// What is read of a page, tags aside.
fn read(page: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in page.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A run of these connectors, each with how it ends; the branch has others.
async fn ran(house: &House, trigger: Trigger, sha: &'static str, ends: &[(&'static str, bool)]) {
    let ends = ends.iter().map(|(name, passes)| match passes {
        true => (*name, Outcome::Succeeded),
        false => (*name, Outcome::Failed),
    });
    ended(house, (trigger, sha), &ends.collect::<Vec<_>>(), &["source-a", "source-b"]).await;
}

async fn ended(
    house: &House,
    (trigger, sha): (Trigger, &'static str),
    ends: &[(&'static str, Outcome)],
    there: &[&'static str],
) {
    let connectors: Vec<_> = ends.iter().map(|(name, _)| *name).collect();
    let beside = there.iter().filter(|name| !connectors.contains(*name)).copied().collect();
    house.planned(&Tale { sha, connectors, trigger, beside, ..Tale::default() }).await;
    for _ in ends {
        let (lease, _, job) = house.claim().await;
        let (_, outcome) = *ends.iter().find(|(name, _)| *name == job.connector.as_str()).unwrap();
        let passes = outcome == Outcome::Succeeded;
        let conclusion = if passes { Conclusion::Success } else { Conclusion::Failure };
        let steps: Vec<_> = job.steps.iter().map(|s| finished(s.id.as_str(), outcome)).collect();
        house.store.settle_job(lease, &steps, conclusion).await.unwrap();
    }
}

async fn connectors(house: &House) -> String {
    let text = read(&house.page("/r/acme/connectors").await);
    let (_, after) = text.split_once(" Connectors ").unwrap();
    after.split_once(" Recent runs ").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_last_verdict_of_each_connector_is_shown_with_how_long_it_has_been_that() {
    let house = House::open().await;
    // What a pull request breaks says nothing of the branch.
    ran(&house, Trigger::PullRequest, "a", &[("source-a", false)]).await;
    let none = connectors(&house).await;
    assert_eq!(none, "No push to the default branch and no schedule has run a connector yet.");

    ran(&house, Trigger::Push, "b", &[("source-a", true), ("source-b", true)]).await;
    ran(&house, Trigger::Schedule, "b", &[("source-a", false), ("source-b", true)]).await;
    ran(&house, Trigger::Schedule, "c", &[("source-a", false), ("source-b", true)]).await;
    let text = connectors(&house).await;
    assert!(
        text.starts_with("1 of 2 pass on the default branch, by the last push or schedule"),
        "{text}"
    );
    let (_, rows) = text.split_once("Since ").unwrap();
    let rows: Vec<&str> = rows.split("just now").map(str::trim).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[0].ends_with("failed source-a 2"), "{text}");
    assert!(rows[1].ends_with("passed source-b 3 or more before"), "{text}");

    // Mended.
    ran(&house, Trigger::Push, "d", &[("source-a", true)]).await;
    let text = connectors(&house).await;
    assert!(text.contains("2 of 2 pass") && text.contains("passed source-a 1 just now"), "{text}");
}

#[tokio::test]
async fn what_is_not_a_connectors_fault_is_not_its_failure_and_who_is_gone_is_not_shown() {
    let house = House::open().await;
    let both = ["source-a", "source-b"];
    ran(&house, Trigger::Push, "a", &[("source-a", true), ("source-b", true)]).await;
    let errs = [("source-a", Outcome::Errored), ("source-b", Outcome::Succeeded)];
    ended(&house, (Trigger::Schedule, "a"), &errs, &both).await;
    let text = connectors(&house).await;
    assert!(text.contains("2 of 2 pass") && text.contains("passed source-a"), "{text}");

    // Given up: its holders died.
    let (connectors_of, beside) = (vec!["source-a"], vec!["source-b"]);
    let trigger = Trigger::Push;
    let tale = Tale { sha: "b", connectors: connectors_of, trigger, beside, ..Tale::default() };
    house.planned(&tale).await;
    for _ in 0..MOST_CLAIMS {
        house.store.claim_job(house.worker, Duration::ZERO).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.store.settle_abandoned().await.unwrap(), 1);
    let text = connectors(&house).await;
    assert!(text.contains("2 of 2 pass") && text.contains("passed source-a"), "{text}");

    // What fails is one thing; what the branch has no more is another.
    ended(&house, (Trigger::Push, "c"), &[("source-b", Outcome::TimedOut)], &both).await;
    let text = connectors(&house).await;
    assert!(text.contains("1 of 2 pass") && text.contains("failed source-b"), "{text}");
    ended(&house, (Trigger::Push, "d"), &[("source-a", Outcome::Succeeded)], &["source-a"]).await;
    let text = connectors(&house).await;
    assert!(text.contains("1 of 1 pass") && !text.contains("source-b"), "{text}");
}
