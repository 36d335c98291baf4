//! From the webhook to the first check run: a pull request is opened, its delivery is posted, and
//! the simulated GitHub says when it was asked to create a check run. Nothing of GitHub's own time
//! is in it: it answers at once, unless a latency is asked for, which every answer then has.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use github_simulator::{Call, Change, Commit, OpenPull, Permission, RepositoryOptions, Simulator};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::floors::Floor;
use crate::http;
use crate::load::Request;
use crate::payload;
use crate::pipelines::examples;
use crate::server::{GitHub, Options, Server};
use crate::stats::{Samples, median, wall_clock};
use crate::table::{self, Table};

const AUTHOR: &str = "quill";
const PATIENCE: Duration = Duration::from_secs(20);
/// So many first ones do not count: caches are filled, connections opened.
const WARM_UP: usize = 2;
/// Check runs of one connector: `checkvalve`, and eight steps. All of them are within what may be written at
/// once.
const CHECKS: usize = 9;
/// The example's sources have seven steps.
const FILE: &str = ".github/checkvalve.yml";
const SOURCES: &str = "  - for: { kind: source }\n    steps:\n";
const EIGHTH: &str = "      - { id: licence, image: \"checkvalve-example/python:1\", network: none, run: \"true\" }\n";
/// What was written is earned again, at a write a second: a pull request comes to an installation
/// that was quiet for a while.
const EARNED: Duration = Duration::from_secs(10);

/// Who is told of a pull request, and about which repository.
struct Contender {
    name: &'static str,
    repository: &'static str,
    address: SocketAddr,
    /// Until the delivery is acknowledged.
    acknowledged: Samples,
    first: Samples,
    /// What GitHub was asked up to the first check run: what, and how long after the delivery.
    calls: Vec<Vec<(String, f64)>>,
}

impl Contender {
    fn new(name: &'static str, repository: &'static str, address: SocketAddr) -> Self {
        let (acknowledged, first) = (Samples::default(), Samples::default());
        Self { name, repository, address, acknowledged, first, calls: Vec::new() }
    }
}

pub(crate) fn run(rounds: usize, latency: Duration) -> anyhow::Result<()> {
    let github = GitHub::start()?;
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let repositories = ["acme/bare", "acme/fetching", "acme/connectors"];
    let mut installation = 0;
    for repository in repositories {
        installation = github.runtime.block_on(prepare(&github.simulator, repository))?;
    }
    let token = token(&github, installation)?;
    let api = github.address()?;
    let committing =
        |name: &str| Floor::committing(&format!("sqlite:{}", folder.path().join(name).display()));
    let cache = folder.path().join("cache.git");
    clone(&github, &cache)?;
    let (_bare, bare) = committing("bare.db").checking(api, &token, None).start()?;
    let cache = Some(cache.display().to_string());
    let (_fetching, fetching) = committing("fetching.db").checking(api, &token, cache).start()?;
    let options = Options {
        repositories: "acme/connectors",
        more: vec![("CHECKVALVE_EXECUTOR", "host".to_owned())],
        ..Options::recording()
    };
    let mut server = Server::start(&github, &folder.path().join("state"), &options)?;
    let mut contenders = [
        Contender::new("the bare floor", "acme/bare", bare),
        Contender::new("the fetching floor", "acme/fetching", fetching),
        Contender::new("checkvalve", "acme/connectors", server.address),
    ];
    let mut all = Samples::default();
    github.simulator.faults().latency(latency);
    for round in 0..rounds + WARM_UP {
        for contender in &mut contenders {
            let told = tell(&github, &token, contender, round)?;
            if contender.address == server.address {
                // To the end, else the next one would be told while this one is being planned.
                server.wait(|server| settled(&github.simulator, server, &told.head))?;
                let last = told.last_check(&github.simulator)?;
                if round >= WARM_UP {
                    all.push(last);
                }
                std::thread::sleep(EARNED);
            }
        }
    }
    report(&contenders, &all);
    aims(&contenders[2].first, &all, latency);
    Ok(())
}

/// A delivery that was posted.
struct Told {
    head: String,
    posted: i64,
    /// Calls that GitHub had answered before.
    before: usize,
}

impl Told {
    /// From the delivery to the creation of the last check run.
    fn last_check(&self, simulator: &Simulator) -> anyhow::Result<Duration> {
        let calls = simulator.calls();
        let created = calls.iter().skip(self.before).filter(|call| creates_check(call));
        let last = created.map(|call| call.at.timestamp_micros()).max();
        let micros = last.context("no check run was created")? - self.posted;
        Ok(Duration::from_micros(u64::try_from(micros)?))
    }
}

