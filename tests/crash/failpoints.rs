//! The server is killed before and after everything that outlives it, again and again while it works on
//! one pull request, until no failpoint is left: then all is as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use checkvalve::ambient;
use checkvalve::ambient::failpoint::{self, Deed, Failpoint, Side};
use serde_json::Value;

use crate::starts::Starts;
use crate::stored::{objects, plain, sections};
use crate::world::{Extra, REPO, Steps, World};
use crate::{change_both, images, left, made_once, postgres};

/// A chain in one container, and beside it a step with a service that keeps its data in a volume;
/// `source-b` fails at that. What runs prints which of its executions it is, and leaves it as a file.
const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
pipelines:
  - for: { kind: sh }
    steps:
      - id: install
        image: "checkvalve-test/busybox:1"
        network: none
        run: "cat /proc/sys/kernel/random/uuid > $CHECKVALVE_OUT/id.txt; cat $CHECKVALVE_OUT/id.txt"
        artifacts: ["id.txt"]
      - id: unit
        image: "checkvalve-test/busybox:1"
        network: none
        run:
          - "cat /proc/sys/kernel/random/uuid > $CHECKVALVE_OUT/id.txt; cat $CHECKVALVE_OUT/id.txt"
          - "[ $CHECKVALVE_CONNECTOR = source-a ]"
        artifacts: ["id.txt"]
        services:
          - { alias: db, image: "checkvalve-test/store:1", command: [sh, -c, "echo kept > /data/x; sleep 60"] }
      - id: lint
        from: install
        needs: [unit]
        network: none
        run: "cat /proc/sys/kernel/random/uuid > $CHECKVALVE_OUT/id.txt; cat $CHECKVALVE_OUT/id.txt"
        artifacts: ["id.txt"]
"#;

const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-b/connector.txt", "b"),
];

const UNDISTURBED: &str = "checkvalve: failure\nsource-a / install: success\n\
     source-a / lint: success\nsource-a / unit: success\nsource-b / install: success\n\
     source-b / lint: skipped\nsource-b / unit: failure\n";

/// What happens to one pull request. A job whose holders died five times is given up, rightly: one less
/// may be killed.
struct Part {
    /// The pull request of the part before is commented on, too.
    commented: bool,
    /// Nothing runs before these are over.
    before_work: &'static [&'static str],
    /// `{n}` is drawn: one to four.
    while_it_works: &'static [&'static str],
}

/// In the order in which a pull request comes by: each is ahead of it still when those before it are
/// over.
const PARTS: [Part; 4] = [
    Part {
        commented: false,
        before_work: &[
            "commit-before:1:migrations",
            // Intake.
            "commit-before:1:insert into deliveries",
            "commit-after:1:insert into deliveries",
            "call-before:1:/connectors/pulls/",
            "call-after:1:/connectors/pulls/",
            "commit-before:1:store/runs.rs",
            "commit-after:1:store/runs.rs",
            // Planning: begun, written down, planned.
            "commit-after:1:store/planning.rs",
            "write-before:1:replay.json",
            "write-after:1:replay.json",
            "commit-before:2:store/planning.rs",
            "commit-after:2:store/planning.rs",
            // Publishing: intended, made, acknowledged.
            "commit-after:1:store/budgets.rs",
            "call-before:1:POST /repos/acme/connectors/check-runs",
            "call-after:1:POST /repos/acme/connectors/check-runs",
            "call-after:2:POST /repos/acme/connectors/check-runs",
            "commit-before:1:store/checks.rs",
        ],
        while_it_works: &["start-before:1:busybox", "start-after:1:busybox", "start-after:1:store"],
    },
    Part {
        commented: true,
        before_work: &["commit-after:1:store/audit.rs"],
        while_it_works: &[
            "start-before:1:store",
            "write-after:1:/artifacts/",
            "call-before:1:PATCH",
        ],
    },
    Part {
        commented: true,
        before_work: &["call-after:1:/reactions"],
        while_it_works: &[
            "commit-before:{n}:store/jobs.rs",
            "commit-after:{n}:store/jobs.rs",
            "call-after:1:PATCH",
        ],
    },
    Part {
        commented: false,
        before_work: &[],
        while_it_works: &[
            "write-before:{n}:/log.txt",
            "write-before:1:/report.json",
            "write-before:1:/run.json",
            "commit-after:1:update runs set archived_at",
        ],
    },
];

/// How long it may take until a failpoint is reached.
const PATIENCE: Duration = Duration::from_mins(1);

/// A pull request, and what came of it.
struct Change {
    number: u64,
    head: String,
    commented: bool,
    /// How often the server was killed meanwhile.
    kills: u64,
}

