//! What people may do in a repository.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use crate::domain::policy::Permission;
use crate::domain::run::Repository;

/// All but what is unreserved in a URL; App accounts have brackets in their names.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Deserialize)]
struct Answer {
    /// `admin`, `write`, `read`, `none`; maintain counts as write, triage as read.
    permission: String,
    /// The exact role, or a custom role's name. Absent on older servers.
    #[serde(default)]
    role_name: Option<String>,
}

impl Github {
    /// What `login` may do in the repository. GitHub's own answer, kept for a minute; an account
    /// that GitHub does not know, and a repository that we may not see, are
    /// [`Permission::None`]. On a public repository everybody may at least read.
    pub async fn permission(
        &self,
        repository: &Repository,
        login: &str,
    ) -> Result<Permission, GithubError> {
        let key = (repository.id, login.to_ascii_lowercase());
        match self.permissions.get(&key).await {
            Some(known) => Ok(known),
            None => self.permission_now(repository, login).await,
        }
    }

    /// As [`permission`](Self::permission), asked for now: for what can't be taken back.
    pub async fn permission_now(
        &self,
        repository: &Repository,
        login: &str,
    ) -> Result<Permission, GithubError> {
        let key = (repository.id, login.to_ascii_lowercase());
        // `.` and `..` would be steps in the URL's path; no account is called so.
        if login.is_empty() || login == "." || login == ".." {
            return Ok(Permission::None);
        }
        let login = utf8_percent_encode(login, SEGMENT);
        let uri = format!("/repos/{}/collaborators/{login}/permission", repository.name);
        let call = Call::get("read a person's permission", uri);
        let permission = match self.call::<Answer>(repository.installation, &call).await {
            Ok(answer) => answer.permission(),
            Err(GithubError::NotFound { .. }) => Permission::None,
            Err(error) => return Err(error),
        };
        self.permissions.insert(key, permission).await;
        Ok(permission)
    }
}

impl Answer {
    /// The finer role where GitHub has one; a custom role counts as what it is based on. The role's
    /// name alone never gives more than `permission` does.
    fn permission(&self) -> Permission {
        match (self.permission.as_str(), self.role_name.as_deref()) {
            ("admin", _) => Permission::Admin,
            ("write" | "maintain", Some("maintain")) | ("maintain", _) => Permission::Maintain,
            ("write", _) => Permission::Write,
            ("read" | "triage", Some("triage")) | ("triage", _) => Permission::Triage,
            ("read", _) => Permission::Read,
            _ => Permission::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_refines_the_permission_and_never_raises_it() {
        let of = |permission: &str, role: Option<&str>| {
            let role_name = role.map(str::to_owned);
            Answer { permission: permission.to_owned(), role_name }.permission()
        };
        assert_eq!(of("write", Some("maintain")), Permission::Maintain);
        assert_eq!(of("write", Some("release team")), Permission::Write);
        assert_eq!(of("read", Some("triage")), Permission::Triage);
        assert_eq!(of("read", Some("admin")), Permission::Read);
        assert_eq!(of("admin", None), Permission::Admin);
        assert_eq!(of("none", Some("none")), Permission::None);
        assert_eq!(of("something new", Some("admin")), Permission::None);
    }
}
