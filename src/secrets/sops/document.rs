//! The format of sops: encrypted leaves, each bound to its path, and a MAC over all leaves.

use std::fmt;

use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, aead::consts::U32};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;
use serde_json::Value as Json;
use sha2::{Digest, Sha512};

use crate::domain::yaml::{self, Node, Value};

/// What the hash begins with where only encrypted leaves count, so that one kind of MAC is never
/// taken for the other.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// sops encrypts all but these unless it is told otherwise.
const DEFAULT_UNENCRYPTED: &str = "_unencrypted";

/// A key that holds the file's key.
pub(super) enum Master {
    Age { recipient: String, enc: String },
    Kms { resource: String, enc: String },
    Other(&'static str),
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age { recipient, .. } => write!(f, "age {recipient}"),
            Self::Kms { resource, .. } => write!(f, "Cloud KMS {resource}"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// A file as it lies in the tree.
pub(super) struct Document {
    root: Node,
}

impl Document {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let root = yaml::parse(text).map_err(|broken| {
            format!("it is neither YAML nor JSON, line {}: {}", broken.place.line, broken.what)
        })?;
        match root.get("sops").map(|sops| &sops.value) {
            Some(Value::Map(_)) => Ok(Self { root }),
            Some(_) | None => Err("sops did not encrypt it: it has no key `sops`; make it with \
                                   `sops encrypt`"
                .to_owned()),
        }
    }

    fn metadata(&self, key: &str) -> Option<&Node> {
        self.root.get("sops")?.get(key).filter(|node| !node.is_null())
    }

    fn said(&self, key: &str) -> Option<&str> {
        self.metadata(key)?.text().filter(|text| !text.is_empty())
    }

    /// Master keys in the order in which they are tried.
    pub(super) fn masters(&self) -> Vec<Master> {
        let entries = |kind: &str| match self.metadata(kind).map(|node| &node.value) {
            Some(Value::List(entries)) => entries.as_slice(),
            Some(_) | None => &[],
        };
        let text = |node: &Node, key| node.get(key).and_then(Node::text).map(str::to_owned);
        let age = entries("age").iter().filter_map(|entry| {
            Some(Master::Age { recipient: text(entry, "recipient")?, enc: text(entry, "enc")? })
        });
        let kms = entries("gcp_kms").iter().filter_map(|entry| {
            let resource = text(entry, "resource_id").filter(|resource| is_resource(resource))?;
            Some(Master::Kms { resource, enc: text(entry, "enc")? })
        });
        let others = [
            ("pgp", "PGP"),
            ("kms", "AWS KMS"),
            ("azure_kv", "Azure Key Vault"),
            ("hc_vault", "HashiCorp Vault"),
            ("key_groups", "several groups of keys"),
        ];
        let others = others.into_iter().filter(|(key, _)| !entries(key).is_empty());
        age.chain(kms).chain(others.map(|(_, kind)| Master::Other(kind))).collect()
    }

    /// The plain document as JSON.
    pub(super) fn decrypt(&self, key: &[u8]) -> Result<Vec<u8>, String> {
        let only_encrypted = matches!(
            self.metadata("mac_only_encrypted").map(|n| &n.value),
            Some(Value::Bool(true))
        );
        let mut reader = Reader {
            cipher: Cipher::new(key)?,
            rule: Rule::of(self)?,
            suffix: self.said("encrypted_suffix"),
            only_encrypted,
            hash: Sha512::new(),
        };
        if only_encrypted {
            reader.hash.update(ONLY_ENCRYPTED);
        }
        let plain = reader.map(&self.root, &mut Vec::new())?;
        let mac = hex::encode_upper(reader.hash.clone().finalize());
        let (sealed, modified) = (self.said("mac"), self.said("lastmodified"));
        let (Some(sealed), Some(modified)) = (sealed, modified) else {
            return Err("it has no MAC, so that nobody can tell whether it was changed".to_owned());
        };
        let (said, _) = reader
            .cipher
            .open(sealed, modified)
            .ok_or_else(|| "MAC mismatch: the MAC itself was changed, or its time".to_owned())?;
        if said != mac.as_bytes() {
            return Err("MAC mismatch: it was changed without sops; undo the change, or make it \
                        with `sops edit`"
                .to_owned());
        }
        serde_json::to_vec_pretty(&plain).map_err(|error| error.to_string())
    }
}

/// `projects/…/locations/…/keyRings/…/cryptoKeys/…`, and nothing that leads elsewhere.
fn is_resource(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_:.".contains(c))
    };
    parts.len() == 8
        && parts.iter().all(plain)
        && !parts.contains(&"..")
        && [parts[0], parts[2], parts[4], parts[6]]
            == ["projects", "locations", "keyRings", "cryptoKeys"]
}

/// Which leaves are encrypted.
enum Rule {
    /// All but those below a key with this end.
    AllBut(String),
    /// Those below a key with this end.
    Only(String),
    AllButMatching(Regex),
    OnlyMatching(Regex),
}

impl Rule {
    fn of(document: &Document) -> Result<Self, String> {
        for key in ["unencrypted_comment_regex", "encrypted_comment_regex"] {
            if document.said(key).is_some() {
                return Err(format!("`{key}` is not read; encrypt by keys instead"));
            }
        }
        let regex = |text: &str| Regex::new(text).map_err(|error| error.to_string());
        Ok(if let Some(suffix) = document.said("encrypted_suffix") {
            Self::Only(suffix.to_owned())
        } else if let Some(text) = document.said("encrypted_regex") {
            Self::OnlyMatching(regex(text)?)
        } else if let Some(text) = document.said("unencrypted_regex") {
            Self::AllButMatching(regex(text)?)
        } else {
            let suffix = document.said("unencrypted_suffix").unwrap_or(DEFAULT_UNENCRYPTED);
            Self::AllBut(suffix.to_owned())
        })
    }

