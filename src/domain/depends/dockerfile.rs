//! Dockerfiles: what `COPY`, `ADD` and bind mounts take out of the build's context, and the images
//! that stages build on.

use std::collections::{BTreeMap, HashMap};

use super::image::{UNKNOWN, Values, repository, substituted};
use super::{Mentions, Written, numbered};

/// Of a file with more stages, or more variables, all of the tree counts.
const MAX_STAGES: usize = 64;
const MAX_VALUES: usize = 1000;

pub(super) fn read(text: &str, found: &mut Mentions) {
    let mut file = File::default();
    for instruction in instructions(text) {
        if file.stages_begun > MAX_STAGES || file.settled > MAX_VALUES {
            found.add(1, Written::Anything);
            return;
        }
        file.take(&instruction, found);
    }
}

/// A word and its line.
type Word<'t> = (u32, &'t str);

/// One instruction, its words each with its line.
#[derive(Debug, Default)]
struct Instruction<'t> {
    words: Vec<Word<'t>>,
}

impl<'t> Instruction<'t> {
    /// What follows the first words, as far as they are flags.
    fn after_flags(&self) -> (&[Word<'t>], &[Word<'t>]) {
        let words = self.words.get(1..).unwrap_or_default();
        let flags = words.iter().take_while(|(_, word)| word.starts_with("--")).count();
        words.split_at(flags)
    }

    fn keyword(&self) -> String {
        self.words.first().map(|(_, word)| word.to_ascii_uppercase()).unwrap_or_default()
    }

    /// The ends of the here-documents that it opens, each with whether tabs before it are dropped.
    fn heredocs(&self) -> Vec<(&'t str, bool)> {
        let keyword = self.keyword();
        if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD" | "ONBUILD") {
            return Vec::new();
        }
        self.words.iter().filter_map(|(_, word)| heredoc(word)).collect()
    }
}

/// `<<EOF`, `<<-"EOF"`, `3<<EOF`
fn heredoc(word: &str) -> Option<(&str, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let end = rest.trim_matches(['"', '\'']);
    (!end.is_empty() && !end.contains('<')).then_some((end, tabs))
}

/// The instructions of a file: lines joined, comments and here-documents passed over.
fn instructions(text: &str) -> Vec<Instruction<'_>> {
    let escape = escape(text);
    let lines: Vec<(u32, &str)> = numbered(text).collect();
    let mut ends = None;
    let mut found = Vec::new();
    let mut current = Instruction::default();
    let mut at = 0;
    while let Some((line, text)) = lines.get(at).copied() {
        at += 1;
        let text = text.trim();
        if text.starts_with('#') || text.is_empty() && !current.words.is_empty() {
            continue;
        }
        let (text, goes_on) = match text.strip_suffix(escape) {
            Some(text) => (text, true),
            None => (text, false),
        };
        current.words.extend(text.split_whitespace().map(|word| (line, word)));
        if goes_on {
            continue;
        }
        let heredocs = current.heredocs();
        if !heredocs.is_empty() {
            at = ends.get_or_insert_with(|| Ends::new(&lines)).behind(at, &heredocs);
        }
        if !current.words.is_empty() {
            found.push(std::mem::take(&mut current));
        }
    }
    found.push(current);
    found
}

/// Where here-documents can end: the lines of each text, with and without the tabs before it.
struct Ends<'t> {
    whole: HashMap<&'t str, Vec<usize>>,
    without_tabs: HashMap<&'t str, Vec<usize>>,
}

impl<'t> Ends<'t> {
    fn new(lines: &[(u32, &'t str)]) -> Self {
        let mut ends = Self { whole: HashMap::new(), without_tabs: HashMap::new() };
        for (at, (_, text)) in lines.iter().enumerate() {
            ends.whole.entry(*text).or_default().push(at);
            ends.without_tabs.entry(text.trim_start_matches('\t')).or_default().push(at);
        }
        ends
    }

    /// The line behind here-documents; one that never ends is none.
    fn behind(&self, start: usize, heredocs: &[(&str, bool)]) -> usize {
        let mut at = start;
        for (end, tabs) in heredocs {
            let lines = if *tabs { &self.without_tabs } else { &self.whole };
            let lines = lines.get(end).map(Vec::as_slice).unwrap_or_default();
            match lines.get(lines.partition_point(|line| *line < at)) {
                Some(line) => at = line + 1,
                None => return start,
            }
        }
        at
    }
}

/// `# escape=` may stand among the first lines.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    let pairs = directives.map_while(|line| line.split_once('='));
    let escape = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case("escape"));
    escape.last().and_then(|(_, value)| value.trim().chars().next()).unwrap_or('\\')
}

/// What earlier instructions settled.
#[derive(Debug, Default)]
struct File {
    /// `ARG` before the first `FROM`.
    global: Values,
    /// Of the current stage.
    values: Values,
    /// Stage → what it ended with. Stages are numbered, too.
    stages: BTreeMap<String, Values>,
    stage: Option<String>,
    stages_begun: usize,
    /// How often a variable was given a value.
    settled: usize,
}

impl File {
    fn take(&mut self, instruction: &Instruction<'_>, found: &mut Mentions) {
        match instruction.keyword().as_str() {
            "FROM" => self.from(instruction, found),
            "ARG" => self.arg(instruction),
            "ENV" => self.env(instruction),
            "COPY" | "ADD" => self.copy(instruction, found),
            "RUN" => self.mounts(instruction, found),
            "ONBUILD" => {
                let words = instruction.words.get(1..).unwrap_or_default().to_vec();
                let inner = Instruction { words };
                if matches!(inner.keyword().as_str(), "COPY" | "ADD" | "RUN") {
                    self.take(&inner, found);
                }
            }
            _ => {}
        }
    }

