//! Why we act.

use serde::{Deserialize, Serialize};

use super::rules::{PipelineTrigger, Selector};

/// The vocabulary of the API's `trigger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    PullRequest,
    Comment,
    Button,
    MergeGroup,
    Push,
    Schedule,
    Manual,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PullRequest => "pull_request",
            Self::Comment => "comment",
            Self::Button => "button",
            Self::MergeGroup => "merge_group",
            Self::Push => "push",
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

impl Trigger {
    /// The event whose pipelines such a run has; `of_pull`: is it about a pull request?
    pub fn pipelines(self, of_pull: bool) -> PipelineTrigger {
        match self {
            Self::Push => PipelineTrigger::Push,
            Self::Schedule => PipelineTrigger::Schedule,
            Self::MergeGroup => PipelineTrigger::MergeGroup,
            Self::Manual | Self::Button if !of_pull => PipelineTrigger::MergeGroup,
            Self::PullRequest | Self::Comment | Self::Button | Self::Manual => {
                PipelineTrigger::PullRequest
            }
        }
    }

    /// Is it about the default branch, and so shown on no pull request?
    pub fn is_of_branch(self) -> bool {
        matches!(self, Self::Push | Self::Schedule)
    }
}

/// What a run is asked to do with what it finds. Fixed when the run is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    /// Every connector that the change can affect, every step.
    Affected,
    /// Every connector of the repository.
    All,
    /// Every connector that the selector of a schedule names, changed or not.
    Matching { select: Selector },
    /// These, whether affected or not; a connector with no steps named runs all of its steps.
    Only { targets: Vec<Target> },
    /// The same, by the plans that were made of them for this head before: the configuration is not
    /// asked again.
    Again { targets: Vec<Target> },
    /// What the other scope says, which is no list of names, and these as well.
    And { of: Box<Scope>, targets: Vec<Target> },
    /// Of what the other scope says, this step of each connector that has it, and what comes after
    /// it.
    From { step: String, of: Box<Scope> },
}

impl Scope {
    /// Without the step at which it begins.
    pub fn connectors(&self) -> &Self {
        match self {
            Self::From { of, .. } => of.connectors(),
            Self::Affected
            | Self::All
            | Self::Matching { .. }
            | Self::Only { .. }
            | Self::Again { .. }
            | Self::And { .. } => self,
        }
    }

    /// The step at which it begins.
    pub fn first(&self) -> Option<&str> {
        match self {
            Self::From { step, .. } => Some(step),
            Self::Affected
            | Self::All
            | Self::Matching { .. }
            | Self::Only { .. }
            | Self::Again { .. }
            | Self::And { .. } => None,
        }
    }

    /// What it names beside what it asks for as a whole.
    pub fn targets(&self) -> &[Target] {
        match self.connectors() {
            Self::Only { targets } | Self::Again { targets } | Self::And { targets, .. } => targets,
            Self::Affected | Self::All | Self::Matching { .. } | Self::From { .. } => &[],
        }
    }

    /// Is it about everything that is affected, with all of its steps?
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Affected | Self::All => true,
            Self::And { of, .. } => of.is_whole(),
            Self::Matching { .. } | Self::Only { .. } | Self::Again { .. } | Self::From { .. } => {
                false
            }
        }
    }

    /// Does it hang on what the change affects?
    pub fn asks_for_affected(&self) -> bool {
        match self {
            Self::Affected => true,
            Self::And { of, .. } | Self::From { of, .. } => of.asks_for_affected(),
            Self::All | Self::Matching { .. } | Self::Only { .. } | Self::Again { .. } => false,
        }
    }

    /// What several commands ask for together: everything that one of them does. Two that begin at
    /// different steps, or of which one begins at none, begin at none.
    #[must_use]
    pub fn join(one: Option<Self>, other: Self) -> Self {
        let Some(one) = one else { return other };
        match (one, other) {
            (Self::From { step, of }, Self::From { step: second, of: others })
                if step.eq_ignore_ascii_case(&second) =>
            {
                let of = Box::new(Self::join(Some(*of), *others));
                Self::From { step: step.min(second), of }
            }
            (Self::From { of, .. }, other) | (other, Self::From { of, .. }) => {
                Self::join(Some(*of), other)
            }
            (one, other) => together(one, other),
        }
    }
}

