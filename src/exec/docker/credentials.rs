//! Credentials of registries, from Docker's own configuration: what `docker login` wrote, or a
//! helper that it names. Read anew for each pull, and never printed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What the configuration calls Docker's own registry.
const HUB: &str = "https://index.docker.io/v1/";
/// How long a helper may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Login {
    /// `user:password` in base64.
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    token: Option<String>,
}

/// What a helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The header `X-Registry-Auth` for pulling an image, if the folder's configuration has a login for
/// its registry; why it can't be told, in words without a secret.
pub(super) async fn of(folder: &Path, image: &str) -> Result<Option<HeaderValue>, String> {
    let file = folder.join("config.json");
    let text = match tokio::fs::read(&file).await {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("`{}` could not be read: {e}", file.display())),
    };
    // The parser's own words may quote what stands there.
    let config: Config = serde_json::from_slice(&text)
        .map_err(|e| format!("`{}` is not Docker's (line {})", file.display(), e.line()))?;
    let registry = registry(image);
    let asked = match config.helpers.get(registry).or(config.store.as_ref()) {
        Some(helper) => ask(helper, registry).await?,
        None => None,
    };
    let Some(login) = asked.or_else(|| config.login(registry)) else { return Ok(None) };
    Ok(header(login, registry))
}

/// The first part of an image's name, if that is a host; else Docker's own.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "docker.io" | "index.docker.io" => HUB,
            host => host,
        },
        Some(_) | None => HUB,
    }
}

impl Config {
    fn login(mut self, registry: &str) -> Option<Login> {
        if let Some(login) = self.auths.remove(registry) {
            return Some(login);
        }
        // Older ones are written as addresses.
        let host = |written: &str| {
            let rest = written.split_once("://").map_or(written, |(_, rest)| rest);
            rest.split('/').next().unwrap_or_default().to_owned()
        };
        self.auths
            .into_iter()
            .find(|(written, _)| host(written) == registry)
            .map(|(_, login)| login)
    }
}

fn header(login: Login, registry: &str) -> Option<HeaderValue> {
    let written =
        login.auth.and_then(|auth| String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok());
    let written = written.as_deref().and_then(|auth| auth.trim_end_matches('\0').split_once(':'));
    let (username, password) = match written {
        Some((username, password)) => (Some(username.to_owned()), Some(password.to_owned())),
        None => (login.username, login.password),
    };
    let json = match login.token.filter(|token| !token.is_empty()) {
        Some(token) => json!({ "identitytoken": token, "serveraddress": registry }),
        None => json!({
            "username": username?, "password": password?, "serveraddress": registry,
        }),
    };
    // The engine reads base64 of the other alphabet alone.
    let mut value = HeaderValue::from_str(&URL_SAFE.encode(json.to_string())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn ask(helper: &str, registry: &str) -> Result<Option<Login>, String> {
    if helper.is_empty() || helper.contains(['/', '\\']) {
        return Err(format!("`{helper}` is no credential helper"));
    }
    let program = PathBuf::from(format!("docker-credential-{helper}"));
    let failed = |why: &dyn std::fmt::Display| {
        format!("`{} get` for `{registry}`: {why}", program.display())
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(&e))?;
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(registry.as_bytes()).await;
    }
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.map_err(|_| failed(&"it did not answer"))?.map_err(|e| failed(&e))?;
    if !output.status.success() {
        // It says so on its standard output, where else the secret is.
        let none = String::from_utf8_lossy(&output.stdout).contains("credentials not found");
        return if none { Ok(None) } else { Err(failed(&output.status)) };
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed(&"its answer is not a login"))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login { token: Some(answer.secret), ..Login::default() },
        _ => Login {
            username: Some(answer.username),
            password: Some(answer.secret),
            ..Login::default()
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(config: &str, image: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let header = of(folder.path(), image).await?;
        Ok(header.map(|header| {
            assert!(header.is_sensitive());
            String::from_utf8(URL_SAFE.decode(header.as_bytes()).unwrap()).unwrap()
        }))
    }

    #[tokio::test]
    async fn a_login_is_found_by_the_images_registry() {
        let auth = STANDARD.encode("me:pass:w?>~rd");
        let config = format!(
            r#"{{"auths": {{"registry.example.com": {{"auth": "{auth}"}},
                "https://old.example.com/v1/": {{"username": "u", "password": "p"}},
                "https://index.docker.io/v1/": {{"identitytoken": "t"}}}}}}"#
        );
        let of = |image: &'static str| told(&config, image);
        let found = of("registry.example.com/a/b:1").await.unwrap().unwrap();
        assert!(found.contains(r#""password":"pass:w?>~rd""#), "{found}");
        assert!(found.contains(r#""username":"me""#), "{found}");
        assert!(of("old.example.com/x").await.unwrap().unwrap().contains(r#""username":"u""#));
        assert!(of("postgres:16").await.unwrap().unwrap().contains(r#""identitytoken":"t""#));
        assert_eq!(of("other.example.com/x").await.unwrap(), None);
        assert_eq!(of("localhost/x").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_without_a_secret() {
        let wrong = told("{\"auths\": {\"a\": {\"auth\": \"geheim\", }}}", "a.b/c").await;
        let wrong = wrong.unwrap_err();
        assert!(wrong.contains("config.json") && !wrong.contains("geheim"), "{wrong}");
        let wrong = told(r#"{"credsStore": "no-such-helper-here"}"#, "a.b/c").await.unwrap_err();
        assert!(wrong.contains("docker-credential-no-such-helper-here"), "{wrong}");
        let wrong = told(r#"{"credsStore": "../evil"}"#, "a.b/c").await.unwrap_err();
        assert!(wrong.contains("no credential helper"), "{wrong}");
        let none = of(Path::new("/nowhere"), "a.b/c").await;
        assert!(none.unwrap().is_none());
    }
}
