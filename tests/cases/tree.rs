//! Trees in memory, and what Checkvalve makes of two of them: recognised, without any file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use checkvalve::config::repository::resolve;
use checkvalve::domain::catalog::{Catalog, Facts, Paths, discover};
use checkvalve::domain::change::{ChangeSet, ChangedFile};
use checkvalve::domain::depends::{Explorer, references};
use checkvalve::domain::impact::{Impacts, impacts};
use checkvalve::domain::rules::RepoRules;

/// Path → content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    pub(crate) fn put(&mut self, path: impl Into<String>, content: impl Into<String>) {
        self.0.insert(path.into(), content.into());
    }

    /// Leaves what is there.
    pub(crate) fn fill(&mut self, path: &str) {
        if !self.0.contains_key(path) {
            self.put(path, filler(path));
        }
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }

    fn paths(&self) -> Paths {
        Paths::new(self.0.keys().cloned().collect())
    }

    fn rules(&self) -> Option<RepoRules> {
        resolve(None, "here", &self.paths()).ok()
    }

    fn catalog(&self, rules: &RepoRules) -> Catalog {
        let paths = self.paths();
        let draft = discover(rules, &paths);
        let named = rules.connectors.iter().flat_map(|rule| &rule.attributes);
        let asked: Vec<&str> =
            named.flat_map(|rule| rule.paths.values()).map(String::as_str).collect();
        let read = |path: &str| {
            let text = self.0.get(path)?.as_bytes();
            Some((path.to_owned(), Arc::new(Facts::read(path, text, asked.iter().copied()))))
        };
        let documents: HashMap<_, _> = draft.wanted().into_iter().filter_map(read).collect();
        let catalog = draft.finish(|path| documents.get(path));
        let mut explorer = Explorer::new(rules, &catalog, &paths);
        loop {
            let wanted = explorer.wanted();
            if wanted.is_empty() {
                break;
            }
            for (manifest, path) in wanted {
                let text = self.0.get(&path).map(String::as_bytes).unwrap_or_default();
                explorer.learn(manifest, &path, Some(references(manifest, text).into()));
            }
        }
        let dependencies = explorer.finish();
        catalog.with_dependencies(dependencies)
    }
}

/// Something that a file of this name may hold.
fn filler(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("go") => "package filler\n".to_owned(),
        Some("toml") => "[filler]\n".to_owned(),
        Some("py") => "FILLER = 1\n".to_owned(),
        _ => "# filler\n".to_owned(),
    }
}

/// By the rules of both sides, as the program does it.
pub(crate) fn affected(base: &Tree, head: &Tree, files: Vec<ChangedFile>) -> Impacts {
    let change = ChangeSet::Complete { files };
    let by = |rules: &RepoRules| {
        impacts(rules, Some(&base.catalog(rules)), &head.catalog(rules), &change)
    };
    let rules = head.rules().unwrap();
    let found = by(&rules);
    match base.rules() {
        Some(theirs) if !theirs.selects_as(&rules) => found.union(by(&theirs)),
        _ => found,
    }
}
