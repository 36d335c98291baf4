//! Dockerfiles: those that are made here, and what others build on.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Names that we give to images: what other jobs built, and what their steps left.
const OWN: [&str; 3] = ["checkvalve/", "checkvalve-share", "checkvalve-snapshot"];
const CODE: &str = "/airbyte/integration_code";

/// For a connector that is a manifest: its base image runs it.
pub(super) fn of_manifest(base: &str, components: bool) -> String {
    let to = format!("{CODE}/source_declarative_manifest");
    let mut text = format!("FROM {base}\nCOPY manifest.yaml {to}/manifest.yaml\n");
    if components {
        let _ = writeln!(text, "COPY components.py {to}/components.py");
    }
    text
}

/// For a Python package with a `main.py`, in two stages as Airbyte's own build has them.
pub(super) fn of_python(base: &str) -> String {
    format!(
        "FROM {base} AS builder\n\
         WORKDIR {CODE}\n\
         COPY . ./\n\
         RUN pip install --no-cache-dir --prefix=/install .\n\
         FROM {base}\n\
         WORKDIR {CODE}\n\
         COPY --from=builder /install /usr/local\n\
         COPY . ./\n\
         ENV AIRBYTE_ENTRYPOINT=\"python {CODE}/main.py\"\n\
         ENTRYPOINT [\"python\", \"{CODE}/main.py\"]\n"
    )
}

/// What a Dockerfile takes from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Images that it builds on or copies from.
    pub images: Vec<String>,
    /// What can't be built here: the line, what stands there, and the mend.
    pub refused: Vec<(usize, String, &'static str)>,
}

/// Reads a Dockerfile as its builder does, and refuses what it can't be sure of: an image may be
/// another repository's, and an address is fetched by the engine itself, past the build's network.
pub fn sources(text: &str, arguments: &BTreeMap<String, String>) -> Sources {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut stages: Vec<String> = Vec::new();
    let mut found = Sources::default();
    for (line, instruction) in instructions(text) {
        let mut words = instruction.split_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        let mut named: Vec<&str> = Vec::new();
        match keyword.as_str() {
            "ARG" => {
                for (name, default) in words.filter_map(|word| word.split_once('=')) {
                    let default = filled(default.trim_matches(['"', '\'']), &known);
                    known.insert(name.to_owned(), default);
                }
                known.extend(arguments.clone());
            }
            "FROM" => {
                let words: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
                named.extend(words.first());
                if let [_, by, name] = words[..]
                    && by.eq_ignore_ascii_case("as")
                {
                    stages.push(name.to_ascii_lowercase());
                }
            }
            "COPY" | "ADD" | "RUN" => {
                let words: Vec<&str> = words.collect();
                let from = words.iter().filter_map(|word| word.split_once("from="));
                named.extend(from.map(|(_, rest)| rest.split(',').next().unwrap_or(rest)));
                let fetches = |word: &&str| word.contains("://") || word.starts_with("git@");
                let open = |word: &&str| filled(word, &known).contains('$');
                let address = words.iter().find(|word| fetches(word) || open(word));
                if let Some(word) = address.filter(|_| keyword == "ADD") {
                    let what =
                        format!("it has the engine fetch `{word}`, past the build's network");
                    found.refused.push((line, what, "fetch it with `RUN`, or copy a file"));
                }
            }
            _ => {}
        }
        for image in named {
            found.take(line, &filled(image, &known), &stages);
        }
    }
    found
}

impl Sources {
    fn take(&mut self, line: usize, image: &str, stages: &[String]) {
        let lower = image.to_ascii_lowercase();
        let is_stage = stages.contains(&lower) || image.bytes().all(|byte| byte.is_ascii_digit());
        if is_stage || lower == "scratch" {
            return;
        }
        let id = lower.strip_prefix("sha256:").unwrap_or(&lower);
        let plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
        let repository = lower.strip_prefix("index.").unwrap_or(&lower);
        let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
        let what = if OWN.iter().any(|own| repository.starts_with(own)) {
            format!("it builds on `{image}`, an image that another job made")
        } else if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            format!("`{image}` may be the begin of any image's id")
        } else if image.is_empty() || !image.chars().all(plain) {
            format!("`{image}` can't be told to be an image of a registry")
        } else {
            self.images.push(image.to_owned());
            return;
        };
        self.refused.push((line, what, "build on an image of a registry, `name:tag`"));
    }
}

/// Instructions without comments, continued lines joined, each with the line that it begins on.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape(text);
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        let whole = line.trim_end();
        let line = whole.trim_start();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let line = if open { whole } else { line };
        let (part, continues) = match line.strip_suffix(escape) {
            Some(part) => (part, true),
            None => (line, false),
        };
        match all.last_mut().filter(|_| open) {
            Some((_, instruction)) => {
                // Joined without a blank but its own, as the builder does.
                instruction.push_str(part);
            }
            None => all.push((at + 1, part.to_owned())),
        }
        open = continues;
    }
    all
}

/// By which lines are continued: directives are comments before anything else.
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#'));
    let named = directives.filter_map(|line| line.split_once('='));
    let escape = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("escape"));
    let last = escape.last().map(|(_, value)| value.trim());
    if last == Some("`") { '`' } else { '\\' }
}

/// `$NAME`, `${NAME}` and `${NAME:-default}` by what is known; any other expression keeps its `$`.
fn filled(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        let (expression, behind) = if let Some(inner) = after.strip_prefix('{') {
            inner.split_once('}').unwrap_or((inner, ""))
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            after.split_at(end.unwrap_or(after.len()))
        };
        let (name, default) = expression.split_once(":-").unwrap_or((expression, ""));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            whole.push('$');
            rest = after;
            continue;
        }
        whole.push_str(known.get(name).map_or(default, String::as_str));
        rest = behind;
    }
    whole.push_str(rest);
    whole
}
