//! Words of an instruction as builders take them: what stands in quotes is not split.

/// The words, quotes and escapes still in them. An open quote goes to the end.
pub(super) fn quoted(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut begun, mut quote) = (None, None);
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if quote.is_none() && letter.is_whitespace() {
            words.extend(begun.take().map(|from| &text[from..at]));
            continue;
        }
        begun.get_or_insert(at);
        match letter {
            // What it stands before is plain, but between single quotes.
            '\\' if quote != Some('\'') => drop(letters.next()),
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ if quote == Some(letter) => quote = None,
            _ => {}
        }
    }
    words.extend(begun.map(|from| &text[from..]));
    words
}

/// Does an instruction have a here-document, or may it have one? Its lines would be none of the
/// file's for some builders.
pub(super) fn has_heredoc(text: &str) -> bool {
    // In what stands for an unset variable quotes and escapes are read another way, or vanish.
    let plain = |rest: &str| rest.trim_start_matches(super::sources::is_word).starts_with('}');
    let mut unplain = text.split("${").skip(1).filter(|rest| !plain(rest)).peekable();
    if unplain.peek().is_some() {
        let within = |rest: &str| rest.split('}').next().is_some_and(|own| own.contains('<'));
        return unplain.any(within) || may_meet(text);
    }
    quoted(text).into_iter().any(is_heredoc)
}

/// May two `<` stand side by side once a builder took away what it does, and no third one?
fn may_meet(text: &str) -> bool {
    let of_three = |at: usize| {
        let before = text[..at].bytes().rev().take_while(|byte| *byte == b'<').count();
        let from = text[at..].bytes().take_while(|byte| *byte == b'<').count();
        before + from == 3
    };
    let mut last = None;
    text.match_indices('<').any(|(at, _)| {
        let Some(before) = last.replace(at) else { return false };
        // What comes before a variable stays where the `<` stays.
        let between = text[before + 1..at].split('$').next().unwrap_or_default();
        between.chars().all(|c| "\\\"'}".contains(c)) && !of_three(before) && !of_three(at)
    })
}

/// `<<EOF`, `<<-"EOF"`, `3<<EOF`, and before a blank `<<`, behind which some builders have the name;
/// and what becomes that without its variables and escapes.
fn is_heredoc(word: &str) -> bool {
    let Some((before, end)) = word.split_once("<<") else { return false };
    let is_number = before.chars().all(|c| c.is_ascii_digit() || c == '\\');
    let may_vanish = before.contains('$') && !before.contains(['(', '"', '\'']);
    (is_number || may_vanish) && !end.starts_with('<')
}

/// A key that a `LABEL` gives, or may give, that is ours to give.
pub(super) fn own_label(text: &str) -> Option<&str> {
    let mut words = quoted(text).into_iter().skip(1).peekable();
    // `LABEL key and its value` is the older form.
    let most = if words.peek().is_some_and(|word| word.contains('=')) { usize::MAX } else { 1 };
    let mut keys = words.take(most).map(|word| word.split_once('=').map_or(word, |(key, _)| key));
    keys.find(|key| {
        let plain: String = key.chars().filter(|c| !"\"'\\".contains(*c)).collect();
        key.contains('$') || plain.starts_with("io.checkvalve.")
    })
}
