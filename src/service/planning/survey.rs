//! What is known of a change before anyone asks what should run.

mod branch;
mod here;
mod sides;

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

pub(super) use self::branch::of_branch;
pub use self::branch::schedules;
pub(super) use self::here::of_definition;
pub use self::here::{survey_here, survey_to_replay};
use self::sides::{Sides, other_secrets, showing};
pub(super) use self::sides::{Standing, Terms};
use super::PlanningError;
use super::answers::Answers;
use super::composed::Composed;
use super::definition::{Basis, Definition};
use super::documents::Documents;
use super::mentions::Mentions;
use super::snapshot::{Contents, Snapshot};
use super::sources::Sources;
use crate::config::repository::{self, FILE};
use crate::domain::builtin::Builtin;
use crate::domain::catalog::{Catalog, Connector, Paths, discover};
use crate::domain::change::ChangeSet;
use crate::domain::depends::{Dependencies, Explorer};
use crate::domain::detail::Detail;
use crate::domain::impact::{Explainer, Explanation, Impacts, explain, impacts};
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::rules::{RepoRules, Unclaimed};
use crate::domain::run::Selection;
use crate::domain::trust::Showing;
use crate::domain::unselected::Unselected;
use crate::git::{Comparison, EntryKind, GitError, Objects, TreeEntry};

/// A file used instead of the repository's own, on both sides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RepositoryFile {
    pub name: String,
    pub text: String,
}

/// One set of rules, applied to both sides.
#[derive(Debug)]
pub(super) struct View {
    pub(super) rules: RepoRules,
    pub(super) head: Catalog,
    pub(super) base: Option<Catalog>,
}

/// A change, the connectors of both sides, and what the change affects.
#[derive(Debug)]
pub struct Survey {
    pub merge_base: Option<Sha>,
    pub change: ChangeSet,
    pub impacts: Impacts,
    pub notes: Vec<String>,
    /// Of the head's tree.
    pub(super) paths: Paths,
    /// What they hold.
    pub(super) sources: Sources,
    /// By the head's own rules.
    pub(super) view: View,
    /// By the base's, if they select differently.
    pub(super) other: Option<View>,
    /// What the base's tip has, where that is not the merge base and a step asks for it.
    pub(super) tip: Option<Catalog>,
    /// What the default branch says, or the base for it, if there is either.
    pub(super) standing: Option<Standing>,
    /// The services that compose files of the head list.
    pub(super) composed: Composed,
    /// All that it was made of, if that was asked for.
    pub(super) definition: Option<Definition>,
    pub(super) terms: Terms,
    /// What whoever approves it is to look at.
    pub(super) showing: Option<Showing>,
}

impl Survey {
    pub fn rules(&self) -> &RepoRules {
        &self.view.rules
    }

    /// Every connector of the head, by name: those that the head's rules know, and those that only
    /// the base's do.
    pub fn connectors(&self) -> Vec<&Connector> {
        let mut all: Vec<&Connector> = self.view.head.iter().collect();
        let other = self.other.iter().flat_map(|other| other.head.iter());
        all.extend(other.filter(|connector| self.view.head.connector(&connector.name).is_none()));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// What is wrong with connectors' own files.
    pub fn findings(&self) -> &[crate::domain::catalog::Finding] {
        &self.view.head.findings
    }

    /// A connector of the head, and the view that knows it.
    pub(super) fn known(&self, name: &ConnectorName) -> Option<(&Connector, &View)> {
        let mut views = std::iter::once(&self.view).chain(&self.other);
        views.find_map(|view| Some((view.head.connector(name)?, view)))
    }

    /// A connector of the head by the name that people write.
    pub fn named(&self, name: &str) -> Option<&Connector> {
        let mut views = std::iter::once(&self.view).chain(&self.other);
        views.find_map(|view| view.head.named(name))
    }

    /// A connector as the base has it: its tip, if it was read, else the merge base.
    pub(super) fn before(&self, name: &ConnectorName) -> Option<&Connector> {
        if let Some(tip) = &self.tip {
            return tip.connector(name);
        }
        let mut views = std::iter::once(&self.view).chain(&self.other);
        views.find_map(|view| view.base.as_ref()?.connector(name))
    }

    /// Is there anything that the tree is compared with?
    pub(super) fn is_compared(&self) -> bool {
        self.view.base.is_some() || self.impacts.because.is_some()
    }

    /// Why a connector is selected, or why not; `None` if neither side has it.
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let mut views = std::iter::once(&self.view).chain(&self.other);
        views.find_map(|view| {
            let sides = (view.base.as_ref(), &view.head);
            explain(&view.rules, sides, &self.change, &self.impacts, name)
        })
    }

