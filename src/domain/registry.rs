//! A registry of connectors, made from their metadata: what Airbyte's platform reads to know which
//! connectors there are.
//!
//! Three lists come of one tree: one for each registry that `registryOverrides` may speak of, and
//! a neutral one, in which nothing is overridden and nobody left out.

mod entry;

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use self::entry::Registry;
use super::catalog::{Connector, Document, Finding, Flaw};
use super::metadata;
use super::names::{ConnectorName, Sha};
use super::yaml::Place;

/// A connector as a registry lists it.
pub type Entry = BTreeMap<String, Value>;

/// The commit that made a file what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    #[serde(rename = "commit_sha")]
    pub sha: Sha,
    /// RFC 3339, UTC.
    #[serde(rename = "commit_timestamp")]
    pub timestamp: String,
    #[serde(rename = "commit_author")]
    pub author: String,
    #[serde(rename = "commit_author_email")]
    pub email: String,
}

/// A connector whose metadata was read.
#[derive(Debug)]
pub struct Candidate<'c> {
    pub connector: &'c Connector,
    /// Its metadata file.
    pub path: &'c str,
    pub document: Result<Document, Flaw>,
    /// `None`: not committed yet, or not known.
    pub commit: Option<Commit>,
}

impl Candidate<'_> {
    /// Is it Airbyte's metadata, by the layout's rule, by its own word, or, where it can't be read,
    /// by its name? Others have no registry.
    pub fn is_airbyte(&self) -> bool {
        let says_so = match &self.document {
            Ok(document) => metadata::is_airbyte(document.root()),
            Err(_) => self.path.rsplit('/').next() == Some("metadata.yaml"),
        };
        self.connector.airbyte || says_so
    }
}

/// One registry: entries by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Listing {
    pub sources: Vec<Entry>,
    pub destinations: Vec<Entry>,
}

impl Listing {
    pub fn len(&self) -> usize {
        self.sources.len() + self.destinations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sources.iter().chain(&self.destinations)
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.sources.iter_mut().chain(&mut self.destinations)
    }
}

/// A connector that no registry lists, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invalid {
    pub connector: String,
    pub findings: Vec<Finding>,
}

/// All that is made of one tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registries {
    pub neutral: Listing,
    pub oss: Listing,
    pub cloud: Listing,
    pub invalid: Vec<Invalid>,
}

/// A connector image: repository and tag.
pub type Image = (String, String);

impl Registries {
    /// The images that entries speak of: whose `spec` one may know.
    pub fn images(&self) -> BTreeSet<Image> {
        let listings = [&self.neutral, &self.oss, &self.cloud];
        listings.into_iter().flat_map(Listing::entries).filter_map(image).collect()
    }

    /// Fills in the specs that are known; `spec` of the others stays null.
    pub fn fill_in(&mut self, specs: &BTreeMap<Image, Value>) {
        for listing in [&mut self.neutral, &mut self.oss, &mut self.cloud] {
            for entry in listing.entries_mut() {
                if let Some(spec) = image(entry).and_then(|image| specs.get(&image)) {
                    entry.insert("spec".to_owned(), spec.clone());
                }
            }
        }
    }
}

fn image(entry: &Entry) -> Option<Image> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    Some((text("dockerRepository")?, text("dockerImageTag")?))
}

