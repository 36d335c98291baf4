//! What people do, what the network does with the news of it, and what processes make of it, drawn by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use checkvalve::domain::run::{Job, Run};
use checkvalve::domain::trust::Trust;
use futures_util::future::join;
use github_simulator::{CheckRun, OpenPull, PullRequest, RerunButton};

use crate::chance::Chance;
use crate::house::{Part, TERM, killed_after};
use crate::world::{FORK, REPO, World};

/// Pull requests at once: two branches, one of them asked for twice, and a fork's.
const PULLS: [(&str, &str, &str); 4] = [
    (REPO, "one", "main"),
    (REPO, "two", "main"),
    (REPO, "two", "release"),
    (FORK, "evil", "main"),
];
const COMMENTS: [&str; 8] = [
    "/test",
    "/test source-a",
    "/test source-b/unit",
    "/test all --no-cache",
    "/retest",
    "/retest source-a",
    "/cancel",
    "/cancel source-a",
];

pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) chance: Chance,
    count: usize,
    /// By branch: the heads that it had, in their order; what it went back to stands there once.
    pub(crate) heads: BTreeMap<(&'static str, &'static str), Vec<String>>,
    /// A stranger's pull requests.
    pub(crate) strange: BTreeSet<u64>,
    /// Commits that Ada gave her word for.
    pub(crate) approved: BTreeSet<String>,
    /// Numbers, by their place in `PULLS`.
    pub(crate) pulls: BTreeMap<usize, u64>,
    /// Why pull requests have runs of their own: by number, how often one could be due.
    pub(crate) causes: BTreeMap<u64, usize>,
    /// What Ada asked for: pull request and comment.
    pub(crate) asked: Vec<(u64, u64)>,
    pub(crate) pressed: usize,
}

impl Story {
    pub(crate) async fn begin(chance: Chance, database: Option<String>) -> Self {
        let world = World::new(database).await;
        let (heads, strange, approved, pulls, causes, asked) = Default::default();
        let (count, pressed) = (0, 0);
        Self { world, chance, count, heads, strange, approved, pulls, causes, asked, pressed }
    }

    /// What is there at first: some branches, and pull requests of some.
    pub(crate) async fn begins(&mut self) {
        for (nth, (repository, branch, _)) in PULLS.into_iter().enumerate() {
            if self.chance.happens(75) {
                if !self.heads.contains_key(&(repository, branch)) {
                    let said = self.pushes_to(repository, branch).await;
                    self.log(&said);
                }
                let said = self.opens_or_closes(nth).await;
                self.log(&said);
            }
        }
    }

    /// Somebody does something, or some of it is heard, or carried out.
    pub(crate) async fn happens(&mut self) {
        self.count += 1;
        let said = match self.chance.below(100) {
            0..10 => self.pushes().await,
            10..15 => {
                let nth = self.chance.below(PULLS.len());
                self.opens_or_closes(nth).await
            }
            15..17 => self.points_elsewhere().await,
            17..26 => self.comments().await,
            26..32 => self.presses().await,
            32..36 => self.queues().await,
            36..54 => self.is_told().await,
            54..79 => self.is_carried_out().await,
            79..95 => self.is_run().await,
            95..97 => self.fails(),
            _ => {
                let by = Duration::from_secs(u64::try_from(1 + self.chance.below(120)).unwrap());
                self.world.skip(by).await;
                format!("{by:?} go by")
            }
        };
        self.log(&said);
    }

    pub(crate) fn log(&mut self, said: &str) {
        if !said.is_empty() {
            self.world.log.push(format!("{}. {said}", self.count));
        }
    }

    async fn pushes(&mut self) -> String {
        let branches = [(REPO, "one"), (REPO, "two"), (FORK, "evil"), (REPO, "main")];
        let (repository, branch) = branches[self.chance.below(branches.len())];
        self.pushes_to(repository, branch).await
    }

