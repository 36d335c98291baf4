use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::rules::{AirbyteExtras, AttributeRule, ConnectorRule};
use crate::domain::yaml::Place;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn rule(marker: &str) -> ConnectorRule {
    ConnectorRule::new(pattern(marker))
}

fn paths(paths: &[&str]) -> Paths {
    Paths::new(paths.iter().map(|path| (*path).to_owned()).collect())
}

/// The catalog of a tree whose files have these contents.
fn catalog(rules: Vec<ConnectorRule>, files: &[(&str, &str)]) -> Catalog {
    let rules = RepoRules { connectors: rules, ..RepoRules::empty("test".to_owned()) };
    let attributes = rules.connectors.iter().flat_map(|rule| &rule.attributes);
    let asked: Vec<&str> =
        attributes.flat_map(|rule| rule.paths.values()).map(String::as_str).collect();
    let documents: BTreeMap<&str, Arc<Facts>> = files
        .iter()
        .map(|(path, text)| {
            (*path, Arc::new(Facts::read(path, text.as_bytes(), asked.iter().copied())))
        })
        .collect();
    let names: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    discover(&rules, &paths(&names)).finish(|path| documents.get(path))
}

fn tree(rules: Vec<ConnectorRule>, files: &[&str]) -> Vec<(String, String)> {
    let files: Vec<(&str, &str)> = files.iter().map(|path| (*path, "")).collect();
    let catalog = catalog(rules, &files);
    catalog.iter().map(|c| (c.name.to_string(), c.root.clone())).collect()
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, root)| ((*name).to_owned(), (*root).to_owned())).collect()
}

#[test]
fn the_first_rule_that_matches_wins() {
    let mut special = rule("{name}/special.toml");
    special.kind = Some("special".to_owned());
    let plain = rule("{name}/plain.toml");
    let files = [("a/special.toml", ""), ("a/plain.toml", ""), ("b/plain.toml", "")];
    let catalog = catalog(vec![special, plain], &files);
    let kinds: Vec<(&str, Option<&str>)> =
        catalog.iter().map(|c| (c.name.as_str(), c.kind.as_deref())).collect();
    assert_eq!(kinds, [("a", Some("special")), ("b", None)]);
}

#[test]
fn conditions_narrow_a_rule() {
    let mut narrow = rule("{name}/pyproject.toml");
    narrow.conditions = BTreeMap::from([("name".to_owned(), vec![pattern("source-*")])]);
    narrow.beside = vec![pattern("test.flow.yaml"), pattern("src/*.py")];
    narrow.unless = vec![pattern("Cargo.toml"), pattern("{name}.lock")];
    narrow.exclude = vec![pattern("source-retired")];
    let full = |name: &str| {
        ["pyproject.toml", "test.flow.yaml", "src/a.py"].map(|file| format!("{name}/{file}"))
    };
    let mut files: Vec<String> = Vec::new();
    for name in ["source-a", "source-rust", "source-locked", "source-retired", "other"] {
        files.extend(full(name));
    }
    files.extend(["source-rust/Cargo.toml", "source-locked/source-locked.lock"].map(str::to_owned));
    files.extend(["source-bare/pyproject.toml", "deep/source-b/pyproject.toml"].map(str::to_owned));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    assert_eq!(tree(vec![narrow], &files), named(&[("source-a", "source-a")]));
}

#[test]
fn roots_may_lie_elsewhere_and_be_files() {
    let mut elsewhere = rule("meta/{name}.yaml");
    elsewhere.root = Some(pattern("src/{name}"));
    let mut file = rule("dags/{name}.py");
    file.root = Some(pattern("dags/{name}.py"));
    let found = tree(vec![elsewhere, file], &["meta/a.yaml", "src/a/x", "dags/b.py", "dags/c.py"]);
    assert_eq!(found, named(&[("a", "src/a"), ("b", "dags/b.py"), ("c", "dags/c.py")]));
    // The whole tree may be one.
    assert_eq!(
        tree(vec![rule("connector.yaml")], &["connector.yaml"]),
        named(&[]),
        "it has no name"
    );
}

#[test]
fn names_that_collide_are_told_apart() {
    let rules = vec![rule("**/{name}/marker")];
    let files = [("deep/down/a/marker", ""), ("a/marker", ""), ("x/A/marker", "")];
    let catalog = catalog(rules, &files);
    let found: Vec<(&str, &str)> =
        catalog.iter().map(|c| (c.name.as_str(), c.root.as_str())).collect();
    assert_eq!(found.len(), 3);
    assert!(found.contains(&("a", "a")) || found.contains(&("A", "x/A")), "{found:?}");
    assert!(found.contains(&("deep.down.a", "deep/down/a")), "{found:?}");
    assert!(!catalog.findings.is_empty());
}

