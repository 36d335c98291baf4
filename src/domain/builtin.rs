//! Built-in steps: what they are called, and how their findings are told.

use std::borrow::Cow;
use std::fmt::Write;

use quick_xml::escape::escape;
use serde::{Deserialize, Serialize};

use super::catalog::Finding;
use super::redact::Redactor;
use super::state::Outcome;

/// Where a built-in step leaves its cases, below `$CHECKVALVE_OUT`.
pub const JUNIT: &str = "junit.xml";
/// Findings of one case that are told one by one.
const TOLD: usize = 50;
/// Bytes of one finding that are told.
const TEXT_MAX: usize = 2 * 1024;

/// What can stand behind `uses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// Judges the connector's files.
    Qa,
    /// Builds the connector's image.
    Build,
    /// Speaks with it as Airbyte's protocol has it.
    Acceptance,
    /// Has a scanner look through it.
    Scan,
    /// Writes back the secrets that the connector renewed.
    #[serde(rename = "upload-secrets")]
    UploadSecrets,
    /// Says last how all others went.
    Report,
}

impl Builtin {
    pub const ALL: [Self; 6] =
        [Self::Qa, Self::Build, Self::Acceptance, Self::Scan, Self::UploadSecrets, Self::Report];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qa => "qa",
            Self::Build => "build",
            Self::Acceptance => "acceptance",
            Self::Scan => "scan",
            Self::UploadSecrets => "upload-secrets",
            Self::Report => "report",
        }
    }

    /// Does it work with the image that a step before it built?
    pub fn takes_image(self) -> bool {
        match self {
            Self::Qa | Self::Build | Self::UploadSecrets | Self::Report => false,
            Self::Acceptance | Self::Scan => true,
        }
    }

    /// Raised whenever the same files may be judged otherwise.
    fn version(self) -> u32 {
        match self {
            Self::Scan | Self::UploadSecrets | Self::Report => 1,
            Self::Qa | Self::Build => 2,
            Self::Acceptance => 3,
        }
    }
}

/// A built-in step as a plan holds it. The version is a part of the step's definition: results of
/// an older one are not those of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    pub builtin: Builtin,
    pub version: u32,
}

impl From<Builtin> for Uses {
    fn from(builtin: Builtin) -> Self {
        Self { builtin, version: builtin.version() }
    }
}

/// How one check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// What is wrong, at least one thing.
    Failed(Vec<Finding>),
    /// Why it does not apply, or could not be made.
    Skipped(String),
}

impl Verdict {
    /// Passed if nothing was found.
    pub fn of(findings: Vec<Finding>) -> Self {
        if findings.is_empty() { Self::Passed } else { Self::Failed(findings) }
    }
}

/// One check with its result: a test case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub verdict: Verdict,
}

impl Case {
    pub fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self { name: name.into(), verdict }
    }

    /// Takes secrets out of what it says: before that nothing of it may be cut.
    pub fn redact(&mut self, redactor: &Redactor) {
        let redact = |text: &mut String| {
            if let Cow::Owned(redacted) = redactor.text(text) {
                *text = redacted;
            }
        };
        redact(&mut self.name);
        match &mut self.verdict {
            Verdict::Passed => {}
            Verdict::Failed(findings) => {
                for finding in findings {
                    redact(&mut finding.path);
                    redact(&mut finding.text);
                    redact(&mut finding.mend);
                }
            }
            Verdict::Skipped(why) => redact(why),
        }
    }
}

/// All cases of one built-in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub suite: &'static str,
    pub cases: Vec<Case>,
    /// What must be known of it, green as it may be.
    pub note: Option<String>,
}

impl Report {
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }

    pub fn passed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Passed))
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.cases.iter().filter(|case| is(&case.verdict)).count()
    }

    /// The step's outcome, with the reason if the cases alone do not say it. A report in which
    /// nothing applied is not green.
    pub fn outcome(&self) -> (Outcome, Option<String>) {
        if self.failed() > 0 {
            return (Outcome::Failed, self.note.clone());
        }
        if self.passed() > 0 {
            return (Outcome::Succeeded, self.note.clone());
        }
        let reason = format!(
            "nothing was judged: no check of `{}` applies to this connector; leave the step out for \
             it with `when`",
            self.suite
        );
        (Outcome::Failed, Some(reason))
    }

    /// For the step's log: a line for each case, and beneath it what is wrong.
    pub fn log(&self) -> String {
        self.cases.iter().map(log_of).collect()
    }

    /// The same as `JUnit` XML.
    pub fn junit(&self) -> String {
        let (tests, failed) = (self.cases.len(), self.failed());
        let skipped = tests - failed - self.passed();
        let suite = self.suite;
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{suite}\" \
             tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\">\n"
        );
        for case in &self.cases {
            xml.push_str(&junit_of(case));
        }
        xml.push_str("</testsuite>\n</testsuites>\n");
        xml
    }
}