    fn encrypts(&self, path: &[&str]) -> bool {
        match self {
            Self::AllBut(suffix) => !path.iter().any(|key| key.ends_with(suffix)),
            Self::Only(suffix) => path.iter().any(|key| key.ends_with(suffix)),
            Self::AllButMatching(regex) => !path.iter().any(|key| regex.is_match(key)),
            Self::OnlyMatching(regex) => path.iter().any(|key| regex.is_match(key)),
        }
    }
}

/// Goes through the leaves in the file's order.
struct Reader<'d> {
    cipher: Cipher,
    rule: Rule,
    suffix: Option<&'d str>,
    only_encrypted: bool,
    hash: Sha512,
}

impl Reader<'_> {
    fn map<'d>(&mut self, node: &'d Node, path: &mut Vec<&'d str>) -> Result<Json, String> {
        let Value::Map(entries) = &node.value else { return self.node(node, path) };
        let mut fields = serde_json::Map::new();
        for entry in entries {
            if path.is_empty() && entry.key == "sops" {
                continue;
            }
            path.push(&entry.key);
            let value = self.node(&entry.node, path)?;
            path.pop();
            let stripped = self.suffix.and_then(|suffix| entry.key.strip_suffix(suffix));
            let name = stripped.unwrap_or(&entry.key);
            // Whoever may write could put a plain field in an encrypted one's place.
            if fields.insert(name.to_owned(), value).is_some() {
                let place: Vec<&str> = path.iter().copied().chain([name]).collect();
                return Err(format!(
                    "two fields are `{}` when the suffix is taken off; rename one with `sops edit`",
                    place.join(".")
                ));
            }
        }
        Ok(Json::Object(fields))
    }

    fn node<'d>(&mut self, node: &'d Node, path: &mut Vec<&'d str>) -> Result<Json, String> {
        match &node.value {
            Value::Map(_) => self.map(node, path),
            Value::List(items) => items.iter().map(|item| self.node(item, path)).collect(),
            Value::Null => Ok(Json::Null),
            Value::Text(text) if !text.is_empty() && self.rule.encrypts(path) => {
                self.encrypted(text, path)
            }
            Value::Number(_) | Value::Bool(_) if self.rule.encrypts(path) => Err(is_plain(path)),
            Value::Text(_) | Value::Number(_) | Value::Bool(_) => {
                let json = node.to_json();
                if !self.only_encrypted {
                    self.hash.update(counted(&node.value));
                }
                Ok(json)
            }
        }
    }

    fn encrypted(&mut self, text: &str, path: &[&str]) -> Result<Json, String> {
        let place = path.join(".");
        if !text.starts_with("ENC[") {
            return Err(is_plain(path));
        }
        let (plain, kind) =
            self.cipher.open(text, &format!("{}:", path.join(":"))).ok_or_else(|| {
                format!("MAC mismatch: `{place}` was changed, or moved here from another key")
            })?;
        self.hash.update(&plain);
        let plain = String::from_utf8(plain).map_err(|_| format!("`{place}` is no text"))?;
        match kind.as_str() {
            "int" | "int64" | "float" => {
                Ok(serde_json::from_str(&plain).unwrap_or_else(|_| Json::from(plain.as_str())))
            }
            "bool" => Ok(Json::Bool(plain.eq_ignore_ascii_case("true"))),
            _ => Ok(Json::String(plain)),
        }
    }
}

