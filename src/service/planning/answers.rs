//! What was read out of files, kept by the files' ids: an answer depends on nothing but the content
//! and the question, so the next pull request costs only what changed.
//!
//! One file per repository, a line an answer. It is a cache and no more: a line that is torn, that
//! belongs to another version of ours or whose digest is wrong is as good as absent, and a folder
//! that can't be written to means that the next survey reads again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::domain::catalog::Facts;
use crate::domain::depends;
use crate::domain::names::Sha;

/// Raised whenever the file is written differently.
const FORMAT: u32 = 1;
/// How many bytes of answers a repository keeps; the least recently used go.
const LARGEST: usize = 16 * 1024 * 1024;
/// A file for fewer answers than these would cost more than it saves.
const FEWEST: usize = 32;
/// How many repositories one folder keeps answers of; the least recently written go.
const REPOSITORIES: usize = 64;
/// Using an answer is noted only once it is this many writings old: reading alone writes nothing.
const STALE: u64 = 8;
/// Digits of a line's digest.
const DIGEST: usize = 16;

/// What was asked of a blob: a kind of question, and the blob.
type Key = (String, Sha);

#[derive(Debug)]
enum Place {
    /// In the text that was read.
    Read(Range<usize>),
    Learnt(String),
}

#[derive(Debug)]
struct Answer {
    json: Place,
    /// At which writing it was last used.
    used: u64,
    /// Was it of use now?
    now: bool,
}

#[derive(Debug, Default)]
struct Known {
    text: String,
    answers: HashMap<Key, Answer>,
    /// How often the file was written.
    writings: u64,
    learnt: bool,
    /// Bytes of what was learnt; more than the file takes is not remembered.
    length: usize,
}

/// The answers about one repository's blobs.
#[derive(Debug)]
pub(super) struct Answers {
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

impl Answers {
    /// With what the file has, if there is one.
    pub(super) fn open(file: Option<&Path>) -> Self {
        let known = file.map(read).unwrap_or_default();
        Self { file: file.map(Path::to_owned), known: Mutex::new(known) }
    }

    /// The answer to a question about a blob, if it was given before.
    pub(super) fn find<A: DeserializeOwned>(&self, question: &str, blob: &Sha) -> Option<A> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        let answer = known.answers.get_mut(&(question.to_owned(), blob.clone()))?;
        let json = match &answer.json {
            Place::Read(range) => checked(known.text.get(range.clone())?, question, blob)?,
            Place::Learnt(json) => json,
        };
        let found = serde_json::from_str(json).ok()?;
        answer.now = true;
        Some(found)
    }

    pub(super) fn learn<A: Serialize>(&self, question: &str, blob: &Sha, answer: &A) {
        let Ok(json) = serde_json::to_string(answer) else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.length += json.len();
        if known.length > LARGEST {
            return;
        }
        let answer = Answer { json: Place::Learnt(json), used: 0, now: true };
        known.answers.insert((question.to_owned(), blob.clone()), answer);
        known.learnt = true;
    }

    /// Writes what is new. Whatever hinders it is no failure.
    pub(super) fn keep(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = |answer: &Answer| answer.now && answer.used + STALE < known.writings;
        let worth = known.learnt || known.answers.values().any(forgotten);
        let Some(file) = self.file.as_deref().filter(|_| worth && known.answers.len() >= FEWEST)
        else {
            return;
        };
        if let Err(error) = write(file, &known) {
            tracing::debug!(file = %file.display(), %error, "answers about blobs are not kept");
        }
    }
}

/// The first line: what all others depend on.
fn versions() -> String {
    format!(
        "checkvalve answers {FORMAT} {} {} {}",
        env!("CARGO_PKG_VERSION"),
        depends::VERSION,
        Facts::VERSION
    )
}

fn digest(json: &str, question: &str, blob: &Sha) -> String {
    let whole = [&versions(), question, blob.as_str(), json].join("\n");
    let mut digest = hex::encode(Sha256::digest(whole));
    digest.truncate(DIGEST);
    digest
}

/// The answer on a line `<digest> <json>`, if the digest is right.
fn checked<'l>(line: &'l str, question: &str, blob: &Sha) -> Option<&'l str> {
    let (written, json) = line.split_once(' ')?;
    (written == digest(json, question, blob)).then_some(json)
}