/// [`Scope::join`] of two that begin at no step.
fn together(one: Scope, other: Scope) -> Scope {
    let (one, mut targets) = parts(one);
    let (other, more) = parts(other);
    targets.extend(more);
    targets.sort();
    targets.dedup();
    let of = match (one, other) {
        (Basis::All, _) | (_, Basis::All) => Scope::All,
        (Basis::Affected, _) | (_, Basis::Affected) => Scope::Affected,
        // Who asks for a plan anew of one of them has it of all.
        (Basis::Anew, _) | (_, Basis::Anew) => return Scope::Only { targets },
        (Basis::Planned, Basis::Planned) => return Scope::Again { targets },
    };
    if targets.is_empty() { of } else { Scope::And { of: Box::new(of), targets } }
}

/// What stands beside the names of a scope.
enum Basis {
    All,
    Affected,
    /// Nothing; the names are planned anew.
    Anew,
    /// Nothing; the names have their earlier plans.
    Planned,
}

fn parts(scope: Scope) -> (Basis, Vec<Target>) {
    match scope {
        Scope::All => (Basis::All, Vec::new()),
        Scope::Affected => (Basis::Affected, Vec::new()),
        // No command asks for a schedule's; what people name goes before it.
        Scope::Matching { .. } => (Basis::Anew, Vec::new()),
        Scope::Only { targets } => (Basis::Anew, targets),
        Scope::Again { targets } => (Basis::Planned, targets),
        Scope::And { of, mut targets } => {
            let (basis, more) = parts(*of);
            targets.extend(more);
            (basis, targets)
        }
        Scope::From { of, .. } => parts(*of),
    }
}

