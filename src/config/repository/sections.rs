//! The parts of the file that say what a connector is and what reaches it.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{COMPONENT, CONNECTOR, IMPACT, SELECTOR};
use super::problems::{Place, Problems};
use super::reader::Fields;
use crate::domain::names::ConnectorName;
use crate::domain::rules::{
    AirbyteExtras, AttributeRule, Component, ConnectorRule, ImpactRule, Pattern, Reaches, Selector,
    Variables, closest,
};
use crate::domain::yaml::{Node, Value};

/// Kinds that the file uses, to be compared with those that exist.
pub(super) type Kinds = Vec<(Place, String)>;

impl Problems<'_> {
    pub(super) fn connector_rule(&mut self, node: &Node) -> Option<ConnectorRule> {
        let fields = self.fields(node, &CONNECTOR)?;
        let Some(marker) = fields.get("match") else {
            let mend =
                "add `match: \"{name}/metadata.yaml\"`: the file that makes a folder a connector";
            self.add(fields.place, "the connector rule has no `match`", mend);
            return None;
        };
        let text = self.text(marker, "`match`")?;
        let marker_place = marker.place;
        let marker = self.pattern(marker_place, &text, "`match`")?;
        let variables: BTreeSet<String> =
            marker.variables().into_iter().map(str::to_owned).collect();
        let mut rule = ConnectorRule::new(marker);
        rule.kind = fields.get("kind").and_then(|kind| self.text(kind, "`kind`"));
        if let Some(node) = fields.get("where") {
            rule.conditions = self.conditions(node, &variables);
        }
        rule.beside = self.bound_patterns(&fields, "beside", &variables);
        rule.unless = self.bound_patterns(&fields, "unless", &variables);
        rule.owns = self.bound_patterns(&fields, "owns", &variables);
        rule.exclude = self.bound_patterns(&fields, "exclude", &BTreeSet::new());
        if fields.get("root").is_some() {
            rule.root = self.root(&fields, &variables);
        }
        if let Some(node) = fields.get("attributes") {
            rule.attributes = self.attributes(node, rule.marker.file_name());
        }
        rule.depends = fields.get("depends").map(|n| self.derivations(n)).unwrap_or_default();
        let conventions = fields.get("conventions");
        let airbyte = conventions.and_then(|n| self.word(n, "`conventions`", &[("airbyte", true)]));
        rule.airbyte = AirbyteExtras { enabled: airbyte.unwrap_or(false) };
        Some(rule)
    }

    fn conditions(
        &mut self,
        node: &Node,
        variables: &BTreeSet<String>,
    ) -> BTreeMap<String, Vec<Pattern>> {
        let mut conditions = BTreeMap::new();
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "`where`", "a mapping from variables of `match` to patterns");
            return conditions;
        };
        for entry in entries {
            self.known_variable(entry.place, &entry.key, variables);
            let patterns = self.patterns(&entry.node, "a pattern of `where`");
            let patterns: Vec<Pattern> = patterns.into_iter().map(|(_, pattern)| pattern).collect();
            if conditions.insert(entry.key.clone(), patterns).is_some() {
                let what = format!("`{}` stands twice in `where`", entry.key);
                self.add(entry.place, what, "put both into one list");
            }
        }
        conditions
    }

    /// Patterns whose variables must be bound by `match`.
    fn bound_patterns(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        variables: &BTreeSet<String>,
    ) -> Vec<Pattern> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let patterns = self.patterns(node, &format!("`{key}`"));
        self.all_known(&patterns, variables);
        patterns.into_iter().map(|(_, pattern)| pattern).collect()
    }

    fn all_known(&mut self, patterns: &[(Place, Pattern)], known: &BTreeSet<String>) {
        for (place, pattern) in patterns {
            for variable in pattern.variables() {
                self.known_variable(*place, variable, known);
            }
        }
    }

    fn known_variable(&mut self, place: Place, name: &str, known: &BTreeSet<String>) {
        if known.contains(name) {
            return;
        }
        let mend = match closest(name, known.iter().map(String::as_str)) {
            Some(known) => format!("did you mean `{{{known}}}`?"),
            None if known.is_empty() => "no variable can be used here".to_owned(),
            None => {
                let known: Vec<String> = known.iter().map(|name| format!("`{{{name}}}`")).collect();
                format!("it has {}", known.join(", "))
            }
        };
        self.add(place, format!("nothing gives the variable `{{{name}}}` a value"), mend);
    }

    fn root(&mut self, fields: &Fields<'_>, variables: &BTreeSet<String>) -> Option<Pattern> {
        let node = fields.get("root")?;
        let text = self.text(node, "`root`")?;
        let root = self.pattern(node.place, text.trim_end_matches('/'), "`root`")?;
        for variable in root.variables() {
            self.known_variable(node.place, variable, variables);
        }
        let any: Variables =
            root.variables().into_iter().map(|name| (name.to_owned(), "x".to_owned())).collect();
        let one_path = root.fill(&any).and_then(|root| root.literal_paths());
        if one_path.is_none_or(|paths| paths.len() != 1) {
            let mend = "write a path with variables of `match`, without wildcards";
            self.add(node.place, "`root` is one folder or file", mend);
            return None;
        }
        Some(root)
    }

    fn attributes(&mut self, node: &Node, marker: Option<&str>) -> Option<AttributeRule> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "`attributes`", "a mapping from attributes to dotted paths");
            return None;
        };
        let mut file = marker.map(str::to_owned);
        let mut paths = BTreeMap::new();
        for entry in entries {
            let what = format!("`attributes.{}`", entry.key);
            let Some(text) = self.text(&entry.node, &what) else { continue };
            if entry.key == "file" {
                file = Some(text);
            } else if !is_dotted(&text) {
                let mend = "write keys with dots between, and perhaps a tag: `data.tags[language]`";
                self.add(entry.node.place, format!("{what} can't be `{text}`"), mend);
            } else if paths.insert(entry.key.clone(), text).is_some() {
                self.add(entry.place, format!("{what} stands twice"), "keep one of them");
            }
        }
        if file.is_none() {
            self.add(node.place, "`attributes` has no `file`", "add `file: metadata.yaml`");
        }
        Some(AttributeRule { file: file?, paths })
    }

    pub(super) fn component(&mut self, node: &Node) -> Option<Component> {
        let fields = self.fields(node, &COMPONENT)?;
        let Some(node) = fields.get("name") else {
            self.add(fields.place, "the component has no `name`", "add `name: …`");
            return None;
        };
        let name = self.text(node, "`name`")?;
        if let Err(error) = name.parse::<ConnectorName>() {
            self.add(node.place, error.to_string(), "it becomes a part of a check's name");
        }
        let no_variables = BTreeSet::new();
        let include = self.bound_patterns(&fields, "include", &no_variables);
        if include.is_empty() {
            let mend = format!("add `include: [\"{name}/**\"]`");
            self.add(fields.place, format!("component `{name}` includes nothing"), mend);
        }
        let exclude = self.bound_patterns(&fields, "exclude", &no_variables);
        let kind = fields.get("kind").and_then(|kind| self.text(kind, "`kind`"));
        Some(Component { name, kind, include, exclude })
    }

    pub(super) fn impact_rule(&mut self, node: &Node, kinds: &mut Kinds) -> Option<ImpactRule> {
        let fields = self.fields(node, &IMPACT)?;
        let mut paths = Vec::new();
        match fields.get("paths") {
            Some(node) => paths = self.patterns(node, "`paths`"),
            None => {
                self.add(
                    fields.place,
                    "the impact rule has no `paths`",
                    "add `paths: [\"shared/**\"]`",
                );
            }
        }
        let Some(node) = fields.get("reaches") else {
            let mend = "add `reaches: all`, a list of names, or a selector like `{ kind: python }`";
            self.add(fields.place, "the impact rule does not say what it reaches", mend);
            return None;
        };
        let reaches = self.reaches(node, &paths, kinds)?;
        Some(ImpactRule { paths: paths.into_iter().map(|(_, pattern)| pattern).collect(), reaches })
    }

    fn reaches(
        &mut self,
        node: &Node,
        paths: &[(Place, Pattern)],
        kinds: &mut Kinds,
    ) -> Option<Reaches> {
        match &node.value {
            Value::Text(text) if text == "all" => Some(Reaches::All),
            Value::Map(_) => Some(Reaches::Selector(self.selector(node, kinds)?)),
            Value::Text(_) | Value::List(_) => {
                let names = self.patterns(node, "`reaches`");
                for (_, path) in paths {
                    let known = path.variables().into_iter().map(str::to_owned).collect();
                    self.all_known(&names, &known);
                }
                Some(Reaches::Names(names.into_iter().map(|(_, name)| name).collect()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.wrong_type(node, "`reaches`", "a selector, a list of names, or `all`");
                None
            }
        }
    }

    pub(super) fn selector(&mut self, node: &Node, kinds: &mut Kinds) -> Option<Selector> {
        let fields = self.fields(node, &SELECTOR)?;
        let mut values = |key: &str| {
            let texts = fields.get(key).map(|node| self.texts(node, &format!("`{key}`")));
            texts.unwrap_or_default()
        };
        let (kind, language) = (values("kind"), values("language"));
        let (release_stage, support_level) = (values("release_stage"), values("support_level"));
        let name = fields.get("name").map(|node| self.patterns(node, "`name`"));
        kinds.extend(kind.iter().cloned());
        let plain = |values: Kinds| values.into_iter().map(|(_, text)| text).collect();
        Some(Selector {
            name: name.unwrap_or_default().into_iter().map(|(_, pattern)| pattern).collect(),
            kind: plain(kind),
            language: plain(language),
            release_stage: plain(release_stage),
            support_level: plain(support_level),
        })
    }
}

fn is_dotted(text: &str) -> bool {
    let keys = match text.strip_suffix(']') {
        Some(rest) => match rest.split_once('[') {
            Some((keys, tag)) if !tag.is_empty() && !tag.contains(['[', ']']) => keys,
            Some(_) | None => return false,
        },
        None => text,
    };
    !keys.contains(['[', ']']) && keys.split('.').all(|key| !key.is_empty())
}
