//! What steps are given in confidence: the declarations, and the names that steps use.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::keys::SECRET;
use super::pipelines::Step;
use super::problems::{Place, Problems};
use super::reader::Fields;
use crate::domain::builtin::Builtin;
use crate::domain::matrix;
use crate::domain::names::SecretName;
use crate::domain::rules::{RepoRules, closest};
use crate::domain::secret::{Delivery, SecretSource, SecretSpec, VARIABLE_PREFIX, variable_of};
use crate::domain::yaml::{Entry, Node, Value};

/// A secret that a step uses.
pub(super) struct Use {
    place: Place,
    name: SecretName,
    /// Has the step's `env` its variable?
    in_env: bool,
    /// Does the step write it back?
    back: bool,
}

pub(super) type Used = Vec<Use>;

/// Variables without which a step's shell is another one.
const TAKEN: [&str; 5] = ["CI", "ENV", "HOME", "IFS", "PATH"];

impl Problems<'_> {
    pub(super) fn secrets(&mut self, node: &Node) -> Vec<SecretSpec> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "`secrets`", "a mapping from names to where they come from");
            return Vec::new();
        };
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        let mut secrets = Vec::new();
        for entry in entries {
            let Some(secret) = self.secret(entry) else { continue };
            // Two names that differ in case alone would be one file, or one variable.
            if let Some(first) = places.insert(variable_of(&secret.name), entry.place) {
                let what = format!("`{}` stands twice in `secrets`", entry.key);
                let mend = format!("keep one of them; the first is on line {}", first.line);
                self.add(entry.place, what, mend);
            }
            secrets.push(secret);
        }
        secrets
    }

    fn secret(&mut self, entry: &Entry) -> Option<SecretSpec> {
        let name = self.secret_name(entry.place, &entry.key);
        let fields = self.fields(&entry.node, &SECRET)?;
        let Some(from) = fields.get("from") else {
            let mend = "add `from: gsm`, `sops`, `env` or `local`";
            self.add(fields.place, format!("the secret `{}` has no `from`", entry.key), mend);
            return None;
        };
        let words = [("gsm", "gsm"), ("sops", "sops"), ("env", "env"), ("local", "local")];
        let from = self.word(from, "`from`", &words);
        let as_variable = match fields.get("as") {
            Some(node) => self.word(node, "`as`", &[("file", false), ("env", true)]),
            None => Some(false),
        };
        let (name, from) = (name?, from?);
        let source = self.source(&name, from, &fields);
        let delivery = if as_variable? {
            self.free_variable(entry.place, &name);
            Delivery::Env
        } else {
            Delivery::File
        };
        Some(SecretSpec { name, source: source?, delivery })
    }

    fn secret_name(&mut self, place: Place, text: &str) -> Option<SecretName> {
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let error: crate::domain::names::InvalidName = error;
                self.add(place, error.to_string(), "it becomes a file's name, or a variable's");
                None
            }
        }
    }

    fn source(
        &mut self,
        name: &SecretName,
        from: &str,
        fields: &Fields<'_>,
    ) -> Option<SecretSource> {
        let (foreign, why) = match from {
            "env" => ("file", "it is read from a variable"),
            _ => ("variable", "only `from: env` reads one"),
        };
        if let Some(entry) = fields.entry(foreign) {
            let what = format!("`{foreign}` has no meaning for `from: {from}`: {why}");
            self.add(entry.place, what, "remove it");
        }
        if from == "env" {
            return self.server_variable(name, fields);
        }
        let file = match fields.get("file") {
            Some(node) => self.secret_file(node, from == "sops")?,
            None if from == "sops" => {
                let mend = "add `file:`, the encrypted file's path from the connector's root";
                self.add(fields.place, format!("the secret `{name}` names no `file`"), mend);
                return None;
            }
            None => name.to_string(),
        };
        Some(match from {
            "gsm" => SecretSource::Gsm { file },
            "sops" => SecretSource::Sops { file },
            _ => SecretSource::Local { file },
        })
    }

    fn secret_file(&mut self, node: &Node, folders: bool) -> Option<String> {
        let file = self.text(node, "`file`")?;
        let plain = Path::new(&file).components().all(|part| matches!(part, Component::Normal(_)));
        if plain && (folders || !file.contains('/')) && !file.chars().any(char::is_control) {
            return Some(file);
        }
        let mend = if folders {
            "write a path below the connector's root, such as `config.yaml`"
        } else {
            "write a file's name without folders, such as `config`"
        };
        self.add(node.place, format!("`file` can't be `{file}`"), mend);
        None
    }

    fn server_variable(&mut self, name: &SecretName, fields: &Fields<'_>) -> Option<SecretSource> {
        let Some(node) = fields.get("variable") else {
            let variable = format!("{VARIABLE_PREFIX}{}", variable_of(name));
            return Some(SecretSource::Env { variable });
        };
        let variable = self.text(node, "`variable`")?;
        let rest = variable.strip_prefix(VARIABLE_PREFIX);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain)) {
            return Some(SecretSource::Env { variable });
        }
        let mend = format!("only variables of the server that begin `{VARIABLE_PREFIX}` are read");
        self.add(node.place, format!("`variable` can't be `{variable}`"), mend);
        None
    }

    /// The variable that a step sees must not be one that it has anyway.
    fn free_variable(&mut self, place: Place, name: &SecretName) {
        let variable = variable_of(name);
        let ours = ["CHECKVALVE_", matrix::PREFIX].iter().any(|ours| variable.starts_with(ours));
        if !ours && !TAKEN.contains(&variable.as_str()) {
            return;
        }
        let what =
            format!("the secret `{name}` can't be the variable `{variable}`, which is taken");
        self.add(place, what, "choose another name, or leave `as: env` out");
    }

    /// The names of a step's `secrets`, each once.
    pub(super) fn step_secrets(
        &mut self,
        fields: &Fields<'_>,
        env: &BTreeMap<String, String>,
        used: &mut Used,
    ) -> Vec<SecretName> {
        let Some(node) = fields.get("secrets") else { return Vec::new() };
        let mut names: Vec<SecretName> = Vec::new();
        let back = is_upload(fields);
        for (place, text) in self.texts(node, "`secrets`") {
            let Some(name) = self.secret_name(place, &text) else { continue };
            let in_env = env.contains_key(&variable_of(&name));
            used.push(Use { place, name: name.clone(), in_env, back });
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if !names.is_empty()
            && let Some(untrusted) = fields.get("untrusted")
            && matches!(untrusted.value, Value::Bool(true))
        {
            let what =
                "a step with `secrets` can't be `untrusted`: strangers' code would read them";
            self.add(untrusted.place, what, "remove one of the two");
        }
        names
    }

    /// A step's file system may hold what it was given: nothing inherits it.
    pub(super) fn inherits_no_secrets(&mut self, steps: &[Step]) -> bool {
        let mut none = true;
        for Step { place, spec, .. } in steps {
            let from = spec.from.as_ref();
            let mut parents = steps.iter().map(|step| &step.spec);
            let parent = parents.find(|parent| Some(&parent.id) == from);
            let Some(parent) = parent.filter(|parent| !parent.secrets.is_empty()) else {
                continue;
            };
            let what = format!(
                "step `{}` is `from` step `{}`, which has secrets and may have left some behind",
                spec.id, parent.id
            );
            self.add(*place, what, "use `needs` for order, or take the secrets out of that step");
            none = false;
        }
        none
    }

    /// Every name that a step uses is declared, and its variable is free.
    pub(super) fn known_secrets(&mut self, used: &Used, rules: &RepoRules) {
        for Use { place, name, in_env, back } in used {
            if *back {
                self.takes_values(*place, name, rules);
            }
            match rules.secrets.iter().find(|secret| secret.name == *name) {
                Some(secret) if *in_env && secret.delivery == Delivery::Env => {
                    let variable = variable_of(name);
                    let what = format!("the secret `{name}` and `env` both give `{variable}`");
                    self.add(*place, what, "remove one of the two");
                }
                Some(_) => {}
                None => self.unknown_secret(*place, name, rules),
            }
        }
    }

    fn unknown_secret(&mut self, place: Place, name: &SecretName, rules: &RepoRules) {
        let known = rules.secrets.iter().map(|secret| secret.name.as_str());
        let mend = closest(name.as_str(), known).map_or_else(
            || format!("declare it at the top: `secrets: {{ {name}: {{ from: gsm }} }}`"),
            |known| format!("did you mean `{known}`?"),
        );
        self.add(place, format!("there is no secret `{name}`"), mend);
    }
}

fn is_upload(fields: &Fields<'_>) -> bool {
    let uses = fields.get("uses").map(|node| &node.value);
    matches!(uses, Some(Value::Text(text)) if text == Builtin::UploadSecrets.as_str())
}
