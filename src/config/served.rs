//! Which repositories the server serves: `CHECKVALVE_REPOSITORIES`.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::domain::names::RepoName;

/// Which repositories are served.
#[derive(Debug, Clone)]
pub struct Served {
    globs: GlobSet,
    owners: Vec<String>,
}

impl Served {
    /// Globs `owner/repo`, separated by commas or blanks; `*` stays within one part, and case is
    /// ignored, as GitHub does.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut builder = GlobSetBuilder::new();
        let mut owners: Vec<String> = Vec::new();
        let mut any = false;
        for glob in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|g| !g.is_empty()) {
            let Some((owner, _)) = glob.split_once('/').filter(|(_, repo)| !repo.contains('/'))
            else {
                return Err(format!("`{glob}` must read `owner/repo`, as in `acme/*`"));
            };
            let plain = !owner.is_empty()
                && owner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if plain && !owners.iter().any(|known| known.eq_ignore_ascii_case(owner)) {
                owners.push(owner.to_owned());
            }
            let parsed =
                GlobBuilder::new(glob).literal_separator(true).case_insensitive(true).build();
            builder.add(parsed.map_err(|error| error.to_string())?);
            any = true;
        }
        if !any {
            return Err("it names no repository; write `owner/repo` or `owner/*`".to_owned());
        }
        Ok(Self { globs: builder.build().map_err(|error| error.to_string())?, owners })
    }

    /// The owners that are named, and not by a pattern.
    pub fn owners(&self) -> &[String] {
        &self.owners
    }

    pub fn serves(&self, name: &RepoName) -> bool {
        self.globs.is_match(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn served_repositories_are_globs_within_one_part() {
        let served = Served::parse("acme/*, other/One").unwrap();
        assert!(served.serves(&"Acme/connectors".parse().unwrap()));
        assert!(served.serves(&"other/one".parse().unwrap()));
        assert!(!served.serves(&"evil/connectors".parse().unwrap()));
        assert_eq!(served.owners(), ["acme", "other"]);
        assert_eq!(Served::parse("ac*/x, ACME/a acme/b").unwrap().owners(), ["ACME"]);
        assert!(Served::parse("acme").is_err());
        assert!(Served::parse("acme/a/b").is_err());
        assert!(Served::parse(" ,").is_err());
    }
}
