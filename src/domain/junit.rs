//! The XML of `JUnit`, as test runners really write it: nested suites, a bare `testsuite`, files cut off
//! by a crash. There is no one schema; what is read is what all dialects share.

use std::rc::Rc;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::redact::{Clip, Redactor};
use super::run::{TestFailure, Tests};

/// Failures that are kept; the count goes on.
const FAILURES_MAX: usize = 200;

/// Bytes of a message that are kept; the rest is in the log.
const MESSAGE_MAX: usize = 4 * 1024;

/// Bytes of a name or a path that are kept.
const NAME_MAX: usize = 1024;

/// Reads a report, as [`read`] does.
///
/// # Errors
/// In words, if the bytes are no `JUnit` file at all.
pub fn parse(bytes: &[u8], redactor: &Arc<Redactor>) -> Result<Tests, String> {
    read(bytes, redactor).map(|(tests, _)| tests)
}

/// Reads a report; what is kept of its texts is freed of secrets before it is cut. A file that ends
/// early, or breaks off in nonsense, gives what was read up to there, and a remark that says so.
///
/// # Errors
/// In words, if the bytes are no `JUnit` file at all.
pub fn read(bytes: &[u8], redactor: &Arc<Redactor>) -> Result<(Tests, Option<String>), String> {
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    let mut report = Report::new(redactor);
    loop {
        let event = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => event,
            Err(_) if report.began => break,
            Err(error) => return Err(format!("it is no XML: {error}")),
        };
        report.take(&event)?;
    }
    if !report.began {
        return Err("it is no JUnit file: it has no `testsuites` or `testsuite`".to_owned());
    }
    report.cut_off();
    let Tests { passed, failed, skipped, .. } = report.tests;
    let count = u64::from(passed) + u64::from(failed) + u64::from(skipped);
    let noun = if count == 1 { "test" } else { "tests" };
    let remark = format!("it is cut off, and tells of {count} {noun} before that");
    Ok((report.tests, (report.open > 0).then_some(remark)))
}

/// What is known so far.
struct Report<'r> {
    redactor: &'r Arc<Redactor>,
    tests: Tests,
    /// Was the root element seen?
    began: bool,
    /// Elements that have begun and not ended.
    open: usize,
    /// Of each suite around the `file` attribute, or that of the next one that has it.
    files: Vec<Option<Rc<str>>>,
    case: Option<Case>,
    /// The text within `failure` or `error`, if it is kept.
    text: Option<Clip>,
}

/// A test case that is being read.
#[derive(Default)]
struct Case {
    name: String,
    file: Option<Rc<str>>,
    line: Option<u32>,
    skipped: bool,
    /// The message of the first failure; the text after it is gathered apart.
    failure: Option<String>,
    text: String,
}

