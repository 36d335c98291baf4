//! Deliveries that are dropped, doubled and out of order, and a server that is killed again and again: every
//! cause has its one run, and every check its conclusion, and GitHub, which counts as it publishes it, has
//! refused nothing. `scripts/bench deliveries` has more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use checkvalve::ambient;
use checkvalve::domain::event::is_acted_on;
use github_simulator::{Delivery, DeliveryPlan};

use crate::world::{REPO, World};
use crate::{change, world_every};

const SEED: u64 = 20_261_122;

/// The same numbers from the same seed.
struct Chance(u64);

impl Chance {
    /// Less than `below`.
    fn below(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// What people did.
#[derive(Default)]
struct Deeds {
    /// By number: the heads that it had, oldest first.
    heads: BTreeMap<u64, Vec<String>>,
    /// How often each was closed and opened again; nobody commands these.
    reopened: BTreeMap<u64, usize>,
    commands: usize,
    count: usize,
}

impl Deeds {
    /// One deed: most are talk, as everywhere.
    async fn act(&mut self, world: &World, chance: &mut Chance, heads: usize) {
        self.count += 1;
        let made: usize = self.heads.values().map(Vec::len).sum();
        let text = format!("{}", self.count);
        let numbers: Vec<u64> = self.heads.keys().copied().collect();
        if numbers.len() < 2 || (made < heads && chance.below(60) == 0) {
            let branch = format!("change-{}", numbers.len());
            let head = change(world, &branch, &text).await;
            let number = world.open(&branch).await;
            self.heads.insert(number, vec![head]);
            return;
        }
        let nth = chance.below(numbers.len());
        let number = numbers[nth];
        match chance.below(100) {
            0..3 if made < heads => {
                let head = change(world, &format!("change-{nth}"), &text).await;
                self.heads.get_mut(&number).unwrap().push(head);
            }
            3..5 if nth > 0 && self.reopened.values().sum::<usize>() < 5 => {
                // The first one is never closed, so that there is one to be commanded.
                *self.reopened.entry(number).or_default() += 1;
                world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
                world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
            }
            5..7 if self.commands < heads / 2 => {
                self.commands += 1;
                world.sim.comment(REPO, numbers[0], "ada", "/test").await.unwrap();
            }
            _ => {
                let said = format!("I have looked at this, for the {text}th time.");
                world.sim.comment(REPO, number, "ada", &said).await.unwrap();
            }
        }
    }
}

/// Waits until every event came at least once.
async fn until_all_came(world: &World, patience: Duration) {
    let began = Instant::now();
    loop {
        world.sim.quiet().await;
        let mut never: BTreeSet<String> = BTreeSet::new();
        let deliveries = world.sim.deliveries();
        // What would be ignored is not asked for.
        let acted_on = |one: &&Delivery| is_acted_on(&one.event, one.action.as_deref());
        never.extend(deliveries.iter().filter(acted_on).map(|one| one.guid.clone()));
        for one in deliveries.iter().filter(|one| one.status == "OK") {
            never.remove(&one.guid);
        }
        // Before there was a webhook nothing was sent.
        for one in deliveries.iter().filter(|one| one.status == "no webhook configured") {
            never.remove(&one.guid);
        }
        // One of which we were killed between the commit and the answer is here, and nobody told GitHub.
        if !never.is_empty() && never.len() < 10 {
            let listed = super::again::cli(world, &["list", "--json", "--limit", "10000"]);
            for one in listed["deliveries"].as_array().unwrap() {
                never.remove(one["guid"].as_str().unwrap());
            }
        }
        if never.is_empty() {
            return;
        }
        assert!(began.elapsed() < patience, "{} never came: {}", never.len(), world.server_log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn until_idle(world: &World, patience: Duration) {
    let began = Instant::now();
    while world.json("/api/v1/queue").await["idle"] != true {
        assert!(began.elapsed() < patience, "{}", world.json("/api/v1/queue").await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.sim.quiet().await;
}

/// All runs, page after page.
async fn all_runs(world: &World) -> Vec<serde_json::Value> {
    let mut runs: Vec<serde_json::Value> = Vec::new();
    loop {
        let before = runs.last().map(|run| format!("&before={}", run["id"].as_str().unwrap()));
        let before = before.unwrap_or_default();
        let page = world.json(&format!("/api/v1/runs?repo={REPO}&limit=100{before}")).await;
        let page = page.as_array().unwrap().clone();
        if page.is_empty() {
            return runs;
        }
        runs.extend(page);
    }
}

fn each_cause_has_one_run(deeds: &Deeds, runs: &[serde_json::Value]) {
    let of = |trigger: &str| runs.iter().filter(|run| run["trigger"] == trigger).count();
    assert_eq!(of("comment"), deeds.commands, "each command is obeyed once");
    assert_eq!(of("pull_request") + of("comment"), runs.len());
    for (number, heads) in &deeds.heads {
        let reopened = deeds.reopened.get(number).copied().unwrap_or_default();
        let mut of_pull = 0;
        for (nth, head) in heads.iter().enumerate() {
            let own = runs.iter().filter(|run| {
                run["pull_request"] == *number
                    && run["trigger"] == "pull_request"
                    && run["head_sha"] == head.as_str()
            });
            let (own, last) = (own.count(), nth + 1 == heads.len());
            // A head that was overtaken may never have been seen; each reopening of it is an occasion.
            assert!(own <= 1 + reopened, "{own} runs of {head} of #{number}");
            assert!(own >= 1 || !last, "#{number} is not tested at {head}");
            of_pull += own;
        }
        let most = heads.len() + reopened;
        assert!(of_pull <= most, "{of_pull} runs of #{number} for {most} causes");
    }
}

fn every_check_is_concluded(world: &World, deeds: &Deeds) {
    for heads in deeds.heads.values() {
        for head in heads {
            for check in world.sim.check_runs(REPO, head) {
                assert_eq!(check.status, "completed", "{} of {head}", check.name);
            }
        }
        let last = heads.last().unwrap();
        assert_eq!(world.check(last, "checkvalve").conclusion.as_deref(), Some("success"));
    }
}

/// No 403 and no 429, whatever was asked for at once and by however many servers in a row.
fn nothing_was_refused(world: &World) {
    let calls = world.sim.calls();
    assert!(!calls.is_empty());
    let refused = calls.iter().filter(|call| matches!(call.status, 403 | 429));
    let refused: Vec<String> =
        refused.map(|call| format!("{} {}: {}", call.method, call.path, call.status)).collect();
    assert_eq!(refused, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_dropped_doubled_reordered_and_a_server_killed_again_and_again() {
    let wanted = ambient::env("CHECKVALVE_RECOVERY_DELIVERIES");
    let wanted: usize = wanted.map_or(250, |wanted| wanted.parse().unwrap());
    // GitHub's limits of new check runs are kept to: their number decides how long this takes.
    let heads = 4 + wanted / 150;
    let patience =
        Duration::from_secs(90) + Duration::from_millis(100) * u32::try_from(wanted).unwrap();
    let every = if wanted > 1000 { "5s" } else { "1s" };
    let mut world = world_every(every, None).await;
    world.sim.faults().enforce_secondary_limits(true);
    let delay = Duration::from_millis(400);
    let plan = DeliveryPlan { seed: SEED, lost: 0, dropped: 5, duplicated: 20, delayed: 20, delay };
    world.sim.faults().delivery_plan(Some(plan));
    let (mut chance, mut deeds) = (Chance(SEED), Deeds::default());
    let began = Instant::now();
    let (mut kills, all_kills) = (0, if wanted > 1000 { 10 } else { 3 });
    while world.sim.deliveries().len() < wanted {
        deeds.act(&world, &mut chance, heads).await;
        if kills < all_kills
            && world.sim.deliveries().len() * (all_kills + 1) > wanted * (kills + 1)
        {
            world.kill();
            // Some are sent to nobody.
            for _ in 0..3 {
                deeds.act(&world, &mut chance, heads).await;
            }
            world.start().await;
            kills += 1;
        }
    }
    let made = began.elapsed();
    until_all_came(&world, patience).await;
    let came = began.elapsed();
    until_idle(&world, patience).await;
    let settled = began.elapsed();

    let runs = all_runs(&world).await;
    each_cause_has_one_run(&deeds, &runs);
    every_check_is_concluded(&world, &deeds);
    nothing_was_refused(&world);
    assert_eq!(kills, all_kills);
    report(&world, &deeds, (runs.len(), [made, came, settled]));
    world.sim.faults().delivery_plan(None);
    world.finish().await;
}

fn report(world: &World, deeds: &Deeds, (runs, [made, came, settled]): (usize, [Duration; 3])) {
    let deliveries = world.sim.deliveries();
    let guids: BTreeSet<&str> = deliveries.iter().map(|one| one.guid.as_str()).collect();
    let count = |matches: &dyn Fn(&&Delivery) -> bool| deliveries.iter().filter(matches).count();
    let failed = count(&|one| one.status != "OK" && one.status != "no webhook configured");
    let again = count(&|one| one.redelivery);
    let calls = world.sim.calls();
    let asked = |ends: &str| calls.iter().filter(|call| call.path.ends_with(ends)).count();
    eprintln!(
        "{} deliveries of {} events; {failed} failed, {again} were asked for again",
        deliveries.len(),
        guids.len(),
    );
    eprintln!(
        "{} deeds, {} commands, {} pull requests: {runs} runs, one for each cause",
        deeds.count,
        deeds.commands,
        deeds.heads.len(),
    );
    eprintln!(
        "sent within {:.1} s, all had come after {:.1} s, all was concluded after {:.1} s",
        made.as_secs_f64(),
        came.as_secs_f64(),
        settled.as_secs_f64(),
    );
    eprintln!(
        "recovery asked GitHub {} times for its log, {} times for open pull requests, {} times for a \
         delivery",
        asked("/app/hook/deliveries"),
        asked("/pulls"),
        asked("/attempts"),
    );
}
