//! What can go wrong between us and GitHub, told apart here, where it is understood, so that
//! nobody else reads status codes or texts. No error holds a token or a key.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Asking again changes nothing until somebody mends something.
    Never,
    /// Ask again after this long, and not sooner: GitHub may ban who does.
    After(Duration),
    /// The call may have happened. Look before asking again.
    Unknown,
}

/// An error of a call, or of the settings. `call` is what was tried, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GithubError {
    #[error(
        "CHECKVALVE_GITHUB_PRIVATE_KEY is not an RSA private key in PEM form ({why}): generate one \
         in the App's settings on GitHub under \"Private keys\" and give the whole file, from \
         `-----BEGIN` to `-----END … KEY-----`"
    )]
    PrivateKey { why: String },
    #[error(
        "CHECKVALVE_GITHUB_API_URL `{url}` is not usable: {why}; GitHub's own is \
             `https://api.github.com`, a GitHub Enterprise Server's `https://HOST/api/v3`"
    )]
    ApiUrl { url: String, why: &'static str },
    #[error("the certificates of {} can't be used: {why}; give PEM certificates", .path.display())]
    Certificates { path: PathBuf, why: String },
    #[error("GitHub limits our rate: to {call}, wait {} s", .wait.as_secs())]
    RateLimited { call: &'static str, wait: Duration },
    #[error(
        "GitHub does not know who we are ({message}) when asked to {call}: compare \
             CHECKVALVE_GITHUB_APP_ID with the App's page and give one of its current private keys"
    )]
    Unauthorized { call: &'static str, message: String },
    #[error(
        "the App's installation {installation} is suspended: its owner must unsuspend it under \
             the organization's \"GitHub Apps\" settings"
    )]
    Suspended { installation: u64 },
    #[error(
        "to {call}, the App lacks a permission ({missing}): grant it in the App's settings \
             under \"Permissions & events\" and have the installation's owner accept it"
    )]
    Permission { call: &'static str, missing: String },
    #[error(
        "GitHub has no {path}, or the App may not see it: to {call}, the App must be installed \
             on that repository"
    )]
    NotFound { call: &'static str, path: String },
    #[error(
        "the App has no installation {installation}: it was uninstalled, or installed anew under \
             another number"
    )]
    NotInstalled { installation: u64 },
    #[error("GitHub refuses to {call} ({status}): {message}")]
    Refused { call: &'static str, status: u16, message: String },
    #[error("GitHub could not be reached to {call}: {why}")]
    Unavailable { call: &'static str, why: String },
    #[error("it is not known whether GitHub did {call}: {why}")]
    Unknown { call: &'static str, why: String },
}

/// How long to leave GitHub alone after our own attempts were used up.
const PAUSE: Duration = Duration::from_secs(10);

impl GithubError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::RateLimited { wait, .. } => Retry::After(*wait),
            Self::Unavailable { .. } => Retry::After(PAUSE),
            Self::Unknown { .. } => Retry::Unknown,
            Self::PrivateKey { .. }
            | Self::ApiUrl { .. }
            | Self::Certificates { .. }
            | Self::Unauthorized { .. }
            | Self::Suspended { .. }
            | Self::Permission { .. }
            | Self::NotFound { .. }
            | Self::NotInstalled { .. }
            | Self::Refused { .. } => Retry::Never,
        }
    }
}

impl GithubError {
    /// GitHub has none of that, or a host of its does not know it yet.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotInstalled { .. })
    }

    /// A refusal that ends when somebody mends a setting (a key, a permission, a suspension), or
    /// when GitHub's own replicas agree: worth coming back to, though not soon.
    pub fn may_be_mended(&self) -> bool {
        match self {
            Self::Unauthorized { .. }
            | Self::Suspended { .. }
            | Self::Permission { .. }
            | Self::NotFound { .. }
            | Self::NotInstalled { .. } => true,
            Self::PrivateKey { .. }
            | Self::ApiUrl { .. }
            | Self::Certificates { .. }
            | Self::RateLimited { .. }
            | Self::Refused { .. }
            | Self::Unavailable { .. }
            | Self::Unknown { .. } => false,
        }
    }
}

/// GitHub's tokens, old (`ghs_` and 36 characters) and new (about 520, with dots), and bare JWTs.
/// The pattern is GitHub's own recommendation, widened by `-`, which a JWT may hold.
static TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(gh[a-z]_|github_pat_|eyJ)[A-Za-z0-9._\-]{16,}").ok());

/// A text of GitHub's, fit for an error: one line, not long, no token.
pub(super) fn quotable(text: &str) -> String {
    const LONGEST: usize = 400;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean = match &*TOKEN {
        Some(token) => token.replace_all(&line, "[token]").into_owned(),
        None => String::new(),
    };
    match clean.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_both_formats_never_reach_an_error() {
        let stateless = format!("ghs_12345_eyJhbGciOi.{}-_.{}", "a".repeat(240), "b".repeat(240));
        let classic = format!("ghs_{}", "A1".repeat(18));
        for token in [stateless, classic, format!("eyJ{}.x.y", "q".repeat(40))] {
            let text = quotable(&format!("bad\n credentials {token}, sorry"));
            assert_eq!(text, "bad credentials [token], sorry");
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(quotable(&"ä".repeat(1000)).chars().count(), 401);
    }
}
