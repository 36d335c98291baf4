//! The files of the connector that its tests name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::{Site, blocking};
use crate::domain::acceptance::config::{self, Config, FILE as NAME, is_called, plain};
use crate::domain::builtin::{Case, Verdict};
use crate::domain::catalog::{Finding, Flaw};
use crate::domain::names::SecretName;
use crate::domain::plan::below;
use crate::domain::secret::Secret;
use crate::domain::yaml;
use crate::exec::images::Halted;

/// Bytes of one file that are read.
const LARGEST: u64 = 16 << 20;
/// Bytes of all of them: they are in memory for as long as the tests run.
const MOST: usize = 64 << 20;

/// Files by their path below the connector's root.
#[derive(Debug, Default)]
pub(super) struct Files {
    all: BTreeMap<String, Vec<u8>>,
    root: String,
    /// Which of them are which secret.
    secrets: BTreeMap<String, SecretName>,
}

impl Files {
    /// Reads the tests, and the files that they name; or the case that says what is wrong.
    pub(super) async fn gather<E>(
        site: &Site<'_, E>,
    ) -> Result<Result<(Config, Self), Case>, Halted> {
        let mut found = read(site, BTreeSet::from([NAME.to_owned()])).await?.files;
        let Some(text) = found.remove(NAME) else {
            site.say(format!("note: there is no {NAME}: `spec` alone is judged\n")).await;
            return Ok(Ok((Config::default(), Self::default())));
        };
        let root = site.task.plan.root().to_owned();
        let config = match parse(&text, &declared(site)) {
            Ok(config) => config,
            Err(flaws) => return Ok(Err(unreadable(&root, flaws))),
        };
        // A catalog or a state lies in a layer of the container, where no secret may be.
        let given = given(&site.task.step.secrets, &config.configurations());
        let Found { mut files, too_much, .. } = read(site, config.paths()).await?;
        if too_much {
            let text = format!("the files that it names have more than {} MiB", MOST >> 20);
            let flaw = Flaw::unusable(None, text, "name fewer or smaller ones");
            return Ok(Err(unreadable(&root, vec![flaw])));
        }
        // What the step is given in confidence goes before what lies in the tree.
        let mut secrets = BTreeMap::new();
        for (path, secret) in given {
            files.insert(path.clone(), secret.value.expose().to_vec());
            secrets.insert(path, secret.name.clone());
        }
        Ok(Ok((config, Self { all: files, root, secrets })))
    }

    /// The secret that a configuration is.
    pub(super) fn secret(&self, path: &str) -> Option<&SecretName> {
        self.secrets.get(&plain(path))
    }

    /// The configuration at this path, and at every other of the same secret, is another one now.
    pub(super) fn renew(&mut self, path: &str, config: &[u8]) {
        let path = plain(path);
        let secret = self.secrets.get(&path).cloned();
        let same = self.secrets.iter().filter(|(_, other)| Some(*other) == secret.as_ref());
        for path in same.map(|(path, _)| path.clone()).chain([path]).collect::<Vec<_>>() {
            self.all.insert(path, config.to_vec());
        }
    }

    /// Where a file lies, from the top of the repository.
    pub(super) fn place(&self, path: &str) -> String {
        placed(&self.root, &plain(path))
    }

    /// A configuration.
    pub(super) fn config(&self, path: &str) -> Option<&[u8]> {
        self.all.get(path).map(Vec::as_slice)
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = self.all.get(&plain(path))?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// JSON, or YAML if it is called so; else what is wrong, as a sentence goes on behind its name.
    pub(super) fn json(&self, path: &str) -> Result<Value, String> {
        let text = self.text(path).ok_or("is not there")?;
        let end = path.rsplit_once('.').map(|(_, end)| end);
        if matches!(end, Some("yaml" | "yml")) {
            let node =
                yaml::parse(&text).map_err(|broken| format!("is no YAML: {}", broken.what))?;
            return Ok(node.to_json());
        }
        serde_json::from_str(&text).map_err(|error| format!("is no JSON: {error}"))
    }
}

/// A secret is the file that a test calls like it.
fn given<'s>(secrets: &'s [Secret], named: &BTreeSet<String>) -> BTreeMap<String, &'s Secret> {
    let whose = |path: &String| {
        let mut secrets = secrets.iter();
        let secret = secrets.find(|secret| is_called(path, secret.name.as_str()))?;
        Some((path.clone(), secret))
    };
    named.iter().filter_map(whose).collect()
}

