//! What tools found, and how much tests reach: for checks and pages.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::domain::annotation::{Annotation, Annotations, Level};
use crate::domain::coverage::Coverage;

use super::log;
use super::markdown::{code, cut, one_line, text};

/// Bytes that the findings of a check may take.
const FINDINGS_MAX: usize = 12_000;
/// Characters of one of them.
const ONE_MAX: usize = 500;

/// For a check: each on a line.
pub(super) fn summary(found: &Annotations) -> String {
    within(found, FINDINGS_MAX)
}

/// The first of them, in at most so many bytes.
pub(super) fn within(found: &Annotations, most: usize) -> String {
    if found.total() == 0 || most < 200 {
        return String::new();
    }
    let mut shown = format!("### Findings: {}\n\n", found.told());
    for (index, annotation) in found.kept.iter().enumerate() {
        let line = line(annotation);
        if shown.len() + line.len() + 100 > most {
            let more = found.total() - u32::try_from(index).unwrap_or(u32::MAX);
            let _ = writeln!(shown, "\n… and {more} more: the step's page shows the first.\n");
            return shown;
        }
        shown.push_str(&line);
    }
    if found.more() > 0 {
        let _ = writeln!(shown, "\n… and {} more, which the report's file has.", found.more());
    }
    shown.push('\n');
    shown
}

fn line(annotation: &Annotation) -> String {
    let mut line = format!("- {} **{}**", emoji(annotation.level), annotation.level.as_str());
    if let Some(place) = annotation.place() {
        let _ = write!(line, " {}", code(cut(&place, ONE_MAX)));
    }
    if !annotation.rule.is_empty() {
        let _ = write!(line, " {}", code(cut(&annotation.rule, ONE_MAX)));
    }
    let message = one_line(&log::plain(annotation.message.as_bytes()), ONE_MAX);
    let _ = writeln!(line, ": {}", text(&message));
    line
}

fn emoji(level: Level) -> &'static str {
    match level {
        Level::Error => "❌",
        Level::Warning => "⚠️",
        Level::Note => "ℹ️",
    }
}

/// `coverage 84.9%`.
pub(super) fn coverage(found: Coverage) -> String {
    format!("coverage {}", found.told())
}

/// For a page.
pub fn section(found: &Annotations) -> Markup {
    html! {
        p { strong { (found.told()) } }
        @for annotation in &found.kept {
            div.failure {
                div.name {
                    (annotation.level.as_str())
                    @if !annotation.rule.is_empty() { " · " (annotation.rule) }
                }
                @if let Some(place) = annotation.place() { div.muted { code { (place) } } }
                @if !annotation.message.is_empty() { pre.wrapped { (annotation.message) } }
            }
        }
        @if found.more() > 0 { p.muted { "and " (found.more()) " more, which the report's file has" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(message: &str) -> Annotation {
        Annotation {
            level: Level::Error,
            rule: "ruff: S105".to_owned(),
            message: message.to_owned(),
            path: Some("a`b.py".to_owned()),
            line: Some(3),
            end_line: None,
            column: None,
        }
    }

    #[test]
    fn a_finding_is_one_line_that_it_can_not_leave() {
        let kept = vec![annotation("a <script>\n# no *title*")];
        let found = Annotations { errors: 1, kept, ..Annotations::default() };
        let shown = summary(&found);
        assert!(
            shown
                .starts_with("### Findings: 1 error\n\n- ❌ **error** ``a`b.py:3`` `ruff: S105`: ")
        );
        assert_eq!(shown.lines().count(), 4, "{shown}");
        assert!(!shown.contains("<script>"), "{shown}");
        let page = section(&found).into_string();
        assert!(page.contains("a`b.py:3") && !page.contains("<script>"), "{page}");
        assert_eq!(summary(&Annotations::default()), "");
    }

    #[test]
    fn many_findings_have_an_end() {
        let kept = vec![annotation(&"x".repeat(5_000)); 200];
        let found = Annotations { errors: 1_000, kept, ..Annotations::default() };
        let shown = summary(&found);
        assert!(shown.len() <= FINDINGS_MAX, "{}", shown.len());
        assert!(shown.contains(" more: the step's page"), "{shown}");
    }
}
