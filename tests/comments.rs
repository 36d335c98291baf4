//! Commands in comments: what is one, what is none, what is refused and why.

#[path = "support/given.rs"]
mod given;
#[path = "comments/peers.rs"]
mod peers;

use checkvalve::domain::command::{Command, Tested, help, parse};
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
