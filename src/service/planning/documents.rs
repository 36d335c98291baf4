//! Attribute files: parsed once for both sides and both sets of rules, which share most of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::PlanningError;
use super::snapshot::{Snapshot, Source};
use crate::domain::catalog::Document;
use crate::domain::rules::RepoRules;

type Parsed = Arc<Result<Document, String>>;

#[derive(Default)]
pub(super) struct Documents(HashMap<(String, Source), Parsed>);

impl Documents {
    /// The documents of a snapshot, by path, with the attributes that the rules name.
    pub(super) async fn of(
        &mut self,
        rules: &RepoRules,
        tree: &Snapshot<'_>,
        wanted: &[&str],
    ) -> Result<HashMap<String, Parsed>, PlanningError> {
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
            let answer =
                |text: &[u8]| Document::parse(like, text).map(|d| d.cut_to(paths.iter().copied()));
            let sources = files.iter().map(|(_, source)| *source);
            let unknown = sources.filter(|source| !self.0.contains_key(&key(source)));
            for (source, document) in tree.ask(&question, unknown, answer).await? {
                self.0.insert(key(&source), Arc::new(document));
            }
            for (path, source) in files {
                if let Some(document) = self.0.get(&key(source)) {
                    all.insert(path.to_owned(), Arc::clone(document));
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
