//! What tools say behind a place: how grave, by which rule, in which words.

use super::super::annotation::Level;

/// Bytes of a message that are kept.
const MESSAGE_MAX: usize = 1_000;

/// What is said of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) level: Level,
    pub(super) rule: String,
    pub(super) message: String,
}

impl Said {
    pub(super) fn new(level: Level, rule: &str, message: &str) -> Self {
        let message = message.trim();
        let message = &message[..message.floor_char_boundary(MESSAGE_MAX)];
        Self { level, rule: rule.to_owned(), message: message.to_owned() }
    }
}

/// Source files whose tools may put a bare message behind a place.
const SOURCES: [&str; 22] = [
    "py", "pyi", "go", "rs", "js", "jsx", "ts", "tsx", "mjs", "vue", "java", "kt", "kts", "scala",
    "groovy", "gradle", "c", "cc", "cpp", "h", "rb", "sh",
];

/// What stands before a place and tells how grave it is: `e: ` of Kotlin, `[ERROR] ` of Maven.
const PREFIXES: [(&str, Option<Level>); 10] = [
    ("e: ", Some(Level::Error)),
    ("w: ", Some(Level::Warning)),
    ("[ERROR] ", Some(Level::Error)),
    ("[error] ", Some(Level::Error)),
    ("[WARNING] ", Some(Level::Warning)),
    ("[warn] ", Some(Level::Warning)),
    ("ERROR: ", Some(Level::Error)),
    ("Error: ", Some(Level::Error)),
    ("WARNING: ", Some(Level::Warning)),
    ("vet: ", None),
];

/// A line without what stands before a place; for a first look.
pub(super) fn unprefixed(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let prefixes = PREFIXES.iter().map(|(prefix, _)| prefix.as_bytes());
    match line.first() {
        Some(b'[' | b'e' | b'w' | b'E' | b'W' | b'v' | b'-') => {
            let mut prefixes = prefixes.chain([b"--> ".as_slice()]);
            prefixes.find_map(|prefix| line.strip_prefix(prefix)).unwrap_or(line)
        }
        Some(_) | None => line,
    }
}

/// How grave it is, and what follows.
pub(super) fn prefixed(line: &str) -> (Option<Level>, &str) {
    let line = line.trim_start();
    let found = PREFIXES
        .iter()
        .find_map(|(prefix, level)| line.strip_prefix(prefix).map(|rest| (*level, rest)));
    found.unwrap_or((None, line))
}

/// What follows a place.
pub(super) fn behind(path: &str, hint: Option<Level>, rest: &str) -> Option<Said> {
    let colon = rest.starts_with(':');
    let text = rest.trim_start_matches([':', ',']).trim_start();
    let text = text.strip_prefix("- ").unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    if let Some(said) = severe(text).or_else(|| coded(text)).or_else(|| raised(text)) {
        return Some(said);
    }
    if let Some(level) = hint {
        return Some(Said::new(level, "", text));
    }
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let telling = text.len() > 3 && text.starts_with(|c: char| c.is_alphabetic() || c == '\'');
    (colon && telling && SOURCES.contains(&extension)).then(|| Said::new(Level::Error, "", text))
}

/// `error: message`, `[warning] message`, `error TS2322: message`, `error[E0308]: message`, and
/// `message  [rule]` at the end.
pub(super) fn severe(text: &str) -> Option<Said> {
    const WORDS: [(&str, Level); 9] = [
        ("fatal error", Level::Error),
        ("error", Level::Error),
        ("fatal", Level::Error),
        ("warning", Level::Warning),
        ("warn", Level::Warning),
        ("note", Level::Note),
        ("info", Level::Note),
        ("hint", Level::Note),
        ("help", Level::Note),
    ];
    let bracket = text.starts_with('[');
    let text = text.strip_prefix('[').unwrap_or(text);
    let (level, rest) = WORDS.iter().find_map(|(word, level)| {
        let start = text.get(..word.len())?;
        start.eq_ignore_ascii_case(word).then(|| (*level, &text[word.len()..]))
    })?;
    if bracket {
        return Some(Said::new(level, "", rest.strip_prefix(']')?));
    }
    if let Some(message) = rest.strip_prefix(':') {
        let message = message.trim();
        return Some(match message.strip_suffix(']').and_then(|text| text.rsplit_once("  [")) {
            Some((message, rule)) if is_rule(rule) => Said::new(level, rule, message),
            Some(_) | None => Said::new(level, "", message),
        });
    }
    let (rule, message) = if let Some(rest) = rest.strip_prefix('[') {
        rest.split_once("]:")?
    } else {
        rest.strip_prefix(' ')?.split_once(':')?
    };
    is_rule(rule).then(|| Said::new(level, rule, message))
}

fn is_rule(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=60).contains(&text.len()) && text.bytes().all(sign)
}

/// `F401 [*] message`, `C0114: message`.
pub(super) fn coded(text: &str) -> Option<Said> {
    let end = text.find([' ', ':'])?;
    let (code, message) = (&text[..end], text[end..].trim_start_matches(':').trim_start());
    let letters = code.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = &code[letters..];
    let shaped = (1..=5).contains(&letters)
        && (2..=5).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let message = message.strip_prefix("[*] ").unwrap_or(message);
    // What linters call a warning.
    let level = if code.starts_with('W') { Level::Warning } else { Level::Error };
    (shaped && !message.is_empty()).then(|| Said::new(level, code, message))
}

/// `AssertionError`, `KeyError: 'x'`, `DeprecationWarning: message`: what Python raises.
pub(super) fn raised(text: &str) -> Option<Said> {
    let (name, message) = text.split_once(": ").unwrap_or((text.trim_end_matches(':'), ""));
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_name = (3..=120).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
        && last.starts_with(|c: char| c.is_ascii_uppercase());
    let ends = |ends: &[&str]| ends.iter().any(|end| last.ends_with(end));
    let level = if ends(&["Warning"]) {
        Level::Warning
    } else if ends(&["Error", "Exception", "Failed", "Exit", "Interrupt", "Failure", "Timeout"]) {
        Level::Error
    } else {
        return None;
    };
    is_name.then(|| Said::new(level, last, message))
}
