//! What people ask for in comments and by buttons.

mod words;
mod written;

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag};

use self::words::{is_blank, is_separator, words};
use super::names::ConnectorName;
use super::trigger::Target;

/// More than anybody asks for by hand; a comment of thousands would keep us busy for nothing.
const COMMANDS_MAX: usize = 20;
const NAMES_MAX: usize = 200;
/// Blanks before a command; four make a code block.
const INDENT_MAX: usize = 3;
/// The shortest commit that `/ok-to-test` takes (hex digits).
const COMMIT_MIN: usize = 12;
/// What `/ok-to-test` takes in place of a commit.
pub const TAKE_BACK: &str = "cancel";
const FLAGS: [&str; 2] = ["--no-cache", "--from"];

/// One command of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// All that is affected, every connector, or these.
    Test(Tested),
    /// What did not succeed on this head and what never ran; limited to these if any are named.
    Retest(Vec<Target>),
    /// Everything that runs or waits; limited to these if any are named.
    Cancel(Vec<Target>),
    /// Approve a commit, which need not be named if it was known; or [`TAKE_BACK`].
    OkToTest(Option<String>),
    Help,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tested {
    Affected,
    All,
    Named(Vec<Target>),
}

/// What a comment asks for: commands in order, and what was wrong with lines that look like ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub commands: Vec<Command>,
    /// `--no-cache`
    pub no_cache: bool,
    /// `--from <step>`
    pub from: Option<String>,
    /// A sentence each: what is refused and what to write instead.
    pub problems: Vec<String>,
}

impl Asked {
    /// Is there nothing in it for us?
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.problems.is_empty()
    }
}

/// Reads a comment as `CommonMark`: a command stands at the start of a line, at most three blanks
/// before it; never inside code blocks, inline code, quotes, links or HTML (design §5.3). A line
/// with a problem does nothing; the other lines still count.
pub fn parse(body: &str) -> Asked {
    let text = Text::of(body);
    let mut asked = Asked::default();
    for line in lines(body) {
        let Some((word, rest)) = text.command(body, line) else { continue };
        if asked.commands.len() == COMMANDS_MAX {
            asked.problems.push(format!(
                "Only the first {COMMANDS_MAX} commands of a comment are carried out."
            ));
            break;
        }
        match Line::read(word, &rest).and_then(Line::understand) {
            Ok((command, flags)) => asked.take(command, flags),
            Err(problem) => asked.refuse(problem),
        }
    }
    asked.refuse_contradictions();
    asked
}

/// What can be written in a comment, as Markdown.
pub fn help() -> &'static str {
    "| command | what it does |\n\
     |---|---|\n\
     | `/test` | runs everything that this change affects, planned anew |\n\
     | `/test all` | runs every connector |\n\
     | `/test source-a, source-b` | runs these connectors; `source-a/unit` is one step |\n\
     | `/retest` | runs again what did not succeed on this commit, and what never ran, as it was planned |\n\
     | `/retest source-a` | the same, of this connector |\n\
     | `/cancel`, `/cancel source-a` | ends what runs or waits; a step alone can't be ended |\n\
     | `/ok-to-test 1a2b3c4d5e6f` | has this commit of a stranger's run, after you looked at it; `/ok-to-test cancel` takes it back |\n\
     | `/help` | shows this |\n\
     \n\
     `--no-cache` reuses no earlier result, `--from <step>` runs that step and what comes after it. A command stands \
     at the start of a line; several lines work together; upper and lower case are one. An edited \
     comment runs nothing."
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Test,
    Retest,
    Cancel,
    OkToTest,
    Help,
}

impl Word {
    const ALL: [Self; 5] = [Self::Test, Self::Retest, Self::Cancel, Self::OkToTest, Self::Help];

    fn as_str(self) -> &'static str {
        match self {
            Self::Test => "/test",
            Self::Retest => "/retest",
            Self::Cancel => "/cancel",
            Self::OkToTest => "/ok-to-test",
            Self::Help => "/help",
        }
    }
}

/// Where in a comment plain text stands, and where HTML within a line.
struct Text {
    plain: Vec<Range<usize>>,
    html: Vec<Range<usize>>,
}

