//! Commands as they would be written, for the record of what was asked for.

use std::fmt;

use super::{Asked, Command, Tested, Word};
use crate::domain::trigger::Target;

/// Names that are written out; of more, how many there are.
const NAMES_SHOWN: usize = 8;

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, names): (Word, &[Target]) = match self {
            Self::Test(Tested::Affected) => (Word::Test, &[]),
            Self::Test(Tested::All) => return write!(f, "{} all", Word::Test.as_str()),
            Self::Test(Tested::Named(names)) => (Word::Test, names),
            Self::Retest(names) => (Word::Retest, names),
            Self::Cancel(names) => (Word::Cancel, names),
            Self::OkToTest(None) => (Word::OkToTest, &[]),
            Self::OkToTest(Some(what)) => return write!(f, "{} {what}", Word::OkToTest.as_str()),
            Self::Help => (Word::Help, &[]),
        };
        f.write_str(word.as_str())?;
        for name in names.iter().take(NAMES_SHOWN) {
            write!(f, " {}", name.connector)?;
            if let Some(step) = &name.step {
                write!(f, "/{step}")?;
            }
        }
        if names.len() > NAMES_SHOWN {
            write!(f, " and {} more", names.len() - NAMES_SHOWN)?;
        }
        Ok(())
    }
}

/// On one line; what could not be understood is none of it.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.commands.is_empty() {
            return f.write_str("a command that could not be understood");
        }
        for (nth, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if nth == 0 { "" } else { "; " })?;
        }
        if self.no_cache {
            f.write_str(" --no-cache")?;
        }
        match &self.from {
            Some(step) => write!(f, " --from {step}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn what_was_asked_for_is_written_down_on_one_line() {
        let written = |body: &str| parse(body).to_string();
        assert_eq!(written("/test"), "/test");
        assert_eq!(
            written("please\n/TEST a, b/unit --no-cache\n\n/retest all\n/cancel c --from x"),
            "/test a b/unit; /retest --no-cache"
        );
        assert_eq!(written("/test all --from unit"), "/test all --from unit");
        assert_eq!(written("/test --nonsense"), "a command that could not be understood");
        assert_eq!(written("/retest a b c d e f g h i j"), "/retest a b c d e f g h and 2 more");
        // It is read again as what it was.
        let asked = parse("/test a b/unit\n/help --from");
        assert_eq!(parse(&asked.commands[0].to_string()).commands, asked.commands);
    }
}