struct Story {
    world: World,
    starts: Starts,
    volumes: BTreeSet<String>,
    changes: Vec<Change>,
    reached: Vec<Failpoint>,
    /// Draws the same from the same seed.
    chance: u64,
}

impl Story {
    async fn begin(database: Option<String>) -> Self {
        let seed = ambient::env("CHECKVALVE_CRASH_SEED").and_then(|seed| seed.parse().ok());
        let now = ambient::now().as_millis().unsigned_abs();
        let chance = seed.unwrap_or(now);
        eprintln!("CHECKVALVE_CRASH_SEED={chance}");
        let volumes = left::volumes();
        // What GitHub was not answered is asked for at once; and no holder is taken for dead that is
        // slow.
        let env = [("CHECKVALVE_RECOVERY", "1s"), ("CHECKVALVE_LEASE", "15s")];
        let env = env.map(|(name, value)| (name, value.to_owned())).to_vec();
        let extra = Extra { env, ..Extra::default() };
        let world = World::set_up(Steps::Docker, database, extra, FILES).await;
        let starts = Starts::of(&world);
        Self { world, starts, volumes, changes: Vec::new(), reached: Vec::new(), chance }
    }

    /// A new pull request, of which nobody has to hear; and a word about the one before.
    async fn happens(&mut self, commented: bool) {
        let world = &self.world;
        let branch = format!("change-{}", self.changes.len());
        let head = change_both(world, &branch).await;
        let number = u64::try_from(self.changes.len()).unwrap() + 1;
        assert_eq!(world.sim.pull_request(REPO, number).head_sha, head);
        if let Some(before) = self.changes.last_mut().filter(|_| commented) {
            before.commented = true;
            world.sim.comment(REPO, before.number, "ada", "/test source-a").await.unwrap();
        }
        self.changes.push(Change { number, head, commented: false, kills: 0 });
    }

    async fn part(&mut self, part: &Part) {
        let before = part.before_work.iter().map(|failpoint| (0, *failpoint));
        let later = part.while_it_works.iter().map(|failpoint| (4, *failpoint));
        self.world.kill();
        for (nth, (workers, failpoint)) in before.chain(later).enumerate() {
            let failpoint = self.drawn(failpoint);
            self.world.launch((failpoint::VARIABLE, &failpoint.to_string()), workers);
            if nth == 0 {
                until_ready_or_dead(&mut self.world).await;
                self.happens(part.commented).await;
            }
            until_killed(&mut self.world, &failpoint).await;
            self.reached.push(failpoint);
            self.changes.last_mut().unwrap().kills += 1;
        }
        self.world.start().await;
        self.until_all_is_done().await;
    }

    fn drawn(&mut self, text: &str) -> Failpoint {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.replace("{n}", &(1 + (self.chance >> 33) % 4).to_string()).parse().unwrap()
    }

    /// Waits until the pull request has its verdict, and the one before its answer. GitHub may hear of
    /// it later: a check run that it may or may not have made is looked for during a minute.
    async fn until_all_is_done(&self) {
        let runs = self.changes.len() + self.changes.iter().filter(|one| one.commented).count();
        let all_made = async |world: &World| world.runs().await.len() >= runs;
        self.world.until("all runs are made", all_made).await;
        let all_ended = async |world: &World| {
            let queue = world.json("/api/v1/queue").await;
            ["queued", "running", "deliveries_pending"].iter().all(|count| queue[count] == 0)
        };
        self.world.until("all of them have ended", all_ended).await;
    }

    /// Both of each deed, and each of the list, has killed a server. Images have a story of their own.
    fn every_failpoint_was_reached(&self) {
        let images = [Deed::Keep, Deed::Tag, Deed::Build];
        for deed in Deed::ALL.into_iter().filter(|deed| !images.contains(deed)) {
            for side in Side::ALL {
                let reached = |one: &&Failpoint| (one.deed, one.side) == (deed, side);
                assert!(self.reached.iter().any(|one| reached(&one)), "{deed:?}, {side:?}");
            }
        }
        let listed = PARTS.iter().map(|part| part.before_work.len() + part.while_it_works.len());
        assert_eq!(self.reached.len(), listed.sum::<usize>());
    }

    fn every_check_is_as_undisturbed(&self) {
        for change in &self.changes {
            assert_eq!(self.world.table(&change.head), UNDISTURBED, "#{}", change.number);
            made_once(&self.world, &change.head, 1 + usize::from(change.commented));
        }
    }

