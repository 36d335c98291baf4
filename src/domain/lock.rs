//! Locks between jobs: of those with the same lock, one runs at a time.

use super::catalog::Connector;

/// The longest that a lock is, variables filled in.
pub const LOCK_MAX: usize = 200;

/// The variables that a lock names, in order.
pub fn variables(lock: &str) -> impl Iterator<Item = &str> {
    parts(lock).filter_map(Result::err)
}

/// The lock of one connector's job, or the variable that it does not have.
pub fn of_connector(lock: &str, connector: &Connector) -> Result<String, String> {
    let value = |name: &str| match name {
        "name" => Some(connector.name.as_str()),
        _ => connector.variables.get(name).map(String::as_str),
    };
    let mut filled = String::new();
    for part in parts(lock) {
        match part {
            Ok(text) => filled.push_str(text),
            Err(name) => filled.push_str(value(name).ok_or_else(|| name.to_owned())?),
        }
    }
    Ok(filled)
}

/// Text, and variables (`Err`): small letters, digits and `_` in braces.
fn parts(lock: &str) -> impl Iterator<Item = Result<&str, &str>> {
    let mut rest = lock;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = variable(rest) {
            rest = after;
            return Some(Err(name));
        }
        // To the next brace that begins a variable; this one may be none.
        let begins = |(at, _): &(usize, &str)| *at > 0 && variable(&rest[*at..]).is_some();
        let end = rest.match_indices('{').find(begins).map_or(rest.len(), |(at, _)| at);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Ok(text))
    })
}

fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = !name.is_empty() && name.chars().all(plain);
    is_name.then_some((name, after))
}

/// Who has the lock that a job waits for, in words.
pub fn waits(lock: &str, holder: &str) -> String {
    format!("waits for the lock `{lock}`, which {holder} has")
}

/// For which secret a job waits, and who has it, in words.
pub fn waits_for_secret(secret: &str, holder: &str) -> String {
    format!("waits for the secret `{secret}`, which one job at a time may renew: {holder} has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_told_from_braces() {
        let of = |lock: &'static str| parts(lock).collect::<Vec<_>>();
        assert_eq!(of("live"), [Ok("live")]);
        assert_eq!(of("live-{name}-x"), [Ok("live-"), Err("name"), Ok("-x")]);
        assert_eq!(of("{a}{b_1}"), [Err("a"), Err("b_1")]);
        assert_eq!(of("{A}-{}-{"), [Ok("{A}-{}-{")]);
        assert_eq!(of("{A}{b}"), [Ok("{A}"), Err("b")]);
        assert_eq!(variables("x{a}y{b}").collect::<Vec<_>>(), ["a", "b"]);
    }
}
