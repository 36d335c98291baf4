//! One commit, several pull requests; and check runs that are asked for again and again.

use github_simulator::{CheckRun, OpenPull};

use super::world::{REPO, Steps, World};
use super::{CONFIG, CONFIG_PATH, FILES};

#[tokio::test(flavor = "multi_thread")]
async fn two_pull_requests_with_one_head_share_its_check_runs_and_the_worst_counts() {
    let marks = tempfile::tempdir().unwrap();
    let tried = marks.path().join("unit").display().to_string();
    // Fails, passes, fails.
    let unit = format!("echo x >> {tried}\ntest $(wc -l < {tried}) = 2\n");
    let world = World::new(Steps::Host, FILES).await;
    world.push("release", &[("docs/readme.md", "# The release\n")]).await;
    let head = world.push("change", &[("source-a/unit.sh", &unit)]).await;
    let one = world.open("change").await;
    world.settle().await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));

    let pull = OpenPull::new("change", "release", "ada", "The same for the release");
    let two = world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    let state = |name: &str| world.check(&head, name).conclusion.unwrap_or_default();
    let units = ["source-a / unit", "source-a / unit (→ main)", "source-a / unit (→ release)"];
    assert_eq!(units.map(state), ["failure", "failure", "success"], "{}", world.table(&head));
    assert_eq!(state("source-a / install"), "success", "where they agree, one tells of both");
    let check = world.check(&head, "checkvalve");
    assert_eq!((check.conclusion.as_deref(), check.actions.len()), (Some("failure"), 0));
    let (title, summary) = (check.output.title.unwrap(), check.output.summary.unwrap());
    assert!(title.starts_with("→ main: ") && title.contains(" · → release: "), "{title}");
    for said in [format!("[Pull request {one}]"), format!("[Pull request {two}]")] {
        assert!(summary.contains(&said), "{said}: {summary}");
    }
    assert!(summary.starts_with("**2 share this commit,**"), "{summary}");

    // On a check run that says for whom it is, "Re-run" is no riddle.
    let named = world.check(&head, units[1]);
    world.sim.rerequest_check_run(REPO, named.id, "ada").await.unwrap();
    world.settle().await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0]["pull_request"].as_u64()), (3, Some(one)));
    assert_eq!(std::fs::read_to_string(&tried).unwrap().lines().count(), 3);
    assert_eq!(units.map(state), ["failure", "failure", "success"], "{}", world.table(&head));
    let plain = world.check(&head, units[0]);
    world.sim.rerequest_check_run(REPO, plain.id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 3, "whose is meant is not known");

    // A command for what is green does not make it green.
    world.sim.comment(REPO, two, "ada", "/test source-a/install").await.unwrap();
    world.settle().await;
    assert_eq!(state("checkvalve"), "failure");

    // One is closed: the other is judged alone.
    world.sim.close_pull_request(REPO, one, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(state("checkvalve"), "success", "{}", world.table(&head));
    assert_eq!(state("source-a / unit"), "success");
    let check = world.check(&head, "checkvalve");
    let title = check.output.title.unwrap();
    assert!(!title.contains('→'), "{title}");
    // Nobody is left: what was said last stays.
    world.sim.close_pull_request(REPO, two, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(state("checkvalve"), "success");
    world.sim.reopen_pull_request(REPO, one, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(state("checkvalve"), "failure");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_run_is_called_after_the_base_that_its_pull_request_has_now() {
    let marks = tempfile::tempdir().unwrap();
    let tried = marks.path().join("unit").display().to_string();
    // Fails, passes, fails, and so on.
    let unit = format!("echo x >> {tried}\ntest $(( $(wc -l < {tried}) % 2 )) = 0\n");
    // One step, each time anew: the fewer check runs, the sooner GitHub's limits let them be told.
    let others = |line: &&str| !line.contains("id: install") && !line.contains("id: build");
    let lines: Vec<&str> = CONFIG.lines().filter(others).collect();
    let config = lines.join("\n").replace("needs: [install]", "cache: never");
    let mut files = FILES.to_vec();
    files[0] = (CONFIG_PATH, &config);
    let world = World::new(Steps::Host, &files).await;
    for branch in ["release", "next"] {
        world.push(branch, &[("docs/readme.md", branch)]).await;
    }
    let head = world.push("change", &[("source-a/unit.sh", &unit)]).await;
    let one = world.open("change").await;
    world.settle().await;
    let pull = OpenPull::new("change", "release", "ada", "The same for the release");
    world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    // Those that say for whom they are, as GitHub lists them.
    let told = || -> Vec<String> {
        let checks = world.checks(&head).into_iter();
        let of_unit = checks.filter(|check| check.name.starts_with("source-a / unit (→ "));
        let state = |check: CheckRun| {
            let whose = check.name.trim_start_matches("source-a / unit (→ ").to_owned();
            format!("{} {}", whose.trim_end_matches(')'), check.conclusion.unwrap_or_default())
        };
        let mut told: Vec<String> = of_unit.map(state).collect();
        told.sort();
        told
    };
    assert_eq!(told(), ["main failure", "release success"]);
    // Pressed once more, it has a newer one: the older must not come to light again.
    let check = world.check(&head, "source-a / unit (→ main)");
    for _ in 0..2 {
        world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
        world.settle().await;
    }
    assert_eq!(told(), ["main success", "release success"]);
    world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(told(), ["main failure", "release success"]);

    // Pointed at another base, it is another change, with a run of its own.
    world.sim.retarget_pull_request((REPO, one), "next", "ada").await.unwrap();
    world.settle().await;
    assert_eq!(told(), ["next success", "release success"]);

    // A third one, to the same base: whose is whose is told by number.
    let pull = OpenPull::new("change", "next", "ada", "The same once more");
    let three = world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    let both = [format!("next, #{one} success"), format!("next, #{three} failure")];
    assert_eq!(told(), [&both[..], &["release success".to_owned()]].concat());
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));
    // And back: the one that is closed is over, and nothing of it is red.
    world.sim.close_pull_request(REPO, three, "ada").await.unwrap();
    world.settle().await;
    let closed = format!("next, #{three} cancelled");
    assert_eq!(told(), ["next success", &closed, "release success"]);
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn re_run_is_obeyed_as_often_as_it_is_pressed() {
    let marks = tempfile::tempdir().unwrap();
    let tried = marks.path().join("unit").display().to_string();
    let unit = format!("echo x >> {tried}\nexit 1\n");
    let config = format!("{CONFIG}policy: {{ detail: connector }}\n");
    let world = World::new(Steps::Host, FILES).await;
    let changes = [(CONFIG_PATH, config.as_str()), ("source-a/unit.sh", unit.as_str())];
    world.push("main", &changes[..1]).await;
    let head = world.push("change", &changes).await;
    world.open("change").await;
    world.settle().await;
    let check = world.check(&head, "source-a");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let count = || std::fs::read_to_string(&tried).unwrap().lines().count();
    for times in 2..5 {
        // The same one each time, as on a page that was not loaded anew.
        world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
        world.settle().await;
        assert_eq!((count(), world.runs().await.len()), (times, times));
        let made = world.sim.check_runs(REPO, &head);
        let made = made.iter().filter(|made| made.name == "source-a").count();
        assert_eq!(made, times, "each time it is seen to run");
    }
    world.finish().await;
}
