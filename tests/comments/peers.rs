//! What peers do with 248 comments of their tests and parsers, and where ours differs: each such
//! comment stands in a table of `docs/cases.md`, with the reason.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

use std::collections::{BTreeMap, BTreeSet};

use checkvalve::domain::command::{Asked, Command, Tested, parse};
use checkvalve::domain::trigger::Target;

use super::given::given;

#[derive(serde::Deserialize)]
struct Case {
    source: String,
    comment: String,
    expected: String,
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

impl Kind {
    fn of(word: &str) -> Option<Self> {
        Some(match word.to_lowercase().as_str() {
            "/test" => Self::Test,
            "/retest" => Self::Retest,
            "/cancel" => Self::Cancel,
            "/ok-to-test" => Self::OkToTest,
            "/help" => Self::Help,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Retest => "retest",
            Self::Cancel => "cancel",
            Self::OkToTest => "ok-to-test",
            Self::Help => "help",
        }
    }
}

type Kinds = BTreeSet<Kind>;
type Names = BTreeSet<String>;

/// What a comment asks for: commands, and the names of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    kinds: Kinds,
    /// `None`: a case does not say.
    names: Option<Names>,
}

impl Reading {
    fn of(asked: &Asked) -> Self {
        let kind = |command: &Command| match command {
            Command::Test(_) => Kind::Test,
            Command::Retest(_) => Kind::Retest,
            Command::Cancel(_) => Kind::Cancel,
            Command::OkToTest(_) => Kind::OkToTest,
            Command::Help => Kind::Help,
        };
        let targets = |command: &Command| match command {
            Command::Test(Tested::Named(names))
            | Command::Retest(names)
            | Command::Cancel(names) => names.clone(),
            Command::Test(_) | Command::OkToTest(_) | Command::Help => Vec::new(),
        };
        let name = |target: Target| match target.step {
            Some(step) => format!("{}/{step}", target.connector),
            None => target.connector,
        };
        let kinds = asked.commands.iter().map(kind).collect();
        Self { kinds, names: Some(asked.commands.iter().flat_map(targets).map(name).collect()) }
    }

    fn only(kinds: Kinds) -> Self {
        Self { kinds, names: None }
    }

    /// As the table says it.
    fn in_words(&self) -> String {
        let words: Vec<&str> = self.kinds.iter().map(|kind| kind.word()).collect();
        let words = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
        match self.names.iter().flatten().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => words,
            names => format!("{words}: {}", names.join(", ")),
        }
    }
}

/// What a row says of its comment's text.
#[derive(Debug, PartialEq, Eq)]
enum Theirs {
    Reads(Reading),
    /// In words, for which ours has no like.
    Says(&'static str),
    /// A command of theirs that is called otherwise than ours are.
    OtherWord(String),
    /// An event's action, or a commit's message.
    NoComment,
    /// It is about people, jobs or states, which the text does not say.
    NotText,
}

/// How a case says that the text starts nothing.
const NOTHING: [&str; 9] = [
    "no command",
    "no match",
    "no args",
    "ignored",
    "block removed",
    "starts nothing; repl",
    "starts nothing; no reply",
    "respond with help",
    "only the help reply",
];
const SAID: [(&str, &str); 3] = [
    ("both ", "test, also of what stands in the block"),
    ("args {", "test, with arguments"),
    ("retest runs, ", "retest; of the unknown name nothing is said"),
];

fn theirs(case: &Case) -> Theirs {
    let (comment, expected) = (case.comment.as_str(), case.expected.as_str());
    let is_event = comment.starts_with('(') || comment.ends_with("edited)");
    if case.source.ends_with("TestSkipCI") || is_event {
        return Theirs::NoComment;
    }
    let nothing = NOTHING.iter().any(|begin| expected.starts_with(begin));
    if nothing || expected == "nothing" || expected == "parse error" {
        return Theirs::Reads(Reading::default());
    }
    let lines = words(comment);
    if lines.is_empty() {
        return other_word(comment).map_or(Theirs::NotText, Theirs::OtherWord);
    }
    if let Some((_, said)) = SAID.iter().find(|(begin, _)| expected.starts_with(begin)) {
        return Theirs::Says(said);
    }
    match reads(expected, lines) {
        Some(reading) => Theirs::Reads(reading),
        None => Theirs::NotText,
    }
}

/// The command of another name that a comment holds.
fn other_word(comment: &str) -> Option<String> {
    let is_command = |word: &&str| word.starts_with(['/', '@']);
    let begins = |line: &str| {
        line.split_whitespace().next().filter(|word| is_command(word)).map(str::to_lowercase)
    };
    // Words before the sign are no command to anyone but one peer.
    let anywhere = || {
        comment
            .split_whitespace()
            .filter(|word| word.starts_with('@'))
            .map(str::to_lowercase)
            .next()
    };
    comment.split('\n').rev().find_map(begins).or_else(anywhere)
}

/// `lines` are the commands that begin its lines.
fn reads(expected: &str, lines: Kinds) -> Option<Reading> {
    let classes = ["classified as ", "type "];
    if let Some(class) = classes.iter().find_map(|begin| expected.strip_prefix(begin)) {
        let name = quoted_after(expected, "cancel target ").filter(|name| !name.is_empty());
        let name = name.or_else(|| quoted_after(expected, "target run "));
        let name = name.or_else(|| quoted_after(expected, "name="));
        let names =
            name.map(|name| Names::from([name]).into_iter().filter(|n| !n.is_empty()).collect());
        return Some(Reading { kinds: named(class).into_iter().collect(), names });
    }
    if let Some(matched) = expected.strip_prefix("matches ") {
        let jobs = matched.split(" + ").filter_map(|part| part.strip_prefix("job:"));
        let jobs: Names = jobs.map(str::to_owned).collect();
        let kinds = matched.split(" + ").filter_map(job_or_command).collect();
        return Some(Reading { kinds, names: (!jobs.is_empty()).then_some(jobs) });
    }
    if let Some((what, yes)) = expected.split_once(" recognised: ") {
        // That it is not this command says nothing of others.
        let kinds = if what.contains('/') { lines } else { named(what).into_iter().collect() };
        return (yes == "true").then(|| Reading::only(kinds));
    }
    if expected.starts_with("extracted") || expected.starts_with("name ") {
        let name = quoted_after(expected, "name ").filter(|name| !name.is_empty());
        let branch = quoted_after(expected, "branch ").filter(|branch| !branch.is_empty());
        let branch = branch.map(|branch| format!("on branch {branch}"));
        return Some(Reading {
            kinds: lines,
            names: Some(name.into_iter().chain(branch).collect()),
        });
    }
    let by_its_word = ["pinned SHA", "event processed", "NOT a valid block"];
    let by_its_word = by_its_word.iter().any(|begin| expected.starts_with(begin));
    by_its_word.then(|| Reading::only(lines))
}

fn quoted_after(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.strip_prefix('"')?.split_once('"')?.0.to_owned())
}

