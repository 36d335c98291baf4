//! Commands in comments: what is one, what is none, what is refused and why.

use std::collections::BTreeSet;

use checkvalve::domain::command::{Asked, Command, Tested, help, parse};
use checkvalve::domain::trigger::Target;
use proptest::prelude::*;

fn targets(names: &[&str]) -> Vec<Target> {
    let target = |name: &&str| match name.split_once('/') {
        Some((connector, step)) => Target { connector: connector.into(), step: Some(step.into()) },
        None => Target { connector: (*name).into(), step: None },
    };
    names.iter().map(target).collect()
}

fn test(names: &[&str]) -> Command {
    Command::Test(Tested::Named(targets(names)))
}

fn commands(body: &str) -> Vec<Command> {
    let asked = parse(body);
    assert_eq!(asked.problems, Vec::<String>::new(), "{body:?}");
    asked.commands
}

fn problem(body: &str) -> String {
    let asked = parse(body);
    assert_eq!(asked.commands, [], "{body:?}");
    asked.problems.join("\n")
}

#[test]
fn every_command_is_understood() {
    assert_eq!(commands("/test"), [Command::Test(Tested::Affected)]);
    assert_eq!(commands("/test all"), [Command::Test(Tested::All)]);
    assert_eq!(commands("/test source-a"), [test(&["source-a"])]);
    assert_eq!(commands("/test source-a/unit"), [test(&["source-a/unit"])]);
    assert_eq!(commands("/retest"), [Command::Retest(vec![])]);
    assert_eq!(commands("/retest all"), [Command::Retest(vec![])]);
    assert_eq!(commands("/retest a b/c"), [Command::Retest(targets(&["a", "b/c"]))]);
    assert_eq!(commands("/cancel"), [Command::Cancel(vec![])]);
    assert_eq!(commands("/cancel a"), [Command::Cancel(targets(&["a"]))]);
    assert_eq!(commands("/ok-to-test"), [Command::OkToTest(None)]);
    let sha = "0123456789AB";
    let approved = Command::OkToTest(Some(sha.to_lowercase()));
    assert_eq!(commands(&format!("/ok-to-test {sha}")), [approved]);
    assert_eq!(commands("/ok-to-test cancel"), [Command::OkToTest(Some("cancel".into()))]);
    assert_eq!(commands("/help"), [Command::Help]);
    assert_eq!(commands("/test ?"), [Command::Help]);
}

#[test]
fn commas_and_any_unicode_blank_separate_names() {
    let wanted = [test(&["a", "b", "c"])];
    for body in [
        "/test a b c",
        "/test a,b,c",
        "/test a, b ,c,",
        "/test\ta\u{a0}b\u{3000}c",
        "/test a\u{2003}b\u{200b}\u{feff}c",
        "/test，a、b，c",
        "/test `a` `b`,`c`",
        "/test a <!-- the flaky one --> b c",
    ] {
        assert_eq!(commands(body), wanted, "{body:?}");
    }
}

#[test]
fn case_is_ignored_in_commands_and_flags_and_kept_in_names() {
    let asked = parse("/TeSt Source-A --No-Cache --FROM Build");
    assert_eq!(asked.commands, [test(&["Source-A"])]);
    assert!(asked.no_cache);
    assert_eq!(asked.from.as_deref(), Some("Build"));
    assert_eq!(commands("/RETEST ALL"), [Command::Retest(vec![])]);
}

#[test]
fn flags_are_read_in_every_spelling_that_keyboards_make() {
    for body in [
        "/test a --from build --no-cache",
        "/test --from=build a --no-cache",
        "/test —no-cache –from build a",
        "/test a --no-cache\n/retest b --from build\n",
    ] {
        let asked = parse(body);
        assert_eq!(asked.problems, Vec::<String>::new(), "{body:?}");
        assert!(asked.no_cache, "{body:?}");
        assert_eq!(asked.from.as_deref(), Some("build"), "{body:?}");
    }
}

