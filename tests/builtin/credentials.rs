//! `uses: acceptance`: what it does with credentials, and without them.

use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::secret::{
    Brought, Delivery, JobSecrets, NoValue, SecretSource, SecretSpec, SecretValue,
};
use checkvalve::domain::state::Outcome;

use super::speaker::{CONFIG, Speaker, by, files};
use super::{Begin, Done, plan, run, uses};

/// The step names a secret `config`.
fn confided() -> Plan {
    let mut acceptance = uses(Builtin::Acceptance, &["build"]);
    acceptance.secrets = vec!["config".parse().unwrap()];
    plan(vec![uses(Builtin::Build, &[]), acceptance])
}

/// With what came of asking for the secret `config`, and without such a file in the tree.
async fn given(speaker: Speaker, value: Result<&str, NoValue>) -> Done {
    let source = SecretSource::Gsm { file: "config".to_owned() };
    let secret = SecretSpec { name: "config".parse().unwrap(), source, delivery: Delivery::File };
    let value = value.map(|value| SecretValue::new(value.as_bytes().to_vec()));
    let brought = Brought { secret, value, note: None };
    let secrets = JobSecrets::new(&"source-x".parse().unwrap(), [brought]);
    let files = files(&[("secrets/config.json", "")]);
    run(speaker, &confided(), &files, Begin { secrets, ..Begin::default() }).await
}

#[tokio::test]
async fn without_its_secret_spec_runs_and_the_rest_is_skipped() {
    let missing = NoValue::Missing("project `p` has no secret with that label".to_owned());
    let done = given(Speaker::good(), Err(missing)).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{log}");
    // The check with an invalid configuration, which lies in the tree, is made.
    assert_eq!(done.tests("acceptance"), (4 + 3, 0, 5, vec![]), "{log}");
    let reason = done.reason("acceptance");
    assert!(reason.starts_with("no credentials: what needs `secrets/config.json`"), "{reason}");
    assert!(log.starts_with("checkvalve: secret `config`: project `p` has no secret"), "{log}");
    for suite in ["connection 1", "discovery", "basic_read", "full_refresh", "incremental"] {
        assert!(log.contains(&format!("skipped  {suite}: is made: no credentials")), "{log}");
    }
}

#[tokio::test]
async fn a_secret_that_can_not_be_had_is_not_the_connectors_fault() {
    let away = NoValue::Unavailable("Google could not list secrets: 503".to_owned());
    let speaker = Speaker::good();
    let calls = speaker.calls.clone();
    let done = given(speaker, Err(away)).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Errored);
    assert_eq!(done.reason("acceptance"), "secret `config`: Google could not list secrets: 503");
    assert!(calls.lock().unwrap().is_empty());
}

const ACCOUNT: &str =
    r#"{"token": "s3cr3t-token", "account": "acme-account-77", "start": "2024-01-01"}"#;

#[tokio::test]
async fn all_that_was_given_in_confidence_must_be_kept() {
    let done = given(Speaker::good(), Ok(ACCOUNT)).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{log}");
    assert_eq!(done.tests("acceptance").2, 0, "{log}");
    // In whichever form; dates are in much that is no secret.
    for (told, fails) in
        [("acme-account-77", true), ("YWNtZS1hY2NvdW50LTc3", true), ("2024-01-01", false)]
    {
        let speaker = Speaker::new(move |call, good| {
            let said = if call == "check" { good.replace("all is well", told) } else { good };
            (said.into_bytes(), super::speaker::WELL)
        });
        let done = given(speaker, Ok(ACCOUNT)).await;
        let failed = done.tests("acceptance").3;
        let expected: &[&str] = if fails { &["connection 1: keeps secrets"] } else { &[] };
        assert_eq!(failed, expected, "{told}: {}", done.log("acceptance"));
        assert_eq!(done.log("acceptance").contains(told), !fails);
    }
}

#[tokio::test]
async fn what_holds_credentials_is_never_handed_on_as_a_file() {
    let named = "future_state_path: \"integration_tests/future.json\"";
    let catalog = "ignored_fields:";
    for (from, to, told) in [
        (named, "future_state_path: \"secrets/config.json\"", ":22:44: `future_state_path` can't"),
        (named, "future_state_path: \"./integration_tests/invalid_config.json\"", ":22:44: "),
        (
            catalog,
            "configured_catalog_path: secrets/config.json\n        ignored_fields:",
            ":18:34: `configured_catalog_path` can't be `secrets/config.json`, which holds",
        ),
    ] {
        let config = CONFIG.replace(from, to);
        assert_ne!(config, CONFIG);
        let speaker = Speaker::good();
        let calls = speaker.calls.clone();
        let done = by(speaker, &config).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, ["acceptance-test-config.yml can be read"], "{log}");
        assert!(log.contains(told), "{log}\n--- not ---\n{told}");
        assert!(calls.lock().unwrap().is_empty(), "nothing is handed to anyone");
    }
}
