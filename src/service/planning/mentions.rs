//! What manifests mention: read once for both sides and both sets of rules, which share most of
//! them, and kept once for all paths with the same content.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::snapshot::{Snapshot, Source};
use crate::domain::depends::{Manifest, Reference, references};
use crate::git::GitError;

#[derive(Default)]
pub(super) struct Mentions(HashMap<(Manifest, Source), Arc<[Reference]>>);

impl Mentions {
    /// What those of the files mention that can be read, each with the file's place among them.
    pub(super) async fn of(
        &mut self,
        tree: &Snapshot<'_>,
        wanted: &BTreeSet<(Manifest, String)>,
    ) -> Result<Vec<Option<Arc<[Reference]>>>, GitError> {
        let mut unknown: BTreeMap<Manifest, BTreeSet<&Source>> = BTreeMap::new();
        let keys: Vec<Option<(Manifest, Source)>> = wanted
            .iter()
            .map(|(manifest, path)| Some((*manifest, tree.source(path)?.clone())))
            .collect();
        for key in keys.iter().flatten().filter(|key| !self.0.contains_key(*key)) {
            unknown.entry(key.0).or_default().insert(&key.1);
        }
        for (manifest, sources) in unknown {
            let question = format!("references:{manifest:?}");
            let answer = |text: &[u8]| references(manifest, text);
            for (source, found) in tree.ask(&question, sources.into_iter(), answer).await? {
                self.0.insert((manifest, source), found.into());
            }
        }
        Ok(keys.into_iter().map(|key| self.0.get(&key?).map(Arc::clone)).collect())
    }
}
