//! What tools found in files: the model of a step's annotations, whatever format they came in.

use serde::{Deserialize, Serialize};

/// Annotations that are kept of a step, the gravest first; the count goes on.
pub const KEPT: usize = 200;
/// Bytes of a text, and of a name, that are kept.
pub const TEXT_MAX: usize = 4 * 1024;
pub const NAME_MAX: usize = 1024;

/// How grave a finding is. The gravest is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Error,
    Warning,
    Note,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// How a path stands in the head's tree. What is no file of it has no standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The change touches it.
    Changed,
    Unchanged,
}

/// One finding of a tool, at a place of a file if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    pub level: Level,
    /// The tool's rule, with the tool's name before it.
    pub rule: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl Annotation {
    /// `path:line`, as far as it is known.
    pub fn place(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        Some(self.line.map_or_else(|| path.clone(), |line| format!("{path}:{line}")))
    }

    /// Its texts, which may quote anything.
    pub fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.rule, &mut self.message].into_iter().chain(&mut self.path)
    }
}

/// All that was found by a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotations {
    pub errors: u32,
    pub warnings: u32,
    pub notes: u32,
    /// Those in files that the change touches first, then the gravest, otherwise as they came; not
    /// more than [`KEPT`].
    pub kept: Vec<Annotation>,
}

impl Annotations {
    pub fn count(&self, level: Level) -> u32 {
        match level {
            Level::Error => self.errors,
            Level::Warning => self.warnings,
            Level::Note => self.notes,
        }
    }

    pub fn total(&self) -> u32 {
        Level::ALL.iter().fold(0, |sum: u32, level| sum.saturating_add(self.count(*level)))
    }

    /// How many are not among those that are kept.
    pub fn more(&self) -> u32 {
        self.total().saturating_sub(u32::try_from(self.kept.len()).unwrap_or(u32::MAX))
    }

    /// Counts so many of a level.
    pub fn add(&mut self, level: Level, many: u32) {
        let count = match level {
            Level::Error => &mut self.errors,
            Level::Warning => &mut self.warnings,
            Level::Note => &mut self.notes,
        };
        *count = count.saturating_add(many);
    }

    /// `2 errors, 1 warning`.
    pub fn told(&self) -> String {
        let counted = |level: &Level| match self.count(*level) {
            0 => None,
            1 => Some(format!("1 {}", level.as_str())),
            many => Some(format!("{many} {}s", level.as_str())),
        };
        let told: Vec<String> = Level::ALL.iter().filter_map(counted).collect();
        if told.is_empty() { "nothing found".to_owned() } else { told.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_by_level() {
        let mut all = Annotations::default();
        assert_eq!(all.told(), "nothing found");
        all.add(Level::Warning, 2);
        all.add(Level::Error, 1);
        assert_eq!((all.told().as_str(), all.more()), ("1 error, 2 warnings", 3));
        all.add(Level::Error, u32::MAX);
        assert_eq!(all.total(), u32::MAX);
    }
}
