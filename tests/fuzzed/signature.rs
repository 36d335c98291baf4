//! What holds for every signature header that anybody may send: the header in the first line, the body
//! after it.

use checkvalve::github::webhook::{SignatureError, WebhookSecrets, Which};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

const SECRET: &str = "It's a Secret to Everybody";
const NEXT: &str = "the secret after it";

/// Never a panic; accepted is exactly what GitHub writes for one of the secrets.
pub(crate) fn holds(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let header = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes.get(end + 1..).unwrap_or_default();
    let secrets = WebhookSecrets::new(SECRET.into(), Some(NEXT.into()));
    let (current, next) = (signed(SECRET, body), signed(NEXT, body));
    let expected = match &header {
        header if *header == current => Ok(Which::Current),
        header if *header == next => Ok(Which::Next),
        header => Err(refusal(header)),
    };
    assert_eq!(secrets.verify(Some(&header), body), expected, "{header:?}");
    assert_eq!(secrets.verify(None, body), Err(SignatureError::Missing));
    assert_eq!(secrets.verify(Some(&current), body), Ok(Which::Current));
    // One bit of the body, or of the signature, and it is nobody's.
    let mut other = body.to_vec();
    match other.last_mut() {
        Some(last) => *last ^= 1,
        None => other.push(0),
    }
    assert_eq!(secrets.verify(Some(&current), &other), Err(SignatureError::Wrong));
    let digit = if current.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{digit}", &current[..current.len() - 1]);
    assert_eq!(secrets.verify(Some(&forged), body), Err(SignatureError::Wrong));
}

fn refusal(header: &str) -> SignatureError {
    let digits = header.strip_prefix("sha256=").filter(|digits| {
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        digits.len() == 64 && digits.bytes().all(lower)
    });
    if digits.is_some() { SignatureError::Wrong } else { SignatureError::Malformed }
}

fn signed(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac.unwrap_or_else(|error| panic!("{error}")).chain_update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
