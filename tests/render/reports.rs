//! Reports: what a run leaves for machines and for people.

use checkvalve::domain::check::ShownCheck;
use checkvalve::domain::junit;
use checkvalve::domain::run::Run;
use checkvalve::domain::trigger::Trigger;
use checkvalve::render::api::{self, CheckRunIds};
use checkvalve::render::report::{
    index_html, job_html, job_json, junit_xml, plan_hash, replay_json, run_json,
};

use super::sample::{LOG, five, links, plan, rich, unplanned};

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn report_json() {
    let run = rich();
    insta::assert_snapshot!(pretty(&job_json(&run, &run.jobs[1], &links())));
}

#[test]
fn report_json_has_every_promised_name() {
    let run = rich();
    let report = job_json(&run, &run.jobs[1], &links());
    for name in "connector_technical_name connector_version run_timestamp run_duration success failed_steps \
                 successful_steps skipped_steps pipeline_start_timestamp pipeline_end_timestamp pipeline_duration \
                 git_branch git_revision ci_context html_report_url schema_version run pull_request reasons \
                 critical_path steps"
        .split_whitespace()
    {
        assert!(report.get(name).is_some(), "{name}");
    }
    let step = &report["steps"][1];
    for name in "id outcome reason exit_code attempt queued_at started_at finished_at duration cache image log tests \
                 annotations artifacts"
        .split_whitespace()
    {
        assert!(step.get(name).is_some(), "{name}");
    }
}

#[test]
fn the_api_of_a_run() {
    let run = rich();
    let checks = CheckRunIds::from([("source-faker / unit".to_owned(), 4711)]);
    let json = serde_json::to_value(api::run(&run, &links(), &checks)).unwrap();
    assert_eq!(json["connectors"][1]["steps"][1]["check_run_id"], 4711);
    insta::assert_snapshot!(pretty(&json["connectors"][1]["steps"][1]));
    let list = serde_json::to_value(api::listed(&run, &links())).unwrap();
    assert!(list.get("connectors").is_none());
    insta::assert_snapshot!(pretty(&list), @r#"
    {
      "base_sha": "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
      "concluded_at": "2026-09-21T14:14:00.100Z",
      "conclusion": "failure",
      "created_at": "2026-09-21T14:13:20.000Z",
      "head_sha": "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f",
      "id": "run_01M3250V000000000000000001",
      "pull_request": 12,
      "repository": "acme/connectors",
      "started_at": "2026-09-21T14:13:20.200Z",
      "state": "concluded",
      "superseded_by": null,
      "trigger": "pull_request",
      "trust": {
        "because": "Who wrote and who pushed this commit may write to the repository.",
        "state": "trusted"
      },
      "url": "https://ci.example.com/runs/run_01M3250V000000000000000001"
    }
    "#);
    assert_eq!(run_json(&run, &links())["connectors"].as_array().unwrap().len(), 3);
}

#[test]
fn junit_xml_reads_back() {
    let xml = junit_xml(&rich().jobs[1]);
    insta::assert_snapshot!(xml);
    let tests = junit::parse(xml.as_bytes(), &std::sync::Arc::default()).unwrap();
    // five steps (two passed, one failed, two not run) and the three tests that failed
    assert_eq!((tests.passed, tests.failed, tests.skipped), (2, 4, 2));
}

#[test]
fn the_html_report() {
    let run = rich();
    let html = job_html(&run, &run.jobs[1], &links(), &[("unit".parse().unwrap(), LOG.into())]);
    let (_, body) = html.split_once("</style>").unwrap();
    insta::assert_snapshot!(body);
    for foreign in ["<script", "http-equiv=\"refresh\"", "src=\"http", "@import", "url("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}

#[test]
fn content_cannot_leave_the_report() {
    let mut run = rich();
    let evil = "</pre></details><script>alert(1)</script>";
    run.title = evil.into();
    run.jobs[1].steps[1].facts.excerpt = evil.into();
    run.jobs[1].steps[1].facts.reason = Some(evil.into());
    run.jobs[1].reasons[0].path = evil.into();
    let html = job_html(&run, &run.jobs[1], &links(), &[("lint".parse().unwrap(), evil.into())]);
    assert!(!html.contains("<script") && !index_html(&run, &links()).contains("<script"));
}

#[test]
fn the_index_of_a_run() {
    let html = index_html(&rich(), &links());
    let (_, body) = html.split_once("</style>").unwrap();
    insta::assert_snapshot!(body);
}

#[test]
fn a_replay_holds_the_plans_and_their_hash() {
    let run = rich();
    let replay = replay_json(&run);
    let plans = replay["plans"].as_array().unwrap();
    let read: Vec<checkvalve::domain::plan::Plan> =
        plans.iter().map(|entry| serde_json::from_value(entry["plan"].clone()).unwrap()).collect();
    assert_eq!(replay["plan_hash"], plan_hash(read.iter()));
    assert_eq!(replay["plan_hash"], plan_hash(read.iter().rev()), "order does not matter");
    assert_ne!(plan_hash(read.iter()), plan_hash([plan("a", five())].iter()));
    assert_eq!(replay["event"]["trigger"], "pull_request");
}

#[test]
fn a_runs_check_runs_are_its_own_whatever_they_are_called() {
    let old = unplanned(1, Trigger::PullRequest);
    let new = unplanned(2, Trigger::PullRequest);
    let other = Run { pull: Some(13), ..unplanned(3, Trigger::PullRequest) };
    let shown = [
        (1, "source-a / unit", &old),
        (2, "source-a / build", &old),
        (3, "source-a / lint", &old),
        (4, "source-a / build (→ release)", &other),
        (5, "source-a / unit", &new),
        (6, "source-a", &new),
        (7, "checkvalve", &new),
    ];
    let shown = shown.map(|(github_id, name, run)| ShownCheck {
        name: name.to_owned(),
        github_id,
        occasion: run.id.to_string(),
        pull: run.pull,
    });
    let of = |run: &Run, step: &str| {
        api::check_run_ids(run, &shown).get(&format!("source-a / {step}")).copied()
    };
    let all = |run: &Run| ["unit", "build", "lint"].map(|step| of(run, step));
    assert_eq!(all(&old), [Some(1), Some(2), Some(3)], "not those of the run after it");
    assert_eq!(all(&new), [Some(5), None, None], "what it has not run, it does not show");
    assert_eq!(all(&other), [Some(5), Some(4), Some(3)], "shared, or named after its base");
}
