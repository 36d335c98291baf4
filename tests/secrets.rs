//! Where secrets come from: Secret Manager against what refuses as Google does, and files that sops
//! made.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/google.rs"]
mod google;
#[path = "secrets/gsm.rs"]
mod gsm;
#[path = "secrets/sops.rs"]
mod sops;

use std::collections::BTreeMap;

use checkvalve::domain::secret::{Delivery, SecretSource, SecretSpec};
use checkvalve::secrets::{Access, Fetched, Of, Providers};
use google::Google;
use secrecy::SecretString;

fn access(google: &Google) -> Access {
    Access {
        google: Some(SecretString::from(google.account())),
        gsm_url: Some(google.url.clone()),
        kms_url: Some(google.url.clone()),
        ..Access::default()
    }
}

fn secret(source: SecretSource) -> SecretSpec {
    SecretSpec { name: "it".parse().unwrap(), source, delivery: Delivery::File }
}

async fn fetch(
    providers: &Providers,
    source: SecretSource,
    files: &[(&str, &str)],
) -> Result<Fetched, String> {
    let connector = "source-x".parse().unwrap();
    let of = Of { connector: &connector, root: "connectors/source-x" };
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    providers.fetch(&secret(source), of, &files).await.map_err(|error| error.to_string())
}

fn text(fetched: Result<Fetched, String>) -> String {
    String::from_utf8(fetched.unwrap().value.expose().to_vec()).unwrap()
}

#[tokio::test]
async fn files_of_the_secrets_folder_stand_in_for_secret_manager() {
    let local = Providers::new(Access::default(), true).unwrap();
    let gsm = || SecretSource::Gsm { file: "config".to_owned() };
    let files = [("connectors/source-x/secrets/config.json", "{\"a\": 1}")];
    assert_eq!(text(fetch(&local, gsm(), &files).await), "{\"a\": 1}");
    let here = SecretSource::Local { file: "token".to_owned() };
    let files = [("connectors/source-x/secrets/token", "abc")];
    assert_eq!(text(fetch(&local, here, &files).await), "abc");
    let why = fetch(&local, gsm(), &[]).await.unwrap_err();
    assert!(why.contains("`connectors/source-x/secrets/config.json` nor"), "{why}");
    let why = fetch(&local, gsm(), &[("connectors/source-x/secrets/config", "")]).await;
    assert!(why.unwrap_err().contains("empty"));
    let remote = Providers::new(Access::default(), false).unwrap();
    let why = fetch(&remote, gsm(), &[]).await.unwrap_err();
    assert!(why.contains("GCP_GSM_CREDENTIALS"), "{why}");
    let env = SecretSource::Env { variable: "CHECKVALVE_SECRET_NOBODY_SET_IT".to_owned() };
    assert!(fetch(&remote, env, &[]).await.unwrap_err().contains("is not set"));
}
