//! What people ask for in comments and by buttons.

use super::trigger::Target;

/// One command of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// All that is affected, every connector, or these.
    Test(Tested),
    /// What did not succeed on this head and what never ran; limited to these if any are named.
    Retest(Vec<Target>),
    /// Everything that runs or waits; limited to these if any are named.
    Cancel(Vec<Target>),
    /// Approve a commit: understood, and refused until approvals exist.
    OkToTest(Option<String>),
    Help,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tested {
    Affected,
    All,
    Named(Vec<Target>),
}

/// What a comment asks for: commands in order, and what was wrong with lines that look like ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub commands: Vec<Command>,
    /// `--no-cache`
    pub no_cache: bool,
    /// `--from <step>`
    pub from: Option<String>,
    /// A sentence each: what is refused and what to write instead.
    pub problems: Vec<String>,
}

impl Asked {
    /// Is there nothing in it for us?
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.problems.is_empty()
    }
}

/// Reads a comment as CommonMark: a command stands at the start of a line, at most three blanks
/// before it; never inside code blocks, inline code, quotes or HTML comments (design §5.3).
pub fn parse(_body: &str) -> Asked {
    todo!()
}
