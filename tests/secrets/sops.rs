//! Files that sops encrypted: `fixtures/sops/README.md` says who made them.

use checkvalve::domain::secret::SecretSource;
use checkvalve::secrets::{Access, Providers};
use serde_json::{Value, json};

use super::google::Google;
use super::{access, fetch, text};

const EXAMPLE: &str = include_str!("../fixtures/sops/example.yaml");
const SUFFIX: &str = include_str!("../fixtures/sops/encrypted_suffix.yaml");
const PLAIN_SUFFIX: &str = include_str!("../fixtures/sops/unencrypted_suffix.yaml");
const ONLY_ENCRYPTED: &str = include_str!("../fixtures/sops/mac_only_encrypted.yaml");
const BY_AGE: &str = include_str!("../fixtures/sops/by-age.json");
const BY_KMS: &str = include_str!("../fixtures/sops/by-kms.json");

fn keys(file: &str) -> Providers {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sops");
    let age_key_file = Some(format!("{folder}/{file}").into());
    Providers::new(Access { age_key_file, ..Access::default() }, false).unwrap()
}

async fn decrypt(providers: &Providers, file: &str) -> Result<Value, String> {
    let source = SecretSource::Sops { file: "config.yaml".to_owned() };
    let fetched = fetch(providers, source, &[("connectors/source-x/config.yaml", file)]).await;
    fetched.as_ref().map_err(Clone::clone)?;
    Ok(serde_json::from_str(&text(fetched)).unwrap())
}

fn of_json() -> Value {
    json!({
        "host": "db.example.org",
        "port": 5432,
        "credentials": {
            "user": "reader",
            "password": "hunter2-hunter2",
            "nested": {
                "pin": 12_345_678, "flag": true, "empty": "", "list": ["first-secret", "zwölf"],
            },
        },
        "plain_sops": "twice-suffixed",
    })
}

#[tokio::test]
async fn files_that_the_program_made_are_read() {
    let keys = keys("keys.txt");
    let example = decrypt(&keys, EXAMPLE).await.unwrap();
    assert_eq!(example["example_array"], json!(["example_value1", "example_value2"]));
    assert_eq!(example["example_booleans"], json!([true, false]));
    assert!(example["example_number"].is_number(), "{example}");
    assert!(example.get("sops").is_none());
    let xxx = || json!("xxx");
    assert_eq!(
        decrypt(&keys, SUFFIX).await.unwrap(),
        // The suffix of the file is `encrypted`, without the `_`.
        json!({
            "a": {
                "1_": { "a": xxx(), "b": xxx() },
                "2_plain": "aaa",
                "3_nested_": { "a": { "i": xxx() }, "b": { "ii": xxx() } },
            },
            "b_": xxx(),
        })
    );
    let plain = decrypt(&keys, PLAIN_SUFFIX).await.unwrap();
    assert_eq!(plain["a"]["b_unencrypted"]["c"], json!([123, 456]));
    assert_eq!(plain["a"]["c_encrypted"], "xxx");
    let only = decrypt(&keys, ONLY_ENCRYPTED).await.unwrap();
    assert_eq!((&only["a_encrypted"], &only["d_unencrypted"]), (&xxx(), &json!("aaa")));
}

#[tokio::test]
async fn json_is_read_by_age_and_by_cloud_kms_with_the_suffix_stripped_once() {
    assert_eq!(decrypt(&keys("keys.txt"), BY_AGE).await.unwrap(), of_json());
    let google = Google::start().await;
    let sealed = google.seal(&(0..32).collect::<Vec<u8>>());
    assert!(BY_KMS.contains(&sealed));
    let by_kms = Providers::new(access(&google), false).unwrap();
    assert_eq!(decrypt(&by_kms, BY_KMS).await.unwrap(), of_json());
    assert!(google.asked().contains(&format!("POST {}:decrypt", super::google::KMS_KEY)));
}

#[tokio::test]
async fn a_file_that_was_edited_by_hand_is_refused_by_name() {
    let keys = keys("keys.txt");
    let swapped = {
        let lines: Vec<&str> = SUFFIX.lines().collect();
        let (a, b) = (lines[2].split_once(": ").unwrap().1, lines[3].split_once(": ").unwrap().1);
        SUFFIX.replace(a, "@").replace(b, a).replace('@', b)
    };
    for edited in [
        SUFFIX.replace("2_plain: aaa", "2_plain: aab"),
        SUFFIX.replace("2_plain: aaa", "2_plain: aaa\n  more: x"),
        SUFFIX.replace("b_encrypted: ENC", "c_encrypted: ENC"),
        SUFFIX.replace("2023-12-26T20:11:30Z", "2023-12-26T20:11:31Z"),
        SUFFIX.replacen("data:0FsM", "data:0FsN", 1),
        swapped,
        BY_AGE.replace("5432", "5433"),
        ONLY_ENCRYPTED.replacen("a_encrypted: ENC", "a_encrypted: plain #", 1),
    ] {
        let why = decrypt(&keys, &edited).await.unwrap_err();
        assert!(why.contains("MAC mismatch"), "{why}");
        assert!(why.contains("`connectors/source-x/config.yaml`"), "{why}");
    }
    // Its MAC is of the encrypted leaves alone.
    let allowed = ONLY_ENCRYPTED.replace("d_unencrypted: aaa", "d_unencrypted: b");
    assert_eq!(decrypt(&keys, &allowed).await.unwrap()["d_unencrypted"], "b");
}

#[tokio::test]
async fn what_can_not_be_opened_says_by_which_key() {
    let none = Providers::new(Access::default(), false).unwrap();
    let why = decrypt(&none, EXAMPLE).await.unwrap_err();
    assert!(why.contains("age1se5gh") && why.contains("SOPS_AGE_KEY_FILE is not set"), "{why}");
    let why = decrypt(&none, BY_KMS).await.unwrap_err();
    assert!(why.contains("Cloud KMS projects/acme-ci"), "{why}");
    let keys = keys("keys.txt");
    for (file, said) in [
        ("a: 1\n".to_owned(), "sops did not encrypt it"),
        ("a: [\n".to_owned(), "neither YAML nor JSON"),
        ("a: 1\nsops: {pgp: [{enc: x}], mac: x}\n".to_owned(), "keys of PGP are not read"),
        (BY_KMS.replace("cryptoKeys/sops", "cryptoKeys/../x"), "names no key"),
        (EXAMPLE.replace("YWdlLWVuY3J5cHRpb24", "YWdlLWVuY3J5cHRpb25"), "no age file"),
        (EXAMPLE.replace("Ededl+gNtC1Y", "Ededl+gNtC1Z"), "it was changed"),
    ] {
        let why = decrypt(&keys, &file).await.unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    let why = decrypt(&self::keys("README.md"), EXAMPLE).await.unwrap_err();
    assert!(why.contains("AGE-SECRET-KEY-1"), "{why}");
    assert!(why.len() < 300, "{why}");
}
