//! Our table of the REST operations served: route, GitHub's `operationId`, credentials and
//! permissions. A test compares it with GitHub's published tables.

use std::collections::BTreeMap;

/// What an operation wants to see in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// The App's JWT.
    Jwt,
    /// An installation token, always.
    Installation,
    /// An installation token; on public repositories reading needs none.
    Repository,
    /// Anything or nothing.
    Optional,
}

/// One served operation.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// `GET`, …
    pub method: &'static str,
    /// `OpenAPI` path template.
    pub template: &'static str,
    /// The description's `operationId`.
    pub id: &'static str,
    /// Credentials.
    pub auth: Auth,
    /// Alternatives, any one of which is enough: `permission=level`.
    pub permissions: &'static [&'static str],
}

macro_rules! operations {
    ($($method:ident $template:literal $id:literal $auth:ident $($permission:literal)*;)*) => {
        &[$(Operation {
            method: stringify!($method),
            template: $template,
            id: $id,
            auth: Auth::$auth,
            permissions: &[$($permission),*],
        }),*]
    };
}

/// Every served operation; of two that match a path, the earlier one is meant.
pub const OPERATIONS: &[Operation] = operations! {
    POST "/app-manifests/{code}/conversions" "apps/create-from-manifest" Optional;
    GET "/app" "apps/get-authenticated" Jwt;
    GET "/app/hook/config" "apps/get-webhook-config-for-app" Jwt;
    PATCH "/app/hook/config" "apps/update-webhook-config-for-app" Jwt;
    GET "/app/hook/deliveries" "apps/list-webhook-deliveries" Jwt;
    GET "/app/hook/deliveries/{delivery_id}" "apps/get-webhook-delivery" Jwt;
    POST "/app/hook/deliveries/{delivery_id}/attempts" "apps/redeliver-webhook-delivery" Jwt;
    GET "/app/installations" "apps/list-installations" Jwt;
    GET "/app/installations/{installation_id}" "apps/get-installation" Jwt;
    POST "/app/installations/{installation_id}/access_tokens"
        "apps/create-installation-access-token" Jwt;
    GET "/installation/repositories" "apps/list-repos-accessible-to-installation" Installation;
    DELETE "/installation/token" "apps/revoke-installation-access-token" Installation;
    GET "/repos/{owner}/{repo}/installation" "apps/get-repo-installation" Jwt;
    GET "/rate_limit" "rate-limit/get" Optional;
    GET "/meta" "meta/get" Optional;
    GET "/repos/{owner}/{repo}" "repos/get" Repository "metadata=read";
    GET "/repos/{owner}/{repo}/pulls" "pulls/list" Repository "pull_requests=read";
    GET "/repos/{owner}/{repo}/pulls/{pull_number}" "pulls/get" Repository
        "contents=read" "pull_requests=read";
    GET "/repos/{owner}/{repo}/pulls/{pull_number}/files" "pulls/list-files" Repository
        "pull_requests=read";
    POST "/repos/{owner}/{repo}/check-runs" "checks/create" Repository "checks=write";
    GET "/repos/{owner}/{repo}/check-runs/{check_run_id}" "checks/get" Repository "checks=read";
    PATCH "/repos/{owner}/{repo}/check-runs/{check_run_id}" "checks/update" Repository
        "checks=write";
    GET "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations" "checks/list-annotations"
        Repository "checks=read";
    POST "/repos/{owner}/{repo}/check-runs/{check_run_id}/rerequest" "checks/rerequest-run"
        Repository "checks=write";
    POST "/repos/{owner}/{repo}/check-suites" "checks/create-suite" Repository "checks=write";
    PATCH "/repos/{owner}/{repo}/check-suites/preferences" "checks/set-suites-preferences"
        Repository "checks=write";
    GET "/repos/{owner}/{repo}/check-suites/{check_suite_id}" "checks/get-suite" Repository
        "checks=read";
    GET "/repos/{owner}/{repo}/check-suites/{check_suite_id}/check-runs" "checks/list-for-suite"
        Repository "checks=read";
    POST "/repos/{owner}/{repo}/check-suites/{check_suite_id}/rerequest" "checks/rerequest-suite"
        Repository "checks=write";
    GET "/repos/{owner}/{repo}/commits/{ref}/check-runs" "checks/list-for-ref" Repository
        "checks=read";
    GET "/repos/{owner}/{repo}/commits/{ref}/check-suites" "checks/list-suites-for-ref" Repository
        "checks=read";
    GET "/repos/{owner}/{repo}/commits/{ref}/statuses" "repos/list-commit-statuses-for-ref"
        Repository "statuses=read";
    GET "/repos/{owner}/{repo}/commits/{ref}/status" "repos/get-combined-status-for-ref"
        Repository "statuses=read";
    POST "/repos/{owner}/{repo}/statuses/{sha}" "repos/create-commit-status" Repository
        "statuses=write";
    GET "/repos/{owner}/{repo}/commits/{commit_sha}/pulls"
        "repos/list-pull-requests-associated-with-commit" Repository "pull_requests=read";
    GET "/repos/{owner}/{repo}/commits/{ref}" "repos/get-commit" Repository "contents=read";
    GET "/repos/{owner}/{repo}/compare/{basehead}" "repos/compare-commits-with-basehead" Repository
        "contents=read";
    GET "/repos/{owner}/{repo}/contents/{path}" "repos/get-content" Repository "contents=read";
    GET "/repos/{owner}/{repo}/git/ref/{ref}" "git/get-ref" Repository "contents=read";
    GET "/repos/{owner}/{repo}/git/trees/{tree_sha}" "git/get-tree" Repository "contents=read";
    GET "/repos/{owner}/{repo}/git/blobs/{file_sha}" "git/get-blob" Repository "contents=read";
    GET "/repos/{owner}/{repo}/git/commits/{commit_sha}" "git/get-commit" Repository
        "contents=read";
    GET "/repos/{owner}/{repo}/tarball/{ref}" "repos/download-tarball-archive" Repository
        "contents=read";
    GET "/repos/{owner}/{repo}/issues/comments" "issues/list-comments-for-repo" Repository
        "issues=read" "pull_requests=read";
    GET "/repos/{owner}/{repo}/issues/comments/{comment_id}" "issues/get-comment" Repository
        "issues=read" "pull_requests=read";
    PATCH "/repos/{owner}/{repo}/issues/comments/{comment_id}" "issues/update-comment" Repository
        "issues=write" "pull_requests=write";
    DELETE "/repos/{owner}/{repo}/issues/comments/{comment_id}" "issues/delete-comment" Repository
        "issues=write" "pull_requests=write";
    GET "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions"
        "reactions/list-for-issue-comment" Repository "issues=read";
    POST "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions"
        "reactions/create-for-issue-comment" Repository "issues=write";
    DELETE "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions/{reaction_id}"
        "reactions/delete-for-issue-comment" Repository "issues=write";
    GET "/repos/{owner}/{repo}/issues/{issue_number}/comments" "issues/list-comments" Repository
        "issues=read" "pull_requests=read";
    POST "/repos/{owner}/{repo}/issues/{issue_number}/comments" "issues/create-comment" Repository
        "issues=write" "pull_requests=write";
    GET "/repos/{owner}/{repo}/collaborators/{username}" "repos/check-collaborator" Repository
        "metadata=read";
    GET "/repos/{owner}/{repo}/collaborators/{username}/permission"
        "repos/get-collaborator-permission-level" Repository "metadata=read";
    GET "/orgs/{org}/members/{username}" "orgs/check-membership-for-user" Installation
        "members=read";
    GET "/orgs/{org}/memberships/{username}" "orgs/get-membership-for-user" Installation
        "members=read";
    GET "/orgs/{org}/teams/{team_slug}/memberships/{username}"
        "teams/get-membership-for-user-in-org" Installation "members=read";
};

