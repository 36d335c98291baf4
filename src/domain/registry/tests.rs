use super::*;
use crate::domain::catalog::{Facts, Paths, discover};
use crate::domain::rules::{AirbyteExtras, AttributeRule, ConnectorRule, Pattern, RepoRules};

const WEATHER: &str = r#"metadataSpecVersion: "1.0"
data:
  name: Weather
  definitionId: 0E7F6A3A-9a06-4d7e-8c58-2f9d0b61c5a2
  connectorType: source
  connectorSubtype: api
  dockerRepository: airbyte/source-weather
  dockerImageTag: 2.0.0-rc.1
  license: MIT
  documentationUrl: https://docs.airbyte.com/integrations/sources/weather
  githubIssueLabel: source-weather
  releaseStage: alpha
  tags: [cdk:low-code, language:python]
  ab_internal: { ql: 400 }
  releases:
    breakingChanges:
      1.0.0: { message: x, upgradeDeadline: "2024-01-01" }
  registryOverrides:
    oss: { enabled: true, dockerImageTag: 1.9.0, name: ~ }
    cloud: { enabled: false }
"#;

/// The registries of connectors whose metadata these are.
fn built(files: &[(&str, &str)], icons: Option<&str>) -> Registries {
    let mut rule = ConnectorRule::new(Pattern::parse("c/{name}/metadata.yaml").unwrap());
    rule.airbyte = AirbyteExtras { enabled: true };
    let file = "metadata.yaml".to_owned();
    rule.attributes = Some(AttributeRule { file, paths: BTreeMap::new() });
    let rules = RepoRules { connectors: vec![rule], ..RepoRules::empty("test".to_owned()) };
    let path = |name: &str| format!("c/{name}/metadata.yaml");
    let mut paths: Vec<String> = files.iter().map(|(name, _)| path(name)).collect();
    paths.push("c/source-weather/icon.svg".to_owned());
    let paths = Paths::new(paths);
    let nothing = std::sync::Arc::new(Facts::default());
    let catalog = discover(&rules, &paths).finish(|_| Some(&nothing));
    let commit = Commit {
        sha: "0123456789012345678901234567890123456789".parse().unwrap(),
        timestamp: "2024-05-01T10:00:00Z".to_owned(),
        author: "Ada".to_owned(),
        email: "ada@example.org".to_owned(),
    };
    let candidates: Vec<Candidate<'_>> = files
        .iter()
        .map(|(name, text)| {
            let connector = catalog.named(name).unwrap();
            let path = connector.attribute_file.as_deref().unwrap();
            let document = Document::parse(path, text.as_bytes());
            Candidate { connector, path, document, commit: Some(commit.clone()) }
        })
        .collect();
    build(&candidates, icons)
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry["dockerRepository"].as_str().unwrap()).collect()
}

#[test]
fn an_entry_has_what_the_platform_asks_for() {
    let built = built(&[("source-weather", WEATHER)], Some("https://example.org/x/"));
    assert_eq!(built.invalid, []);
    let page = "https://docs.airbyte.com/integrations/sources/weather-migrations";
    let neutral = serde_json::json!({
        "sourceDefinitionId": "0e7f6a3a-9a06-4d7e-8c58-2f9d0b61c5a2",
        "name": "Weather",
        "dockerRepository": "airbyte/source-weather",
        "dockerImageTag": "2.0.0-rc.1",
        "documentationUrl": "https://docs.airbyte.com/integrations/sources/weather",
        "sourceType": "api",
        "license": "MIT",
        "githubIssueLabel": "source-weather",
        "releaseStage": "alpha",
        "supportLevel": "community",
        "language": "python",
        "tags": ["cdk:low-code", "language:python"],
        "tombstone": false,
        "public": true,
        "custom": false,
        "icon": null,
        "iconUrl": "https://example.org/x/c/source-weather/icon.svg",
        "spec": null,
        "ab_internal": {"ql": 400, "sl": 100},
        "releases": {
            "migrationDocumentationUrl": page,
            "breakingChanges": {"1.0.0": {
                "message": "x",
                "upgradeDeadline": "2024-01-01",
                "migrationDocumentationUrl": format!("{page}#1.0.0"),
            }},
        },
        "registryOverrides": {
            "oss": {"enabled": true, "dockerImageTag": "1.9.0", "name": null},
            "cloud": {"enabled": false},
        },
        "generated": {
            "git": {
                "commit_sha": "0123456789012345678901234567890123456789",
                "commit_timestamp": "2024-05-01T10:00:00Z",
                "commit_author": "Ada",
                "commit_author_email": "ada@example.org",
            },
            "source_file_info": {"metadata_file_path": "c/source-weather/metadata.yaml"},
        },
    });
    assert_eq!(serde_json::to_value(&built.neutral.sources).unwrap(), serde_json::json!([neutral]));
    assert_eq!(built.neutral.destinations, Vec::<Entry>::new());
}

