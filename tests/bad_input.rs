//! Bad input through the whole server: each answers with a clear error in the right place, nothing
//! is lost and nothing is stuck. What one part can show alone is shown beside it: bad deliveries in
//! `web/hooks.rs`, bad repository files in `repository_file.rs`, bad settings in `cli/bad.rs`.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/images.rs"]
mod images;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/world.rs"]
mod world;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use checkvalve::ambient;
use futures_util::StreamExt;
use github_simulator::CheckRun;
use mounts::Mount;
use world::{Extra, REPO, Steps, World};

const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt" }
unclaimed: all
pipelines:
  - for: { kind: sh }
    steps:
      - { id: unit, image: "checkvalve-test/busybox:1", network: none, run: "sh ./unit.sh" }
      - { id: build, image: "checkvalve-test/busybox:1", network: none, needs: [unit], run: "sh ./build.sh" }
"#;
const CONFIG_PATH: &str = ".github/checkvalve.yml";
const UNIT: &str = "source-a/unit.sh";
const FILES: &[(&str, &str)] = &[
    (CONFIG_PATH, CONFIG),
    ("source-a/connector.txt", "a"),
    (UNIT, "echo fine\n"),
    ("source-a/build.sh", "echo built\n"),
];

fn conclusion(check: &CheckRun) -> &str {
    check.conclusion.as_deref().unwrap_or(&check.status)
}

/// All that a check run says.
fn words(check: &CheckRun) -> String {
    let output = &check.output;
    let parts = [&output.title, &output.summary, &output.text];
    parts.map(|part| part.clone().unwrap_or_default()).join("\n")
}

