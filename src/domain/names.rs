//! Names that come from outside, parsed once: repositories, commits, connectors, steps, secrets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {why}")]
pub struct InvalidName {
    pub what: &'static str,
    pub why: &'static str,
    pub text: String,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err(InvalidName { what: $what, why, text: text.to_owned() }),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

names! {
    /// `owner/repo` as GitHub spells it.
    RepoName: "a repository name", check_repository;
    /// A full object name: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
    Sha: "a commit", check_sha;
    /// A connector's name. It becomes a path, a URL segment and part of a check run's name, so
    /// control characters, `/`, and the two dot names are refused.
    ConnectorName: "a connector name", check_component;
    /// A step's id within its pipeline.
    StepId: "a step id", check_component;
    /// What the repository file calls a secret; also the name of its file, and in upper case of
    /// its variable.
    SecretName: "a secret's name", check_secret;
    /// The host name by which a step reaches a service.
    ServiceAlias: "a service's name", check_alias;
}

impl RepoName {
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    pub fn repo(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, repo)| repo)
    }
}

impl Sha {
    /// The first twelve digits, as people read them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// What an engine's name service answers to, and a program takes for a host.
fn check_alias(text: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: char| c.is_ascii_alphanumeric();
    if text.len() > 63 {
        return Err("it has more than 63 characters");
    }
    if !text.starts_with(ends) || !text.ends_with(ends) || !text.chars().all(plain) {
        return Err(
            "it has letters, digits, `-`, `_` and `.`, and begins and ends with one of the first two",
        );
    }
    if text.eq_ignore_ascii_case("localhost") || text.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err("it means something else to programs");
    }
    Ok(())
}

/// GitHub allows letters, digits, `-`, `_` and `.` in both parts.
fn check_repository(text: &str) -> Result<(), &'static str> {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match text.split_once('/') {
        Some((owner, repo)) if part(owner) && part(repo) => Ok(()),
        Some(_) | None => Err("it must read `owner/repo`"),
    }
}

fn check_sha(text: &str) -> Result<(), &'static str> {
    let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && matches!(text.len(), 40 | 64) {
        Ok(())
    } else {
        Err("it must be 40 or 64 lower-case hex digits")
    }
}

fn check_component(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("it is empty"),
        "." | ".." => Err("dot names are no names"),
        _ if text.len() > 200 => Err("it is longer than 200 bytes"),
        _ if text.contains('/') => Err("it holds a `/`"),
        _ if text.chars().any(char::is_control) => Err("it holds a control character"),
        _ => Ok(()),
    }
}

fn check_secret(text: &str) -> Result<(), &'static str> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.len() > 100 {
        Err("it is longer than 100 bytes")
    } else if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(known) {
        Ok(())
    } else {
        Err("it must be letters, digits, `-`, `_` and `.`, beginning with a letter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_checked() {
        assert_eq!("acme/connectors".parse::<RepoName>().unwrap().owner(), "acme");
        for bad in ["acme", "acme/", "/x", "a/b/c", "a/..", "a b/c"] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
        assert!("A".repeat(40).parse::<Sha>().is_err());
        assert!("a".repeat(40).parse::<Sha>().is_ok());
        for bad in ["", "..", "a/b", "a\nb"] {
            assert!(bad.parse::<ConnectorName>().is_err(), "{bad:?}");
        }
        assert!("config.json".parse::<SecretName>().is_ok());
        for bad in ["", "..", ".netrc", "a/b", "a b", "1st", "$x"] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad:?}");
        }
    }
}
