//! The picture, whatever the size of the terminal; and nothing of what steps print in control of it.

use super::board::Size;
use super::*;
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Inputs;
use crate::domain::state::{Outcome, StepState};
use crate::domain::time::Timestamp;

const LOOK: Look = Look { paint: Paint(false), spinner: "*" };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn plan(name: &str, steps: &[&str]) -> Plan {
    let steps = steps.iter().map(|id| StepSpec::new(id.parse().unwrap())).collect();
    Plan::new(name.parse().unwrap(), name.to_owned(), Inputs::default(), steps).unwrap()
}

fn record(id: &str, state: StepState) -> StepRecord {
    let facts = crate::domain::run::StepFacts::default();
    StepRecord { id: id.parse().unwrap(), state, attempt: 1, queued_at: at(0), facts }
}

fn finished(outcome: Outcome) -> StepState {
    StepState::Finished { started_at: at(0), finished_at: at(1), outcome }
}

fn lines(board: &Board, rows: usize, columns: usize) -> String {
    board.lines(at(75), Size { rows, columns }, LOOK).join("\n")
}

#[test]
fn each_running_connector_is_shown_with_its_steps_and_the_rest_is_counted() {
    let mut board = Board::new(5, at(0));
    let plan = plan("source-a", &["install", "unit", "lint", "build"]);
    board.connector(&plan, at(60));
    let name = plan.connector();
    board.step(name, &record("install", finished(Outcome::Succeeded)));
    board.step(name, &record("lint", finished(Outcome::Failed)));
    board.step(name, &record("unit", StepState::Running { started_at: at(63) }));
    board.done(&"source-b".parse().unwrap(), Conclusion::Failure);
    board.done(&"source-c".parse().unwrap(), Conclusion::Cancelled);
    insta::assert_snapshot!(lines(&board, 24, 80), @r"
    * source-a 15 s · ✓ install ▸ unit 12 s ✗ lint ○ build
    1 min 15 s · 2 of 5 connectors done · 1 failed · 1 cancelled · 1 running · 2 w…
    ");
    // What runs is more than what waits.
    insta::assert_snapshot!(lines(&board, 24, 45), @r"
    * source-a 15 s · ▸ unit 12 s · 2/4
    1 min 15 s · 2 of 5 connectors done · 1 fai…
    ");
    board.stopping = true;
    assert!(lines(&board, 24, 80).contains("\nstopping (Ctrl-C: at once) · 1 min 15 s"));
}

#[test]
fn no_terminal_is_too_small_and_no_line_wraps() {
    let mut board = Board::new(300, at(0));
    for n in 0..40 {
        board.connector(&plan(&format!("source-数据-{n}"), &["install", "unit"]), at(0));
    }
    for rows in [1, 2, 3, 5, 10, 24, 60, 500] {
        for columns in [1, 2, 8, 20, 40, 80, 400] {
            let shown = board.lines(at(75), Size { rows, columns }, LOOK);
            assert!(shown.len() <= rows.max(2).saturating_sub(1).max(1), "{rows}×{columns}");
            for line in shown {
                let width = console::measure_text_width(&line);
                assert!(width < columns.max(2), "{columns}: {line}");
            }
        }
    }
    let shown = lines(&board, 24, 80);
    assert_eq!(shown.lines().count(), 13);
    assert!(shown.contains("\n  … and 29 more\n1 min 15 s · 0 of 300 connectors done"), "{shown}");
}

#[test]
fn what_steps_print_does_not_control_the_terminal() {
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31mred\u{202e}\rlast\u{8}";
    let mut step = record("unit", finished(Outcome::Failed));
    step.facts.reason = Some(format!("a\n{hostile}"));
    step.facts.excerpt = format!("first\n{hostile}\n").into();
    step.facts.tests = Some(crate::domain::run::Tests {
        failed: 1,
        failures: vec![crate::domain::run::TestFailure {
            name: hostile.to_owned(),
            message: hostile.to_owned(),
            file: None,
            line: None,
        }],
        ..Default::default()
    });
    let name = "source-a".parse().unwrap();
    let text = failure(&name, &step) + &described(&step);
    let controls = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(controls), "{text:?}");
    assert!(text.contains("| last"), "{text}");
    let line = events::line(1, at(0), events::step(&name, &step));
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    let read: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["tests"]["failures"][0]["name"], hostile);
}

#[test]
fn characters_of_a_log_are_told_whole() {
    let (name, step) = ("source-a".parse().unwrap(), "unit".parse().unwrap());
    let mut held = Held::default();
    let of = (&name, &step);
    assert_eq!(held.take(of, 1, 0, b"a\xc3"), Some((0, "a".to_owned())));
    assert_eq!(held.take(of, 1, 2, b"\xa9b"), Some((1, "éb".to_owned())));
    assert_eq!(held.take(of, 1, 4, b"\xe2"), None);
    assert_eq!(held.rest(&name, &step), Some((1, 4, "\u{fffd}".to_owned())));
    assert_eq!(held.rest(&name, &step), None);
}