    /// What was acknowledged is held and handled; what was not comes again.
    async fn no_delivery_is_lost(&self) {
        let began = Instant::now();
        loop {
            let lost = Self::lost(&self.world);
            if lost.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{lost:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Deliveries that are not handled, or not there: the event, and what is known of it.
    fn lost(world: &World) -> Vec<String> {
        let asked = ["deliveries", "list", "--json", "--limit", "10000"];
        let listed = world.command("state", &asked).output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let states = listed["deliveries"].as_array().unwrap().iter().map(|one| {
            (one["guid"].as_str().unwrap().to_owned(), one["state"].as_str().unwrap().to_owned())
        });
        let states: BTreeMap<String, String> = states.collect();
        let mut sent = world.sim.deliveries();
        // Before there was a webhook nothing was sent.
        sent.retain(|one| one.status != "no webhook configured");
        let lost = sent.iter().filter_map(|one| match states.get(&one.guid).map(String::as_str) {
            Some("done" | "ignored") => None,
            None if is_echo(&one.event, one.action.as_deref()) => None,
            state => Some(format!("{} {:?} {}: {state:?}", one.event, one.action, one.status)),
        });
        lost.collect()
    }

    /// One run for each cause, each with all that it left; and each comment has its answer.
    async fn each_cause_has_one_run(&self) {
        let runs = self.world.runs().await;
        let mut undisturbed = None;
        for (nth, change) in self.changes.iter().enumerate() {
            let of = |trigger: &str| {
                let of = runs.iter().filter(|run| run["trigger"] == trigger);
                of.filter(|run| run["head_sha"] == change.head.as_str()).collect::<Vec<_>>()
            };
            let (own, commanded) = (of("pull_request"), of("comment"));
            let number = change.number;
            let counts = (own.len(), commanded.len());
            assert_eq!(counts, (1, usize::from(change.commented)), "#{number}");
            let names = self.whole(own[0], change.kills).await;
            let undisturbed = undisturbed.get_or_insert_with(|| names.clone());
            assert_eq!(names, *undisturbed, "#{number}");
            for run in commanded {
                self.whole(run, self.changes[nth + 1].kills).await;
                let comments = self.world.sim.comments(REPO, number);
                let reactions = comments[0].reactions.iter().map(|(_, what)| what.as_str());
                let reactions: Vec<&str> = reactions.collect();
                assert_eq!((comments.len(), reactions), (1, vec!["eyes", "rocket"]), "#{number}");
            }
        }
        let all: usize = self.changes.iter().map(|one| 1 + usize::from(one.commented)).sum();
        assert_eq!(runs.len(), all);
    }

    /// Every step that ran has the log and the artifact of one execution, which is the last of those
    /// that its attempts explain. The names of what is stored, attempts without their number.
    async fn whole(&self, run: &Value, kills: u64) -> Vec<String> {
        let id = run["id"].as_str().unwrap();
        let objects = objects(&self.world, id).await;
        let run = self.world.json(&format!("/api/v1/runs/{id}")).await;
        for connector in run["connectors"].as_array().unwrap() {
            let name = connector["name"].as_str().unwrap();
            let whole_log = sections(&objects[&format!("{name}/log.txt")]);
            for step in connector["steps"].as_array().unwrap() {
                if step["state"] == "skipped" {
                    continue;
                }
                let (step_id, attempt) = (step["id"].as_str().unwrap(), &step["attempt"]);
                let folder = format!("{name}/{step_id}/{attempt}");
                let execution = objects[&format!("{folder}/artifacts/id.txt")].trim();
                let log = &objects[&format!("{folder}/log.txt")];
                let printed = log.matches(execution).count();
                assert_eq!(printed, 1, "{folder} of {id}: {execution}, but: {log}");
                assert!(whole_log[step_id].contains(execution), "{folder} of {id}");
                self.executions_are_attempts([id, name, step_id], step, kills);
            }
        }
        // Of each step one attempt is stored.
        let names: BTreeSet<String> = objects.keys().map(|name| plain(name)).collect();
        assert_eq!(names.len(), objects.len(), "{id}: {:?}", objects.keys());
        names.into_iter().collect()
    }

    /// Each execution of a step in a container of its own is an attempt of its own, and the last one
    /// is what counts; more than one is because of a kill.
    fn executions_are_attempts(&self, step: [&str; 3], told: &Value, kills: u64) {
        if step[2] != "unit" {
            return;
        }
        let attempt = told["attempt"].as_u64().unwrap();
        let executions = self.starts.attempts();
        let executions = executions.get(&step.map(str::to_owned)).cloned().unwrap_or_default();
        let distinct: BTreeSet<u64> = executions.iter().copied().collect();
        assert_eq!(distinct.len(), executions.len(), "{step:?}: {executions:?}");
        assert!(attempt <= 1 + kills, "{step:?}: {attempt} attempts");
        let last = distinct.last().copied();
        let reused = told["cache"]["state"] == "hit";
        assert_eq!(last, (!reused).then_some(attempt), "{step:?}: {executions:?}");
    }

    async fn nothing_is_left(&self) {
        let nothing = async |world: &World| left::of(world, &self.volumes).is_empty();
        self.world.until("nothing is left on the engine", nothing).await;
    }
}

pub(crate) async fn until_ready_or_dead(world: &mut World) {
    while !world.has_ended() && !world.is_ready().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the kill that the failpoint is for.
pub(crate) async fn until_killed(world: &mut World, failpoint: &Failpoint) {
    let began = Instant::now();
    let ended = loop {
        if let Some(ended) = world.ended() {
            break ended;
        }
        assert!(began.elapsed() < PATIENCE, "{failpoint} was never reached");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(ended.signal(), Some(9), "{failpoint}: {ended}");
    let said = format!("{}={failpoint}: killed at ", failpoint::VARIABLE);
    let log = world.server_log();
    let place = log.lines().rev().find_map(|line| line.strip_prefix(&said));
    let place = place.unwrap_or_else(|| panic!("{failpoint}: something else killed it"));
    let place = place.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("{:6} ms  {failpoint}  at {place:.90}", began.elapsed().as_millis());
}

/// GitHub tells of what the server itself wrote, too: that nobody listened to it costs nothing, and it is
/// not asked for again.
fn is_echo(event: &str, action: Option<&str>) -> bool {
    let echoes = [
        ("check_run", "created"),
        ("check_run", "completed"),
        ("check_suite", "requested"),
        ("check_suite", "completed"),
    ];
    echoes.iter().any(|(of, what)| (event, action) == (of, Some(what)))
}

async fn killed_at_every_failpoint(database: Option<String>) {
    if images::engine().await.is_none() {
        return;
    }
    let mut story = Story::begin(database).await;
    story.happens(false).await;
    story.until_all_is_done().await;
    for part in &PARTS {
        story.part(part).await;
    }
    story.world.settle().await;
    story.every_failpoint_was_reached();
    story.every_check_is_as_undisturbed();
    story.no_delivery_is_lost().await;
    story.each_cause_has_one_run().await;
    story.nothing_is_left().await;
    story.world.finish().await;
}

/// Where the product has failpoints, and at which of them the story has it killed: one more must be in it, too.
const ALL: [(&str, &str, usize, &str); 8] = [
    ("src/store/open.rs", "Commit", 2, ":migrations"),
    ("src/store/pool.rs", "Commit", 3, ":store/jobs.rs"),
    ("src/github/transport.rs", "Call", 1, ":PATCH"),
    ("src/exec/docker/container.rs", "Start", 1, ":busybox"),
    ("src/blobs/mod.rs", "Write", 1, "/log.txt"),
    ("src/exec/docker/left.rs", "Keep", 1, ":source-a"),
    ("src/exec/docker/left.rs", "Tag", 1, ":checkvalve-snapshot"),
    ("src/exec/docker/build.rs", "Build", 1, ":source-a"),
];

#[test]
fn the_story_passes_every_failpoint_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for (at, _) in text.match_indices("failpoint::around(") {
                let deed = text[at..].split_once("Deed::").unwrap().1;
                let deed: String = deed.chars().take_while(char::is_ascii_alphabetic).collect();
                let file = path.strip_prefix(root).unwrap().display().to_string();
                *found.entry((file, deed)).or_insert(0) += 1;
            }
        }
    }
    let known = ALL.map(|(file, deed, times, _)| ((file.to_owned(), deed.to_owned()), times));
    assert_eq!(found, BTreeMap::from(known), "what is new is to be in the story, and in this list");
    let listed: Vec<&str> = PARTS
        .iter()
        .flat_map(|part| part.before_work.iter().chain(part.while_it_works))
        .chain(crate::made::KILLS.iter().flatten())
        .copied()
        .collect();
    for (file, deed, _, at) in ALL {
        let deed = deed.to_lowercase();
        let is_listed = listed.iter().any(|text| text.starts_with(&deed) && text.contains(at));
        assert!(is_listed, "the story has nothing of {file}");
    }
    for side in ["before", "after"] {
        for deed in ["keep", "tag", "build"] {
            let name = format!("{deed}-{side}:");
            assert!(listed.iter().any(|text| text.starts_with(&name)), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_failpoint_on_sqlite() {
    killed_at_every_failpoint(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_failpoint_on_postgresql() {
    let Some(database) = postgres::database().await else { return };
    killed_at_every_failpoint(Some(database)).await;
}
