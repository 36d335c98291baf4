//! The forms in which a value may turn up.

use std::collections::BTreeSet;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::parts;

/// Shorter values would be found in much that is no secret.
const SHORTEST: usize = 8;
/// Numbers of fewer digits are dates, ports, counts.
const DIGITS: usize = 10;
/// Of larger ones only some forms are looked for: all of them would take too much memory.
const LARGE: usize = 4 * 1024;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

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
/// A `'` within what a shell has in `'`.
const SHELL_QUOTES: [&str; 2] = [r"'\''", r#"'"'"'"#];

/// All forms of one value.
#[derive(Default)]
pub(super) struct Forms {
    pub(super) patterns: BTreeSet<Vec<u8>>,
    /// Is the value as a whole among them?
    pub(super) whole: bool,
    /// Are some of its parts not?
    pub(super) parts_left: bool,
}

impl Forms {
    pub(super) fn of(value: &[u8], common: &str) -> Self {
        let mut forms = Self::default();
        let trimmed = value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value).trim_ascii();
        if is_telling(trimmed, common) {
            forms.whole = true;
            forms.add(value);
            forms.add(trimmed);
            forms.unpadded(trimmed, common);
        }
        let Ok(text) = std::str::from_utf8(trimmed) else { return forms };
        let mut leaves = BTreeSet::new();
        let structured = parts::leaves_of(text, &mut leaves);
        for leaf in leaves {
            let told = forms.part(&leaf, common);
            forms.parts_left |= structured && !told && !leaf.is_empty();
            forms.unpadded(leaf.as_bytes(), common);
            forms.lines(&leaf, false, common);
            forms.within(&leaf, false, common);
        }
        forms.lines(text, structured, common);
        forms.within(text, structured, common);
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

    /// What lines assign, and passwords of URLs. A document's own lines are its leaves anyway.
    fn within(&mut self, text: &str, structured: bool, common: &str) {
        for assigned in text.lines().flat_map(parts::assigned) {
            let told = self.part(assigned, common);
            self.parts_left |= !structured && !told;
            self.unpadded(assigned.as_bytes(), common);
        }
        for password in parts::passwords(text) {
            self.parts_left |= !self.part(&password, common);
        }
    }

    /// False if it is too short or too common.
    fn part(&mut self, text: &str, common: &str) -> bool {
        let telling = is_telling(text.as_bytes(), common);
        if telling {
            self.add(text.as_bytes());
        }
        telling
    }

    /// Base64 as many programs pass it on.
    fn unpadded(&mut self, value: &[u8], common: &str) {
        let end = value.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        if is_telling(&value[..end], common) {
            self.put(&value[..end]);
        }
    }

    fn add(&mut self, value: &[u8]) {
        self.put(value);
        for engine in [&STANDARD, &URL_SAFE] {
            for before in 0..3 {
                self.put(base64(engine, value, before));
            }
        }
        let text = std::str::from_utf8(value).ok();
        if let Some(text) = text {
            self.put(escaped(&serde_json::Value::from(text).to_string()));
        }
        if value.len() > LARGE {
            return;
        }
        self.encoded(value);
        if let Some(text) = text {
            self.quoted(text);
        }
    }

    fn encoded(&mut self, value: &[u8]) {
        self.put(hex::encode(value));
        self.put(hex::encode_upper(value));
        for set in [COMPONENT, SCRIPT, PATH, FORM] {
            let encoded = percent_encode(value, set).to_string();
            let plus = encoded.replace("%20", "+");
            for text in [lower_hex(&encoded), encoded, lower_hex(&plus), plus] {
                self.put(text);
            }
        }
        for engine in [&STANDARD, &URL_SAFE] {
            let whole = engine.encode(value).into_bytes();
            for width in BASE64_LINES.into_iter().filter(|width| whole.len() > *width) {
                whole.chunks(width).for_each(|line| self.put(line));
            }
        }
    }

    fn quoted(&mut self, text: &str) {
        let json = escaped(&serde_json::Value::from(text).to_string());
        let slashed = json.replace('/', "\\/");
        self.put(ascii(&slashed));
        self.put(slashed);
        self.put(ascii(&json));
        for json in html_safe(&json).into_iter().chain([json]) {
            // A log of JSON lines that holds JSON.
            self.put(escaped(&serde_json::Value::from(json.as_str()).to_string()));
            self.put(json);
        }
        for quote in SHELL_QUOTES {
            self.put(text.replace('\'', quote));
        }
        xml(text).for_each(|text| self.put(text));
    }

    fn put(&mut self, pattern: impl Into<Vec<u8>>) {
        let pattern = pattern.into();
        if pattern.len() >= SHORTEST {
            self.patterns.insert(pattern);
        }
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
    unicode(json, |unit| format!("\\u{unit:04x}"))
}

fn unicode(json: &str, escape: fn(u16) -> String) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| escape(*unit)));
        }
    }
    text
}

/// As Go, Gson and .NET print JSON that HTML may hold.
fn html_safe(json: &str) -> [String; 3] {
    let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let gson = go.replace('=', "\\u003d").replace('\'', "\\u0027");
    // In JSON, a quote's backslash is its own.
    let mut net = json.replace("\\\"", "\"");
    for c in ['"', '&', '\'', '<', '>', '+', '`', '\u{7f}'] {
        net = net.replace(c, &format!("\\u{:04X}", u32::from(c)));
    }
    let others = |json: &str| json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    [others(&go), others(&gson), unicode(&net, |unit| format!("\\u{unit:04X}"))]
}

/// As texts and attributes of XML and HTML have it; programs differ in quotes, `>` and line ends.
fn xml(text: &str) -> impl Iterator<Item = String> {
    const QUOTES: [(&str, &str); 6] = [
        ("\"", "'"),
        ("&quot;", "'"),
        ("&quot;", "&#39;"),
        ("&quot;", "&apos;"),
        ("&quot;", "&#x27;"),
        ("&#34;", "&#39;"),
    ];
    let bare = text.replace('&', "&amp;").replace('<', "&lt;");
    let full = bare.replace('>', "&gt;");
    [bare, full].into_iter().flat_map(|text| {
        QUOTES.into_iter().flat_map(move |(double, single)| {
            let text = text.replace('"', double).replace('\'', single);
            ["\n", "&#10;", "&#xA;"].map(|end| text.replace('\n', end))
        })
    })
}
