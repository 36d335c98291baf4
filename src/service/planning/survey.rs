//! What is known of a change before anyone asks what should run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::PlanningError;
use super::snapshot::{Snapshot, Source};
use crate::config::repository::{self, FILE};
use crate::domain::catalog::{Catalog, Connector, Facts, discover};
use crate::domain::change::{ChangeSet, ChangedFile};
use crate::domain::depends::{Dependencies, Explorer};
use crate::domain::impact::{Explainer, Explanation, Impacts, explain, impacts};
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::rules::{RepoRules, Unclaimed};
use crate::domain::run::Selection;
use crate::domain::unselected::Unselected;
use crate::git::{LocalRepo, Objects};

/// A file used instead of the repository's own, on both sides.
#[derive(Debug, Clone)]
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
    /// By the head's own rules.
    pub(super) view: View,
    /// By the base's, if they select differently.
    pub(super) other: Option<View>,
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
            unselected: None,
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

/// What the head is compared with.
struct Against<'r> {
    merge_base: Option<Sha>,
    change: ChangeSet,
    /// The tree that the change is counted from, if there is one.
    tree: Option<Snapshot<'r>>,
    /// The rules of the base's tip.
    rules: Option<Result<RepoRules, repository::Invalid>>,
}

impl Against<'_> {
    fn nothing() -> Self {
        let change = ChangeSet::Complete { files: Vec::new() };
        Self { merge_base: None, change, tree: None, rules: None }
    }
}

/// Surveys what a head commit changes since its merge base with `base`.
pub(super) async fn of_commits(
    objects: &Objects,
    base: &Sha,
    head: &Sha,
) -> Result<Survey, PlanningError> {
    commits(objects, Some(base), head, None).await
}

async fn commits(
    objects: &Objects,
    base: Option<&Sha>,
    head: &Sha,
    file: Option<&RepositoryFile>,
) -> Result<Survey, PlanningError> {
    let at = format!("at {}", head.short());
    let Some(base) = base else {
        let snapshot = Snapshot::commit(objects, head).await?;
        return survey(&snapshot, &at, Against::nothing(), file).await;
    };
    let against = async {
        let (merge_base, change) = objects.changes(base, head).await;
        against(objects, base, merge_base, change, file).await
    };
    let (snapshot, against) = tokio::join!(Snapshot::commit(objects, head), against);
    survey(&snapshot?, &at, against?, file).await
}

async fn against<'r>(
    objects: &'r Objects,
    base: &Sha,
    merge_base: Option<Sha>,
    change: ChangeSet,
    file: Option<&RepositoryFile>,
) -> Result<Against<'r>, PlanningError> {
    let tree = match &merge_base {
        Some(commit) => Some(Snapshot::commit(objects, commit).await?),
        None => None,
    };
    let at = format!("at {}", base.short());
    let rules = match (file, &merge_base, &tree) {
        // The same file on both sides: nothing to compare.
        (Some(_), ..) => None,
        (None, Some(merge_base), Some(tree)) if merge_base == base => {
            Some(rules_of(tree, &at, None).await?)
        }
        (None, ..) => Some(rules_of(&Snapshot::commit(objects, base).await?, &at, None).await?),
    };
    Ok(Against { merge_base, change, tree, rules })
}

/// Surveys the repository that one stands in: `head` (or the work tree, or in a bare repository
/// HEAD) against its merge base with `base`, or by itself.
pub async fn survey_here(
    repo: &LocalRepo,
    base: Option<&Sha>,
    head: Option<&Sha>,
    file: Option<&RepositoryFile>,
) -> Result<Survey, PlanningError> {
    if repo.work_tree().is_none() || head.is_some() {
        let head = match head {
            Some(head) => head.clone(),
            None => repo.resolve("HEAD").await?,
        };
        return commits(repo.objects(), base, &head, file).await;
    }
    let against = async {
        let Some(base) = base else { return Ok(Against::nothing()) };
        let objects = repo.objects();
        let (merge_base, change) = match repo.resolve("HEAD").await {
            Ok(tip) => match objects.merge_base(base, &tip).await? {
                Some(from) => (Some(from.clone()), repo.changes_since(&from).await),
                // Says why, too.
                None => objects.changes(base, &tip).await,
            },
            Err(error) => (None, ChangeSet::Everything { because: error.to_string() }),
        };
        against(objects, base, merge_base, change, file).await
    };
    let (snapshot, against) = tokio::join!(Snapshot::work_tree(repo), against);
    survey(&snapshot?, "in the work tree", against?, file).await
}

