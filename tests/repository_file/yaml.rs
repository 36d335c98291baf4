//! What YAML itself makes of a file: every breach with its line and column.

use checkvalve::config::repository::{FILE, decode, resolve};
use checkvalve::domain::catalog::Paths;

use super::{read, refused};

const GOOD: &str = "components:\n  - name: a\n    include: [b]\n";

#[test]
fn each_breach_has_its_place_and_words() {
    let deep = format!("a: {}\n", "[".repeat(40) + &"]".repeat(40));
    let nested: Vec<String> = (0..40).map(|depth| format!("{}a:", " ".repeat(depth))).collect();
    let nested = nested.join("\n");
    let long = format!("# {}\n", "x".repeat(1024 * 1024));
    for (text, place, expected) in [
        (format!("{GOOD}\timpact: []\n"), "4:2", "a tab indents this line"),
        (format!("{GOOD}impact:\n\t- a\n"), "5:2", "indent with blanks"),
        ("a: [1, 2\nb: 3\n".to_owned(), "2:2", "':'"),
        ("a: {b: c\n".to_owned(), "1:4", "unclosed bracket"),
        ("a: \"x\nb: 3\n".to_owned(), "2:1", "quoted"),
        ("x: 'a\n".to_owned(), "1:6", "quoted"),
        ("a: b: c\n".to_owned(), "1:5", "mapping values are not allowed"),
        ("key: value\n  nested: x\n".to_owned(), "2:9", "mapping values are not allowed"),
        ("@x: 1\n".to_owned(), "1:1", "`@'"),
        (format!("{GOOD}impact: \u{1}\n"), "4:9", "unexpected character"),
        (format!("{GOOD}---\n{GOOD}"), "5:1", "more than one document"),
        ("a: *x\n".to_owned(), "1:4", "has no anchor"),
        (format!("{GOOD}? [a, b]\n: c\n"), "4:3", "a key that is a plain text"),
        (deep, "1:35", "more than 32 levels"),
        (nested, "33:33", "more than 32 levels"),
        (long, "1:1", "larger than 1048576 bytes"),
        (format!("{GOOD}{GOOD}"), "4:1", "the first is on line 1"),
        (format!("{GOOD}    name: b\n"), "4:5", "`name` stands twice in a component"),
        (String::new(), "1:1", "wants a mapping"),
        ("# nothing\n".to_owned(), "1:10", "wants a mapping"),
    ] {
        let message = refused(&text);
        let shown: String = message.chars().take(600).collect();
        assert!(message.contains(expected), "{expected}\n{shown}");
        assert!(message.starts_with(&format!("{FILE}:{place}: ")), "{place}\n{shown}");
    }
}

#[test]
fn what_editors_write_is_no_error() {
    for text in [
        format!("\u{feff}{GOOD}"),
        GOOD.replace('\n', "\r\n"),
        format!("---\n{GOOD}"),
        format!("%YAML 1.2\n---\n{GOOD}...\n"),
        GOOD.trim_end().to_owned(),
        format!("{GOOD}\n\n# the end"),
    ] {
        let rules = read(&text).unwrap_or_else(|invalid| panic!("{text:?}\n{invalid}"));
        assert_eq!(rules.components[0].name, "a");
    }
}

#[test]
fn places_count_characters_behind_marks_and_carriage_returns() {
    let message = refused(&GOOD.replace("include", "é: 1\r\n    includes").replace('\n', "\r\n"));
    assert!(message.contains(":3:5: a component has no key `é`\n 3 |     é: 1\n"), "{message}");
    let message = refused("\u{feff}version: 2\ncomponents: [{name: a, include: [b]}]\n");
    assert!(message.contains(":1:1"), "{message}");
    let message = refused("components: [{ name: \"é é\", includes: [b] }]\n");
    assert!(message.contains(":1:29: a component has no key `includes`"), "{message}");
}

#[test]
fn anchors_give_the_place_where_they_are_used() {
    let text = "components: [{ name: a, include: [a] }]\npipelines:\n  - steps:\n    \
                - &base { id: a, image: x, run: y, tmeout: 5m }\n    - { <<: *base, id: b }\n";
    let message = refused(text);
    assert!(message.contains(":4:"), "{message}");
    let text = "x: &x [*x]\n";
    assert!(refused(text).starts_with(".github/checkvalve.yml:1:"), "{}", refused(text));
}

#[test]
fn bytes_that_are_no_text_are_named_by_place() {
    let wrong = |bytes: &[u8]| decode(FILE, bytes.to_vec()).unwrap_err().to_string();
    let latin = [GOOD.as_bytes(), b"# caf\xe9 au lait\n"].concat();
    let message = wrong(&latin);
    assert!(message.starts_with(".github/checkvalve.yml:4:6: the file is not UTF-8"), "{message}");
    assert!(message.contains("0xe9") && message.contains("save it as UTF-8"), "{message}");
    assert!(wrong(b"\xff\xfea\0").contains("UTF-16"));
    assert_eq!(decode(FILE, GOOD.as_bytes().to_vec()).unwrap(), GOOD);
}

#[test]
fn what_a_file_holds_does_not_steer_a_terminal() {
    let key = "components: [{ name: a, include: [b] }]\n\"\\e[31mred\\n\": 1\n";
    let message = resolve(Some(("a.yml", key)), "here", &Paths::default()).unwrap_err();
    let message = message.to_string();
    assert!(!message.contains('\u{1b}'), "{message:?}");
    assert!(message.contains("a.yml:2:1: the file has no key"), "{message:?}");
    let raw = refused("a: \u{1b}[31m\n");
    assert!(!raw.contains('\u{1b}'), "{raw:?}");
}

#[test]
fn a_file_of_a_thousand_errors_says_that_it_stops() {
    let lines: Vec<String> = (0..1000).map(|at| format!("key{at}: 1")).collect();
    let text = lines.join("\n");
    let invalid = read(&text).unwrap_err();
    assert_eq!(invalid.errors.len(), 51);
    assert!(invalid.to_string().contains("there are more than 50 errors"));
}