impl Operation {
    /// Does it change anything?
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }

    /// The `X-Accepted-GitHub-Permissions` header of its refusals.
    pub(crate) fn accepted_permissions(&self) -> String {
        self.permissions.join("; ")
    }
}

/// Path parameters by name, percent-decoded.
pub(crate) type Params = BTreeMap<&'static str, String>;

/// Finds the operation for a path (without `/api/v3`, still percent-encoded).
pub(crate) fn find(method: &str, path: &str) -> Option<(&'static Operation, Params)> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    OPERATIONS.iter().filter(|operation| operation.method == method).find_map(|operation| {
        let mut params = Params::new();
        let template: Vec<&'static str> = operation.template.split('/').skip(1).collect();
        matches(&template, &segments, &mut params).then_some((operation, params))
    })
}

/// Parameters that swallow slashes, at GitHub and here.
fn is_greedy(name: &str) -> bool {
    matches!(name, "path" | "ref" | "basehead")
}

fn matches(template: &[&'static str], path: &[&str], params: &mut Params) -> bool {
    let Some((&first, rest)) = template.split_first() else { return path.is_empty() };
    let Some(name) = first.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
        return path.first() == Some(&first) && matches(rest, &path[1..], params);
    };
    // The root folder is `contents/` with nothing behind it.
    let fewest = usize::from(name != "path");
    let most = if is_greedy(name) { path.len() } else { 1.min(path.len()) };
    (fewest..=most).rev().any(|taken| {
        let value = path[..taken].join("/");
        if taken > 0 && value.is_empty() && name != "path" {
            return false;
        }
        if !matches(rest, &path[taken..], params) {
            return false;
        }
        params.insert(name, decode(&value));
        true
    })
}

/// Percent-decoding as URLs have it; broken UTF-8 becomes replacement characters.
pub(crate) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(method: &str, path: &str) -> Option<(&'static str, Params)> {
        find(method, path).map(|(operation, params)| (operation.id, params))
    }

    #[test]
    fn refs_and_paths_may_hold_slashes_raw_or_encoded() {
        let (found, params) = id("GET", "/repos/a/b/commits/feature/x/check-runs").unwrap();
        assert_eq!((found, params["ref"].as_str()), ("checks/list-for-ref", "feature/x"));
        let (found, params) = id("GET", "/repos/a/b/commits/feature%2Fx").unwrap();
        assert_eq!((found, params["ref"].as_str()), ("repos/get-commit", "feature/x"));
        let (found, params) = id("GET", "/repos/a/b/contents/docs/a%20b.md").unwrap();
        assert_eq!((found, params["path"].as_str()), ("repos/get-content", "docs/a b.md"));
        assert_eq!(id("GET", "/repos/a/b/git/ref/heads/x/y").unwrap().1["ref"], "heads/x/y");
    }

    #[test]
    fn literals_win_and_a_trailing_slash_matches_nothing() {
        assert_eq!(
            id("PATCH", "/repos/a/b/check-suites/preferences").unwrap().0,
            "checks/set-suites-preferences"
        );
        assert_eq!(id("GET", "/repos/a/b/issues/comments/7").unwrap().0, "issues/get-comment");
        assert_eq!(id("GET", "/repos/a/b/pulls/"), None);
        assert_eq!(id("GET", "/app/"), None);
        assert_eq!(id("PUT", "/app"), None);
    }
}
