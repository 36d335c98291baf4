//! What of a definition is needed to plan the same again: of a tree of tens of thousands of files what
//! concerns the connectors that are planned, and the signs by which its layout is known. Nothing is
//! left out that was not seen to be of no use: what is left is planned once, and only if the same
//! comes of it does it stand for the whole.

use std::collections::BTreeSet;

use super::definition::Definition;
use super::sources::PARTS;
use super::survey::{Survey, View};
use super::{PlannedJob, plan_again};
use crate::config::repository::{FILE, signs};
use crate::domain::catalog::{Catalog, Connector, Paths};
use crate::domain::change::ChangedFile;
use crate::domain::names::ConnectorName;
use crate::domain::plan::Plan;

/// A connector's folder with more files is not kept whole.
const WHOLE: usize = 1000;
/// Which of a tree's paths are needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Needed {
    files: BTreeSet<String>,
    /// With all that is in them.
    folders: BTreeSet<String>,
}

impl Needed {
    /// What the plans of these jobs were made of.
    pub(super) fn of(survey: &Survey, jobs: &[&PlannedJob], made_of: &Definition) -> Self {
        let mut needed = Self::default();
        needed.folder(FILE.rsplit_once('/').map_or("", |(folder, _)| folder));
        needed.files.extend(signs(&survey.paths).into_iter().map(str::to_owned));
        let changed = survey.change.files().iter().flat_map(ChangedFile::paths);
        needed.files.extend(changed.map(str::to_owned));
        let mut names: BTreeSet<&ConnectorName> = survey.impacts.connectors.keys().collect();
        names.extend(&survey.impacts.archived);
        names.extend(jobs.iter().map(|job| &job.connector));
        let catalogs = || {
            let views = std::iter::once(&survey.view).chain(&survey.other);
            let sides = |view| {
                let View { head, base, .. }: &View = view;
                std::iter::once(head).chain(base)
            };
            views.flat_map(sides).chain(&survey.tip)
        };
        for catalog in catalogs() {
            let known = names.iter().filter_map(|name| catalog.connector(name));
            let twins = known.clone().filter_map(|one| catalog.connector(one.twin.as_ref()?));
            // Whether anybody has a picture is asked of all.
            let pictured = catalog.iter().find(|one| one.icon.is_some());
            known.chain(twins).chain(pictured).for_each(|one| needed.connector(one, &survey.paths));
        }
        needed.conditions(survey, jobs);
        let mut within: BTreeSet<&str> = BTreeSet::new();
        for input in jobs.iter().flat_map(|job| &job.plan.inputs().paths) {
            within.insert(input);
            needed.entries(input, &survey.paths);
        }
        let heads: Vec<&Catalog> = catalogs().collect();
        for asked in made_of.asked() {
            let of_use = within.contains("")
                || above(asked).any(|path| within.contains(path))
                // What belongs to nobody may be anybody's.
                || heads.iter().all(|catalog| catalog.claims(asked).is_empty());
            if of_use {
                needed.files.insert(asked.to_owned());
            }
        }
        needed
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains(path) || above(path).any(|folder| self.folders.contains(folder))
    }

    fn folder(&mut self, folder: &str) {
        self.folders.insert(folder.to_owned());
    }

    fn connector(&mut self, connector: &Connector, paths: &Paths) {
        let root = &connector.root;
        let own = [&connector.marker, &connector.attribute_file, &connector.icon, &connector.page];
        self.files.extend(own.into_iter().flatten().cloned());
        self.files.insert(root.clone());
        if !root.is_empty() && paths.within(root).len() <= WHOLE {
            self.folder(root);
        } else {
            self.entries(root, paths);
        }
    }

    /// What steps look for in folders that are not kept whole.
    fn conditions(&mut self, survey: &Survey, jobs: &[&PlannedJob]) {
        for job in jobs {
            let Some((connector, view)) = survey.known(&job.connector) else { continue };
            let pipeline = view.rules.pipeline(connector).into_iter();
            let found = pipeline.flat_map(|pipeline| pipeline.when.values());
            let found = found.filter_map(|when| when.file(connector, &survey.paths));
            self.files.extend(found.map(str::to_owned));
        }
    }

    /// One file of each entry of a folder, by which its parts are told.
    fn entries(&mut self, folder: &str, paths: &Paths) {
        self.files.insert(folder.to_owned());
        let skip = if folder.is_empty() { 0 } else { folder.len() + 1 };
        let mut last = None;
        let mut count = 0;
        for path in paths.within(folder) {
            let rest = path.get(skip..).unwrap_or_default();
            let entry = rest.split('/').next();
            if entry != last {
                last = entry;
                count += 1;
                self.files.insert(path.clone());
            }
            if count > PARTS {
                // So many are told as one, and these tell that they are so many.
                return;
            }
        }
    }
}

/// A path, and the folders above it.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let cuts = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
    cuts.chain([path])
}

/// The least of the definition of which the same plans come; itself, if that is all of it.
pub async fn lean<'p>(
    definition: Box<Definition>,
    plans: impl Iterator<Item = &'p Plan>,
) -> Box<Definition> {
    let Some(lean) = definition.lean() else { return definition };
    let Ok(again) = Box::pin(plan_again(&lean)).await else { return definition };
    let again: Vec<&Plan> = again.jobs.iter().map(|job| &job.plan).collect();
    if again == plans.collect::<Vec<_>>() { Box::new(lean) } else { definition }
}