/// Commands that begin lines, as every peer would see them.
fn words(comment: &str) -> Kinds {
    let first = |line: &str| line.split_whitespace().next().and_then(Kind::of);
    comment.split('\n').filter_map(first).collect()
}

fn job_or_command(part: &str) -> Option<Kind> {
    match part {
        _ if part.starts_with("help(") => None,
        _ if part.starts_with("job:") || part == "test-all" => Some(Kind::Test),
        _ => named(part),
    }
}

fn named(class: &str) -> Option<Kind> {
    let kinds = [Kind::OkToTest, Kind::Retest, Kind::Test, Kind::Cancel];
    kinds.into_iter().find(|kind| class.starts_with(kind.word()))
}

/// A comment, how it is read by them and by us, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    comment: String,
    theirs: String,
    ours: String,
}

/// The table of `docs/cases.md`, with the reasons, and the numbers of the other.
fn table() -> (BTreeMap<Difference, String>, BTreeMap<String, usize>) {
    let text = include_str!("../../docs/cases.md");
    let (_, text) = text.split_once("## Comments").expect("the section on comments");
    let (mut differences, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match cells.as_slice() {
            [comment, theirs, ours, why] => {
                let Ok(comment) = serde_json::from_str(comment.trim_matches('`')) else { continue };
                let (theirs, ours) = ((*theirs).to_owned(), (*ours).to_owned());
                let why = (*why).to_owned();
                differences.insert(Difference { comment, theirs, ours }, why);
            }
            [what, number] => {
                numbers.extend(number.parse().map(|number| ((*what).to_owned(), number)));
            }
            _ => panic!("not a row of either table: {line}"),
        }
    }
    (differences, numbers)
}

/// A comment as the table writes it: as JSON, and with no backtick that would end the code.
fn written(comment: &str) -> String {
    let json = serde_json::to_string(comment).unwrap();
    json.replace('`', "\\u0060").replace('|', "\\u007c").replace('\u{a0}', "\\u00a0")
}

#[test]
fn peers_cases_are_read_as_theirs_or_the_difference_has_a_reason() {
    let Some(folder) = given("CHECKVALVE_CASES", "comments.jsonl") else { return };
    let text = std::fs::read_to_string(folder.join("comments.jsonl")).unwrap();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut differ = BTreeSet::new();
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let ours = Reading::of(&parse(&case.comment));
        let mut differs = |theirs: String, ours: String| {
            if theirs == ours {
                return "read alike".to_owned();
            }
            differ.insert(Difference { comment: case.comment.clone(), theirs, ours });
            "read otherwise".to_owned()
        };
        let class = match theirs(&case) {
            Theirs::Reads(theirs) if theirs.names.is_none() => {
                differs(theirs.in_words(), Reading::only(ours.kinds).in_words())
            }
            Theirs::Reads(theirs) => differs(theirs.in_words(), ours.in_words()),
            Theirs::Says(said) => differs(said.to_owned(), ours.in_words()),
            Theirs::OtherWord(word) => {
                assert!(ours.kinds.is_empty(), "{:?} is no command of ours", case.comment);
                format!("`{word}`: no command of ours")
            }
            Theirs::NoComment => "events without a new comment, and messages of commits".to_owned(),
            Theirs::NotText => {
                "about people, jobs or states, of which the text says nothing".to_owned()
            }
        };
        *counted.entry(class).or_default() += 1;
    }
    let (table, numbers) = table();
    let unexplained: Vec<String> = differ
        .iter()
        .filter(|row| !table.contains_key(row))
        .map(|row| format!("| `{}` | {} | {} | why |", written(&row.comment), row.theirs, row.ours))
        .collect();
    assert!(unexplained.is_empty(), "without a reason:\n{}", unexplained.join("\n"));
    let unused: Vec<&Difference> = table.keys().filter(|row| !differ.contains(row)).collect();
    assert!(unused.is_empty(), "no longer different: {unused:#?}");
    assert!(table.values().all(|why| why.len() > 8), "a reason is missing");
    assert_eq!(counted, numbers, "the numbers of docs/cases.md");
}
