//! The bare repositories, worked on with the `git` program.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::api::Change;
use crate::error::Error;
use crate::world::{CommitFacts, PullSize};

/// A `git` that reads nobody's settings.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("LC_ALL", "C")
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn failure(arguments: &[&str], message: &impl ToString) -> Error {
    let command = arguments.first().copied().unwrap_or_default().to_owned();
    Error::Git { command, message: message.to_string().trim().to_owned() }
}

/// Runs git with something on its standard input; what it printed.
async fn run_with(folder: &Path, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut child =
        command(folder).args(arguments).spawn().map_err(|error| failure(arguments, &error))?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(stdin) = &mut stdin {
            // A git that fails early closes its input; its own message says more.
            let _ = stdin.write_all(&input).await;
        }
        drop(stdin.take());
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.map_err(|error| failure(arguments, &error))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failure(arguments, &String::from_utf8_lossy(&output.stderr)))
    }
}

/// Runs git; the bytes it printed.
pub(crate) async fn bytes(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, Error> {
    run_with(folder, arguments, Vec::new()).await
}

/// Runs git; what it printed, without the last line end.
pub(crate) async fn text(folder: &Path, arguments: &[&str]) -> Result<String, Error> {
    let output = bytes(folder, arguments).await?;
    Ok(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
}

/// An empty bare repository that lets fetch what GitHub lets fetch: any reachable commit by its
/// SHA, hidden pull request refs included, with partial-clone filters.
pub(crate) async fn create(folder: &Path, default_branch: &str) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    text(
        folder,
        &["init", "--quiet", "--bare", "--template=", "--initial-branch", default_branch, "."],
    )
    .await?;
    // Written at once: a `git config` for each would take a process each.
    let settings = "[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n\
                    [gc]\n\tauto = 0\n\
                    [user]\n\tname = GitHub\n\temail = noreply@github.invalid\n";
    let path = folder.join("config");
    let mut config = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    config.push_str(settings);
    std::fs::write(&path, config).map_err(Error::io(&path))?;
    Ok(())
}

/// What to commit, where.
#[derive(Debug)]
pub(crate) struct NewCommit<'a> {
    pub(crate) parent: Option<&'a str>,
    pub(crate) author: &'a str,
    pub(crate) message: &'a str,
    /// Seconds since 1970.
    pub(crate) at: i64,
    pub(crate) changes: &'a [(String, Change)],
}

/// Makes a commit and points `scratch_ref` at it; one git process whatever the number of files.
pub(crate) async fn commit(
    folder: &Path,
    scratch_ref: &str,
    new: &NewCommit<'_>,
) -> Result<String, Error> {
    let mut stream = Vec::new();
    let person = format!("{0} <{0}@users.noreply.github.invalid> {1} +0000", new.author, new.at);
    stream.extend(format!("commit {scratch_ref}\nauthor {person}\ncommitter {person}\n").bytes());
    data(&mut stream, new.message.as_bytes());
    if let Some(parent) = new.parent {
        stream.extend(format!("from {parent}\n").bytes());
    }
    for (path, change) in new.changes {
        let path = quote(path);
        let (mode, content) = match change {
            Change::Delete => {
                stream.extend(format!("D {path}\n").bytes());
                continue;
            }
            Change::Write(content) => ("100644", content.as_slice()),
            Change::WriteExecutable(content) => ("100755", content.as_slice()),
            Change::Symlink(target) => ("120000", target.as_bytes()),
        };
        stream.extend(format!("M {mode} inline {path}\n").bytes());
        data(&mut stream, content);
    }
    run_with(folder, &["fast-import", "--quiet", "--force"], stream).await?;
    text(folder, &["rev-parse", "--verify", &format!("{scratch_ref}^{{commit}}")]).await
}

fn data(stream: &mut Vec<u8>, content: &[u8]) {
    stream.extend(format!("data {}\n", content.len()).bytes());
    stream.extend(content);
    stream.push(b'\n');
}

/// fast-import's C-style path quoting.
fn quote(path: &str) -> String {
    let escaped = path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// The facts about a commit; `None` when there is no such commit here.
pub(crate) async fn facts(folder: &Path, sha: &str) -> Option<CommitFacts> {
    let looks_like_a_name = !sha.is_empty() && !sha.starts_with('-');
    if !looks_like_a_name {
        return None;
    }
    let format = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%B";
    let commit = format!("{sha}^{{commit}}");
    let shown = text(folder, &["show", "--no-patch", format, &commit]).await.ok()?;
    let mut fields = shown.splitn(7, '\0').map(str::to_owned);
    Some(CommitFacts {
        sha: fields.next()?,
        tree: fields.next()?,
        parents: fields.next()?.split_whitespace().map(str::to_owned).collect(),
        author_name: fields.next()?,
        author_email: fields.next()?,
        date: fields.next()?.replace("+00:00", "Z"),
        message: fields.next()?.trim_end().to_owned(),
    })
}

/// Does `descendant` contain `ancestor`?
pub(crate) async fn is_ancestor(folder: &Path, ancestor: &str, descendant: &str) -> bool {
    text(folder, &["merge-base", "--is-ancestor", ancestor, descendant]).await.is_ok()
}

/// The counts of a pull request's "Files changed" tab; zeros when nothing is in common.
pub(crate) async fn size(folder: &Path, base: &str, head: &str) -> PullSize {
    let range = format!("{base}...{head}");
    let stat = text(folder, &["diff", "-M", "--shortstat", &range]).await.unwrap_or_default();
    let count = |word: &str| {
        stat.split(',')
            .find(|part| part.contains(word))
            .and_then(|part| part.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    let ahead = format!("{base}..{head}");
    let commits = text(folder, &["rev-list", "--count", &ahead]).await.unwrap_or_default();
    PullSize {
        commits: commits.parse().unwrap_or(0),
        additions: count("insertion"),
        deletions: count("deletion"),
        changed_files: count("file"),
    }
}

/// A test merge of head into base: the merge commit, or `None` on a conflict.
pub(crate) async fn test_merge(folder: &Path, base: &str, head: &str) -> Option<String> {
    let tree = text(folder, &["merge-tree", "--write-tree", base, head]).await.ok()?;
    let tree = tree.lines().next()?.to_owned();
    let message = format!("Merge {head} into {base}");
    let arguments = ["commit-tree", &tree, "-p", base, "-p", head, "-m", &message];
    text(folder, &arguments).await.ok()
}
