//! What a head changes since it left its base.

use std::collections::BTreeSet;

use super::command::{LOCAL, Settings};
use super::diff::{Difference, before, differences};
use super::error::GitError;
use super::objects::{Objects, TreeEntry, sha};
use crate::domain::change::{ChangeSet, ChangedFile};
use crate::domain::names::Sha;

/// A head beside its base.
#[derive(Debug)]
pub struct Comparison {
    /// The first of the merge bases.
    pub merge_base: Option<Sha>,
    /// What differs between the merge bases and the head.
    pub change: ChangeSet,
    /// The way from the merge base to the head, if it is known.
    way: Option<Vec<Difference>>,
}

impl Comparison {
    /// It could not be known what changed.
    pub fn everything(merge_base: Option<Sha>, because: String) -> Self {
        Self { merge_base, change: ChangeSet::Everything { because }, way: None }
    }

    /// Known by its files alone.
    pub(super) fn listed(merge_base: Option<Sha>, change: ChangeSet) -> Self {
        Self { merge_base, change, way: None }
    }

    /// The merge base's tree, given the head's; `None` if it has to be listed.
    pub fn tree_before(&self, head: &[TreeEntry]) -> Option<Vec<TreeEntry>> {
        self.way.as_deref().map(|way| before(head, way))
    }
}

impl Objects {
    /// The best common ancestors: none for unrelated histories, several after criss-cross merges.
    pub async fn merge_bases(&self, base: &Sha, head: &Sha) -> Result<Vec<Sha>, GitError> {
        let args = ["merge-base", "--all", base.as_str(), head.as_str()];
        let ended = self.git.run(&args, Settings::default(), None, LOCAL).await?;
        // Status 1 without a word is the answer "none"; all else is a failure.
        if ended.code == Some(1) && ended.stdout.is_empty() && ended.stderr.trim().is_empty() {
            return Ok(Vec::new());
        }
        let stdout = ended.success("merge-base")?;
        String::from_utf8_lossy(&stdout).lines().map(|line| sha(line, "merge-base")).collect()
    }

    /// The merge base that GitHub, too, would compare with; see [`Objects::merge_bases`].
    pub async fn merge_base(&self, base: &Sha, head: &Sha) -> Result<Option<Sha>, GitError> {
        Ok(self.merge_bases(base, head).await?.into_iter().next())
    }

    /// The files that differ between two trees. Any failure is *everything*.
    pub async fn diff(&self, from: &Sha, to: &Sha) -> ChangeSet {
        match self.differences(from, to).await {
            Ok(found) => ChangeSet::Complete { files: found.into_iter().map(|d| d.file).collect() },
            Err(error) => ChangeSet::Everything { because: error.to_string() },
        }
    }

    /// The tree of a commit, given another commit's and that most of both is the same.
    pub async fn tree_like(
        &self,
        commit: &Sha,
        (other, entries): (&Sha, &[TreeEntry]),
    ) -> Result<Vec<TreeEntry>, GitError> {
        let raw = self.git.read(&diff_tree("--no-renames", commit, other)).await?;
        Ok(before(entries, &differences(&raw)?))
    }

    async fn differences(&self, from: &Sha, to: &Sha) -> Result<Vec<Difference>, GitError> {
        let found = self.git.read(&diff_tree("-M", from, to)).await;
        let raw = match found {
            Ok(raw) => raw,
            // To find renames git reads the files, which a partial clone may not have. A deletion
            // and an addition say the same.
            Err(_) => self.git.read(&diff_tree("--no-renames", from, to)).await?,
        };
        differences(&raw)
    }

    /// What a pull request changes: merge base of base and head against head, over all merge bases
    /// if there are several.
    pub async fn changes(&self, base: &Sha, head: &Sha) -> Comparison {
        let bases = match self.known_merge_bases(base, head).await {
            Ok(Ok(bases)) => bases,
            Ok(Err(because)) => return Comparison::everything(None, because),
            Err(error) => return Comparison::everything(None, error.to_string()),
        };
        let first = bases.first().cloned();
        let mut all: BTreeSet<ChangedFile> = BTreeSet::new();
        let mut way = None;
        for from in &bases {
            match self.differences(from, head).await {
                Ok(found) => {
                    all.extend(found.iter().map(|one| one.file.clone()));
                    way = way.or(Some(found));
                }
                Err(error) => return Comparison::everything(first, error.to_string()),
            }
        }
        let change = ChangeSet::Complete { files: all.into_iter().collect() };
        Comparison { merge_base: first, change, way }
    }

    /// What differs between two commits, wherever they parted: what a push changed, if it was a forced
    /// one, too.
    pub async fn changes_between(&self, before: &Sha, after: &Sha) -> Comparison {
        match self.differences(before, after).await {
            Ok(found) => {
                let files: BTreeSet<ChangedFile> =
                    found.iter().map(|one| one.file.clone()).collect();
                let change = ChangeSet::Complete { files: files.into_iter().collect() };
                Comparison { merge_base: Some(before.clone()), change, way: Some(found) }
            }
            Err(error) => Comparison::everything(Some(before.clone()), error.to_string()),
        }
    }

    /// At least one merge base, or why it is not known where two commits part.
    pub(super) async fn known_merge_bases(
        &self,
        base: &Sha,
        head: &Sha,
    ) -> Result<Result<Vec<Sha>, String>, GitError> {
        let bases = self.merge_bases(base, head).await?;
        let cut = self.cut_off();
        if bases.is_empty() {
            let mend =
                if cut.is_empty() { "" } else { ": the clone is shallow, `git fetch --unshallow`" };
            let (base, head) = (base.short(), head.short());
            return Ok(Err(format!("{base} and {head} have no common ancestor{mend}")));
        }
        // If one is the other's ancestor, no better one is hidden.
        if cut.is_empty() || bases.contains(base) || bases.contains(head) {
            return Ok(Ok(bases));
        }
        let mut args = vec!["rev-list", base.as_str(), head.as_str(), "--not"];
        args.extend(bases.iter().map(Sha::as_str));
        let between = self.git.read(&args).await?;
        if String::from_utf8_lossy(&between).lines().any(|line| cut.contains(line)) {
            return Ok(Err(format!(
                "it is not known where {} and {} part: the clone is shallow, \
                 `git fetch --unshallow`",
                base.short(),
                head.short(),
            )));
        }
        Ok(Ok(bases))
    }

    /// The commits whose parents a shallow clone left out.
    pub(super) fn cut_off(&self) -> BTreeSet<String> {
        // Mostly there is no such file.
        let text = std::fs::read_to_string(self.common.join("shallow")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn diff_tree<'a>(renames: &'a str, from: &'a Sha, to: &'a Sha) -> [&'a str; 12] {
    [
        "diff-tree",
        "-r",
        renames,
        "-z",
        "--raw",
        "--no-abbrev",
        "--no-ext-diff",
        "--no-textconv",
        // `.gitmodules` may ask that submodules be overlooked.
        "--ignore-submodules=none",
        "--end-of-options",
        from.as_str(),
        to.as_str(),
    ]
}
