//! What a step is given in confidence: declared by name, delivered as a file or a variable, and
//! never printed. Definitions are stored with plans; values live in memory only.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};

use super::builtin::Builtin;
use super::names::{ConnectorName, SecretName};
use super::pipeline::StepSpec;
use super::redact::{Left, Redactor};

/// Server variables that a repository may ask for begin so.
pub const VARIABLE_PREFIX: &str = "CHECKVALVE_SECRET_";

/// The largest value: what Google Secret Manager holds at most.
pub const LARGEST: usize = 64 * 1024;

/// Where a secret's value comes from. Holds names only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum SecretSource {
    /// Google Secret Manager: the connector's secret with this file name.
    Gsm { file: String },
    /// An encrypted file of the tree, named from the connector's root.
    Sops { file: String },
    /// A variable of the server.
    Env { variable: String },
    /// A file of the connector's `secrets/` folder in the work tree.
    Local { file: String },
}

impl SecretSource {
    /// The word of the repository file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Gsm { .. } => "gsm",
            Self::Sops { .. } => "sops",
            Self::Env { .. } => "env",
            Self::Local { .. } => "local",
        }
    }

    /// The name under which several jobs share it, if they can write it, too.
    pub fn shared(&self, connector: &ConnectorName) -> Option<String> {
        match self {
            Self::Gsm { file } => {
                Some(format!("gsm:{connector}/{}", file.strip_suffix(".json").unwrap_or(file)))
            }
            Self::Sops { .. } | Self::Env { .. } | Self::Local { .. } => None,
        }
    }

    /// Can a new value be written to where it comes from?
    pub fn takes_values(&self) -> bool {
        match self {
            Self::Gsm { .. } | Self::Local { .. } => true,
            Self::Sops { .. } | Self::Env { .. } => false,
        }
    }
}

/// How a step finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The file `$CHECKVALVE_SECRETS/<name>`.
    File,
    /// The variable of [`variable_of`].
    Env,
}

/// One declared secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSpec {
    pub name: SecretName,
    #[serde(flatten)]
    pub source: SecretSource,
    #[serde(rename = "as")]
    pub delivery: Delivery,
}

/// A secret's name as a variable: upper case, with `_` for what a variable can't hold.
pub fn variable_of(name: &SecretName) -> String {
    let upper = name.as_str().to_ascii_uppercase();
    upper.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A value that does not print and is wiped when the last clone is gone.
#[derive(Debug, Clone)]
pub struct SecretValue(Arc<SecretSlice<u8>>);

impl SecretValue {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(SecretSlice::from(bytes)))
    }

    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// One secret as a step gets it.
#[derive(Debug, Clone)]
pub struct Secret {
    pub name: SecretName,
    pub delivery: Delivery,
    pub value: SecretValue,
}

impl Secret {
    /// The value, if a variable can hold it; else why not, in words.
    pub fn as_variable(&self) -> Result<&[u8], String> {
        let value = self.value.expose();
        if value.contains(&0) {
            return Err(format!(
                "secret `{}` holds a NUL byte, which no variable can; leave `as: env` out",
                self.name
            ));
        }
        Ok(value)
    }
}

/// Why a secret has no value, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoValue {
    /// Who would have it was asked, and has none: there are no credentials.
    Missing(String),
    /// Whether there is one is not known, or it is not to be had.
    Unavailable(String),
}

impl NoValue {
    fn why(&self) -> &str {
        match self {
            Self::Missing(why) | Self::Unavailable(why) => why,
        }
    }
}

/// What came of asking for a secret.
#[derive(Debug, Clone)]
pub struct Brought {
    pub secret: SecretSpec,
    /// The value, or why there is none.
    pub value: Result<SecretValue, NoValue>,
    /// What its reader should know, in words.
    pub note: Option<String>,
}

/// The values of one job's secrets, and what keeps them out of everything that is written down.
/// Clones are the same: what is renewed in one is in all.
#[derive(Debug, Clone, Default)]
pub struct JobSecrets {
    secrets: BTreeMap<SecretName, Brought>,
    /// The connector's own name.
    common: String,
    now: Arc<RwLock<Now>>,
}

/// What changes while the job runs.
#[derive(Debug, Default)]
struct Now {
    redactor: Arc<Redactor>,
    /// Values that the connector gave, the last one of a secret counting.
    renewed: Vec<(SecretName, SecretValue)>,
}

