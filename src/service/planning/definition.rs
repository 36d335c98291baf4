//! Everything that a plan was made of, written down: from it alone, without the repository and
//! without a network, the same is planned again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lean::Needed;
use super::snapshot::{Snapshot, Source};
use super::survey::{RepositoryFile, Standing, Terms};
use crate::domain::change::ChangeSet;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::plan::{Conflict, Merge};
use crate::domain::rules::PipelineTrigger;
use crate::domain::trigger::Scope;
use crate::domain::trust::Trust;
use crate::git::EntryKind;

/// What was read of one tree.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// The places of the files that were looked at.
    pub(super) asked: BTreeSet<usize>,
    pub(super) contents: BTreeMap<Source, Vec<u8>>,
    pub(super) answers: BTreeMap<String, BTreeMap<Source, Value>>,
}

/// What is planned again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wanted {
    /// As a run of the server asks for it.
    Scope { scope: Scope },
    /// As `test` was told to.
    Names { names: BTreeSet<ConnectorName> },
}

/// What was planned, and of what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    pub version: u32,
    /// Absent until something is planned of it.
    pub wanted: Option<Wanted>,
    /// Whose pipelines were planned; absent where a person asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<PipelineTrigger>,
    /// On whose word its code was to run. Trusted code's goes without saying: nothing of a definition
    /// is ever run, and its bytes are what they were before there was any other.
    #[serde(default = "unsaid", skip_serializing_if = "is_unsaid")]
    pub(super) trust: Trust,
    /// What the default branch said, where the base was another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) standing: Option<Standing>,
    /// Where the head's configuration was read, and the base's if there is one: in words.
    pub(super) at: String,
    pub(super) base_at: Option<String>,
    pub merge_base: Option<Sha>,
    pub change: ChangeSet,
    /// A repository file used instead of both sides' own.
    pub(super) file: Option<RepositoryFile>,
    head: Tree,
    base: Option<Tree>,
    tip: Option<Tree>,
    /// What was read of files, by the files' ids.
    contents: BTreeMap<String, Content>,
    /// What was read out of others, by the question and the files' ids.
    answers: BTreeMap<String, BTreeMap<String, Value>>,
    /// What inputs hold, by their parts.
    digests: BTreeMap<String, String>,
    /// What was planned of the head's merge with its base, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) merged: Option<Box<OfMerge>>,
    /// Why nothing was, if the two don't merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) conflict: Option<Conflict>,
    /// What of the trees its plans were made of, where that is known.
    #[serde(skip)]
    needed: Option<Needed>,
}

/// A merge, and what was read of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct OfMerge {
    pub(super) merge: Merge,
    pub(super) definition: Definition,
}

/// The files of a tree.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Tree {
    /// All of them; absent where they are the head's but for these:
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<Folder>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    with: Vec<String>,
    /// The ids of those that were looked at.
    ids: BTreeMap<String, String>,
    /// Symbolic links and submodules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    special: BTreeMap<String, Special>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Special {
    Link,
    Module,
}

/// Folders in folders, before what is below is written as paths: readers of JSON go 128 deep at most.
const DEEPEST: u32 = 60;

/// A folder's entries: folders, and files, which are null.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Folder(BTreeMap<String, Option<Folder>>);

/// Text as it is, all else in base64.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

const fn unsaid() -> Trust {
    Trust::Trusted
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_unsaid(trust: &Trust) -> bool {
    *trust == unsaid()
}

/// What a survey knows besides its trees.
pub(super) struct Basis<'s> {
    pub(super) at: &'s str,
    pub(super) base_at: Option<&'s str>,
    pub(super) merge_base: Option<&'s Sha>,
    pub(super) change: &'s ChangeSet,
    pub(super) file: Option<&'s RepositoryFile>,
    pub(super) terms: Terms,
    /// What the default branch says, where the base is another's.
    pub(super) standing: Option<&'s Standing>,
}

impl Definition {
    /// Raised when a definition is written differently.
    pub const VERSION: u32 = 1;

