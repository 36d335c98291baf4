//! How many lines tests reach: Cobertura's XML, which coverage.py and many more write, and lcov's
//! lines. Of either only what says so is read.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use serde::{Deserialize, Serialize};

/// Lines that can be reached, and those that were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub covered: u64,
    pub lines: u64,
}

impl Coverage {
    /// In percent.
    pub fn rate(self) -> f64 {
        f64::from(u32::try_from(self.tenths()).unwrap_or(u32::MAX)) / 10.0
    }

    /// `84.9%`: never more than it is.
    pub fn told(self) -> String {
        let tenths = self.tenths();
        format!("{}.{}%", tenths / 10, tenths % 10)
    }

    fn tenths(self) -> u64 {
        let tenths = u128::from(self.covered) * 1000 / u128::from(self.lines.max(1));
        u64::try_from(tenths).unwrap_or(u64::MAX)
    }
}

/// Reads a report.
///
/// # Errors
/// In words, if it is neither of both, or counts no lines.
pub fn parse(bytes: &[u8]) -> Result<Coverage, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let coverage = if text.starts_with('<') { cobertura(text)? } else { lcov(text)? };
    if coverage.lines == 0 {
        return Err("it counts no lines".to_owned());
    }
    if coverage.covered > coverage.lines {
        let Coverage { covered, lines } = coverage;
        return Err(format!("it says that {covered} of {lines} lines are covered"));
    }
    Ok(coverage)
}

/// The counts of the root, if it has them, else those of its lines.
fn cobertura(text: &str) -> Result<Coverage, String> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_unmatched_ends = true;
    config.check_end_names = false;
    let (mut counted, mut began, mut in_method) = (Coverage::default(), false, false);
    loop {
        match reader.read_event() {
            Ok(Event::Eof) if began => return Ok(counted),
            Ok(Event::Eof) => return Err("it has no `coverage`".to_owned()),
            Ok(Event::Start(element)) => match element.local_name().as_ref() {
                "coverage" if !began => {
                    began = true;
                    let counts = ("lines-covered", "lines-valid");
                    let counts = (number(&element, counts.0), number(&element, counts.1));
                    if let (Some(covered), Some(lines)) = counts {
                        return Ok(Coverage { covered, lines });
                    }
                }
                other if !began => {
                    return Err(format!(
                        "it is neither Cobertura's XML nor lcov: its root is `{other}`"
                    ));
                }
                // They stand a second time beneath their class.
                "method" => in_method = true,
                "line" if !in_method => {
                    counted.lines += 1;
                    counted.covered += u64::from(number(&element, "hits").unwrap_or(0) > 0);
                }
                _ => {}
            },
            Ok(Event::End(element)) if element.local_name().as_ref() == "method" => {
                in_method = false;
            }
            Ok(_) => {}
            Err(e) => {
                return Err(format!("it is no XML from byte {} on: {e}", reader.error_position()));
            }
        }
    }
}

fn number(element: &BytesStart<'_>, name: &str) -> Option<u64> {
    let mut attributes = element.attributes();
    let mut attributes = attributes.with_checks(false).flatten();
    let attribute = attributes.find(|found| found.key.local_name().as_ref() == name)?;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
    value.trim().parse().ok()
}