/// Makes the registries. `icons` is the address below which the tree's files are found, for
/// `iconUrl`.
pub fn build(candidates: &[Candidate<'_>], icons: Option<&str>) -> Registries {
    let mut registries = Registries::default();
    let mut valid: Vec<(&Candidate<'_>, &Document)> = Vec::new();
    let shared = shared(candidates);
    for candidate in candidates {
        let mut flaws = match &candidate.document {
            Ok(document) => metadata::flaws(document.root()),
            Err(flaw) => vec![flaw.clone()],
        };
        flaws.extend(shared.get(candidate.connector.name.as_str()).cloned());
        match &candidate.document {
            Ok(document) if !flaws.iter().any(|flaw| flaw.unusable) => {
                valid.push((candidate, document));
            }
            Ok(_) | Err(_) => registries.invalid.push(Invalid {
                connector: candidate.connector.name.to_string(),
                findings: flaws.into_iter().map(|f| Finding::of(candidate.path, f)).collect(),
            }),
        }
    }
    registries.invalid.sort_by(|a, b| a.connector.cmp(&b.connector));
    registries.neutral = listing(&valid, Registry::Neutral, icons);
    registries.oss = listing(&valid, Registry::Oss, icons);
    registries.cloud = listing(&valid, Registry::Cloud, icons);
    registries
}

/// Definition ids that several candidates have, as a flaw of each of them.
fn shared<'c>(candidates: &'c [Candidate<'_>]) -> BTreeMap<&'c str, Flaw> {
    let holders = candidates.iter().filter_map(|candidate| {
        let (id, place) = metadata::definition_id(candidate.document.as_ref().ok()?.root())?;
        Some(Holder { connector: candidate.connector, id, place })
    });
    let holders: Vec<Holder<'_>> = holders.collect();
    let flaws = duplicates(&holders).into_iter();
    flaws.map(|(at, flaw)| (holders[at].connector.name.as_str(), flaw)).collect()
}

/// A connector, and the definition id that it says is its own.
#[derive(Debug)]
pub struct Holder<'c> {
    pub connector: &'c Connector,
    pub id: String,
    pub place: Place,
}

/// Which of the holders have an id that is another's, too. The two builds of one connector share
/// theirs rightly.
pub fn duplicates(holders: &[Holder<'_>]) -> Vec<(usize, Flaw)> {
    let mut by_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, holder) in holders.iter().enumerate() {
        by_id.entry(&holder.id).or_default().push(at);
    }
    let mut found = Vec::new();
    for (at, holder) in holders.iter().enumerate() {
        let others: Vec<String> = by_id[holder.id.as_str()]
            .iter()
            .filter(|other| **other != at)
            .map(|other| holders[*other].connector)
            .filter(|other| holder.connector.twin.as_ref() != Some(&other.name))
            .map(|other| format!("`{}`", other.name))
            .collect();
        if !others.is_empty() {
            let text = format!(
                "`data.definitionId` {} is the id of {}, too",
                holder.id,
                others.join(", ")
            );
            let mend = "give each connector an id of its own, as `uuidgen` prints";
            found.push((at, Flaw::unusable(holder.place, text, mend)));
        }
    }
    found
}

fn listing(
    valid: &[(&Candidate<'_>, &Document)],
    registry: Registry,
    icons: Option<&str>,
) -> Listing {
    let mut entries = Vec::new();
    for (candidate, document) in valid {
        if let Some((kind, mut entry)) = entry::entry(candidate, document, registry) {
            if !entry.contains_key("iconUrl") {
                let file = icons.zip(candidate.connector.icon.as_deref());
                let url = file.map(|(base, path)| address(base, path));
                entry.insert("iconUrl".to_owned(), url.map_or(Value::Null, Value::from));
            }
            entries.push((kind, candidate.connector, entry));
        }
    }
    let listed: BTreeSet<&str> =
        entries.iter().map(|(.., connector, _)| connector.name.as_str()).collect();
    let mut listing = Listing::default();
    for (kind, connector, entry) in &entries {
        // Of the two builds of one connector the plain one stands for both.
        let other = connector.twin.as_ref().map(ConnectorName::as_str);
        let same_id = |other: &&str| {
            let id = |name: &str| {
                entries
                    .iter()
                    .find(|(_, c, _)| c.name.as_str() == name)
                    .map(|(kind, _, entry)| &entry[kind.id()])
            };
            id(other) == id(connector.name.as_str())
        };
        let stood_for = other
            .filter(|other| connector.name.as_str().len() > other.len() && listed.contains(other))
            .filter(same_id);
        if stood_for.is_none() {
            match kind {
                entry::Kind::Source => listing.sources.push(entry.clone()),
                entry::Kind::Destination => listing.destinations.push(entry.clone()),
            }
        }
    }
    for entries in [&mut listing.sources, &mut listing.destinations] {
        entries.sort_by_cached_key(order);
    }
    listing
}

/// By name as people read it, then by what no two entries share.
fn order(entry: &Entry) -> (String, String, String) {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("name").to_lowercase(), text("name"), text("dockerRepository"))
}

/// What a path's component may not hold in an address.
const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');

fn address(base: &str, path: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), utf8_percent_encode(path, RESERVED))
}

#[cfg(test)]
mod tests;