impl Text {
    fn of(body: &str) -> Self {
        let (mut plain, mut html) = (Vec::new(), Vec::new());
        // How deep within something that is not the author's own plain text.
        let mut foreign = 0_usize;
        for (event, range) in Parser::new_ext(body, Options::empty()).into_offset_iter() {
            match event {
                Event::Start(tag) if foreign > 0 || is_foreign(&tag) => foreign += 1,
                Event::End(_) => foreign = foreign.saturating_sub(1),
                Event::Text(_) if foreign == 0 => plain.push(range),
                Event::InlineHtml(_) => html.push(range),
                Event::Start(_)
                | Event::Text(_)
                | Event::Code(_)
                | Event::InlineMath(_)
                | Event::DisplayMath(_)
                | Event::Html(_)
                | Event::FootnoteReference(_)
                | Event::SoftBreak
                | Event::HardBreak
                | Event::Rule
                | Event::TaskListMarker(_) => {}
            }
        }
        Self { plain, html }
    }

    /// The command of a line, and what follows it on the line.
    fn command(&self, body: &str, line: Range<usize>) -> Option<(Word, String)> {
        let text = &body[line.clone()];
        let trimmed = text.trim_start_matches(|c: char| is_blank(c) && c != '\t');
        let indent = &text[..text.len() - trimmed.len()];
        if indent.chars().count() > INDENT_MAX {
            return None;
        }
        let end = trimmed.find(is_separator).unwrap_or(trimmed.len());
        let (written, rest) = trimmed.split_at(end);
        let word =
            Word::ALL.into_iter().find(|word| word.as_str().eq_ignore_ascii_case(written))?;
        let start = line.start + indent.len();
        within(&self.plain, start).then(|| (word, self.without_html(rest, start + end)))
    }

    /// `text`, which stands at `start` of the comment, without what a reader of the rendered
    /// comment does not see.
    fn without_html(&self, text: &str, start: usize) -> String {
        text.char_indices()
            .map(|(at, c)| if within(&self.html, start + at) { ' ' } else { c })
            .collect()
    }
}

/// Ranges are in order and do not overlap.
fn within(ranges: &[Range<usize>], at: usize) -> bool {
    let next = ranges.partition_point(|range| range.end <= at);
    ranges.get(next).is_some_and(|range| range.contains(&at))
}

fn is_foreign(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::CodeBlock(_)
            | Tag::BlockQuote(_)
            | Tag::HtmlBlock
            | Tag::Link { .. }
            | Tag::Image { .. }
    )
}

/// Markdown's lines: `\n`, `\r\n` and `\r` end one.
fn lines(body: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    body.split(['\n', '\r']).map(move |line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    })
}

#[derive(Debug, Default)]
struct Flags {
    no_cache: bool,
    from: Option<String>,
}

impl Flags {
    fn first(&self) -> Option<&'static str> {
        match (self.no_cache, &self.from) {
            (true, _) => Some(FLAGS[0]),
            (false, Some(_)) => Some(FLAGS[1]),
            (false, None) => None,
        }
    }
}

/// A command's line, split into names and flags.
struct Line {
    word: Word,
    names: Vec<String>,
    flags: Flags,
}

impl Line {
    fn read(word: Word, rest: &str) -> Result<Self, String> {
        let mut line = Self { word, names: Vec::new(), flags: Flags::default() };
        // `source-a` in backticks means source-a.
        let mut words = words(rest).map(|word| word.trim_matches('`')).filter(|w| !w.is_empty());
        while let Some(word) = words.next() {
            match flag(word) {
                Some(flag) => line.flag(&flag, &mut words)?,
                None => line.names.push(word.to_owned()),
            }
        }
        if line.names.len() > NAMES_MAX {
            return Err(format!(
                "`{}` names more than {NAMES_MAX} connectors: write `/test all` instead.",
                word.as_str()
            ));
        }
        Ok(line)
    }

