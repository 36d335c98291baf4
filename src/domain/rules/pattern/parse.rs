//! From a pattern's text to its segments.

use super::{MAX_ALTERNATIVES, PatternError, Segment, Token};

/// Multiplies out `{a,b}`; variables stay as they are.
pub(super) fn expand(text: &str) -> Result<Vec<String>, PatternError> {
    let mut whole = vec![String::new()];
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let choices: Vec<String> = match c {
            '\\' => {
                let next = rest.next().ok_or_else(|| PatternError::Component("\\".to_owned()))?;
                vec![format!("\\{next}")]
            }
            '{' => braces(&mut rest)?,
            '}' => return Err(PatternError::Unclosed),
            other => vec![other.to_string()],
        };
        if whole.len() * choices.len() > MAX_ALTERNATIVES {
            return Err(PatternError::TooMany);
        }
        whole = whole
            .iter()
            .flat_map(|prefix| choices.iter().map(move |choice| format!("{prefix}{choice}")))
            .collect();
    }
    Ok(whole)
}

fn braces(rest: &mut std::str::Chars<'_>) -> Result<Vec<String>, PatternError> {
    let mut inside = String::new();
    loop {
        match rest.next() {
            Some('}') => break,
            None | Some('{') => return Err(PatternError::Unclosed),
            Some(c) => inside.push(c),
        }
    }
    if inside.contains(',') {
        return Ok(inside.split(',').map(str::to_owned).collect());
    }
    if is_variable(&inside) {
        Ok(vec![format!("{{{inside}}}")])
    } else {
        Err(PatternError::Braces(inside))
    }
}

fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

pub(super) fn segments(text: &str) -> Result<Vec<Segment>, PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    for leading in ["/", "./"] {
        if text.starts_with(leading) {
            return Err(PatternError::Leading(leading));
        }
    }
    let (text, folder) = match text.strip_suffix('/') {
        Some(folder) => (folder, true),
        None => (text, false),
    };
    let mut segments = text.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
    if folder && segments.last() != Some(&Segment::Deep) {
        segments.push(Segment::Deep);
    }
    // `**/**` is `**`; collapsing keeps the search small.
    segments.dedup_by(|a, b| *a == Segment::Deep && *b == Segment::Deep);
    Ok(segments)
}

fn segment(text: &str) -> Result<Segment, PatternError> {
    if matches!(text, "" | "." | "..") {
        return Err(PatternError::Component(text.to_owned()));
    }
    if text == "**" {
        return Ok(Segment::Deep);
    }
    let mut tokens = Vec::new();
    let mut variable: Option<(usize, String)> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => tokens.extend(rest.next().map(Token::Char)),
            '*' if tokens.last() == Some(&Token::Many) => return Err(PatternError::Deep),
            '*' => tokens.push(Token::Many),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut rest)?),
            '{' => {
                let name: String = rest.by_ref().take_while(|c| *c != '}').collect();
                if variable.replace((tokens.len(), name)).is_some() {
                    return Err(PatternError::Mixed(text.to_owned()));
                }
            }
            other => tokens.push(Token::Char(other)),
        }
    }
    let plain: Option<Vec<char>> = tokens
        .iter()
        .map(|token| match token {
            Token::Char(c) => Some(*c),
            Token::One | Token::Many | Token::Class { .. } => None,
        })
        .collect();
    match (plain, variable) {
        (Some(chars), None) => Ok(Segment::Literal(chars.into_iter().collect())),
        (Some(chars), Some((at, name))) => Ok(Segment::Variable {
            before: chars[..at].iter().collect(),
            name,
            after: chars[at..].iter().collect(),
        }),
        (None, None) => Ok(Segment::Wild(tokens)),
        (None, Some(_)) => Err(PatternError::Mixed(text.to_owned())),
    }
}

fn class(rest: &mut std::str::Chars<'_>) -> Result<Token, PatternError> {
    let mut chars = Vec::new();
    loop {
        match rest.next().ok_or(PatternError::Class)? {
            ']' if !chars.is_empty() && chars != ['!'] && chars != ['^'] => break,
            '\\' => chars.push(rest.next().ok_or(PatternError::Class)?),
            c => chars.push(c),
        }
    }
    let negated = matches!(chars.first(), Some('!' | '^'));
    let chars = if negated { &chars[1..] } else { &chars[..] };
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            ranges.push((chars[at], chars[at + 2]));
            at += 3;
        } else {
            ranges.push((chars[at], chars[at]));
            at += 1;
        }
    }
    Ok(Token::Class { negated, ranges })
}
