//! Every way of asking for something has a record of who asked, what, and what was decided.

use checkvalve::domain::names::RepoName;
use checkvalve::store::Store;
use github_simulator::Permission;
use serde_json::{Value, json};

use crate::FILES;
use crate::world::{REPO, Steps, World};

/// The ways over GitHub: as the record calls them, and what it says was asked for.
const ROUTES: &[(Way, &str, &str)] = &[
    (Way::Comment, "comment", "/retest"),
    (Way::Button("retest"), "button", "Re-run failed on checkvalve"),
    (Way::Button("test"), "button", "Run all again on checkvalve"),
    (Way::Button("no-cache"), "button", "Run without cache on checkvalve"),
    (Way::Rerun, "Re-run", "Re-run on source-a / unit"),
    (Way::RerunAll, "Re-run all", "Re-run all checks"),
    (Way::Label, "label", "/retest"),
];

#[derive(Debug, Clone, Copy)]
enum Way {
    Comment,
    Button(&'static str),
    Rerun,
    RerunAll,
    Label,
}

/// A world with a red pull request.
struct Red {
    world: World,
    store: Store,
    repository: u64,
    number: u64,
    head: String,
}

impl Red {
    async fn new(unit: &str) -> Self {
        let world = World::new(Steps::Host, FILES).await;
        world.sim.set_permission(REPO, "rita", Permission::Read);
        let head = world.push("change", &[("source-a/unit.sh", unit)]).await;
        let number = world.open("change").await;
        let database = world.state.path().join("state/checkvalve.db");
        let store = Store::open(&format!("sqlite:{}", database.display())).await.unwrap();
        let name: RepoName = REPO.parse().unwrap();
        world
            .until("the repository is known", async |_: &World| {
                store.repository(&name).await.unwrap().is_some()
            })
            .await;
        let repository = store.repository(&name).await.unwrap().unwrap().id;
        Self { world, store, repository, number, head }
    }

    /// An event of GitHub's like the last one of its kind, with this changed.
    fn send(&self, event: &str, change: impl FnOnce(&mut Value)) {
        let deliveries = self.world.sim.deliveries();
        let like = deliveries.into_iter().rfind(|one| one.event == event).unwrap();
        let mut payload: Value = serde_json::from_slice(&like.body).unwrap();
        change(&mut payload);
        self.world.sim.send_event(event, &payload).unwrap();
    }

    async fn ask(&self, way: Way, who: &str) {
        let (sim, number) = (&self.world.sim, self.number);
        let check = self.world.check(&self.head, "checkvalve");
        match way {
            Way::Comment => drop(sim.comment(REPO, number, who, "/retest").await.unwrap()),
            Way::Button(which) => sim.click_action(REPO, check.id, which, who).await.unwrap(),
            Way::Rerun => {
                let unit = self.world.check(&self.head, "source-a / unit");
                sim.rerequest_check_run(REPO, unit.id, who).await.unwrap();
            }
            Way::RerunAll => sim.rerequest_check_suite(REPO, check.suite_id, who).await.unwrap(),
            Way::Label => self.send("pull_request", |event| {
                event["action"] = json!("labeled");
                event["label"] =
                    json!({ "id": 1, "name": "/retest", "color": "ededed", "default": false });
                event["sender"]["login"] = json!(who);
            }),
        }
    }

    /// What was written down, newest first: route, actor, what was asked for, decision.
    async fn written(&self) -> Vec<[String; 4]> {
        let records = self.store.audit_of_pull(self.repository, self.number).await.unwrap();
        let row = |route: &str, actor: &str, asked: &str, decision: &str| {
            [route, actor, asked, decision].map(str::to_owned)
        };
        let rows = records.iter().map(|record| {
            let decision = record.ruling.decision.as_str();
            row(record.route.words(), &record.actor, &record.asked, decision)
        });
        rows.collect()
    }

    async fn finish(self) {
        self.world.settle().await;
        self.store.close().await;
        self.world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_leaves_a_record_whether_it_is_obeyed_or_not() {
    let red = Red::new("exit 1\n").await;
    red.world.settle().await;
    let (mut records, mut runs) = (0, 1);
    for (way, route, asked) in ROUTES {
        for (who, decision) in [("rita", "refused"), ("ada", "accepted")] {
            red.ask(*way, who).await;
            red.world.settle().await;
            records += 1;
            runs += usize::from(decision == "accepted");
            let written = red.written().await;
            assert_eq!(written.len(), records, "{way:?} by {who}: {written:?}");
            assert_eq!(written[0], [*route, who, *asked, decision], "{way:?}");
            assert_eq!(red.world.runs().await.len(), runs, "{way:?} by {who}");
        }
    }
    // And the API's two.
    let newest = red.world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let url = format!("{}/api/v1/runs/{newest}/retest", red.world.url);
    let nobody = red.world.http.post(&url).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert_eq!(red.written().await.len(), records);
    let asked = red.world.http.post(&url).bearer_auth("scenario-token").send().await.unwrap();
    assert_eq!(asked.status(), 202);
    red.world.settle().await;
    assert_eq!(red.written().await[0], ["API", "api", "retest", "accepted"]);
    red.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_run_leaves_a_record_too() {
    let red = Red::new("echo begins; sleep 30\n").await;
    red.world.until_check(&red.head, "source-a / unit", "in_progress").await;
    // Where GitHub shows buttons before a check run's end.
    let check = red.world.check(&red.head, "checkvalve");
    let press = |who: &str| {
        red.send("check_run", |event| {
            event["action"] = json!("requested_action");
            event["requested_action"] = json!({ "identifier": "cancel" });
            (event["check_run"]["id"], event["check_run"]["name"]) =
                (json!(check.id), json!(check.name));
            event["sender"] = json!({ "login": who, "id": 99, "type": "User" });
        });
    };
    press("rita");
    let refused = ["button", "rita", "Cancel on checkvalve", "refused"].map(str::to_owned);
    let is = async |expected: &[String; 4]| red.written().await.first() == Some(expected);
    red.world.until("it is refused", async |_: &World| is(&refused).await).await;
    press("ada");
    red.world.settle().await;
    assert_eq!(red.written().await[0], ["button", "ada", "Cancel on checkvalve", "accepted"]);
    assert_eq!(red.world.check(&red.head, "checkvalve").conclusion.as_deref(), Some("cancelled"));

    red.world.sim.comment(REPO, red.number, "ada", "/test").await.unwrap();
    red.world.until_check(&red.head, "source-a / unit", "in_progress").await;
    let newest = red.world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let url = format!("{}/api/v1/runs/{newest}/cancel", red.world.url);
    let asked = red.world.http.post(&url).bearer_auth("scenario-token").send().await.unwrap();
    assert_eq!(asked.status(), 202);
    red.world.settle().await;
    assert_eq!(red.written().await[0], ["API", "api", "cancel", "accepted"]);
    red.finish().await;
}
