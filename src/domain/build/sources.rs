//! What a Dockerfile takes from elsewhere.
//!
//! Builders differ in small ways, and none is simulated here: forms that all of them read alike are
//! looked at, and what else could name an image or an address is refused. An image may be another
//! repository's, and an address is fetched by the engine itself, past the build's network.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::words;
use crate::domain::image_name;

/// What all builders take for a blank, and for nothing else.
const BLANKS: [char; 2] = [' ', '\t'];

/// Instructions of which no more is to be known here.
const PLAIN: [&str; 12] = [
    "ARG",
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "MAINTAINER",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The bytes of an instruction that is sent in one line: builders read somewhat longer ones.
const LONGEST: usize = 64_000;

/// Where in an instruction an image's name stands, and the name.
type Place = Option<(Range<usize>, String)>;

/// What a Dockerfile takes from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Images that it builds on or copies from.
    pub images: Vec<String>,
    /// Platforms that it has them for.
    pub platforms: BTreeSet<String>,
    /// Does a stage begin with nothing?
    pub scratch: bool,
    /// What can't be built here: the line, what stands there, and the mend.
    pub refused: Vec<(usize, String, &'static str)>,
    /// The lines before all others that tell the builder how to read.
    pub(super) directives: Vec<String>,
    /// All that it has builders do, in the file's order.
    pub(super) instructions: Vec<Instruction>,
}

/// An instruction, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// The first of its lines.
    pub line: usize,
    /// The whole of it in one line.
    pub text: String,
    /// Where in it an image's name stands, and the name; none of a stage and of `scratch`.
    pub image: Place,
    pub begins_stage: bool,
}

impl Instruction {
    fn at(line: usize, text: &str) -> Self {
        Self { line, text: text.to_owned(), image: None, begins_stage: false }
    }

    /// Where one of its words stands, without what it begins with.
    fn place_of(&self, word: &str, begin: &str) -> Range<usize> {
        let at = word.as_ptr().addr() - self.text.as_ptr().addr();
        at + begin.len()..at + word.len()
    }
}

/// Reads a Dockerfile, of which the build's arguments are known.
pub fn sources(text: &str, arguments: &BTreeMap<String, String>) -> Sources {
    let mut reader = Reader {
        found: Sources::default(),
        arguments,
        known: BTreeMap::new(),
        stages: Vec::new(),
        stage: None,
    };
    for mut instruction in reader.instructions(text) {
        if let Some((image, begins_stage)) = reader.take(&instruction) {
            (instruction.image, instruction.begins_stage) = (image, begins_stage);
        }
        reader.found.instructions.push(instruction);
    }
    reader.found.refused.sort_by_key(|(line, ..)| *line);
    reader.found
}

struct Reader<'a> {
    found: Sources,
    arguments: &'a BTreeMap<String, String>,
    /// Values for `FROM`: it knows nothing but what stands before the first one.
    known: BTreeMap<String, String>,
    /// Names of the stages that are complete.
    stages: Vec<String>,
    /// The name of the stage that is not; it is no stage for its own instructions.
    stage: Option<String>,
}

