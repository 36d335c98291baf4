//! What peers do with 248 comments of their tests and parsers, and where ours differs: each such
//! comment stands in a table of `docs/cases.md`, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use checkvalve::domain::command::{Asked, Command, parse};

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

fn kinds(asked: &Asked) -> Kinds {
    let kind = |command: &Command| match command {
        Command::Test(_) => Kind::Test,
        Command::Retest(_) => Kind::Retest,
        Command::Cancel(_) => Kind::Cancel,
        Command::OkToTest(_) => Kind::OkToTest,
        Command::Help => Kind::Help,
    };
    asked.commands.iter().map(kind).collect()
}

/// As the table says it.
fn in_words(kinds: &Kinds) -> String {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// What a row says of its comment's text.
#[derive(Debug, PartialEq, Eq)]
enum Theirs {
    Reads(Kinds),
    /// A command of theirs that is called otherwise than ours are.
    OtherWords,
    /// An event's action, or a commit's message.
    NoComment,
    /// It is about people, jobs or states, which the text does not say.
    NotText,
}

fn theirs(case: &Case) -> Theirs {
    let Case { source, comment, expected } = case;
    let comment = comment.as_str();
    if source.ends_with("TestSkipCI") || comment.starts_with('(') || comment.ends_with("edited)") {
        return Theirs::NoComment;
    }
    let nothing = ["no command", "no match", "no args", "nothing", "ignored", "block removed"];
    if nothing.iter().any(|begin| expected.starts_with(begin)) {
        return Theirs::Reads(Kinds::new());
    }
    let lines = words(comment);
    if lines.is_empty() {
        let about_text = ["Nice weather", "not /ok-to-test", "not a command"];
        return match about_text.iter().any(|begin| comment.starts_with(begin)) {
            true => Theirs::NotText,
            false if comment.is_empty() => Theirs::NotText,
            false => Theirs::OtherWords,
        };
    }
    if let Some(class) = expected.strip_prefix("classified as ") {
        return Theirs::Reads(named(class).into_iter().collect());
    }
    if let Some(class) = expected.strip_prefix("type ") {
        return Theirs::Reads(named(class).into_iter().collect());
    }
    if let Some(matched) = expected.strip_prefix("matches ") {
        return Theirs::Reads(matched.split(" + ").filter_map(job_or_command).collect());
    }
    if let Some((what, yes)) = expected.split_once(" recognised: ") {
        return match (yes, what.contains('/')) {
            ("true", true) => Theirs::Reads(lines),
            ("true", false) => Theirs::Reads(named(what).into_iter().collect()),
            // That it is not this command says nothing of others.
            _ => Theirs::NotText,
        };
    }
    let by_its_word =
        ["extracted", "name \"", "pinned SHA", "args {", "event processed", "NOT a valid block"];
    if by_its_word.iter().any(|begin| expected.starts_with(begin)) {
        return Theirs::Reads(lines);
    }
    if expected == "parse error" {
        return Theirs::Reads(Kinds::new());
    }
    Theirs::NotText
}

/// Commands that begin lines, as every peer would see them.
fn words(comment: &str) -> Kinds {
    let first = |line: &str| line.split_whitespace().next().and_then(Kind::of);
    comment.lines().filter_map(first).collect()
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
    let Ok(folder) = env("CHECKVALVE_CASES") else {
        println!("not checked: CHECKVALVE_CASES names no folder with comments.jsonl");
        return;
    };
    let path = std::path::Path::new(&folder).join("comments.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut differ = BTreeSet::new();
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let ours = kinds(&parse(&case.comment));
        let class = match theirs(&case) {
            Theirs::Reads(theirs) if theirs == ours => "read alike",
            Theirs::Reads(theirs) => {
                let (theirs, ours) = (in_words(&theirs), in_words(&ours));
                differ.insert(Difference { comment: case.comment, theirs, ours });
                "read otherwise"
            }
            Theirs::OtherWords => {
                assert!(ours.is_empty(), "{:?} is no command of ours", case.comment);
                "commands of other names, which are none of ours"
            }
            Theirs::NoComment => "events without a new comment, and messages of commits",
            Theirs::NotText => "about people, jobs or states, of which the text says nothing",
        };
        *counted.entry(class.to_owned()).or_default() += 1;
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

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn env(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}
