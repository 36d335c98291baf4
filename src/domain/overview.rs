//! `uses: report`: a job's steps as cases, each with its failing tests: one `JUnit` file for all of
//! them, and one page that says what failed.

use super::builtin::{Builtin, Case, Report, Verdict};
use super::catalog::Finding;
use super::names::StepId;
use super::plan::Plan;
use super::run::{StepFacts, StepRecord};
use super::state::{Outcome, StepState};

/// How all steps but `own` went, in the plan's order.
pub fn of<'r>(
    plan: &Plan,
    own: &StepId,
    record: impl Fn(&StepId) -> Option<&'r StepRecord>,
) -> Report {
    let others = plan.steps().iter().filter(|spec| spec.id != *own);
    let cases = others.filter_map(|spec| Some(case(record(&spec.id)?, spec.allow_failure)));
    Report { suite: Builtin::Report.as_str(), cases: cases.collect(), note: None }
}

fn case(record: &StepRecord, allowed: bool) -> Case {
    let verdict = match &record.state {
        StepState::Skipped { reason, .. } => Verdict::Skipped(reason.to_string()),
        StepState::Waiting | StepState::Running { .. } => {
            Verdict::Skipped("it had not ended".to_owned())
        }
        StepState::Finished { outcome: Outcome::Succeeded, .. } => Verdict::Passed,
        StepState::Finished { outcome: Outcome::Cancelled, .. } => {
            Verdict::Skipped(told(record, "cancelled"))
        }
        // It counts for nothing, and is told as what it is all the same.
        StepState::Finished { outcome, .. } if allowed => {
            let how = told(record, outcome.as_str());
            Verdict::Skipped(format!("{how}; that does not count (`allow_failure`)"))
        }
        StepState::Finished { outcome: Outcome::Errored, .. } => {
            let what = told(record, "an error of ours");
            Verdict::Failed(vec![Finding::whole("", format!("infrastructure error: {what}"))])
        }
        StepState::Finished { outcome: Outcome::TimedOut, .. } => {
            Verdict::Failed(vec![Finding::whole("", told(record, "timed out"))])
        }
        StepState::Finished { outcome: Outcome::Failed, .. } => Verdict::Failed(failures(record)),
    };
    Case::new(name(record), verdict)
}

/// The step, with what is known of its tests.
fn name(record: &StepRecord) -> String {
    let StepFacts { tests, coverage, annotations, .. } = &record.facts;
    let mut parts = vec![record.id.to_string()];
    parts.extend(tests.as_ref().map(|tests| {
        let ran = tests.passed.saturating_add(tests.failed);
        format!("{} of {ran} tests passed", tests.passed)
    }));
    parts.extend(annotations.as_ref().map(super::annotation::Annotations::told));
    parts.extend(coverage.map(|coverage| format!("coverage {}", coverage.told())));
    parts.join(" · ")
}

fn told(record: &StepRecord, otherwise: &str) -> String {
    record.facts.reason.clone().unwrap_or_else(|| otherwise.to_owned())
}

/// The tests that failed, else how the step did.
fn failures(record: &StepRecord) -> Vec<Finding> {
    let tests = record.facts.tests.as_ref().filter(|tests| !tests.failures.is_empty());
    let Some(tests) = tests else {
        let code = record.facts.exit_code.filter(|code| *code != 0);
        let how =
            code.map_or_else(|| "failed".to_owned(), |code| format!("exited with code {code}"));
        return vec![Finding::whole("", told(record, &how))];
    };
    let finding = |failure: &super::run::TestFailure| Finding {
        path: failure.file.clone().unwrap_or_default(),
        line: failure.line,
        column: None,
        text: format!("{}: {}", failure.name, failure.message),
        mend: String::new(),
    };
    let mut findings: Vec<Finding> = tests.failures.iter().map(finding).collect();
    let listed = u32::try_from(findings.len()).unwrap_or(u32::MAX);
    if tests.failed > listed {
        let more = format!("and {} more that failed", tests.failed - listed);
        findings.push(Finding::whole("", more));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::pipeline::StepSpec;
    use super::super::plan::Inputs;
    use super::super::run::{TestFailure, Tests};
    use super::super::state::SkipReason;
    use super::super::time::Timestamp;
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(0);

    fn ended(id: &str, outcome: Outcome, facts: StepFacts) -> StepRecord {
        let state = StepState::Finished { started_at: AT, finished_at: AT, outcome };
        StepRecord { id: id.parse().unwrap(), state, attempt: 1, queued_at: AT, facts }
    }

    #[test]
    fn every_step_is_a_case_with_its_failing_tests() {
        let failure = TestFailure {
            name: "test_a".to_owned(),
            message: "assert 1 == 2".to_owned(),
            file: Some("a.py".to_owned()),
            line: Some(3),
        };
        let tests = Tests { passed: 4, failed: 2, skipped: 0, failures: vec![failure] };
        let reason = |why: &str| StepFacts { reason: Some(why.to_owned()), ..StepFacts::default() };
        let unit = StepFacts { tests: Some(tests), ..StepFacts::default() };
        let lint = StepFacts { exit_code: Some(2), ..StepFacts::default() };
        let skipped = StepState::Skipped {
            at: AT,
            reason: SkipReason::Needs { step: "unit".parse().unwrap() },
        };
        let records = [
            ended("build", Outcome::Succeeded, StepFacts::default()),
            ended("unit", Outcome::Failed, unit),
            ended("lint", Outcome::Failed, lint),
            ended("flaky", Outcome::Failed, StepFacts::default()),
            ended("ours", Outcome::Errored, reason("a disk is full")),
            StepRecord { state: skipped, ..ended("later", Outcome::Failed, StepFacts::default()) },
        ];
        let spec = |record: &StepRecord| StepSpec {
            allow_failure: record.id.as_str() == "flaky",
            ..StepSpec::new(record.id.clone())
        };
        let own: StepId = "report".parse().unwrap();
        let specs = records.iter().map(spec).chain([StepSpec::new(own.clone())]).collect();
        let name = "c".parse().unwrap();
        let plan = Plan::new(name, String::new(), Inputs::default(), specs).unwrap();
        let report = of(&plan, &own, |id| records.iter().find(|record| record.id == *id));
        assert_eq!(
            report.log(),
            "passed   build\n\
             FAILED   unit · 4 of 6 tests passed\n\
             \x20        a.py:3: test_a: assert 1 == 2\n\
             \x20        and 1 more that failed\n\
             FAILED   lint\n\
             \x20        exited with code 2\n\
             skipped  flaky: failed; that does not count (`allow_failure`)\n\
             FAILED   ours\n\
             \x20        infrastructure error: a disk is full\n\
             skipped  later: not run: `unit` did not succeed\n"
        );
        let read =
            super::super::junit::parse(report.junit().as_bytes(), &std::sync::Arc::default())
                .unwrap();
        assert_eq!((read.passed, read.failed, read.skipped), (1, 3, 2));
        assert_eq!(read.failures[0].file.as_deref(), Some("a.py"));
    }
}