    /// What was read of head, base and the base's tip; `None` if that was not written down.
    pub(super) fn of(
        basis: &Basis<'_>,
        head: &Snapshot<'_>,
        (base, tip): (Option<&Snapshot<'_>>, Option<&Snapshot<'_>>),
    ) -> Option<Self> {
        drop(head.tape()?);
        let mut definition = Self {
            version: Self::VERSION,
            wanted: None,
            event: basis.terms.event,
            trust: basis.terms.trust,
            standing: basis.standing.cloned(),
            at: basis.at.to_owned(),
            base_at: basis.base_at.map(str::to_owned),
            merge_base: basis.merge_base.cloned(),
            change: basis.change.clone(),
            file: basis.file.cloned(),
            head: Tree::of(head, None),
            base: base.map(|base| Tree::of(base, Some(head))),
            tip: tip.map(|tip| Tree::of(tip, Some(head))),
            contents: BTreeMap::new(),
            answers: BTreeMap::new(),
            digests: BTreeMap::new(),
            merged: None,
            conflict: None,
            needed: None,
        };
        for tree in [Some(head), base, tip].into_iter().flatten() {
            let Some(tape) = tree.tape() else { continue };
            for (source, content) in &tape.contents {
                definition.contents.insert(id(source), Content::of(content));
            }
            for (question, answers) in &tape.answers {
                let all = definition.answers.entry(question.clone()).or_default();
                all.extend(answers.iter().map(|(source, answer)| (id(source), answer.clone())));
            }
        }
        Some(definition)
    }

    /// The same, of which this was planned, with what its inputs held.
    pub(super) fn planned<'p>(
        mut self,
        wanted: Wanted,
        digests: impl Iterator<Item = &'p BTreeMap<String, String>>,
    ) -> Self {
        self.wanted = Some(wanted);
        for known in digests {
            self.digests.extend(known.iter().map(|(part, digest)| (part.clone(), digest.clone())));
        }
        self
    }

    pub(super) fn with_merged(mut self, merged: OfMerge) -> Self {
        self.merged = Some(Box::new(merged));
        self
    }

    pub(super) fn with_conflict(self, conflict: Conflict) -> Self {
        Self { conflict: Some(conflict), ..self }
    }

    /// The same, of which no more than this was of use.
    pub(super) fn needing(self, needed: Needed) -> Self {
        Self { needed: Some(needed), ..self }
    }

    /// The files that were looked at, of any of its trees.
    pub(super) fn asked(&self) -> impl Iterator<Item = &str> {
        self.all_trees().flat_map(|tree| tree.ids.keys()).map(String::as_str)
    }

    fn all_trees(&self) -> impl Iterator<Item = &Tree> {
        std::iter::once(&self.head).chain(&self.base).chain(&self.tip)
    }

    /// The same without what was of no use; `None` if hardly anything was.
    pub(super) fn lean(&self) -> Option<Self> {
        let needed = self.needed.as_ref()?;
        let head = self.head.lean(needed);
        if head.count() > self.head.count() / 2 {
            return None;
        }
        let lean = |tree: &Tree| tree.lean(needed);
        let merged = self.merged.as_ref().map(|of| {
            let definition = of.definition.lean().unwrap_or_else(|| of.definition.clone());
            Box::new(OfMerge { merge: of.merge.clone(), definition })
        });
        let (base, tip) = (self.base.as_ref().map(lean), self.tip.as_ref().map(lean));
        let mut this = Self { head, base, tip, merged, ..self.clone() };
        let ids: BTreeSet<String> =
            this.all_trees().flat_map(|tree| tree.ids.values().cloned()).collect();
        this.contents.retain(|id, _| ids.contains(id));
        for answers in this.answers.values_mut() {
            answers.retain(|id, _| ids.contains(id));
        }
        this.answers.retain(|_, answers| !answers.is_empty());
        Some(this)
    }

    /// The same, of which only these connectors were of use.
    #[must_use]
    pub fn of_connectors(mut self, connectors: BTreeSet<ConnectorName>) -> Self {
        self.wanted = Some(Wanted::Names { names: connectors });
        self
    }

    pub(super) fn digests(&self) -> &BTreeMap<String, String> {
        &self.digests
    }

    pub(super) fn content(&self, source: &Source) -> Option<Vec<u8>> {
        match self.contents.get(&id(source))? {
            Content::Text(text) => Some(text.clone().into_bytes()),
            Content::Base64(text) => BASE64_STANDARD.decode(text).ok(),
        }
    }

    pub(super) fn answer<A: DeserializeOwned>(&self, question: &str, source: &Source) -> Option<A> {
        let answer = self.answers.get(question)?.get(&id(source))?;
        serde_json::from_value(answer.clone()).ok()
    }

    /// Head, base and the base's tip.
    pub(super) fn trees(&self) -> (Snapshot<'_>, Option<Snapshot<'_>>, Option<Snapshot<'_>>) {
        let mut paths = BTreeSet::new();
        if let Some(files) = &self.head.files {
            files.flatten("", &mut paths);
        }
        let tree = |tree: &Tree| tree.snapshot(self, &paths);
        (tree(&self.head), self.base.as_ref().map(tree), self.tip.as_ref().map(tree))
    }
}