fn is_plain(path: &[&str]) -> String {
    format!(
        "MAC mismatch: `{}` is not encrypted and should be; undo the change, or make it with `sops \
         edit`",
        path.join(".")
    )
}

/// A leaf that is not encrypted, as the MAC counts it.
fn counted(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => whole.to_string(),
            (Err(_), Ok(number)) => number.to_string(),
            (Err(_), Err(_)) => text.clone(),
        },
        Value::Text(text) => text.clone(),
        Value::Null | Value::List(_) | Value::Map(_) => String::new(),
    }
}

/// AES-256-GCM with the 32-byte nonces that sops uses.
struct Cipher(AesGcm<Aes256, U32>);

impl Cipher {
    fn new(key: &[u8]) -> Result<Self, String> {
        let cipher = AesGcm::new_from_slice(key);
        cipher.map(Self).map_err(|_| "its key has the wrong length".to_owned())
    }

    /// `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`: the plain bytes and their type.
    fn open(&self, text: &str, bound_to: &str) -> Option<(Vec<u8>, String)> {
        let inner = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
        let field = |name: &str| {
            let mut fields = inner.split(',').filter_map(|field| field.split_once(':'));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let bytes = |name| BASE64.decode(field(name)?).ok();
        let (mut sealed, iv, tag) = (bytes("data")?, bytes("iv")?, bytes("tag")?);
        if iv.len() != 32 || tag.len() != 16 {
            return None;
        }
        sealed.extend(tag);
        let payload = Payload { msg: &sealed, aad: bound_to.as_bytes() };
        let plain = self.0.decrypt(GenericArray::from_slice(&iv), payload).ok()?;
        Some((plain, field("type")?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Document::read(text.as_bytes()).unwrap().decrypt(&[0; 32]).unwrap_err()
    }

    #[test]
    fn plain_numbers_and_booleans_are_refused_where_leaves_are_encrypted() {
        for leaf in ["5432", "1.5", "true", "[1]"] {
            for file in [
                format!("port: {leaf}\nsops: {{lastmodified: x}}\n"),
                format!("port: {leaf}\nsops: {{encrypted_suffix: rt, mac_only_encrypted: true}}\n"),
            ] {
                let why = refused(&file);
                assert!(why.contains("`port` is not encrypted and should be"), "{why}");
            }
        }
        let why = refused("port_unencrypted: 5432\nsops: {lastmodified: x}\n");
        assert!(why.contains("it has no MAC"), "{why}");
    }

    #[test]
    fn two_fields_that_become_one_are_refused() {
        let why = refused("db: {host_sops: , host: }\nsops: {encrypted_suffix: _sops}\n");
        assert!(why.starts_with("two fields are `db.host`"), "{why}");
    }
}