    async fn pushes_to(&mut self, repository: &'static str, branch: &'static str) -> String {
        let who = if repository == FORK { "mallory" } else { "ada" };
        let known = self.heads.entry((repository, branch)).or_default().clone();
        let now = known.last().cloned();
        let before: Vec<&String> =
            known.iter().filter(|head| Some(*head) != now.as_ref()).collect();
        let adas = [(REPO, "one"), (REPO, "two")].map(|of| self.heads.get(&of).cloned());
        let adas: Vec<String> =
            adas.iter().flatten().filter_map(|heads| heads.last().cloned()).collect();
        let moved = match self.chance.below(100) {
            0..35 if branch != "main" => self.chance.one(&before).map(|head| (*head).clone()),
            // Somebody else's commit: what is told of it is shared.
            35..55 if repository == FORK => self.chance.one(&adas).cloned(),
            _ => None,
        };
        let head = if let Some(head) = moved {
            if repository == FORK {
                self.world.fetch_into_fork();
            }
            self.world.sim.move_branch(repository, branch, &head, who).await.unwrap();
            let known = self.heads.get_mut(&(repository, branch)).unwrap();
            known.retain(|other| *other != head);
            known.push(head.clone());
            head
        } else {
            let file = ["source-a/code.txt", "source-b/code.txt", "docs/readme.md"];
            let file = file[self.chance.below(file.len())];
            let text = format!("{branch} {}", self.count);
            let head = self.world.push((repository, who), branch, &[(file, &text)]).await;
            self.heads.get_mut(&(repository, branch)).unwrap().push(head.clone());
            head
        };
        self.is_a_cause(|pull| pull.head_branch == branch);
        format!("{who} pushes {head:.8} to {branch}")
    }

    /// A run of their own may be due for these.
    fn is_a_cause(&mut self, of: impl Fn(&PullRequest) -> bool) {
        for number in self.pulls.values() {
            if of(&self.world.sim.pull_request(REPO, *number)) {
                *self.causes.entry(*number).or_default() += 1;
            }
        }
    }

    async fn opens_or_closes(&mut self, nth: usize) -> String {
        let (repository, branch, base) = PULLS[nth];
        if !self.heads.contains_key(&(repository, branch)) {
            return String::new();
        }
        let who = if repository == FORK { "mallory" } else { "ada" };
        let sim = &self.world.sim;
        let Some(number) = self.pulls.get(&nth).copied() else {
            let fork = (repository == FORK).then(|| FORK.to_owned());
            let pull = OpenPull { fork, ..OpenPull::new(branch, base, who, "A change") };
            let number = sim.open_pull_request(REPO, pull).await.unwrap();
            self.pulls.insert(nth, number);
            if repository == FORK {
                self.strange.insert(number);
            }
            self.causes.insert(number, 1);
            return format!("{who} opens #{number}: {branch} to {base}");
        };
        let pull = sim.pull_request(REPO, number);
        if pull.merged {
            self.pulls.remove(&nth);
            return String::new();
        }
        if pull.state == "open" {
            sim.close_pull_request(REPO, number, who).await.unwrap();
            return format!("{who} closes #{number}");
        }
        sim.reopen_pull_request(REPO, number, who).await.unwrap();
        self.is_a_cause(|pull| pull.number == number);
        format!("{who} reopens #{number}")
    }

    async fn points_elsewhere(&mut self) -> String {
        let Some(pull) = self.an_open_one() else { return String::new() };
        let base = if pull.base_branch == "main" { "release" } else { "main" };
        self.world.sim.retarget_pull_request((REPO, pull.number), base, "ada").await.unwrap();
        self.is_a_cause(|other| other.number == pull.number);
        format!("ada points #{} at {base}", pull.number)
    }

    fn an_open_one(&mut self) -> Option<PullRequest> {
        let numbers: Vec<u64> = self.pulls.values().copied().collect();
        let number = self.chance.one(&numbers)?;
        Some(self.world.sim.pull_request(REPO, *number)).filter(|pull| pull.state == "open")
    }

    async fn comments(&mut self) -> String {
        let Some(pull) = self.an_open_one() else { return String::new() };
        let is_fork = pull.head_repository.as_deref() == Some(FORK);
        let text = if is_fork && self.chance.happens(60) {
            match self.chance.below(6) {
                0 => "/ok-to-test".to_owned(),
                1 => "/ok-to-test cancel".to_owned(),
                2 => format!("/ok-to-test {}\n/test source-a", &pull.head_sha[..12]),
                _ => format!("/ok-to-test {}", &pull.head_sha[..12]),
            }
        } else {
            COMMENTS[self.chance.below(COMMENTS.len())].to_owned()
        };
        let who = if self.chance.happens(15) { "mallory" } else { "ada" };
        let comment = self.world.sim.comment(REPO, pull.number, who, &text).await.unwrap();
        if who == "ada" {
            self.asked.push((pull.number, comment));
            if text.starts_with("/ok-to-test") {
                self.is_a_cause(|other| other.number == pull.number);
                if !text.contains("cancel") {
                    self.approved.insert(pull.head_sha.clone());
                }
            }
        }
        format!("{who} says {text:?} on #{} at {:.8}", pull.number, pull.head_sha)
    }

