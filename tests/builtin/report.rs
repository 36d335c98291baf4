//! `uses: report`: whatever happens, how all others went is told last.

use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::run;
use checkvalve::domain::state::{Conclusion, Outcome};
use checkvalve::exec::host::Host;

use super::{Done, ROOT, carry_out, plan, uses};

fn step(id: &str, run: &str) -> StepSpec {
    StepSpec { run: vec![run.to_owned()], ..StepSpec::new(id.parse().unwrap()) }
}

/// With a report, as the repository file makes it.
fn reported(mut steps: Vec<StepSpec>) -> Plan {
    let needs = steps.iter().map(|step| step.id.clone()).collect();
    steps.push(StepSpec { needs, always: true, junit: None, ..uses(Builtin::Report, &[]) });
    plan(steps)
}

async fn told(steps: Vec<StepSpec>) -> Done {
    let file = format!("/{ROOT}/main.py");
    carry_out(Host::default(), &reported(steps), &[(&file, "")]).await
}

#[tokio::test]
async fn it_tells_of_all_that_failed_and_succeeds() {
    let report = "<testsuite><testcase name='test_a'/><testcase name='test_b' file='b.py' line='7'>\
                  <failure message='one is two'/></testcase></testsuite>";
    let write = format!("cat > $CHECKVALVE_OUT/junit.xml <<'E'\n{report}\nE\nexit 1");
    let unit = StepSpec { junit: Some("junit.xml".to_owned()), ..step("unit", &write) };
    let later = StepSpec { needs: vec!["unit".parse().unwrap()], ..step("later", "true") };
    let done = told(vec![step("lint", "true"), unit, later]).await;
    assert_eq!(done.outcome("report"), Outcome::Succeeded, "{}", done.reason("report"));
    let log = done.log("report");
    let expected = "passed   lint\nFAILED   unit \u{b7} 1 of 2 tests passed\n         b.py:7: test_b: one is two\n\
                    skipped  later: not run: `unit` did not succeed\n";
    assert_eq!(log, expected);
    assert!(done.step("report").facts.tests.is_none(), "the tests are others'");
    let artifacts = &done.step("report").facts.artifacts;
    assert_eq!(artifacts[0].path, "junit.xml");
}

#[tokio::test]
async fn a_job_is_not_green_by_its_report_alone() {
    let left_out =
        |id: &str| StepSpec { left_out: Some("no tests".to_owned()), ..step(id, "true") };
    let steps = vec![left_out("unit"), left_out("lint")];
    let plan = reported(steps.clone());
    assert!(plan.tests_nothing());
    let done = told(steps).await;
    assert_eq!(run::job_conclusion(&plan, &done.records), Conclusion::Failure);
    let some = reported(vec![left_out("unit"), step("lint", "true")]);
    let done = told(vec![left_out("unit"), step("lint", "true")]).await;
    assert_eq!(run::job_conclusion(&some, &done.records), Conclusion::Success);
}
