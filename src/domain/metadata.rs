//! Airbyte's `metadata.yaml`: what may stand in it, and what is wrong with one.
//!
//! The fields are those of the published definition of the file. What is unknown is let pass:
//! forks add keys of their own.

use super::catalog::Flaw;
use super::rules::closest;
use super::yaml::{Node, Place, Value};

/// How a field must look.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Uuid,
    Version,
    Image,
    Url,
    OneOf(&'static [&'static str]),
    Flag,
    Number,
    Texts,
    List,
    Map,
}

/// Who can't do without a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The registry: a connector can't be listed without it.
    Registry,
    /// The definition of the file alone.
    Definition,
    None,
}

struct Field {
    key: &'static str,
    form: Form,
    need: Need,
}

const fn field(key: &'static str, form: Form, need: Need) -> Field {
    Field { key, form, need }
}

const SUBTYPES: &[&str] =
    &["api", "database", "datalake", "file", "custom", "message_queue", "unknown", "vectorstore"];
const STAGES: &[&str] = &["alpha", "beta", "generally_available", "custom"];
const LEVELS: &[&str] = &["community", "certified", "archived"];
const TYPES: &[&str] = &["source", "destination"];
/// The registries that `registryOverrides` may speak of.
const REGISTRIES: &[&str] = &["oss", "cloud"];

const FIELDS: &[Field] = &[
    field("name", Form::Text, Need::Registry),
    field("definitionId", Form::Uuid, Need::Registry),
    field("connectorType", Form::OneOf(TYPES), Need::Registry),
    field("dockerRepository", Form::Image, Need::Registry),
    field("dockerImageTag", Form::Version, Need::Registry),
    field("documentationUrl", Form::Url, Need::Registry),
    field("license", Form::Text, Need::Definition),
    field("githubIssueLabel", Form::Text, Need::Definition),
    field("connectorSubtype", Form::OneOf(SUBTYPES), Need::Definition),
    field("releaseStage", Form::OneOf(STAGES), Need::Definition),
    field("supportLevel", Form::OneOf(LEVELS), Need::None),
    field("tags", Form::Texts, Need::None),
    field("icon", Form::Text, Need::None),
    field("registryOverrides", Form::Map, Need::None),
    field("allowedHosts", Form::Map, Need::None),
    field("releases", Form::Map, Need::None),
    field("releaseDate", Form::Text, Need::None),
    field("connectorBuildOptions", Form::Map, Need::None),
    field("connectorTestSuitesOptions", Form::List, Need::None),
    field("connectorIPCOptions", Form::Map, Need::None),
    field("externalDocumentationUrls", Form::List, Need::None),
    field("remoteRegistries", Form::Map, Need::None),
    field("ab_internal", Form::Map, Need::None),
    field("suggestedStreams", Form::Map, Need::None),
    field("resourceRequirements", Form::Map, Need::None),
    field("normalizationConfig", Form::Map, Need::None),
    field("maxSecondsBetweenMessages", Form::Number, Need::None),
    field("erdUrl", Form::Url, Need::None),
    field("supportsDbt", Form::Flag, Need::None),
    field("supportsNormalization", Form::Flag, Need::None),
    field("supportsRefreshes", Form::Flag, Need::None),
    field("supportsFileTransfer", Form::Flag, Need::None),
    field("supportsDataActivation", Form::Flag, Need::None),
];

/// Does the document itself say that it is Airbyte's metadata?
pub fn is_airbyte(document: &Node) -> bool {
    document.get("metadataSpecVersion").is_some() && document.get("data").is_some()
}

/// The connector's id, if it is one.
pub fn definition_id(document: &Node) -> Option<(String, Place)> {
    let node = document.get("data")?.get("definitionId")?;
    let id = node.text().filter(|id| is_uuid(id))?;
    Some((id.to_ascii_lowercase(), node.place))
}

