//! A command line as its words.

/// What a line gives a container to run; if it can't be split, what is wrong and the mend.
pub fn arguments(line: &str, what: &str) -> Result<Vec<String>, (String, &'static str)> {
    words(line).ok_or_else(|| (format!("a quote of {what} is open"), "close it, or write a list"))
}

/// A line for a shell to run.
pub fn shell(line: &str) -> Vec<String> {
    ["sh", "-c", line].map(str::to_owned).to_vec()
}

/// Splits a line as a shell does, without expanding anything; `None` where a quote is open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => single(&mut chars, word.get_or_insert_default())?,
            '"' => double(&mut chars, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

fn single(chars: &mut impl Iterator<Item = char>, word: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '\'' => return Some(()),
            c => word.push(c),
        }
    }
}

fn double(chars: &mut impl Iterator<Item = char>, word: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' => return Some(()),
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_what_a_shell_takes_for_words() {
        for (line, expected) in [
            ("", vec![]),
            (" postgres  -c fsync=off ", vec!["postgres", "-c", "fsync=off"]),
            ("a 'b c' \"d \\\"e\\\" \\n\" f\\ g", vec!["a", "b c", "d \"e\" \\n", "f g"]),
            ("''", vec![""]),
            ("a''b", vec!["ab"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        for open in ["'a", "\"a", "a\\"] {
            assert_eq!(words(open), None, "{open}");
        }
    }
}