/// Of each file the counts, if it has them, else its lines.
fn lcov(text: &str) -> Result<Coverage, String> {
    let (mut all, mut file, mut said) = (Coverage::default(), Coverage::default(), (None, None));
    let mut files = 0;
    let mut open = false;
    for line in text.lines().map(str::trim) {
        if let Some(count) = line.strip_prefix("LF:") {
            said.0 = count.parse::<u64>().ok();
        } else if let Some(count) = line.strip_prefix("LH:") {
            said.1 = count.parse::<u64>().ok();
        } else if let Some(reached) = line.strip_prefix("DA:") {
            file.lines += 1;
            let hits = reached.split(',').nth(1).and_then(|hits| hits.parse::<i64>().ok());
            file.covered += u64::from(hits.is_some_and(|hits| hits > 0));
        } else if line.starts_with("SF:") {
            open = true;
        } else if line == "end_of_record" && open {
            let (lines, covered) = (said.0.unwrap_or(file.lines), said.1.unwrap_or(file.covered));
            all.lines = all.lines.saturating_add(lines);
            all.covered = all.covered.saturating_add(covered);
            files += 1;
            (file, said, open) = (Coverage::default(), (None, None), false);
        }
    }
    match (files, open) {
        (_, true) => Err(format!("it is cut off behind {files} files")),
        (0, false) => Err("it is neither Cobertura's XML nor lcov".to_owned()),
        (_, false) => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(u64, u64), String> {
        parse(text.as_bytes()).map(|coverage| (coverage.covered, coverage.lines))
    }

    #[test]
    fn the_rate_is_never_more_than_it_is() {
        for (covered, lines, told) in
            [(0, 7, "0.0%"), (2, 3, "66.6%"), (9_999, 10_000, "99.9%"), (5, 5, "100.0%")]
        {
            assert_eq!(Coverage { covered, lines }.told(), told);
        }
        assert!((Coverage { covered: 2, lines: 3 }.rate() - 66.6).abs() < 1e-9);
    }

    #[test]
    fn a_file_of_coverage_py() {
        let xml = r#"<?xml version="1.0" ?><!DOCTYPE coverage SYSTEM "x.dtd">
            <coverage version="7.4" timestamp="1" lines-valid="40" lines-covered="31" line-rate="0.775"
            branches-covered="0"><sources/><packages></packages></coverage>"#;
        assert_eq!(read(xml), Ok((31, 40)));
        assert_eq!(read(&xml[..xml.len() - 30]), Ok((31, 40)), "the root says all");
    }

    #[test]
    fn without_counts_lines_are_counted_once() {
        let xml = r#"<coverage line-rate="0.5"><packages><package><classes><class><methods><method>
            <lines><line number="1" hits="1"/></lines></method></methods><lines><line number="1" hits="1"/>
            <line number="2" hits="0"/><line number="3" hits="12"/></lines></class></classes></package></packages>
            </coverage>"#;
        assert_eq!(read(xml), Ok((2, 3)));
        assert!(read("<coverage><line hits=\"1\"/><oops <<").unwrap_err().contains("from byte"));
    }

    #[test]
    fn lcov_with_and_without_counts() {
        let text = "TN:\nSF:a.py\nDA:1,1\nDA:2,0\nLF:10\nLH:4\nend_of_record\r\nSF:b.py\nDA:1,3,hash\nDA:2,0\n\
                    end_of_record\n";
        assert_eq!(read(text), Ok((5, 12)));
        let cut = text.strip_suffix("end_of_record\n").unwrap();
        assert_eq!(read(cut), Err("it is cut off behind 1 files".to_owned()));
    }

    #[test]
    fn what_is_no_report_is_said_to_be_none() {
        for (text, told) in [
            ("", "neither Cobertura's XML nor lcov"),
            ("{}", "neither Cobertura's XML nor lcov"),
            ("<html/>", "its root is `html`"),
            ("<!-- x -->", "no `coverage`"),
            ("<coverage/>", "it counts no lines"),
            ("<coverage lines-covered=\"5\" lines-valid=\"4\"/>", "5 of 4 lines"),
            ("SF:a\nend_of_record\n", "it counts no lines"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
        assert!(parse(b"\xff\xfe<\0c\0").is_err());
        let mut bytes = b"SF:\xff\nDA:1,1\nend_of_record\n".to_vec();
        assert_eq!(parse(&bytes).unwrap().lines, 1, "a name of any bytes");
        bytes.extend(
            std::iter::repeat_n(b"SF:a\nLF:18446744073709551615\nLH:1\nend_of_record\n", 3)
                .flatten(),
        );
        assert_eq!(parse(&bytes).unwrap().lines, u64::MAX);
    }
}
