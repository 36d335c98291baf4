//! The words of a command's line.

/// The words of a line.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_separator);
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(with_values(rest, end).unwrap_or(end))?;
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// Where the word that ends at `end` ends indeed: the values of a step's instance belong to its name,
/// `source-a/unit (3.11, slim)`.
fn with_values(text: &str, end: usize) -> Option<usize> {
    let (word, after) = text.split_at_checked(end)?;
    if !word.contains('/') {
        return None;
    }
    let open = match word.find('(') {
        Some(open) => open,
        None => text.len() - after.trim_start_matches(is_blank).strip_prefix('(')?.len(),
    };
    let close = open + text.get(open..)?.find(')')?;
    let rest = text.get(close..)?;
    Some(close + rest.find(is_separator).unwrap_or(rest.len()))
}

/// Unicode's blanks, and the invisible ones that are pasted along with names.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200B}' | '\u{2060}' | '\u{FEFF}')
}

pub(super) fn is_separator(c: char) -> bool {
    is_blank(c) || matches!(c, ',' | '，' | '、')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_an_instance_belong_to_its_name() {
        let of = |line: &'static str| words(line).collect::<Vec<_>>();
        assert_eq!(of(" a, b  c"), ["a", "b", "c"]);
        assert_eq!(of("a/unit (3.11) b"), ["a/unit (3.11)", "b"]);
        assert_eq!(of("a/unit(3.11, slim),b/unit"), ["a/unit(3.11, slim)", "b/unit"]);
        assert_eq!(of("`a/unit (3.11)` b"), ["`a/unit (3.11)`", "b"]);
        // What is no step has no values, and what is left open is what it is.
        assert_eq!(of("a (please)"), ["a", "(please)"]);
        assert_eq!(of("a/unit (3.11 b"), ["a/unit", "(3.11", "b"]);
        assert_eq!(of(" , "), Vec::<&str>::new());
    }
}