fn creates_check(call: &Call) -> bool {
    call.method == "POST" && call.path.ends_with("/check-runs")
}

/// Every step has its check run, and nothing is left to say.
fn settled(simulator: &Simulator, server: &Server, head: &str) -> anyhow::Result<bool> {
    std::thread::sleep(Duration::from_millis(5));
    if simulator.check_runs("acme/connectors", head).len() < CHECKS {
        return Ok(false);
    }
    let queue = http::get_json(server.address, "/api/v1/queue")?;
    Ok(queue["deliveries_pending"] == 0 && queue["checks_pending"] == 0)
}

/// The example repository with one more step; the number of the App's installation.
async fn prepare(simulator: &Simulator, repository: &str) -> anyhow::Result<u64> {
    let info = simulator.create_repository(repository, RepositoryOptions::default()).await?;
    let folder = examples()?;
    simulator.import_folder(repository, &folder, AUTHOR).await?;
    let file = std::fs::read_to_string(folder.join(FILE))?;
    ensure!(file.contains(SOURCES), "{FILE} has no pipeline of sources where it was");
    let file = file.replacen(SOURCES, &format!("{SOURCES}{EIGHTH}"), 1);
    let changes = vec![(FILE.to_owned(), Change::Write(file.into_bytes()))];
    simulator.commit(repository, "main", Commit::new("One more step", AUTHOR, changes)).await?;
    simulator.set_permission(repository, AUTHOR, Permission::Write);
    Ok(info.installation_id)
}

/// An installation token, as any client gets one.
fn token(github: &GitHub, installation: u64) -> anyhow::Result<String> {
    let app = github.simulator.app();
    let now = wall_clock() / 1_000_000;
    let claims = json!({ "iss": app.id.to_string(), "iat": now - 30, "exp": now + 300 });
    let key = EncodingKey::from_rsa_pem(app.private_key_pem.as_bytes())?;
    let jwt = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key)?;
    let address = github.address()?;
    let request = format!(
        "POST /api/v3/app/installations/{installation}/access_tokens HTTP/1.1\r\nHost: \
         {address}\r\nAuthorization: Bearer {jwt}\r\nAccept: application/vnd.github+json\r\n\
         User-Agent: checkvalve-bench\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let answer = http::send(address, request.as_bytes())?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 201, "no installation token: {text}");
    let answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer["token"].as_str().context("an answer without token")?.to_owned())
}

fn clone(github: &GitHub, cache: &Path) -> anyhow::Result<()> {
    let url = format!("{}/acme/fetching.git", github.simulator.url());
    let cache = cache.display().to_string();
    crate::pipelines::git(Path::new("/"), &["clone", "--quiet", "--bare", &url, &cache])
}

/// Opens a pull request, posts its delivery, and waits for the check run.
fn tell(
    github: &GitHub,
    token: &str,
    contender: &mut Contender,
    round: usize,
) -> anyhow::Result<Told> {
    let simulator = &github.simulator;
    let Opened { number, delivery, head } =
        github.runtime.block_on(open(simulator, contender.repository, round))?;
    look(github.address()?, token, contender.repository, number)?;
    let signed = payload::sign(delivery);
    let mut request = Request::new(contender.address, "pull_request", &signed);
    let before = simulator.calls().len();
    let posted = wall_clock();
    let begin = Instant::now();
    let answer = http::send(contender.address, request.fresh())?;
    let acknowledged = begin.elapsed();
    ensure!((200..300).contains(&answer.status), "{}: {}", contender.name, answer.status);
    // A call is written down when it has been answered, a moment after the check run is there.
    let (calls, until) = loop {
        ensure!(begin.elapsed() < PATIENCE, "{}: no check run after 20 s", contender.name);
        std::thread::sleep(Duration::from_millis(1));
        if simulator.check_runs(contender.repository, &head).is_empty() {
            continue;
        }
        let calls: Vec<Call> = simulator.calls().into_iter().skip(before).collect();
        if let Some(until) = calls.iter().position(creates_check) {
            break (calls, until);
        }
    };
    let after = |call: &Call| call.at.timestamp_micros() - posted;
    let first = calls.get(until).map_or(0, after);
    if round >= WARM_UP {
        contender.acknowledged.push(acknowledged);
        contender.first.push(Duration::from_micros(u64::try_from(first).unwrap_or(0)));
        #[expect(clippy::cast_precision_loss, reason = "a few seconds in microseconds")]
        let offsets = calls.iter().take(until + 1).map(|call| {
            let operation = call.operation.clone().unwrap_or_else(|| call.path.clone());
            (operation, after(call) as f64 / 1e3)
        });
        contender.calls.push(offsets.collect());
    }
    Ok(Told { head, posted, before })
}