#[test]
fn commands_stand_at_the_start_of_a_line() {
    let retest = [Command::Retest(vec![])];
    for body in [
        "/retest",
        "   /retest",
        "\r\n\r\n/retest\r\n",
        "some words\n/retest\nmore words",
        "old Mac\r/retest",
        "- a list\n\n/retest",
        "> quoted\n\n/retest",
        "```\ncode\n```\n/retest",
        "<!-- hidden -->\n\n/retest",
        "<details>\n\n/retest\n\n</details>",
        "/retest\n---\nan underline makes it a heading, and it was still meant",
    ] {
        assert_eq!(commands(body), retest, "{body:?}");
    }
}

#[test]
fn what_is_not_plain_text_at_the_start_of_a_line_is_no_command() {
    for body in [
        "please /retest",
        "    /retest",
        "\t/retest",
        "words\n    /retest",
        "//retest",
        "/ retest",
        "\\/retest",
        "&#47;retest",
        "/retester",
        "/testing this",
        "/test/foo",
        "/test-all",
        "/test.",
        "/retest?",
        "the path\n/tests/unit and\n/test/unit",
        "`/retest`",
        "`a span over\n/retest\nlines`",
        "```\n/retest\n```",
        "~~~~ sh\n/retest\n~~~~",
        "```\n/retest",
        "```\n```x\n/retest\n```",
        "- item\n\n  ```\n  /retest\n  ```",
        "> /retest",
        "> quoted\n/retest is still the quote's paragraph",
        "- /retest",
        "1. /retest",
        "# /retest",
        "<!--\n/retest\n-->",
        "words <!--\n/retest\n--> words",
        "<details>\n/retest\n</details>",
        "<pre>\n\n/retest\n</pre>",
        "[me]:\n/retest",
        "[a link's\n/retest\ntext](https://example.org)",
        "",
        "\u{feff}",
    ] {
        assert!(parse(body).is_empty(), "{body:?}: {:?}", parse(body));
    }
}

#[test]
fn several_commands_work_together_and_once() {
    assert_eq!(
        commands("/test a\nand\n/retest b\n\n/cancel c\n/test a"),
        [test(&["a"]), Command::Retest(targets(&["b"])), Command::Cancel(targets(&["c"]))]
    );
    let steps = "/test a/unit\n/cancel a/build";
    assert_eq!(commands(steps).len(), 2);
}

#[test]
fn contradictions_are_refused_with_a_reason() {
    for (body, named) in [
        ("/test a\n/cancel a", "`a`"),
        ("/cancel A\n/retest a", "`a`"),
        ("/test\n/cancel", "everything"),
        ("/test all\n/cancel b", "`b`"),
        ("/cancel\n/retest c", "`c`"),
        ("/test a/unit\n/cancel a", "`a`"),
    ] {
        let problem = problem(body);
        assert!(problem.contains("two comments") && problem.contains(named), "{body}: {problem}");
    }
    assert!(problem("/ok-to-test\n/ok-to-test cancel").contains("takes it back"));
    assert!(problem("/test all a").contains("either `all` or the names"));
    assert!(problem("/test --from a --from b").contains("only once"));

    let asked = parse("/test a --from unit\n/retest b --from build");
    assert_eq!(asked.commands, [test(&["a"])]);
    assert!(asked.problems[0].contains("`unit` in one line and `build` in another"));

    let asked = parse("/test a --no-cache\n/cancel a\n/retest b");
    assert_eq!(asked.commands, [Command::Retest(targets(&["b"]))], "the rest still counts");
}

#[test]
fn mistakes_name_what_to_write_instead() {
    assert!(problem("/test a --no-cahce").contains("did you mean `--no-cache`"));
    assert!(problem("/test --form build").contains("did you mean `--from`"));
    assert!(problem("/test --verbose-please").contains("there are `--no-cache` and"));
    assert!(problem("/test --no-cache=true").contains("takes no value"));
    assert!(problem("/test a --from").contains("`--from build`"));
    assert!(problem("/test a --from --no-cache").contains("`--from build`"));
    assert!(problem("/cancel --no-cache").contains("not with `/cancel`"));
    assert!(problem("/help --from x").contains("not with `/help`"));
    assert!(problem("/test a /retest").contains("a line of its own"));
    assert!(problem("/test a/b/c").contains("neither `connector` nor `connector/step`"));
    assert!(problem("/test a/").contains("neither"));
    assert!(problem("/test ..").contains("neither"));
    assert!(problem("/ok-to-test 1234567").contains("12 hex digits"));
    assert!(problem("/ok-to-test thanks").contains("12 hex digits"));
}

