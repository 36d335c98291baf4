//! Where settings are read: the environment, and the file. Which there are.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Found, SettingsError};
use crate::config::grants::Grants;

/// One setting's name; secrets may also be given as `NAME_FILE`.
pub(super) struct Key {
    pub(super) name: &'static str,
    secret: bool,
}

const fn plain(name: &'static str) -> Key {
    Key { name, secret: false }
}

const fn secret(name: &'static str) -> Key {
    Key { name, secret: true }
}

pub(super) const KEYS: &[Key] = &[
    plain("CHECKVALVE_REPOSITORIES"),
    plain("CHECKVALVE_LISTEN"),
    plain("CHECKVALVE_PUBLIC_URL"),
    plain("CHECKVALVE_STATE_DIR"),
    secret("CHECKVALVE_KEY"),
    plain("CHECKVALVE_GITHUB_CLIENT_ID"),
    secret("CHECKVALVE_GITHUB_CLIENT_SECRET"),
    secret("CHECKVALVE_API_TOKEN"),
    plain("CHECKVALVE_ADMINS"),
    plain("CHECKVALVE_CPUS"),
    plain("CHECKVALVE_MEMORY"),
    plain("CHECKVALVE_NETWORK_POOL"),
    plain("CHECKVALVE_UNTRUSTED_NETWORK"),
    plain("CHECKVALVE_LEASE"),
    plain("CHECKVALVE_RETENTION"),
    plain("CHECKVALVE_RECOVERY"),
    plain("CHECKVALVE_CA_FILE"),
    secret("CHECKVALVE_DATABASE_URL"),
    plain("CHECKVALVE_STORE"),
    plain("TEST_REPORTS_BUCKET_NAME"),
    secret("AWS_ACCESS_KEY_ID"),
    secret("AWS_SECRET_ACCESS_KEY"),
    secret("AWS_SESSION_TOKEN"),
    plain("AWS_REGION"),
    plain("AWS_DEFAULT_REGION"),
    plain("AWS_ENDPOINT_URL"),
    plain("AWS_ENDPOINT_URL_S3"),
    plain("CHECKVALVE_GITHUB_API_URL"),
    plain("CHECKVALVE_GITHUB_URL"),
    plain("CHECKVALVE_GITHUB_APP_ID"),
    secret("CHECKVALVE_GITHUB_PRIVATE_KEY"),
    secret("CHECKVALVE_WEBHOOK_SECRET"),
    secret("CHECKVALVE_WEBHOOK_SECRET_NEXT"),
    plain("CHECKVALVE_WORKERS"),
    plain("CHECKVALVE_SLOTS"),
    plain("CHECKVALVE_EXECUTOR"),
    plain("DOCKER_HOST"),
    plain("DOCKER_TLS_VERIFY"),
    plain("DOCKER_CERT_PATH"),
    plain("DOCKER_CONFIG"),
    secret("GCP_GSM_CREDENTIALS"),
    plain("CHECKVALVE_GSM_URL"),
    plain("CHECKVALVE_KMS_URL"),
    plain("SOPS_AGE_KEY_FILE"),
    plain("CHECKVALVE_LOG"),
    plain("CHECKVALVE_LOG_FORMAT"),
];

pub(super) fn from_environment(
    key: &Key,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Found>, SettingsError> {
    if let Some(value) = env(key.name) {
        return Ok(Some(Found { value, origin: "the environment".to_owned() }));
    }
    if !key.secret {
        return Ok(None);
    }
    let name = format!("{}_FILE", key.name);
    let Some(path) = env(&name) else { return Ok(None) };
    let value = std::fs::read_to_string(&path).map_err(|error| SettingsError::Invalid {
        name,
        origin: "the environment".to_owned(),
        why: format!("can't read `{path}`: {error}"),
    })?;
    Ok(Some(Found { value: value.trim_end().to_owned(), origin: path }))
}

/// The file's keys, and its grants.
type FromFile = (BTreeMap<&'static str, Found>, Grants);

pub(super) fn from_file(path: &Path) -> Result<FromFile, SettingsError> {
    let shown = path.display().to_string();
    let failed = |message: String| SettingsError::File { path: shown.clone(), message };
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(format!("the settings file can't be read: {error}")))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| failed(error.to_string().trim_end().to_owned()))?;
    let mut found = BTreeMap::new();
    let mut grants = Grants::default();
    for (key, value) in &table {
        if key == "grants" {
            grants = Grants::parse(value).map_err(&failed)?;
            continue;
        }
        let (name, value) = entry(key, value).map_err(&failed)?;
        found.insert(name, Found { value, origin: shown.clone() });
    }
    Ok((found, grants))
}

