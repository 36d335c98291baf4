//! The failpoints of a build with debug assertions.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::Deed;

/// Says where the program dies: a [`Failpoint`] in words. For tests alone.
pub const VARIABLE: &str = "CHECKVALVE_FAILPOINT";

/// On which side of a deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Commit, Self::Call, Self::Start, Self::Write, Self::Keep, Self::Tag, Self::Build];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Call => "call",
            Self::Start => "start",
            Self::Write => "write",
            Self::Keep => "keep",
            Self::Tag => "tag",
            Self::Build => "build",
        }
    }
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// The n-th time that the program comes by, at places whose name contains `at`: `commit-before:3`, or
/// `commit-before:3:store/jobs.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failpoint {
    pub deed: Deed,
    pub side: Side,
    /// From 1 on.
    pub nth: u32,
    /// Empty: any place.
    pub at: String,
}

impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deed, side, nth, at } = self;
        write!(f, "{}-{}:{nth}", deed.as_str(), side.as_str())?;
        if at.is_empty() { Ok(()) } else { write!(f, ":{at}") }
    }
}

impl FromStr for Failpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let names = || Deed::ALL.into_iter().flat_map(|deed| Side::ALL.map(|side| (deed, side)));
        let written = |(deed, side): (Deed, Side)| format!("{}-{}", deed.as_str(), side.as_str());
        let Some((deed, side)) = names().find(|pair| written(*pair) == name) else {
            let known = names().map(written).collect::<Vec<_>>().join(", ");
            return Err(format!("`{text}`: there is no failpoint `{name}`; there are {known}"));
        };
        let nth = parts.next().and_then(|nth| nth.parse().ok()).filter(|nth| *nth > 0);
        let nth = nth.ok_or_else(|| format!("`{text}`: write `{name}:1` for the first time"))?;
        Ok(Self { deed, side, nth, at: parts.next().unwrap_or_default().to_owned() })
    }
}

/// A failpoint, and how often the program has come by.
#[derive(Debug)]
struct Armed {
    failpoint: Failpoint,
    passed: AtomicU32,
}

impl Armed {
    fn is_due(&self, deed: Deed, side: Side, place: &str) -> bool {
        let Failpoint { deed: its_deed, side: its_side, nth, at } = &self.failpoint;
        (deed, side) == (*its_deed, *its_side)
            && place.contains(at.as_str())
            && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    }

    fn pass(&self, deed: Deed, side: Side, place: &str) {
        if self.is_due(deed, side, place) {
            eprintln!("{VARIABLE}={}: killed at {place}", self.failpoint);
            // Nothing is flushed, dropped or told to anybody.
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let read = || {
        let failpoint = crate::ambient::env(VARIABLE)?.parse();
        let failpoint = failpoint.unwrap_or_else(|why| {
            eprintln!("{VARIABLE}={why}");
            std::process::exit(2)
        });
        Some(Armed { failpoint, passed: AtomicU32::new(0) })
    };
    ARMED.get_or_init(read).as_ref()
}

/// Does `work`. A test may have the program die before or after it, at a `place` that it chose.
pub fn around<F: Future>(
    deed: Deed,
    place: impl FnOnce() -> String,
    work: F,
) -> impl Future<Output = F::Output> {
    let armed = armed().map(|armed| (armed, place()));
    // On the heap: what is done is large already.
    let work = Box::pin(work);
    async move {
        if let Some((armed, place)) = &armed {
            armed.pass(deed, Side::Before, place);
        }
        let done = work.await;
        if let Some((armed, place)) = &armed {
            armed.pass(deed, Side::After, place);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_read_as_it_is_written() {
        for text in ["commit-before:3", "call-after:1:POST /app", "write-before:2:a:b"] {
            let failpoint: Failpoint = text.parse().unwrap();
            assert_eq!(failpoint.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_failpoint_is_said_with_what_there_is() {
        let told = |text: &str| text.parse::<Failpoint>().unwrap_err();
        let unknown = told("commit:3");
        assert!(
            unknown.contains("there is no failpoint `commit`; there are commit-before, commit-")
        );
        for text in ["start-after", "start-after:", "start-after:0", "start-after:x:y"] {
            assert!(told(text).ends_with("write `start-after:1` for the first time"), "{text}");
        }
    }

    #[test]
    fn only_its_own_passes_count_and_one_of_them_is_due() {
        let failpoint = "write-after:2:report".parse().unwrap();
        let armed = Armed { failpoint, passed: AtomicU32::new(0) };
        let passes = [
            (Deed::Write, Side::After, "report.json", false),
            (Deed::Write, Side::Before, "report.json", false),
            (Deed::Commit, Side::After, "report.json", false),
            (Deed::Write, Side::After, "log.txt", false),
            (Deed::Write, Side::After, "a/report.html", true),
            (Deed::Write, Side::After, "a/report.html", false),
        ];
        for (nth, (deed, side, place, due)) in passes.into_iter().enumerate() {
            assert_eq!(armed.is_due(deed, side, place), due, "the {nth}th");
        }
    }
}