/// The secrets that the step names, also those that are not there.
fn declared<E>(site: &Site<'_, E>) -> Vec<SecretName> {
    let step = site.task.plan.step(&site.task.step.labels.step);
    step.map(|step| step.secrets.clone()).unwrap_or_default()
}

fn parse(bytes: &[u8], secrets: &[SecretName]) -> Result<Config, Vec<Flaw>> {
    let text = String::from_utf8_lossy(bytes);
    let broken = |b: yaml::Broken| vec![Flaw::unusable(b.place, b.what, b.mend)];
    let config = config::read(&yaml::parse(&text).map_err(broken)?)?;
    let secrets: Vec<&str> = secrets.iter().map(SecretName::as_str).collect();
    let exposed = config.exposed(&secrets);
    if exposed.is_empty() { Ok(config) } else { Err(exposed) }
}

fn unreadable(root: &str, flaws: Vec<Flaw>) -> Case {
    let path = placed(root, NAME);
    let findings = flaws.into_iter().map(|flaw| Finding::of(&path, flaw)).collect();
    Case::new(format!("{NAME} can be read"), Verdict::Failed(findings))
}

fn placed(root: &str, path: &str) -> String {
    format!("{root}/{path}").trim_start_matches('/').to_owned()
}

/// Files that were wanted.
#[derive(Debug, Default)]
struct Found {
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
    /// Some were left out.
    too_much: bool,
}

impl Found {
    fn keep(&mut self, path: &str, content: &[u8]) {
        self.bytes = self.bytes.saturating_add(content.len());
        self.too_much |= self.bytes > MOST;
        if !self.too_much {
            self.files.insert(path.to_owned(), content.to_vec());
        }
    }
}

async fn read<E>(site: &Site<'_, E>, wanted: BTreeSet<String>) -> Result<Found, Halted> {
    let (root, source) = (site.task.plan.root().to_owned(), site.task.step.source.clone());
    blocking(site.stop, move || {
        let mut found = Found::default();
        source.each_file(LARGEST, |path, content| {
            if let Some(path) = below(&root, path).filter(|path| wanted.contains(*path)) {
                found.keep(path, content);
            }
        })?;
        Ok(found)
    })
    .await
}

#[cfg(test)]
mod tests {
    use crate::domain::secret::{Delivery, SecretValue};

    use super::*;

    #[test]
    fn all_files_together_have_a_limit() {
        let mut found = Found::default();
        let content = vec![b'x'; 16 << 20];
        for n in 0..10 {
            found.keep(&n.to_string(), &content);
        }
        assert_eq!((found.files.len(), found.too_much), (4, true));
    }

    #[test]
    fn a_secret_is_the_file_that_a_test_calls_like_it() {
        let secret = |name: &str| Secret {
            name: name.parse().unwrap(),
            delivery: Delivery::File,
            value: SecretValue::new(name.as_bytes().to_vec()),
        };
        let named = ["secrets/config.json", "secrets/oauth", "config.json", "secrets/other.json"];
        let named = named.map(str::to_owned).into();
        let secrets = [secret("config"), secret("oauth")];
        let found = given(&secrets, &named);
        let found = found.iter().map(|(path, secret)| (path.as_str(), secret.value.expose()));
        let found: Vec<_> = found.collect();
        let expected = [("secrets/config.json", &b"config"[..]), ("secrets/oauth", b"oauth")];
        assert_eq!(found, expected);
    }
}