/// Everything that is wrong with a document, in its own order.
pub fn flaws(document: &Node) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let Some(data) = document.get("data") else {
        let text = match document.value {
            Value::Map(_) => "has no `data`".to_owned(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                format!("is {}, not a mapping with `data`", document.value.kind())
            }
        };
        return vec![Flaw::unusable(
            document.place,
            text,
            "add `data:` with the connector's facts",
        )];
    };
    let Value::Map(entries) = &data.value else {
        let text = format!("`data` is {}, not a mapping", data.value.kind());
        return vec![Flaw::unusable(data.place, text, "write the connector's facts beneath it")];
    };
    missing(data, &mut flaws);
    for (at, entry) in entries.iter().enumerate() {
        let (key, node) = (entry.key.as_str(), &entry.node);
        let what = format!("data.{key}");
        if entries[..at].iter().any(|earlier| earlier.key == key) {
            let text = format!("`{what}` stands twice, and only this one counts");
            flaws.push(Flaw::remark(entry.place, text, "keep one of them"));
        }
        if let Some(field) = FIELDS.iter().find(|field| field.key == key) {
            flaws.extend(wrong(field.form, &what, node));
        } else if let Some(meant) = misspelt(key, data) {
            let text = format!("`{what}` means nothing");
            flaws.push(Flaw::remark(entry.place, text, format!("did you mean `{meant}`?")));
        }
        if key == "registryOverrides" {
            overrides(node, &mut flaws);
        }
    }
    flaws.sort();
    flaws
}

/// One flaw for all that is missing: a file that holds nothing has one cause.
fn missing(data: &Node, flaws: &mut Vec<Flaw>) {
    for (need, reason) in [
        (Need::Registry, "a registry can't list the connector without"),
        (Need::Definition, "the definition of the file asks for it"),
    ] {
        let absent =
            |field: &&Field| field.need == need && data.get(field.key).is_none_or(Node::is_null);
        let keys: Vec<&str> = FIELDS.iter().filter(absent).map(|field| field.key).collect();
        if keys.is_empty() {
            continue;
        }
        let named: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let text = format!("`data` lacks {} ({reason})", named.join(", "));
        let mend = format!(
            "add {}",
            keys.iter().map(|key| format!("`{key}: …`")).collect::<Vec<_>>().join(", ")
        );
        flaws.push(Flaw {
            unusable: need == Need::Registry,
            ..Flaw::remark(data.place, text, mend)
        });
    }
}

/// The key that an unknown one was probably meant to be: one that is not there.
fn misspelt(key: &str, data: &Node) -> Option<&'static str> {
    let absent = FIELDS.iter().map(|field| field.key).filter(|known| data.get(known).is_none());
    closest(key, absent)
}

fn overrides(node: &Node, flaws: &mut Vec<Flaw>) {
    let Value::Map(registries) = &node.value else { return };
    for registry in registries {
        let what = format!("data.registryOverrides.{}", registry.key);
        if !REGISTRIES.contains(&registry.key.as_str()) {
            let text = format!("`{what}`: there is no such registry");
            flaws.push(Flaw::unusable(registry.place, text, "write `oss` or `cloud`"));
            continue;
        }
        let Value::Map(entries) = &registry.node.value else {
            if !registry.node.is_null() {
                flaws.extend(wrong(Form::Map, &what, &registry.node));
            }
            continue;
        };
        if registry.node.get("enabled").is_none_or(Node::is_null) {
            let text = format!("`{what}` does not say whether it is `enabled`");
            let mend = "add `enabled: true` or `enabled: false`";
            flaws.push(Flaw::remark(registry.place, text, mend));
        }
        for entry in entries {
            let form = match entry.key.as_str() {
                "enabled" => Some(Form::Flag),
                key => FIELDS.iter().find(|field| field.key == key).map(|field| field.form),
            };
            let what = format!("{what}.{}", entry.key);
            flaws.extend(form.and_then(|form| wrong(form, &what, &entry.node)));
        }
    }
}

