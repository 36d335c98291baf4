//! What tools really print, and what is read out of it.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::excerpt::gap_of;
use super::*;

/// `level path:line:column rule message`, a line each.
fn read(log: &str) -> Vec<String> {
    let line = |problem: &Problem| {
        let Place { path, line, column } = &problem.places[0];
        let column = column.map(|column| format!(":{column}")).unwrap_or_default();
        let message = problem.message.replace('\n', "; ");
        format!("{} {path}:{line}{column} [{}] {message}", problem.level.as_str(), problem.rule)
    };
    problems_of(log).iter().map(line).collect()
}

#[test]
fn pytest() {
    let log = "\
============================= test session starts ==============================
collected 3 items

unit_tests/test_source.py .FF                                            [100%]

=================================== FAILURES ===================================
_______________________________ test_read[users] _______________________________

    def test_read(stream):
        records = list(read(stream))
>       assert len(records) == 10
E       AssertionError: assert 9 == 10
E        +  where 9 = len([1, 2])

unit_tests/test_source.py:41: AssertionError
________________________________ test_state ____________________________________

unit_tests/test_source.py:52: 
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _

    def state(self):
>       return self.records['cursor']
E       KeyError: 'cursor'

source_shop/source.py:12: KeyError
=============================== warnings summary ===============================
unit_tests/test_source.py::test_ok
  /workspace/connectors/a/source_shop/source.py:3: DeprecationWarning: old
=========================== short test summary info ============================
FAILED unit_tests/test_source.py::test_read[users] - AssertionError: assert 9...
========================= 2 failed, 1 passed in 0.12s ==========================
";
    insta::assert_debug_snapshot!(read(log), @r#"
    [
        "error unit_tests/test_source.py:41 [AssertionError] AssertionError: assert 9 == 10; +  where 9 = len([1, 2])",
        "error source_shop/source.py:12 [KeyError] KeyError: 'cursor'",
        "warning /workspace/connectors/a/source_shop/source.py:3 [DeprecationWarning] old",
    ]
    "#);
    let broken = "E     File \"/w/test_a.py\", line 3\nE       def (\nE           ^\nE   SyntaxError: invalid syntax\n";
    assert_eq!(read(broken), ["error /w/test_a.py:3 [SyntaxError] invalid syntax"]);
    let short = "/w/test_a.py:7: AssertionError: assert 1 == 2\n";
    assert_eq!(read(short), ["error /w/test_a.py:7 [AssertionError] assert 1 == 2"]);
}

#[test]
fn python_tracebacks_end_in_the_frame_that_counts() {
    let log = "\
Traceback (most recent call last):
  File \"/workspace/main.py\", line 8, in <module>
    launch(source)
  File \"/usr/lib/python3.11/json/decoder.py\", line 337, in decode
    raise JSONDecodeError(\"Expecting value\", s, err.value) from None
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
";
    let problems = problems_of(log);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "Expecting value: line 1 column 1 (char 0)");
    let places: Vec<_> = problems[0].places.iter().map(|at| (at.path.as_str(), at.line)).collect();
    assert_eq!(places, [("/usr/lib/python3.11/json/decoder.py", 337), ("/workspace/main.py", 8)]);
}

#[test]
fn flake8_ruff_and_mypy() {
    let log = "\
./source_shop/source.py:1:1: F401 'os' imported but unused
source_shop/run.py:10:80: E501 line too long (88 > 79 characters)
source_shop/run.py:12:1: W291 trailing whitespace
source_shop/a.py:3:8: F401 [*] `json` imported but unused
F841 Local variable `x` is assigned to but never used
  --> source_shop/b.py:4:5
   |
 4 |     x = 1
   |     ^
   |
help: Remove assignment to unused variable `x`

invalid-syntax: Expected an expression
 --> source_shop/c.py:2:7
  |
Found 6 errors.
source_shop/d.py:7: error: Argument 1 to \"f\" has incompatible type \"str\"; expected \"int\"  [arg-type]
source_shop/d.py:9:5: note: Revealed type is \"builtins.int\"
Found 1 error in 1 file (checked 4 source files)
source_shop/e.py:1:0: C0114: Missing module docstring (missing-module-docstring)
config.yaml:3:1: [warning] missing document start \"---\" (document-start)
";
    insta::assert_debug_snapshot!(read(log), @r#"
    [
        "error ./source_shop/source.py:1:1 [F401] 'os' imported but unused",
        "error source_shop/run.py:10:80 [E501] line too long (88 > 79 characters)",
        "warning source_shop/run.py:12:1 [W291] trailing whitespace",
        "error source_shop/a.py:3:8 [F401] `json` imported but unused",
        "error source_shop/b.py:4:5 [F841] Local variable `x` is assigned to but never used",
        "error source_shop/c.py:2:7 [invalid-syntax] Expected an expression",
        "error source_shop/d.py:7 [arg-type] Argument 1 to \"f\" has incompatible type \"str\"; expected \"int\"",
        "note source_shop/d.py:9:5 [] Revealed type is \"builtins.int\"",
        "warning config.yaml:3:1 [] missing document start \"---\" (document-start)",
    ]
    "#);
}

#[test]
fn rustc() {
    let log = "\
\u{1b}[0m\u{1b}[1m\u{1b}[38;5;9merror[E0308]\u{1b}[0m\u{1b}[0m\u{1b}[1m: mismatched types\u{1b}[0m
\u{1b}[0m \u{1b}[0m\u{1b}[0m\u{1b}[1m\u{1b}[38;5;12m--> \u{1b}[0m\u{1b}[0msrc/main.rs:2:18\u{1b}[0m
  |
2 |     let x: u32 = \"a\";
  |            ---   ^^^ expected `u32`, found `&str`

warning: unused variable: `x`
 --> src/main.rs:2:9

error: could not compile `x` (bin \"x\") due to 1 previous error; 1 warning emitted
thread 'tests::reads' panicked at src/lib.rs:20:9:
assertion `left == right` failed
  left: 1
thread 'main' panicked at 'no records', src/main.rs:7:5
";
    insta::assert_debug_snapshot!(read(log), @r#"
    [
        "error src/main.rs:2:18 [E0308] mismatched types",
        "warning src/main.rs:2:9 [] unused variable: `x`",
        "error src/lib.rs:20:9 [panic] assertion `left == right` failed",
        "error src/main.rs:7:5 [panic] no records",
    ]
    "#);
}

#[test]
fn typescript_java_kotlin_gradle_and_go() {
    let log = "\
src/index.ts(10,5): error TS2322: Type 'string' is not assignable to type 'number'.
\u{1b}[96msrc/app.ts\u{1b}[0m:\u{1b}[93m7\u{1b}[0m:\u{1b}[93m3\u{1b}[0m - \u{1b}[91merror\u{1b}[0m\u{1b}[90m TS2304: \u{1b}[0mCannot find name 'x'.
/workspace/c/src/main/java/Shop.java:12: error: cannot find symbol
        Recrod r;
        ^
  symbol:   class Recrod
[ERROR] /workspace/c/src/main/java/Other.java:[14,9] cannot find symbol
e: file:///workspace/c/src/main/kotlin/Shop.kt:12:5 Unresolved reference: recrod
w: /workspace/c/src/main/kotlin/Old.kt: (3, 7): Variable 'x' is never used

FAILURE: Build failed with an exception.

* Where:
Build file '/workspace/c/build.gradle' line: 12

* What went wrong:
A problem occurred evaluating project ':c'.
# example.com/shop
./main.go:5:2: undefined: recrods
vet: ./read.go:9:2: declared and not used: x
--- FAIL: TestRead (0.00s)
    main_test.go:12: got 9 records, want 10
";
    insta::assert_debug_snapshot!(read(log), @r#"
    [
        "error src/index.ts:10:5 [TS2322] Type 'string' is not assignable to type 'number'.",
        "error src/app.ts:7:3 [TS2304] Cannot find name 'x'.",
        "error /workspace/c/src/main/java/Shop.java:12 [] cannot find symbol",
        "error /workspace/c/src/main/java/Other.java:14:9 [] cannot find symbol",
        "error /workspace/c/src/main/kotlin/Shop.kt:12:5 [] Unresolved reference: recrod",
        "warning /workspace/c/src/main/kotlin/Old.kt:3:7 [] Variable 'x' is never used",
        "error /workspace/c/build.gradle:12 [] A problem occurred evaluating project ':c'.",
        "error ./main.go:5:2 [] undefined: recrods",
        "error ./read.go:9:2 [] declared and not used: x",
        "error main_test.go:12 [] got 9 records, want 10",
    ]
    "#);
}

#[test]
fn what_is_no_complaint_is_left_alone() {
    let log = "\
2026-11-22T01:36:00Z starting at http://127.0.0.1:8080/health
12:34:56 tests/test_a.py:12 is slow
Downloading package-1.2.3.tar.gz (12:30)
see docs/readme.md:3 for more
at com.example.Shop.read(Shop.java:12)
$ cat a.py:3
source.py:3:
{\"time\":12,\"path\":\"a.py:3: no\"}
";
    assert_eq!(read(log), Vec::<String>::new());
}

#[test]
fn times_and_colours_do_not_hide_a_place_and_nothing_is_said_twice() {
    let line = "a.py:1:8: F401 unused";
    let log = format!(
        "2026-11-22T01:36:00.123Z {line}\n[01:36:00] {line}\r\n\u{1b}[1m{line}\u{1b}[0m\n10%\r{line}\n"
    );
    assert_eq!(read(&log), ["error a.py:1:8 [F401] unused"]);
}

#[test]
fn complaints_have_an_end() {
    let mut log = String::new();
    for line in 1..2_500 {
        let _ = writeln!(log, "a.py:{line}:1: E501 {}", "x".repeat(1_200));
    }
    let problems = problems_of(&log);
    assert_eq!(problems.len(), problems::GATHERED);
    assert!(problems.iter().all(|problem| problem.message.len() <= 1_000));
}

fn told(log: &str) -> Told {
    let mut reader = Reader::default();
    reader.push(log.as_bytes());
    reader.finish()
}

#[test]
fn a_failure_far_above_the_end_is_shown_with_it() {
    let mut log = String::new();
    for line in 1..=5_000 {
        let _ = writeln!(log, "2026-11-22T01:36:00Z test {line} passed");
    }
    log.push_str("Traceback (most recent call last):\n");
    for frame in 1..=100 {
        let _ = writeln!(log, "  File \"a.py\", line {frame}, in f\n    f()");
    }
    log.push_str("KeyError: 'cursor'\n");
    for line in 1..=5_000 {
        let _ = writeln!(log, "cleaning up {line}");
    }
    let told = told(&log);
    assert_eq!(told.lines(), 10_202);
    let text = told.telling(4_000);
    assert!(text.len() <= 4_000);
    assert!(text.starts_with("… 4997 lines left out …\ntest 4998 passed\ntest 4999"), "{text}");
    assert!(text.contains("recent call last):\n… 194 lines left out …\n"), "{text}");
    assert!(text.contains("line 100, in f\n    f()\nKeyError: 'cursor'\n"), "{text}");
    assert!(text.ends_with("cleaning up 5000\n"));
    assert!(!told.last(4_000).contains("Traceback"));
}

#[test]
fn a_short_log_is_shown_whole() {
    assert_eq!(told("one\n\u{1b}[31mtwo\u{1b}[0m").telling(100), "one\ntwo");
    assert_eq!(told("").telling(100), "");
    assert_eq!(told("[12:00:00] E   no\n").telling(100), "E   no\n");
    assert_eq!(told("one\n\n\n").telling(100), "one\n\n\n");
}

/// Text with what could break out: lines, returns, sequences, marks, characters of many bytes.
fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\u{1b}[31m".to_owned()),
        Just("\u{1b}]0;".to_owned()),
        Just("Error: x".to_owned()),
        Just("Traceback (most recent call last):\n  File \"a.py\", line 3\n".to_owned()),
        Just("E   assert 1\n".to_owned()),
        Just("=== FAILURES ===\n".to_owned()),
        Just("a.py:3:1: F401 x\n".to_owned()),
        Just("a.py:3: Error\n".to_owned()),
        Just("F401 x\n --> a.py:3:1\n".to_owned()),
        Just("🦀".to_owned()),
        Just("… 7 lines left out …\n".to_owned()),
        "[ -~]{0,60}",
        "\\PC{0,10}",
        Just("x".repeat(3_000)),
    ];
    let pieces = proptest::collection::vec(piece, 0..40);
    (pieces, 1_usize..20, any::<Option<u8>>()).prop_map(|(pieces, times, last)| {
        let mut log = pieces.concat().repeat(times).into_bytes();
        log.extend(last);
        log
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_printed_the_excerpt_keeps_its_limit(log in any_log(), limit in 0_usize..20_000) {
        let mut reader = Reader::default();
        reader.push(&log);
        let told = reader.finish();
        for text in [told.telling(limit), told.last(limit)] {
            prop_assert!(text.len() <= limit, "{} of {limit}", text.len());
            let controls = |c: char| c.is_control() && c != '\n' && c != '\t';
            prop_assert!(!text.contains(controls));
        }
        for problem in &told.problems {
            prop_assert!(!problem.places.is_empty() && !problem.message.is_empty());
            prop_assert!(problem.places.iter().all(|place| place.line > 0));
        }
    }

    #[test]
    fn it_does_not_matter_how_a_log_is_cut(log in any_log(), at in any::<prop::sample::Index>()) {
        // Very long lines may keep another part of themselves.
        prop_assume!(log.split(|byte| *byte == b'\n').all(|line| line.len() <= lines::LINE_MAX));
        let mut whole = Reader::default();
        whole.push(&log);
        let mut parts = Reader::default();
        let at = at.index(log.len() + 1);
        parts.push(&log[..at]);
        parts.push(&log[at..]);
        let (whole, parts) = (whole.finish(), parts.finish());
        prop_assert_eq!(whole.telling(6_000), parts.telling(6_000));
        prop_assert_eq!(whole.problems, parts.problems);
    }

    #[test]
    fn every_line_is_shown_or_counted(count in 0_u64..3_000, limit in 2_000_usize..9_000) {
        let mut log = String::new();
        for number in 0..count {
            let what = if number % 97 == 3 { "Error: no" } else { "fine" };
            let _ = writeln!(log, "{what} {number}");
        }
        let text = told(&log).telling(limit);
        let counted = |line: &str| gap_of(line).unwrap_or(1);
        prop_assert_eq!(text.lines().map(counted).sum::<u64>(), count);
    }
}

/// The worst that is common: records by the million, and times in front of everything.
#[test]
#[ignore = "a measurement: cargo test --profile quick --lib reading_is_cheap -- --ignored"]
fn reading_is_cheap() {
    const LINES: usize = 1_000_000;
    let kinds: [fn(usize) -> String; 3] = [
        |at| format!("a line of output {at} that says nothing in particular"),
        |at| format!("2026-11-22T01:36:00.123456Z INFO reading record {at} of stream users"),
        |at| {
            format!("{{\"type\":\"RECORD\",\"record\":{{\"id\":{at},\"at\":{at},\"list\":[1,2]}}}}")
        },
    ];
    for kind in kinds {
        let log: Vec<u8> =
            (0..LINES).flat_map(|at| format!("{:<99}\n", kind(at)).into_bytes()).collect();
        let begun = std::time::Instant::now();
        let mut reader = Reader::default();
        log.chunks(64 << 10).for_each(|chunk| reader.push(chunk));
        assert_eq!(reader.finish().lines(), 1_000_000);
        let took = begun.elapsed();
        assert!(took.as_millis() < 500, "{took:?} for 100 MB: less than 200 MB/s");
    }
}
