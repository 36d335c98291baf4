//! Whatever a run holds, GitHub's limits hold and Markdown stays closed.

use checkvalve::domain::annotation::{
    Annotation, Annotations, Level, NAME_MAX, Standing, TEXT_MAX,
};
use checkvalve::domain::check::{
    ACTION_DESCRIPTION_MAX, ACTION_IDENTIFIER_MAX, ACTION_LABEL_MAX, ACTIONS_MAX,
    ANNOTATION_TEXT_MAX_BYTES, ANNOTATION_TITLE_MAX, CheckAnnotation, SUMMARY_MAX_BYTES,
};
use checkvalve::domain::impact::Rule;
use checkvalve::domain::run::{Run, TestFailure, Tests};
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::render::checks::desired;
use checkvalve::render::log::{ansi_to_html, excerpt, plain_line};
use checkvalve::render::{graph, report, timeline};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::sample::{NOT_ASKED, at, ended, five, job, links, run, skipped_for, unselected, with};

/// Text with what could break out: fences, tags, controls, characters of many bytes.
pub(crate) fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("```".to_owned()),
        Just("~~~~".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\u{1b}[31m".to_owned()),
        Just("</pre><script>".to_owned()),
        Just("| a | b |".to_owned()),
        Just("<!--".to_owned()),
        Just("Error: x".to_owned()),
        Just("🦀".to_owned()),
        "[ -~]{0,40}",
        "\\PC{0,10}",
        "`{1,60}",
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// As [`nasty`], sometimes far longer than any limit.
fn long() -> impl Strategy<Value = String> {
    (nasty(), prop_oneof![Just(1_usize), Just(10), Just(1_000)])
        .prop_map(|(text, times)| text.repeat(times.min(1 + 70_000 / (text.len() + 1))))
}

fn state() -> impl Strategy<Value = StepState> {
    let outcome = prop_oneof![
        Just(Outcome::Succeeded),
        Just(Outcome::Failed),
        Just(Outcome::TimedOut),
        Just(Outcome::Errored),
        Just(Outcome::Cancelled),
    ];
    prop_oneof![
        Just(StepState::Waiting),
        (0_i64..900).prop_map(|start| StepState::Running { started_at: at(start) }),
        (0_i64..900, 0_i64..90_000, outcome).prop_map(|(start, took, o)| ended(
            start,
            start + took,
            o
        )),
        Just(skipped_for("install")),
        Just(NOT_ASKED()),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    use Rule::{Depends, Everything, Impact, Owns, Root, Unclaimed};
    proptest::sample::select(vec![Root, Owns, Impact, Depends, Unclaimed, Everything])
}

prop_compose! {
    fn any_run()(
        jobs in proptest::collection::vec(proptest::collection::vec(state(), 5), 0..6),
        texts in proptest::collection::vec(long(), 4),
        names in proptest::collection::vec("[^/\\p{Cc}]{1,60}", 12),
        failures in 0_usize..400,
        found in any_findings(),
        stop in proptest::option::of(nasty()),
        rules in proptest::collection::vec(rule(), 4),
    ) -> Run {
        let jobs = jobs.into_iter().zip(&names).enumerate().map(|(index, (states, name))| {
            let mut job = with(job(&format!("{index}{name}"), five()), states);
            for (step, text) in job.steps.iter_mut().zip(texts.iter().cycle().skip(index)) {
                step.facts.excerpt = text.as_str().into();
                step.facts.reason = Some(text.clone());
                step.facts.exit_code = Some(i64::from(text.len() % 2 == 1));
            }
            let failure = TestFailure {
                name: texts[0].clone(), message: texts[1].clone(), file: Some("unit/a.py".to_owned()), line: Some(3),
            };
            job.steps[1].facts.tests = Some(Tests {
                passed: 1, failed: 400, skipped: 0, failures: vec![failure; failures.min(10)],
            });
            let (changed, same) = (Standing::Changed, Standing::Unchanged);
            let places = [("unit/a.py", same), ("unit/b.py", changed)];
            for step in &mut job.steps {
                step.facts.annotations = Some(found.clone());
                step.facts.places = places.map(|(path, at)| (path.to_owned(), at)).into();
            }
            job.reasons[0].path.clone_from(&texts[3]);
            job.reasons[0].via.clone_from(&texts);
            job.reasons[0].rule = rules[index % rules.len()];
            if index % 2 == 1 {
                job.reasons[0].via.push(format!("{name}:7"));
            }
            job
        }).collect();
        let mut run = run(1, Trigger::PullRequest, jobs);
        let selection = run.selection.as_mut().unwrap();
        selection.unclaimed.clone_from(&texts);
        selection.removed.clone_from(&texts);
        selection.archived.clone_from(&texts);
        selection.unclaimed_selects = Some(failures % 2 == 0);
        let left_out: Vec<&str> = names.iter().map(String::as_str).collect();
        selection.unselected = Some(unselected(&left_out));
        selection.notes.clone_from(&texts);
        selection.because = Some(texts[0].clone());
        selection.complete = failures % 2 == 0;
        run.cancel = stop;
        run.actor.clone_from(&names[5]);
        run
    }
}

/// Every block that content stands in is closed at the end: a paragraph appended to the Markdown
/// is a paragraph of its own at the top level.
pub(crate) fn is_closed(markdown: &str) -> bool {
    const SENTINEL: &str = "the sentinel at the end";
    let text = format!("{markdown}\n\n{SENTINEL}\n");
    let mut depth = 0;
    let mut top = false;
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        if let Event::Start(tag) = &event {
            depth += 1;
            top = depth == 1 && matches!(tag, Tag::Paragraph);
        } else if matches!(event, Event::End(_)) {
            depth -= 1;
        } else if matches!(event, Event::Html(_) | Event::InlineHtml(_)) {
            return false;
        } else if matches!(&event, Event::Text(text) if &**text == SENTINEL) {
            return top;
        }
    }
    false
}

/// What GitHub would refuse of an annotation.
fn annotation_fault(annotation: &CheckAnnotation) -> Option<&'static str> {
    let CheckAnnotation { start_line: start, end_line: end, title, message, .. } = annotation;
    let columns = annotation.start_column.or(annotation.end_column);
    let faults = [
        (*start == 0 || end < start || i32::try_from(*end).is_err(), "lines"),
        (columns.is_some_and(|column| column == 0 || start != end), "columns"),
        (title.chars().count() > ANNOTATION_TITLE_MAX || title.contains('\n'), "title"),
        (message.is_empty() || message.len() > ANNOTATION_TEXT_MAX_BYTES, "message"),
        (message.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "controls"),
        (annotation.path != "unit/a.py" && annotation.path != "unit/b.py", "no file of the head"),
    ];
    faults.into_iter().find_map(|(wrong, fault)| wrong.then_some(fault))
}

fn any_findings() -> impl Strategy<Value = Annotations> {
    let path = prop_oneof![
        Just(None),
        Just(Some("unit/a.py".to_owned())),
        Just(Some("unit/b.py".to_owned())),
        nasty().prop_map(Some),
    ];
    let number = || proptest::option::of(prop_oneof![0_u32..5, Just(u32::MAX), Just(1 << 31)]);
    let level = proptest::sample::select(Level::ALL.to_vec());
    let one = (path, (number(), number(), number()), level, (nasty(), nasty()));
    let one = one.prop_map(|(path, (line, end_line, column), level, (rule, message))| {
        let cut = |text: String, most| text[..text.floor_char_boundary(most)].to_owned();
        let (rule, message) = (cut(rule, NAME_MAX), cut(message, TEXT_MAX));
        let path = path.map(|path| cut(path, NAME_MAX));
        Annotation { level, rule, message, path, line, end_line, column }
    });
    (proptest::collection::vec(one, 0..40), 0_u32..1_000).prop_map(|(kept, more)| {
        let mut all = Annotations { kept, ..Annotations::default() };
        all.add(Level::Error, u32::try_from(all.kept.len()).unwrap() + more);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn check_runs_keep_githubs_limits(run in any_run()) {
        let checks = desired(std::slice::from_ref(&run), &links());
        prop_assert_eq!(&checks, &desired(std::slice::from_ref(&run), &links()));
        // The same commit is the head of another pull request.
        let mut other = run.clone();
        other.pull = Some(13);
        other.base_ref = "release|`<b>*x*".to_owned();
        let shared = desired(&[run, other], &links());
        for check in checks.iter().chain(&shared) {
            prop_assert!(check.summary.len() <= SUMMARY_MAX_BYTES, "{} bytes", check.summary.len());
            prop_assert!(!check.summary.is_empty() && !check.title.trim().is_empty());
            prop_assert!(check.title.chars().count() <= 200 && !check.title.contains('\n'));
            prop_assert!(is_closed(&check.summary), "{}", check.summary);
            prop_assert!(check.details_url.starts_with("https://ci.example.com/runs/"));
            if let Some(text) = &check.text {
                prop_assert!(text.len() <= SUMMARY_MAX_BYTES, "{} bytes of text", text.len());
                prop_assert!(!text.is_empty() && is_closed(text), "{text}");
            }
            prop_assert!(check.annotations.is_empty() || check.is_completed());
            for annotation in &check.annotations {
                prop_assert_eq!(annotation_fault(annotation), None);
            }
            prop_assert!(check.actions.len() <= ACTIONS_MAX);
            for action in &check.actions {
                prop_assert!(action.label.chars().count() <= ACTION_LABEL_MAX);
                prop_assert!(action.description.chars().count() <= ACTION_DESCRIPTION_MAX);
                prop_assert!(action.identifier.chars().count() <= ACTION_IDENTIFIER_MAX);
            }
        }
    }

    #[test]
    fn pages_and_pictures_hold_no_foreign_markup(run in any_run()) {
        for job in &run.jobs {
            prop_assert!(!report::job_html(&run, job, &links(), &[]).contains("<script"));
            prop_assert!(!graph::job_svg(job).contains("<script"));
            prop_assert!(!timeline::job_svg(job).contains("<script"));
            let xml = report::junit_xml(job);
            prop_assert!(checkvalve::domain::junit::parse(xml.as_bytes(), &std::sync::Arc::default()).is_ok());
        }
        prop_assert!(!report::index_html(&run, &links()).contains("<script"));
    }

    #[test]
    fn excerpts_fit(log in long(), limit in 0_usize..5_000) {
        prop_assert!(excerpt(log.as_bytes(), limit).len() <= limit);
    }

    #[test]
    fn lines_become_balanced_html(line in nasty()) {
        let html = ansi_to_html(&line);
        prop_assert_eq!(html.matches("<span").count(), html.matches("</span>").count());
        prop_assert_eq!(html.matches('<').count(), 2 * html.matches("<span").count());
        prop_assert!(!plain_line(&line).contains(|c: char| c.is_control() && c != '\t'));
    }
}