    /// What follows from paths that nothing claims: every connector, or none.
    pub fn unclaimed_selects_all(&self) -> bool {
        let mut views = std::iter::once(&self.view).chain(&self.other);
        views.any(|view| view.rules.unclaimed == Unclaimed::All)
    }

    pub(super) fn selection(&self, without_pipeline: Vec<String>) -> Selection {
        Selection {
            complete: self.impacts.because.is_none(),
            because: self.impacts.because.clone(),
            files: self.impacts.files,
            ignored: self.impacts.ignored.len(),
            unclaimed: self.impacts.unclaimed.iter().cloned().collect(),
            unclaimed_selects: Some(self.unclaimed_selects_all()),
            removed: self.impacts.removed().map(|impact| impact.name.to_string()).collect(),
            archived: self.impacts.archived.iter().map(ToString::to_string).collect(),
            without_pipeline,
            origin: self.view.rules.origin.clone(),
            notes: self.notes.clone(),
            detail: self.standing.as_ref().map_or(self.view.rules.detail, |said| said.detail),
            unselected: None,
            showing: self.showing.clone(),
        }
    }

    /// Why each connector is left out that the change does not select, or that has no job though it
    /// does: what people may ask of a run later.
    pub(super) fn unselected(&self, jobs: &BTreeSet<&ConnectorName>) -> Unselected {
        let explainer = |view| {
            let View { rules, head, base }: &View = view;
            Explainer::new(rules, (base.as_ref(), head), &self.change, &self.impacts)
        };
        let explainers: Vec<Explainer<'_>> =
            std::iter::once(&self.view).chain(&self.other).map(explainer).collect();
        let mut names: BTreeSet<&ConnectorName> =
            self.connectors().into_iter().map(|connector| &connector.name).collect();
        names.extend(self.impacts.removed().map(|impact| &impact.name));
        let selected = |name: &ConnectorName| self.impacts.connectors.contains_key(name);
        names.retain(|name| !(selected(name) && jobs.contains(name)));
        let explain = |name: &ConnectorName| {
            explainers.iter().find_map(|explainer| explainer.explain(name.as_str()))
        };
        Unselected::of(names.into_iter().filter_map(explain))
    }
}

/// What was read out of files already.
#[derive(Default)]
struct Known {
    documents: Documents,
    mentions: Mentions,
}

/// What the head is compared with.
struct Against<'r> {
    merge_base: Option<Sha>,
    change: ChangeSet,
    /// The tree that the change is counted from, if there is one.
    tree: Option<Snapshot<'r>>,
    /// The base's, if that is another.
    tip: Option<Snapshot<'r>>,
    /// The rules of the base's tip.
    rules: Option<Result<RepoRules, repository::Invalid>>,
    /// Where they were read, in words.
    at: Option<String>,
    /// What the default branch says, where the base is another's.
    standing: Option<Standing>,
}

impl Against<'_> {
    fn nothing() -> Self {
        let change = ChangeSet::Complete { files: Vec::new() };
        let (tree, tip, rules, at, standing) = (None, None, None, None, None);
        Self { merge_base: None, change, tree, tip, rules, at, standing }
    }

    /// All that was read of both sides, if it was written down.
    fn definition(
        &self,
        head: &Snapshot<'_>,
        (at, file): (&str, Option<&RepositoryFile>),
        terms: Terms,
    ) -> Option<Definition> {
        let (base_at, merge_base) = (self.at.as_deref(), self.merge_base.as_ref());
        let (change, standing) = (&self.change, self.standing.as_ref());
        let basis = Basis { at, base_at, merge_base, change, file, terms, standing };
        Definition::of(&basis, head, (self.tree.as_ref(), self.tip.as_ref()))
    }

    /// What the default branch says, or the base for it, if there is either.
    fn standing(&self) -> Option<Standing> {
        if let Some(standing) = &self.standing {
            return Some(standing.clone());
        }
        match self.rules.as_ref()? {
            Ok(base) => Some(Standing::of(base)),
            Err(_) => Some(Standing { secrets: Vec::new(), detail: Detail::default() }),
        }
    }
}

/// Surveys what a head commit changes since its merge base with `base`.
pub(super) async fn of_commits(
    objects: &Objects,
    base: &Sha,
    head: &Sha,
    on: (Terms, Option<&Sha>),
) -> Result<Survey, PlanningError> {
    commits(objects, (Some(base), head), (None, true), on).await
}

