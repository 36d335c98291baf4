//! Connectors speak https only.

use crate::domain::builtin::Verdict;
use crate::domain::catalog::{Finding, Flaw};
use crate::domain::yaml::Place;

const SCHEME: &str = "http://";
/// A line that says this may have any link.
const IGNORE: &str = "ignore-https-check";
/// Folders of a connector that Airbyte's own check passes over.
const FOLDERS: &[&str] = &[
    ".venv",
    "tests",
    "unit_tests",
    "integration_tests",
    "build",
    "source-file",
    ".pytest_cache",
    "acceptance_tests_logs",
    ".hypothesis",
    ".ruff_cache",
];
/// Ends of file names that it passes over.
const FILES: &[&str] = &[
    "Test.java",
    ".jar",
    ".pyc",
    ".gz",
    ".svg",
    "expected_records.jsonl",
    "expected_records.json",
];
/// What may be addressed without: the machine itself, and names that only look like addresses.
const ALLOWED: &[&str] =
    &["json-schema.org", "localhost", "127.0.0.1", "0.0.0.0", "[::1]", "www.w3.org"];
/// How a line that is a comment begins, by the file's extension.
const COMMENTS: &[(&str, &str)] = &[
    ("py", "#"),
    ("yml", "#"),
    ("yaml", "#"),
    ("toml", "#"),
    ("sh", "#"),
    ("java", "//"),
    ("kt", "//"),
    ("go", "//"),
    ("rs", "//"),
    ("js", "//"),
    ("ts", "//"),
    ("md", "<!--"),
];
/// Links that are remembered.
const MOST: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Links {
    looked_at: usize,
    found: Vec<Finding>,
}

impl Links {
    /// `below` is the path below the connector's root.
    pub(super) fn file(&mut self, path: &str, below: &str, content: &[u8]) {
        let mut folders = below.split('/').rev();
        let name = folders.next().unwrap_or(below);
        if folders.any(|folder| FOLDERS.contains(&folder))
            || FILES.iter().any(|end| name.ends_with(end))
        {
            return;
        }
        let Some(text) = as_text(content) else { return };
        self.looked_at += 1;
        let comment =
            COMMENTS.iter().find(|(end, _)| name.rsplit_once('.').is_some_and(|n| n.1 == *end));
        for (at, line) in text.lines().enumerate() {
            let is_comment = comment.is_some_and(|(_, mark)| line.trim_start().starts_with(mark));
            if self.found.len() >= MOST {
                break;
            }
            if !is_comment && !line.contains(IGNORE) {
                self.line(path, at, line);
            }
        }
    }

    fn line(&mut self, path: &str, at: usize, line: &str) {
        let lower = line.to_ascii_lowercase();
        // A line may be a whole file: none of it is walked through twice.
        let (mut column, mut counted) = (1, 0);
        for (start, _) in lower.match_indices(SCHEME) {
            let host = &lower[start + SCHEME.len()..];
            if ALLOWED.iter().any(|allowed| is_host(host, allowed)) || is_no_address(host) {
                continue;
            }
            if self.found.len() >= MOST {
                return;
            }
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            column += line[counted..start].chars().count();
            counted = start;
            let place = Place { line: count(at + 1), column: count(column) };
            let shown: String =
                line[start..].chars().take(200).take_while(|c| !is_end(*c)).collect();
            let mend = format!("write `https://`, or `# {IGNORE}` on the line");
            let flaw = Flaw::unusable(place, format!("`{shown}` is not https"), mend);
            self.found.push(Finding::of(path, flaw));
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.looked_at == 0 {
            return Verdict::Skipped("the connector has no text files".to_owned());
        }
        Verdict::of(self.found.clone())
    }
}

/// Is it this host, and not one whose name only begins like it?
fn is_host(rest: &str, host: &str) -> bool {
    rest.strip_prefix(host).is_some_and(|rest| {
        !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-'))
    })
}

/// The scheme alone, as in `startswith("http://")`.
fn is_no_address(rest: &str) -> bool {
    rest.chars().next().is_none_or(is_end)
}

fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')' | ']' | ',' | '|')
}

/// A file's text; `None` for what is none. A character that was cut at the end is no reason.
fn as_text(content: &[u8]) -> Option<&str> {
    if content.contains(&0) {
        return None;
    }
    match std::str::from_utf8(content) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&content[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_a_folder_of_the_connector_wherever_that_lies() {
        let mut links = Links::default();
        for below in ["a.py", "tests/a.py", "src/build/a.py"] {
            links.file(&format!("tests/build/x/{below}"), below, b"x = 'http://x.example'");
        }
        let Verdict::Failed(findings) = links.verdict() else { panic!() };
        let paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["tests/build/x/a.py"]);
    }
}
