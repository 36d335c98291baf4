//! What a connector's image must answer: Airbyte's protocol, judged as it is spoken.
//!
//! Nothing is collected: each line is judged as it comes, and what a later question needs of the
//! earlier ones is kept as counts and digests.

mod check;
pub mod config;
mod cursor;
mod discover;
mod expansion;
mod expected;
mod formats;
mod lines;
mod message;
mod parts;
mod read;
mod schema;
mod secrets;
mod spec;
mod state;

use std::time::Duration;

pub use self::check::Check;
pub use self::discover::{Catalog, Discover, Stream};
pub use self::expected::Expected;
pub use self::lines::{LINE_MAX, Line, Lines};
pub use self::message::{Heard, Message, NewConfig, Record, heard};
pub use self::read::{Read, impossible, missing, skipped, unfinished};
pub use self::secrets::Secrets;
pub use self::spec::Spec;
pub use self::state::States;
use super::builtin::{Case, Verdict};
use super::catalog::Finding;
use super::time::human;

/// How a call of the image ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Exited {
        code: i64,
        out_of_memory: bool,
    },
    TimedOut(Duration),
    /// It printed a line of so many bytes.
    TooLong(u64),
    /// It could not be called so, in words.
    Unfit(String),
}

impl End {
    /// Did it end by itself, and well?
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Exited { code: 0, .. })
    }

    /// As a case.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Exited { code: 0, .. } => Verdict::Passed,
            Self::Exited { code, out_of_memory: true } => {
                let mend = "give the step more memory with `resources`";
                problem(format!("it exited with code {code}: out of memory"), mend)
            }
            Self::Exited { code, .. } => {
                problem(format!("it exited with code {code}"), "its log says why")
            }
            Self::TimedOut(limit) => {
                let text = format!("it did not end within {}", human(*limit));
                problem(text, "make it faster, or raise `timeout_seconds` of the test")
            }
            Self::TooLong(bytes) => {
                let most = LINE_MAX >> 20;
                let text =
                    format!("it printed a line of {} MiB; a line may have {most} MiB", bytes >> 20);
                problem(text, "print smaller messages, each on a line of its own")
            }
            Self::Unfit(why) => problem(why.clone(), ""),
        }
    }
}

/// The test that a case belongs to, as its name begins.
#[derive(Debug, Clone, Copy)]
pub struct Named<'n>(pub &'n str);

impl Named<'_> {
    /// A case of the test.
    pub fn case(self, rule: &str, verdict: Verdict) -> Case {
        Case::new(format!("{}: {rule}", self.0), verdict)
    }
}

/// Something that is wrong with what an image says: it stands in no file.
fn problem(text: String, mend: &str) -> Verdict {
    let finding = Finding { mend: mend.to_owned(), ..Finding::whole("", text) };
    Verdict::Failed(vec![finding])
}

/// The same of several things; passed if there are none.
fn problems(told: impl IntoIterator<Item = String>) -> Verdict {
    Verdict::of(told.into_iter().map(|text| Finding::whole("", text)).collect())
}

/// Did a call keep its configuration's secrets?
pub fn keeps_secrets(named: Named<'_>, secrets: &Secrets) -> Case {
    let verdict = match secrets.printed() {
        Some(0) => Verdict::Passed,
        Some(lines) => {
            let text = format!("{lines} lines held a value {}", secrets.which());
            problem(text, "print no configuration: its log is read by others")
        }
        None => {
            Verdict::Skipped("its SPEC marks nothing in the configuration as secret".to_owned())
        }
    };
    named.case("keeps secrets", verdict)
}

#[cfg(test)]
mod tests;