impl Reader<'_> {
    fn refuse(&mut self, line: usize, what: impl Into<String>, mend: &'static str) {
        self.found.refused.push((line, what.into(), mend));
    }

    /// Instructions without comments, continued lines joined, each with its lines.
    fn instructions(&mut self, text: &str) -> Vec<Instruction> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut all: Vec<Instruction> = Vec::new();
        let mut open = false;
        for (at, line) in text.lines().enumerate() {
            let whole = line.trim_end_matches(BLANKS);
            let plain = whole.trim_start_matches(BLANKS);
            if plain.starts_with('#') {
                if at == self.found.directives.len() && is_directive(plain) {
                    self.found.directives.push(line.to_owned());
                }
                if all.is_empty() && is_escape(plain) {
                    let mend = "remove it, and let lines go on with `\\`";
                    self.refuse(at + 1, "it changes how lines go on (`escape`)", mend);
                }
                continue;
            }
            if plain.starts_with(is_odd) || plain.ends_with(is_odd) || plain.ends_with("\\\\") {
                let what = "builders differ in whether the line goes on: at its begin or end stands \
                            an unusual blank, or `\\\\`";
                self.refuse(at + 1, what, "write plain blanks, and one `\\` if the line goes on");
            }
            if plain.is_empty() {
                continue;
            }
            let line = if open { whole } else { plain };
            let (part, continues) =
                line.strip_suffix('\\').map_or((line, false), |part| (part, true));
            match all.last_mut().filter(|_| open) {
                // Joined without a blank but its own, as builders do.
                Some(instruction) => instruction.text.push_str(part),
                None => all.push(Instruction::at(at + 1, part)),
            }
            open = continues;
        }
        all
    }

    /// What it would be if it stood in one line, as it is sent.
    fn in_one_line(&mut self, line: usize, text: &str) {
        if text.trim_end_matches(BLANKS).ends_with('\\') {
            let what =
                "builders differ in whether the line goes on: nothing stands behind its `\\`";
            self.refuse(line, what, "remove the `\\`");
        }
        if text.len() > LONGEST {
            let what = format!("it is longer than {LONGEST} bytes");
            let mend = "write the commands to a file of the connector, and `COPY` it";
            self.refuse(line, what, mend);
        }
    }

    /// Answers what image it names and whether it begins a stage, of one that may do either.
    fn take(&mut self, instruction: &Instruction) -> Option<(Place, bool)> {
        let (line, text) = (instruction.line, instruction.text.as_str());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (keyword, words) = words.split_first()?;
        let keyword = keyword.to_ascii_uppercase();
        self.in_one_line(line, text);
        let named = matches!(keyword.as_str(), "ARG" | "FROM" | "COPY" | "ADD");
        if named && text.contains(is_odd) {
            let what = format!("an unusual blank stands in the `{keyword}`");
            self.refuse(line, what, "write plain blanks");
            return None;
        }
        if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") && words::has_heredoc(text) {
            let what =
                format!("builders differ in whether the `{keyword}` has a here-document (`<<`)");
            let mend = "write the text to a file of the connector, and `COPY` it";
            self.refuse(line, what, mend);
        }
        match keyword.as_str() {
            "ARG" if self.stage.is_none() => self.arg(words),
            "FROM" => return Some((self.from(instruction, words), true)),
            "COPY" => return Some((self.copy(instruction, words), false)),
            "ADD" => self.add(line, words),
            "RUN" => self.run(line, words),
            "LABEL" => {
                if let Some(key) = words::own_label(text) {
                    let what = format!("the label `{key}` is Checkvalve's own, or may be");
                    let mend = "write labels without variables in their names, and none that \
                                begin with `io.checkvalve.`";
                    self.refuse(line, what, mend);
                }
            }
            "ONBUILD" => {
                let what = "it has builds on it do something, past what is looked at here";
                self.refuse(line, what, "write the instruction where it is to be done");
            }
            // Engines put it in small letters, by which more than ASCII becomes ASCII. What is none
            // for us may be text that a builder takes for something else.
            keyword if !PLAIN.contains(&keyword) => {
                let what = format!("there is no instruction `{keyword}`");
                self.refuse(line, what, "write one that there is, with plain letters");
            }
            _ => {}
        }
        None
    }

    /// `ARG NAME=value …` before any stage. What can't be read may have set anything.
    fn arg(&mut self, words: &[&str]) {
        for word in words {
            let (name, default) =
                word.split_once('=').map_or((*word, None), |(name, text)| (name, Some(text)));
            let default = match default.map(unquoted) {
                Some(Some((text, as_it_is))) if !as_it_is || !text.contains('$') => {
                    self.filled(text)
                }
                Some(None) => return self.known.clear(),
                Some(Some(_)) | None => None,
            };
            if !is_name(name) {
                return self.known.clear();
            }
            match self.arguments.get(name).cloned().or(default) {
                Some(value) => self.known.insert(name.to_owned(), value),
                None => self.known.remove(name),
            };
        }
    }

    /// `$NAME` and `${NAME}` by what is known and not empty; none if there is more to it.
    fn filled(&self, text: &str) -> Option<String> {
        let mut whole = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            whole.push_str(before);
            let (name, behind) = match after.strip_prefix('{') {
                Some(inner) => inner.split_once('}')?,
                None => after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len())),
            };
            whole.push_str(self.known.get(name).filter(|value| !value.is_empty())?);
            rest = behind;
        }
        whole.push_str(rest);
        Some(whole)
    }

    fn from(&mut self, instruction: &Instruction, words: &[&str]) -> Place {
        // Its own name is no stage yet, and the earlier stage is one from here on.
        self.stages.extend(self.stage.take());
        let (mut name, mut found) = (String::new(), None);
        let line = instruction.line;
        let (_, words) = self.flags(line, words);
        if let [image, rest @ ..] = words {
            match self.filled(image) {
                Some(image) if image == "scratch" => self.found.scratch = true,
                Some(image) if self.is_stage(&image) => {}
                Some(full) => {
                    self.image(line, &full);
                    found = Some((instruction.place_of(image, ""), full));
                }
                None => {
                    let what = format!("`{image}` can't be told to be an image of a registry");
                    let mend = "use `ARG`s that have a value before the first `FROM`, as `$NAME` \
                                or `${NAME}`";
                    self.refuse(line, what, mend);
                }
            }
            if let [by, given] = rest
                && by.eq_ignore_ascii_case("as")
            {
                name = given.to_ascii_lowercase();
                if !is_stage_name(given) {
                    let what = format!("`{given}` is no stage's name");
                    let mend = "begin it with a letter, and go on with letters, digits, `-`, `_` \
                                and `.`";
                    self.refuse(line, what, mend);
                }
            }
        }
        self.stage = Some(name);
        found
    }

    fn copy(&mut self, instruction: &Instruction, words: &[&str]) -> Place {
        let (flags, _) = self.flags(instruction.line, words);
        let named = flags.iter().find_map(|flag| Some((flag, flag.strip_prefix("--from=")?)));
        let (flag, image) = named.filter(|(_, named)| self.is_image(named))?;
        Some((instruction.place_of(flag, "--from="), image.to_owned()))
    }

    fn is_stage(&self, name: &str) -> bool {
        !name.is_empty() && self.stages.contains(&name.to_ascii_lowercase())
    }

    fn image(&mut self, line: usize, image: &str) {
        match image_name::fault(image) {
            Some((what, mend)) => self.refuse(line, what, mend),
            None => self.found.images.push(image.to_owned()),
        }
    }

    /// Is it an image, and no stage, by its name or its number? More digits than a number has are a
    /// name.
    fn is_image(&self, named: &str) -> bool {
        let is_number =
            (1..=4).contains(&named.len()) && named.bytes().all(|byte| byte.is_ascii_digit());
        !is_number && !self.is_stage(named)
    }

    fn image_or_stage(&mut self, line: usize, named: &str) {
        if self.is_image(named) {
            self.image(line, named);
        }
    }

    /// The flags, of which `--from` and `--platform` are looked at, and the words behind them.
    fn flags<'w, 's>(
        &mut self,
        line: usize,
        words: &'w [&'s str],
    ) -> (&'w [&'s str], &'w [&'s str]) {
        let end = words.iter().position(|word| !word.starts_with("--")).unwrap_or(words.len());
        let (flags, words) = words.split_at(end);
        for flag in flags {
            // Builders take quotes and escapes out of flags before they read them.
            if !flag.chars().all(|c| c.is_ascii_alphanumeric() || "-._/:@=,+*${}".contains(c)) {
                let what = format!("the flag `{flag}` can't be read for sure");
                self.refuse(line, what, "write it without quotes and `\\`");
            } else if let Some(named) = flag.strip_prefix("--from=") {
                self.image_or_stage(line, named);
            } else if let Some(platform) = flag.strip_prefix("--platform=") {
                if platform.contains('$') {
                    let mend = "write it out, or leave it out";
                    self.refuse(line, format!("the platform is `{platform}`"), mend);
                }
                self.found.platforms.insert(platform.to_owned());
            }
        }
        (flags, words)
    }

    fn add(&mut self, line: usize, words: &[&str]) {
        let (_, words) = self.flags(line, words);
        if let Some(word) = words.iter().find(|word| !is_local(word)) {
            let what = format!(
                "`{word}` may be an address, which the engine would fetch, past the build's network"
            );
            let mend = "fetch it with `RUN`; for a file, write `COPY`, or its path without quotes";
            self.refuse(line, what, mend);
        }
    }

    fn run(&mut self, line: usize, words: &[&str]) {
        let flags = words.iter().take_while(|word| word.starts_with("--"));
        for mount in flags.filter_map(|flag| flag.strip_prefix("--mount=")) {
            let parts = mount.trim_matches(['"', '\'']).split(',');
            for named in parts.filter_map(|part| part.strip_prefix("from=")) {
                self.image_or_stage(line, named);
            }
        }
    }
}

