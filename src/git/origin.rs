//! What a person's repository knows of where it came from.

use super::command::{Git, LOCAL, Settings, Surroundings};
use super::error::GitError;
use super::local::LocalRepo;
use crate::domain::names::Sha;

impl LocalRepo {
    /// `owner/repo` as the origin's address has it, and the checked-out branch; each `None` if
    /// there is none.
    pub async fn names(&self) -> (Option<String>, Option<String>) {
        let origin = self.line(&["config", "--get", "remote.origin.url"]).await;
        let branch = self.line(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await;
        (origin.as_deref().and_then(owner_and_repo), branch)
    }

    /// Makes sure that the origin has this commit. It is fetched into an empty repository, with the
    /// configuration of this one: git asks nobody for a commit that is here already.
    pub async fn fetch_pushed(&self, commit: &Sha) -> Result<(), GitError> {
        let own = &self.objects().git;
        let config = own.read(&["rev-parse", "--path-format=absolute", "--git-path", "config"]);
        let config = String::from_utf8_lossy(&config.await?).trim().to_owned();
        let empty = tempfile::Builder::new().prefix("checkvalve-git-").tempdir();
        let empty = empty.map_err(|source| GitError::io("a folder to fetch into", source))?;
        let git = Git {
            // Where an address such as `../connectors.git` counts from.
            dir: self.work_tree().unwrap_or(&own.dir).to_owned(),
            surroundings: Surroundings::Own { redirected: true },
            ca_file: own.ca_file.clone(),
        };
        let format = if commit.as_str().len() == 64 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        let folder = empty.path().to_string_lossy().into_owned();
        git.read(&["init", "--quiet", "--bare", "--template=", &format, &folder]).await?;
        let mut settings = Settings::default();
        settings.set("include.path", config);
        // Of the commit no more than its existence is wanted; its files are here.
        let least = ["--quiet", "--no-tags", "--depth=1", "--filter=tree:0"];
        let (place, wanted) = (["--git-dir", &folder, "fetch"], ["origin", commit.as_str()]);
        let args = [&place[..], &least, &wanted].concat();
        git.run(&args, settings, None, LOCAL).await?.success("fetch").map(drop)
    }

    async fn line(&self, args: &[&str]) -> Option<String> {
        let ended = self.objects().git.run(args, Settings::default(), None, LOCAL).await.ok()?;
        if ended.code != Some(0) {
            return None;
        }
        let line = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
        (!line.is_empty()).then_some(line)
    }
}

/// The last two parts of an address: `https://host/o/r.git`, `git@host:o/r`, `/folder/o/r`.
fn owner_and_repo(address: &str) -> Option<String> {
    let path = address.trim_end_matches('/').trim_end_matches(".git");
    let mut parts = path.rsplit(['/', ':']).filter(|part| !part.is_empty());
    let (repo, owner) = (parts.next()?, parts.next()?);
    Some(format!("{owner}/{repo}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_owner_and_repository() {
        for address in ["https://github.com/o/r.git", "git@github.com:o/r", "/srv/o/r/"] {
            assert_eq!(owner_and_repo(address).as_deref(), Some("o/r"), "{address}");
        }
        assert_eq!(owner_and_repo("r"), None);
    }
}
