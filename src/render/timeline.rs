//! When each step waited, was prepared and ran, as SVG with a time axis; the critical path marked.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::domain::names::StepId;
use crate::domain::run::{Job, Segment, StepRecord};
use crate::domain::state::StepState;
use crate::domain::time::{Timestamp, human};

use super::look::{self, Look};
use super::path::{critical_path, path_took};
use super::svg::{Picture, Style, escape, fitted, text_width};

const MARGIN: i32 = 16;
const ROW: i32 = 30;
const BAR: i32 = 14;
const AXIS: i32 = 26;
const LEGEND: i32 = 26;
/// The bars' part of the picture.
const CHART: i32 = 640;
const NAMES_MIN: i32 = 90;
const NAMES_MAX: i32 = 240;
const SIGN: i32 = 24;
/// Room for the last bar's duration.
const AFTER: i32 = 110;

/// The time axis: milliseconds since the job was made, as pixels.
#[derive(Clone, Copy)]
struct Axis {
    left: i32,
    start: Timestamp,
    /// Milliseconds, at least 1.
    span: i64,
}

impl Axis {
    fn x(&self, at: Timestamp) -> i32 {
        let passed = at.as_millis().saturating_sub(self.start.as_millis()).clamp(0, self.span);
        self.left + self.pixels(passed)
    }

    fn end(&self) -> Timestamp {
        Timestamp::from_millis(self.start.as_millis() + self.span)
    }

    fn pixels(&self, millis: i64) -> i32 {
        i32::try_from(millis.saturating_mul(i64::from(CHART)) / self.span).unwrap_or(CHART)
    }
}

/// A file of its own.
pub fn job_svg(job: &Job) -> String {
    picture(job).finish(Style::Inside)
}

/// As [`job_svg`], for a page that includes [`super::style::CSS`].
pub fn job_inline(job: &Job) -> String {
    picture(job).finish(Style::OfPage)
}

fn picture(job: &Job) -> Picture {
    let path = critical_path(job);
    let critical: BTreeSet<&StepId> =
        if path.len() > 1 { path.iter().collect() } else { BTreeSet::new() };
    let widest = job.steps.iter().map(|step| text_width(step.id.as_str(), 13)).max().unwrap_or(0);
    let names = widest.clamp(NAMES_MIN, NAMES_MAX);
    let axis = axis(job, MARGIN + SIGN + names + 12);
    let rows = i32::try_from(job.steps.len()).unwrap_or(i32::MAX / ROW);
    let (width, bottom) = (axis.left + CHART + AFTER, MARGIN + AXIS + rows * ROW);
    let mut body = String::new();
    for row in (0..rows).step_by(2) {
        let y = MARGIN + AXIS + row * ROW;
        let _ = writeln!(
            body,
            "<rect class=\"band\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{ROW}\" rx=\"4\"/>",
            MARGIN / 2,
            width - MARGIN,
        );
    }
    body.push_str(&draw_axis(axis, bottom));
    for (row, step) in (0..rows).zip(&job.steps) {
        let y = MARGIN + AXIS + row * ROW;
        let row = Row { job, step, y, critical: critical.contains(&step.id) };
        body.push_str(&row.draw(axis, names));
    }
    body.push_str(&legend(axis, bottom + 18, &critical));
    Picture {
        width,
        height: bottom + LEGEND + MARGIN / 2,
        title: format!("Timeline of {}", job.connector),
        description: describe(job, &path, &critical),
        body,
    }
}

/// From the job's making to the last thing known of it; there is no clock here, so that what runs
/// reaches to the right edge.
fn axis(job: &Job, left: i32) -> Axis {
    let queued = job.steps.iter().map(|step| step.queued_at);
    let start = queued.chain([job.created_at]).min().unwrap_or(job.created_at);
    let starts = job.steps.iter().filter_map(look::started_at);
    let ends = job.steps.iter().filter_map(look::settled_at);
    let segments = job.steps.iter().flat_map(|step| &step.facts.segments);
    let last = starts.chain(ends).chain(segments.map(|segment| segment.finished_at)).max();
    let span = last.map_or(0, |last| last.as_millis() - start.as_millis()).max(1);
    let running = job.steps.iter().any(|step| matches!(step.state, StepState::Running { .. }));
    // What runs now needs some room to be seen.
    let span = if running { span + span / 4 + 1_000 } else { span };
    Axis { left, start, span }
}

