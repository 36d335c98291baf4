//! Configurations that a connector renews while it is tested, single-use tokens and their kin: what
//! becomes of them is told by `uses: upload-secrets`.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::builtin::{Builtin, Case, Report, Verdict};
use super::names::{ConnectorName, SecretName};
use super::redact::Redactor;
use super::secret::SecretValue;

/// Said where there is nothing to write back.
const NOTHING: &str = "no configuration was updated";

/// A secret that has another value now.
#[derive(Debug, Clone)]
pub struct Renewed {
    pub secret: SecretName,
    /// The one that the connector was given.
    pub before: SecretValue,
    pub value: SecretValue,
    /// In milliseconds, if the connector says when.
    pub emitted_at: Option<i64>,
}

/// What came of writing one back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBack {
    pub secret: SecretName,
    /// What was done, or why it could not be, in words.
    pub told: Result<String, NotWritten>,
}

/// Why a secret is not back where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotWritten {
    pub why: String,
    /// May another try soon do better?
    pub passes: bool,
}

impl WrittenBack {
    /// As a step's reason has it.
    pub fn sentence(&self) -> String {
        let (Ok(told) | Err(NotWritten { why: told, .. })) = &self.told;
        format!("secret `{}`: {told}", self.secret)
    }
}

/// All that came of them, as one sentence.
pub fn sentences(done: &[WrittenBack]) -> String {
    done.iter().map(WrittenBack::sentence).collect::<Vec<_>>().join("; ")
}

/// What a step tells that writes these secrets back.
pub fn report(secrets: &[SecretName], done: &[WrittenBack]) -> Report {
    let case = |secret: &SecretName| {
        let told = done.iter().find(|done| done.secret == *secret).map(|done| &done.told);
        match told {
            Some(Ok(told)) => Case::new(format!("{secret}: {told}"), Verdict::Passed),
            Some(Err(error)) => {
                Case::new(secret.to_string(), Verdict::Skipped(format!("not yet: {}", error.why)))
            }
            None => Case::new(secret.to_string(), Verdict::Skipped(NOTHING.to_owned())),
        }
    };
    let note = if done.is_empty() { NOTHING.to_owned() } else { sentences(done) };
    let suite = Builtin::UploadSecrets.as_str();
    Report { suite, cases: secrets.iter().map(case).collect(), note: Some(note) }
}

/// What a stranger said of it, should that quote it.
pub fn hidden(value: &SecretValue, connector: &ConnectorName, text: &str) -> String {
    match Redactor::of([value.expose()], connector.as_str()) {
        Ok(redactor) => redactor.text(text).into_owned(),
        Err(why) => why,
    }
}

/// Equal configurations have equal digests, however they are written.
pub fn digest(value: &SecretValue) -> String {
    let bytes = value.expose();
    let plain = serde_json::from_slice::<Value>(bytes).map(|json| json.to_string().into_bytes());
    hex::encode(Sha256::digest(plain.as_deref().unwrap_or(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_are_known_as_such() {
        let of = |text: &str| digest(&SecretValue::new(text.as_bytes().to_vec()));
        assert_eq!(of(r#"{"a":1,"b":[2]}"#), of("{\n  \"b\": [2],\n  \"a\": 1\n}"));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
        assert_ne!(of("{a"), of("{b"));
    }

    #[test]
    fn what_was_done_is_told_for_each_secret() {
        let (config, other): (SecretName, SecretName) =
            ("config".parse().unwrap(), "other".parse().unwrap());
        let names = [config.clone(), other];
        let nothing = report(&names, &[]);
        assert_eq!((nothing.passed(), nothing.note.as_deref()), (0, Some(NOTHING)));
        let done = [WrittenBack { secret: config, told: Ok("written back as version 2".into()) }];
        let report = report(&names, &done);
        assert_eq!((report.passed(), report.failed()), (1, 0));
        assert_eq!(
            report.log(),
            "passed   config: written back as version 2\n\
             skipped  other: no configuration was updated\n"
        );
        assert_eq!(report.note.unwrap(), "secret `config`: written back as version 2");
    }
}
