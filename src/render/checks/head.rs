//! The summary of `checkvalve`: connectors × steps, why these, what took longest, what was left
//! aside, where the configuration came from. Each part has its own limit; together they stay
//! below GitHub's.

use std::fmt::Write as _;

use crate::domain::links::Links;
use crate::domain::parties::{Parties, Party, Whose};
use crate::domain::run::{Job, Problem, ProblemKind, Run, Selection};
use crate::domain::state::Conclusion;
use crate::domain::time::human;
use crate::domain::verdict::HeadVerdict;

use super::board::label;
use super::{showing, title};
use crate::render::grid::{Cell, Grid, Row};
use crate::render::look::{self, Look};
use crate::render::markdown::{closed, code, lines, link, one_line, prose, text};
use crate::render::path::{critical_path, path_took};
use crate::render::why::{self, Member, Word};

/// Bytes of each part; a problem stands in the place of the table. Their sum, with [`showing::MAX`], is
/// below [`crate::domain::check::SUMMARY_MAX_BYTES`].
const PROBLEM_MAX: usize = 24_000;
const AWAITED_MAX: usize = 1_500;
const TABLE_MAX: usize = 29_000;
const PATHS_MAX: usize = 3_000;
const REASONS_MAX: usize = 11_500;
const CHANGE_MAX: usize = 9_000;
const RUNS_MAX: usize = 4_000;

/// More columns than this don't fit on GitHub's page: then a row lists its steps.
const COLUMNS_MAX: usize = 8;

/// Lines of a list before it is counted instead.
const NAMED: usize = 15;

/// Bytes of what is said of all who share a commit together, and how many of them have their part.
const PARTIES_MAX: usize = 54_000;
const PARTIES: usize = 5;

/// The same of each that waits without counting, and of how many of those.
const ASIDE_MAX: usize = 3_500;
const ASIDE: usize = 3;

pub(super) fn summary(runs: &[Run], newest: &Run, parties: &Parties<'_>, links: &Links) -> String {
    let mut summary = match (parties.judged.as_slice(), parties.aside.as_slice()) {
        ([one], []) => part(one.newest, &one.verdict, links),
        _ => sections(parties, links),
    };
    summary.push_str(&runs_of_head(runs, links));
    summary.push_str(&footer(newest, links));
    summary
}

/// One for each of those who share the commit; those that do not count come last, and never take the
/// room of those that do.
fn sections(parties: &Parties<'_>, links: &Links) -> String {
    let Parties { judged, aside } = parties;
    let of_those = if aside.is_empty() { "" } else { " of those that count" };
    let mut sections = format!(
        "**{} share this commit,** and so its check runs: this one says the worst of them{of_those}.\n\n",
        judged.len() + aside.len()
    );
    let room = PARTIES_MAX - aside.len().min(ASIDE) * ASIDE_MAX;
    let share = room / judged.len().clamp(1, PARTIES) - 200;
    for (nth, party) in judged.iter().enumerate() {
        let title = one_line(&title::of_head(&party.verdict, party.newest), 200);
        let label = text(&label(judged, nth));
        let _ = writeln!(sections, "## {} → {label}: {}\n", who(party, links), text(&title));
        if nth < PARTIES {
            sections.push_str(&part_within(party, share, links));
        }
    }
    sections.truncate(sections.floor_char_boundary(room + 3_000));
    for party in aside.iter().take(ASIDE) {
        let base = text(&one_line(party.base(), 100));
        let _ = writeln!(
            sections,
            "## {} → {base}: waits for an approval\n\nIt does not count here: others stand for this \
             commit, and what comes of them says nothing of it, nor does it say anything of them.\n",
            who(party, links)
        );
        sections.push_str(&part_within(party, ASIDE_MAX - 600, links));
    }
    if aside.len() > ASIDE {
        let more = aside.len() - ASIDE;
        let _ = writeln!(sections, "{more} more wait for an approval, and do not count either.\n");
    }
    sections
}

fn who(party: &Party<'_>, links: &Links) -> String {
    match &party.whose {
        Whose::Pull(number) => {
            let name = &party.newest.repository.name;
            link(&format!("Pull request {number}"), &links.pull(name, *number))
        }
        Whose::Group(branch) => format!("Merge group {}", code(&one_line(branch, 100))),
    }
}

