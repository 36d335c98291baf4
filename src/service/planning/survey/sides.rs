//! Whose rules count: the head's, the base's, or the default branch's.

use serde::{Deserialize, Serialize};

use super::View;
use crate::config::repository::{self, FILE};
use crate::domain::builtin::Builtin;
use crate::domain::catalog::Paths;
use crate::domain::change::ChangeSet;
use crate::domain::detail::Detail;
use crate::domain::rules::{Pipeline, PipelineTrigger, RepoRules};
use crate::domain::secret::SecretSpec;
use crate::domain::trust::{Decides, Showing, Trust};
use crate::domain::{acceptance, build};
use crate::service::planning::composed;

/// For what is planned, and how far its code is trusted.
#[derive(Debug, Clone, Copy)]
pub(in crate::service::planning) struct Terms {
    /// Whose pipelines; absent where a person asks.
    pub(in crate::service::planning) event: Option<PipelineTrigger>,
    pub(in crate::service::planning) trust: Trust,
}

impl Terms {
    /// On one's own machine.
    pub(super) fn of_person() -> Self {
        Self { event: None, trust: Trust::Trusted }
    }

    /// What is said where both sides select, and one of them so many more.
    pub(super) fn selected_by_both(self, more: usize) -> String {
        let whose = if self.trust.is_guarded() { "base" } else { "head" };
        format!(
            "The change also changes which connectors are selected; selected is what either the \
             base's or the head's rules select ({more} more than by the {whose}'s alone)."
        )
    }
}

/// What the default branch says, whatever a change says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service::planning) struct Standing {
    pub(in crate::service::planning) secrets: Vec<SecretSpec>,
    pub(in crate::service::planning) detail: Detail,
}

impl Standing {
    pub(super) fn of(rules: &RepoRules) -> Self {
        Self { secrets: rules.secrets.clone(), detail: rules.detail }
    }
}

const OTHER_SECRETS: &str =
    "The change also changes `secrets`; given is what the default branch declares.";

pub(super) fn other_secrets(said: Option<&[SecretSpec]>, rules: &RepoRules) -> Option<String> {
    said.is_some_and(|said| said != rules.secrets).then(|| OTHER_SECRETS.to_owned())
}

/// The rules that count, those that select beside them, and what is to be said of both.
pub(super) struct Sides {
    pub(super) rules: RepoRules,
    pub(super) other: Option<RepoRules>,
    /// The head's own pipelines, where the base's are run.
    pub(super) theirs: Vec<Pipeline>,
    pub(super) notes: Vec<String>,
}

impl Sides {
    /// Of a trusted head its own rules count, and the base's select beside them; of a stranger's the
    /// base's count, and the head's select beside them: neither can ignore its way to green.
    pub(super) fn of(
        head: Result<RepoRules, repository::Invalid>,
        base: Option<Result<RepoRules, repository::Invalid>>,
        terms: Terms,
    ) -> Result<Self, repository::Invalid> {
        let left_out = |whose: &str, invalid: &repository::Invalid| {
            format!(
                "The {whose}'s configuration is not valid and was left out: {}",
                invalid.title()
            )
        };
        let mut notes = Vec::new();
        let mut valid = |whose: &str, rules: Result<RepoRules, repository::Invalid>| {
            rules.inspect_err(|invalid| notes.push(left_out(whose, invalid))).ok()
        };
        let mut own = Vec::new();
        let (rules, other) = match base {
            Some(base) if terms.trust.is_guarded() => {
                let rules = valid("base", base);
                let rules = rules.unwrap_or_else(|| RepoRules::empty("nothing valid".to_owned()));
                let theirs = valid("head", head);
                let changed = theirs.as_ref().is_some_and(|it| it.pipelines != rules.pipelines);
                if changed {
                    notes.push(
                        "The change also changes pipelines: the base's are run until the commit is \
                         approved."
                            .to_owned(),
                    );
                }
                let pipelines = rules.pipelines.clone();
                let other = theirs.map(|mut theirs| {
                    own = std::mem::replace(&mut theirs.pipelines, pipelines);
                    theirs
                });
                (rules, other)
            }
            base => (head?, base.and_then(|base| valid("base", base))),
        };
        let mut all = rules.notes.clone();
        all.append(&mut notes);
        Ok(Self { rules, other, theirs: own, notes: all })
    }
}

/// What whoever approves the change is to look at: files that say what is run, by the rules that
/// count before it is approved, and by `theirs`, the head's own pipelines, which count afterwards.
pub(super) fn showing(
    views: &[&View],
    theirs: &[Pipeline],
    paths: &Paths,
    change: &ChangeSet,
) -> Showing {
    let ours = views.iter().flat_map(|view| &view.rules.pipelines);
    let pipelines: Vec<&Pipeline> = ours.chain(theirs).collect();
    let connectors = views.iter().flat_map(|view| view.head.iter());
    let steps = || pipelines.iter().flat_map(|pipeline| &pipeline.steps);
    let mut decides = Decides::new(FILE, composed::named(&pipelines, connectors, paths));
    if steps().any(|step| step.is(Builtin::Build)) {
        decides.go_by(build::METADATA);
    }
    if steps().any(|step| step.is(Builtin::Acceptance)) {
        decides.go_by(acceptance::config::FILE);
    }
    steps().flat_map(|step| &step.run).for_each(|command| decides.heed(command));
    Showing::of(change, &decides)
}