/// Reads the pull request once: the first reader has the simulator merge it for a trial, which costs
/// it two git processes.
fn look(address: SocketAddr, token: &str, repository: &str, pull: u64) -> anyhow::Result<()> {
    let request = format!(
        "GET /api/v3/repos/{repository}/pulls/{pull} HTTP/1.1\r\nHost: {address}\r\n\
         Authorization: Bearer {token}\r\nAccept: application/vnd.github+json\r\n\
         User-Agent: checkvalve-bench\r\nConnection: close\r\n\r\n"
    );
    let answer = http::send(address, request.as_bytes())?;
    ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    Ok(())
}

/// A pull request, and the body of the delivery that GitHub would send of it.
struct Opened {
    number: u64,
    delivery: Vec<u8>,
    head: String,
}

async fn open(simulator: &Simulator, repository: &str, round: usize) -> anyhow::Result<Opened> {
    let branch = format!("change-{round}");
    let path = "airbyte-integrations/connectors/source-orders/source_orders/orders.py";
    let text = format!("\"\"\"Reads orders.\"\"\"\n\nROUND = {round}\n").into_bytes();
    let changes = vec![(path.to_owned(), Change::Write(text))];
    let head =
        simulator.commit(repository, &branch, Commit::new("Change", AUTHOR, changes)).await?;
    let pull = OpenPull::new(&branch, "main", AUTHOR, "Read orders otherwise");
    let number = simulator.open_pull_request(repository, pull).await?;
    let deliveries = simulator.deliveries();
    let delivery = deliveries.iter().rev().find(|delivery| {
        delivery.event == "pull_request" && delivery.action.as_deref() == Some("opened")
    });
    let delivery = delivery.context("no delivery of the opening")?.body.to_vec();
    Ok(Opened { number, delivery, head })
}

fn report(contenders: &[Contender; 3], all: &Samples) {
    let [bare, fetching, product] = contenders;
    table::title("From the webhook to the first check run");
    let mut table = Table::new(&["who", "acknowledged p50 ms", "p50 ms", "p99 ms", "x floor"]);
    let mut row =
        |name: &str, acknowledged: Option<&Samples>, samples: &Samples, floor: &Samples| {
            let one = |figure: f64| format!("{figure:.1}");
            let figures = [
                acknowledged.map_or_else(String::new, |samples| one(samples.median())),
                one(samples.median()),
                one(samples.quantile(0.99)),
                format!("{:.1}", samples.median() / floor.median()),
            ];
            table.row(name, figures);
        };
    row("floor: commit, 1 call", Some(&bare.acknowledged), &bare.first, &bare.first);
    row("checkvalve: first check run", Some(&product.acknowledged), &product.first, &bare.first);
    row(
        "floor: commit, git fetch and diff, 1 call",
        Some(&fetching.acknowledged),
        &fetching.first,
        &fetching.first,
    );
    row(&format!("checkvalve: all {CHECKS} check runs"), None, all, &fetching.first);
    table.print();
    table::note("What GitHub was asked by the product, and when it had answered (medians, ms):");
    let usual = product.calls.first().map_or(0, Vec::len);
    let same: Vec<_> = product.calls.iter().filter(|calls| calls.len() == usual).collect();
    for index in 0..usual {
        let at: Vec<f64> =
            same.iter().filter_map(|calls| calls.get(index)).map(|call| call.1).collect();
        let name = same.first().and_then(|calls| calls.get(index)).map(|call| call.0.as_str());
        table::note(&format!("  {:7.1}  {}", median(&at), name.unwrap_or_default()));
    }
}

fn aims(first: &Samples, all: &Samples, latency: Duration) {
    let (p50, p99, last) = (first.median(), first.quantile(0.99), all.quantile(0.99));
    if latency.is_zero() {
        table::aim(&format!("first check run p99 {p99:.0} ms (aim: at most 100)"), p99 <= 100.0);
        table::aim(&format!("first check run p50 {p50:.0} ms (goal: at most 15)"), p50 <= 15.0);
        return;
    }
    let each = latency.as_millis();
    table::note(&format!("Every answer of GitHub's took {each} ms longer."));
    table::aim(&format!("first check run p99 {p99:.0} ms (aim: at most 300)"), p99 <= 300.0);
    table::aim(
        &format!("last queued check run p99 {last:.0} ms (aim: at most 1500)"),
        last <= 1500.0,
    );
}