fn part_within(party: &Party<'_>, share: usize, links: &Links) -> String {
    let part = part(party.newest, &party.verdict, links);
    if part.len() <= share { part } else { closed(&part, share) }
}

/// How the commit stands for one of those who share it.
fn part(newest: &Run, verdict: &HeadVerdict<'_>, links: &Links) -> String {
    let own = verdict.own.unwrap_or(newest);
    let mut summary = String::new();
    if let Some(problem) = &own.problem {
        summary.push_str(&problem_text(problem, own, links));
    }
    let waits = own.trust.is_guarded();
    let showing = own.selection.as_ref().and_then(|selection| selection.showing.as_ref());
    if let Some(showing) = showing.filter(|_| waits) {
        summary.push_str(&showing::shown(own, showing, links));
    }
    summary.push_str(&lead(newest, verdict));
    if let Some(selection) = own.selection.as_ref().filter(|selection| !selection.complete) {
        let because = selection.because.as_deref().unwrap_or("the change set could not be known");
        let because = one_line(because, 1_000);
        let _ = writeln!(summary, "**Every connector is selected:** {}\n", text(&because));
    }
    if !verdict.standings.is_empty() {
        summary.push_str(&table(&Grid::of_standings(&verdict.standings), links));
        summary.push_str(&paths(own));
        summary.push_str(&reasons(own));
    }
    if let Some(selection) = &own.selection {
        summary.push_str(&change(own, selection, links));
    }
    summary
}

/// The first sentence where the table tells nothing, or not why.
fn lead(newest: &Run, verdict: &HeadVerdict<'_>) -> String {
    let own = verdict.own.unwrap_or(newest);
    match verdict.conclusion {
        None => awaited([newest, own]),
        Some(Conclusion::Cancelled) => {
            let run = title::cancelled_run(verdict).unwrap_or(newest);
            let why = title::stop_in_full(run, None);
            why.map(|why| format!("{}\n\n", text(&one_line(&why, 1_000)))).unwrap_or_default()
        }
        Some(Conclusion::Success) if own.jobs.is_empty() => {
            match own.selection.as_ref().map(|selection| &selection.without_pipeline) {
                Some(names) if !names.is_empty() => {
                    "No step is run: what the change affects has no pipeline in the repository \
                     file.\n\n"
                }
                Some(_) | None => "The change affects no connector, so no step is run.\n\n",
            }
            .to_owned()
        }
        Some(_) => String::new(),
    }
}

/// What nothing can go on without, and will come by itself.
fn awaited(runs: [&Run; 2]) -> String {
    let of_jobs = |run: &Run| run.jobs.iter().find_map(|job| job.awaits.clone());
    let awaits = runs.into_iter().find_map(|run| run.awaits.clone().or_else(|| of_jobs(run)));
    awaits.map(|awaits| awaited_words(&awaits)).unwrap_or_default()
}

/// That it is waited for, and for how long.
pub(super) fn awaited_words(awaits: &str) -> String {
    format!(
        "**Waits, and goes on by itself:** {}. It is tried again and again, for up to a day.\n\n",
        text(&one_line(awaits, 1_000))
    )
}

fn problem_text(problem: &Problem, run: &Run, links: &Links) -> String {
    let mut shown = String::new();
    if let Some((file, line)) = problem.place.as_ref().filter(|(file, _)| file.len() < 1_000) {
        let url = links.github_file(&run.repository.name, &run.head_sha, file);
        let _ = writeln!(shown, "{}\n", link(&format!("{file}:{line}"), &format!("{url}#L{line}")));
    }
    let max = match problem.kind {
        ProblemKind::Configuration | ProblemKind::Infrastructure => PROBLEM_MAX - 6_000,
        // The table stands beside it.
        ProblemKind::NotTrusted => AWAITED_MAX,
    };
    shown.push_str(&closed(&problem.text, max));
    shown
}

