//! What holds for every comment that anybody may write.

use checkvalve::domain::command::parse;

/// Never a panic; the same answer each time; no command without a line that begins with one; and none
/// in what is quoted or fenced.
pub(crate) fn holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let asked = parse(&text);
    assert_eq!(asked.to_string(), parse(&text).to_string(), "not the same twice");
    let lines = || text.split(['\n', '\r']);
    let begins = |line: &str| line.trim_start_matches(['\u{feff}']).trim_start().starts_with('/');
    if !lines().any(begins) {
        assert!(asked.is_empty(), "nobody wrote a command: {text:?}: {asked}");
    }
    let quoted: Vec<String> = lines().map(|line| format!("> {line}")).collect();
    let quoted = parse(&quoted.join("\n"));
    assert!(quoted.is_empty(), "in a quote: {text:?}: {quoted}");
    // Longer than any fence of its own.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let body: Vec<&str> = lines().collect();
    let fenced = parse(&format!("{fence}\n{}\n{fence}\n", body.join("\n")));
    assert!(fenced.is_empty(), "in a code block: {text:?}: {fenced}");
}