#[test]
fn attributes_come_from_yaml_json_and_toml() {
    let read = |file: &str, text: &str| {
        let mut rule = rule("{name}/marker");
        let paths = [
            ("version", "data.version"),
            ("language", "data.tags[language]"),
            ("gone", "data.gone"),
            ("deep", "data.version.deeper"),
        ];
        let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned())).into();
        rule.attributes = Some(AttributeRule { file: file.to_owned(), paths });
        let path = format!("a/{file}");
        let catalog = catalog(vec![rule], &[("a/marker", ""), (&path, text)]);
        let connector = catalog.named("A").unwrap().clone();
        (connector.attributes, catalog.findings)
    };
    let both = BTreeMap::from(
        [("language", "python"), ("version", "1.2.3")].map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    for (file, text) in [
        ("m.yaml", "data:\n  version: 1.2.3\n  tags: [cdk:x, language:python]\n"),
        ("m.json", r#"{"data": {"version": "1.2.3", "tags": ["language:python"]}}"#),
        ("m.toml", "[data]\nversion = \"1.2.3\"\ntags = [\"language:python\"]\n"),
        ("m.yml", "data: {version: 1.2.3, version: 1.2.3, tags: [language:python]}"),
    ] {
        assert_eq!(read(file, text), (both.clone(), Vec::new()), "{file}");
    }
    for text in ["data: [", "\u{0}", "a: &a [*a]"] {
        let (attributes, findings) = read("m.yaml", text);
        assert_eq!((attributes.len(), findings.len()), (0, 1), "{text:?}");
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("a/m.yaml", Some(1)));
        assert!(!findings[0].text.contains('\n'));
    }
    let line = |n: u32| format!("a{n}: &a{n} [{}]", format!("*a{},", n - 1).repeat(9));
    let lines: Vec<String> = (1..20).map(line).collect();
    let bomb = format!("a0: &a0 [x]\n{}\n", lines.join("\n"));
    let texts = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(90_000));
    for text in [bomb, texts] {
        let (attributes, findings) = read("m.yaml", &text);
        assert_eq!((attributes.len(), findings.len()), (0, 1), "{findings:?}");
        assert_eq!(findings[0].path, "a/m.yaml");
    }
    let flaw = Document::parse("m.yaml", b"a: 1\nb: \xff").unwrap_err();
    assert_eq!((flaw.text.as_str(), flaw.place.unwrap().line), ("is not UTF-8", 2));
    assert!(Document::parse("m.yaml", &vec![b' '; 2 << 20]).is_err());
    let flaw = Document::parse("m.toml", b"a = 1\nb = = 2\n").unwrap_err();
    assert_eq!(flaw.place, Some(Place { line: 2, column: 5 }), "{flaw:?}");
}

/// Airbyte's rule, with the attributes that findings are about.
fn airbyte() -> ConnectorRule {
    let mut rule = rule("c/**/metadata.yaml");
    rule.airbyte = AirbyteExtras { enabled: true };
    let paths = [("documentation", "data.documentationUrl"), ("icon", "data.icon")];
    let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned())).into();
    rule.attributes = Some(AttributeRule { file: "metadata.yaml".to_owned(), paths });
    rule
}

/// Metadata without a flaw.
fn metadata(name: &str, id: u32, more: &str) -> String {
    format!(
        "metadataSpecVersion: \"1.0\"\ndata:\n  name: {name}\n  \
         definitionId: 0e7f6a3a-9a06-4d7e-8c58-{id:012}\n  connectorType: source\n  \
         connectorSubtype: api\n  dockerRepository: airbyte/{name}\n  dockerImageTag: 0.1.0\n  \
         license: MIT\n  documentationUrl: https://docs.airbyte.com/x/{name}\n  \
         githubIssueLabel: {name}\n  releaseStage: alpha\n{more}"
    )
}

