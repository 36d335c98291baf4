//! Which lines begin to tell what failed, and which tell of an error by themselves.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::RegexSet;

/// Where test runners and compilers begin to tell what failed: headings first, since they gather
/// what the lines above only mention.
static HEADINGS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"^=+ (FAILURES|ERRORS) =+$",     // pytest
        r"^failures:$",                   // cargo test
        r"^\s*--- FAIL: ",                // go test
        r"^\s*\d+ failing$",              // mocha
        r"^\s*● ",                        // jest
        r"^FAILURE: Build failed",        // Gradle
        r"^\* What went wrong:",          // Gradle
        r"^\[ERROR\] Failures:",          // Maven
        r"^(FAIL|ERROR): \w+ \(",         // unittest
        r"^Traceback \(most recent call", // Python
        r"panicked at ",                  // Rust
        r"^panic: ",                      // Go
        r#"^Exception in thread ""#,      // Java
    ])
    .ok()
});

/// Single lines that tell of an error.
static ERRORS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"^(E|ERR|Error|ERROR|FATAL|fatal|error)(\[[\w-]+\])?[: !]",
        r"^\S+:\d+(:\d+)?:? (fatal )?error",
        r"^\S+\(\d+,\d+\): error",
        r"^npm (ERR!|error)",
        r"^(make|ninja): \*\*\*",
        r"^(sh|bash|/bin/sh|\S+\.sh): .*(not found|No such file|denied)",
        r"\b(FAILED|command not found|Segmentation fault|Killed|OutOfMemoryError)\b",
        r"\b(\w+Error|\w+Exception): ",
    ])
    .ok()
});

/// What every line has in it that one of the patterns above matches.
static HINTS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let hints = [
        "rror",
        "ERROR",
        "ERR",
        "FAIL",
        "FATAL",
        "fatal",
        "E  ",
        "xception",
        "panic",
        "Traceback",
        "failures:",
        "failing",
        "● ",
        "* What",
        "***",
        "not found",
        "No such",
        "denied",
        "Segment",
        "Killed",
    ];
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(hints).ok()
});

/// How telling a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Heading,
    Error,
}

/// May it be one that [`of`] knows? Cheap: for every line of a log.
pub(super) fn may(line: &[u8]) -> bool {
    HINTS.as_ref().is_some_and(|hints| hints.is_match(line))
}

/// What a line without controls tells.
pub fn of(line: &str) -> Option<Mark> {
    let is = |set: &LazyLock<Option<RegexSet>>| set.as_ref().is_some_and(|set| set.is_match(line));
    if is(&HEADINGS) {
        Some(Mark::Heading)
    } else if is(&ERRORS) {
        Some(Mark::Error)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_a_failure_is_known_at_a_first_look_too() {
        for (line, mark) in [
            ("================ FAILURES ================", Mark::Heading),
            ("failures:", Mark::Heading),
            ("    --- FAIL: TestRead/users (0.01s)", Mark::Heading),
            ("  2 failing", Mark::Heading),
            ("  ● reads › users", Mark::Heading),
            ("FAILURE: Build failed with an exception.", Mark::Heading),
            ("* What went wrong:", Mark::Heading),
            ("Traceback (most recent call last):", Mark::Heading),
            ("thread 'main' panicked at src/main.rs:2:5:", Mark::Heading),
            ("Exception in thread \"main\" java.lang.Error", Mark::Heading),
            ("E   assert 1 == 2", Mark::Error),
            ("error[E0308]: mismatched types", Mark::Error),
            ("src/a.ts(1,2): error TS2322: no", Mark::Error),
            ("npm ERR! missing script: test", Mark::Error),
            ("make: *** [test] Error 1", Mark::Error),
            ("sh: 1: ruff: not found", Mark::Error),
            ("FAILED tests/test_a.py::test_x - assert 1 == 2", Mark::Error),
            ("KeyError: 'cursor'", Mark::Error),
            ("Killed", Mark::Error),
        ] {
            assert_eq!(of(line), Some(mark), "{line}");
            assert!(may(line.as_bytes()), "{line}");
        }
        for line in ["0 errors, 0 warnings", "collected 3 items", "Entering the cave", ""] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