fn draw_axis(axis: Axis, bottom: i32) -> String {
    let step = tick(axis.span);
    let mut svg = String::new();
    let mut at = 0;
    while at <= axis.span {
        let x = axis.left + axis.pixels(at);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/>\n\
             <text class=\"small num\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            MARGIN + AXIS - 6,
            MARGIN + AXIS - 12,
            tick_words(at),
        );
        at += step;
    }
    let _ = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{}\" y1=\"{bottom}\" x2=\"{}\" y2=\"{bottom}\"/>",
        axis.left,
        axis.left + CHART,
    );
    svg
}

/// The smallest round step that gives at most eight parts.
fn tick(span: i64) -> i64 {
    const STEPS: [i64; 19] = [
        10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
        300_000, 600_000, 900_000, 1_800_000, 3_600_000,
    ];
    let enough = STEPS.into_iter().find(|step| span / step <= 8);
    enough.unwrap_or_else(|| 3_600_000 * (span / 3_600_000 / 8 + 1))
}

fn tick_words(millis: i64) -> String {
    match (millis / 1_000, millis % 1_000) {
        (0, 0) => "0".to_owned(),
        (0, ms) => format!("{ms} ms"),
        (seconds, ms) if ms > 0 => format!("{seconds}.{} s", ms / 100),
        (seconds @ 1..=59, _) => format!("{seconds} s"),
        (seconds, _) if seconds >= 3_600 => {
            format!("{} h {:02}", seconds / 3_600, seconds / 60 % 60)
        }
        (seconds, _) if seconds % 60 == 0 => format!("{} min", seconds / 60),
        (seconds, _) => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

/// One step's line.
struct Row<'a> {
    job: &'a Job,
    step: &'a StepRecord,
    y: i32,
    critical: bool,
}

impl Row<'_> {
    fn draw(&self, axis: Axis, names: i32) -> String {
        let look = Look::of_step(self.job, self.step);
        let critical = if self.critical { " critical" } else { "" };
        let baseline = self.y + ROW / 2 + 5;
        let mut svg = format!(
            "<g class=\"row {}{critical}\"><title>{}</title>\n\
             <text class=\"sign\" x=\"{}\" y=\"{baseline}\">{}</text>\n\
             <text class=\"name\" x=\"{}\" y=\"{baseline}\">{}</text>\n",
            look.class(),
            escape(&self.words(look)),
            MARGIN + SIGN / 2 - 4,
            look.symbol(),
            MARGIN + SIGN,
            escape(&fitted(self.step.id.as_str(), 13, names)),
        );
        svg.push_str(&self.bars(axis));
        let (end, words) = match (look::started_at(self.step), look::took(self.step)) {
            (Some(started), Some(took)) => (axis.x(started.plus(took)), human(took)),
            (Some(_), None) => (axis.left + CHART, look.word().to_owned()),
            (None, _) => {
                (axis.x(self.settled().unwrap_or(self.step.queued_at)), look.word().to_owned())
            }
        };
        let _ = writeln!(
            svg,
            "<text class=\"small num\" x=\"{}\" y=\"{}\">{}</text>\n</g>",
            end + 6,
            baseline - 1,
            escape(&words),
        );
        svg
    }

    fn settled(&self) -> Option<Timestamp> {
        look::settled_at(self.step)
    }

    fn bars(&self, axis: Axis) -> String {
        let mut svg = String::new();
        let queued = axis.x(self.step.queued_at);
        let started = look::started_at(self.step);
        let waited_to = axis.x(started.or(self.settled()).unwrap_or(self.step.queued_at));
        if waited_to > queued + 1 {
            let y = self.y + ROW / 2;
            let _ = writeln!(
                svg,
                "<path class=\"queue\" d=\"M{queued} {y} H{waited_to}\"/>\
                 <path class=\"queue\" d=\"M{queued} {} V{}\"/>",
                y - 4,
                y + 4,
            );
        }
        let Some(started) = started else { return svg };
        let Some(finished) = self.settled() else {
            return svg + &self.bar(axis, "open", started, axis.end());
        };
        let known: Vec<&Segment> = self.step.facts.segments.iter().collect();
        if known.is_empty() {
            svg.push_str(&self.bar(axis, "work", started, finished));
        } else {
            // The whole in the lighter tone; what is not the run itself shows through.
            svg.push_str(&self.bar(axis, "prepare", started, finished));
            for segment in known.into_iter().filter(|segment| is_work(segment)) {
                svg.push_str(&self.bar(axis, "work", segment.started_at, segment.finished_at));
            }
        }
        if self.critical {
            let (x, to) = (axis.x(started), axis.x(finished));
            let _ = writeln!(
                svg,
                "<rect class=\"mark\" x=\"{x}\" y=\"{}\" width=\"{}\" height=\"3\"/>",
                self.y + ROW / 2 + BAR / 2 + 2,
                (to - x).max(2),
            );
        }
        svg
    }

    fn bar(&self, axis: Axis, class: &str, from: Timestamp, to: Timestamp) -> String {
        let x = axis.x(from);
        format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{}\" height=\"{BAR}\" rx=\"2\"/>\n",
            self.y + (ROW - BAR) / 2,
            (axis.x(to) - x).max(2),
        )
    }

    /// `unit: failed; waited 1.0 s; pull 2.0 s; run 3.0 s`
    fn words(&self, look: Look) -> String {
        let mut words = format!("{}: {}", self.step.id, look.word());
        if let Some(started) = look::started_at(self.step) {
            let _ = write!(words, "; waited {}", human(started.since(self.step.queued_at)));
        }
        for segment in &self.step.facts.segments {
            let took = human(segment.finished_at.since(segment.started_at));
            let _ = write!(words, "; {} {took}", segment.name);
        }
        if let Some(took) = look::took(self.step) {
            let _ = write!(words, "; {} in all", human(took));
        }
        words
    }
}

