//! Single files of a repository, as its default branch has them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use crate::domain::run::Repository;

/// What stands under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Nothing,
    File(Vec<u8>),
    /// A folder, a submodule, or a file too large to be told (1 MB).
    Other,
}

impl Github {
    /// What the default branch has at `path`, which is of plain characters. GitHub's own answer, kept for
    /// a minute; `fresh`: asked for now. A repository that we may not see has nothing.
    pub async fn content(
        &self,
        repository: &Repository,
        path: &str,
        fresh: bool,
    ) -> Result<Content, GithubError> {
        let key = (repository.id, path.to_owned());
        if !fresh && let Some(known) = self.contents.get(&key).await {
            return Ok(known);
        }
        let uri = format!("/repos/{}/contents/{path}", repository.name);
        let call = Call::get("read a file of the default branch", uri);
        let content = match self.poll(Some(repository.installation), &call).await {
            Ok(answer) => of(&call.read(&answer)?),
            Err(GithubError::NotFound { .. }) => Content::Nothing,
            Err(error) => return Err(error),
        };
        self.contents.insert(key, content.clone()).await;
        Ok(content)
    }
}

/// Base64 with line breaks; a folder is a list, and of a large file nothing is told.
fn of(answer: &Value) -> Content {
    let text = |key: &str| answer[key].as_str();
    let (Some("file"), Some("base64"), Some(content)) =
        (text("type"), text("encoding"), text("content"))
    else {
        return Content::Other;
    };
    let packed: String = content.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let empty = answer["size"].as_u64() == Some(0);
    match BASE64_STANDARD.decode(packed) {
        Ok(bytes) if !bytes.is_empty() || empty => Content::File(bytes),
        Ok(_) | Err(_) => Content::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_read_and_everything_else_is_something_else() {
        let file = |content: &str, size: u64| {
            of(&json!({ "type": "file", "encoding": "base64", "content": content, "size": size }))
        };
        assert_eq!(file("dmVy\nc2lvbjog\nMQ==\n", 10), Content::File(b"version: 1".to_vec()));
        assert_eq!(file("", 0), Content::File(Vec::new()));
        assert_eq!(file("", 2_000_000), Content::Other, "too large to be told");
        assert_eq!(
            of(&json!({ "type": "file", "encoding": "none", "content": "" })),
            Content::Other
        );
        assert_eq!(of(&json!([{ "type": "file" }])), Content::Other);
        assert_eq!(of(&json!({ "type": "submodule" })), Content::Other);
    }
}
