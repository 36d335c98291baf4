//! Seals what must lie in the database, under the installation's key, and marks what must be known
//! again without being kept.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, hmac};
use secrecy::SecretSlice;

/// Keys made of the installation's one are each for one purpose.
const PURPOSE: &[u8] = b"checkvalve: renewed secrets, 1";
const MARKS: &[u8] = b"checkvalve: marks, 1";

/// Encrypts and decrypts, each time for one name: what was sealed for another does not open.
pub struct Seal {
    key: RandomizedNonceKey,
    marks: hmac::Key,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

/// Not sealed under this key, or not for this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is kept of it can't be opened: was CHECKVALVE_KEY, or the file `key` of the state folder, \
     another one when it was kept? It must be the same on all hosts"
)]
pub struct NotOpened;

impl Seal {
    /// `key` is `CHECKVALVE_KEY`.
    pub fn new(key: &[u8; 32]) -> Result<Self, NotOpened> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let own = |purpose| hmac::sign(&key, purpose);
        let marks = hmac::Key::new(hmac::HMAC_SHA256, own(MARKS).as_ref());
        let key = RandomizedNonceKey::new(&AES_256_GCM, own(PURPOSE).as_ref());
        Ok(Self { key: key.map_err(|_| NotOpened)?, marks })
    }

    /// By what a text is known again: a keyed digest, of which nothing of the text can be learned,
    /// and which is another one for every name.
    pub fn mark(&self, name: &str, plain: &str) -> String {
        hex::encode(self.marked(name, plain))
    }

    /// Is it this text's? Takes the same time whatever is wrong.
    pub fn is_mark(&self, mark: &str, name: &str, plain: &str) -> bool {
        let Ok(mark) = hex::decode(mark) else { return false };
        constant_time::verify_slices_are_equal(&mark, self.marked(name, plain).as_ref()).is_ok()
    }

    fn marked(&self, name: &str, plain: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.marks);
        // The length first, so that no name and text can be taken for others.
        context.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(name.as_bytes());
        context.update(plain.as_bytes());
        context.sign()
    }

    /// The nonce, and behind it the bytes with their tag.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| NotOpened)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What [`Seal::seal`] was given for this name.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, NotOpened> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(NotOpened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOpened)?;
        let mut opened = sealed.to_vec();
        let aad = Aad::from(name.as_bytes());
        let plain = self.key.open_in_place(nonce, aad, &mut opened).map_err(|_| NotOpened)?.len();
        opened.truncate(plain);
        Ok(opened.into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn only_the_same_key_opens_and_only_for_the_same_name() {
        let seal = Seal::new(&[7; 32]).unwrap();
        let sealed = seal.seal("gsm:source-x/config", b"a secret").unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"a secret"));
        assert_ne!(sealed, seal.seal("gsm:source-x/config", b"a secret").unwrap());
        let opened = Seal::new(&[7; 32]).unwrap().open("gsm:source-x/config", &sealed).unwrap();
        assert_eq!(opened.expose_secret(), b"a secret");
        assert!(seal.open("gsm:source-y/config", &sealed).is_err());
        assert!(Seal::new(&[8; 32]).unwrap().open("gsm:source-x/config", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut spoilt = sealed.clone();
            spoilt[at] ^= 1;
            assert!(seal.open("gsm:source-x/config", &spoilt).is_err(), "{at}");
            assert!(seal.open("gsm:source-x/config", &sealed[..at]).is_err(), "{at}");
        }
        assert_eq!(format!("{seal:?}"), "Seal(…)");
    }

    #[test]
    fn a_mark_is_of_one_text_one_name_and_one_key() {
        let seal = Seal::new(&[7; 32]).unwrap();
        let mark = seal.mark("token", "a secret");
        assert_eq!(mark, Seal::new(&[7; 32]).unwrap().mark("token", "a secret"));
        assert!(seal.is_mark(&mark, "token", "a secret"));
        for (name, text) in [("token", "a secre"), ("state", "a secret"), ("tokena", " secret")] {
            assert!(!seal.is_mark(&mark, name, text), "{name} {text}");
        }
        assert!(!Seal::new(&[8; 32]).unwrap().is_mark(&mark, "token", "a secret"));
        assert!(!seal.is_mark(&mark[..10], "token", "a secret"));
        assert!(!seal.is_mark("", "token", "a secret"));
    }
}
