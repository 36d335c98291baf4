//! Where GitHub is, and who we are there.

use secrecy::SecretString;
use url::Url;

use super::{Settings, SettingsError};

const API: &str = "https://api.github.com";
const WEB: &str = "https://github.com";

/// The App that the settings name.
#[derive(Debug, Clone)]
pub struct GithubApp {
    /// The App's id, or its client id.
    pub id: String,
    /// PEM.
    pub private_key: SecretString,
}

impl Settings {
    /// Where the REST API is: `CHECKVALVE_GITHUB_API_URL`, or what belongs to
    /// `CHECKVALVE_GITHUB_URL`.
    pub fn github_api_url(&self) -> Result<String, SettingsError> {
        if let Some(api) = self.url("CHECKVALVE_GITHUB_API_URL")? {
            return Ok(api);
        }
        Ok(self.url("CHECKVALVE_GITHUB_URL")?.map_or_else(|| API.to_owned(), |web| api_of(&web)))
    }

    /// Where pages and repositories are: `CHECKVALVE_GITHUB_URL`, or what belongs to
    /// `CHECKVALVE_GITHUB_API_URL`. Never github.com beside another host's API: git would carry
    /// that host's tokens there.
    pub fn github_url(&self) -> Result<String, SettingsError> {
        if let Some(web) = self.url("CHECKVALVE_GITHUB_URL")? {
            return Ok(web);
        }
        Ok(self
            .url("CHECKVALVE_GITHUB_API_URL")?
            .map_or_else(|| WEB.to_owned(), |api| web_of(&api)))
    }

    /// The App, if the settings name one; else `/setup` registers it.
    pub fn github_app(&self) -> Result<Option<GithubApp>, SettingsError> {
        let id = self.text("CHECKVALVE_GITHUB_APP_ID").map(|id| id.trim().to_owned());
        let key = self.parsed("CHECKVALVE_GITHUB_PRIVATE_KEY", pem)?;
        match (id, key) {
            (None, None) => Ok(None),
            (Some(id), Some(private_key)) => Ok(Some(GithubApp { id, private_key })),
            (None, Some(_)) => Err(SettingsError::Missing {
                name: "CHECKVALVE_GITHUB_APP_ID",
                mend: "copy the App ID or client ID from the App's settings page on GitHub",
            }),
            (Some(_), None) => Err(SettingsError::Missing {
                name: "CHECKVALVE_GITHUB_PRIVATE_KEY",
                mend: "name the App's PEM file in CHECKVALVE_GITHUB_PRIVATE_KEY_FILE",
            }),
        }
    }

    /// `CHECKVALVE_WEBHOOK_SECRET`
    pub fn webhook_secret(&self) -> Option<SecretString> {
        self.secret("CHECKVALVE_WEBHOOK_SECRET")
    }

    /// `CHECKVALVE_WEBHOOK_SECRET_NEXT`
    pub fn next_webhook_secret(&self) -> Option<SecretString> {
        self.secret("CHECKVALVE_WEBHOOK_SECRET_NEXT")
    }

    /// The error of a server to which no secret was ever given.
    pub fn no_webhook_secret() -> SettingsError {
        SettingsError::Missing {
            name: "CHECKVALVE_WEBHOOK_SECRET",
            mend: "set the same secret here and in the App's webhook settings on GitHub",
        }
    }
}

fn pem(text: &str) -> Result<SecretString, String> {
    if text.contains("PRIVATE KEY") {
        return Ok(text.into());
    }
    Err("it is no PEM key: paste the whole .pem file".to_owned())
}

/// github.com's API has a host of its own, as that of `SUBDOMAIN.ghe.com` has; an Enterprise
/// Server's is at `/api/v3` ("Getting started with the REST API").
fn api_of(web: &str) -> String {
    match Url::parse(web).ok().as_ref().and_then(|url| Some((url.scheme(), url.host_str()?))) {
        Some((_, "github.com" | "www.github.com")) => API.to_owned(),
        Some((scheme, host)) if host.ends_with(".ghe.com") => format!("{scheme}://api.{host}"),
        Some(_) | None => format!("{web}/api/v3"),
    }
}

fn web_of(api: &str) -> String {
    if let Some(web) = api.strip_suffix("/api/v3") {
        return web.to_owned();
    }
    let Ok(url) = Url::parse(api) else { return WEB.to_owned() };
    match (url.host_str(), url.host_str().and_then(|host| host.strip_prefix("api."))) {
        (Some("api.github.com"), _) => WEB.to_owned(),
        (_, Some(host)) if host.ends_with(".ghe.com") => format!("{}://{host}", url.scheme()),
        _ => url.origin().ascii_serialization(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Settings {
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(env, None).unwrap()
    }

    #[test]
    fn one_address_of_github_tells_the_other() {
        let (api, web) = ("CHECKVALVE_GITHUB_API_URL", "CHECKVALVE_GITHUB_URL");
        let ghes = ("https://git.corp.example/api/v3", "https://git.corp.example");
        for (given, expected) in [
            (&[][..], (API, WEB)),
            (&[(web, WEB)], (API, WEB)),
            (&[(api, "https://api.github.com/")], (API, WEB)),
            (&[(web, "https://git.corp.example/")], ghes),
            (&[(api, "https://git.corp.example/api/v3/")], ghes),
            (
                &[(web, "https://acme.ghe.com")],
                ("https://api.acme.ghe.com", "https://acme.ghe.com"),
            ),
            (
                &[(api, "https://api.acme.ghe.com")],
                ("https://api.acme.ghe.com", "https://acme.ghe.com"),
            ),
            // Whatever it is, tokens that it gives do not go to github.com.
            (&[(api, "http://127.0.0.1:9/x")], ("http://127.0.0.1:9/x", "http://127.0.0.1:9")),
            (&[(api, API), (web, "https://mirror.example")], (API, "https://mirror.example")),
        ] {
            let settings = with(given);
            let told = (settings.github_api_url().unwrap(), settings.github_url().unwrap());
            assert_eq!((told.0.as_str(), told.1.as_str()), expected, "{given:?}");
        }
    }

    #[test]
    fn an_app_is_named_whole_or_not_at_all() {
        let key = ("CHECKVALVE_GITHUB_PRIVATE_KEY", "-----BEGIN RSA PRIVATE KEY-----");
        let id = ("CHECKVALVE_GITHUB_APP_ID", "7");
        assert!(with(&[]).github_app().unwrap().is_none());
        assert_eq!(with(&[id, key]).github_app().unwrap().unwrap().id, "7");
        let told = |pairs: &[(&str, &str)]| with(pairs).github_app().unwrap_err().to_string();
        assert!(told(&[id]).starts_with("CHECKVALVE_GITHUB_PRIVATE_KEY is not set"));
        assert!(told(&[key]).starts_with("CHECKVALVE_GITHUB_APP_ID is not set"));
        let wrong = told(&[id, (key.0, "abc")]);
        assert!(wrong.contains("paste the whole .pem file"), "{wrong}");
    }
}
