//! Go: the imports and embedded files of a source file, and what a `go.mod` calls its module.

use super::{Lines, Mentions, Written, numbered};

/// Imports stand between the package clause and the first declaration.
pub(super) fn source(text: &str, found: &mut Mentions) {
    let mut scan = Scan { text, at: 0, lines: Lines::new(text) };
    while let Some(word) = scan.word() {
        match word {
            ";" => {}
            "package" => drop(scan.word()),
            "import" => imports(&mut scan, found),
            _ => break,
        }
    }
    embeds(text, found);
}

fn imports(scan: &mut Scan<'_>, found: &mut Mentions) {
    let mut group = false;
    while let Some(word) = scan.word() {
        match word {
            "(" => group = true,
            ")" => return,
            ";" => {}
            _ => {
                if let Some(path) = quoted(word) {
                    let line = scan.lines.line(scan.at - word.len());
                    if !path.is_empty() {
                        found.add(line, Written::Package(path.to_owned()));
                    }
                    if !group {
                        return;
                    }
                }
                // Else a name, `_` or `.` before the path.
            }
        }
    }
}

fn quoted(word: &str) -> Option<&str> {
    let quote = word.chars().next().filter(|c| matches!(c, '"' | '`'))?;
    word.strip_prefix(quote)?.strip_suffix(quote)
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    lines: Lines<'t>,
}

impl<'t> Scan<'t> {
    /// The next word, sign or quoted text, comments and blanks passed over.
    fn word(&mut self) -> Option<&'t str> {
        loop {
            let rest = self.text.get(self.at..)?;
            let c = rest.chars().next()?;
            let length = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else if c.is_whitespace() || c == '\u{feff}' {
                c.len_utf8()
            } else {
                let length = match c {
                    '"' | '`' => rest[1..].find(c).map_or(rest.len(), |end| end + 2),
                    c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                    c => c.len_utf8(),
                };
                self.at += length;
                return rest.get(..length);
            };
            self.at += length;
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `//go:embed` patterns, up to their first wildcard: a package's folder holds the files, but a
/// package of its own may lie on the way.
fn embeds(text: &str, found: &mut Mentions) {
    if !text.contains("//go:embed") {
        return;
    }
    for (line, text) in numbered(text) {
        let Some(patterns) = text.strip_prefix("//go:embed") else { continue };
        if !patterns.starts_with([' ', '\t']) {
            continue;
        }
        for pattern in patterns.split_whitespace() {
            let pattern = pattern.trim_matches(['"', '`']);
            let pattern = pattern.strip_prefix("all:").unwrap_or(pattern);
            let plain: Vec<&str> =
                pattern.split('/').take_while(|part| !part.contains(['*', '?', '['])).collect();
            if !plain.is_empty() {
                found.path(line, &plain.join("/"));
            }
        }
    }
}

/// `module x` and `replace y => ./z`, alone or in brackets.
pub(super) fn module(text: &str, found: &mut Mentions) {
    let mut block = "";
    for (line, text) in numbered(text) {
        let text = text.split("//").next().unwrap_or_default().trim();
        if text == ")" {
            block = "";
            continue;
        }
        let (verb, rest) = if block.is_empty() {
            text.split_once(char::is_whitespace).unwrap_or((text, ""))
        } else {
            (block, text)
        };
        let known = ["module", "replace"].into_iter().find(|known| *known == verb);
        if rest.trim() == "(" {
            block = known.unwrap_or("other");
            continue;
        }
        match known {
            Some("module") => {
                let module = rest.trim().trim_matches(['"', '`']);
                if !module.is_empty() {
                    found.add(line, Written::Module(module.to_owned()));
                }
            }
            Some(_) => replaced(line, rest, found),
            None => {}
        }
    }
}

/// `old [version] => ./folder`
fn replaced(line: u32, text: &str, found: &mut Mentions) {
    let Some((module, folder)) = text.split_once("=>") else { return };
    let module = module.split_whitespace().next().unwrap_or_default().trim_matches('"');
    let folder = folder.trim().trim_matches(['"', '`']);
    if folder.starts_with('.') && !module.is_empty() {
        let (module, folder) = (module.to_owned(), folder.to_owned());
        found.add(line, Written::Replaced { module, folder });
    }
}
