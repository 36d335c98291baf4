//! The graph of a plan or a job as SVG: steps left to right, states by colour, symbol and word.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::domain::names::StepId;
use crate::domain::plan::Plan;
use crate::domain::run::Job;
use crate::domain::time::human;

use super::layout::{Layout, Line, Pitch, Place, layout};
use super::look::{self, Look};
use super::path::critical_path;
use super::svg::{Picture, Style, escape, fitted, text_width};

const MARGIN: i32 = 16;
const NODE_HEIGHT: i32 = 46;
const PITCH: Pitch = Pitch { node: NODE_HEIGHT + 18, bend: 20 };
const LAYER_GAP: i32 = 56;
const NODE_MIN_WIDTH: i32 = 96;
const NODE_MAX_WIDTH: i32 = 240;
/// The symbol's room at the left of a node.
const SIGN_WIDTH: i32 = 30;

/// One box.
struct Node<'a> {
    id: &'a StepId,
    look: Option<Look>,
    /// The second line.
    detail: String,
    critical: bool,
}

/// What would run: a file of its own.
pub fn plan_svg(plan: &Plan) -> String {
    plan_picture(plan).finish(Style::Inside)
}

/// As [`plan_svg`], for a page that includes [`super::style::CSS`].
pub fn plan_inline(plan: &Plan) -> String {
    plan_picture(plan).finish(Style::OfPage)
}

/// What ran and how it ended: a file of its own.
pub fn job_svg(job: &Job) -> String {
    job_picture(job).finish(Style::Inside)
}

/// As [`job_svg`], for a page that includes [`super::style::CSS`].
pub fn job_inline(job: &Job) -> String {
    job_picture(job).finish(Style::OfPage)
}

fn plan_picture(plan: &Plan) -> Picture {
    let nodes = plan.steps().iter().map(|spec| {
        let detail = match spec.image.as_str() {
            "" => format!("up to {}", human(spec.timeout())),
            image => image.rsplit('/').next().unwrap_or(image).to_owned(),
        };
        let left_out = spec.left_out.as_ref().map(|_| Look::Skipped);
        let detail = left_out.map_or(detail, |look| look.word().to_owned());
        Node { id: &spec.id, look: left_out, detail, critical: false }
    });
    picture(format!("Plan of {}", plan.connector()), plan, &nodes.collect::<Vec<_>>())
}

fn job_picture(job: &Job) -> Picture {
    let critical: BTreeSet<StepId> = critical_path(job).into_iter().collect();
    let nodes = job.plan.steps().iter().map(|spec| {
        let record = job.step(&spec.id);
        let look = record.map_or(Look::Waiting, |record| Look::of_step(job, record));
        let took = record.and_then(look::took).map(human);
        let detail = match took {
            Some(took) if look == Look::Errored => format!("error · {took}"),
            Some(took) if look == Look::Tolerated => format!("tolerated · {took}"),
            Some(took) => format!("{} · {took}", look.word()),
            None => look.word().to_owned(),
        };
        let critical = critical.len() > 1 && critical.contains(&spec.id);
        Node { id: &spec.id, look: Some(look), detail, critical }
    });
    picture(format!("Steps of {}", job.connector), &job.plan, &nodes.collect::<Vec<_>>())
}