/// A connector, or one step of it, as commands and buttons name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    pub connector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(name: &str) -> Target {
        match name.split_once('/') {
            Some((connector, step)) => {
                Target { connector: connector.to_owned(), step: Some(step.to_owned()) }
            }
            None => Target { connector: name.to_owned(), step: None },
        }
    }

    fn only(names: &[&str]) -> Scope {
        Scope::Only { targets: names.iter().map(|name| target(name)).collect() }
    }

    fn again(names: &[&str]) -> Scope {
        Scope::Again { targets: names.iter().map(|name| target(name)).collect() }
    }

    fn and(of: Scope, names: &[&str]) -> Scope {
        let targets = names.iter().map(|name| target(name)).collect();
        Scope::And { of: Box::new(of), targets }
    }

    fn from(step: &str, of: Scope) -> Scope {
        Scope::From { step: step.to_owned(), of: Box::new(of) }
    }

    #[test]
    fn commands_of_one_comment_work_together() {
        let join = |one: Scope, other: Scope| Scope::join(Some(one), other);
        assert_eq!(Scope::join(None, Scope::Affected), Scope::Affected);
        assert_eq!(join(Scope::Affected, only(&["z"])), and(Scope::Affected, &["z"]));
        assert_eq!(join(again(&["x/unit"]), Scope::Affected), and(Scope::Affected, &["x/unit"]));
        assert_eq!(join(Scope::Affected, Scope::All), Scope::All);
        // Also of a name that nobody has, somebody is to be told.
        assert_eq!(join(Scope::All, only(&["nonsense"])), and(Scope::All, &["nonsense"]));
        assert_eq!(join(only(&["b"]), only(&["a", "b"])), only(&["a", "b"]));
        assert_eq!(join(again(&["b"]), again(&["a"])), again(&["a", "b"]));
        assert_eq!(join(again(&["b"]), only(&["a"])), only(&["a", "b"]));
        let both = join(and(Scope::Affected, &["z"]), and(Scope::All, &["a"]));
        assert_eq!(both, and(Scope::All, &["a", "z"]));
    }

    #[test]
    fn a_step_to_begin_at_holds_where_all_begin_at_it() {
        let join = |one: Scope, other: Scope| Scope::join(Some(one), other);
        let both = join(from("unit", only(&["a"])), from("Unit", Scope::Affected));
        assert_eq!(both, from("Unit", and(Scope::Affected, &["a"])));
        assert_eq!(join(from("unit", only(&["a"])), only(&["b"])), only(&["a", "b"]));
        let differ = join(from("unit", only(&["a"])), from("build", only(&["b"])));
        assert_eq!(differ, only(&["a", "b"]));
    }

    fn targets() -> impl Strategy<Value = Vec<Target>> {
        let name = prop::sample::select(vec!["a", "b", "a/unit", "b/unit", "B", "z/build"]);
        prop::collection::vec(name.prop_map(target), 1..4)
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        let whole = || prop_oneof![Just(Scope::Affected), Just(Scope::All)];
        let and =
            (whole(), targets()).prop_map(|(of, targets)| Scope::And { of: Box::new(of), targets });
        let plain = prop_oneof![
            whole(),
            targets().prop_map(|targets| Scope::Only { targets }),
            targets().prop_map(|targets| Scope::Again { targets }),
            and,
        ];
        let step = prop::option::of(prop::sample::select(vec!["unit", "Unit", "build"]));
        (plain, step).prop_map(|(of, step)| match step {
            Some(step) => from(step, of),
            None => of,
        })
    }

    /// Does `scope` ask for at least what `part` does?
    fn covers(scope: &Scope, part: &Scope) -> bool {
        let all = |scope: &Scope| {
            matches!(scope.connectors(), Scope::All)
                || matches!(scope.connectors(), Scope::And { of, .. } if **of == Scope::All)
        };
        let step = match (scope.first(), part.first()) {
            (None, _) => true,
            (Some(first), Some(wanted)) => first.eq_ignore_ascii_case(wanted),
            (Some(_), None) => false,
        };
        step && part.targets().iter().all(|target| scope.targets().contains(target))
            && (!all(part) || all(scope))
            && (!part.connectors().asks_for_affected() || scope.connectors().is_whole())
    }

    #[test]
    fn what_is_asked_of_a_merge_group_runs_its_pipelines() {
        for trigger in [Trigger::MergeGroup, Trigger::Button, Trigger::Manual] {
            assert_eq!(trigger.pipelines(false), PipelineTrigger::MergeGroup);
        }
        for trigger in [Trigger::PullRequest, Trigger::Button, Trigger::Manual, Trigger::Comment] {
            assert_eq!(trigger.pipelines(true), PipelineTrigger::PullRequest);
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_which_command_stands_first(one in scopes(), other in scopes()) {
            let both = Scope::join(Some(one.clone()), other.clone());
            let turned = Scope::join(Some(other), one);
            // Names in one order; a list of one's own is as it was written.
            prop_assert_eq!(both, turned);
        }

        #[test]
        fn nothing_that_was_asked_for_is_lost(asked in prop::collection::vec(scopes(), 1..5)) {
            let mut joined = None;
            for scope in asked.clone() {
                joined = Some(Scope::join(joined, scope));
            }
            let joined = joined.unwrap();
            for part in &asked {
                prop_assert!(covers(&joined, part), "{joined:?} lacks {part:?}");
            }
        }

        #[test]
        fn nothing_is_made_up(one in scopes(), other in scopes()) {
            let both = Scope::join(Some(one.clone()), other.clone());
            let asked = |target: &Target| {
                one.targets().contains(target) || other.targets().contains(target)
            };
            prop_assert!(both.targets().iter().all(asked));
            let affected = both.asks_for_affected();
            prop_assert!(!affected || one.asks_for_affected() || other.asks_for_affected());
        }
    }
}