/// Is a process with this in its command line alive?
fn runs(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_repository_file_is_a_failed_check_with_line_and_mend() {
    let world = World::new(Steps::Host, FILES).await;
    let with = |from: &str, to: &str| {
        let config = CONFIG.replace(from, to);
        assert_ne!(config, CONFIG);
        config
    };
    let files = [
        ("cycle", with("id: unit,", "id: unit, needs: [build],"), "checkvalve.yml:10:", "build"),
        ("unknown", with("needs: [unit]", "needs: [unti]"), "checkvalve.yml:11:", "`unit`"),
        (
            "image",
            with("id: unit, image: \"checkvalve-test/busybox:1\",", "id: unit,"),
            "checkvalve.yml:10:",
            "image",
        ),
        (
            "secrets",
            with("run: \"sh ./unit.sh\"", "run: x, secrets: [config]"),
            "checkvalve.yml:10:",
            "secrets",
        ),
        ("yaml", with("pipelines:", "pipelines: ["), "checkvalve.yml:", "mend the YAML"),
    ];
    let mut heads = Vec::new();
    for (branch, config, ..) in &files {
        heads.push(world.push(branch, &[(CONFIG_PATH, config)]).await);
        world.open(branch).await;
    }
    world.settle().await;
    for ((branch, _, place, mend), head) in files.iter().zip(&heads) {
        assert_eq!(world.table(head), "checkvalve: failure\n", "{branch}");
        let check = world.check(head, "checkvalve");
        let said = words(&check);
        assert!(said.contains(place) && said.contains(mend), "{branch}: {said}");
        // And at the line itself.
        let [at_line] = check.output.annotations.as_slice() else {
            panic!("{branch}: {:?}", check.output.annotations)
        };
        let stands = format!("{}:{}:", at_line["path"].as_str().unwrap(), at_line["start_line"]);
        assert!(stands.starts_with(".github/") && stands.contains(place), "{branch}: {stands}");
        let message = at_line["message"].as_str().unwrap();
        assert!(message.contains(mend) && !message.contains("```"), "{branch}: {message}");
        assert_eq!(at_line["annotation_level"], "failure");
    }
    // The mend: a good file on the same branch.
    let head = world.push("cycle", &[(CONFIG_PATH, CONFIG)]).await;
    world.settle().await;
    assert_eq!(conclusion(&world.check(&head, "checkvalve")), "success");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_vanished_ends_its_run() {
    let world = World::new(Steps::Host, FILES).await;
    let head = world.push("gone", &[(UNIT, "echo never seen\n")]).await;
    world.sim.faults().pause_deliveries();
    let number = world.open("gone").await;
    let folder = world.sim.git_folder(REPO).unwrap();
    let git = |args: &[&str]| {
        let done = Command::new("git").arg("-C").arg(&folder).args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["update-ref", "-d", "refs/heads/gone"]);
    git(&["update-ref", "-d", &format!("refs/pull/{number}/head")]);
    git(&["-c", "gc.reflogExpire=now", "reflog", "expire", "--all", "--expire=now"]);
    git(&["gc", "--quiet", "--prune=now"]);
    world.sim.faults().resume_deliveries();
    world.sim.quiet().await;
    world
        .until("the run is concluded", async |world: &World| {
            world.runs().await.first().is_some_and(|run| run["state"] == "concluded")
        })
        .await;
    // Others are served meanwhile and after.
    let next = world.push("next", &[(UNIT, "echo next\n")]).await;
    world.open("next").await;
    world.until_check(&next, "checkvalve", "success").await;
    world.settle().await;
    let log = world.server_log();
    assert!(log.contains(&head[..12]), "the log names the commit");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_prints_200_mb_is_stored_whole_in_bounded_memory() {
    const BYTES: u64 = 200_000_000;
    // The disk has much to do: who waits for it is not dead.
    let env = vec![("CHECKVALVE_LEASE", "15s".to_owned())];
    let world = World::set_up(Steps::Host, None, Extra { env, ..Extra::default() }, FILES).await;
    let script = format!("yes 'a line of a log that is much too long' | head -c {BYTES}\n");
    let head = world.push("loud", &[(UNIT, &script)]).await;
    world.open("loud").await;
    world.settle().await;
    assert_eq!(conclusion(&world.check(&head, "source-a / unit")), "success");
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let path = format!("{}/api/v1/runs/{run}/connectors/source-a/steps/unit/log", world.url);
    let mut body = world.http.get(&path).send().await.unwrap().bytes_stream();
    let mut stored = 0;
    while let Some(chunk) = body.next().await {
        stored += chunk.unwrap().len() as u64;
    }
    assert_eq!(stored, BYTES);
    let page = world.check(&head, "source-a / unit").details_url;
    let page = world.http.get(page).send().await.unwrap();
    assert!(page.status().is_success());
    let page = page.text().await.unwrap();
    assert!(page.len() < 4 << 20, "the page shows a part: {} bytes", page.len());
    let peak = world.peak_memory();
    eprintln!("the server held at most {peak} MiB");
    assert!(peak < 150, "the server held {peak} MiB");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_output_is_kept_and_shown_as_text() {
    let world = World::new(Steps::Host, FILES).await;
    let noise = "head -c 60000 /dev/urandom; printf '\\033[2J\\000\\377 the end\\n'; exit 1\n";
    let head = world.push("binary", &[(UNIT, noise)]).await;
    world.open("binary").await;
    world.settle().await;
    let unit = world.check(&head, "source-a / unit");
    assert_eq!(conclusion(&unit), "failure");
    let said = words(&unit);
    assert!(said.contains("the end"), "{said}");
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    assert!(!said.contains(odd), "{said:?}");
    let page = world.http.get(&unit.details_url).send().await.unwrap();
    assert!(page.status().is_success());
    let page = page.bytes().await.unwrap();
    let page = std::str::from_utf8(&page).expect("the page is UTF-8");
    assert!(page.contains("the end") && !page.contains(odd));
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let log = format!("{}/api/v1/runs/{run}/connectors/source-a/steps/unit/log", world.url);
    let log = world.http.get(log).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(log.len(), 60_000 + 4 + 2 + " the end\n".len(), "every byte is kept");
    assert_eq!(conclusion(&world.check(&head, "source-a / build")), "skipped");
    world.finish().await;
}

/// What a step leaves in `$CHECKVALVE_OUT`: its commands, and what its check or log says of it.
const LEFT: [(&str, &str, &str); 6] = [
    (
        "cut",
        r#"printf '<testsuite><testcase name="a"/><testcase name="b"><failure>why' > junit.xml; exit 1"#,
        "test report `junit.xml`: it is cut off, and tells of 2 tests before that",
    ),
    (
        "entities",
        r#"printf '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd"><!ENTITY a "&f;&f;">]><testsuite><testcase name="t"><failure>of &a;</failure></testcase></testsuite>' > junit.xml; exit 1"#,
        "of &a;",
    ),
    (
        "huge",
        "yes '<testsuite>' | head -c 105000000 > junit.xml",
        "test report `junit.xml`: 100 MiB are too much to read, 64 MiB are the most",
    ),
    (
        "sarif",
        r#"echo '{"version": "1.0.0", "runs": []}' > found.sarif"#,
        "SARIF report `found.sarif`: its version is \"1.0.0\"; let the tool write 2.1.0",
    ),
    (
        "links",
        "ln -s /etc/passwd passwd; ln -s ../../../.. up; mkfifo pipe; mknod zero c 1 5; echo x > kept.txt",
        "`zero` in $CHECKVALVE_OUT is not kept: it is a link or a device",
    ),
    (
        "many",
        "i=0; while [ $i -lt 100000 ]; do : > $i.txt; i=$((i+1)); done",
        "$CHECKVALVE_OUT holds more than 10000 files and folders",
    ),
];

/// May steps make a device here? That takes root; where we are not it is said, and with
/// `CHECKVALVE_REQUIRE=all` an error.
fn makes_devices() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mknod").arg(folder.path().join("zero")).args(["c", "1", "5"]).output();
    let made = made.is_ok_and(|made| made.status.success());
    let required = ambient::env("CHECKVALVE_REQUIRE").as_deref() == Some("all");
    assert!(made || !required, "this needs the right to make devices");
    if !made {
        eprintln!("SKIPPED in part: links and devices need the right to make devices");
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_leaves_that_is_no_good_is_told_and_the_rest_is_kept() {
    let devices = makes_devices();
    let left = LEFT.into_iter().filter(|(id, ..)| devices || *id != "links");
    let mut config =
        "version: 1\npreset: none\nconnectors: [{ match: \"{name}/connector.txt\" }]\n\
                      pipelines:\n  - steps:\n"
            .to_owned();
    let mut files = Vec::new();
    for (id, script, _) in left.clone() {
        let report = match id {
            "cut" | "entities" | "huge" => "reports: { junit: junit.xml }, ",
            "sarif" => "reports: { sarif: found.sarif }, ",
            _ => "",
        };
        let globs = if id == "many" { "10*.txt" } else { "**" };
        writeln!(config, "      - {{ id: {id}, image: x, {report}artifacts: [\"{globs}\"], run: \"sh ./{id}.sh\" }}")
            .unwrap();
        files.push((format!("source-a/{id}.sh"), format!("cd \"$CHECKVALVE_OUT\"\n{script}\n")));
    }
    let first = [(CONFIG_PATH, config.as_str()), ("source-a/connector.txt", "a")];
    let world = World::new(Steps::Host, &first).await;
    let files: Vec<(&str, &str)> =
        files.iter().map(|(at, text)| (at.as_str(), text.as_str())).collect();
    let head = world.push("left", &files).await;
    world.open("left").await;
    world.settle().await;
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let report = world.json(&format!("/runs/{run}/source-a/report.json")).await;
    let step = |id: &str| {
        report["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
    };
    for (id, _, said) in left {
        let check = world.check(&head, &format!("source-a / {id}"));
        let expected = if matches!(id, "cut" | "entities") { "failure" } else { "success" };
        assert_eq!(conclusion(&check), expected, "{id}: {}", words(&check));
        let log = format!("{}/api/v1/runs/{run}/connectors/source-a/steps/{id}/log", world.url);
        let log = world.http.get(log).send().await.unwrap().text().await.unwrap();
        let told = format!("{}\n{}\n{log}", step(id)["reason"], step(id)["tests"]["failures"][0]);
        assert!(told.replace("\\\"", "\"").contains(said), "{id}: {told}");
    }
    let cut = words(&world.check(&head, "source-a / cut"));
    assert!(cut.contains("1 failed, 1 passed") && cut.contains("why"), "{cut}");
    let entities = words(&world.check(&head, "source-a / entities"));
    assert!(entities.contains("of &a;") && !entities.contains("root:"), "{entities}");
    let kept = |id: &str| -> Vec<&str> {
        let artifacts = step(id)["artifacts"].as_array().unwrap().iter();
        artifacts.map(|artifact| artifact["path"].as_str().unwrap()).collect()
    };
    assert!(!devices || kept("links") == ["kept.txt"]);
    assert_eq!((kept("cut"), kept("sarif")), (vec!["junit.xml"], vec!["found.sarif"]));
    assert_eq!(kept("huge"), ["junit.xml"], "what can't be read is kept all the same");
    assert_eq!(kept("many").len(), 1_111, "of the first ten thousand those that match");
    let peak = world.peak_memory();
    assert!(peak < 300, "the server held {peak} MiB");
    world.finish().await;
}

/// Aliases of aliases: a few hundred bytes that stand for more values than there is memory.
fn yaml_bomb() -> String {
    let level = |n: usize| format!("  a{n}: &a{n} [{}x]\n", format!("*a{},", n - 1).repeat(9));
    let levels: Vec<String> = (1..40).map(level).collect();
    format!("data:\n  a0: &a0 [x]\n{}", levels.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_a_yaml_bomb_is_a_finding_with_its_line() {
    const METADATA: &str = "airbyte-integrations/connectors/source-a/metadata.yaml";
    let config = "preset: airbyte\npipelines: [{ steps: [{ id: qa, uses: qa }] }]\n";
    let files = [(CONFIG_PATH, config), (METADATA, "data:\n  name: A\n")];
    let world = World::new(Steps::Host, &files).await;
    let head = world.push("bomb", &[(METADATA, &yaml_bomb())]).await;
    world.open("bomb").await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: failure\nsource-a / qa: failure\n");
    let qa = words(&world.check(&head, "source-a / qa"));
    assert!(qa.contains("metadata.yaml:") && qa.contains("or more than 100000 values"), "{qa}");
    let said = words(&world.check(&head, "checkvalve"));
    assert!(said.contains("metadata.yaml:"), "the finding is told: {said}");
    let peak = world.peak_memory();
    assert!(peak < 150, "the server held {peak} MiB");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_step_that_ignores_sigterm_and_forks_is_ended() {
    let world = World::new(Steps::Host, FILES).await;
    let stubborn = "trap '' TERM INT HUP\nsetsid sleep 86391.7 &\nsleep 86391.8\n";
    let old = world.push("change", &[(UNIT, stubborn)]).await;
    world.open("change").await;
    world.until_check(&old, "source-a / unit", "in_progress").await;
    world.until("the step runs", async |_: &World| runs("86391.7") && runs("86391.8")).await;
    let new = world.push("change", &[(UNIT, "echo quick\n")]).await;
    world.settle().await;
    assert_eq!(conclusion(&world.check(&old, "source-a / unit")), "cancelled");
    assert_eq!(conclusion(&world.check(&old, "checkvalve")), "cancelled");
    assert_eq!(conclusion(&world.check(&new, "checkvalve")), "success");
    assert!(!runs("86391.7") && !runs("86391.8"), "the old step's processes live");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_writes_outside_its_folder_stays_in_its_container() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let vandal =
        "for place in /etc/x /bin/x /tmp/x /x ../x ../../x; do echo x > $place || true; done
                  rm -rf /etc/* ../* || true\n";
    let next = "for place in /etc/x /bin/x /tmp/x /x ../x ../../x; do test ! -e $place; done
                test -e connector.txt; echo all is well\n";
    let head = world.push("vandal", &[(UNIT, vandal), ("source-a/build.sh", next)]).await;
    world.open("vandal").await;
    world.settle().await;
    let build = world.check(&head, "source-a / build");
    assert_eq!(conclusion(&build), "success", "{}", words(&build));
    assert!(!Path::new("/x").exists() && !Path::new("/etc/x").exists());
    world.finish().await;
}

/// What was acknowledged is handled, what could not be stored is not acknowledged, and with space
/// everything goes on without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let mut world = World::new(Steps::Host, FILES).await;
    world.kill();
    let state = world.state.path().join("state");
    let Some(mount) = Mount::small(&state, 24) else { return };
    world.start().await;

    let slow = "sleep 4; i=0; while [ $i -lt 200 ]; do echo still here $i; i=$((i+1)); done\n";
    let first = world.push("first", &[(UNIT, slow)]).await;
    world.open("first").await;
    world.until_check(&first, "source-a / unit", "in_progress").await;
    let ballast = state.join("ballast");
    let mut fill = Command::new("dd");
    fill.arg("if=/dev/zero").arg(format!("of={}", ballast.display())).arg("bs=4k");
    assert!(!fill.output().unwrap().status.success(), "the disk is not full yet");

    // SQLite may find room for some in pages that it has; enough of them fill it.
    let second = world.push("second", &[(UNIT, "echo second\n")]).await;
    let number = world.open("second").await;
    let padding = "x".repeat(60_000);
    for _ in 0..8 {
        world.sim.comment(REPO, number, "ada", &padding).await.unwrap();
    }
    world.sim.quiet().await;
    let refused: Vec<_> = world
        .sim
        .deliveries()
        .into_iter()
        .filter(|delivery| delivery.status_code == Some(503))
        .map(|delivery| delivery.guid)
        .collect();
    assert!(!refused.is_empty(), "nothing was refused");
    let ready = world.http.get(format!("{}/readyz", world.url)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(world.server_log().contains("free some space on that disk"), "the log says the mend");

    std::fs::remove_file(&ballast).unwrap();
    for guid in refused {
        world.sim.redeliver(&guid).await.unwrap();
    }
    world.until_check(&first, "checkvalve", "completed").await;
    world.until_check(&second, "checkvalve", "success").await;
    world.settle().await;
    eprintln!("{}", world.table(&first));
    let ready = world.http.get(format!("{}/readyz", world.url)).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    world.finish().await;
    drop(mount);
}