/// What is wrong with a field that is there; nothing at all is as if it were not there.
fn wrong(form: Form, what: &str, node: &Node) -> Option<Flaw> {
    let text = node.text();
    let (good, expected) = match form {
        Form::Text => (text.is_some_and(|text| !text.trim().is_empty()), "a text"),
        Form::Uuid => (text.is_some_and(is_uuid), "a UUID, such as `uuidgen` prints"),
        Form::Version => {
            (text.is_some_and(is_version), "a version such as `1.2.3` or `1.2.3-rc.1`")
        }
        Form::Image => {
            (text.is_some_and(is_image), "an image's name without a tag: `airbyte/source-x`")
        }
        Form::Url => (text.is_some_and(is_url), "an address: `https://…`"),
        Form::OneOf(values) => (text.is_some_and(|text| values.contains(&text)), ""),
        Form::Flag => (matches!(node.value, Value::Bool(_)), "true or false"),
        Form::Number => (matches!(node.value, Value::Number(_)), "a number"),
        Form::List => (matches!(node.value, Value::List(_)), "a list"),
        Form::Map => (matches!(node.value, Value::Map(_)), "a mapping"),
        Form::Texts => match &node.value {
            Value::List(items) => {
                (items.iter().all(|item| item.text().is_some()), "a list of texts")
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                (false, "a list of texts")
            }
        },
    };
    if good || node.is_null() {
        return None;
    }
    let is = match &node.value {
        Value::Text(text) => format!("`{}`", shortened(text)),
        Value::Number(number) => format!("the number {number}"),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
            node.value.kind().to_owned()
        }
    };
    let text = format!("`{what}` can't be {is}");
    Some(Flaw::unusable(node.place, text, mend(form, node, expected)))
}

fn mend(form: Form, node: &Node, expected: &str) -> String {
    let text = node.text().unwrap_or_default();
    match form {
        Form::OneOf(values) => {
            let lower = text.trim().to_lowercase();
            let meant = closest(&lower, values.iter().copied());
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            let all = format!("write one of {}", values.join(", "));
            meant.map_or(all.clone(), |meant| format!("did you mean `{meant}`? ({all})"))
        }
        Form::Text | Form::Version if matches!(node.value, Value::Number(_) | Value::Bool(_)) => {
            format!("write {expected}, in quotes")
        }
        Form::Text
        | Form::Uuid
        | Form::Version
        | Form::Image
        | Form::Url
        | Form::Flag
        | Form::Number
        | Form::Texts
        | Form::List
        | Form::Map => format!("write {expected}"),
    }
}

/// As a message has it: one line, not too long.
fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= 60 {
        return line;
    }
    line.chars().take(60).chain(['…']).collect()
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A semantic version as an image's tag can hold it: without build metadata, as tags have no `+`.
fn is_version(text: &str) -> bool {
    let (numbers, pre) = match text.split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let identifier = |part: &str| {
        let good = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !part.is_empty() && good && (!digits(part) || number(part))
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(identifier))
        && text.len() <= 128
}

/// `[host[:port]/]name/…`, each part beginning and ending with a letter or digit: such a name is a
/// safe path, too.
fn is_image(text: &str) -> bool {
    let fits = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(part.chars().next())
            && edge(part.chars().next_back())
            && part.chars().all(|c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
            })
    };
    let (host, name) = match text.split_once('/') {
        Some((host, name)) if host.contains([':', '.']) => (Some(host), name),
        Some(_) | None => (None, text),
    };
    let good_host = |host: &str| {
        let (host, port) = host.split_once(':').unwrap_or((host, "0"));
        fits(&host.to_lowercase()) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
    };
    host.is_none_or(good_host) && name.split('/').all(fits) && text.len() <= 255
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_alphanumeric())
            && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

#[cfg(test)]
mod tests;
