//! Which commits made files what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::command::Settings;
use super::error::GitError;
use super::objects::{Objects, lossy, sha};
use crate::domain::names::Sha;
use crate::domain::registry::Commit;

/// A long history of large trees takes its time.
const HISTORY: Duration = Duration::from_mins(10);
/// Beyond as many paths, git is asked for all files of their names.
const LITERAL: usize = 40;

impl Objects {
    /// For each path, given with the object that `tip` has there, the last commit that made it so.
    /// One walk through the history, which ends when all are found. In a shallow clone, what is
    /// older than its history is left out.
    pub async fn last_changes(
        &self,
        tip: &Sha,
        wanted: &BTreeMap<String, Sha>,
    ) -> Result<BTreeMap<String, Commit>, GitError> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let shallow = !self.cut_off().is_empty();
        let mut settings = Settings::default();
        settings.set("log.follow", "false");
        settings.set("log.showRoot", "true");
        let mut command = self.git.command(settings);
        command.args(["log", "-c", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-color"]);
        command.args(["--no-ext-diff", "--format=%x01%H%x02%P%x02%ct%x02%ae%x02%an"]);
        command.arg(tip.as_str()).arg("--").args(pathspecs(wanted)).stderr(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().map_err(GitError::start)?;
        let stdout = child.stdout.take().ok_or_else(|| bad(b"no pipe"))?;
        let timed_out = |_| GitError::TimedOut { command: "log".to_owned(), after: HISTORY };
        let walk = walk(BufReader::with_capacity(1 << 16, stdout), wanted, shallow);
        let (found, to_its_end) =
            tokio::time::timeout(HISTORY, walk).await.map_err(timed_out)??;
        if !to_its_end {
            // It may have more to tell than was asked.
            let _ = child.start_kill();
        }
        let status = child.wait().await.map_err(|source| GitError::io("git log", source))?;
        if to_its_end && !status.success() {
            let text = format!("it ended with {status}");
            return Err(GitError::Failed { command: "log".to_owned(), text });
        }
        Ok(found)
    }
}

/// The paths themselves if they are few; else every file of their names, which is one comparison
/// a file instead of hundreds.
fn pathspecs(wanted: &BTreeMap<String, Sha>) -> Vec<String> {
    if wanted.len() <= LITERAL {
        return wanted.keys().map(|path| format!(":(literal){path}")).collect();
    }
    let name = |path: &'_ String| path.rsplit('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = wanted.keys().map(name).collect();
    let escaped = |name: &String| {
        let special = |c: char| matches!(c, '*' | '?' | '[' | '\\');
        let escape = |c: char| if special(c) { format!("\\{c}") } else { c.to_string() };
        name.chars().map(escape).collect::<String>()
    };
    names.iter().map(|name| format!(":(glob)**/{}", escaped(name))).collect()
}

/// What was found, and whether the log was read to its end.
async fn walk<R: AsyncRead + Unpin>(
    mut log: BufReader<R>,
    wanted: &BTreeMap<String, Sha>,
    shallow: bool,
) -> Result<(BTreeMap<String, Commit>, bool), GitError> {
    let mut found = BTreeMap::new();
    let mut settled: BTreeSet<String> = BTreeSet::new();
    let mut commit = None;
    while settled.len() < wanted.len() {
        let Some(token) = token(&mut log).await? else { return Ok((found, true)) };
        let token = token.strip_prefix(b"\n").unwrap_or(&token);
        match token.first() {
            None => {}
            Some(1) => commit = header(&token[1..], shallow)?,
            Some(b':') => {
                let object = new_object(token)?;
                let path = self::token(&mut log).await?.ok_or_else(|| bad(token))?;
                let path = lossy(&path).0;
                // A change on a line that was not merged as it stood leaves another object.
                if wanted.get(&path).is_some_and(|oid| oid.as_str() == object)
                    && settled.insert(path.clone())
                    && let Some(commit) = &commit
                {
                    found.insert(path, Commit::clone(commit));
                }
            }
            Some(_) => return Err(bad(token)),
        }
    }
    Ok((found, false))
}

/// What stands before the next NUL.
async fn token<R: AsyncRead + Unpin>(log: &mut BufReader<R>) -> Result<Option<Vec<u8>>, GitError> {
    let mut token = Vec::new();
    let read = log.read_until(0, &mut token).await;
    let read = read.map_err(|source| GitError::io("git log", source))?;
    if token.last() == Some(&0) {
        token.pop();
    }
    Ok((read > 0).then_some(token))
}

/// The commit that a header tells of; `None` for one that a shallow history ends with, which seems
/// to have made everything.
fn header(text: &[u8], shallow: bool) -> Result<Option<Commit>, GitError> {
    let text = String::from_utf8_lossy(text);
    let mut fields = text.splitn(5, '\u{2}');
    let mut next = || fields.next().ok_or_else(|| bad(text.as_bytes()));
    let (id, parents, seconds, email, author) = (next()?, next()?, next()?, next()?, next()?);
    if shallow && parents.is_empty() {
        return Ok(None);
    }
    let seconds = seconds.parse().map_err(|_| bad(text.as_bytes()))?;
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    Ok(Some(Commit {
        sha: sha(id, "log")?,
        timestamp: time.to_rfc3339_opts(SecondsFormat::Secs, true),
        author: author.to_owned(),
        email: email.to_owned(),
    }))
}

/// The object after the change: of n parents, n colons, n + 1 modes, n + 1 objects, the status.
fn new_object(record: &[u8]) -> Result<&str, GitError> {
    let text = std::str::from_utf8(record).map_err(|_| bad(record))?;
    text.rsplit(' ').nth(1).ok_or_else(|| bad(record))
}

fn bad(text: &[u8]) -> GitError {
    let text = super::error::telling(&String::from_utf8_lossy(text));
    GitError::Output { command: "log".to_owned(), text }
}