    /// A button on a check run of some head, be it the current one or not.
    async fn presses(&mut self) -> String {
        let heads: Vec<String> = self.heads.values().flatten().cloned().collect();
        let groups = self
            .world
            .sim
            .deliveries()
            .into_iter()
            .filter_map(|one| crate::settled::group_of(&one));
        let all: Vec<String> = heads.into_iter().chain(groups.map(|(_, sha, _)| sha)).collect();
        let Some(head) = self.chance.one(&all) else { return String::new() };
        let checks: Vec<CheckRun> = self.world.sim.latest_check_runs(REPO, head);
        let Some(check) = self.chance.one(&checks).cloned() else { return String::new() };
        let who = if self.chance.happens(10) { "mallory" } else { "ada" };
        let sim = &self.world.sim;
        let action = self.chance.one(&check.actions).cloned();
        self.pressed += 1;
        if let Some(action) = action.filter(|_| check.status == "completed") {
            sim.click_action(REPO, check.id, &action.identifier, who).await.unwrap();
            if who == "ada" && action.label.starts_with("Approve") {
                self.approved.insert(check.head_sha.clone());
                self.causes.values_mut().for_each(|causes| *causes += 1);
            }
            return format!("{who} presses {} on {} of {head:.8}", action.label, check.name);
        }
        if self.chance.happens(30) {
            sim.rerequest_check_suite(REPO, check.suite_id, who).await.unwrap();
            return format!("{who} has all checks of {head:.8} run again");
        }
        let buttons = [RerunButton::Run, RerunButton::Suite, RerunButton::Both];
        sim.faults().rerun_button(buttons[self.chance.below(3)]);
        sim.rerequest_check_run(REPO, check.id, who).await.unwrap();
        format!("{who} has {} of {head:.8} run again", check.name)
    }

    async fn queues(&mut self) -> String {
        let Some(pull) = self.an_open_one() else { return String::new() };
        let sim = &self.world.sim;
        match self.chance.below(4) {
            0 => match sim.dequeue(REPO, pull.number, "ada").await {
                Ok(()) => format!("ada takes #{} out of the queue", pull.number),
                Err(_) => String::new(),
            },
            1 => {
                sim.run_merge_queue(REPO).await.unwrap();
                "the merge queue goes on".to_owned()
            }
            _ => match sim.enqueue(REPO, &[pull.number], "ada").await {
                Ok(group) => format!("ada enqueues #{} as {:.8}", pull.number, group.head_sha),
                Err(_) => String::new(),
            },
        }
    }

    /// GitHub fails at what it is asked next, or does it and does not say so.
    fn fails(&mut self) -> String {
        let what = [
            ("POST", format!("/repos/{REPO}/check-runs")),
            ("PATCH", format!("/repos/{REPO}/check-runs")),
            ("GET", format!("/repos/{REPO}/pulls")),
            ("POST", format!("/repos/{REPO}/issues")),
            ("GET", format!("/repos/{REPO}/collaborators")),
        ];
        let (method, path) = &what[self.chance.below(what.len())];
        let times = 1 + self.chance.below(5);
        self.world.sim.faults().fail_next(method, path, u32::try_from(times).unwrap(), 502);
        format!("GitHub will fail {times} times at {method} {path}")
    }

    /// Some of what GitHub sent comes, in any order; some of it twice, some never.
    async fn is_told(&mut self) -> String {
        self.world.hear().await;
        let mut told = Vec::new();
        for _ in 0..=self.chance.below(6) {
            let most = self.world.pending.len();
            if most == 0 {
                break;
            }
            // Mostly in their order.
            let nth = if self.chance.happens(70) { 0 } else { self.chance.below(most) };
            let delivery = self.world.pending.remove(nth);
            let name =
                format!("{}.{}", delivery.event, delivery.action.as_deref().unwrap_or_default());
            match self.chance.below(100) {
                0..8 => told.push(format!("{name} is lost")),
                times => {
                    self.world.take_in(&delivery).await;
                    if times > 85 {
                        self.world.pending.push(delivery);
                    }
                    told.push(name);
                }
            }
        }
        told.join(", ")
    }