#[test]
fn our_reply_is_not_theirs_to_write() {
    let name = "x`**bold**`/y/z";
    let problem = problem(&format!("/test {name}{}", "q".repeat(500)));
    assert!(!problem.contains("`**"), "{problem}");
    assert!(problem.len() < 200, "{problem}");
}

#[test]
fn a_flood_is_bounded() {
    let flood: String =
        (0..5000).flat_map(|n| ["/test c".to_owned(), n.to_string(), "\n".to_owned()]).collect();
    let asked = parse(&flood);
    assert_eq!(asked.commands.len(), 20);
    assert!(asked.problems[0].contains("first 20"));
    let names: String =
        (0..5000).flat_map(|n| ["c".to_owned(), n.to_string(), " ".to_owned()]).collect();
    assert!(problem(&format!("/test {names}")).contains("/test all"));
}

#[test]
fn help_names_every_command_and_runs_none() {
    for word in ["/test", "/retest", "/cancel", "/help", "--no-cache", "--from"] {
        assert!(help().contains(word), "{word}");
    }
    assert!(parse(help()).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_comment_makes_the_parser_panic(body in "(?s).{0,300}") {
        parse(&body);
    }

    #[test]
    fn no_mixture_of_marks_makes_the_parser_panic(
        parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..24),
    ) {
        parse(&parts.concat());
    }

    /// However the text within the block looks, as long as it cannot close the fence.
    #[test]
    fn nothing_within_a_fenced_block_is_a_command(
        lines in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..12),
        before in "[a-z ]{0,10}",
    ) {
        let inside: String = lines.concat().replace('~', "");
        let body = format!("{before}\n\n~~~~~\n{inside}\n/test\n~~~~~\n");
        prop_assert!(parse(&body).is_empty(), "{:?}", parse(&body));
    }

    #[test]
    fn names_come_out_as_they_went_in(
        names in prop::collection::btree_set("[a-z][a-z0-9-]{0,20}(/[a-z]{1,8})?", 1..8),
    ) {
        prop_assume!(!names.contains("all"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        prop_assert_eq!(commands(&format!("/test {}", names.join(", "))), [test(&names)]);
    }
}

const PARTS: [&str; 24] = [
    "/test",
    "/retest",
    "/cancel",
    "/ok-to-test",
    "/help",
    " ",
    "\n",
    "\r\n",
    "\t",
    "`",
    "```",
    "~~~",
    "> ",
    "- ",
    "<!--",
    "-->",
    "<b>",
    "--from",
    "--no-cache",
    "a/b",
    ",",
    "\u{a0}",
    "\u{200b}",
    "ä🦀",
];

// ---- What peers do with 248 comments of their tests -------------------------------------------

#[derive(serde::Deserialize)]
struct Case {
    source: String,
    comment: String,
    expected: String,
    note: String,
}

/// What a comment starts, by the words of it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Test,
    Retest,
    Cancel,
    OkToTest,
    Help,
}

fn kinds(asked: &Asked) -> BTreeSet<Kind> {
    let kind = |command: &Command| match command {
        Command::Test(_) => Kind::Test,
        Command::Retest(_) => Kind::Retest,
        Command::Cancel(_) => Kind::Cancel,
        Command::OkToTest(_) => Kind::OkToTest,
        Command::Help => Kind::Help,
    };
    asked.commands.iter().map(kind).collect()
}

