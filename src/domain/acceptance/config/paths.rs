//! The files that tests name: which of them hold credentials, and must be nothing else.

use std::collections::BTreeSet;

use super::{Asked, Config, Suite, Test};
use crate::domain::catalog::Flaw;
use crate::domain::yaml::Place;

/// The configuration of a test that names none.
const CREDENTIALS: &str = "secrets/config.json";

/// A file that is named as something else than a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub place: Place,
    /// The key that it stands behind.
    pub key: String,
    /// As it is written.
    pub path: String,
}

/// A path as the source has it: from the connector's folder, without detours.
pub fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Is the file called like a secret? `config` is `secrets/config.json`, or however else a test
/// calls a file of that name there.
pub fn is_called(path: &str, secret: &str) -> bool {
    let Some(file) = path.strip_prefix("secrets/") else { return false };
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    [file, stem].contains(&secret)
}

impl Test {
    /// The file of its configuration.
    pub fn configuration(&self) -> String {
        plain(self.config_path.as_deref().unwrap_or(CREDENTIALS))
    }
}

impl Config {
    fn tests(&self) -> impl Iterator<Item = &Test> {
        self.suites.values().flat_map(|asked| match asked {
            Asked::Tests(tests) => tests.as_slice(),
            Asked::Bypassed(_) => &[],
        })
    }

    /// The files that hold configurations.
    pub fn configurations(&self) -> BTreeSet<String> {
        self.tests().map(Test::configuration).chain([CREDENTIALS.to_owned()]).collect()
    }

    /// All files that the tests name.
    pub fn paths(&self) -> BTreeSet<String> {
        let others = self.mentions.iter().map(|mention| plain(&mention.path));
        self.configurations().into_iter().chain(others).collect()
    }

    /// Configurations, and what is called like one of these secrets, that are named as something
    /// else, too: as a file that lies in a layer of the container, where no secret may be.
    pub fn exposed(&self, secrets: &[&str]) -> Vec<Flaw> {
        let configurations = self.configurations();
        let is_secret = |path: &str| {
            configurations.contains(path) || secrets.iter().any(|secret| is_called(path, secret))
        };
        let exposed = self.mentions.iter().filter(|mention| is_secret(&plain(&mention.path)));
        let flaw = |Mention { place, key, path }: &Mention| {
            let text = format!("`{key}` can't be `{path}`, which holds credentials");
            Flaw::unusable(*place, text, "name a file without secrets: it is handed on as it is")
        };
        exposed.map(flaw).collect()
    }

    /// Streams that need no records, by whichever test of `basic_read`.
    pub fn empty_streams(&self) -> BTreeSet<String> {
        let tests = match self.suites.get(&Suite::BasicRead) {
            Some(Asked::Tests(tests)) => tests.as_slice(),
            Some(Asked::Bypassed(_)) | None => &[],
        };
        tests.iter().flat_map(|test| &test.empty_streams).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::yaml;

    fn config(text: &str) -> Config {
        super::super::read(&yaml::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_path_is_known_however_it_is_written() {
        for path in
            ["secrets/config.json", "./secrets//config.json", "/secrets/../secrets/./config.json"]
        {
            assert_eq!(plain(path), "secrets/config.json");
        }
        assert_eq!(plain("../../a"), "../../a");
        assert!(is_called("secrets/config.json", "config") && is_called("secrets/key", "key"));
        assert!(!is_called("config.json", "config") && !is_called("secrets/a/config", "config"));
    }

    #[test]
    fn what_holds_credentials_is_nothing_else() {
        let told = |path: &str, key: &str, named: &str| {
            let test = format!("{{ config_path: live/one.json, {key}: {named} }}");
            let suite = if key.contains("state") { "incremental" } else { "basic_read" };
            let suite = if key == "spec_path" { "spec" } else { suite };
            let config = config(&format!("acceptance_tests:\n  {suite}: {{ tests: [{test}] }}\n"));
            assert!(config.paths().contains(path), "{:?}", config.paths());
            let exposed = config.exposed(&["oauth"]).into_iter();
            exposed.map(|flaw| (flaw.place.map(|at| at.line), flaw.text)).collect::<Vec<_>>()
        };
        for path in ["live/one.json", "secrets/config.json", "secrets/oauth.json"] {
            for (key, value) in [
                ("configured_catalog_path", format!("./{path}")),
                ("future_state", format!("{{ future_state_path: {path} }}")),
                ("future_state_path", path.to_owned()),
                ("expect_records", format!("{{ path: x/../{path} }}")),
                ("spec_path", path.to_owned()),
            ] {
                let told = told(path, key, &value);
                assert_eq!(told.len(), 1, "{key}: {value}: {told:?}");
                assert_eq!(told[0].0, Some(2));
                assert!(told[0].1.ends_with("which holds credentials"), "{told:?}");
            }
        }
        let other = "integration_tests/state.json";
        assert_eq!(told(other, "future_state_path", other), []);
    }

    #[test]
    fn streams_may_be_empty_by_any_basic_read() {
        let text =
            "tests:\n  basic_read:\n  - empty_streams: [a]\n  - empty_streams: [{ name: b }]\n";
        let both = ["a", "b"].map(str::to_owned).into();
        assert_eq!(config(text).empty_streams(), both);
        let bypassed = "acceptance_tests:\n  basic_read: { bypass_reason: later }\n";
        assert!(config(bypassed).empty_streams().is_empty());
    }
}
