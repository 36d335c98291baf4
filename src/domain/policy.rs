//! Who may do what. GitHub's collaborator permission decides, never `author_association`, which
//! shows private members as strangers.

use serde::{Deserialize, Serialize};

/// A collaborator's permission, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    None,
    Read,
    Triage,
    Write,
    Maintain,
    Admin,
}

impl Permission {
    pub fn may_write(self) -> bool {
        self >= Self::Write
    }
}

/// Who may have things run and approve, as the default branch's repository file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// The least permission that may command and approve.
    pub approve: Permission,
    /// Bots that count as one who may write, for their code and their commands; none may approve.
    pub bots: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { approve: Permission::Write, bots: Vec::new() }
    }
}

impl Policy {
    /// While nobody can tell what the file says.
    pub fn closed() -> Self {
        Self { approve: Permission::Admin, bots: Vec::new() }
    }

    /// Is this bot one of those? `renovate` and `renovate[bot]` are one: no person's login has brackets.
    pub fn lets_bot(&self, login: &str) -> bool {
        let plain = |name: &str| name.trim_end_matches("[bot]").to_ascii_lowercase();
        self.bots.iter().any(|bot| plain(bot) == plain(login))
    }
}

impl Permission {
    /// What may do as much, in words: `may write to`.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "may see",
            Self::Read => "may read",
            Self::Triage => "may triage",
            Self::Write => "may write to",
            Self::Maintain => "may maintain",
            Self::Admin => "may administer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_is_listed_with_or_without_its_brackets() {
        let policy = Policy {
            bots: vec!["renovate".to_owned(), "Dep[bot]".to_owned()],
            ..Policy::default()
        };
        assert!(policy.lets_bot("renovate[bot]") && policy.lets_bot("dep[bot]"));
        assert!(!policy.lets_bot("renovate2[bot]"));
        assert!(!Policy::closed().lets_bot("renovate[bot]"));
    }
}
