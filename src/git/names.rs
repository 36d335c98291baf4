//! Which blob a path of a commit is.

use super::command::{LOCAL, Settings};
use super::error::GitError;
use super::objects::{Objects, lines};
use crate::domain::names::Sha;

impl Objects {
    /// For each `commit:path` the blob that it names; `None` if there is no such file, or something
    /// else than a file.
    pub async fn blobs(&self, names: &[(&Sha, &str)]) -> Result<Vec<Option<Sha>>, GitError> {
        const COMMAND: [&str; 2] = ["cat-file", "--batch-check=%(objectname) %(objecttype)"];
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<String> = names.iter().map(|(sha, path)| format!("{sha}:{path}")).collect();
        let asked = lines(asked.iter().map(String::as_str)).into_bytes();
        let ended = self.git.run(&COMMAND, Settings::default(), Some(asked), LOCAL).await?;
        let answers = ended.success("cat-file")?;
        let answers = String::from_utf8_lossy(&answers);
        let blob = |answer: &str| answer.strip_suffix(" blob")?.parse().ok();
        let blobs: Vec<Option<Sha>> = answers.lines().map(blob).collect();
        if blobs.len() == names.len() {
            return Ok(blobs);
        }
        let text = format!("{} answers to {} questions", blobs.len(), names.len());
        Err(GitError::Output { command: "cat-file".to_owned(), text })
    }
}