fn is_work(segment: &Segment) -> bool {
    matches!(segment.name.as_str(), "run" | "running")
}

fn legend(axis: Axis, y: i32, critical: &BTreeSet<&StepId>) -> String {
    let mut svg = String::from("<g class=\"is-waiting\" aria-hidden=\"true\">\n");
    let mut x = axis.left;
    let mut entry = |shape: String, words: &str| {
        let _ = writeln!(
            svg,
            "{shape}<text class=\"small\" x=\"{}\" y=\"{}\">{words}</text>",
            x + 30,
            y + 4
        );
        x += 30 + text_width(words, 11) + 24;
        x
    };
    let mut at = axis.left;
    at = entry(format!("<path class=\"queue\" d=\"M{at} {y} H{}\"/>", at + 22), "waiting");
    at = entry(small_bar("prepare", at, y), "pull, create, collect");
    at = entry(small_bar("work", at, y), "run");
    if !critical.is_empty() {
        let mark =
            format!("<rect class=\"mark\" x=\"{at}\" y=\"{}\" width=\"22\" height=\"3\"/>", y - 1);
        entry(mark, "critical path");
    }
    svg + "</g>\n"
}

fn small_bar(class: &str, x: i32, y: i32) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"22\" height=\"8\" rx=\"2\"/>",
        y - 4
    )
}

fn describe(job: &Job, path: &[StepId], critical: &BTreeSet<&StepId>) -> String {
    let mut words: Vec<String> = job
        .steps
        .iter()
        .map(|step| Row { job, step, y: 0, critical: false }.words(Look::of_step(job, step)))
        .collect();
    if !critical.is_empty() {
        let names: Vec<&str> = path.iter().map(StepId::as_str).collect();
        let took = human(path_took(job, path));
        words.push(format!("Critical path: {}, {took}", names.join(", ")));
    }
    words.join(". ")
}
