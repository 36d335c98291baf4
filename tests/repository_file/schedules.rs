//! Runs that nobody asks for, and which pipelines are whose.

use checkvalve::domain::rules::PipelineTrigger;

use super::{read, refused};

const RIGHT: &str = "
components: [{ name: a, include: [a], kind: web }]
pipelines:
  - steps: [{ id: unit, image: x, run: y }]
  - { on: push, steps: [{ id: pushed, image: x, run: y }] }
  - { on: [schedule, pull_request], steps: [{ id: nightly, image: x, run: y }] }
schedules:
  - { cron: \"0 2 * * *\", select: { kind: web } }
  - { cron: \"*/30 8-18 * * mon-fri\" }
";

#[test]
fn schedules_are_read_with_what_they_select() {
    let rules = read(RIGHT).unwrap();
    let told: Vec<String> =
        rules.schedules.iter().map(|one| format!("{}: {}", one.cron, one.select)).collect();
    assert_eq!(told, ["0 2 * * *: kind web", "*/30 8-18 * * mon-fri: every connector"]);
}

#[test]
fn an_event_has_the_pipelines_that_name_it() {
    let first = |event: Option<PipelineTrigger>| -> Vec<String> {
        let pipelines = read(RIGHT).unwrap().of_event(event).pipelines;
        pipelines.iter().map(|pipeline| pipeline.steps[0].id.to_string()).collect()
    };
    assert_eq!(first(Some(PipelineTrigger::PullRequest)), ["unit", "nightly"]);
    assert_eq!(first(Some(PipelineTrigger::MergeGroup)), ["unit"]);
    assert_eq!(first(Some(PipelineTrigger::Push)), ["pushed"]);
    assert_eq!(first(Some(PipelineTrigger::Schedule)), ["nightly"]);
    // Who asks means what pull requests run, and else what runs at all.
    assert_eq!(first(None), ["unit", "nightly", "pushed"]);
}

#[test]
fn what_is_wrong_with_a_schedule_is_named_with_the_mend() {
    for (text, expected) in [
        ("schedules: [{}]", "the schedule has no `cron`"),
        ("schedules: [{ cron: 5 }]", "`cron` wants a text"),
        ("schedules: [{ cron: \"0 2 * *\" }]", "five are wanted"),
        ("schedules: [{ cron: \"0 25 * * *\" }]", "the hour can't be `25`"),
        ("schedules: [{ cron: \"0 0 31 feb *\" }]", "never comes"),
        ("schedules: [{ cron: \"0 2 * * mno\" }]", "did you mean `mon`?"),
        ("schedules: [{ cron: \"0 2 * * *\", selct: {} }]", "did you mean `select`?"),
        (
            "components: [{ name: a, include: [a], kind: web }]\nschedules: [{ cron: \"0 2 * * *\", \
             select: { kind: wed } }]",
            "did you mean `web`?",
        ),
        (
            "schedules: [{ cron: \"0 2 * * *\" }, { cron: \"0  2 * * *\" }]",
            "two schedules say the same",
        ),
        ("schedules: [{ cron: \"0 2 * * *\" }]", "no pipeline runs `on: schedule`"),
        ("pipelines: [{ on: [] }]", "the pipeline would never run"),
        ("pipelines: [{ on: [pushes] }]", "did you mean `push`?"),
    ] {
        let message = refused(text);
        assert!(message.contains(expected), "{text}\n--- gave ---\n{message}");
    }
}