/// One key of the file: the full name, or without the prefix and in lower case.
fn entry(key: &str, value: &toml::Value) -> Result<(&'static str, String), String> {
    let upper = key.to_uppercase();
    let prefixed = format!("CHECKVALVE_{upper}");
    if let Some(known) = KEYS.iter().find(|k| k.name == upper || k.name == prefixed) {
        return Ok((known.name, text_of(key, value)?));
    }
    let base = upper.strip_suffix("_FILE").unwrap_or(&upper);
    let prefixed = format!("CHECKVALVE_{base}");
    let of_file = KEYS.iter().find(|k| k.secret && (k.name == base || k.name == prefixed));
    if let Some(known) = of_file {
        let path = text_of(key, value)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("`{key}`: can't read `{path}`: {error}"))?;
        return Ok((known.name, text.trim_end().to_owned()));
    }
    let closest = KEYS
        .iter()
        .map(|k| k.name.strip_prefix("CHECKVALVE_").unwrap_or(k.name).to_lowercase())
        .min_by_key(|name| strsim::damerau_levenshtein(name, &key.to_lowercase()))
        .unwrap_or_default();
    Err(format!("unknown key `{key}`; did you mean `{closest}`?"))
}

fn text_of(key: &str, value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Array(items) => {
            let texts: Result<Vec<String>, String> =
                items.iter().map(|v| text_of(key, v)).collect();
            Ok(texts?.join(","))
        }
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => {
            Err(format!("`{key}` must be a text, a number or a list of texts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    #[test]
    fn the_environment_wins_over_the_file_and_unknown_keys_name_the_closest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkvalve.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nrepositories = [\"a/b\", \"c/*\"]\n")
            .unwrap();
        let env = |name: &str| (name == "CHECKVALVE_LISTEN").then(|| "127.0.0.1:2".to_owned());
        let settings = Settings::read(env, Some(&path)).unwrap();
        assert_eq!(settings.listen().unwrap().port(), 2);
        assert!(settings.repositories().unwrap().serves(&"c/d".parse().unwrap()));

        std::fs::write(&path, "lisen = \"x\"\n").unwrap();
        let error = Settings::read(|_| None, Some(&path)).unwrap_err().to_string();
        assert!(error.contains("did you mean `listen`?"), "{error}");
    }

    #[test]
    fn every_setting_may_stand_in_the_settings_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkvalve.toml");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "hush\n").unwrap();
        let text = format!(
            "store = \"s3://bucket/prefix\"\naws_region = \"eu-central-1\"\n\
             AWS_ENDPOINT_URL = \"http://127.0.0.1:9000\"\n\
             aws_secret_access_key_file = \"{}\"\n",
            secret.display()
        );
        std::fs::write(&path, text).unwrap();
        let settings = Settings::read(|_| None, Some(&path)).unwrap();
        assert_eq!(settings.text("AWS_REGION"), Some("eu-central-1"));
        assert_eq!(settings.text("AWS_ENDPOINT_URL"), Some("http://127.0.0.1:9000"));
        assert_eq!(settings.text("AWS_SECRET_ACCESS_KEY"), Some("hush"));
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hush\n").unwrap();
        let path = path.display().to_string();
        let env = |n: &str| (n == "CHECKVALVE_WEBHOOK_SECRET_FILE").then(|| path.clone());
        let settings = Settings::read(env, None).unwrap();
        assert_eq!(settings.text("CHECKVALVE_WEBHOOK_SECRET"), Some("hush"));
    }
}