#[test]
fn overrides_are_applied_and_the_disabled_left_out() {
    let destination = WEATHER
        .replace("connectorType: source", "connectorType: destination")
        .replace("0E7F6A3A", "0E7F6A3B")
        .replace("name: Weather", "name: ledger")
        .replace("    cloud: { enabled: false }\n", "");
    let files = [("source-weather", WEATHER), ("destination-ledger", destination.as_str())];
    let built = built(&files, None);
    let oss = &built.oss.sources[0];
    assert_eq!((&oss["dockerImageTag"], &oss["name"]), (&"1.9.0".into(), &"Weather".into()));
    assert!(!oss.contains_key("registryOverrides") && !oss.contains_key("connectorType"));
    assert_eq!(oss["iconUrl"], Value::Null);
    assert_eq!(built.cloud.sources, Vec::<Entry>::new(), "it is not enabled there");
    let cloud = &built.cloud.destinations[0];
    assert_eq!(cloud["dockerImageTag"], "2.0.0-rc.1", "nothing is overridden there");
    assert_eq!(cloud["destinationDefinitionId"], "0e7f6a3b-9a06-4d7e-8c58-2f9d0b61c5a2");
    assert_eq!((built.neutral.len(), built.oss.len(), built.cloud.len()), (2, 2, 1));
    let images: Vec<String> = built.images().into_iter().map(|image| image.1).collect();
    assert_eq!(images, ["1.9.0", "2.0.0-rc.1"]);
}

#[test]
fn specs_are_filled_in_by_image() {
    let mut built = built(&[("source-weather", WEATHER)], None);
    let spec = serde_json::json!({"connectionSpecification": {}});
    let image = ("airbyte/source-weather".to_owned(), "1.9.0".to_owned());
    built.fill_in(&BTreeMap::from([(image, spec.clone())]));
    assert_eq!(built.oss.sources[0]["spec"], spec);
    assert_eq!(built.neutral.sources[0]["spec"], Value::Null, "that is another image");
}

#[test]
fn invalid_metadata_is_left_out_and_told_with_its_lines() {
    let wrong = WEATHER.replace("2.0.0-rc.1", "two").replace("  license: MIT\n", "");
    let wrong = wrong.replace("0E7F6A3A", "0E7F6A3B");
    let files = [("source-weather", WEATHER), ("b", wrong.as_str()), ("a", "data: [")];
    let built = built(&files, None);
    assert_eq!(names(&built.neutral.sources), ["airbyte/source-weather"]);
    let told: Vec<String> = built
        .invalid
        .iter()
        .flat_map(|one| one.findings.iter().map(move |f| format!("{} {f}", one.connector)))
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("a c/a/metadata.yaml:1:"), "{told:?}");
    assert!(
        told.iter().any(|text| text.starts_with("b c/b/metadata.yaml:8:19: `data.dockerImageTag`"))
    );
}

#[test]
fn of_two_connectors_with_one_id_neither_is_listed_and_of_two_builds_one() {
    let other = WEATHER.replace("airbyte/source-weather", "airbyte/other");
    let built_twice = built(&[("source-weather", WEATHER), ("other", &other)], None);
    assert!(built_twice.neutral.is_empty());
    assert_eq!(built_twice.invalid.len(), 2);

    let strict = WEATHER.replace("airbyte/source-weather", "airbyte/source-weather-strict-encrypt");
    let files = [("source-weather", WEATHER), ("source-weather-strict-encrypt", strict.as_str())];
    let built = built(&files, None);
    assert_eq!(built.invalid, []);
    assert_eq!(names(&built.neutral.sources), ["airbyte/source-weather"]);
}

#[test]
fn the_order_of_the_tree_does_not_matter() {
    let b = WEATHER.replace("0E7F6A3A", "0E7F6A3B").replace("name: Weather", "name: almanac");
    let forward = built(&[("source-weather", WEATHER), ("b", &b)], None);
    let backward = built(&[("b", &b), ("source-weather", WEATHER)], None);
    assert_eq!(forward, backward);
    let names: Vec<&str> =
        forward.neutral.sources.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["almanac", "Weather"], "as people sort, not as bytes do");
}