/// What went wrong first, then what runs, then the rest, each by name.
fn table(grid: &Grid<'_>, links: &Links) -> String {
    let urgency = |row: &&Row<'_>| {
        let look = row.look();
        let settled = !matches!(look, Look::Running | Look::Cancelled);
        (!look.is_bad(), settled)
    };
    let mut rows: Vec<&Row<'_>> = grid.rows.iter().collect();
    rows.sort_by_key(urgency);
    let wide = grid.columns.len() > COLUMNS_MAX;
    let mut table = String::from("| Connector |");
    let mut rule = String::from("| :-- |");
    if wide {
        table.push_str(" Steps |");
        rule.push_str(" :-- |");
    } else {
        for column in &grid.columns {
            let _ = write!(table, " {} |", text(column.as_str()));
            rule.push_str(" :-- |");
        }
    }
    let _ = writeln!(table, " Time |\n{rule} --: |");
    let mut left = rows.len();
    for row in rows {
        let line = if wide { wide_row(row, links) } else { narrow_row(row, grid, links) };
        if table.len() + line.len() > TABLE_MAX - 200 {
            break;
        }
        table.push_str(&line);
        left -= 1;
    }
    table.push('\n');
    if left > 0 {
        let _ = writeln!(table, "… and {left} more connectors: the run's page shows all.\n");
    }
    table
}

fn name(row: &Row<'_>, links: &Links) -> String {
    link(row.job.connector.as_str(), &links.job(row.run.id, &row.job.connector))
}

fn took(row: &Row<'_>) -> String {
    row.took().map(human).unwrap_or_default()
}

fn narrow_row(row: &Row<'_>, grid: &Grid<'_>, links: &Links) -> String {
    let mut line = format!("| {} |", name(row, links));
    for column in &grid.columns {
        let shown = row.cell(column).map(|cell| cell_text(cell, links)).unwrap_or_default();
        let _ = write!(line, " {shown} |");
    }
    let _ = writeln!(line, " {} |", took(row));
    line
}

fn wide_row(row: &Row<'_>, links: &Links) -> String {
    let cells = row.cells.iter();
    let cells =
        cells.map(|cell| format!("{} {}", text(cell.step.id.as_str()), cell_text(cell, links)));
    let cells: Vec<String> = cells.collect();
    format!("| {} | {} | {} |\n", name(row, links), cells.join(" · "), took(row))
}

/// Symbol and duration; only what went wrong is linked, since addresses take most of the room.
fn cell_text(cell: &Cell<'_>, links: &Links) -> String {
    let words = cell.took.map_or_else(|| cell.look.word().to_owned(), human);
    if cell.look.is_bad() {
        let url = links.step(cell.run.id, &cell.job.connector, &cell.step.id);
        format!("{} {}", cell.look.emoji(), link(&words, &url))
    } else if matches!(cell.look, Look::Passed | Look::Tolerated) {
        format!("{} {words}", cell.look.emoji())
    } else {
        format!("{} {}", cell.look.emoji(), cell.look.word())
    }
}

/// The critical paths of the slowest connectors.
fn paths(own: &Run) -> String {
    let mut jobs: Vec<(&Job, Vec<_>)> = own
        .jobs
        .iter()
        .map(|job| (job, critical_path(job)))
        .filter(|(_, path)| path.len() > 1)
        .collect();
    jobs.sort_by_key(|(job, path)| std::cmp::Reverse(path_took(job, path)));
    jobs.truncate(3);
    let jobs: Vec<String> = jobs
        .iter()
        .map(|(job, path)| {
            let steps: Vec<String> = path.iter().map(|step| code(step.as_str())).collect();
            let took = human(path_took(job, path));
            format!("- {}: {} · {took}", text(job.connector.as_str()), steps.join(" → "))
        })
        .collect();
    section("Critical path", jobs, PATHS_MAX)
}

fn section(title: &str, items: Vec<String>, max: usize) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items = lines(items.into_iter(), max - title.len() - 16);
    format!("**{title}**\n\n{items}\n")
}

/// Why each connector: one line for all that have the same shortest chain.
fn reasons(own: &Run) -> String {
    let jobs = own.jobs.iter().map(|job| (job.connector.as_str(), job.reasons.as_slice()));
    let items = why::groups(jobs).into_iter().map(|group| match group.members.as_slice() {
        [one] => format!("- {}: {}{}", text(one.name), said(&group.words()), further(one)),
        many => {
            let (count, why) = (many.len(), said(&group.words()));
            let names = many.iter().map(|member| match member.more {
                0 => text(member.name),
                more => format!("{} (+{more})", text(member.name)),
            });
            format!("- **{count} connectors**: {why}: {}", listed(names))
        }
    });
    section("Why these connectors", items.collect(), REASONS_MAX)
}

