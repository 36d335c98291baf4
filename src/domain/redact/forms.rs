//! The forms in which a value may turn up.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::domain::yaml;

/// Shorter values would be found in much that is no secret.
const SHORTEST: usize = 8;
/// Numbers of fewer digits are dates, ports, counts.
const DIGITS: usize = 10;

/// Values that stand in for a secret, or are set everywhere: to mask them would only spoil logs.
const COMMON: &[&str] = &[
    "airbyte-integrations",
    "anonymous",
    "application/json",
    "authorization",
    "changeit",
    "changeme",
    "client_credentials",
    "connector",
    "credentials",
    "destination",
    "development",
    "disabled",
    "localhost",
    "localhost:8080",
    "not-a-secret",
    "password",
    "placeholder",
    "postgres",
    "postgresql",
    "production",
    "redacted",
    "refresh_token",
    "required",
    "service_account",
    "standard",
    "undefined",
    "username",
    "verify-full",
];

/// RFC 3986's unreserved characters stay.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As `encodeURIComponent` has it.
const SCRIPT: &AsciiSet =
    &COMPONENT.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
/// A path keeps its slashes.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');
/// As HTML forms have it, but for the blank.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD);
/// Where programs break lines of base64: `base64`, PEM.
const BASE64_LINES: [usize; 2] = [76, 64];

/// All forms of one value.
pub(super) struct Forms {
    pub(super) patterns: BTreeSet<Vec<u8>>,
    /// Is the value as a whole among them?
    pub(super) whole: bool,
}

impl Forms {
    pub(super) fn of(value: &[u8], common: &str) -> Self {
        let mut forms = Self { patterns: BTreeSet::new(), whole: false };
        let trimmed = value.trim_ascii();
        if is_telling(trimmed, common) {
            forms.whole = true;
            forms.add(value);
            forms.add(trimmed);
        }
        let Ok(text) = std::str::from_utf8(trimmed) else { return forms };
        let mut leaves = BTreeSet::new();
        let structured = leaves_of(text, &mut leaves);
        for leaf in leaves {
            forms.part(&leaf, common);
            forms.lines(&leaf, false, common);
        }
        forms.lines(text, structured, common);
        forms
    }

    /// Of a document, lines that are nothing but structure are left.
    fn lines(&mut self, text: &str, structured: bool, common: &str) {
        if !text.contains('\n') {
            return;
        }
        for line in text.lines() {
            let line = line.trim();
            let border = line.starts_with("-----");
            let opens = structured && line.ends_with(['{', '[', ':']);
            let words = line.chars().filter(|c| c.is_alphanumeric()).count();
            if !border && !opens && words >= SHORTEST {
                self.part(line, common);
            }
        }
    }

    fn part(&mut self, text: &str, common: &str) {
        if is_telling(text.as_bytes(), common) {
            self.add(text.as_bytes());
        }
    }

    fn add(&mut self, value: &[u8]) {
        let patterns = &mut self.patterns;
        patterns.insert(value.to_vec());
        patterns.insert(hex::encode(value).into_bytes());
        patterns.insert(hex::encode_upper(value).into_bytes());
        for set in [COMPONENT, SCRIPT, PATH, FORM] {
            let encoded = percent_encode(value, set).to_string();
            let plus = encoded.replace("%20", "+");
            for text in [lower_hex(&encoded), encoded, lower_hex(&plus), plus] {
                patterns.insert(text.into_bytes());
            }
        }
        for engine in [&STANDARD, &URL_SAFE] {
            patterns.extend((0..3).map(|before| base64(engine, value, before)));
            let whole = engine.encode(value).into_bytes();
            for width in BASE64_LINES.into_iter().filter(|width| whole.len() > *width) {
                patterns.extend(whole.chunks(width).map(<[u8]>::to_vec));
            }
        }
        if let Ok(text) = std::str::from_utf8(value) {
            let json = escaped(&serde_json::Value::from(text).to_string());
            let slashed = json.replace('/', "\\/");
            patterns.insert(ascii(&slashed).into_bytes());
            patterns.insert(slashed.into_bytes());
            patterns.insert(ascii(&json).into_bytes());
            // A log of JSON lines that holds JSON.
            patterns.insert(escaped(&serde_json::Value::from(json.as_str()).to_string()).into());
            patterns.insert(json.into_bytes());
            patterns.extend(xml(text).map(String::into_bytes));
        }
        patterns.retain(|pattern| pattern.len() >= SHORTEST);
    }
}

