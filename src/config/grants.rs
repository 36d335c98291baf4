//! What the operator lets repositories read: `[[grants]]` of the settings file. What is not granted
//! is refused in words.

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use super::served::Served;
use crate::domain::names::{ConnectorName, RepoName};
use crate::domain::secret::{SecretSource, SecretSpec, VARIABLE_PREFIX};

/// All grants; none by default.
#[derive(Debug, Clone, Default)]
pub struct Grants(Vec<Grant>);

#[derive(Debug, Clone)]
struct Grant {
    repositories: Served,
    env: Vec<GlobMatcher>,
    gsm: Vec<GlobMatcher>,
    sops: bool,
}

/// One grant as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    repositories: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    gsm: Vec<String>,
    #[serde(default)]
    sops: bool,
}

impl Grants {
    /// # Errors
    /// In words, for the operator.
    pub fn parse(value: &toml::Value) -> Result<Self, String> {
        let written: Vec<Written> = value
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        written.iter().map(Grant::new).collect::<Result<_, _>>().map(Self)
    }

    /// Why a repository may not have a connector's secret, in words for its maintainers.
    pub fn refusal(
        &self,
        repository: &RepoName,
        connector: &ConnectorName,
        secret: &SecretSpec,
    ) -> Option<String> {
        let mut grants = self.0.iter().filter(|grant| grant.repositories.serves(repository));
        let any = |globs: &[GlobMatcher], text: &str| globs.iter().any(|glob| glob.is_match(text));
        let (granted, line) = match &secret.source {
            SecretSource::Env { variable } => {
                (grants.any(|grant| any(&grant.env, variable)), format!("env = [\"{variable}\"]"))
            }
            SecretSource::Gsm { .. } => {
                let label = format!("connector={connector}");
                (grants.any(|grant| any(&grant.gsm, &label)), format!("gsm = [\"{label}\"]"))
            }
            SecretSource::Sops { .. } => (grants.any(|grant| grant.sops), "sops = true".to_owned()),
            SecretSource::Local { .. } => {
                return Some(
                    "`from: local` is for `checkvalve test` alone: a server has no `secrets/` \
                     folder; use `gsm`, `sops` or `env`"
                        .to_owned(),
                );
            }
        };
        (!granted).then(|| {
            format!(
                "this server does not grant it to {repository}; whoever runs the server may add \
                 `{line}` to a `[[grants]]` of this repository"
            )
        })
    }
}

impl Grant {
    fn new(written: &Written) -> Result<Self, String> {
        let repositories = Served::parse(&written.repositories.join(","))
            .map_err(|why| format!("`grants.repositories`: {why}"))?;
        for variable in &written.env {
            if !variable.starts_with(VARIABLE_PREFIX) {
                return Err(format!(
                    "`grants.env`: `{variable}` does not begin with `{VARIABLE_PREFIX}`, so that it \
                     is never given out"
                ));
            }
        }
        for label in &written.gsm {
            if !label.starts_with("connector=") {
                return Err(format!(
                    "`grants.gsm`: `{label}` is no label that is looked for; write \
                     `connector=source-x` or `connector=*`"
                ));
            }
        }
        let env = globs(&written.env, "env")?;
        Ok(Self { repositories, env, gsm: globs(&written.gsm, "gsm")?, sops: written.sops })
    }
}

fn globs(texts: &[String], key: &str) -> Result<Vec<GlobMatcher>, String> {
    let glob = |text: &String| {
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        glob.map(|glob| glob.compile_matcher()).map_err(|e| format!("`grants.{key}`: {e}"))
    };
    texts.iter().map(glob).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str) -> Result<Grants, String> {
        let table: toml::Table = text.parse().unwrap();
        Grants::parse(&table["grants"])
    }

    fn refusal(grants: &Grants, repository: &str, json: &str) -> Option<String> {
        let secret: SecretSpec = serde_json::from_str(json).unwrap();
        grants.refusal(&repository.parse().unwrap(), &"source-x".parse().unwrap(), &secret)
    }

    const TOKEN: &str =
        r#"{"name":"token","from":"env","variable":"CHECKVALVE_SECRET_TOKEN","as":"file"}"#;
    const CONFIG: &str = r#"{"name":"config","from":"gsm","file":"config","as":"file"}"#;
    const TREE: &str = r#"{"name":"tree","from":"sops","file":"c.yaml","as":"file"}"#;
    const LOCAL: &str = r#"{"name":"here","from":"local","file":"config","as":"file"}"#;

    #[test]
    fn only_what_is_granted_to_the_repository_is_given() {
        let all = grants(
            "[[grants]]\nrepositories = [\"acme/*\"]\nenv = [\"CHECKVALVE_SECRET_*\"]\n\
             gsm = [\"connector=source-*\"]\nsops = true\n\
             [[grants]]\nrepositories = [\"other/one\"]\n",
        )
        .unwrap();
        for secret in [TOKEN, CONFIG, TREE] {
            assert_eq!(refusal(&all, "acme/connectors", secret), None);
            let why = refusal(&all, "other/one", secret).unwrap();
            assert!(why.contains("[[grants]]"), "{why}");
            assert!(refusal(&Grants::default(), "acme/connectors", secret).is_some());
        }
        assert!(refusal(&all, "acme/connectors", LOCAL).unwrap().contains("checkvalve test"));
    }

    #[test]
    fn wrong_grants_are_said() {
        for (wrong, said) in [
            ("repositories = [\"acme\"]", "owner/repo"),
            ("repositories = [\"a/b\"]\nenv = [\"PATH\"]", "CHECKVALVE_SECRET_"),
            ("repositories = [\"a/b\"]\ngsm = [\"*\"]", "connector="),
            ("repositories = [\"a/b\"]\nspos = true", "spos"),
            ("env = []", "repositories"),
        ] {
            let why = grants(&format!("[[grants]]\n{wrong}")).unwrap_err();
            assert!(why.contains(said), "{wrong}: {why}");
        }
    }
}
