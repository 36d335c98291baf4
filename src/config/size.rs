//! Sizes as people write them: `512Mi`, `2Gi`, `2G`.

/// Bytes, above 0, of `<whole number><Ki|Mi|Gi|k|M|G>`, with or without a `B` behind.
pub fn parse(text: &str) -> Option<u64> {
    let cut = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(cut)?;
    let scale: u64 = match unit.trim_end_matches('B') {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(scale).filter(|bytes| *bytes > 0)
}