/// What a file has; nothing if there is none, or one of another version.
fn read(file: &Path) -> Known {
    let mut bytes = Vec::new();
    let most = 2 * LARGEST as u64;
    let opened = File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes));
    let text = opened.ok().and_then(|_| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut known = Known::default();
    let mut at = 0;
    for (nth, line) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        if nth == 0 {
            let Some(writings) = line.trim_end().strip_prefix(&format!("{} ", versions())) else {
                return Known::default();
            };
            known.writings = writings.parse().unwrap_or_default();
            continue;
        }
        // A line without an end was torn.
        let Some(line) = line.strip_suffix('\n') else { break };
        let mut words = line.splitn(4, ' ');
        let (used, question, blob) = (words.next(), words.next(), words.next());
        let (Some(rest), Some(question)) = (words.next(), question) else { continue };
        let used: Option<u64> = used.and_then(|used| used.parse().ok());
        let (Some(used), Some(Ok(blob))) = (used, blob.map(str::parse)) else { continue };
        let from = start + line.len() - rest.len();
        let json = Place::Read(from..start + line.len());
        known.answers.insert((question.to_owned(), blob), Answer { json, used, now: false });
    }
    Known { text, ..known }
}

/// Writes the file anew beside its place and moves it there, with what others wrote since.
fn write(file: &Path, known: &Known) -> io::Result<()> {
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let lock = File::create(file.with_extension("answers-lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        // Another one writes; what it does not know is learnt again.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let there = read(file);
    let writing = there.writings.max(known.writings) + 1;
    let mut lines: Vec<(u64, &Key, String)> = Vec::new();
    for (key, answer) in &known.answers {
        let line = match &answer.json {
            // Another version's, or gone since.
            Place::Read(range) => known.text.get(range.clone()).unwrap_or_default().to_owned(),
            Place::Learnt(json) => format!("{} {json}", digest(json, &key.0, &key.1)),
        };
        lines.push((if answer.now { writing } else { answer.used }, key, line));
    }
    for (key, answer) in there.answers.iter().filter(|(key, _)| !known.answers.contains_key(*key)) {
        let Place::Read(range) = &answer.json else { continue };
        lines.push((
            answer.used,
            key,
            there.text.get(range.clone()).unwrap_or_default().to_owned(),
        ));
    }
    lines.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let mut text = format!("{} {writing}\n", versions());
    for (used, (question, blob), line) in lines {
        if text.len() + line.len() < LARGEST {
            let _ = writeln!(text, "{used} {question} {blob} {line}");
        }
    }
    if !file.exists() {
        make_room(folder)?;
    }
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.persist(file)?;
    Ok(())
}

/// Removes the answers about repositories that nobody asked about for the longest time.
fn make_room(folder: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "answers") {
            found.push((path.metadata()?.modified()?, path));
        }
    }
    found.sort();
    for (_, path) in found.iter().rev().skip(REPOSITORIES - 1) {
        fs::remove_file(path)?;
        // Mostly it is there.
        let _ = fs::remove_file(path.with_extension("answers-lock"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(nth: usize) -> Sha {
        format!("{nth:040x}").parse().unwrap()
    }

    #[test]
    fn the_least_recently_used_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.answers");
        let large = "x".repeat(LARGEST / 100);
        for learnt in [0..60, 60..90, 100..160] {
            let answers = Answers::open(Some(&file));
            // Of use in every survey.
            answers.find::<String>("q", &blob(0));
            for nth in learnt {
                answers.learn("q", &blob(nth), &large);
            }
            answers.keep();
            assert!(fs::metadata(&file).unwrap().len() <= LARGEST as u64);
        }
        let answers = Answers::open(Some(&file));
        let there = |nth| answers.find("q", &blob(nth)) == Some(large.clone());
        assert!([0, 60, 89, 100, 159].into_iter().all(there));
        assert!(!there(59));
        assert_eq!(answers.find::<String>("another question", &blob(0)), None);
    }

    #[test]
    fn reading_writes_only_what_would_soon_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.answers");
        let survey = |learnt: Range<usize>, used: usize| {
            let answers = Answers::open(Some(&file));
            learnt.for_each(|nth| answers.learn("q", &blob(nth), &nth));
            assert_eq!(answers.find("q", &blob(used)), Some(used));
            answers.keep();
            fs::read(&file).unwrap()
        };
        let first = survey(0..FEWEST, 0);
        assert_eq!(survey(0..0, 0), first);
        for nth in 0..=usize::try_from(STALE).unwrap() {
            survey(100 + nth..101 + nth, 100 + nth);
        }
        let noted = survey(0..0, 0);
        assert_eq!(survey(0..0, 0), noted);
        // One writing, then nine, then the note.
        let line = format!("11 q {} ", blob(0));
        assert!(String::from_utf8(noted).unwrap().lines().any(|one| one.starts_with(&line)));
    }

    #[test]
    fn a_folder_keeps_no_more_than_so_many_repositories() {
        let folder = tempfile::tempdir().unwrap();
        for repository in 0..REPOSITORIES + 3 {
            let answers = Answers::open(Some(&folder.path().join(format!("{repository}.answers"))));
            (0..FEWEST).for_each(|nth| answers.learn("q", &blob(nth), &nth));
            answers.keep();
        }
        let left = fs::read_dir(folder.path()).unwrap().filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|extension| extension == "answers")
        });
        assert_eq!(left.count(), REPOSITORIES);
    }
}