fn picture(title: String, plan: &Plan, nodes: &[Node<'_>]) -> Picture {
    let numbers: BTreeMap<&StepId, usize> =
        plan.steps().iter().enumerate().map(|(number, spec)| (&spec.id, number)).collect();
    let needs: Vec<Vec<usize>> = plan
        .steps()
        .iter()
        .map(|spec| {
            let needs: BTreeSet<usize> =
                spec.needs.iter().filter_map(|id| numbers.get(id).copied()).collect();
            needs.into_iter().collect()
        })
        .collect();
    let layout = layout(&needs, PITCH);
    let columns = columns(nodes, &layout);
    let width = columns.last().map_or(0, |(x, width)| x + width) + MARGIN;
    let height = layout.height - (PITCH.node - NODE_HEIGHT) + 2 * MARGIN;
    let mut body = String::new();
    // What is critical is drawn over the rest.
    let critical = |line: &&Line| nodes[line.from].critical && nodes[line.to].critical;
    for line in layout.lines.iter().filter(|line| !critical(line)) {
        body.push_str(&draw_line(line, &layout, &columns, ""));
    }
    for line in layout.lines.iter().filter(critical) {
        body.push_str(&draw_line(line, &layout, &columns, " critical"));
    }
    for (node, place) in nodes.iter().zip(&layout.places) {
        body.push_str(&draw_node(node, *place, columns[place.layer]));
    }
    Picture { width, height, title, description: describe(plan, nodes), body }
}

/// Left edge and width of each layer.
fn columns(nodes: &[Node<'_>], layout: &Layout) -> Vec<(i32, i32)> {
    let mut widths = vec![NODE_MIN_WIDTH; layout.layers];
    for (node, place) in nodes.iter().zip(&layout.places) {
        let text = text_width(node.id.as_str(), 14).max(text_width(&node.detail, 11));
        let width = (text + text_margin(node)).min(NODE_MAX_WIDTH);
        widths[place.layer] = widths[place.layer].max(width);
    }
    let mut x = MARGIN;
    let mut columns = Vec::with_capacity(widths.len());
    for width in widths {
        columns.push((x, width));
        x += width + LAYER_GAP;
    }
    columns
}

fn text_margin(node: &Node<'_>) -> i32 {
    if node.look.is_some() { SIGN_WIDTH + 12 } else { 24 }
}

fn middle(place: Place) -> i32 {
    place.y + MARGIN - (PITCH.node - NODE_HEIGHT) / 2
}

fn draw_line(line: &Line, layout: &Layout, columns: &[(i32, i32)], class: &str) -> String {
    let (from, to) = (layout.places[line.from], layout.places[line.to]);
    let (x, width) = columns[from.layer];
    let (mut x, mut y) = (x + width, middle(from));
    let mut path = format!("M{x} {y}");
    for bend in &line.between {
        let (left, width) = columns[bend.layer];
        let bend_y = middle(*bend);
        let half = (left - x) / 2;
        let _ = write!(path, " C{} {y} {} {bend_y} {left} {bend_y}", x + half, left - half);
        x = left + width;
        y = bend_y;
        let _ = write!(path, " H{x}");
    }
    let (end, end_y) = (columns[to.layer].0 - 7, middle(to));
    let half = (end - x) / 2;
    let _ = write!(path, " C{} {y} {} {end_y} {end} {end_y}", x + half, end - half);
    format!(
        "<path class=\"edge{class}\" d=\"{path}\"/>\n<path class=\"tip{class}\" d=\"M{} {} L{} {end_y} L{} {} Z\"/>\n",
        end - 1,
        end_y - 4,
        end + 6,
        end - 1,
        end_y + 4,
    )
}

fn draw_node(node: &Node<'_>, place: Place, (x, width): (i32, i32)) -> String {
    let middle = middle(place);
    let top = middle - NODE_HEIGHT / 2;
    let (class, word) = node.look.map_or(("", ""), |look| (look.class(), look.word()));
    let critical = if node.critical { " critical" } else { "" };
    let colon = if word.is_empty() { "" } else { ": " };
    let mut svg = format!(
        "<g class=\"node {class}{critical}\"><title>{}{colon}{word}</title>\n\
         <rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{NODE_HEIGHT}\" rx=\"8\"/>\n",
        escape(node.id.as_str()),
    );
    let text_x = x + if node.look.is_some() { SIGN_WIDTH } else { 12 };
    let room = width - text_margin(node);
    if let Some(look) = node.look {
        let _ = writeln!(
            svg,
            "<text class=\"sign\" x=\"{}\" y=\"{}\">{}</text>",
            x + SIGN_WIDTH / 2 + 1,
            middle + 5,
            look.symbol(),
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"name\" x=\"{text_x}\" y=\"{}\">{}</text>\n\
         <text class=\"small num\" x=\"{text_x}\" y=\"{}\">{}</text>\n</g>",
        middle - 3,
        escape(&fitted(node.id.as_str(), 14, room)),
        middle + 14,
        escape(&fitted(&node.detail, 11, room)),
    );
    svg
}

/// `install: passed · 12 s. unit, after install: failed · 3 s.`
fn describe(plan: &Plan, nodes: &[Node<'_>]) -> String {
    let mut words = String::new();
    for (spec, node) in plan.steps().iter().zip(nodes) {
        let needs: Vec<&str> = spec.needs.iter().map(StepId::as_str).collect();
        let after = if needs.is_empty() {
            String::new()
        } else {
            format!(", after {}", needs.join(" and "))
        };
        let critical = if node.critical { " (critical path)" } else { "" };
        let _ = write!(words, "{}{after}: {}{critical}. ", spec.id, node.detail);
    }
    words.trim_end().to_owned()
}