async fn survey(
    head: &Snapshot<'_>,
    at: &str,
    against: Against<'_>,
    file: Option<&RepositoryFile>,
) -> Result<Survey, PlanningError> {
    let rules = rules_of(head, at, file).await??;
    let mut notes = rules.notes.clone();
    let mut documents = Documents::default();
    let tree = against.tree.as_ref();
    let (view, found) = view(rules, head, tree, &against.change, &mut documents).await?;
    let mut impacts = found;
    let mut other = None;
    match against.rules {
        Some(Ok(base)) if !base.selects_as(&view.rules) => {
            let before = impacts.connectors.len();
            // Other rules may ask for other facts.
            let mut documents = Documents::default();
            let (theirs, found) =
                self::view(base, head, tree, &against.change, &mut documents).await?;
            impacts = impacts.union(found);
            let more = impacts.connectors.len() - before;
            notes.push(format!(
                "The change also changes which connectors are selected; selected is what either \
                 the base's or the head's rules select ({more} more than by the head's alone)."
            ));
            other = Some(theirs);
        }
        Some(Err(invalid)) if tree.is_some() => notes.push(format!(
            "The base's configuration is not valid and was left out: {}",
            invalid.title()
        )),
        Some(Ok(_) | Err(_)) | None => {}
    }
    notes.extend_from_slice(view.head.dependencies().notes());
    let findings = &view.head.findings;
    notes.extend(findings.iter().take(10).map(|f| format!("`{}`: {}", f.place(), f.told())));
    if findings.len() > 10 {
        notes.push(format!("… and {} more findings in connectors' files", findings.len() - 10));
    }
    let (merge_base, change) = (against.merge_base, against.change);
    Ok(Survey { merge_base, change, impacts, notes, view, other })
}

async fn rules_of(
    tree: &Snapshot<'_>,
    at: &str,
    file: Option<&RepositoryFile>,
) -> Result<Result<RepoRules, repository::Invalid>, PlanningError> {
    if let Some(file) = file {
        return Ok(repository::resolve(Some((&file.name, &file.text)), at, &tree.paths));
    }
    let Some(bytes) = tree.file(FILE).await? else {
        return Ok(repository::resolve(None, at, &tree.paths));
    };
    let text = repository::decode(FILE, bytes);
    Ok(text.and_then(|text| repository::resolve(Some((FILE, &text)), at, &tree.paths)))
}

/// Attribute files that were read already: both sides share most of them.
#[derive(Default)]
struct Documents(HashMap<Source, Arc<Facts>>);

impl Documents {
    /// What the attribute files of a snapshot say, by path.
    async fn of(
        &mut self,
        rules: &RepoRules,
        tree: &Snapshot<'_>,
        wanted: &BTreeSet<&str>,
        same: &(dyn Fn(&str) -> Option<Source> + Sync),
    ) -> Result<HashMap<String, Arc<Facts>>, PlanningError> {
        let mut found = HashMap::new();
        let mut missing = BTreeSet::new();
        for path in wanted {
            let sources = [same(path), tree.source(path)];
            match sources.into_iter().flatten().find_map(|source| self.0.get(&source)) {
                Some(document) => drop(found.insert((*path).to_owned(), Arc::clone(document))),
                None => drop(missing.insert(*path)),
            }
        }
        let contents = tree.read(&missing).await?;
        let named = rules.connectors.iter().flat_map(|rule| &rule.attributes);
        let asked: BTreeSet<&str> =
            named.flat_map(|rule| rule.paths.values()).map(String::as_str).collect();
        for path in missing {
            let Some(source) = tree.source(path) else { continue };
            let Some(content) = contents.get(&source) else { continue };
            let document = Arc::new(Facts::read(path, content, asked.iter().copied()));
            found.insert(path.to_owned(), Arc::clone(&document));
            self.0.insert(source, document);
        }
        Ok(found)
    }
}

async fn view(
    rules: RepoRules,
    head: &Snapshot<'_>,
    base: Option<&Snapshot<'_>>,
    change: &ChangeSet,
    documents: &mut Documents,
) -> Result<(View, Impacts), PlanningError> {
    let base_catalog = match base {
        Some(tree) => {
            let draft = discover(&rules, &tree.paths);
            let wanted = draft.wanted().into_iter().collect();
            let found = documents.of(&rules, tree, &wanted, &|_| None).await?;
            let catalog = draft.finish(|path| found.get(path));
            let depends = dependencies(&rules, &catalog, tree).await?;
            Some(catalog.with_dependencies(depends))
        }
        None => None,
    };
    let changed: BTreeSet<&str> = change.files().iter().flat_map(ChangedFile::paths).collect();
    // What did not change since the base need not be read from the work tree again.
    let same = |path: &str| {
        let unchanged = change.is_complete() && !changed.contains(path);
        base.filter(|_| unchanged).and_then(|base| base.source(path))
    };
    let draft = discover(&rules, &head.paths);
    let wanted = draft.wanted().into_iter().collect();
    let found = documents.of(&rules, head, &wanted, &same).await?;
    let head_catalog = draft.finish(|path| found.get(path));
    let depends = dependencies(&rules, &head_catalog, head).await?;
    let head_catalog = head_catalog.with_dependencies(depends);
    let impacts = impacts(&rules, base_catalog.as_ref(), &head_catalog, change);
    Ok((View { rules, head: head_catalog, base: base_catalog }, impacts))
}

/// What the connectors of a tree are built from, as their files say.
async fn dependencies(
    rules: &RepoRules,
    catalog: &Catalog,
    tree: &Snapshot<'_>,
) -> Result<Dependencies, PlanningError> {
    let mut explorer = Explorer::new(rules, catalog, &tree.paths);
    loop {
        let wanted = explorer.wanted();
        if wanted.is_empty() {
            return Ok(explorer.finish());
        }
        let found = tree.references(&wanted).await?;
        for (manifest, path) in wanted {
            let key = (manifest, path);
            let references = found.get(&key).map(Vec::as_slice).unwrap_or_default();
            explorer.learn(key.0, &key.1, references);
        }
    }
}
