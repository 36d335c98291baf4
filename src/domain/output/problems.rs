//! Problem matchers: of the lines that tools print, those that complain of a place in a file. No
//! tool is asked for; each form is known by its own signs.

use std::collections::BTreeSet;

use super::Problem;
use super::place::{self, Place};
use super::said::{self, Said};

/// Complaints that are kept of a log; what comes after so many is not looked at.
pub(super) const GATHERED: usize = 2_000;
/// Frames of a traceback, from its end.
const FRAMES: usize = 20;
/// How far below its words a place may stand.
const BELOW: u8 = 6;
/// Bytes of what pytest says of a failure.
const ASSERTED_MAX: usize = 1_000;

/// Looks at lines one by one.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    found: Vec<Problem>,
    seen: BTreeSet<(Place, String)>,
    /// What pytest says of a failure, before it says where: its lines with `E` in front.
    asserted: Option<Asserted>,
    /// What rustc and ruff say before they say where, and how many lines are left to do so.
    heading: Option<(Said, u8)>,
    /// Of a Python traceback.
    frames: Option<Vec<Place>>,
    /// A panic, whose message is the next line.
    panicked: Option<Place>,
    gradle: Gradle,
}

#[derive(Debug, Default)]
struct Asserted {
    text: String,
    /// Of a file that could not even be read.
    place: Option<Place>,
    /// The next line with an `E` goes on with it.
    open: bool,
}

/// `* Where:` names a place, `* What went wrong:` says what.
#[derive(Debug, Default)]
struct Gradle {
    place: Option<Place>,
    says: bool,
}

impl Matcher {
    /// May this line, without colours and time, be of interest? Cheap: for every line of a log.
    pub(super) fn wants(&self, line: &[u8]) -> bool {
        if self.found.len() >= GATHERED {
            return false;
        }
        let pending = self.frames.is_some() || self.panicked.is_some() || self.gradle.says;
        pending || begins(line) || names_a_place(line)
    }

    pub(super) fn line(&mut self, line: &str) {
        if self.found.len() >= GATHERED || self.of_traceback(line) || self.of_pytest(line) {
            return;
        }
        if let Some(place) = self.panicked.take() {
            let said = Said::new(super::Level::Error, "panic", line);
            return self.add(vec![place], said);
        }
        if self.of_gradle(line) || self.of_heading(line) || self.of_panic(line) {
            return;
        }
        let (hint, rest) = said::prefixed(line);
        let Some((place, rest)) = place::leading(rest) else { return };
        let Some(mut said) = said::behind(&place.path, hint, rest) else { return };
        if said.message.is_empty() {
            // Of what is raised, pytest has said more above.
            let asserted = self.asserted.take().map(|asserted| asserted.text);
            said.message = asserted.unwrap_or_else(|| said.rule.clone());
        }
        self.add(vec![place], said);
    }

    pub(super) fn finish(self) -> Vec<Problem> {
        self.found
    }

    fn add(&mut self, places: Vec<Place>, said: Said) {
        let Some(first) = places.first() else { return };
        if said.message.is_empty() || !self.seen.insert((first.clone(), said.message.clone())) {
            return;
        }
        let Said { level, rule, message } = said;
        self.found.push(Problem { level, rule, message, places });
    }

    /// `Traceback …`, its frames, and what was raised: of the places the last one of the
    /// repository's own files counts.
    fn of_traceback(&mut self, line: &str) -> bool {
        if line.starts_with("Traceback (most recent call last)") {
            self.frames = Some(Vec::new());
            return true;
        }
        let Some(frames) = &mut self.frames else { return false };
        if line.starts_with(' ') {
            frames.extend(place::python(line));
            if frames.len() > FRAMES {
                frames.remove(0);
            }
            return true;
        }
        let mut places = self.frames.take().unwrap_or_default();
        places.reverse();
        if let Some(mut said) = said::raised(line) {
            if said.message.is_empty() {
                said.message.clone_from(&said.rule);
            }
            self.add(places, said);
        }
        true
    }

