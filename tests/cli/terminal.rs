//! `test` at a terminal: what people see while it runs, and what Ctrl-C leaves. The terminal is a
//! real pseudo-terminal; what stands on it is worked out as a terminal would.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::Bench;

const PTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/at_terminal.py");

/// Connectors are single files `c/<name>`.
const CONNECTORS: &str = "version: 1\npreset: none\nconnectors:\n  - { kind: x, match: \"c/{name}/x\" }\n\
                          unclaimed: all\npipelines:\n  - steps:\n";

pub(crate) struct Seen(Value);

impl Seen {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    /// What was told above the part that moves, and what is left at the end.
    pub(crate) fn told(&self) -> String {
        format!("{}\n{}", self.text("scrolled"), self.text("screen"))
    }

    fn shot(&self, at: usize) -> &str {
        self.0["shots"][at].as_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.0["late"], Value::Null, "{}", self.told());
        assert_eq!(self.0["status"], status, "{}", self.told());
        assert_eq!(self.0["unknown"], json!([]), "nothing else controls the terminal");
        self
    }
}

/// Runs `test` with these steps of each of `count` connectors, in a terminal of that size.
pub(crate) fn at_terminal(
    bench: &Bench,
    (count, steps): (usize, &str),
    (rows, columns): (u16, u16),
    (args, env): (&[&str], &[(&str, &str)]),
    deeds: &Value,
) -> Seen {
    for n in 0..count {
        bench.write(&format!("c/connector-{n:03}/x"), "");
    }
    let file = bench.place("pipelines.yml");
    std::fs::write(&file, format!("{CONNECTORS}{steps}")).unwrap();
    let file = file.display().to_string();
    let program = ["--pipelines", &file, "test", "--all"];
    let size = [rows.to_string(), columns.to_string(), "60".to_owned()];
    let mut pty = Command::new("python3");
    pty.arg(PTY).args(size);
    let command = bench.command("checkvalve", &[&program[..], args].concat());
    pty.arg(command.get_program()).args(command.get_args());
    pty.current_dir(bench.repo()).env_clear().env("TERM", "xterm-256color");
    pty.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    pty.envs(env.iter().copied());
    let mut child = pty.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), deeds).unwrap();
    let output = child.wait_with_output().unwrap();
    Seen(serde_json::from_slice(&output.stdout).unwrap())
}

const HOST: &[&str] = &["--executor", "host"];

/// A step that goes on until the file is there.
fn until(path: &Path) -> String {
    format!("while ! test -e {}; do sleep 0.05; done", path.display())
}

#[test]
fn every_connector_and_step_is_shown_live_and_the_end_tells_what_failed() {
    let bench = Bench::new();
    let hostile = "printf '\\\\033]0;title\\\\007\\\\033[2J\\\\033[31mE  broken\\\\n'; exit 3";
    let steps = format!(
        "      - {{ id: install, image: x, run: \"true\" }}\n      - {{ id: unit, image: x, \
         needs: [install], run: \"{}; {hostile}\" }}\n      - {{ id: build, image: x, needs: \
         [unit], run: \"true\" }}\n",
        until(&bench.place("go"))
    );
    let go = bench.place("go");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(2500));
            std::fs::write(&go, "").unwrap();
        });
        let deeds = json!([["wait", "▸ unit 1 s"], ["shot"], ["wait", "failed: "],]);
        let seen = at_terminal(&bench, (2, &steps), (24, 100), (HOST, &[]), &deeds).exits(1);
        let live = seen.shot(0);
        for part in
            ["connector-000 ", "connector-001 ", "✓ install", "○ build", "0 of 2 connectors"]
        {
            assert!(live.contains(part), "{part}\n{live}");
        }
        let told = seen.told();
        for part in [
            "2 connectors to test",
            "✗ connector-000: failed at unit",
            "== connector-001 / unit: failed (exit 3)",
            "   | E  broken",
            "failed: 0 of 2 connectors passed, 2 failed",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains("▸"), "what moved is gone: {told}");
        assert!(seen.text("written").contains("\u{1b}[31m"), "colours");
        assert_eq!(seen.0["wrapped"], 0);
    });
}

