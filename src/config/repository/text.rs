//! From the bytes of a repository file to its text.

use super::problems::{Invalid, Place, Wrong};

/// The file's bytes as text; the error names the first that is none.
pub fn decode(name: &str, bytes: Vec<u8>) -> Result<String, Invalid> {
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let valid = error.utf8_error().valid_up_to();
    let (before, rest) = error.as_bytes().split_at(valid);
    let before = String::from_utf8_lossy(before);
    let line = before.split('\n').count();
    let start = before.rsplit('\n').next().unwrap_or_default();
    let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let snippet = format!("{start}{}", String::from_utf8_lossy(rest));
    let place = Place {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(start.chars().count() + 1).unwrap_or(u32::MAX),
    };
    let what = match error.as_bytes() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16, not UTF-8".to_owned(),
        bytes => {
            let byte = bytes.get(valid).copied().unwrap_or_default();
            format!("the file is not UTF-8: the byte 0x{byte:02x} begins no character")
        }
    };
    let wrong = Wrong::new(place, &snippet, what, "save it as UTF-8");
    Err(Invalid { file: name.to_owned(), errors: vec![wrong] })
}