    fn of_pytest(&mut self, line: &str) -> bool {
        let Some(told) = line.strip_prefix("E  ") else {
            if let Some(asserted) = &mut self.asserted {
                asserted.open = false;
            }
            return false;
        };
        let asserted = match &mut self.asserted {
            Some(asserted) if asserted.open => asserted,
            other => other.insert(Asserted { open: true, ..Asserted::default() }),
        };
        let told = told.trim();
        if asserted.text.len() + told.len() < ASSERTED_MAX {
            if !asserted.text.is_empty() {
                asserted.text.push('\n');
            }
            asserted.text.push_str(told);
        }
        if let Some(place) = place::python(told) {
            asserted.place = Some(place);
        } else if let Some(place) = asserted.place.clone()
            && let Some(said) = said::raised(told)
        {
            self.asserted = None;
            self.add(vec![place], said);
        }
        true
    }

    fn of_gradle(&mut self, line: &str) -> bool {
        if let Some(rest) = line.strip_prefix("Build file '")
            && let Some((path, rest)) = rest.split_once("' line: ")
        {
            let place = rest.trim().parse().ok().filter(|line| *line > 0);
            let place = place.filter(|_| place::is_path(path));
            self.gradle.place =
                place.map(|line| Place { path: path.to_owned(), line, column: None });
            return true;
        }
        if line.starts_with("* What went wrong:") {
            self.gradle.says = self.gradle.place.is_some();
            return true;
        }
        if !self.gradle.says {
            return false;
        }
        let Gradle { place, .. } = std::mem::take(&mut self.gradle);
        self.add(place.into_iter().collect(), Said::new(super::Level::Error, "", line));
        true
    }

    /// `error[E0308]: mismatched types`, and `  --> src/main.rs:2:5` below it.
    fn of_heading(&mut self, line: &str) -> bool {
        if let Some(at) = line.trim_start().strip_prefix("--> ") {
            let heading = self.heading.take();
            if let Some((said, _)) = heading
                && let Some((place, _)) = place::leading(at)
            {
                self.add(vec![place], said);
            }
            return true;
        }
        let syntax = || {
            let message = line.strip_prefix("invalid-syntax: ")?;
            Some(Said::new(super::Level::Error, "invalid-syntax", message))
        };
        let said = match line.as_bytes().first() {
            Some(b'e' | b'w') => said::severe(line),
            Some(b'A'..=b'Z') => said::coded(line),
            Some(b'i') => syntax(),
            Some(_) | None => None,
        };
        if let Some(said) = said {
            self.heading = Some((said, BELOW));
            // It may also be a line of another form.
            return false;
        }
        self.heading =
            self.heading.take().and_then(|(said, left)| Some((said, left.checked_sub(1)?)));
        false
    }

    fn of_panic(&mut self, line: &str) -> bool {
        let Some((before, at)) = line.split_once("panicked at ") else { return false };
        if !before.starts_with("thread ") {
            return false;
        }
        if let Some((place, _)) = place::leading(at) {
            self.panicked = Some(place);
        } else if let Some((message, at)) = at.rsplit_once("', ")
            && let Some((place, _)) = place::leading(at)
        {
            let said = Said::new(super::Level::Error, "panic", message.trim_start_matches('\''));
            self.add(vec![place], said);
        }
        true
    }
}

/// Does it begin as something does that names its place elsewhere?
fn begins(line: &[u8]) -> bool {
    let Some(first) = line.first() else { return false };
    match first {
        b'E' => line.starts_with(b"E  ") || is_coded(line),
        b'T' => line.starts_with(b"Traceback (") || is_coded(line),
        b'B' => line.starts_with(b"Build file '") || is_coded(line),
        b'A'..=b'Z' => is_coded(line),
        b'e' => line.starts_with(b"error"),
        b'w' => line.starts_with(b"warning"),
        b'i' => line.starts_with(b"invalid-syntax: "),
        b'*' => line.starts_with(b"* What went wrong:"),
        b't' => line.starts_with(b"thread "),
        _ => false,
    }
}

fn is_coded(line: &[u8]) -> bool {
    let letters = line.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    letters > 0 && line.get(letters).is_some_and(u8::is_ascii_digit)
}

/// `path:12`, `path(12` or `path:[12` at the beginning, or behind what tells how grave it is.
fn names_a_place(line: &[u8]) -> bool {
    let line = said::unprefixed(line);
    let digit = |at: &usize| line.get(at + 1).is_some_and(u8::is_ascii_digit);
    let Some(at) = memchr::memchr3_iter(b':', b'(', b'[', line).find(digit) else { return false };
    // What is no part of a path here is none at a later place either. Of `: (12` the path ends
    // with the colon.
    let path = line[..at].trim_ascii_end();
    !path.is_empty() && path.iter().all(|byte| place::may_be_of_path(*byte))
}
