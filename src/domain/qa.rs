//! `uses: qa`: what can be judged of a connector from its files alone.
//!
//! The judge is shown the files of the job's source one by one; what the base commit had comes with
//! the plan, as it was known when the plan was made.

mod closed;
mod docs;
mod links;
mod version;

use serde::{Deserialize, Serialize};

pub use self::version::{Change, code_changes};
use super::builtin::{Case, Report, Verdict};
use super::catalog::{Finding, Flaw, documentation_page};
use super::metadata;
use super::plan::{Plan, below};
use super::yaml::{self, Node, Place, Value};

/// Bytes of one file that are looked at.
pub const FILE_MAX: u64 = 16 << 20;
/// Bytes of the page of documentation that are kept.
const PAGE_MAX: usize = 4 << 20;
const METADATA: &str = "metadata.yaml";
const ICONS: [&str; 2] = ["icon.svg", "icon.png"];

/// What planning knew beside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// It follows Airbyte's layout: its page of documentation is among the job's files.
    pub airbyte: bool,
    /// Some connector of the repository has its icon beside its metadata.
    pub icons: bool,
    pub change: Change,
}

/// The judge of one connector.
#[derive(Debug)]
pub struct Qa<'p> {
    plan: &'p Plan,
    /// The bytes of `metadata.yaml`.
    metadata: Option<Vec<u8>>,
    /// The page that the metadata means, and what it holds.
    meant: Option<String>,
    page: Option<Vec<u8>>,
    /// Names of files directly in the root.
    beside: Vec<String>,
    links: links::Links,
}

impl<'p> Qa<'p> {
    pub fn new(plan: &'p Plan) -> Self {
        let (beside, links) = (Vec::new(), links::Links::default());
        Self { plan, metadata: None, meant: None, page: None, beside, links }
    }

    /// Looks at a file: its path in the tree, and the first [`FILE_MAX`] bytes of it.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.page(path, content);
        let Some(below) = below(self.plan.root(), path) else { return };
        if below == METADATA {
            // One byte more than can be parsed tells that it is too long.
            let content = &content[..content.len().min(yaml::MAX_BYTES + 1)];
            self.metadata = Some(content.to_vec());
            self.meant = meant(content);
        }
        if !below.contains('/') {
            self.beside.push(below.to_owned());
        }
        self.links.file(path, below, content);
    }

    /// May the page that the metadata means have come before the metadata? Then all files must be
    /// shown once more, to [`Qa::page`].
    pub fn lacks_page(&self) -> bool {
        self.meant.is_some() && self.page.is_none()
    }

    /// Looks at a file that may be the connector's page.
    pub fn page(&mut self, path: &str, content: &[u8]) {
        if self.meant.as_deref() == Some(path) {
            self.page = Some(content[..content.len().min(PAGE_MAX)].to_vec());
        }
    }

    /// Every check, in one order.
    pub fn finish(self) -> Report {
        let path = format!("{}/{METADATA}", self.plan.root());
        let path = path.trim_start_matches('/');
        let read = self.metadata.as_deref().map(|bytes| read(path, bytes));
        let about = Judged { qa: &self, path, document: read.as_ref() };
        let cases = vec![
            Case::new("metadata follows its definition", about.metadata()),
            Case::new("documentation page exists", about.page()),
            Case::new("changelog names the version", about.changelog()),
            Case::new("icon exists", about.icon()),
            Case::new("links are https", self.links.verdict()),
            Case::new("version is raised", about.version()),
        ];
        Report { suite: "qa", cases, note: None }
    }
}

/// The page of the repository that metadata means.
fn meant(bytes: &[u8]) -> Option<String> {
    let document = yaml::parse(std::str::from_utf8(bytes).ok()?).ok()?;
    documentation_page(document.get("data")?.get("documentationUrl")?.text()?)
}

/// The document, or the one thing that is wrong with the whole.
fn read(path: &str, bytes: &[u8]) -> Result<Node, Finding> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        let place = Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 };
        Finding::of(path, Flaw::unusable(place, "it is not UTF-8", "save it as UTF-8"))
    })?;
    yaml::parse(text)
        .map_err(|broken| Finding::of(path, Flaw::unusable(broken.place, broken.what, broken.mend)))
}

/// What the checks look at.
struct Judged<'a> {
    qa: &'a Qa<'a>,
    /// Of the metadata.
    path: &'a str,
    document: Option<&'a Result<Node, Finding>>,
}

impl<'a> Judged<'a> {
    fn is_airbyte(&self) -> bool {
        self.qa.plan.basis().is_some_and(|basis| basis.airbyte)
    }

