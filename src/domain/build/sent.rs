//! A Dockerfile as the engine gets it: what was read of it and nothing else, with a label on all that
//! it makes, and on the very images that were looked at. The connector's own stays in the context as it is.

use std::collections::BTreeMap;

use super::Sources;
use super::sources::Instruction;

/// The file of the context that it is, as `docker build -f -` has one; taken out of the context by
/// the engine before anything is copied, as [`ignoring`] says.
pub const SENT: &str = ".checkvalve.dockerfile";
/// The bytes of a line of a `.dockerignore`.
const LONGEST: usize = 4096;
/// Before a line's number in what builders say of a file that they can't read.
const PLACES: [&str; 2] = ["parse error line ", "parse error on line "];

/// A Dockerfile that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub text: String,
    /// Of each of its lines, which one of the connector's file it comes from.
    lines: Vec<usize>,
    /// What was put in, and the name that stood there.
    names: BTreeMap<String, String>,
}

impl Sources {
    /// What was read, each instruction in one line: nothing in it is a part of another line for a
    /// builder that reads otherwise. Images are named by their ids, as far as these are known, and
    /// each stage's layers have a label, if there is one: they have the labels of what they are made on.
    pub fn sent(&self, ids: &BTreeMap<String, String>, label: Option<&str>) -> Sent {
        let mut sent = Sent { text: String::new(), lines: Vec::new(), names: BTreeMap::new() };
        for (at, directive) in self.directives.iter().enumerate() {
            sent.add(at + 1, directive);
        }
        let mut next = self.directives.len() + 1;
        for instruction in &self.instructions {
            // Its number is that of the connector's own, but for the labels before it.
            for blank in next..instruction.line {
                sent.add(blank, "");
            }
            next = instruction.line + 1;
            sent.instruction(instruction, ids);
            if let Some(label) = label.filter(|_| instruction.begins_stage) {
                sent.add(instruction.line, &format!("LABEL {label}"));
            }
        }
        sent
    }
}

impl Sent {
    fn add(&mut self, from: usize, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines.push(from);
    }

    fn instruction(&mut self, read: &Instruction, ids: &BTreeMap<String, String>) {
        let mut text = read.text.clone();
        if let Some((place, name)) = &read.image
            && let Some(id) = ids.get(name)
        {
            text.replace_range(place.clone(), id);
            self.names.entry(id.clone()).or_insert_with(|| name.clone());
        }
        self.add(read.line, &text);
    }

    /// What a builder says of it, as if that were said of the connector's own file.
    pub fn told(&self, said: &str) -> String {
        let mut told = said.replace(SENT, "Dockerfile");
        for (id, name) in &self.names {
            told = told.replace(id, name);
        }
        let place = PLACES.iter().find_map(|sign| Some(told.find(sign)? + sign.len()));
        let Some(place) = place else { return told };
        let digits = told[place..].bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = told[place..place + digits].parse().unwrap_or(0);
        if let Some(line) = number.checked_sub(1).and_then(|at| self.lines.get(at)) {
            told.replace_range(place..place + digits, &line.to_string());
        }
        told
    }
}

/// A `.dockerignore` for a context that has such a file in it: by it the engine takes out the
/// Dockerfile, and itself where that is said. One that is made here does. An engine that can't read one
/// line goes by none: only lines are kept that all of them can.
pub fn ignoring(own: Option<&str>) -> String {
    let own = own.unwrap_or(".dockerignore").trim_start_matches('\u{feff}');
    let kept: Vec<&str> = own.split('\n').filter(|line| is_sure(line)).collect();
    format!("{}\n{SENT}\n", kept.join("\n"))
}

/// Can every engine read such a line of a `.dockerignore`?
fn is_sure(line: &str) -> bool {
    // Longer ones they don't read at all.
    if line.len() > LONGEST || line.trim() == "!" {
        return false;
    }
    if line.starts_with('#') {
        return true;
    }
    // It becomes a regular expression, in which some leave signs as they are.
    let plain = |text: &str| {
        text.chars().all(|c| c.is_alphanumeric() || "._-/*?!#@~%,=:& \t\r".contains(c))
    };
    let mut parts = line.split('[');
    parts.next().is_some_and(plain)
        && parts.all(|part| {
            let Some((letters, rest)) = part.split_once(']') else { return false };
            let letters = letters.strip_prefix('^').unwrap_or(letters);
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_range = matches!(letters.as_bytes(), [from, b'-', to] if from <= to);
            let is_set = !letters.is_empty() && letters.chars().all(letter);
            let ends = letters.starts_with(letter) && letters.ends_with(letter);
            (is_set || is_range && ends) && plain(rest)
        })
}
