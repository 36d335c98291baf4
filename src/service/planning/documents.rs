//! Attribute files: read once for both sides and both sets of rules, which share most of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::PlanningError;
use super::snapshot::{Snapshot, Source};
use crate::domain::catalog::{Document, Facts};
use crate::domain::rules::RepoRules;

#[derive(Default)]
pub(super) struct Documents(HashMap<(String, Source), Arc<Facts>>);

impl Documents {
    /// What the attribute files of a snapshot say, by path.
    pub(super) async fn of(
        &mut self,
        rules: &RepoRules,
        tree: &Snapshot<'_>,
        wanted: &[&str],
    ) -> Result<HashMap<String, Arc<Facts>>, PlanningError> {
        let named = rules.connectors.iter().flat_map(|rule| &rule.attributes);
        let paths: BTreeSet<&str> =
            named.flat_map(|rule| rule.paths.values()).map(String::as_str).collect();
        let mut by_question: BTreeMap<String, Vec<(&str, &Source)>> = BTreeMap::new();
        for path in wanted {
            if let Some(source) = tree.source(path) {
                by_question.entry(question(path, &paths)).or_default().push((path, source));
            }
        }
        let mut all = HashMap::with_capacity(wanted.len());
        for (question, files) in by_question {
            let key = |source: &Source| (question.clone(), source.clone());
            // They are all read in the same way.
            let Some((like, _)) = files.first() else { continue };
            let answer = |text: &[u8]| Facts::read(like, text, paths.iter().copied());
            let sources = files.iter().map(|(_, source)| *source);
            let unknown = sources.filter(|source| !self.0.contains_key(&key(source)));
            for (source, facts) in tree.ask(&question, unknown, answer).await? {
                self.0.insert(key(&source), Arc::new(facts));
            }
            for (path, source) in files {
                if let Some(facts) = self.0.get(&key(source)) {
                    all.insert(path.to_owned(), Arc::clone(facts));
                }
            }
        }
        Ok(all)
    }
}

/// How the file is read, and what is wanted of it.
fn question(path: &str, paths: &BTreeSet<&str>) -> String {
    let how = if Document::is_toml(path) { "toml" } else { "yaml" };
    let mut wanted = Sha256::new();
    for path in paths {
        wanted.update(path);
        wanted.update([0]);
    }
    let wanted = hex::encode(wanted.finalize());
    format!("attributes:{how}:{}", &wanted[..16])
}
