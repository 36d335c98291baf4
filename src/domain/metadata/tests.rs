use super::*;
use crate::domain::yaml;

const GOOD: &str = r#"metadataSpecVersion: "1.0"
data:
  name: Weather
  definitionId: 0E7F6A3A-9a06-4d7e-8c58-2f9d0b61c5a2
  connectorType: source
  connectorSubtype: api
  dockerRepository: airbyte/source-weather
  dockerImageTag: 0.1.0
  license: MIT
  documentationUrl: https://docs.airbyte.com/integrations/sources/weather
  githubIssueLabel: source-weather
  releaseStage: alpha
  supportLevel: community
  tags: [language:python]
  registryOverrides:
    oss: { enabled: true }
    cloud: { enabled: false, dockerImageTag: 0.0.9 }
"#;

/// The flaws of a text, each as `line:column text`.
fn told(text: &str) -> Vec<String> {
    let document = yaml::parse(text).unwrap();
    let one = |flaw: Flaw| {
        let place = flaw.place.unwrap();
        let grade = if flaw.unusable { "" } else { "remark: " };
        format!("{}:{} {grade}{}; {}", place.line, place.column, flaw.text, flaw.mend)
    };
    flaws(&document).into_iter().map(one).collect()
}

#[test]
fn a_good_file_has_no_flaw() {
    assert_eq!(told(GOOD), Vec::<String>::new());
    let (id, place) = definition_id(&yaml::parse(GOOD).unwrap()).unwrap();
    assert_eq!(id, "0e7f6a3a-9a06-4d7e-8c58-2f9d0b61c5a2", "ids are compared in lower case");
    assert_eq!(place, Place { line: 4, column: 17 });
}

/// What stands in the good file, what stands there instead, and what is told.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "0.1.0",
        "0.1",
        "8:19 `data.dockerImageTag` can't be the number 0.1; write a version such as `1.2.3` or `1.2.3-rc.1`, in quotes",
    ),
    (
        "0.1.0",
        "v0.1.0",
        "8:19 `data.dockerImageTag` can't be `v0.1.0`; write a version such as `1.2.3` or `1.2.3-rc.1`",
    ),
    (
        "0E7F6A3A-9a06",
        "0E7F6A3A-9a0x",
        "4:17 `data.definitionId` can't be `0E7F6A3A-9a0x-4d7e-8c58-2f9d0b61c5a2`; write a UUID, such as `uuidgen` prints",
    ),
    (
        "Type: source",
        "Type: sink",
        "5:18 `data.connectorType` can't be `sink`; write one of `source`, `destination`",
    ),
    (
        "Level: community",
        "Level: comunity",
        "13:17 `data.supportLevel` can't be `comunity`; did you mean `community`? (write one of `community`, `certified`, `archived`)",
    ),
    (
        "Stage: alpha",
        "Stage: ga",
        "12:17 `data.releaseStage` can't be `ga`; write one of `alpha`, `beta`, `generally_available`, `custom`",
    ),
    (
        "airbyte/source-weather",
        "airbyte/source-weather:1",
        "7:21 `data.dockerRepository` can't be `airbyte/source-weather:1`; write an image's name without a tag: `airbyte/source-x`",
    ),
    (
        "airbyte/source-weather",
        "../source-weather",
        "7:21 `data.dockerRepository` can't be `../source-weather`; write an image's name without a tag: `airbyte/source-x`",
    ),
    ("name: Weather", "name: [Weather]", "3:9 `data.name` can't be a list; write a text"),
    (
        "https://docs",
        "docs",
        "10:21 `data.documentationUrl` can't be `docs.airbyte.com/integrations/sources/weather`; write an address: `https://…`",
    ),
    ("[language:python]", "[1]", "14:9 `data.tags` can't be a list; write a list of texts"),
    (
        "enabled: true",
        "enabled: \"yes\"",
        "16:21 `data.registryOverrides.oss.enabled` can't be `yes`; write true or false",
    ),
    (
        "oss: { enabled: true }",
        "osss: { enabled: true }",
        "16:5 `data.registryOverrides.osss`: there is no such registry; write `oss` or `cloud`",
    ),
    (
        "oss: { enabled: true }",
        "oss: {}",
        "16:5 remark: `data.registryOverrides.oss` does not say whether it is `enabled`; add `enabled: true` or `enabled: false`",
    ),
    (
        "0.0.9",
        "latest",
        "17:46 `data.registryOverrides.cloud.dockerImageTag` can't be `latest`; write a version such as `1.2.3` or `1.2.3-rc.1`",
    ),
    (
        "supportLevel",
        "suportLevel",
        "13:3 remark: `data.suportLevel` means nothing; did you mean `supportLevel`?",
    ),
    (
        "  license: MIT\n",
        "",
        "3:3 remark: `data` lacks `license` (the definition of the file asks for it); add `license: …`",
    ),
    (
        "  license: MIT\n",
        "  license:\n",
        "3:3 remark: `data` lacks `license` (the definition of the file asks for it); add `license: …`",
    ),
    (
        "  name: Weather\n",
        "",
        "3:3 `data` lacks `name` (a registry can't list the connector without); add `name: …`",
    ),
    (
        "  license: MIT\n",
        "  license: MIT\n  license: MIT\n",
        "10:3 remark: `data.license` stands twice, and only this one counts; keep one of them",
    ),
];

#[test]
fn each_wrong_value_is_named_where_it_stands_with_the_mend() {
    for (good, bad, expected) in WRONG {
        let text = GOOD.replacen(good, bad, 1);
        assert_ne!(text, GOOD, "{good} is not there");
        assert_eq!(told(&text), [*expected], "{bad}");
    }
}

#[test]
fn a_file_of_another_shape_has_one_cause() {
    assert_eq!(
        told("- a"),
        ["1:1 is a list, not a mapping with `data`; add `data:` with the connector's facts"]
    );
    assert_eq!(told("a: 1").len(), 1);
    assert_eq!(
        told("data: nothing"),
        ["1:7 `data` is a text, not a mapping; write the connector's facts beneath it"]
    );
    let empty = told("data: {}");
    assert_eq!(empty.len(), 2, "{empty:?}");
    assert!(empty.iter().any(|text| text.contains("`name`, `definitionId`, `connectorType`")));
}

#[test]
fn keys_of_others_are_let_pass() {
    let text = GOOD.replace("  license: MIT\n", "  license: MIT\n  ourOwnScore: 5\n");
    assert_eq!(told(&text), Vec::<String>::new());
}

#[test]
fn versions_and_images() {
    for good in ["0.0.0", "1.22.333", "1.0.0-rc.1", "2.0.0-dev.abc-1"] {
        assert!(is_version(good), "{good}");
    }
    for bad in ["", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3-rc..1", "1.2.3-01", "1.2.3+5", "a.b.c"] {
        assert!(!is_version(bad), "{bad}");
    }
    for good in ["airbyte/source-x", "source", "ghcr.io/a/b_c", "localhost:5000/a", "a/b/c.d"] {
        assert!(is_image(good), "{good}");
    }
    for bad in ["", "a/../b", "/a", "a/", "a//b", "A/b", "a:1", "a b", "./a", "a/.b"] {
        assert!(!is_image(bad), "{bad}");
    }
}
