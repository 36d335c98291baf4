//! Compose files that steps name: read with the head's tree, since a plan is fixed when it is made.

use std::collections::{BTreeMap, BTreeSet};

use super::snapshot::Snapshot;
use super::survey::View;
use super::{PlanningError, fenced};
use crate::config::repository::{Invalid, Wrong};
use crate::domain::catalog::{Connector, Paths};
use crate::domain::impact::Impacts;
use crate::domain::names::StepId;
use crate::domain::rules::Pipeline;
use crate::domain::run::{Problem, ProblemKind};
use crate::domain::service::Service;
use crate::domain::service::compose::{self, Compose};
use crate::git::GitError;

/// How many notes on them a run shows.
const NOTES: usize = 10;

/// What the files say, by path; a file that is not there is not among them.
#[derive(Debug, Default)]
pub(super) struct Composed(BTreeMap<String, Result<Compose, Invalid>>);

impl Composed {
    /// Reads the files that any connector's steps name.
    pub(super) async fn read(head: &Snapshot<'_>, views: &[&View]) -> Result<Self, GitError> {
        let mut wanted = BTreeSet::new();
        for view in views {
            wanted.extend(files(view, &head.paths));
        }
        let mut read = BTreeMap::new();
        for path in wanted {
            // A link is not followed, and neither is a folder a file.
            if head.special(&path).is_none()
                && let Some(bytes) = head.file(&path).await?
            {
                let text = String::from_utf8_lossy(&bytes);
                let said = compose::read(&text).map_err(|wrong| invalid(&path, &text, wrong));
                read.insert(path, said);
            }
        }
        Ok(Self(read))
    }

    /// What those of the files say that connectors which run use, and that is of no use here.
    pub(super) fn notes(&self, view: &View, paths: &Paths, impacts: &Impacts) -> Vec<String> {
        let mut notes = BTreeSet::new();
        for impact in impacts.to_run() {
            let Some(connector) = view.head.connector(&impact.name) else { continue };
            let pipeline = view.rules.pipeline(connector);
            for file in pipeline.into_iter().flat_map(|pipeline| pipeline.compose.values()) {
                let path = path(paths, connector, file);
                if let Some(Ok(compose)) = self.0.get(&path) {
                    notes.extend(compose.notes.iter().map(|note| format!("`{path}` {note}")));
                }
            }
        }
        let more = notes.len().saturating_sub(NOTES);
        let more = (more > 0).then(|| format!("… and {more} more notes on compose files"));
        notes.into_iter().take(NOTES).chain(more).collect()
    }

    /// The services that a step's compose file lists; none if it names no such file.
    pub(super) fn of(
        &self,
        (pipeline, step): (&Pipeline, &StepId),
        connector: &Connector,
        paths: &Paths,
    ) -> Result<Vec<Service>, PlanningError> {
        let Some(file) = pipeline.compose.get(step) else { return Ok(Vec::new()) };
        let path = path(paths, connector, file);
        let (title, text, place) = match self.0.get(&path) {
            Some(Ok(compose)) => return Ok(compose.services.clone()),
            Some(Err(invalid)) => (
                invalid.title(),
                format!(
                    "The compose file that step `{step}` of `{}` names is not one of simple \
                     services:\n\n{}",
                    connector.name,
                    fenced(&invalid.to_string())
                ),
                Some((path, invalid.first_line())),
            ),
            None => (
                format!("the compose file `{path}` is not there"),
                format!(
                    "Step `{step}` of `{}` names it under `services`: add it, as a file and no \
                     link, or leave the step out where it is missing, with `when: {{ files: {file} \
                     }}`.",
                    connector.name
                ),
                None,
            ),
        };
        let kind = ProblemKind::Configuration;
        Err(PlanningError::Configuration(Box::new(Problem { kind, title, text, place })))
    }
}

/// The files that any connector's steps name.
pub(super) fn files(view: &View, paths: &Paths) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    if view.rules.pipelines.iter().all(|pipeline| pipeline.compose.is_empty()) {
        return wanted;
    }
    for connector in view.head.iter() {
        let pipeline = view.rules.pipeline(connector);
        let files = pipeline.into_iter().flat_map(|pipeline| pipeline.compose.values());
        wanted.extend(files.map(|file| path(paths, connector, file)));
    }
    wanted
}

/// The files that any of these pipelines' steps name, whichever connector they may come to run for.
pub(super) fn named<'c>(
    pipelines: &[&Pipeline],
    connectors: impl Iterator<Item = &'c Connector>,
    paths: &Paths,
) -> BTreeSet<String> {
    let files: BTreeSet<&String> = pipelines.iter().flat_map(|of| of.compose.values()).collect();
    if files.is_empty() {
        return BTreeSet::new();
    }
    connectors
        .flat_map(|connector| files.iter().map(move |file| path(paths, connector, file)))
        .collect()
}

/// Below the connector's root, or beside it if that is a file.
fn path(paths: &Paths, connector: &Connector, file: &str) -> String {
    let root = connector.root.as_str();
    let folder = if paths.has_file(root) {
        root.rsplit_once('/').map_or("", |(folder, _)| folder)
    } else {
        root
    };
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}

fn invalid(path: &str, text: &str, wrong: Vec<compose::Wrong>) -> Invalid {
    let lines: Vec<&str> = text.lines().collect();
    let errors = wrong.into_iter().map(|wrong| {
        let line = lines.get(wrong.place.line as usize - 1).copied().unwrap_or_default();
        Wrong::new(wrong.place, line, wrong.what, wrong.mend)
    });
    Invalid { file: path.to_owned(), errors: errors.collect() }
}