/// What the peer understands, where the row says so in words about the text alone. Rows about
/// permissions, states of pull requests, or other syntaxes have no answer here.
fn peers(case: &Case) -> Option<BTreeSet<Kind>> {
    let expected = case.expected.as_str();
    let mut found = BTreeSet::new();
    if let Some(class) = expected.strip_prefix("classified as ") {
        found.extend(named(class));
        return Some(found);
    }
    if expected == "no command" || expected == "no match" || expected.starts_with("ignored") {
        return Some(found);
    }
    if let Some(matched) = expected.strip_prefix("matches ") {
        for part in matched.split(" + ") {
            match part {
                _ if part.starts_with("help(") => {}
                _ if part.starts_with("job:") || part == "test-all" => {
                    found.insert(Kind::Test);
                }
                _ => found.extend(named(part)),
            }
        }
        return Some(found);
    }
    let (what, yes) = expected.split_once(" recognised: ")?;
    // `test/retest recognised` does not say which.
    if yes == "true" && what.contains('/') {
        return None;
    }
    if yes == "true" {
        found.extend(named(what));
        return Some(found);
    }
    None
}

fn named(class: &str) -> Option<Kind> {
    ["ok-to-test", "retest", "test", "cancel"]
        .into_iter()
        .zip([Kind::OkToTest, Kind::Retest, Kind::Test, Kind::Cancel])
        .find(|(name, _)| class.starts_with(name))
        .map(|(_, kind)| kind)
}

/// Where we differ, and why; a row that no longer differs fails the test.
const DIFFERENCES: &[(&str, &str)] = &[
    ("/pac retest", "a prefix that an installation may configure; ours has none"),
    ("/pac retest prname", "a configured prefix"),
    ("/pac cancel", "a configured prefix"),
    ("/pac cancel prname", "a configured prefix"),
    ("    /retest", "four blanks make a code block"),
    ("/Retest", "we ignore case"),
    ("/RETEST foo", "we ignore case"),
    ("/ok-to-test\n/retest", "several commands of a comment work together"),
    ("/ok-to-test deadbeef\r\nthanks", "eight digits do not name a commit for good: twelve do"),
    ("<!--\n/retest\n-->", "nobody sees a command in an HTML comment"),
    ("/retest\u{a0}foo", "any Unicode blank separates"),
    ("/cancel\n/retest", "a contradiction is refused with a reason"),
    ("~~~\n/retest\n~~~", "a code block"),
    ("```\n/retest", "a fence that is not closed is a code block to the end, as GitHub shows it"),
    ("/retest\n/test e2e", "several commands of a comment work together"),
    ("/ok-to-test cancel", "taking an approval back is part of ours"),
    ("/test e2e,unit", "commas alone separate"),
    ("/test e2e-serial", "they compare with known jobs; unknown names are our caller's to answer"),
    ("/test all please", "`all` with further words is refused, not guessed"),
    ("/retest e2e", "ours takes names"),
    ("/test ?", "we answer it as `/help`, which this table counts as a command"),
    ("/test", "ours means all that is affected"),
    ("/retest foo=bar", "a name that nobody has: our caller answers"),
    ("/cancel e2e", "they have no /cancel"),
    ("/retest\u{a0}e2e", "any Unicode blank separates"),
    ("/retest (comment edited)", "edited comments are ignored before their text is read"),
];

#[test]
fn peers_cases_are_read_as_theirs_or_the_difference_has_a_reason() {
    let Ok(folder) = env("CHECKVALVE_CASES") else {
        println!("not checked: CHECKVALVE_CASES names no folder with comments.jsonl");
        return;
    };
    let path = std::path::Path::new(&folder).join("comments.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut equal, mut unused) = (0, DIFFERENCES.iter().map(|d| d.0).collect::<BTreeSet<_>>());
    let mut unexplained = Vec::new();
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let ours = kinds(&parse(&case.comment));
        match peers(&case) {
            None => {}
            Some(theirs) if theirs == ours => equal += 1,
            Some(theirs) => {
                if DIFFERENCES.iter().any(|(comment, _)| *comment == case.comment) {
                    unused.remove(case.comment.as_str());
                    continue;
                }
                unexplained.push(format!(
                    "{:?}: ours {ours:?}, theirs {theirs:?} ({}; {})",
                    case.comment, case.source, case.note
                ));
            }
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    assert!(unused.is_empty(), "no longer different: {unused:?}");
    println!("{equal} read alike, {} differ with a reason", DIFFERENCES.len());
    assert!(equal > 50, "only {equal} compared");
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn env(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}