    /// Airbyte's metadata, or why there is none.
    fn document(&self) -> Result<&'a Node, Verdict> {
        match self.document {
            None => Err(Verdict::Skipped(format!("there is no `{}`", self.path))),
            Some(Err(_)) => Err(Verdict::Skipped(format!("`{}` can't be read", self.path))),
            Some(Ok(node)) if self.is_airbyte() || metadata::is_airbyte(node) => Ok(node),
            Some(Ok(_)) => Err(Verdict::Skipped(format!("`{}` is not Airbyte's", self.path))),
        }
    }

    fn data(&self, key: &str) -> Option<&'a Node> {
        self.document().ok()?.get("data")?.get(key)
    }

    fn metadata(&self) -> Verdict {
        if let Some(Err(broken)) = self.document {
            return Verdict::Failed(vec![broken.clone()]);
        }
        let document = match self.document() {
            Ok(document) => document,
            Err(verdict) => return verdict,
        };
        let mut flaws = metadata::flaws(document);
        for flaw in closed::flaws(document) {
            // The same key may be unknown to both.
            if !flaws.iter().any(|known| known.place == flaw.place) {
                flaws.push(flaw);
            }
        }
        flaws.sort();
        Verdict::of(flaws.into_iter().map(|flaw| Finding::of(self.path, flaw)).collect())
    }

    /// The address of the documentation, and the page of this repository that it stands for.
    fn address(&self) -> Result<(&'a Node, String), Verdict> {
        let document = self.document()?;
        if !self.is_airbyte() {
            let why = "its rule does not follow Airbyte's layout (`conventions: airbyte`), by which \
                       its page is found";
            return Err(Verdict::Skipped(why.to_owned()));
        }
        let node = document.get("data").and_then(|data| data.get("documentationUrl"));
        let Some((node, url)) = node.and_then(|node| Some((node, node.text()?))) else {
            return Err(Verdict::Skipped("the metadata has no `documentationUrl`".to_owned()));
        };
        documentation_page(url).map(|page| (node, page)).ok_or_else(|| {
            Verdict::Skipped(format!("`{url}` does not stand for a page of this repository"))
        })
    }

    fn page(&self) -> Verdict {
        let (node, page) = match self.address() {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        if self.qa.page.is_some() {
            return Verdict::Passed;
        }
        let text = format!("`data.documentationUrl` stands for `{page}`, which is not there");
        let flaw = Flaw::unusable(node.place, text, "write the page, or mend the address");
        Verdict::Failed(vec![Finding::of(self.path, flaw)])
    }

    fn changelog(&self) -> Verdict {
        let (_, page) = match self.address() {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        let Some(content) = &self.qa.page else {
            return Verdict::Skipped(format!("`{page}` is not there"));
        };
        let Some(version) = self.data("dockerImageTag").and_then(Node::text) else {
            return Verdict::Skipped("the metadata has no `dockerImageTag`".to_owned());
        };
        docs::changelog(&page, content, version)
    }

    fn icon(&self) -> Verdict {
        if let Err(verdict) = self.document() {
            return verdict;
        }
        let named = self.data("icon").and_then(|node| Some((node, node.text()?)));
        let has = |name: &str| self.qa.beside.iter().any(|file| file == name);
        if ICONS.iter().copied().chain(named.map(|(_, name)| name)).any(has) {
            return Verdict::Passed;
        }
        if !self.qa.plan.basis().is_some_and(|basis| basis.icons) {
            let why = "no connector of this repository has its icon beside its metadata";
            return Verdict::Skipped(why.to_owned());
        }
        let mend = format!("add `{}/{}`", self.qa.plan.root(), ICONS[0]);
        let place = named.map(|(node, _)| node.place);
        Verdict::Failed(vec![Finding::of(
            self.path,
            Flaw::unusable(place, "there is no icon beside it", mend),
        )])
    }

    fn version(&self) -> Verdict {
        let required = self.data("ab_internal");
        let required = required.and_then(|n| n.get("requireVersionIncrementsInPullRequests"));
        if matches!(required.map(|node| &node.value), Some(Value::Bool(false))) {
            let why = "the metadata says `requireVersionIncrementsInPullRequests: false`";
            return Verdict::Skipped(why.to_owned());
        }
        let Some(basis) = self.qa.plan.basis() else {
            return Verdict::Skipped("the plan holds nothing to compare with".to_owned());
        };
        let place = self.data("dockerImageTag").map(|node| node.place);
        let path = if place.is_some() { self.path } else { self.qa.plan.root() };
        match version::judge(&basis.change, self.qa.plan.version()) {
            Ok(verdict) => verdict,
            Err((text, mend)) => {
                Verdict::Failed(vec![Finding::of(path, Flaw::unusable(place, text, mend))])
            }
        }
    }
}

#[cfg(test)]
mod tests;
