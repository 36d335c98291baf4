//! `Range` of RFC 9110 §14: one byte range. Several at once, and what is not understood, are
//! answered with the whole, as the RFC allows.

/// What part of an object of `total` bytes is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Whole,
    Part {
        first: u64,
        length: u64,
    },
    /// 416: nothing of it exists.
    Unsatisfiable,
}

/// Reads the header's value.
pub(crate) fn wanted(header: Option<&str>, total: u64) -> Wanted {
    let Some(range) = header.and_then(|value| value.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Ok(Some(first)), Ok(None)) => part(first, total.saturating_sub(1), total),
        (Ok(Some(first)), Ok(Some(last))) if first <= last => part(first, last, total),
        (Ok(None), Ok(Some(suffix))) if suffix > 0 => {
            part(total.saturating_sub(suffix), total.saturating_sub(1), total)
        }
        (Ok(None), Ok(Some(_))) => Wanted::Unsatisfiable,
        (Ok(_), Ok(_)) | (Err(()), _) | (_, Err(())) => Wanted::Whole,
    }
}

fn part(first: u64, last: u64, total: u64) -> Wanted {
    if first >= total {
        return Wanted::Unsatisfiable;
    }
    Wanted::Part { first, length: last.min(total - 1) - first + 1 }
}

/// `u64::from_str` alone would take `+5` too.
fn number(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    // More digits than a `u64` holds is beyond every end.
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_single_byte_ranges_as_the_rfc_says() {
        let part = |first, length| Wanted::Part { first, length };
        for (header, expected) in [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), part(0, 1)),
            (Some("bytes=2-4"), part(2, 3)),
            (Some("bytes=2-400"), part(2, 8)),
            (Some("bytes=9-"), part(9, 1)),
            (Some("bytes=-3"), part(7, 3)),
            (Some("bytes=-300"), part(0, 10)),
            (Some("bytes=10-"), Wanted::Unsatisfiable),
            (Some("bytes=99999999999999999999999-"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=4-2"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("lines=1-2"), Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header:?}");
        }
    }

    #[test]
    fn nothing_of_an_empty_object_can_be_had() {
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
        assert_eq!(wanted(Some("bytes=-5"), 0), Wanted::Unsatisfiable);
        assert_eq!(wanted(None, 0), Wanted::Whole);
    }
}