impl JobSecrets {
    /// The connector's own name is no secret, whatever a value says. What can't be kept out of
    /// logs is given to no step. Takes a while: not for a task that others wait for.
    pub fn new(connector: &ConnectorName, brought: impl IntoIterator<Item = Brought>) -> Self {
        let brought = brought.into_iter();
        let mut secrets: BTreeMap<_, _> =
            brought.map(|brought| (brought.secret.name.clone(), brought)).collect();
        let known = secrets.iter().filter_map(|(name, brought)| {
            brought.value.as_ref().ok().map(|value| (name, value.expose()))
        });
        let redactor = Redactor::new(known, connector.as_str()).unwrap_or_else(|why| {
            for brought in secrets.values_mut().filter(|brought| brought.value.is_ok()) {
                brought.value = Err(NoValue::Unavailable(why.clone()));
            }
            Redactor::default()
        });
        let now = Now { redactor: Arc::new(redactor), renewed: Vec::new() };
        let common = connector.as_str().to_owned();
        Self { secrets, common, now: Arc::new(RwLock::new(now)) }
    }

    /// Of all values as they are now.
    pub fn redactor(&self) -> Arc<Redactor> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).redactor.clone()
    }

    /// From now on a secret has this value; the ones before it are kept out of everything, too. Why
    /// that can't be done, if they are too large together. Takes a while, as making them does.
    pub fn renew(&self, name: &SecretName, value: SecretValue) -> Result<(), String> {
        loop {
            let before = self.now.read().unwrap_or_else(PoisonError::into_inner).renewed.clone();
            let brought = self.secrets.iter().filter_map(|(name, brought)| {
                brought.value.as_ref().ok().map(|value| (name, value.expose()))
            });
            let renewed = before.iter().map(|(name, value)| (name, value.expose()));
            let values = brought.chain(renewed).chain([(name, value.expose())]);
            let redactor = Arc::new(Redactor::new(values, &self.common)?);
            let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
            // Another step may have renewed one meanwhile.
            if now.renewed.len() == before.len() {
                now.redactor = redactor;
                now.renewed.push((name.clone(), value));
                return Ok(());
            }
        }
    }

    fn renewed(&self, name: &SecretName) -> Option<SecretValue> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        let last = now.renewed.iter().rev().find(|(renewed, _)| renewed == name);
        last.map(|(_, value)| value.clone())
    }

    /// Those of one step; why not, if one of them could not be had. A step that does without
    /// credentials gets those that there are.
    pub fn of_step(&self, step: &StepSpec) -> Result<Vec<Secret>, String> {
        let mut given = Vec::new();
        for name in &step.secrets {
            match self.secrets.get(name) {
                Some(Brought { secret, value: Ok(value), .. }) => {
                    let value = self.renewed(name).unwrap_or_else(|| value.clone());
                    given.push(Secret { name: name.clone(), delivery: secret.delivery, value });
                }
                Some(Brought { value: Err(NoValue::Missing(_)), .. }) if does_without(step) => {}
                Some(Brought { value: Err(no), .. }) => {
                    return Err(format!("secret `{name}`: {}", no.why()));
                }
                None => return Err(format!("secret `{name}` was not brought along")),
            }
        }
        Ok(given)
    }

    /// What a step's log says of them first.
    pub fn notes(&self, step: &StepSpec) -> Vec<String> {
        let mut notes = Vec::new();
        let redactor = self.redactor();
        for name in &step.secrets {
            let left = redactor.left().get(name).map(|left| match left {
                Left::Whole => "is",
                Left::Parts => "has texts or numbers that are",
            });
            notes.extend(left.map(|is| {
                format!(
                    "secret `{name}` {is} too short or too common to be taken out of logs and \
                     reports"
                )
            }));
            let brought = self.secrets.get(name);
            let missing = brought.and_then(|brought| brought.value.as_ref().err());
            let note = brought.and_then(|brought| brought.note.as_deref());
            let notes_of_it = missing.map(NoValue::why).into_iter().chain(note);
            notes.extend(notes_of_it.map(|note| format!("secret `{name}`: {note}")));
        }
        notes
    }
}

