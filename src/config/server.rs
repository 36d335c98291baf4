//! The server's settings: environment first, then a TOML file with the same keys (design §6.2).
//! Unknown keys are refused with the closest name; every secret may also stand in a file
//! (`NAME_FILE`).

mod github;
mod limits;
mod reading;
mod untrusted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

pub use self::github::GithubApp;
use self::reading::{KEYS, from_environment, from_file};
use super::duration;
use super::grants::Grants;
pub use super::served::Served;
use crate::domain::subnet::Subnet;

/// A setting that is missing or wrong: which one, where it was read, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{name} is not set: {mend}")]
    Missing { name: &'static str, mend: &'static str },
    #[error("{name} (from {origin}): {why}")]
    Invalid { name: String, origin: String, why: String },
    #[error("{path}: {message}")]
    File { path: String, message: String },
}

/// Where steps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorKind {
    Docker,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where a value was found, and the value.
#[derive(Debug, Clone)]
struct Found {
    value: String,
    origin: String,
}

/// Every setting that is set, before it is understood.
#[derive(Debug, Default)]
pub struct Settings {
    found: BTreeMap<&'static str, Found>,
    grants: Grants,
}

impl Settings {
    /// Reads the environment through `env` and, if given, the file.
    pub fn read(
        env: impl Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let (mut found, grants) = match file {
            Some(path) => from_file(path)?,
            None => (BTreeMap::new(), Grants::default()),
        };
        for key in KEYS {
            if let Some(value) = from_environment(key, &env)? {
                found.insert(key.name, value);
            }
        }
        Ok(Self { found, grants })
    }

    /// Sets a value from a command-line flag, which wins over everything.
    pub fn set(&mut self, name: &'static str, value: String) {
        let origin = "the command line".to_owned();
        self.found.insert(name, Found { value, origin });
    }