/// One case as the log has it.
pub fn log_of(case: &Case) -> String {
    let name = one_line(&case.name);
    match &case.verdict {
        Verdict::Passed => format!("passed   {name}\n"),
        Verdict::Skipped(why) => format!("skipped  {name}: {}\n", one_line(why)),
        Verdict::Failed(findings) => {
            let findings = told(findings);
            let lines = findings.iter().map(|finding| format!("         {finding}\n"));
            format!("FAILED   {name}\n{}", lines.collect::<String>())
        }
    }
}

fn junit_of(case: &Case) -> String {
    let name = attribute(&case.name);
    match &case.verdict {
        Verdict::Passed => format!("<testcase name=\"{name}\"/>\n"),
        Verdict::Skipped(why) => {
            format!(
                "<testcase name=\"{name}\"><skipped message=\"{}\"/></testcase>\n",
                attribute(why)
            )
        }
        Verdict::Failed(findings) => {
            let first = findings.first();
            let mut place = String::new();
            if let Some(finding) = first.filter(|finding| !finding.path.is_empty()) {
                let _ = write!(place, " file=\"{}\"", attribute(&finding.path));
                if let Some(line) = finding.line {
                    let _ = write!(place, " line=\"{line}\"");
                }
            }
            let message = attribute(&told(findings).first().cloned().unwrap_or_default());
            let text = told(findings).join("\n");
            format!(
                "<testcase name=\"{name}\"{place}><failure message=\"{message}\">{}</failure></testcase>\n",
                escape(&text)
            )
        }
    }
}

/// Findings as lines.
fn told(findings: &[Finding]) -> Vec<String> {
    let one = |finding: &Finding| {
        let text = if finding.path.is_empty() { finding.told() } else { finding.to_string() };
        one_line(&text)
    };
    let mut lines: Vec<String> = findings.iter().take(TOLD).map(one).collect();
    if findings.len() > TOLD {
        lines.push(format!("… and {} more", findings.len() - TOLD));
    }
    lines
}

fn attribute(text: &str) -> String {
    escape(one_line(text)).into_owned()
}

/// What a stranger wrote, on one line, not too long, and without what XML or a terminal can't take.
pub fn one_line(text: &str) -> String {
    let plain = |c: char| match c {
        '\n' | '\t' | '\r' => ' ',
        c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let cut = &text[..text.floor_char_boundary(TEXT_MAX)];
    let mut line: String = cut.chars().map(plain).collect();
    if cut.len() < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::junit;

    #[test]
    fn what_is_written_is_what_is_read() {
        let bad = Finding {
            path: "a<b>.yaml".to_owned(),
            line: Some(3),
            column: Some(1),
            text: "`x` & \"y\"\u{1b}\u{0}".to_owned(),
            mend: "mend it".to_owned(),
        };
        let cases = vec![
            Case::new("one", Verdict::Passed),
            Case::new("two", Verdict::Failed(vec![bad.clone(), bad])),
            Case::new("three", Verdict::Skipped("why not".to_owned())),
        ];
        let report = Report { suite: "qa", cases, note: None };
        let tests = junit::parse(report.junit().as_bytes(), &std::sync::Arc::default()).unwrap();
        assert_eq!((tests.passed, tests.failed, tests.skipped), (1, 1, 1));
        let failure = &tests.failures[0];
        assert_eq!((failure.file.as_deref(), failure.line), (Some("a<b>.yaml"), Some(3)));
        let line = "a<b>.yaml:3:1: `x` & \"y\"\u{fffd}\u{fffd}; mend it";
        assert_eq!(failure.message, format!("{line}\n{line}"));
        assert!(report.log().contains("skipped  three: why not\n"), "{}", report.log());
        assert_eq!(report.outcome(), (Outcome::Failed, None));
    }

    #[test]
    fn nothing_judged_is_not_green() {
        let skipped = Case::new("one", Verdict::Skipped("no".to_owned()));
        let report = Report { suite: "qa", cases: vec![skipped.clone()], note: None };
        let (outcome, reason) = report.outcome();
        assert_eq!(outcome, Outcome::Failed);
        assert!(reason.unwrap().contains("nothing was judged"));
        let cases = vec![skipped, Case::new("two", Verdict::Passed)];
        assert_eq!(Report { suite: "qa", cases, note: None }.outcome(), (Outcome::Succeeded, None));
    }

    #[test]
    fn much_is_cut() {
        let many = vec![Finding::whole("f", "x".repeat(10_000)); 80];
        let log = log_of(&Case::new("n", Verdict::Failed(many)));
        assert_eq!(log.lines().count(), 52);
        assert!(log.ends_with("… and 30 more\n"), "{log}");
    }
}
