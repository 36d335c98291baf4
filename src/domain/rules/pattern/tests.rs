use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn patterns_match_whole_components() {
    for (text, path, expected) in [
        ("docs/**", "docs/a.md", true),
        ("docs/**", "docs/a/b.md", true),
        ("docs/**", "docs", false),
        ("docs/**", "docs-2/a.md", false),
        ("docs", "docs/a.md", true),
        ("docs", "docs", true),
        ("docs/", "docs/a.md", true),
        ("**/*.md", "README.md", true),
        ("**/*.md", "a/b/README.md", true),
        ("**/*.md", "a/b/README.rst", false),
        ("*", "README.md", true),
        ("*", "a/README.md", false),
        ("a/*/c", "a/b/c", true),
        ("a/*/c", "a/b/b/c", false),
        ("a/**/c", "a/c", true),
        ("a/**/c", "a/b/b/c", true),
        ("{a,b}/*.go", "b/x.go", true),
        ("{a,b}/*.go", "c/x.go", false),
        ("source-[a-c]?", "source-bz", true),
        ("source-[!a-c]?", "source-bz", false),
        (r"weird\*name", "weird*name", true),
        (r"weird\*name", "weird-name", false),
        ("tests/{name}/**", "tests/source-x/unit.py", true),
        ("a*b*c", "a--b--c", true),
        ("a*b*c", "a--b--", false),
    ] {
        assert_eq!(pattern(text).matches(path), expected, "`{text}` on `{path}`");
    }
}

#[test]
fn bindings_are_all_ways_to_read_a_path() {
    let one = |name: &str| Variables::from([("name".to_owned(), name.to_owned())]);
    assert_eq!(pattern("{name}/pyproject.toml").exact_bindings("a/pyproject.toml"), [one("a")]);
    assert!(pattern("{name}/pyproject.toml").exact_bindings("a/b/pyproject.toml").is_empty());
    assert!(pattern("{name}/x").exact_bindings("a/x/beneath").is_empty());
    assert_eq!(pattern("**/{name}/**").bindings("a/b/c"), [one("a"), one("b")]);
    assert_eq!(pattern("{name}/src/{name}.py").bindings("a/src/a.py"), [one("a")]);
    assert!(pattern("{name}/src/{name}.py").bindings("a/src/b.py").is_empty());
    assert_eq!(pattern("dags/load_{name}.py").bindings("dags/load_x.py"), [one("x")]);
    assert_eq!(pattern("tests/{name}").bindings("tests/a/deep/b"), [one("a")]);
}

#[test]
fn filling_escapes_what_a_name_may_hold() {
    let odd = Variables::from([("name".to_owned(), "a*b".to_owned())]);
    let filled = pattern("docs/{name}/*.md").fill(&odd).unwrap();
    assert!(filled.matches("docs/a*b/x.md") && !filled.matches("docs/aXb/x.md"));
    assert_eq!(pattern(filled.as_str()).alternatives, filled.alternatives);
    assert_eq!(pattern("docs/{name}.md").fill(&Variables::new()), None);
    assert_eq!(pattern("docs/{a,b}/x").literal_paths().unwrap(), ["docs/a/x", "docs/b/x"]);
    assert_eq!(pattern("a/b/*.py").folder(), "a/b");
}

#[test]
fn bad_patterns_say_the_mend() {
    for text in [
        "", "/docs", "./docs", "a/../b", "a//b", "a**", "{Name}", "{a", "a}", "[a", "*{name}", "\\",
    ] {
        let error = Pattern::parse(text).unwrap_err().to_string();
        assert!(!error.is_empty(), "{text}");
    }
    let bomb = "{a,b}".repeat(20);
    assert_eq!(Pattern::parse(&bomb), Err(PatternError::TooMany));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,40}", path in "[a-c/]{0,12}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let bound = pattern.bindings(&path);
            prop_assert!(bound.is_empty() || pattern.matches(&path));
        }
    }

    #[test]
    fn an_escaped_path_matches_itself(path in "[a-z*?{}\\[\\]\\\\]{1,8}(/[a-z*?{}\\[\\]\\\\]{1,8}){0,3}") {
        let pattern = Pattern::parse(&escape(&path)).unwrap();
        prop_assert!(pattern.matches(&path));
        prop_assert_eq!(pattern.literal_paths().unwrap(), vec![path]);
    }
}