    fn flag<'a>(
        &mut self,
        written: &str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let (name, value) = match written.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (written, None),
        };
        match (name.to_lowercase().as_str(), value) {
            ("--no-cache", None) => self.flags.no_cache = true,
            ("--no-cache", Some(_)) => return Err("`--no-cache` takes no value.".to_owned()),
            ("--from", value) => {
                let step = value
                    .or_else(|| words.next())
                    .filter(|step| !step.is_empty() && flag(step).is_none() && !step.contains('/'));
                let step = step.ok_or("`--from` needs a step's name: `--from build`.")?;
                if self.flags.from.as_deref().is_some_and(|other| other != step) {
                    return Err("`--from` can be given only once.".to_owned());
                }
                self.flags.from = Some(step.to_owned());
            }
            (unknown, _) => return Err(unknown_flag(unknown)),
        }
        Ok(())
    }

    fn understand(self) -> Result<(Command, Flags), String> {
        if let (Word::Cancel | Word::OkToTest | Word::Help, Some(flag)) =
            (self.word, self.flags.first())
        {
            let (flag, word) = (flag, self.word.as_str());
            return Err(format!("`{flag}` goes with `/test` and `/retest`, not with `{word}`."));
        }
        let asks_for_help = matches!(self.names.as_slice(), [name] if name == "?");
        let command = match self.word {
            _ if asks_for_help => Command::Help,
            Word::Help => Command::Help,
            Word::Test => Command::Test(match self.targets()? {
                Named::None => Tested::Affected,
                Named::All => Tested::All,
                Named::These(targets) => Tested::Named(targets),
            }),
            Word::Retest => Command::Retest(self.targets()?.into()),
            Word::Cancel => Command::Cancel(self.targets()?.into()),
            Word::OkToTest => Command::OkToTest(self.approved()?),
        };
        Ok((command, self.flags))
    }

    fn targets(&self) -> Result<Named, String> {
        let is_all = |name: &String| name.eq_ignore_ascii_case("all");
        match self.names.as_slice() {
            [] => Ok(Named::None),
            [name] if is_all(name) => Ok(Named::All),
            names if names.iter().any(is_all) => Err(format!(
                "`{} all` takes no further names: write either `all` or the names.",
                self.word.as_str()
            )),
            names => {
                names.iter().map(|name| target(name)).collect::<Result<_, _>>().map(Named::These)
            }
        }
    }

    fn approved(&self) -> Result<Option<String>, String> {
        let is_commit = |text: &str| {
            (COMMIT_MIN..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match self.names.as_slice() {
            [] => Ok(None),
            [one] if is_commit(one) || one.eq_ignore_ascii_case(TAKE_BACK) => {
                Ok(Some(one.to_ascii_lowercase()))
            }
            [other, ..] => Err(format!(
                "`/ok-to-test` takes one commit ({COMMIT_MIN} hex digits or more) or `cancel`, \
                 not {}.",
                quoted(other)
            )),
        }
    }
}

enum Named {
    None,
    All,
    These(Vec<Target>),
}

/// For `/retest` and `/cancel`, all is what they mean without names.
impl From<Named> for Vec<Target> {
    fn from(named: Named) -> Self {
        match named {
            Named::None | Named::All => Vec::new(),
            Named::These(targets) => targets,
        }
    }
}

/// `connector` or `connector/step`.
fn target(name: &str) -> Result<Target, String> {
    if name.starts_with('/') {
        return Err(format!("{} must stand at the start of a line of its own.", quoted(name)));
    }
    let (connector, step) = match name.split_once('/') {
        Some((connector, step)) => (connector, Some(step)),
        None => (name, None),
    };
    let sound = |part: &str| part.parse::<ConnectorName>().is_ok();
    if !sound(connector) || !step.is_none_or(sound) {
        return Err(format!("{} is neither `connector` nor `connector/step`.", quoted(name)));
    }
    Ok(Target { connector: connector.to_owned(), step: step.map(str::to_owned) })
}

/// A word that begins as flags do; keyboards of phones make a dash of `--`.
fn flag(word: &str) -> Option<String> {
    match word.strip_prefix(['—', '–']) {
        Some(name) => Some(format!("--{}", name.trim_start_matches('-'))),
        None => word.starts_with('-').then(|| word.to_owned()),
    }
}

fn unknown_flag(written: &str) -> String {
    let distance = |flag: &&str| strsim::damerau_levenshtein(flag, written);
    let closest = FLAGS.into_iter().min_by_key(distance).filter(|flag| distance(flag) <= 4);
    let written = quoted(written);
    match closest {
        Some(closest) => format!("There is no flag {written}: did you mean `{closest}`?"),
        None => format!("There is no flag {written}: there are `--no-cache` and `--from <step>`."),
    }
}

/// A word of the author's in our reply: short, and no Markdown in it works.
fn quoted(word: &str) -> String {
    const LONGEST: usize = 60;
    let clean = |c: char| if c == '`' || c.is_control() { '\'' } else { c };
    let cut = if word.chars().count() > LONGEST { "…" } else { "" };
    format!("`{}{cut}`", word.chars().take(LONGEST).map(clean).collect::<String>())
}

impl Asked {
    fn take(&mut self, command: Command, flags: Flags) {
        if let (Some(one), Some(other)) = (&self.from, &flags.from)
            && !one.eq_ignore_ascii_case(other)
        {
            let (one, other) = (quoted(one), quoted(other));
            self.refuse(format!(
                "`--from` is {one} in one line and {other} in another: use two comments."
            ));
            return;
        }
        self.no_cache |= flags.no_cache;
        self.from = self.from.take().or(flags.from);
        if !self.commands.contains(&command) {
            self.commands.push(command);
        }
    }

    fn refuse(&mut self, problem: String) {
        if !self.problems.contains(&problem) && self.problems.len() < COMMANDS_MAX {
            self.problems.push(problem);
        }
    }

    /// Commands that undo each other: neither is carried out, for nobody can know which was meant.
    fn refuse_contradictions(&mut self) {
        let mut refused = BTreeSet::new();
        let mut problems = Vec::new();
        for (at, one) in self.commands.iter().enumerate() {
            for (before, other) in self.commands[..at].iter().enumerate() {
                let Some(problem) = contradiction(other, one).or_else(|| contradiction(one, other))
                else {
                    continue;
                };
                refused.extend([at, before]);
                problems.push(problem);
            }
        }
        let mut at = 0..;
        self.commands.retain(|_| at.next().is_none_or(|at| !refused.contains(&at)));
        for problem in problems {
            self.refuse(problem);
        }
        if self.commands.is_empty() {
            (self.no_cache, self.from) = (false, None);
        }
    }
}

fn contradiction(one: &Command, other: &Command) -> Option<String> {
    match (one, other) {
        (Command::Test(Tested::Named(started)), Command::Cancel(cancelled)) => {
            undone(Word::Test, started, cancelled)
        }
        (Command::Test(Tested::Affected | Tested::All), Command::Cancel(cancelled)) => {
            undone(Word::Test, &[], cancelled)
        }
        (Command::Retest(started), Command::Cancel(cancelled)) => {
            undone(Word::Retest, started, cancelled)
        }
        (Command::OkToTest(one), Command::OkToTest(other))
            if one.as_deref() == Some(TAKE_BACK) && other.as_deref() != Some(TAKE_BACK) =>
        {
            Some("`/ok-to-test` approves and `/ok-to-test cancel` takes it back: write one.".into())
        }
        _ => None,
    }
}

fn undone(word: Word, started: &[Target], cancelled: &[Target]) -> Option<String> {
    let what = overlap(started, cancelled)?;
    let word = word.as_str();
    Some(format!(
        "`{word}` and `/cancel` are both asked for {what}: use two comments, in the order you want."
    ))
}

/// What two lists have in common; an empty one is everything.
fn overlap(one: &[Target], other: &[Target]) -> Option<String> {
    match (one, other) {
        ([], []) => return Some("everything".to_owned()),
        ([], [some, ..]) | ([some, ..], []) => return Some(quoted(&some.connector)),
        _ => {}
    }
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let steps = |a: &Target, b: &Target| match (&a.step, &b.step) {
        (Some(a), Some(b)) => same(a, b),
        _ => true,
    };
    one.iter()
        .find(|a| other.iter().any(|b| same(&a.connector, &b.connector) && steps(a, b)))
        .map(|a| quoted(&a.connector))
}
