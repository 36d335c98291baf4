//! Dockerfiles: those that are made here, and what others build on.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Names of images that servers give to what they build: of another job, and soon gone.
const OWN: &str = "checkvalve/";
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

/// The images of our own name that a Dockerfile builds on, each with its line: what they hold is
/// another job's, and they are removed with it.
pub fn own_images(text: &str, arguments: &BTreeMap<String, String>) -> Vec<(usize, String)> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for (line, instruction) in instructions(text) {
        let mut words = instruction.split_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        match keyword.as_str() {
            "ARG" => {
                for (name, default) in words.filter_map(|word| word.split_once('=')) {
                    let default = filled(default.trim_matches(['"', '\'']), &known);
                    known.insert(name.to_owned(), default);
                }
                known.extend(arguments.clone());
            }
            "FROM" => {
                let image = words.find(|word| !word.starts_with("--"));
                found.extend(image.map(|image| (line, filled(image, &known))));
            }
            "COPY" | "ADD" | "RUN" => {
                let from = words
                    .filter_map(|word| word.split_once("from="))
                    .map(|(_, rest)| rest.split(',').next().unwrap_or(rest).to_owned());
                found.extend(from.map(|image| (line, filled(&image, &known))));
            }
            _ => {}
        }
    }
    found.retain(|(_, image)| is_own(image));
    found
}

fn is_own(image: &str) -> bool {
    let image = image.to_ascii_lowercase();
    let image = image.strip_prefix("index.").unwrap_or(&image);
    image.strip_prefix("docker.io/").unwrap_or(image).starts_with(OWN)
}

/// Instructions without comments, continued lines joined, each with the line that it begins on.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (part, continues) = match line.strip_suffix('\\').or(line.strip_suffix('`')) {
            Some(part) => (part, true),
            None => (line, false),
        };
        match all.last_mut().filter(|_| open) {
            Some((_, instruction)) => {
                instruction.push(' ');
                instruction.push_str(part);
            }
            None => all.push((at + 1, part.to_owned())),
        }
        open = continues;
    }
    all
}

/// `$NAME`, `${NAME}` and `${NAME:-default}` by what is known; the rest stays as it is written.
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
        whole.push_str(known.get(name).map_or(default, String::as_str));
        rest = behind;
    }
    whole.push_str(rest);
    whole
}
