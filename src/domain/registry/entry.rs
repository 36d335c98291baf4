//! From one connector's metadata to its entry in a registry.

use serde_json::{Map, Value, json};

use super::{Candidate, Entry};
use crate::domain::catalog::{Document, tagged};
use crate::domain::yaml::{self, Node};

/// Airbyte's default of both scores.
const SCORE: u32 = 100;

/// Which registry an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registry {
    Neutral,
    Oss,
    Cloud,
}

impl Registry {
    /// As `registryOverrides` calls it.
    fn key(self) -> Option<&'static str> {
        match self {
            Self::Neutral => None,
            Self::Oss => Some("oss"),
            Self::Cloud => Some("cloud"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Source,
    Destination,
}

impl Kind {
    /// The key under which an entry has its definition id.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Source => "sourceDefinitionId",
            Self::Destination => "destinationDefinitionId",
        }
    }
}

/// The entry of a connector whose metadata is usable; `None` where the registry leaves it out.
pub(super) fn entry(
    candidate: &Candidate<'_>,
    document: &Document,
    registry: Registry,
) -> Option<(Kind, Entry)> {
    let data = document.root().get("data")?;
    let Value::Object(facts) = data.to_json() else { return None };
    let mut entry: Entry = facts.into_iter().collect();
    if let Some(key) = registry.key() {
        let overrides = data.get("registryOverrides").and_then(|all| all.get(key));
        if !apply(overrides, &mut entry) {
            return None;
        }
        entry.remove("registryOverrides");
    }
    let kind = match entry.remove("connectorType")?.as_str()? {
        "source" => Kind::Source,
        "destination" => Kind::Destination,
        _ => return None,
    };
    let id = entry.remove("definitionId")?;
    entry.insert(kind.id().to_owned(), id.as_str()?.to_lowercase().into());
    if kind == Kind::Source
        && let Some(subtype) = entry.remove("connectorSubtype")
    {
        entry.insert("sourceType".to_owned(), subtype);
    }
    defaults(candidate, data, &mut entry);
    migrations(&mut entry);
    let generated = json!({
        "git": candidate.commit,
        "source_file_info": { "metadata_file_path": candidate.path },
    });
    entry.insert("generated".to_owned(), generated);
    Some((kind, entry))
}

/// Lays what a registry has otherwise over the facts; false if it wants none of them.
fn apply(overrides: Option<&Node>, entry: &mut Entry) -> bool {
    let Some(yaml::Value::Map(overrides)) = overrides.map(|node| &node.value) else { return true };
    for one in overrides {
        match (one.key.as_str(), &one.node.value) {
            ("enabled", yaml::Value::Bool(false)) => return false,
            ("enabled", _) | (_, yaml::Value::Null) => {}
            (key, _) => drop(entry.insert(key.to_owned(), one.node.to_json())),
        }
    }
    true
}

/// What every entry has, whether the metadata says it or not.
fn defaults(candidate: &Candidate<'_>, data: &Node, entry: &mut Entry) {
    let tags = match data.get("tags").map(|tags| &tags.value) {
        Some(yaml::Value::List(tags)) => tags.as_slice(),
        _ => &[],
    };
    let tag = tagged(tags, "language").map(|(language, _)| language);
    let language = tag.or_else(|| candidate.connector.attribute("language"));
    entry.insert("language".to_owned(), language.map_or(Value::Null, Value::from));
    for (key, value) in [
        ("tombstone", json!(false)),
        ("public", json!(true)),
        ("custom", json!(false)),
        ("tags", json!([])),
        ("supportLevel", json!("community")),
        ("releaseStage", Value::Null),
        ("icon", Value::Null),
        ("spec", Value::Null),
    ] {
        let absent = entry.get(key).is_none_or(Value::is_null);
        if absent {
            entry.insert(key.to_owned(), value);
        }
    }
    let internal = entry.entry("ab_internal".to_owned()).or_insert(Value::Null);
    if internal.is_null() {
        *internal = Value::Object(Map::new());
    }
    if let Value::Object(internal) = internal {
        for score in ["sl", "ql"] {
            internal.entry(score).or_insert_with(|| SCORE.into());
        }
    }
}

/// Where one reads how to get past a breaking change: beside the documentation, unless it is said.
fn migrations(entry: &mut Entry) {
    let page = entry.get("documentationUrl").and_then(Value::as_str);
    let Some(page) = page.map(|page| format!("{}-migrations", page.trim_end_matches('/'))) else {
        return;
    };
    let Some(Value::Object(releases)) = entry.get_mut("releases") else { return };
    let Some(Value::Object(changes)) = releases.get_mut("breakingChanges") else { return };
    for (version, change) in changes.iter_mut() {
        if let Value::Object(change) = change {
            let url = change.entry("migrationDocumentationUrl").or_insert(Value::Null);
            if url.is_null() {
                *url = format!("{page}#{version}").into();
            }
        }
    }
    let url = releases.entry("migrationDocumentationUrl").or_insert(Value::Null);
    if url.is_null() {
        *url = page.into();
    }
}
