//! As much of the age format (age-encryption.org/v1) as a data key needs: an armored file for
//! X25519 recipients, of one chunk.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

const CHUNK: usize = 64 * 1024;
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The private keys of a key file.
pub(super) fn identities(text: &str) -> Result<Vec<SecretSlice<u8>>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.filter(|line| !line.starts_with('#'));
    let keys: Result<Vec<_>, String> = keys
        .map(|line| {
            identity(line).ok_or_else(|| {
                "SOPS_AGE_KEY_FILE has a line that is no `AGE-SECRET-KEY-1…`".to_owned()
            })
        })
        .collect();
    match keys? {
        keys if keys.is_empty() => Err("SOPS_AGE_KEY_FILE holds no key".to_owned()),
        keys => Ok(keys),
    }
}

/// `AGE-SECRET-KEY-1…`: 32 bytes in Bech32.
fn identity(line: &str) -> Option<SecretSlice<u8>> {
    let line = line.to_ascii_lowercase();
    let (prefix, data) = line.rsplit_once('1')?;
    if prefix != "age-secret-key-" {
        return None;
    }
    let digit = |c: u8| (0..).zip(BECH32).find(|(_, known)| **known == c).map(|(at, _)| at);
    let digits: Vec<u32> = data.bytes().map(digit).collect::<Option<_>>()?;
    let expanded = prefix.bytes().map(|c| u32::from(c >> 5));
    let expanded = expanded.chain([0]).chain(prefix.bytes().map(|c| u32::from(c & 31)));
    if checksum(expanded.chain(digits.iter().copied())) != 1 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(32), 0, 0u32);
    for digit in &digits[..digits.len().checked_sub(6)?] {
        held = (held << 5 | digit) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    (bytes.len() == 32).then(|| SecretSlice::from(bytes))
}

fn checksum(digits: impl Iterator<Item = u32>) -> u32 {
    const STEPS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    digits.fold(1, |sum, digit| {
        let shifted = (sum & 0x1ff_ffff) << 5 ^ digit;
        let bits = STEPS.iter().enumerate().filter(|(at, _)| sum >> 25 >> at & 1 == 1);
        bits.fold(shifted, |sum, (_, step)| sum ^ step)
    })
}

/// What an armored file holds, if one of the keys opens it.
pub(super) fn decrypt(
    armored: &str,
    identities: &[SecretSlice<u8>],
) -> Result<SecretSlice<u8>, String> {
    let broken = || "it is no age file".to_owned();
    let file = unarmored(armored).ok_or_else(broken)?;
    let header = Header::read(&file).ok_or_else(broken)?;
    let shares = header.shares.iter();
    let mut opened = shares.flat_map(|share| identities.iter().filter_map(|key| share.open(key)));
    let Some(file_key) = opened.next() else {
        return Err("SOPS_AGE_KEY_FILE holds none of the keys that it is for".to_owned());
    };
    let of_header = derive(&file_key, &[], b"header").ok_or_else(broken)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&of_header).map_err(|_| broken())?;
    mac.update(header.signed);
    mac.verify_slice(&header.mac).map_err(|_| "its header was changed".to_owned())?;
    let (nonce, chunk) = header.payload.split_at_checked(16).ok_or_else(broken)?;
    if chunk.len() > CHUNK + 16 {
        return Err("it is larger than a key".to_owned());
    }
    let key = derive(&file_key, nonce, b"payload").ok_or_else(broken)?;
    // Counter 0, and the mark of the last chunk.
    let mut nonce = [0; 12];
    nonce[11] = 1;
    let plain = open(&key, nonce, chunk).ok_or_else(|| "it was changed".to_owned())?;
    Ok(SecretSlice::from(plain))
}

fn unarmored(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().strip_prefix("-----BEGIN AGE ENCRYPTED FILE-----")?;
    let text = text.strip_suffix("-----END AGE ENCRYPTED FILE-----")?;
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).ok()
}

/// A file key, encrypted for one recipient.
struct Share {
    ephemeral: [u8; 32],
    body: Vec<u8>,
}

struct Header<'f> {
    shares: Vec<Share>,
    /// What the MAC is of.
    signed: &'f [u8],
    mac: Vec<u8>,
    payload: &'f [u8],
}

impl<'f> Header<'f> {
    fn read(file: &'f [u8]) -> Option<Self> {
        let mut at = 0;
        let mut line = || {
            let rest = file.get(at..)?;
            let length = rest.iter().position(|byte| *byte == b'\n')?;
            at += length + 1;
            Some((std::str::from_utf8(&rest[..length]).ok()?, at))
        };
        if line()?.0 != "age-encryption.org/v1" {
            return None;
        }
        let mut shares = Vec::new();
        loop {
            let (text, end) = line()?;
            if let Some(mac) = text.strip_prefix("--- ") {
                let signed = &file[..end - 1 - mac.len() - 1];
                let mac = STANDARD_NO_PAD.decode(mac).ok()?;
                return Some(Self { shares, signed, mac, payload: &file[end..] });
            }
            let stanza = text.strip_prefix("-> ")?;
            let mut body = String::new();
            loop {
                let (text, _) = line()?;
                body.push_str(text);
                if text.len() < 64 {
                    break;
                }
            }
            if let Some(ephemeral) = stanza.strip_prefix("X25519 ") {
                let ephemeral = STANDARD_NO_PAD.decode(ephemeral).ok()?.try_into().ok()?;
                shares.push(Share { ephemeral, body: STANDARD_NO_PAD.decode(body).ok()? });
            }
        }
    }
}

impl Share {
    fn open(&self, identity: &SecretSlice<u8>) -> Option<Vec<u8>> {
        let private = PrivateKey::from_private_key(&X25519, identity.expose_secret()).ok()?;
        let public = private.compute_public_key().ok()?;
        let salt = [&self.ephemeral, public.as_ref()].concat();
        let peer = UnparsedPublicKey::new(&X25519, &self.ephemeral);
        let key = agree(&private, peer, (), |shared| {
            derive(shared, &salt, b"age-encryption.org/v1/X25519").ok_or(())
        });
        open(&key.ok()?, [0; 12], &self.body)
    }
}

/// HKDF with SHA-256, 32 bytes.
fn derive(from: &[u8], salt: &[u8], info: &[u8]) -> Option<[u8; 32]> {
    let mut extract = Hmac::<Sha256>::new_from_slice(salt).ok()?;
    extract.update(from);
    let mut expand = Hmac::<Sha256>::new_from_slice(&extract.finalize().into_bytes()).ok()?;
    expand.update(info);
    expand.update(&[1]);
    Some(expand.finalize().into_bytes().into())
}

fn open(key: &[u8; 32], nonce: [u8; 12], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut bytes = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}
