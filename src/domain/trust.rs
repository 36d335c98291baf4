//! On whose word code runs, and what of a stranger's runs before somebody has looked at it.

mod showing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::showing::{Decides, Decisive, Role, Showing};
use super::audit::Route;
use super::builtin::Builtin;
use super::names::{Sha, StepId};
use super::pipeline::StepSpec;
use super::time::Timestamp;

/// On whose word the code of a run runs.
/// There is none by default: whoever makes a run says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Who wrote it and who pushed it may write to the repository.
    Trusted,
    /// A stranger's, whose commit somebody who may write looked at and approved.
    Approved,
    /// A stranger's: of it only what the base marks `untrusted: true` runs, with nothing to take.
    Untrusted,
}

impl Trust {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Approved => "approved",
            Self::Untrusted => "untrusted",
        }
    }

    /// Does only what the base marks for it run?
    pub fn is_guarded(self) -> bool {
        match self {
            Self::Untrusted => true,
            Self::Trusted | Self::Approved => false,
        }
    }
}

/// Somebody's word for a stranger's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Whose.
    pub actor: String,
    pub at: Timestamp,
    pub route: Route,
    /// What was looked at.
    pub head_sha: Sha,
    /// Against which branch.
    pub base_ref: String,
    /// Since when it holds no more, and why; absent while it does.
    pub void: Option<(Timestamp, String)>,
}

/// The steps of a plan that may run before an approval, in its order: those marked `untrusted: true`
/// that have nothing in confidence and nothing beside them, build no image, and come after such steps
/// only. What is left out by its condition stands in nobody's way.
pub fn before_approval(steps: &[StepSpec]) -> Vec<StepId> {
    let mut known: BTreeSet<&StepId> = BTreeSet::new();
    let mut runs = Vec::new();
    // A plan's order puts each step after its needs.
    for step in steps {
        let first = step.needs.iter().all(|need| known.contains(need));
        let harmless = step.secrets.is_empty() && step.services.is_empty() && is_harmless(step);
        if step.left_out.is_some() {
            known.insert(&step.id);
        } else if step.untrusted && harmless && first {
            known.insert(&step.id);
            runs.push(step.id.clone());
        }
    }
    runs
}

/// A container of its own, or no container at all: images are neither built nor called.
pub fn is_harmless(step: &StepSpec) -> bool {
    match step.uses.map(|uses| uses.builtin) {
        None | Some(Builtin::Qa | Builtin::Report) => true,
        Some(Builtin::Build | Builtin::Acceptance | Builtin::Scan | Builtin::UploadSecrets) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, untrusted: bool, needs: &[&str]) -> StepSpec {
        StepSpec {
            untrusted,
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            ..StepSpec::new(id.parse().unwrap())
        }
    }

    fn runs(steps: &[StepSpec]) -> Vec<String> {
        before_approval(steps).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn before_an_approval_only_what_is_marked_runs_and_what_comes_after_such_steps_alone() {
        let steps = [
            step("lint", true, &[]),
            step("install", false, &[]),
            step("format", true, &["lint"]),
            step("unit", true, &["install"]),
            step("late", true, &["unit"]),
        ];
        assert_eq!(runs(&steps), ["lint", "format"]);
        let mut of_no_use = steps;
        of_no_use[1].left_out = Some("it has none".to_owned());
        assert_eq!(runs(&of_no_use), ["lint", "format", "unit", "late"]);
    }

    #[test]
    fn a_mark_opens_neither_secrets_nor_services_nor_builds() {
        let secret = StepSpec { secrets: vec!["token".parse().unwrap()], ..step("a", true, &[]) };
        assert!(runs(&[secret]).is_empty());
        let uses =
            |builtin: Builtin| StepSpec { uses: Some(builtin.into()), ..step("a", true, &[]) };
        for builtin in Builtin::ALL {
            let harmless = matches!(builtin, Builtin::Qa | Builtin::Report);
            assert_eq!(runs(&[uses(builtin)]).len(), usize::from(harmless), "{builtin:?}");
        }
    }
}
