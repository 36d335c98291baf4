//! Why these connectors, and why not the others, as the check says it.

use checkvalve::domain::check::SUMMARY_MAX_BYTES;
use checkvalve::domain::impact::{Reason, Rule};
use checkvalve::domain::run::{Job, Run};
use checkvalve::domain::state::Outcome;
use checkvalve::domain::trigger::Trigger;
use checkvalve::render::checks::desired;

use super::sample::{ended, job, links, rich, run, spec, unselected, with};
use pulldown_cmark::{Event, Options, Parser, Tag};

fn reason(path: &str, rule: Rule, via: &[&str]) -> Reason {
    let via = via.iter().map(|one| (*one).to_owned()).collect();
    Reason { path: path.to_owned(), rule, via }
}

fn passed(connector: &str, reasons: Vec<Reason>) -> Job {
    let job = job(connector, vec![spec("unit", &[])]);
    Job { reasons, ..with(job, vec![ended(10, 14, Outcome::Succeeded)]) }
}

fn summary(run: Run) -> String {
    desired(&[run], &links()).remove(0).summary
}

/// The summary from its reasons on.
fn why(run: Run) -> String {
    let summary = summary(run);
    summary[summary.find("**Why these connectors**").unwrap()..].to_owned()
}

#[test]
fn a_reviewer_reads_the_chain_from_the_file_to_the_connector() {
    let edges = |own| {
        let path = "go/common/x.go";
        vec![
            reason(path, Rule::Depends, &["materialize-boilerplate/m.go:12", own]),
            reason("go.mod", Rule::Impact, &["go.{mod,sum}"]),
        ]
    };
    let jobs = vec![
        passed("materialize-mysql", edges("materialize-mysql/main.go:7")),
        passed("materialize-postgres", edges("materialize-postgres/main.go:9")),
        passed("source-faker", vec![reason("docs/sources/faker.md", Rule::Owns, &[])]),
        passed("source-odd", vec![reason("shared/x.py", Rule::Impact, &["shared/**"])]),
        passed("source-named", vec![]),
    ];
    let mut run = run(1, Trigger::PullRequest, jobs);
    let selection = run.selection.as_mut().unwrap();
    selection.origin = "preset airbyte, recognised at 1f1f1f1f1f1f".to_owned();
    selection.unclaimed = vec!["Makefile".to_owned()];
    selection.unclaimed_selects = Some(true);
    selection.removed = vec!["source-gone".to_owned()];
    selection.archived = vec!["source-old".to_owned()];
    selection.notes = vec!["The change also changes which connectors are selected.".to_owned()];
    selection.unselected = Some(unselected(&["source-a", "source-b", "source-gone", "source-old"]));
    insta::assert_snapshot!(why(run));
}

#[test]
fn hundreds_of_connectors_with_one_reason_are_one_line() {
    let of = |n: usize| {
        let own = format!("source-{n:03}/main.py:{n}");
        passed(&format!("source-{n:03}"), vec![reason("cdk/http.py", Rule::Depends, &[&own])])
    };
    let run = run(1, Trigger::PullRequest, (0..600).map(of).collect());
    let why = why(run);
    let line = why.lines().find(|line| line.starts_with("- ")).unwrap();
    assert!(
        line.starts_with(
            "- **600 connectors**: `cdk/http.py` → imported by each of them, as at \
             `source-000/main.py:0`: source-000, source-001, "
        ),
        "{line}"
    );
    assert!(line.ends_with("source-014 and 585 more"), "{line}");
}

#[test]
fn thousands_of_files_and_hundreds_of_connectors_keep_within_the_limit_and_the_rest_is_counted() {
    let of = |n: usize| {
        let path = format!("connectors/source-{n:03}/{}/main.py", "deep".repeat(300));
        let reasons = vec![reason(&path, Rule::Root, &[]); 20];
        passed(&format!("source-with-a-long-name-{n:03}"), reasons)
    };
    let mut run = run(1, Trigger::PullRequest, (0..600).map(of).collect());
    let selection = run.selection.as_mut().unwrap();
    selection.unclaimed = (0..3_000).map(|n| format!("lost/{n}/{}", "x".repeat(900))).collect();
    selection.unclaimed_selects = Some(false);
    selection.removed = (0..400).map(|n| format!("source-gone-{n}")).collect();
    selection.archived = (0..400).map(|n| format!("source-kept-{n}")).collect();
    let summary = summary(run);
    assert!(summary.len() <= SUMMARY_MAX_BYTES, "{} bytes", summary.len());
    for said in [
        "19 more reasons, or more than that\n",
        "- … and 5",
        "Belonging to no connector (3000), and selecting nothing: `lost/0/xxx",
        "Removed (400), so not run: `source-gone-0`, ",
        "Archived (400), so not run: ",
        " and 385 more",
        "- Configuration: ",
    ] {
        assert!(summary.contains(said), "{said:?} in {summary}");
    }
}

#[test]
fn names_that_would_be_markup_are_text() {
    let path = "a`b|<img src=x>@everyone\n# [x](https://evil.example)";
    let twins = vec![reason(path, Rule::Depends, &["<b>`x`</b>/m.py:3"])];
    let jobs = vec![passed("source-<i>&@me", twins.clone()), passed("source-[x](y)", twins)];
    let mut run = run(1, Trigger::PullRequest, jobs);
    let selection = run.selection.as_mut().unwrap();
    selection.removed = vec![path.to_owned()];
    selection.origin = path.to_owned();
    selection.notes = vec![format!("note `{path}` and `"), path.to_owned()];
    let summary = summary(run);
    let foreign = |event: &Event<'_>| {
        if let Event::Start(Tag::Link { dest_url, .. }) = event {
            return !dest_url.starts_with("https://ci.example.com/");
        }
        matches!(event, Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::Heading { .. }))
    };
    assert_eq!(Parser::new_ext(&summary, Options::all()).find(foreign), None);
}

#[test]
fn the_way_to_the_answer_is_linked() {
    let summary = summary(rich());
    let run = rich().id;
    assert!(
        summary.contains(&format!(
            "- 2 connectors are not selected: [why not?](https://ci.example.com/runs/{run}#why-not)"
        )),
        "{summary}"
    );
    assert!(!why(run_without()).contains("not selected"));
}

fn run_without() -> Run {
    run(1, Trigger::PullRequest, vec![passed("a", vec![reason("a/x", Rule::Root, &[])])])
}
