//! Layouts that need no repository file.

use std::collections::BTreeMap;

use crate::domain::catalog::Paths;
use crate::domain::rules::{
    AirbyteExtras, AttributeRule, ConnectorRule, Pattern, Preset, RepoRules, Unclaimed,
};

const AIRBYTE_FOLDER: &str = "airbyte-integrations/connectors";
const AIRBYTE_MARKER: &str = "airbyte-integrations/connectors/**/metadata.yaml";

/// Attributes of Airbyte's `metadata.yaml`; the language is inferred from files first, as Airbyte's
/// own tooling does, and taken from the tag only where no file tells.
const AIRBYTE_ATTRIBUTES: &[(&str, &str)] = &[
    ("language", "data.tags[language]"),
    ("release_stage", "data.releaseStage"),
    ("support_level", "data.supportLevel"),
    ("version", "data.dockerImageTag"),
    ("docker_repository", "data.dockerRepository"),
    ("documentation", "data.documentationUrl"),
    ("definition_id", "data.definitionId"),
    ("icon", "data.icon"),
    ("title", "data.name"),
];

/// The layout that a tree has, if it is a known one.
pub(super) fn recognise(paths: &Paths) -> Preset {
    if paths.has_folder(AIRBYTE_FOLDER) { Preset::Airbyte } else { Preset::None }
}

/// Adds a preset's rules behind those that are there.
pub(super) fn apply(preset: Preset, rules: &mut RepoRules) {
    rules.preset = preset;
    match preset {
        Preset::None | Preset::Estuary | Preset::Tinybird | Preset::Airflow => {}
        Preset::Airbyte => {
            rules.connectors.extend(airbyte());
            rules.unclaimed = Unclaimed::None;
        }
    }
}

fn airbyte() -> Option<ConnectorRule> {
    let paths: BTreeMap<String, String> = AIRBYTE_ATTRIBUTES
        .iter()
        .map(|(name, path)| ((*name).to_owned(), (*path).to_owned()))
        .collect();
    let mut rule = ConnectorRule::new(Pattern::parse(AIRBYTE_MARKER).ok()?);
    rule.attributes = Some(AttributeRule { file: "metadata.yaml".to_owned(), paths });
    rule.airbyte = AirbyteExtras { enabled: true };
    Some(rule)
}