impl<'r> Report<'r> {
    fn new(redactor: &'r Arc<Redactor>) -> Self {
        let (tests, files) = (Tests::default(), Vec::new());
        Self { redactor, tests, began: false, open: 0, files, case: None, text: None }
    }

    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(element) | Event::Empty(element) => {
                self.open += 1;
                self.start(element)?;
            }
            Event::End(element) => {
                self.open = self.open.saturating_sub(1);
                self.end(element.local_name().as_ref());
            }
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.text(&resolved(reference)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        match element.local_name().as_ref() {
            "testsuites" => self.began = true,
            "testsuite" => {
                self.began = true;
                let own = attribute(element, "file").map(Rc::from);
                self.files.push(own.or_else(|| self.files.last().cloned().flatten()));
            }
            other if !self.began => {
                return Err(format!(
                    "it is no JUnit file: its root is `{other}`, not `testsuites` or `testsuite`"
                ));
            }
            "testcase" => {
                // Cases don't nest: one that was never closed ends here.
                self.finish_case();
                self.case = Some(self.case(element));
            }
            "skipped" | "disabled" => {
                if let Some(case) = &mut self.case {
                    case.skipped = true;
                }
            }
            "failure" | "error" => {
                if let Some(case) = self.case.as_mut().filter(|case| case.failure.is_none()) {
                    case.failure = Some(attribute(element, "message").unwrap_or_default());
                    let is_kept = self.tests.failures.len() < FAILURES_MAX;
                    self.text = is_kept.then(|| Clip::new(self.redactor, MESSAGE_MAX));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn case(&self, element: &BytesStart<'_>) -> Case {
        let name = attribute(element, "name").unwrap_or_default();
        let class = attribute(element, "classname").filter(|class| !name.starts_with(class));
        let name = match class.filter(|class| !class.is_empty()) {
            Some(class) if name.is_empty() => class,
            Some(class) => format!("{class}.{name}"),
            None => name,
        };
        let suite_file = || self.files.last().cloned().flatten();
        Case {
            name: if name.is_empty() { "(without a name)".to_owned() } else { name },
            file: attribute(element, "file").map(Rc::from).or_else(suite_file),
            line: attribute(element, "line").and_then(|line| line.trim().parse().ok()),
            ..Case::default()
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "failure" | "error" => self.end_text(),
            "testcase" => self.finish_case(),
            "testsuite" => {
                self.finish_case();
                self.files.pop();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(clip) = &mut self.text {
            clip.push(text);
        }
    }

    fn end_text(&mut self) {
        if let (Some(clip), Some(case)) = (self.text.take(), &mut self.case) {
            case.text = clip.finish();
        }
    }

    fn finish_case(&mut self) {
        self.end_text();
        let Some(case) = self.case.take() else { return };
        let Some(message) = case.failure else {
            let count = if case.skipped { &mut self.tests.skipped } else { &mut self.tests.passed };
            *count = count.saturating_add(1);
            return;
        };
        self.tests.failed = self.tests.failed.saturating_add(1);
        if self.tests.failures.len() >= FAILURES_MAX {
            return;
        }
        let clip = |text: &str, most| Clip::of(self.redactor, text, most);
        let message = clip(message.trim(), MESSAGE_MAX);
        let text = case.text.trim_matches('\n').trim_end();
        let message = match (message.is_empty(), text.contains(&message)) {
            (true, _) | (_, true) => text.to_owned(),
            (false, false) => clip(format!("{message}\n{text}").trim_end(), MESSAGE_MAX),
        };
        let failure = TestFailure {
            name: clip(&case.name, NAME_MAX),
            message,
            file: case.file.map(|file| clip(&file, NAME_MAX)),
            line: case.line,
        };
        self.tests.failures.push(failure);
    }

    /// The file ended within a case: it counts only if it is known to have failed.
    fn cut_off(&mut self) {
        if self.case.as_ref().is_some_and(|case| case.failure.is_some() || case.skipped) {
            self.finish_case();
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    let mut attributes = attributes.with_checks(false).flatten();
    let attribute = attributes.find(|found| found.key.local_name().as_ref() == name)?;
    // An unknown entity leaves the value as it is written.
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    Some(value.map_or_else(|_| attribute.value.to_string(), std::borrow::Cow::into_owned))
}

/// `&lt;`, `&#10;`; an unknown reference stays as it is written.
fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name: &str = reference;
    let known = quick_xml::escape::resolve_predefined_entity(name);
    known.map_or_else(|| format!("&{name};"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Tests, String> {
        super::parse(bytes, &Arc::default())
    }

    /// Counts, then the failures' names and messages.
    fn told(xml: &str) -> (u32, u32, u32, Vec<(String, String)>) {
        let tests = parse(xml.as_bytes()).unwrap();
        let failures = tests.failures.into_iter().map(|f| (f.name, f.message)).collect();
        (tests.passed, tests.failed, tests.skipped, failures)
    }

    fn failure(name: &str, message: &str) -> (String, String) {
        (name.to_owned(), message.to_owned())
    }

    #[test]
    fn a_pytest_file() {
        let xml = r#"<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1"
            failures="1" skipped="1" tests="4" time="0.05"><testcase classname="unit_tests.test_a" name="test_ok"
            time="0.001" /><testcase classname="unit_tests.test_a" name="test_bad[a&lt;b]" file="unit_tests/test_a.py" line="7">
            <failure message="assert 1 == 2">def test_bad():
&gt;       assert 1 == 2 &amp;&#33;</failure></testcase><testcase classname="unit_tests.test_b" name="test_setup"><error
            message="failed on setup">boom</error><system-out>noise</system-out></testcase><testcase name="test_s"><skipped
            message="why"/></testcase></testsuite></testsuites>"#;
        let (passed, failed, skipped, failures) = told(xml);
        assert_eq!((passed, failed, skipped), (1, 2, 1));
        assert_eq!(
            failures,
            [
                failure(
                    "unit_tests.test_a.test_bad[a<b]",
                    "def test_bad():\n>       assert 1 == 2 &!"
                ),
                failure("unit_tests.test_b.test_setup", "failed on setup\nboom"),
            ]
        );
        let tests = parse(xml.as_bytes()).unwrap();
        assert_eq!(tests.failures[0].file.as_deref(), Some("unit_tests/test_a.py"));
        assert_eq!(tests.failures[0].line, Some(7));
    }

    #[test]
    fn suites_nest_and_may_be_bare() {
        let xml = r#"<testsuite file="outer.py"><testsuite><testcase name="a"><failure/></testcase></testsuite>
            <testcase name="b"/><testsuite><testcase name="c"><skipped/></testcase></testsuite></testsuite>"#;
        assert_eq!(told(xml), (1, 1, 1, vec![failure("a", "")]));
        assert_eq!(parse(xml.as_bytes()).unwrap().failures[0].file.as_deref(), Some("outer.py"));
    }

    #[test]
    fn a_file_that_breaks_off_keeps_what_was_read() {
        let start = r#"<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure message="m">half of"#;
        assert_eq!(told(start), (1, 1, 0, vec![failure("b", "m\nhalf of")]));
        let open = r#"<testsuite><testcase name="a"/><testcase name="b">"#;
        assert_eq!(told(open), (1, 0, 0, vec![]));
        let nonsense = r#"<testsuite><testcase name="a"/><testcase <<< name="b"#;
        assert_eq!(told(nonsense).0, 1);
        let remark = |xml: &str| read(xml.as_bytes(), &Arc::default()).unwrap().1;
        for (xml, count) in [(start, "2 tests"), (open, "1 test"), (nonsense, "1 test")] {
            let said = format!("it is cut off, and tells of {count} before that");
            assert_eq!(remark(xml), Some(said));
        }
        assert_eq!(remark("<testsuite><testcase name=\"a\"/></testsuite>\n<!-- end -->"), None);
    }

    #[test]
    fn a_retried_test_that_passed_in_the_end_passed() {
        let xml = r#"<testsuite><testcase name="a"><flakyFailure message="once"/></testcase></testsuite>"#;
        assert_eq!(told(xml), (1, 0, 0, vec![]));
    }

    #[test]
    fn what_is_no_report_is_said_to_be_none() {
        assert!(parse(b"").unwrap_err().contains("no `testsuites`"));
        assert!(parse(b"<html><body/></html>").unwrap_err().contains("its root is `html`"));
        assert!(parse(b"collected 3 items").is_err());
    }

    #[test]
    fn bytes_that_are_no_text_and_caps() {
        let mut xml = b"<testsuite>".to_vec();
        for n in 0..300 {
            xml.extend(format!("<testcase name=\"t{n}\"><failure><![CDATA[").bytes());
            xml.extend(std::iter::repeat_n(b'x', 10_000).chain([0xff]));
            xml.extend(b"]]></failure></testcase>");
        }
        let tests = parse(&xml).unwrap();
        assert_eq!((tests.failed, tests.failures.len()), (300, FAILURES_MAX));
        assert!(tests.failures.iter().all(|failure| failure.message.len() <= MESSAGE_MAX));
    }

    #[test]
    fn a_secret_across_the_cut_is_hidden_however_it_was_written() {
        let secrets = Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap());
        let written = "&#115;esame-open-42";
        for before in 0..20 {
            let long = |most: usize| format!("{}{written}", "x".repeat(most - before));
            let (name, text) = (long(NAME_MAX), long(MESSAGE_MAX));
            let xml = format!(
                "<testsuite><testcase name=\"{name}\" file=\"{name}\"><failure message=\"{text}\"/>\
                 </testcase><testcase name=\"b\"><error>{text}</error></testcase></testsuite>"
            );
            let tests = super::parse(xml.as_bytes(), &secrets).unwrap();
            for failure in &tests.failures {
                let file = failure.file.as_deref().unwrap_or_default();
                for text in [&failure.name, &failure.message, file] {
                    assert!(!text.contains("se"), "{text}");
                }
            }
            assert_eq!(tests.failures.len(), 2);
        }
    }

    /// Each case asks for the file of the suites around it.
    #[test]
    fn many_suites_around_many_cases_cost_no_more_than_the_file_is_long() {
        let (suites, cases) =
            ("<testsuite>".repeat(300_000), "<testcase><skipped/></testcase>".repeat(300_000));
        let xml = format!("<testsuite file=\"f\">{suites}{cases}<testcase><failure/>");
        let tests = parse(xml.as_bytes()).unwrap();
        assert_eq!((tests.skipped, tests.failed), (300_000, 1));
        assert_eq!(tests.failures[0].file.as_deref(), Some("f"));
    }

    /// An entity of the file's own stands for nothing: neither for more of itself nor for a file.
    #[test]
    fn entities_are_not_filled_in() {
        let entity = |n: u32| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10));
        let entities: Vec<String> = (1..20).map(entity).collect();
        let bomb = format!("<!ENTITY l0 \"lol\">{}", entities.concat());
        let xml = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE testsuite [{bomb}<!ENTITY file SYSTEM \"file:///etc/passwd\">\
             <!ENTITY % more SYSTEM \"http://127.0.0.1:1/x.dtd\"> %more;]><testsuite><testcase \
             name=\"a &l19; &file;\" file=\"&file;\"><failure message=\"m &file; &l19;\">&file; &l19; \
             &lt;</failure></testcase></testsuite>"
        );
        let message = "m &file; &l19;\n&file; &l19; <";
        assert_eq!(told(&xml), (0, 1, 0, vec![failure("a &l19; &file;", message)]));
        assert_eq!(parse(xml.as_bytes()).unwrap().failures[0].file.as_deref(), Some("&file;"));
        let open = "<!DOCTYPE x [<!ENTITY a \"b\"><testsuite/>";
        assert!(parse(open.as_bytes()).is_err());
    }
}
