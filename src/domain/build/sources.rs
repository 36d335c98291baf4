//! What a Dockerfile takes from elsewhere.
//!
//! Builders differ in small ways, and none is simulated here: forms that all of them read alike are
//! looked at, and what else could name an image or an address is refused. An image may be another
//! repository's, and an address is fetched by the engine itself, past the build's network.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::image_name;

/// What all builders take for a blank, and for nothing else.
const BLANKS: [char; 2] = [' ', '\t'];

/// What a Dockerfile takes from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Images that it builds on or copies from.
    pub images: Vec<String>,
    /// Platforms that it has them for.
    pub platforms: BTreeSet<String>,
    /// What can't be built here: the line, what stands there, and the mend.
    pub refused: Vec<(usize, String, &'static str)>,
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
    for (line, instruction) in reader.instructions(text) {
        reader.take(line, &instruction);
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

    /// Instructions without comments, continued lines joined, each with the line that it begins on.
    fn instructions(&mut self, text: &str) -> Vec<(usize, String)> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut all: Vec<(usize, String)> = Vec::new();
        let mut open = false;
        for (at, line) in text.lines().enumerate() {
            let whole = line.trim_end_matches(BLANKS);
            let plain = whole.trim_start_matches(BLANKS);
            if plain.starts_with('#') {
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
                Some((_, instruction)) => instruction.push_str(part),
                None => all.push((at + 1, part.to_owned())),
            }
            open = continues;
        }
        all
    }

    fn take(&mut self, line: usize, instruction: &str) {
        let words: Vec<&str> = instruction.split_whitespace().collect();
        let Some((keyword, words)) = words.split_first() else { return };
        let keyword = keyword.to_ascii_uppercase();
        let named = matches!(keyword.as_str(), "ARG" | "FROM" | "COPY" | "ADD");
        if named && instruction.contains(is_odd) {
            let what = format!("an unusual blank stands in the `{keyword}`");
            return self.refuse(line, what, "write plain blanks");
        }
        match keyword.as_str() {
            "ARG" if self.stage.is_none() => self.arg(words),
            "FROM" => self.from(line, words),
            "COPY" => {
                self.flags(line, words);
            }
            "ADD" => self.add(line, words),
            "RUN" => self.run(line, words),
            "ONBUILD" => {
                let what = "it has builds on it do something, past what is looked at here";
                self.refuse(line, what, "write the instruction where it is to be done");
            }
            // Engines put it in small letters, by which more than ASCII becomes ASCII.
            keyword if !keyword.is_ascii() => {
                let what = format!("there is no instruction `{keyword}`");
                self.refuse(line, what, "write it with plain letters");
            }
            _ => {}
        }
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

    fn from(&mut self, line: usize, words: &[&str]) {
        // Its own name is no stage yet, and the earlier stage is one from here on.
        self.stages.extend(self.stage.take());
        let mut name = String::new();
        let words = self.flags(line, words);
        if let [image, rest @ ..] = words {
            match self.filled(image) {
                Some(image) if image == "scratch" || self.is_stage(&image) => {}
                Some(image) => self.image(line, &image),
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
            }
        }
        self.stage = Some(name);
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

    /// An image or a stage, by its name or its number: more digits than a number has are a name.
    fn image_or_stage(&mut self, line: usize, named: &str) {
        let is_number =
            (1..=4).contains(&named.len()) && named.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number && !self.is_stage(named) {
            self.image(line, named);
        }
    }

    /// The words behind the flags, of which `--from` and `--platform` are looked at.
    fn flags<'w, 's>(&mut self, line: usize, words: &'w [&'s str]) -> &'w [&'s str] {
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
        words
    }

    fn add(&mut self, line: usize, words: &[&str]) {
        let words = self.flags(line, words);
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

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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
