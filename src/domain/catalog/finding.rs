//! What is wrong with a connector's own files.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::yaml::Place;

/// Something wrong in one file, which the reader of the file alone can tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flaw {
    /// `None`: the file as a whole, or a format whose reader tells no places.
    pub place: Option<Place>,
    pub text: String,
    pub mend: String,
    /// Nobody can use what the file says, a registry least of all; else it is a remark.
    pub unusable: bool,
}

impl Flaw {
    /// The file can't be used.
    pub fn unusable(
        place: impl Into<Option<Place>>,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), text: text.into(), mend: mend.into(), unusable: true }
    }

    /// The file can be used all the same.
    pub fn remark(
        place: impl Into<Option<Place>>,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { unusable: false, ..Self::unusable(place, text, mend) }
    }
}

/// What is wrong with a connector's files; a finding, never a crash, and never a failure of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub path: String,
    /// Counted from 1; `None` for the file, or folder, as a whole.
    pub line: Option<u32>,
    pub column: Option<u32>,
    pub text: String,
    /// What to do about it; empty where the text says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

impl Finding {
    /// Of a file or folder as a whole.
    pub fn whole(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        Self { path, line: None, column: None, text, mend: String::new() }
    }

    pub fn of(path: &str, flaw: Flaw) -> Self {
        let (line, column) = (flaw.place.map(|at| at.line), flaw.place.map(|at| at.column));
        Self { path: path.to_owned(), line, column, text: flaw.text, mend: flaw.mend }
    }

    /// `path:line:column`, as editors and terminals make it a link.
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.path),
            (Some(line), None) => format!("{}:{line}", self.path),
            (None, _) => self.path.clone(),
        }
    }

    /// The text, and the mend if there is one.
    pub fn told(&self) -> String {
        if self.mend.is_empty() {
            return self.text.clone();
        }
        format!("{}; {}", self.text, self.mend)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.told())
    }
}
