//! The page's changelog.

use crate::domain::builtin::Verdict;
use crate::domain::catalog::{Finding, Flaw};
use crate::domain::yaml::Place;

/// Does a line behind the page's heading "Changelog" name the version?
pub(super) fn changelog(page: &str, content: &[u8], version: &str) -> Verdict {
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines().enumerate();
    let heading = lines.find(|(_, line)| {
        let line = line.trim_start();
        line.starts_with('#') && line.to_lowercase().contains("changelog")
    });
    let Some((at, _)) = heading else {
        let mend = format!("add `## Changelog` with a line for {version}");
        let flaw = Flaw::unusable(None, "the page has no heading \"Changelog\"", mend);
        return Verdict::Failed(vec![Finding::of(page, flaw)]);
    };
    if lines.any(|(_, line)| names(line, version)) {
        return Verdict::Passed;
    }
    let place = Place { line: u32::try_from(at + 1).unwrap_or(u32::MAX), column: 1 };
    let text = format!("the changelog does not name {version}, the version of the metadata");
    let flaw = Flaw::unusable(place, text, format!("add a line for {version} beneath it"));
    Verdict::Failed(vec![Finding::of(page, flaw)])
}

/// Does the version stand there by itself: `1.0.1` is not named by `11.0.1`, `1.0.10` or
/// `1.0.1-rc.1`.
fn names(line: &str, version: &str) -> bool {
    line.match_indices(version).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let mut after = line[at + version.len()..].chars();
        let ends = match after.next() {
            Some('.' | '-' | '+') => after.next().is_none_or(|c| !c.is_alphanumeric()),
            Some(c) => !c.is_alphanumeric(),
            None => true,
        };
        ends && before.is_none_or(|c| !c.is_ascii_digit() && c != '.' && c != '-')
    })
}