async fn commits(
    objects: &Objects,
    (base, head): (Option<&Sha>, &Sha),
    (file, record): (Option<&RepositoryFile>, bool),
    (terms, standing): (Terms, Option<&Sha>),
) -> Result<Survey, PlanningError> {
    let at = format!("at {}", head.short());
    let answers = Answers::open(objects.answers());
    let from = Contents { objects, answers: &answers, work_tree: None, record };
    let Some(base) = base else {
        let snapshot = Snapshot::new(from, objects.tree(head).await?);
        return Box::pin(survey(snapshot, &at, Against::nothing(), (file, terms))).await;
    };
    let (entries, compared) = tokio::join!(objects.tree(head), objects.changes(base, head));
    let entries = entries?;
    let before = compared.tree_before(&entries);
    let mut against = against(from, base, (compared, before), file).await?;
    if let Some(standing) = standing {
        let tree = Snapshot::new(Contents { record: false, ..from }, objects.tree(standing).await?);
        let rules = rules_of(&tree, &format!("at {}", standing.short()), None).await?;
        // What can't be read there declares nothing.
        let empty = RepoRules::empty(String::new());
        against.standing = Some(Standing::of(rules.as_ref().unwrap_or(&empty)));
    }
    Box::pin(survey(Snapshot::new(from, entries), &at, against, (file, terms))).await
}

/// The other side: the merge base's tree, which may be known already, and the rules of the base.
async fn against<'r>(
    from: Contents<'r>,
    base: &Sha,
    (compared, before): (Comparison, Option<Vec<TreeEntry>>),
    file: Option<&RepositoryFile>,
) -> Result<Against<'r>, PlanningError> {
    let Comparison { merge_base, change, .. } = compared;
    let from = Contents { work_tree: None, ..from };
    let objects = from.objects;
    let entries = match (before, &merge_base) {
        (Some(entries), _) => Some(entries),
        (None, Some(commit)) => Some(objects.tree(commit).await?),
        (None, None) => None,
    };
    // The same file on both sides: nothing to compare.
    let tip = match (file, &merge_base, &entries) {
        (Some(_), ..) => None,
        (None, Some(merge_base), Some(_)) if merge_base == base => None,
        (None, Some(merge_base), Some(entries)) => {
            Some(objects.tree_like(base, (merge_base, entries)).await?)
        }
        (None, ..) => Some(objects.tree(base).await?),
    };
    let tip = tip.map(|entries| Snapshot::new(from, entries));
    let tree = entries.map(|entries| Snapshot::new(from, entries));
    let at = format!("at {}", base.short());
    let rules = match tip.as_ref().or(tree.as_ref()) {
        Some(tip) if file.is_none() => Some(rules_of(tip, &at, None).await?),
        Some(_) | None => None,
    };
    Ok(Against { merge_base, change, tree, tip, rules, at: Some(at), standing: None })
}

async fn survey(
    head: Snapshot<'_>,
    at: &str,
    mut against: Against<'_>,
    (file, terms): (Option<&RepositoryFile>, Terms),
) -> Result<Survey, PlanningError> {
    let standing = against.standing();
    let sides = Sides::of(rules_of(&head, at, file).await?, against.rules.take(), terms)?;
    let Sides { rules, other, theirs, mut notes } = sides;
    let rules = rules.of_event(terms.event);
    let mut known = Known::default();
    let tree = against.tree.as_ref();
    let (view, mut impacts) = view(rules, &head, tree, &against.change, &mut known).await?;
    let declared = standing.as_ref().map(|said| said.secrets.as_slice());
    notes.extend(other_secrets(declared, &view.rules));
    let mut beside = None;
    if let Some(other) = other.filter(|other| !other.selects_as(&view.rules)) {
        // Other rules may ask for other facts.
        known.documents = Documents::default();
        let other = other.of_event(terms.event);
        let (theirs, found) = self::view(other, &head, tree, &against.change, &mut known).await?;
        let before = impacts.connectors.len();
        impacts = impacts.union(found);
        notes.push(terms.selected_by_both(impacts.connectors.len() - before));
        beside = Some(theirs);
    }
    let other = beside;
    // Versions are compared with what a merge would meet, which is the tip.
    let tip = match &against.tip {
        Some(tip) if view.rules.uses(Builtin::Qa) => {
            known.documents = Documents::default();
            Some(connectors(&view.rules, tip, &mut known).await?)
        }
        Some(_) | None => None,
    };
    let views: Vec<&View> = std::iter::once(&view).chain(&other).collect();
    let composed = Composed::read(&head, &views).await?;
    notes.extend(composed.notes(&view, &head.paths, &impacts));
    notes.extend_from_slice(view.head.dependencies().notes());
    notes.extend(told(&view.head.findings));
    head.keep_answers();
    let definition = against.definition(&head, (at, file), terms);
    let waits = terms.trust.is_guarded();
    let showing = waits.then(|| showing(&views, &theirs, &head.paths, &against.change));
    let (paths, sources) = head.into_parts();
    Ok(Survey {
        merge_base: against.merge_base,
        change: against.change,
        impacts,
        notes,
        paths,
        sources,
        view,
        other,
        tip,
        standing,
        composed,
        definition,
        terms,
        showing,
    })
}