/// A blank that only some take for one, or that ends a line for some.
fn is_odd(c: char) -> bool {
    !BLANKS.contains(&c) && (c.is_whitespace() || c.is_control())
}

/// `# name=value`, which has a meaning before all else.
fn is_directive(comment: &str) -> bool {
    let named = comment.strip_prefix('#').and_then(|named| named.split_once('='));
    named.is_some_and(|(name, value)| is_name(name.trim()) && !value.trim().is_empty())
}

fn is_escape(comment: &str) -> bool {
    let named = comment.trim_start_matches('#').split_once('=');
    named.is_some_and(|(name, _)| name.trim().to_lowercase() == "escape")
}

/// Without its quotes; and whether variables in it are plain text. None if there is more to it.
fn unquoted(text: &str) -> Option<(&str, bool)> {
    let between = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let single = between('\'');
    let inner = single.or_else(|| between('"')).unwrap_or(text);
    (!inner.contains(['"', '\'', '\\'])).then_some((inner, single.is_some()))
}

pub(super) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// In any case, since builders put it in small letters.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| is_word(c) || "-.".contains(c))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_word)
}

/// Can it be nothing but a path, whatever its variables stand for? Before the first of them there
/// is a slash, and no colon.
fn is_local(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/*?-".contains(c);
    match word.split_once('$') {
        Some((before, rest)) => {
            before.contains('/')
                && before.chars().all(plain)
                && rest.chars().all(|c| plain(c) || "${}".contains(c))
        }
        None => word.chars().all(plain),
    }
}