    /// As if the value had never been given: its default counts.
    pub fn unset(&mut self, name: &str) {
        self.found.remove(name);
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.found.get(name).map(|found| found.value.as_str())
    }

    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(found) = self.found.get(name) else { return Ok(None) };
        parse(&found.value).map(Some).map_err(|why| SettingsError::Invalid {
            name: name.to_owned(),
            origin: found.origin.clone(),
            why,
        })
    }

    /// The repositories that are served; required by `serve`.
    pub fn repositories(&self) -> Result<Served, SettingsError> {
        self.parsed("CHECKVALVE_REPOSITORIES", Served::parse)?.ok_or(SettingsError::Missing {
            name: "CHECKVALVE_REPOSITORIES",
            mend: "name the repositories to serve, as in `acme/connectors` or `acme/*`",
        })
    }

    pub fn listen(&self) -> Result<SocketAddr, SettingsError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| format!("`{text}` is no address: write `127.0.0.1:8080`"))
        };
        Ok(self
            .parsed("CHECKVALVE_LISTEN", parse)?
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))))
    }

    /// `CHECKVALVE_PUBLIC_URL`, or the listen address, without a `/` at the end.
    pub fn public_url(&self, listen: SocketAddr) -> Result<String, SettingsError> {
        Ok(self.url("CHECKVALVE_PUBLIC_URL")?.unwrap_or_else(|| format!("http://{listen}")))
    }

    fn url(&self, name: &str) -> Result<Option<String>, SettingsError> {
        self.parsed(name, |text| match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                Ok(text.trim_end_matches('/').to_owned())
            }
            Ok(_) | Err(_) => Err(format!("`{text}` is no http(s) address")),
        })
    }

    /// The folder of the database, objects, git caches and spools.
    pub fn state_dir(
        &self,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<PathBuf, SettingsError> {
        if let Some(dir) = self.text("CHECKVALVE_STATE_DIR") {
            return Ok(PathBuf::from(dir));
        }
        if let Some(state) = env("XDG_STATE_HOME") {
            return Ok(PathBuf::from(state).join("checkvalve"));
        }
        let home = env("HOME").ok_or(SettingsError::Missing {
            name: "CHECKVALVE_STATE_DIR",
            mend: "there is no HOME either; name a folder for database, objects and caches",
        })?;
        Ok(PathBuf::from(home).join(".local/state/checkvalve"))
    }

    /// A server's trusts the authorities of `CHECKVALVE_CA_FILE`, unless it names its own.
    pub fn database_url(&self, state: &Path) -> String {
        let Some(url) = self.text("CHECKVALVE_DATABASE_URL") else {
            return format!("sqlite:{}", state.join("checkvalve.db").display());
        };
        match self.ca_file() {
            Some(file) if url.starts_with("postgres") && !url.contains("sslrootcert") => {
                let file = file.display().to_string();
                let file = utf8_percent_encode(&file, NON_ALPHANUMERIC);
                let more = if url.contains('?') { '&' } else { '?' };
                format!("{url}{more}sslrootcert={file}")
            }
            Some(_) | None => url.to_owned(),
        }
    }

    pub fn store_url(&self, state: &Path) -> String {
        if let Some(url) = self.text("CHECKVALVE_STORE") {
            return url.to_owned();
        }
        match self.text("TEST_REPORTS_BUCKET_NAME") {
            Some(bucket) => format!("s3://{bucket}"),
            None => format!("file:{}", state.join("objects").display()),
        }
    }

    /// The installation's key; `None` when it is to be made in the state folder.
    pub fn key(&self) -> Result<Option<[u8; 32]>, SettingsError> {
        self.parsed("CHECKVALVE_KEY", key_of)
    }

    pub fn executor(&self) -> Result<ExecutorKind, SettingsError> {
        let parse = |text: &str| match text {
            "docker" => Ok(ExecutorKind::Docker),
            "host" => Ok(ExecutorKind::Host),
            _ => Err(format!("`{text}` is no executor: write `docker` or `host`")),
        };
        Ok(self.parsed("CHECKVALVE_EXECUTOR", parse)?.unwrap_or(ExecutorKind::Docker))
    }

    pub fn lease(&self) -> Result<Duration, SettingsError> {
        let parse = |text: &str| match duration::parse(text) {
            Ok(lease) if lease >= Duration::from_secs(1) => Ok(lease),
            Ok(_) => Err("a lease is at least `1s`".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Ok(self.parsed("CHECKVALVE_LEASE", parse)?.unwrap_or(Duration::from_secs(30)))
    }

    pub fn retention(&self) -> Result<Duration, SettingsError> {
        let parse = |text: &str| duration::parse(text).map_err(|error| error.to_string());
        Ok(self.parsed("CHECKVALVE_RETENTION", parse)?.unwrap_or(Duration::from_hours(45 * 24)))
    }

    /// How often GitHub's log of deliveries and its open pull requests are compared with ours.
    pub fn recovery(&self) -> Result<Duration, SettingsError> {
        let parse = |text: &str| match duration::parse(text) {
            Ok(every) if every >= Duration::from_secs(1) => Ok(every),
            Ok(_) => Err("GitHub is asked once a second at the most: write `5m`".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Ok(self.parsed("CHECKVALVE_RECOVERY", parse)?.unwrap_or(Duration::from_mins(5)))
    }

    /// What repositories may be given; only a file can say it.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// `CHECKVALVE_GSM_URL`
    pub fn gsm_url(&self) -> Result<Option<String>, SettingsError> {
        self.url("CHECKVALVE_GSM_URL")
    }

    /// `CHECKVALVE_KMS_URL`
    pub fn kms_url(&self) -> Result<Option<String>, SettingsError> {
        self.url("CHECKVALVE_KMS_URL")
    }

    /// `CHECKVALVE_NETWORK_POOL`
    pub fn network_pool(&self) -> Result<Subnet, SettingsError> {
        let parse = |text: &str| match text.parse::<Subnet>() {
            Ok(pool) if pool.pieces() >= 16 => Ok(pool),
            Ok(_) => Err(format!("`{text}` is too small: a /24 has room for sixteen networks")),
            Err(error) => Err(error),
        };
        Ok(self.parsed("CHECKVALVE_NETWORK_POOL", parse)?.unwrap_or_default())
    }

    /// The folder of certificates, if the engine is behind TLS; `usual` is Docker's own.
    pub fn docker_tls(&self, usual: Option<PathBuf>) -> Option<PathBuf> {
        let named = self.text("DOCKER_CERT_PATH").map(PathBuf::from);
        let verify = self.text("DOCKER_TLS_VERIFY").is_some();
        named.or_else(|| usual.filter(|_| verify))
    }

    pub fn ca_file(&self) -> Option<PathBuf> {
        self.text("CHECKVALVE_CA_FILE").map(PathBuf::from)
    }

    pub fn log_format(&self) -> Result<LogFormat, SettingsError> {
        let parse = |text: &str| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("`{text}` is no log format: write `text` or `json`")),
        };
        Ok(self.parsed("CHECKVALVE_LOG_FORMAT", parse)?.unwrap_or(LogFormat::Text))
    }
}

/// A key as `CHECKVALVE_KEY` and the state folder have it: 32 bytes in base64.
pub fn key_of(text: &str) -> Result<[u8; 32], String> {
    let bytes = BASE64.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "it must be 32 bytes in base64 (`openssl rand -base64 32`)".to_owned())
}

/// The text that [`key_of`] reads.
pub fn key_text(key: [u8; 32]) -> String {
    BASE64.encode(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&'static str, &'static str)]) -> Settings {
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(env, None).unwrap()
    }

    #[test]
    fn the_defaults_are_the_designs() {
        let settings = with(&[]);
        assert_eq!(settings.listen().unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(
            settings.public_url(settings.listen().unwrap()).unwrap(),
            "http://127.0.0.1:8080"
        );
        assert_eq!(settings.lease().unwrap(), Duration::from_secs(30));
        assert_eq!(settings.retention().unwrap(), Duration::from_hours(45 * 24));
        assert_eq!(settings.github_api_url().unwrap(), "https://api.github.com");
        assert_eq!(settings.store_url(Path::new("/s")), "file:/s/objects");
        assert!(settings.repositories().is_err());
    }

    #[test]
    fn a_database_trusts_the_file_of_authorities_unless_its_url_names_one() {
        let url = |url: &'static str, ca: Option<&'static str>| {
            let pairs = [("CHECKVALVE_DATABASE_URL", Some(url)), ("CHECKVALVE_CA_FILE", ca)];
            let env = |name: &str| {
                let pair = pairs.iter().find(|(n, _)| *n == name);
                pair.and_then(|(_, value)| value.map(str::to_owned))
            };
            Settings::read(env, None).unwrap().database_url(Path::new("/s"))
        };
        let ca = Some("/etc/our ca.pem");
        for (given, ca, expected) in [
            ("postgres://h/d", None, "postgres://h/d"),
            ("postgres://h/d", ca, "postgres://h/d?sslrootcert=%2Fetc%2Four%20ca%2Epem"),
            (
                "postgresql://h/d?a=b",
                ca,
                "postgresql://h/d?a=b&sslrootcert=%2Fetc%2Four%20ca%2Epem",
            ),
            ("postgres://h/d?sslrootcert=x", ca, "postgres://h/d?sslrootcert=x"),
            ("sqlite:/x.db", ca, "sqlite:/x.db"),
        ] {
            assert_eq!(url(given, ca), expected);
        }
    }

    #[test]
    fn a_key_that_was_made_can_be_given_to_another_host() {
        let key = [7; 32];
        assert_eq!(key_of(&key_text(key)), Ok(key));
        assert!(key_of("c2hvcnQ=").is_err());
    }
}