/// The first of what is wrong with connectors' files.
fn told(findings: &[crate::domain::catalog::Finding]) -> Vec<String> {
    const MOST: usize = 10;
    let first = findings.iter().take(MOST).map(|f| format!("`{}`: {}", f.place(), f.told()));
    let more = findings.len().saturating_sub(MOST);
    let more = (more > 0).then(|| format!("… and {more} more findings in connectors' files"));
    first.chain(more).collect()
}

async fn rules_of(
    tree: &Snapshot<'_>,
    at: &str,
    file: Option<&RepositoryFile>,
) -> Result<Result<RepoRules, repository::Invalid>, PlanningError> {
    if let Some(file) = file {
        return Ok(repository::resolve(Some((&file.name, &file.text)), at, &tree.paths));
    }
    if let Some(what) = in_its_place(tree).await? {
        return Ok(Err(repository::Invalid::whole(FILE, what, "put the file itself there")));
    }
    let Some(bytes) = tree.file(FILE).await? else {
        return Ok(repository::resolve(None, at, &tree.paths));
    };
    let text = repository::decode(FILE, bytes);
    Ok(text.and_then(|text| repository::resolve(Some((FILE, &text)), at, &tree.paths)))
}

/// The path that a link at the top points to; `None` if it leads out of the tree.
fn beneath_the_top(target: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(target).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// What is where the repository's file belongs and is no file: whoever put it there does not mean
/// that there is none.
async fn in_its_place(tree: &Snapshot<'_>) -> Result<Option<String>, GitError> {
    let (folder, name) = FILE.rsplit_once('/').unwrap_or(("", FILE));
    if let Some(EntryKind::Symlink) = tree.special(folder) {
        let target = tree.file(folder).await?.unwrap_or_default();
        let target = String::from_utf8_lossy(&target);
        let behind = beneath_the_top(&target).is_some_and(|target| {
            tree.special(&target).is_some() || tree.paths.has_file(&format!("{target}/{name}"))
        });
        let what = format!("it lies behind the symbolic link `{folder}`, which is not followed");
        return Ok(behind.then_some(what));
    }
    let what = match tree.special(FILE) {
        Some(EntryKind::Symlink) => "it is a symbolic link, which is not followed",
        Some(EntryKind::Submodule) => "it is a submodule",
        Some(EntryKind::File | EntryKind::Executable) | None
            if tree.source(FILE).is_none() && tree.paths.has_folder(FILE) =>
        {
            "it is a folder"
        }
        Some(EntryKind::File | EntryKind::Executable) | None => return Ok(None),
    };
    Ok(Some(what.to_owned()))
}

async fn view(
    rules: RepoRules,
    head: &Snapshot<'_>,
    base: Option<&Snapshot<'_>>,
    change: &ChangeSet,
    known: &mut Known,
) -> Result<(View, Impacts), PlanningError> {
    let base_catalog = match base {
        Some(tree) => Some(catalog(&rules, tree, known).await?),
        None => None,
    };
    let head_catalog = catalog(&rules, head, known).await?;
    let impacts = impacts(&rules, base_catalog.as_ref(), &head_catalog, change);
    Ok((View { rules, head: head_catalog, base: base_catalog }, impacts))
}

async fn catalog(
    rules: &RepoRules,
    tree: &Snapshot<'_>,
    known: &mut Known,
) -> Result<Catalog, PlanningError> {
    let catalog = connectors(rules, tree, known).await?;
    let depends = dependencies(rules, &catalog, tree, known).await?;
    Ok(catalog.with_dependencies(depends))
}

/// The connectors of a tree, without what they are built from.
async fn connectors(
    rules: &RepoRules,
    tree: &Snapshot<'_>,
    known: &mut Known,
) -> Result<Catalog, PlanningError> {
    let draft = discover(rules, &tree.paths);
    let found = known.documents.of(rules, tree, &draft.wanted()).await?;
    Ok(draft.finish(|path| found.get(path)))
}

/// What the connectors of a tree are built from, as their files say.
async fn dependencies(
    rules: &RepoRules,
    catalog: &Catalog,
    tree: &Snapshot<'_>,
    known: &mut Known,
) -> Result<Dependencies, PlanningError> {
    let mut explorer = Explorer::new(rules, catalog, &tree.paths);
    loop {
        let wanted = explorer.wanted();
        if wanted.is_empty() {
            return Ok(explorer.finish());
        }
        let found = known.mentions.of(tree, &wanted).await?;
        for ((manifest, path), references) in wanted.iter().zip(found) {
            explorer.learn(*manifest, path, references);
        }
    }
}