    fn from(&mut self, instruction: &Instruction<'_>, found: &mut Mentions) {
        if let Some(stage) = self.stage.take() {
            self.stages.insert(stage, std::mem::take(&mut self.values));
        }
        self.stages_begun += 1;
        let (_, words) = instruction.after_flags();
        let Some((line, image)) = words.first() else { return };
        let image = substituted(image.trim_matches('"'), &self.global);
        let stage = self.stages.get(&image.to_lowercase());
        self.values = stage.cloned().unwrap_or_default();
        self.image(*line, &image, found);
        self.stage = match words {
            [_, (_, r#as), (_, name), ..] if r#as.eq_ignore_ascii_case("as") => {
                Some(name.to_lowercase())
            }
            _ => None,
        };
    }

    fn image(&self, line: u32, image: &str, found: &mut Mentions) {
        let stage = image.to_lowercase();
        let earlier = self.stages.contains_key(&stage) || self.stage.as_ref() == Some(&stage);
        let numbered = image.chars().all(|c| c.is_ascii_digit());
        let name = repository(image).filter(|name| *name != "scratch");
        if let Some(name) = name.filter(|_| !earlier && !numbered) {
            found.add(line, Written::Image(name.to_owned()));
        }
    }

    fn arg(&mut self, instruction: &Instruction<'_>) {
        let begun = self.stages_begun > 0;
        for (_, word) in instruction.words.get(1..).unwrap_or_default() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => {
                    let values = if begun { &self.values } else { &self.global };
                    (name, Some(substituted(unquoted(value), values)))
                }
                None => (*word, self.global.get(*word).cloned()),
            };
            let values = if begun { &mut self.values } else { &mut self.global };
            if let Some(value) = value {
                values.insert(name.to_owned(), value);
                self.settled += 1;
            }
        }
    }

    fn env(&mut self, instruction: &Instruction<'_>) {
        let words = instruction.words.get(1..).unwrap_or_default();
        let pairs: Vec<(&str, &str)> = match words {
            // `ENV name value`
            [(_, name), (_, value), ..] if !name.contains('=') => vec![(*name, *value)],
            _ => words.iter().filter_map(|(_, word)| word.split_once('=')).collect(),
        };
        for (name, value) in pairs {
            let value = substituted(unquoted(value), &self.values);
            self.values.insert(name.to_owned(), value);
            self.settled += 1;
        }
    }

    fn copy(&self, instruction: &Instruction<'_>, found: &mut Mentions) {
        let (flags, words) = instruction.after_flags();
        let from =
            flags.iter().find_map(|(line, flag)| Some((*line, flag.strip_prefix("--from=")?)));
        if let Some((line, image)) = from {
            self.image(line, &substituted(image, &self.values), found);
            return;
        }
        let listed = listed(words);
        let sources: Vec<(u32, &str)> = match &listed {
            Some(listed) => listed.iter().map(|(line, word)| (*line, word.as_str())).collect(),
            None => words.to_vec(),
        };
        // The last is where to.
        let Some((_, sources)) = sources.split_last() else { return };
        for (line, source) in sources {
            if heredoc(source).is_none() {
                self.source(*line, source, found);
            }
        }
    }

    fn source(&self, line: u32, source: &str, found: &mut Mentions) {
        let source = substituted(unquoted(source), &self.values);
        if source.contains("://") || source.starts_with("git@") {
            return;
        }
        // What a variable hides may be anything in the folder before it.
        let known = match source.split_once(UNKNOWN) {
            Some((before, _)) => before.rsplit_once('/').map_or("", |(folder, _)| folder),
            None => &source,
        };
        if !known.is_empty() {
            found.add(line, Written::Copied(known.to_owned()));
        }
    }

    /// `RUN --mount=type=bind,source=a,target=b`
    fn mounts(&self, instruction: &Instruction<'_>, found: &mut Mentions) {
        let (flags, _) = instruction.after_flags();
        for (line, flag) in flags {
            let Some(mount) = flag.strip_prefix("--mount=") else { continue };
            let options: BTreeMap<&str, &str> =
                mount.split(',').map(|one| one.split_once('=').unwrap_or((one, ""))).collect();
            if options.get("type").is_some_and(|kind| *kind != "bind") {
                continue;
            }
            match (options.get("from"), options.get("source").or(options.get("src"))) {
                (Some(image), _) => self.image(*line, &substituted(image, &self.values), found),
                (None, Some(source)) => self.source(*line, source, found),
                (None, None) => found.add(*line, Written::Copied(".".to_owned())),
            }
        }
    }
}

/// The form `["a", "b"]`, each with the line on which it stands.
fn listed(words: &[(u32, &str)]) -> Option<Vec<(u32, String)>> {
    let (start, first) = words.first()?;
    if !first.starts_with('[') {
        return None;
    }
    let text: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
    let listed: Vec<String> = serde_json::from_str(&text.join(" ")).ok()?;
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for (line, word) in words {
        for part in word.split('"') {
            lines.entry(part).or_insert(*line);
        }
    }
    // Of a name with blanks, its first word tells.
    let line = |entry: &str| lines.get(entry.split_whitespace().next()?).copied();
    Some(listed.into_iter().map(|entry| (line(&entry).unwrap_or(*start), entry)).collect())
}

fn unquoted(text: &str) -> &str {
    let quoted = ['"', '\''].into_iter().find_map(|q| text.strip_prefix(q)?.strip_suffix(q));
    quoted.unwrap_or(text)
}