#[test]
fn what_is_wrong_with_metadata_is_found_with_its_place() {
    let good = metadata("a", 1, "");
    let clean = catalog(vec![airbyte()], &[("c/a/metadata.yaml", &good), ("docs/x/a.md", "")]);
    assert_eq!(clean.findings, []);
    let a = clean.named("a").unwrap();
    assert_eq!((a.page.as_deref(), a.icon.as_deref()), (Some("docs/x/a.md"), None));

    let icon = metadata("a", 1, "  icon: a.svg\n");
    let wrong = icon.replace("0.1.0", "latest");
    let told = |files: &[(&str, &str)]| {
        let catalog = catalog(vec![airbyte()], files);
        catalog.findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&[("c/a/metadata.yaml", &wrong)]),
        [
            "c/a/metadata.yaml:8:19: `data.dockerImageTag` can't be `latest`; write a version such \
             as `1.2.3` or `1.2.3-rc.1`",
            "c/a/metadata.yaml:10:21: `data.documentationUrl` stands for `docs/x/a.md`, which is \
             not there; write the page, or mend the address",
            "c/a/metadata.yaml:13:9: `data.icon` is `a.svg`, and no picture is beside it; add \
             c/a/icon.svg",
        ]
    );
    let whole = [("c/a/metadata.yaml", icon.as_str()), ("c/a/icon.svg", ""), ("docs/x/a.md", "")];
    assert_eq!(told(&whole), Vec::<String>::new());
    let broken = told(&[("c/a/metadata.yaml", "data:\n  name: [\n")]);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].starts_with("c/a/metadata.yaml:"), "{broken:?}");
    assert!(broken[0].contains("is not YAML"), "{broken:?}");
}

#[test]
fn definition_ids_are_unique_but_for_the_builds_of_one_connector() {
    let found = |names: &[&str]| {
        let files: Vec<(String, String)> = names
            .iter()
            .flat_map(|name| {
                let metadata = metadata(name, 1, "");
                [
                    (format!("c/{name}/metadata.yaml"), metadata),
                    (format!("docs/x/{name}.md"), String::new()),
                ]
            })
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        catalog(vec![airbyte()], &files).findings
    };
    assert_eq!(found(&["a", "a-strict-encrypt"]), []);
    let findings = found(&["a", "b"]);
    assert_eq!(findings.len(), 2);
    assert_eq!((findings[0].line, findings[1].line), (Some(4), Some(4)));
    assert!(findings[0].text.contains("the id of `b`"), "{findings:?}");
    assert!(findings[1].text.contains("the id of `a`"), "{findings:?}");
}

#[test]
fn other_layouts_are_asked_for_texts() {
    let mut rule = rule("{name}/m.yaml");
    let paths = [("version", "version")].map(|(n, p)| (n.to_owned(), p.to_owned())).into();
    rule.attributes = Some(AttributeRule { file: "m.yaml".to_owned(), paths });
    let found = catalog(vec![rule], &[("a/m.yaml", "other: 1\nversion: [1, 2]\n")]);
    let told: Vec<String> = found.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "a/m.yaml:2:10: `version` is a list, and `version` is read from it; write a text there, or \
          point `attributes` elsewhere"
        ]
    );
}

#[test]
fn airbyte_languages_are_inferred_as_its_tooling_does() {
    let mut airbyte = rule("c/**/metadata.yaml");
    airbyte.airbyte = AirbyteExtras { enabled: true };
    let language = |files: &[&str]| {
        let mut all = vec![("c/source-x/metadata.yaml", "")];
        let files: Vec<String> = files.iter().map(|file| format!("c/source-x/{file}")).collect();
        all.extend(files.iter().map(|file| (file.as_str(), "")));
        let catalog = catalog(vec![airbyte.clone()], &all);
        catalog.named("source-x").unwrap().attribute("language").map(str::to_owned)
    };
    assert_eq!(language(&["manifest.yaml", "setup.py"]).as_deref(), Some("manifest-only"));
    assert_eq!(language(&["source_x/manifest.yaml", "setup.py"]).as_deref(), Some("low-code"));
    assert_eq!(language(&["pyproject.toml"]).as_deref(), Some("python"));
    assert_eq!(language(&["src/main/kotlin/x.kt"]).as_deref(), Some("java"));
    assert_eq!(language(&["README.md"]), None);
}

#[test]
fn a_component_may_add_paths_to_a_connector() {
    let rules = RepoRules {
        connectors: vec![rule("{name}/marker")],
        components: ["a", "gone"]
            .map(|name| Component {
                name: name.to_owned(),
                kind: None,
                include: vec![pattern(&format!("more/{name}/**"))],
                exclude: Vec::new(),
            })
            .into(),
        ..RepoRules::empty("test".to_owned())
    };
    let catalog = discover(&rules, &paths(&["a/marker", "more/a/x"])).finish(|_| None);
    assert_eq!(catalog.names().collect::<Vec<_>>(), ["a"]);
    assert_eq!(catalog.claims("more/a/x").len(), 1);
    assert!(catalog.claims("more/gone/x").is_empty(), "it is not in this tree");
}

proptest! {
    #[test]
    fn within_is_a_prefix_search(
        all in prop::collection::vec("[ab0./-]{1,6}", 0..30), folder in "[ab0.-]{1,3}",
    ) {
        let paths = Paths::new(all);
        let naive: Vec<&str> =
            paths.iter().filter(|path| path.starts_with(&format!("{folder}/"))).collect();
        prop_assert_eq!(paths.within(&folder), naive.as_slice());
    }
}