/// Does the step say itself what it can't do without credentials, and do the rest?
fn does_without(step: &StepSpec) -> bool {
    step.is(Builtin::Acceptance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(name: &str, value: Vec<u8>) -> Brought {
        let source = SecretSource::Local { file: name.to_owned() };
        let secret = SecretSpec { name: name.parse().unwrap(), source, delivery: Delivery::File };
        Brought { secret, value: Ok(SecretValue::new(value)), note: None }
    }

    fn step(secrets: &[&str]) -> StepSpec {
        let secrets = secrets.iter().map(|name| name.parse().unwrap()).collect();
        StepSpec { secrets, ..StepSpec::new("s".parse().unwrap()) }
    }

    #[test]
    fn what_can_not_be_kept_out_of_logs_is_given_to_no_step() {
        let values = (0..5).map(|n| brought(&format!("s{n}"), vec![b'a' + n; LARGEST - 1]));
        let secrets = JobSecrets::new(&"source-x".parse().unwrap(), values);
        let why = secrets.of_step(&step(&["s0"])).unwrap_err();
        assert!(why.starts_with("secret `s0`: ") && why.contains("larger than 256 KiB"), "{why}");
    }

    #[test]
    fn what_is_missing_is_not_what_can_not_be_had() {
        let without = |name: &str, no| Brought { value: Err(no), ..brought(name, Vec::new()) };
        let secrets = JobSecrets::new(
            &"source-x".parse().unwrap(),
            [
                brought("config", b"hunter2-hunter2".to_vec()),
                without("none", NoValue::Missing("nobody has it".to_owned())),
                without("away", NoValue::Unavailable("no answer".to_owned())),
            ],
        );
        let acceptance =
            |names: &[&str]| StepSpec { uses: Some(Builtin::Acceptance.into()), ..step(names) };
        let given = secrets.of_step(&acceptance(&["none", "config"])).unwrap();
        assert_eq!(given.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["config"]);
        let notes = secrets.notes(&acceptance(&["none", "config"]));
        assert_eq!(notes, ["secret `none`: nobody has it"]);
        for (step, why) in [
            (acceptance(&["none", "away"]), "secret `away`: no answer"),
            (acceptance(&["other"]), "secret `other` was not brought along"),
            (step(&["none"]), "secret `none`: nobody has it"),
        ] {
            assert_eq!(secrets.of_step(&step).unwrap_err(), why);
        }
    }

    #[test]
    fn what_is_renewed_is_given_to_later_steps_and_hidden_with_what_was_before() {
        let secrets = JobSecrets::new(
            &"source-x".parse().unwrap(),
            [brought("config", b"the-first-token-1".to_vec())],
        );
        let (clone, name) = (secrets.clone(), "config".parse().unwrap());
        let value = SecretValue::new(br#"{"token":"the-second-token-2"}"#.to_vec());
        clone.renew(&name, value).unwrap();
        let given = secrets.of_step(&step(&["config"])).unwrap();
        assert_eq!(given[0].value.expose(), br#"{"token":"the-second-token-2"}"#);
        let text = "the-first-token-1 the-second-token-2 shown";
        assert_eq!(secrets.redactor().text(text), "*** *** shown");
        let large = SecretValue::new(vec![b'x'; crate::domain::redact::LARGEST_TOTAL]);
        assert!(clone.renew(&name, large).is_err());
        assert_eq!(secrets.redactor().text(text), "*** *** shown");
    }

    #[test]
    fn a_step_is_told_whose_parts_are_left() {
        let config = br#"{"password": "hunter2-hunter2", "pin": "1234"}"#.to_vec();
        let secrets = JobSecrets::new(
            &"source-x".parse().unwrap(),
            [brought("config", config), brought("tiny", b"1234".to_vec())],
        );
        let notes = secrets.notes(&step(&["config", "tiny"]));
        assert!(notes[0].starts_with("secret `config` has texts or numbers that are"), "{notes:?}");
        assert!(notes[1].starts_with("secret `tiny` is too short"), "{notes:?}");
        assert!(!notes.concat().contains("1234"), "{notes:?}");
    }

    #[test]
    fn a_value_never_prints() {
        let name: SecretName = "api-token".parse().unwrap();
        let delivery = Delivery::Env;
        let value = SecretValue::new(b"hunter2hunter2".to_vec());
        let source = SecretSource::Env { variable: "CHECKVALVE_SECRET_API_TOKEN".to_owned() };
        let secret = SecretSpec { name, source, delivery };
        let brought = Brought { secret, value: Ok(value), note: None };
        let secrets = JobSecrets::new(&"source-x".parse().unwrap(), [brought]);
        let shown = format!("{secrets:?} {:?}", secrets.redactor());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("104, 117, 110"), "{shown}");
        assert!(shown.contains("API_TOKEN"), "{shown}");
        assert!(shown.contains("\"api-token\""), "{shown}");
    }

    #[test]
    fn a_definition_reads_as_it_is_written() {
        for json in [
            r#"{"name":"config","from":"gsm","file":"config","as":"file"}"#,
            r#"{"name":"tree","from":"sops","file":"a/b.yaml","as":"env"}"#,
            r#"{"name":"here","from":"local","file":"config","as":"file"}"#,
            r#"{"name":"token","from":"env","variable":"CHECKVALVE_SECRET_TOKEN","as":"env"}"#,
        ] {
            let secret: SecretSpec = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&secret).unwrap(), json);
        }
        assert_eq!(variable_of(&"api-token.v2".parse().unwrap()), "API_TOKEN_V2");
    }
}