fn said(words: &[Word<'_>]) -> String {
    let word = |word: &Word<'_>| match word {
        Word::Code(path) => code(path),
        // Ours, without anything that Markdown would act on.
        Word::Text(text) => text.to_string(),
    };
    words.iter().map(word).collect()
}

fn further(member: &Member<'_>) -> String {
    match why::further(member.more) {
        more if more.is_empty() => more,
        more => format!("; {more}"),
    }
}

fn change(own: &Run, selection: &Selection, links: &Links) -> String {
    let mut items = Vec::new();
    if selection.complete {
        let files = selection.files;
        let mut line = format!("- {files} file{} changed", if files == 1 { "" } else { "s" });
        if selection.ignored > 0 {
            let _ = write!(line, ", {} of them ignored by rule", selection.ignored);
        }
        items.push(line);
    }
    items.extend(named("Belonging to no connector", unclaimed(selection), &selection.unclaimed));
    items.extend(named("Removed", ", so not run", &selection.removed));
    items.extend(named("Archived", ", so not run", &selection.archived));
    items.extend(named("Affected, but without a pipeline", "", &selection.without_pipeline));
    items.extend(not_selected(own, selection, links));
    let layout = if selection.without_file() { ", without a repository file" } else { "" };
    items.push(format!("- Configuration: {}{layout}", text(&selection.origin)));
    items.extend(selection.notes.iter().map(|note| format!("- {}", prose(&one_line(note, 1_000)))));
    section("The change", items, CHANGE_MAX)
}

/// What follows from paths that belong to no connector.
fn unclaimed(selection: &Selection) -> &'static str {
    match selection.unclaimed_selects {
        Some(true) => ", so every connector is tested",
        Some(false) => ", and selecting nothing",
        None => "",
    }
}

fn not_selected(own: &Run, selection: &Selection, links: &Links) -> Option<String> {
    let count = selection.not_selected();
    let noun = if count == 1 { "connector is" } else { "connectors are" };
    let why_not = link("why not?", &links.why_not(own.id));
    (count > 0).then(|| format!("- {count} {noun} not selected: {why_not}"))
}

fn named(title: &str, follows: &str, names: &[String]) -> Option<String> {
    let (count, codes) = (names.len(), names.iter().map(|name| code(&why::shortened(name))));
    (count > 0).then(|| format!("- {title} ({count}){follows}: {}", listed(codes)))
}

/// The first of some names, and how many more there are.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    const MAX: usize = 2_000;
    let count = names.len();
    let mut list = String::new();
    for (index, name) in names.enumerate() {
        if index >= NAMED || list.len() + name.len() > MAX {
            let _ = write!(list, " and {} more", count - index);
            break;
        }
        let _ = write!(list, "{}{name}", if index > 0 { ", " } else { "" });
    }
    list
}

/// Which runs made the verdict, newest first; not shown while there is only one.
fn runs_of_head(runs: &[Run], links: &Links) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    let items = runs.iter().rev().map(|run| {
        let look = Look::of_run(run);
        let took =
            look::run_took(run).map(|took| format!(" · {}", human(took))).unwrap_or_default();
        let problem = run.problem.as_ref().map(|problem| format!(": {}", text(&problem.title)));
        format!(
            "- {} {} · {} by {}{took} · {}{}",
            look.emoji(),
            link(&run.id.to_string(), &links.run(run.id)),
            run.trigger.as_str().replace('_', " "),
            text(&run.actor),
            look.word(),
            problem.unwrap_or_default(),
        )
    });
    section("Runs of this commit", items.collect(), RUNS_MAX)
}

fn footer(newest: &Run, links: &Links) -> String {
    let mut footer = link("Run: graph, timeline, logs, reports", &links.run(newest.id));
    if let Some(number) = newest.pull {
        let url = links.pull(&newest.repository.name, number);
        let _ = write!(footer, " · {}", link("All runs of this pull request", &url));
    }
    footer.push('\n');
    footer
}
