//! Whose a delivery is.

use checkvalve::github::webhook::{SignatureError, WebhookSecrets, Which, form_payload};
use hmac::{Hmac, Mac};
use proptest::prelude::*;
use serde_json::Value;
use sha2::Sha256;

use super::given::given;

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn secrets(current: &str, next: Option<&str>) -> WebhookSecrets {
    WebhookSecrets::new(current.into(), next.map(Into::into))
}

#[test]
fn the_documented_signature_is_accepted() {
    // docs.github.com, "Validating webhook deliveries".
    let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let secrets = secrets("It's a Secret to Everybody", None);
    assert_eq!(secrets.verify(Some(header), b"Hello, World!"), Ok(Which::Current));
}

#[test]
fn both_secrets_count_while_one_is_being_changed() {
    let body = br#"{"zen":"x"}"#;
    let secrets = secrets("old", Some("new"));
    assert_eq!(secrets.verify(Some(&sign("old", body)), body), Ok(Which::Current));
    assert_eq!(secrets.verify(Some(&sign("new", body)), body), Ok(Which::Next));
    assert_eq!(secrets.verify(Some(&sign("third", body)), body), Err(SignatureError::Wrong));
}

#[test]
fn any_other_header_is_refused() {
    let body = b"body";
    let good = sign("secret", body);
    let digits = good.strip_prefix("sha256=").unwrap();
    let secrets = secrets("secret", None);
    assert_eq!(secrets.verify(None, body), Err(SignatureError::Missing));
    for bad in [
        String::new(),
        "sha256=".to_owned(),
        digits.to_owned(),
        format!("SHA256={digits}"),
        format!("sha256={}", digits.to_uppercase()),
        format!("sha1={digits}"),
        format!("sha512={digits}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}00"),
        good[..good.len() - 2].to_owned(),
        format!("sha256=0x{}", &digits[2..]),
        format!("{good},{good}"),
        "sha256=".to_owned() + &"ä".repeat(32),
    ] {
        assert_eq!(secrets.verify(Some(&bad), body), Err(SignatureError::Malformed), "{bad:?}");
    }
    let mut changed = body.to_vec();
    changed.push(b'\n');
    assert_eq!(secrets.verify(Some(&good), &changed), Err(SignatureError::Wrong));
}

#[test]
fn an_empty_secret_opens_to_nobody() {
    let body = b"body";
    for secrets in [secrets("", None), secrets("real", Some(""))] {
        assert_eq!(secrets.verify(Some(&sign("", body)), body), Err(SignatureError::Wrong));
    }
}

#[test]
fn refusals_and_secrets_print_nothing_of_the_secret() {
    let secrets = secrets("hunter2hunter2", Some("hunter3hunter3"));
    let error = secrets.verify(Some(&sign("x", b"y")), b"y").unwrap_err();
    assert!(!format!("{secrets:?} {error} {error:?}").contains("hunter"));
}

#[test]
fn form_bodies_are_unpacked_and_signed_as_encoded() {
    let json = r#"{"zen":"ä + b & c = d"}"#;
    let form: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", json).finish();
    let header = sign("secret", form.as_bytes());
    assert!(secrets("secret", None).verify(Some(&header), form.as_bytes()).is_ok());
    assert_eq!(form_payload(form.as_bytes()).unwrap().as_ref(), json.as_bytes());
    assert_eq!(form_payload(b"a=1&payload=%7B%7D&b=2").unwrap().as_ref(), b"{}");
    assert!(form_payload(b"other=1").is_none());
    assert!(form_payload(b"").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_the_parser_panic(event in "[a-z_]{0,20}", body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = checkvalve::github::webhook::parse(&event, &body);
        let _ = form_payload(&body);
    }

    #[test]
    fn no_header_makes_verification_panic_or_pass(header in "(sha256=)?[0-9a-fA-Zé]{0,70}") {
        prop_assert!(secrets("secret", None).verify(Some(&header), b"body").is_err());
    }
}

#[test]
fn published_signatures_are_judged_as_published() {
    const FILE: &str = "signature-vectors.jsonl";
    let Some(folder) = given("CHECKVALVE_GITHUB_CONTRACT", FILE) else { return };
    let text = std::fs::read_to_string(folder.join(FILE)).unwrap();
    let mut checked = 0;
    for line in text.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| vector[key].as_str();
        let (Some(id), Some(body)) = (text("id"), text("body_base64")) else { continue };
        // A delivery that is signed while we have no secret is `web`'s: there is nothing to verify.
        let Some(secret) = text("secret") else { continue };
        let body =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
        let additional = vector["additional_secrets"].as_array();
        let next = additional.and_then(|all| all.first()).and_then(Value::as_str);
        // We take SHA-256 alone; what is valid by another algorithm is not a signature to us.
        let wanted = text("expect") == Some("valid") && text("algorithm") == Some("sha256");
        let verdict = secrets(secret, next).verify(text("header"), &body);
        assert_eq!(verdict.is_ok(), wanted, "{id}: {verdict:?}");
        checked += 1;
    }
    println!("{checked} published vectors");
    assert!(checked >= 23, "only {checked}");
}