impl Tree {
    fn of(tree: &Snapshot<'_>, head: Option<&Snapshot<'_>>) -> Self {
        let mut this = Self::default();
        match head {
            None => {
                let mut all = Folder::default();
                tree.paths.iter().for_each(|path| all.insert(path));
                this.files = Some(all);
            }
            Some(head) => {
                let gone = head.paths.iter().filter(|path| !tree.paths.has_file(path));
                this.without = gone.map(str::to_owned).collect();
                let more = tree.paths.iter().filter(|path| !head.paths.has_file(path));
                this.with = more.map(str::to_owned).collect();
            }
        }
        let special = |(path, kind): (&String, &EntryKind)| {
            let kind = match kind {
                EntryKind::Symlink => Special::Link,
                EntryKind::Submodule => Special::Module,
                EntryKind::File | EntryKind::Executable => return None,
            };
            Some((path.clone(), kind))
        };
        this.special = tree.specials().iter().filter_map(special).collect();
        if let Some(tape) = tree.tape() {
            let asked = tape.asked.iter().filter_map(|at| tree.file_at(*at));
            this.ids = asked.map(|(path, source)| (path.to_owned(), id(source))).collect();
        }
        this
    }

    fn lean(&self, needed: &Needed) -> Self {
        let wanted = |path: &&String| needed.has(path);
        let kept = |paths: &[String]| paths.iter().filter(wanted).cloned().collect();
        let files = self.files.as_ref().map(|files| {
            let mut paths = BTreeSet::new();
            files.flatten("", &mut paths);
            let mut all = Folder::default();
            paths.iter().filter(wanted).for_each(|path| all.insert(path));
            all
        });
        let ids = self.ids.iter().filter(|(path, _)| needed.has(path));
        let special = self.special.iter().filter(|(path, _)| needed.has(path));
        Self {
            files,
            without: kept(&self.without),
            with: kept(&self.with),
            ids: ids.map(|(path, id)| (path.clone(), id.clone())).collect(),
            special: special.map(|(path, special)| (path.clone(), *special)).collect(),
        }
    }

    fn count(&self) -> usize {
        self.files.as_ref().map_or(0, Folder::count)
    }

    fn snapshot<'d>(&self, definition: &'d Definition, head: &BTreeSet<String>) -> Snapshot<'d> {
        let gone: BTreeSet<&String> = self.without.iter().collect();
        let paths = head.iter().filter(|path| !gone.contains(path)).chain(&self.with);
        let source = |path: &String| match self.ids.get(path) {
            Some(id) => source(id),
            // Nobody looked at it; who does now finds nothing.
            None => Source::Disk(PathBuf::from(path)),
        };
        let files = paths.map(|path| (path.clone(), source(path))).collect();
        let kind = |special: &Special| match special {
            Special::Link => EntryKind::Symlink,
            Special::Module => EntryKind::Submodule,
        };
        let special = self.special.iter().map(|(path, special)| (path.clone(), kind(special)));
        Snapshot::told(definition, files, special.collect())
    }
}

impl Folder {
    fn insert(&mut self, path: &str) {
        self.insert_below(path, DEEPEST);
    }

    fn insert_below(&mut self, path: &str, deeper: u32) {
        match path.split_once('/').filter(|_| deeper > 0) {
            Some((folder, rest)) => {
                let entry = self.0.entry(folder.to_owned()).or_default();
                entry.get_or_insert_default().insert_below(rest, deeper - 1);
            }
            None => drop(self.0.entry(path.to_owned()).or_default()),
        }
    }

    fn count(&self) -> usize {
        self.0.values().map(|entry| entry.as_ref().map_or(1, Self::count)).sum()
    }

    fn flatten(&self, above: &str, paths: &mut BTreeSet<String>) {
        for (name, entry) in &self.0 {
            match entry {
                Some(folder) => folder.flatten(&format!("{above}{name}/"), paths),
                None => drop(paths.insert(format!("{above}{name}"))),
            }
        }
    }
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }
}

/// A blob's name, or where in the work tree a file lay that had none.
fn id(source: &Source) -> String {
    match source {
        Source::Blob(oid) => oid.to_string(),
        Source::Disk(path) => format!("disk:{}", path.display()),
    }
}

fn source(id: &str) -> Source {
    match id.strip_prefix("disk:") {
        Some(path) => Source::Disk(PathBuf::from(path)),
        None => match id.parse() {
            Ok(oid) => Source::Blob(oid),
            Err(_) => Source::Disk(PathBuf::from(id)),
        },
    }
}
