//! Airbyte's `metadata.yaml` as its definition closes it: no key that it does not name, in nested
//! mappings too. [`metadata`](crate::domain::metadata) has the fields of `data` themselves.

use crate::domain::catalog::Flaw;
use crate::domain::rules::closest;
use crate::domain::yaml::{Entry, Node, Value};

/// What a node may be.
enum Is {
    Any,
    Text,
    Flag,
    /// A whole number within bounds.
    Number(i64, i64),
    OneOf(&'static [&'static str]),
    List(&'static Is),
    /// These keys and no other.
    Map(&'static [Key]),
    /// These keys and any other.
    Open(&'static [Key]),
    /// Versions, each with one of these.
    ByVersion(&'static [Key]),
}

struct Key {
    name: &'static str,
    is: Is,
    required: bool,
}

const fn key(name: &'static str, is: Is) -> Key {
    Key { name, is, required: false }
}

const fn must(name: &'static str, is: Is) -> Key {
    Key { name, is, required: true }
}

const TOP: &[Key] = &[must("metadataSpecVersion", Is::Any), must("data", Is::Map(DATA))];

/// Fields without anything nested are judged where the registry's are.
const DATA: &[Key] = &[
    key("name", Is::Any),
    key("definitionId", Is::Any),
    key("connectorType", Is::Any),
    key("dockerRepository", Is::Any),
    key("dockerImageTag", Is::Any),
    key("documentationUrl", Is::Any),
    key("license", Is::Any),
    key("githubIssueLabel", Is::Any),
    key("connectorSubtype", Is::Any),
    key("releaseStage", Is::Any),
    key("supportLevel", Is::Any),
    key("tags", Is::Any),
    key("icon", Is::Any),
    key("registryOverrides", Is::Map(&[key("oss", OVERRIDE), key("cloud", OVERRIDE)])),
    key("allowedHosts", Is::Open(HOSTS)),
    key("releases", Is::Map(RELEASES)),
    key("releaseDate", Is::Any),
    key("connectorBuildOptions", Is::Map(&[key("baseImage", Is::Text)])),
    key("connectorTestSuitesOptions", Is::List(&Is::Map(SUITE))),
    key("connectorIPCOptions", Is::Open(&[])),
    key("externalDocumentationUrls", Is::List(&Is::Map(EXTERNAL))),
    key("remoteRegistries", Is::Map(&[key("pypi", Is::Map(PYPI))])),
    key("ab_internal", Is::Map(INTERNAL)),
    key("suggestedStreams", Is::Open(STREAMS)),
    key("resourceRequirements", Is::Map(&[key("default", Is::Any), key("jobSpecific", Is::Any)])),
    key("normalizationConfig", NORMALIZATION),
    key("maxSecondsBetweenMessages", Is::Any),
    key("protocolVersion", Is::Text),
    key("erdUrl", Is::Any),
    key("supportsDbt", Is::Any),
    key("supportsNormalization", Is::Any),
    key("supportsRefreshes", Is::Any),
    key("supportsFileTransfer", Is::Any),
    key("supportsDataActivation", Is::Any),
    key("generated", Is::Any),
];

const HOSTS: &[Key] = &[key("hosts", Is::List(&Is::Text))];
const STREAMS: &[Key] = &[key("streams", Is::List(&Is::Text))];
const NORMALIZATION: Is = Is::Map(&[
    must("normalizationRepository", Is::Text),
    must("normalizationTag", Is::Text),
    must("normalizationIntegrationType", Is::Text),
]);
const OVERRIDE: Is = Is::Map(&[
    key("enabled", Is::Any),
    key("name", Is::Any),
    key("dockerRepository", Is::Any),
    key("dockerImageTag", Is::Any),
    key("supportsDbt", Is::Any),
    key("supportsNormalization", Is::Any),
    key("license", Is::Any),
    key("documentationUrl", Is::Any),
    key("connectorSubtype", Is::Any),
    key("allowedHosts", Is::Open(HOSTS)),
    key("normalizationConfig", NORMALIZATION),
    key("suggestedStreams", Is::Open(STREAMS)),
    key("resourceRequirements", Is::Any),
]);
const RELEASES: &[Key] = &[
    key("rolloutConfiguration", Is::Map(ROLLOUT)),
    key("breakingChanges", Is::ByVersion(BREAKING)),
    key("migrationDocumentationUrl", Is::Text),
];
const ROLLOUT: &[Key] = &[
    key("enableProgressiveRollout", Is::Flag),
    key("initialPercentage", Is::Number(0, 100)),
    key("maxPercentage", Is::Number(0, 100)),
    key("advanceDelayMinutes", Is::Number(0, i64::MAX)),
];
const BREAKING: &[Key] = &[
    must("upgradeDeadline", Is::Any),
    must("message", Is::Text),
    key("deadlineAction", Is::Text),
    key("migrationDocumentationUrl", Is::Text),
    key("scopedImpact", Is::List(&Is::Any)),
];
const SUITE: &[Key] = &[
    must("suite", Is::OneOf(&["unitTests", "integrationTests", "acceptanceTests", "liveTests"])),
    key("testSecrets", Is::List(&Is::Any)),
    key("testConnections", Is::List(&Is::Any)),
];
const EXTERNAL: &[Key] = &[
    must("title", Is::Text),
    must("url", Is::Text),
    key("type", Is::Text),
    key("requiresLogin", Is::Flag),
];
const PYPI: &[Key] = &[must("enabled", Is::Flag), must("packageName", Is::Text)];
const INTERNAL: &[Key] = &[
    key("sl", Is::Number(0, 300)),
    key("ql", Is::Number(0, 600)),
    key("isEnterprise", Is::Flag),
    key("requireVersionIncrementsInPullRequests", Is::Flag),
];

/// What the closed definition and its rules find, beside the fields of `data` themselves.
pub(super) fn flaws(document: &Node) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    // Without `data` the fields' own judge has said it.
    if document.get("data").is_some_and(|data| matches!(data.value, Value::Map(_))) {
        map(TOP, true, "", document, &mut flaws);
        tags(document, &mut flaws);
        major(document, &mut flaws);
    }
    flaws
}

fn node(is: &Is, what: &str, here: &Node, flaws: &mut Vec<Flaw>) {
    if here.is_null() {
        return;
    }
    let expected = match (is, &here.value) {
        (Is::Any, _) | (Is::Text, Value::Text(_)) | (Is::Flag, Value::Bool(_)) => return,
        (Is::Number(least, most), Value::Number(number)) => {
            if number.parse().is_ok_and(|n: i64| (*least..=*most).contains(&n)) {
                return;
            }
            let most = if *most == i64::MAX { String::new() } else { format!(" to {most}") };
            format!("a whole number from {least}{most}")
        }
        (Is::OneOf(words), Value::Text(text)) if words.contains(&text.as_str()) => return,
        (Is::List(of), Value::List(items)) => {
            for (at, item) in items.iter().enumerate() {
                node(of, &format!("{what}[{at}]"), item, flaws);
            }
            return;
        }
        (Is::Map(keys), Value::Map(_)) => return map(keys, true, what, here, flaws),
        (Is::Open(keys), Value::Map(_)) => return map(keys, false, what, here, flaws),
        (Is::ByVersion(keys), Value::Map(entries)) => {
            for entry in entries {
                by_version(keys, what, entry, flaws);
            }
            return;
        }
        (Is::Text, _) => "a text, in quotes if need be".to_owned(),
        (Is::Flag, _) => "`true` or `false`".to_owned(),
        (Is::Number(..), _) => "a whole number".to_owned(),
        (Is::OneOf(words), _) => format!("one of {}", quoted(words)),
        (Is::List(_), _) => "a list".to_owned(),
        (Is::Map(_) | Is::Open(_) | Is::ByVersion(_), _) => "a mapping".to_owned(),
    };
    let text = format!("`{what}` can't be {}", here.value.kind());
    flaws.push(Flaw::unusable(here.place, text, format!("write {expected}")));
}

fn map(keys: &[Key], closed: bool, what: &str, here: &Node, flaws: &mut Vec<Flaw>) {
    let Value::Map(entries) = &here.value else { return };
    let path =
        |name: &str| if what.is_empty() { name.to_owned() } else { format!("{what}.{name}") };
    for entry in entries {
        match keys.iter().find(|key| key.name == entry.key) {
            Some(key) => node(&key.is, &path(key.name), &entry.node, flaws),
            None if closed => {
                let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let mend = match closest(&entry.key, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if known.len() > 12 => "remove it".to_owned(),
                    None => format!("remove it; there may be {}", quoted(&known)),
                };
                let text = format!("the definition has no `{}`", path(&entry.key));
                flaws.push(Flaw::unusable(entry.place, text, mend));
            }
            None => {}
        }
    }
    for key in keys.iter().filter(|key| key.required) {
        if here.get(key.name).is_none_or(Node::is_null) {
            let (at, name) = (if what.is_empty() { "the file" } else { what }, key.name);
            let text = format!("`{at}` has no `{name}`");
            flaws.push(Flaw::unusable(here.place, text, format!("add `{name}: …`")));
        }
    }
}

fn by_version(keys: &'static [Key], what: &str, entry: &Entry, flaws: &mut Vec<Flaw>) {
    let numbers: Vec<&str> = entry.key.split('.').collect();
    if numbers.len() != 3 || numbers.iter().any(|n| n.parse::<u64>().is_err()) {
        let text = format!("`{what}.{}` is no version", entry.key);
        flaws.push(Flaw::unusable(entry.place, text, "write a version such as `\"2.0.0\"`"));
        return;
    }
    node(&Is::Map(keys), &format!("{what}.{}", entry.key), &entry.node, flaws);
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Tags are `key:value`, and one of them says the language.
fn tags(document: &Node, flaws: &mut Vec<Flaw>) {
    let Some(node) = document.get("data").and_then(|data| data.get("tags")) else { return };
    let Value::List(items) = &node.value else { return };
    for item in items {
        let pair =
            |text: &str| text.split_once(':').is_some_and(|(k, v)| !k.is_empty() && !v.is_empty());
        if let Some(text) = item.text().filter(|text| !pair(text)) {
            let text = format!("the tag `{text}` is no `key:value`");
            flaws.push(Flaw::unusable(item.place, text, "write it as `key:value`"));
        }
    }
    if !items.iter().filter_map(Node::text).any(|text| text.starts_with("language:")) {
        let mend = "add a tag such as `language:python`";
        flaws.push(Flaw::unusable(node.place, "no tag says the language", mend));
    }
}

/// The first version of a new major number is a breaking change, which needs its entry.
fn major(document: &Node, flaws: &mut Vec<Flaw>) {
    let Some(data) = document.get("data") else { return };
    let Some((node, tag)) = data.get("dockerImageTag").and_then(|node| Some((node, node.text()?)))
    else {
        return;
    };
    let first = tag.strip_suffix(".0.0").filter(|major| major.parse::<u64>().is_ok_and(|n| n > 0));
    let changes = data.get("releases").and_then(|releases| releases.get("breakingChanges"));
    if first.is_some() && changes.and_then(|changes| changes.get(tag)).is_none() {
        let text = format!("{tag} begins a new major version, and nothing says what breaks");
        let mend =
            format!("add `releases.breakingChanges.\"{tag}\"` with a deadline and a message");
        flaws.push(Flaw::unusable(node.place, text, mend));
    }
}