/// Is it long and rare enough to be looked for?
fn is_telling(value: &[u8], common: &str) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return value.len() >= SHORTEST };
    let lower = text.to_lowercase();
    let only = |known: fn(&u8) -> bool| value.iter().all(known);
    let number = only(u8::is_ascii_digit) && value.len() < DIGITS;
    let repeated = value.windows(2).all(|two| two[0] == two[1]);
    value.len() >= SHORTEST
        && !number
        && !repeated
        && !is_date(text)
        && !COMMON.contains(&lower.as_str())
        && !common.contains(text)
}

/// `2026-01-31`, and with a time.
fn is_date(text: &str) -> bool {
    let Some((date, time)) = text.split_at_checked(10) else { return false };
    let digits = |at: &[usize]| at.iter().all(|at| date.as_bytes()[*at].is_ascii_digit());
    let dashes = [4, 7].iter().all(|at| date.as_bytes()[*at] == b'-');
    let of_time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | ' ');
    let zone = time.strip_prefix(['T', ' ']).unwrap_or(time).trim_end_matches('Z');
    dashes && digits(&[0, 1, 2, 3, 5, 6, 8, 9]) && zone.chars().all(of_time)
}

/// Gathers the texts of a JSON or YAML document, also of documents within its texts; false if it
/// is none.
fn leaves_of(text: &str, leaves: &mut BTreeSet<String>) -> bool {
    if text.starts_with(['{', '[', '"'])
        && let Ok(document) = serde_json::from_str::<serde_json::Value>(text)
    {
        json_leaves(&document, leaves);
        return true;
    }
    let Ok(document) = yaml::parse(text) else { return false };
    yaml_leaves(&document.value, leaves);
    matches!(document.value, yaml::Value::Map(_) | yaml::Value::List(_))
}

fn json_leaves(value: &serde_json::Value, leaves: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            if text.starts_with(['{', '[']) {
                leaves_of(text, leaves);
            }
            leaves.insert(text.clone());
        }
        serde_json::Value::Array(items) => {
            for item in items {
                json_leaves(item, leaves);
            }
        }
        serde_json::Value::Object(fields) => {
            for field in fields.values() {
                json_leaves(field, leaves);
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn yaml_leaves(value: &yaml::Value, leaves: &mut BTreeSet<String>) {
    match value {
        yaml::Value::Text(text) => {
            if text.starts_with(['{', '[']) {
                leaves_of(text, leaves);
            }
            leaves.insert(text.clone());
        }
        yaml::Value::List(items) => {
            for item in items {
                yaml_leaves(&item.value, leaves);
            }
        }
        yaml::Value::Map(entries) => {
            for entry in entries {
                yaml_leaves(&entry.node.value, leaves);
            }
        }
        yaml::Value::Null | yaml::Value::Bool(_) | yaml::Value::Number(_) => {}
    }
}

/// What stands for `value` in the base64 of anything that holds it, `before` bytes behind a
/// multiple of three: without the characters that depend on its neighbours.
fn base64(engine: &GeneralPurpose, value: &[u8], before: usize) -> Vec<u8> {
    let mut shifted = vec![0; before];
    shifted.extend_from_slice(value);
    let encoded = engine.encode(&shifted).into_bytes();
    let first = [0, 2, 3][before];
    let whole = shifted.len() * 8 / 6;
    encoded[first..whole].to_vec()
}

/// The digits of `%2F` in lower case.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('%');
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        text.push_str(&digits.to_ascii_lowercase());
        text.push_str(rest);
    }
    text
}

/// Without its quotes.
fn escaped(json: &str) -> String {
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    inner.unwrap_or(json).to_owned()
}

/// With `\u…` for what is not ASCII, as many programs print JSON.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// As texts and attributes of XML and HTML have it; programs differ in quotes and line ends.
fn xml(text: &str) -> impl Iterator<Item = String> {
    const QUOTES: [(&str, &str); 6] = [
        ("\"", "'"),
        ("&quot;", "'"),
        ("&quot;", "&#39;"),
        ("&quot;", "&apos;"),
        ("&quot;", "&#x27;"),
        ("&#34;", "&#39;"),
    ];
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    QUOTES.into_iter().flat_map(move |(double, single)| {
        let text = text.replace('"', double).replace('\'', single);
        ["\n", "&#10;", "&#xA;"].map(|end| text.replace('\n', end))
    })
}
