//! `uses: scan`: what a scanner found in the image, and which of it fails the step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::annotation::{Annotation, Annotations, Level};
use super::builtin::{Case, Verdict};
use super::catalog::Finding;

/// Where a scanner leaves what it found, below `$CHECKVALVE_OUT`, if the step does not say.
pub const SARIF: &str = "scan.sarif";
/// The image as `docker save` has it, for the scanner to read.
pub const IMAGE: &str = "/checkvalve/image.tar";
/// The variable that holds that path.
pub const VARIABLE: &str = "CHECKVALVE_IMAGE";

/// The least grave finding that fails the step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailOn {
    #[default]
    Error,
    Warning,
    Note,
    /// Findings are shown, and fail nothing.
    Never,
}

impl FailOn {
    pub const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Note, Self::Never];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Never => "never",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The levels that fail the step.
    fn levels(self) -> &'static [Level] {
        match self {
            Self::Error => &Level::ALL[..1],
            Self::Warning => &Level::ALL[..2],
            Self::Note => &Level::ALL,
            Self::Never => &[],
        }
    }
}

/// How the scanner's commands ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub code: i64,
    pub reason: Option<String>,
}

/// A case for how the scanner ended, one for what it left, and one for each rule that fails.
pub fn cases(exit: &Exit, found: Result<&Annotations, String>, fail: FailOn) -> Vec<Case> {
    let mut cases = vec![Case::new("the scanner ends well", exit.verdict())];
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            let mend = format!(
                "let it write SARIF 2.1.0 to `$CHECKVALVE_OUT/{SARIF}`, or name another file with \
                 `reports: {{ sarif: … }}`"
            );
            cases.push(Case::new("the scanner leaves SARIF", failed(why, mend)));
            return cases;
        }
    };
    cases.push(Case::new("the scanner leaves SARIF", Verdict::Passed));
    let grave = |annotation: &&Annotation| fail.levels().contains(&annotation.level);
    let mut rules: BTreeMap<&str, Vec<Finding>> = BTreeMap::new();
    for annotation in found.kept.iter().filter(grave) {
        rules.entry(&annotation.rule).or_default().push(finding(annotation));
    }
    let told: usize = rules.values().map(Vec::len).sum();
    for (rule, findings) in rules {
        let rule = if rule.is_empty() { "a finding without a rule" } else { rule };
        cases.push(Case::new(rule, Verdict::Failed(findings)));
    }
    let all: u32 = fail.levels().iter().fold(0, |sum, l| found.count(*l).saturating_add(sum));
    let more = all.saturating_sub(u32::try_from(told).unwrap_or(u32::MAX));
    if more > 0 {
        let text = format!("{more} more findings, which the SARIF file has");
        cases.push(Case::new("further findings", failed(text, String::new())));
    }
    if all == 0 && fail != FailOn::Never {
        let name = format!("nothing of level `{}` or above is found", fail.as_str());
        cases.push(Case::new(name, Verdict::Passed));
    }
    cases
}

impl Exit {
    fn verdict(&self) -> Verdict {
        if self.code == 0 {
            return Verdict::Passed;
        }
        let why = self.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let mend = "its log says why; findings alone fail the step by their level, so let it exit \
                    with code 0 for them";
        failed(format!("it exited with code {}{why}", self.code), mend.to_owned())
    }
}

fn failed(text: String, mend: String) -> Verdict {
    Verdict::Failed(vec![Finding { mend, ..Finding::whole("", text) }])
}

fn finding(annotation: &Annotation) -> Finding {
    let path = annotation.path.clone().unwrap_or_default();
    let text = if annotation.message.is_empty() {
        annotation.level.as_str().to_owned()
    } else {
        annotation.message.clone()
    };
    Finding { path, line: annotation.line, column: annotation.column, text, mend: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(level: Level, rule: &str) -> Annotation {
        Annotation {
            level,
            rule: rule.to_owned(),
            message: format!("of {rule}"),
            path: Some("usr/lib/x".to_owned()),
            line: Some(3),
            end_line: None,
            column: None,
        }
    }

    fn found() -> Annotations {
        let kept = vec![
            annotation(Level::Error, "CVE-1"),
            annotation(Level::Error, "CVE-1"),
            annotation(Level::Warning, "CVE-2"),
        ];
        Annotations { errors: 5, warnings: 1, notes: 0, kept }
    }

    fn failing(cases: &[Case]) -> Vec<(&str, usize)> {
        let failed = cases.iter().filter_map(|case| match &case.verdict {
            Verdict::Failed(findings) => Some((case.name.as_str(), findings.len())),
            Verdict::Passed | Verdict::Skipped(_) => None,
        });
        failed.collect()
    }

    #[test]
    fn findings_fail_by_their_level() {
        let good = Exit { code: 0, reason: None };
        let judged = |fail| cases(&good, Ok(&found()), fail);
        assert_eq!(failing(&judged(FailOn::Error)), [("CVE-1", 2), ("further findings", 1)]);
        let warning = judged(FailOn::Warning);
        assert_eq!(failing(&warning), [("CVE-1", 2), ("CVE-2", 1), ("further findings", 1)]);
        assert_eq!(failing(&judged(FailOn::Never)), []);
        let none = cases(&good, Ok(&Annotations::default()), FailOn::Error);
        assert_eq!(none.last().unwrap().name, "nothing of level `error` or above is found");
        assert!(none.iter().all(|case| case.verdict == Verdict::Passed));
    }

    #[test]
    fn a_scanner_that_fails_is_never_green() {
        let bad = Exit { code: 3, reason: Some("out of memory".to_owned()) };
        let all = cases(&bad, Ok(&Annotations::default()), FailOn::Never);
        assert_eq!(failing(&all), [("the scanner ends well", 1)]);
        let good = Exit { code: 0, reason: None };
        let all = cases(&good, Err("it did not write it".to_owned()), FailOn::Never);
        assert_eq!(failing(&all), [("the scanner leaves SARIF", 1)]);
    }
}