    /// Both processes do some of what they do at the same time, and one may be killed meanwhile.
    async fn is_carried_out(&mut self) -> String {
        let mut parts = || -> Vec<Part> {
            // Recovery looks seldom; of the others there are several.
            let draws = |part: &Part| match part {
                Part::Intake | Part::Planner | Part::Publisher => self.chance.happens(45),
                Part::Compare | Part::Recovery | Part::Janitor => self.chance.happens(7),
            };
            Part::ALL.into_iter().chain(Part::ALL).filter(draws).collect()
        };
        let (ours, theirs) = (parts(), parts());
        let killed = self.chance.happens(15).then(|| self.chance.below(120));
        let mortal = self.chance.below(2);
        let (one, other) = (&self.world.houses[mortal], &self.world.houses[1 - mortal]);
        let both = join(
            killed_after(killed.unwrap_or(usize::MAX), one.works(&ours)),
            other.works(&theirs),
        );
        let (first, second) = both.await;
        let errors = first.iter().flatten().chain(&second).cloned().collect::<Vec<_>>().join("; ");
        let mut said = format!("{ours:?} beside {theirs:?} {errors}");
        if let Some(polls) = killed.filter(|_| first.is_none()) {
            let same_folder = self.chance.happens(50);
            self.world.reopen(mortal, same_folder).await;
            let folder = if same_folder { "the same" } else { "another" };
            said = format!(
                "{said}; one is killed after {polls} turns, and another begins in {folder} folder"
            );
        }
        said
    }

    /// Jobs are taken in hand, and end.
    async fn is_run(&mut self) -> String {
        let house = self.chance.below(2);
        if self.chance.happens(45) {
            let Some((_, run, job)) = self.world.houses[house].claims().await else {
                return String::new();
            };
            let said =
                format!("{} of {} ({}) is claimed", job.connector, run.id, run.trigger.as_str());
            let (run, job) = (run.clone(), job.clone());
            self.may_run(&run, &job);
            return said;
        }
        let fails_at = Some(self.chance.below(3)).filter(|_| self.chance.happens(25));
        let nth = self.chance.below(16);
        self.world.houses[house].ends(nth, fails_at).await.unwrap_or_default()
    }

    /// Nothing of a stranger's runs that nobody looked at, but what may run before.
    pub(crate) fn may_run(&self, run: &Run, job: &Job) {
        let is_strange = run.pull.is_some_and(|number| self.strange.contains(&number));
        let is_approved = self.approved.contains(run.head_sha.as_str());
        let trusted = run.trust != Trust::Untrusted;
        assert!(!trusted || !is_strange || is_approved, "{} of {} runs", run.id, run.head_sha);
        assert!(is_strange || trusted, "{} is Ada's", run.head_sha);
        for record in job.steps.iter().filter(|step| !step.state.is_settled()) {
            let spec = job.plan.step(&record.id).unwrap();
            let harmless = spec.untrusted && spec.secrets.is_empty();
            assert!(trusted || harmless, "{} of the stranger's {} runs", record.id, run.head_sha);
        }
    }

    /// All that was sent comes at last, time goes by, and everybody does what there is to do.
    pub(crate) async fn settles(&mut self) {
        self.log("now it is to settle");
        let mut quiet = 0;
        for _ in 0..60 {
            self.world.hear().await;
            let mut is_quiet = self.world.pending.is_empty();
            while !self.world.pending.is_empty() {
                let nth = self.chance.below(self.world.pending.len());
                let delivery = self.world.pending.remove(nth);
                self.world.take_in(&delivery).await;
            }
            is_quiet &= !self.is_all_carried_out().await;
            self.world.skip(TERM * 2).await;
            let queue = self.world.store.queue().await.unwrap();
            let left =
                queue.queued + queue.running + queue.deliveries_pending + queue.checks_pending;
            quiet = if is_quiet && left == 0 { quiet + 1 } else { 0 };
            // Recovery asks again for what never came, and comparing looks after ten minutes.
            if quiet > 12 {
                return;
            }
        }
        panic!("it never settles: {:?}", self.world.store.queue().await.unwrap());
    }

    /// True if a job was carried out.
    async fn is_all_carried_out(&mut self) -> bool {
        let mut any = false;
        for part in Part::ALL {
            for house in &self.world.houses {
                house.finishes(part).await;
            }
        }
        for house in 0..2 {
            while let Some((_, run, job)) = self.world.houses[house].claims().await {
                let (run, job) = (run.clone(), job.clone());
                self.may_run(&run, &job);
                any = true;
            }
            while self.world.houses[house].has_jobs() {
                let fails_at = Some(1).filter(|_| self.chance.happens(20));
                self.world.houses[house].ends(0, fails_at).await;
            }
        }
        any
    }
}
