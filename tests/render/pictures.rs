//! Graphs and timelines.

use checkvalve::domain::state::StepState;
use checkvalve::render::path::critical_path;
use checkvalve::render::{graph, timeline};

use super::sample::{at, five, job, plan, rich, spec, with};

#[test]
fn the_graph_of_a_plan() {
    insta::assert_snapshot!(graph::plan_inline(&plan("source-faker", five())));
}

#[test]
fn the_graph_of_a_job() {
    insta::assert_snapshot!(graph::job_inline(&rich().jobs[1]));
}

#[test]
fn the_timeline_of_a_job() {
    insta::assert_snapshot!(timeline::job_inline(&rich().jobs[1]));
}

#[test]
fn a_file_carries_its_style_and_a_part_of_a_page_does_not() {
    let job = &rich().jobs[1];
    for (file, part) in [
        (graph::job_svg(job), graph::job_inline(job)),
        (timeline::job_svg(job), timeline::job_inline(job)),
    ] {
        assert!(file.contains("<style>") && !part.contains("<style>"));
        assert!(file.contains("prefers-color-scheme: dark"));
        assert!(file.contains("role=\"img\"") && file.contains("<title>"));
        assert!(!file.contains("style=\""), "no style attributes: policies forbid them");
    }
}

#[test]
fn names_cannot_leave_their_place() {
    let job = job("a<script>", vec![spec("<b>&\"x\"", &[])]);
    for svg in [graph::job_svg(&job), timeline::job_svg(&job)] {
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
    }
}

#[test]
fn the_critical_path_is_the_longest_chain() {
    let path = |job| critical_path(job).iter().map(ToString::to_string).collect::<Vec<_>>();
    let run = rich();
    assert_eq!(path(&run.jobs[0]), ["install"]);
    assert_eq!(path(&run.jobs[1]), ["install", "unit"]);
    assert_eq!(path(&run.jobs[2]), ["install", "unit", "build", "acceptance"]);
    assert!(path(&job("a", five())).is_empty(), "nothing ran yet");
}

#[test]
fn running_and_empty_jobs_have_pictures_too() {
    let states = vec![StepState::Running { started_at: at(10) }, StepState::Waiting];
    let running = with(job("a", vec![spec("x", &[]), spec("y", &["x"])]), states);
    for job in [running, job("a", vec![spec("only", &[])])] {
        assert!(timeline::job_svg(&job).ends_with("</svg>\n"));
        assert!(graph::job_svg(&job).ends_with("</svg>\n"));
    }
}