#[test]
fn of_hundreds_what_runs_is_shown_and_the_rest_is_counted() {
    let bench = Bench::new();
    let step =
        format!("      - {{ id: unit, image: x, run: \"{}\" }}\n", until(&bench.place("go")));
    let deeds = json!([
        ["wait", "20 running"],
        ["shot"],
        ["resize", 24, 30],
        ["pause", 0.6],
        ["shot"],
        ["resize", 5, 30],
        ["pause", 0.6],
        ["shot"],
        ["key", "\u{3}"],
        ["gone", "▸"],
    ]);
    let args = [HOST, &["--concurrency", "20"]].concat();
    let seen = at_terminal(&bench, (120, &step), (24, 100), (&args, &[]), &deeds).exits(130);
    let first = seen.shot(0);
    assert!(first.lines().count() <= 14, "{first}");
    assert!(first.contains("… and 9 more"), "{first}");
    assert!(first.contains("0 of 120 connectors done · 20 running · 100 waiting"), "{first}");
    // A terminal made smaller is drawn anew within its new bounds, and nothing of before stays.
    for (at, rows) in [(1, 24), (2, 5)] {
        let shot = seen.shot(at);
        assert!(shot.lines().count() <= rows, "{shot}");
        assert!(shot.lines().all(|line| line.chars().count() <= 30), "{shot}");
        assert!(shot.matches("of 120").count() <= 1, "{shot}");
    }
}

#[test]
fn what_suits_no_moving_picture_is_told_in_plain_lines() {
    let bench = Bench::new();
    let step = "      - { id: unit, image: x, run: \"true\" }\n";
    for env in [[("TERM", "dumb")], [("CI", "true")]] {
        let seen = at_terminal(&bench, (1, step), (24, 80), (HOST, &env), &json!([])).exits(0);
        assert!(seen.told().contains("connector-000 / unit: passed after"), "{}", seen.told());
        let moved = seen.text("written").contains("\u{1b}[J");
        assert!(!moved, "{env:?}: {:?}", seen.text("written"));
    }
    let no_colour = [("NO_COLOR", "1")];
    let seen = at_terminal(&bench, (1, step), (24, 80), (HOST, &no_colour), &json!([])).exits(0);
    assert!(!seen.text("written").contains("\u{1b}[3"), "{:?}", seen.text("written"));
    assert!(seen.text("written").contains("\u{1b}[J"), "it moves all the same");
}

/// Ctrl-C is typed, so that it reaches every process of the terminal, as it does for people.
#[test]
fn ctrl_c_ends_it_once_cleanly_and_twice_at_once() {
    for (times, said) in [(1, "cancelled"), (2, "interrupted")] {
        let bench = Bench::new();
        let pids = bench.place("pids");
        // It takes no notice of being asked to end.
        let step = format!(
            "      - {{ id: unit, image: x, run: \"trap '' TERM INT; echo $$ >> {}; while :; do sleep \
             0.1; done\" }}\n",
            pids.display()
        );
        let mut deeds = vec![json!(["wait", "▸ unit 1 s"]), json!(["key", "\u{3}"])];
        deeds.push(json!(["wait", "stopping; once more"]));
        if times == 2 {
            deeds.push(json!(["key", "\u{3}"]));
        }
        let deeds = Value::Array(deeds);
        std::fs::create_dir(bench.place("tmp")).unwrap();
        let folder = bench.place("tmp").display().to_string();
        let env = [("TMPDIR", folder.as_str())];
        let seen = at_terminal(&bench, (1, &step), (24, 80), (HOST, &env), &deeds).exits(130);
        assert!(seen.told().contains(said), "{}", seen.told());
        assert!(seen.told().contains("interrupted: "), "{}", seen.told());
        let pids = std::fs::read_to_string(&pids).unwrap();
        for pid in pids.lines() {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&command), "", "a process of the step lives");
        }
        let left = std::fs::read_dir(bench.place("tmp")).unwrap().count();
        assert_eq!(left, 0, "temporary folders are gone");
    }
}
