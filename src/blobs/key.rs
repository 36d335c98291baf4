//! What is a key: it must mean one object, inside the store, on every driver.

use super::BlobError;

/// Unfinished writes of the folder driver lie here, below its root.
pub(super) const UNFINISHED: &str = ".unfinished";

/// The longest that S3 takes.
const LONGEST: usize = 1024;

pub(super) fn check(key: &str) -> Result<(), BlobError> {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    let first = key.split('/').next();
    if key.len() <= LONGEST && key.split('/').all(part) && first != Some(UNFINISHED) {
        Ok(())
    } else {
        Err(BlobError::Key(key.chars().take(200).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_store_are_refused() {
        for good in ["a", "runs/a/b/.epoch-1/log.txt", "a%2Fb/c d", "ü/…"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let bad =
            ["", "/", "/a", "a/", "a//b", ".", "a/../b", "a/.", "a\\b", "a\0", ".unfinished/x"];
        for bad in bad {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"a".repeat(1025)).is_err());
    }
}
