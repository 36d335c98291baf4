//! A change of code raises the version, so that what is released under a number stays what it was.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::domain::builtin::Verdict;
use crate::domain::change::{ChangeSet, ChangedFile};
use crate::domain::plan::below;

/// What begins like one of these, below the connector's root, is in no released image, or changes
/// nothing of what it does: Airbyte's own list.
const NO_CODE: &[&str] = &[
    "metadata.yaml",
    "acceptance-test-config.yml",
    "README.md",
    "bootstrap.md",
    ".dockerignore",
    "unit_tests",
    "integration_tests",
    "src/test",
    "src/test-integration",
    "src/test-performance",
    "build.gradle",
    "erd",
    "build_customization.py",
];
/// Files that are named in a plan; the rest is counted.
const NAMED: usize = 5;

/// What planning knew of the change, as far as versions go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// There is nothing that the tree is compared with.
    Nothing,
    /// It could not be known which files change.
    Unknown {
        because: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// The base's version, if the connector is there, and the files whose change calls for a higher
    /// one: the first few, and how many there are.
    Known {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        files: Vec<String>,
        count: usize,
        /// The connector itself is new.
        new: bool,
    },
}

/// The files of a change that call for a higher version of the connector at `root`: the first few,
/// and how many there are.
pub fn code_changes(change: &ChangeSet, root: &str) -> (Vec<String>, usize) {
    let paths = change.files().iter().flat_map(ChangedFile::paths);
    let mut code: Vec<&str> = paths
        .filter(|path| {
            below(root, path).is_some_and(|below| !NO_CODE.iter().any(|no| below.starts_with(no)))
        })
        .collect();
    code.sort_unstable();
    code.dedup();
    let count = code.len();
    (code.into_iter().take(NAMED).map(str::to_owned).collect(), count)
}

/// A version to compare: `1.2.3`, perhaps with `-rc.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version<'v> {
    numbers: [u64; 3],
    pre: Option<&'v str>,
}

impl<'v> Version<'v> {
    fn parse(text: &'v str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (text, None),
        };
        let mut parsed = [0; 3];
        let mut parts = numbers.split('.');
        for number in &mut parsed {
            *number = parts.next()?.parse().ok()?;
        }
        parts.next().is_none().then_some(Self { numbers: parsed, pre })
    }

    /// By the rules of Semantic Versioning.
    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre, other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(mine), Some(theirs)) => pre_releases(mine, theirs),
        })
    }

    fn is_candidate(&self) -> bool {
        self.pre.is_some_and(|pre| pre.starts_with("rc"))
    }
}

fn pre_releases(a: &str, b: &str) -> Ordering {
    let mut theirs = b.split('.');
    for mine in a.split('.') {
        let Some(their) = theirs.next() else { return Ordering::Greater };
        let ordering = match (mine.parse::<u64>(), their.parse::<u64>()) {
            (Ok(mine), Ok(their)) => mine.cmp(&their),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => mine.cmp(their),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    if theirs.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

/// Passed, or skipped; or what is wrong, and the mend.
pub(super) fn judge(change: &Change, head: Option<&str>) -> Result<Verdict, (String, String)> {
    let skipped = |why: &str| Ok(Verdict::Skipped(why.to_owned()));
    let (base, because) = match change {
        Change::Nothing => return skipped("there is no base to compare with"),
        Change::Known { count: 0, .. } => {
            return skipped("the change touches no code of this connector");
        }
        Change::Known { new: true, .. } => return Ok(Verdict::Passed),
        Change::Known { version, files, count, .. } => (version, told(files, *count)),
        Change::Unknown { version: None, because } => {
            return skipped(&format!("what the change touches is not known: {because}"));
        }
        Change::Unknown { version, because } => {
            (version, format!("what the change touches is not known ({because})"))
        }
    };
    let Some(head) = head else {
        return match base {
            Some(base) => {
                let text = format!("the base has version {base}, and here there is none");
                Err((text, "write the version, higher than the base's".to_owned()))
            }
            None => {
                skipped("neither side has a version (`attributes: { version: … }` of its rule)")
            }
        };
    };
    let Some(base) = base else {
        return skipped("the base has no version of it");
    };
    compare(base, head, &because)
}

fn told(files: &[String], count: usize) -> String {
    let named: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
    let more = count.saturating_sub(files.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if count == 1 { "changes" } else { "change" };
    format!("{}{more} {verb}", named.join(", "))
}

fn compare(base: &str, head: &str, because: &str) -> Result<Verdict, (String, String)> {
    let (Some(before), Some(now)) = (Version::parse(base), Version::parse(head)) else {
        if base != head && Version::parse(head).is_some() {
            return Ok(Verdict::Passed);
        }
        let text = format!("version `{head}` can't be compared with the base's `{base}`");
        return Err((text, "write a version such as `1.2.3`".to_owned()));
    };
    if now.compare(&before) != Ordering::Greater {
        let text = format!("version {head} is not above the base's {base}, and {because}");
        return Err((text, "raise `dockerImageTag` (or where the version stands)".to_owned()));
    }
    if before.is_candidate() && now.is_candidate() && before.numbers != now.numbers {
        let text = format!("{head} does not follow the release candidate {base}");
        let mend = "two candidates in a row share their first three numbers: release the first one";
        return Err((text, mend.to_owned()));
    }
    Ok(Verdict::Passed)
}
