//! From affected connectors to plans.

use std::collections::{BTreeMap, BTreeSet};

use super::lean::Needed;
use super::sources::Digests;
use super::survey::{Survey, View};
use super::{PlannedJob, PlanningError, UnknownName, unknown};
use crate::config::grants::Grants;
use crate::domain::builtin::Builtin;
use crate::domain::catalog::Connector;
use crate::domain::change::ChangeSet;
use crate::domain::depends::Extent;
use crate::domain::impact::ChangeKind;
use crate::domain::lock::{self, LOCK_MAX};
use crate::domain::names::{ConnectorName, RepoName, SecretName, StepId};
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::{About, Inputs, Plan};
use crate::domain::qa::{Basis, Change, code_changes};
use crate::domain::rules::{Pattern, Pipeline, PipelineTrigger};
use crate::domain::run::{Problem, ProblemKind};
use crate::domain::secret::SecretSpec;
use crate::domain::trigger::{Scope, Target};
use crate::domain::trust;

/// Connectors to plan, each with the steps asked for; none means all.
pub(super) type Wanted = BTreeMap<ConnectorName, BTreeSet<StepId>>;

pub(super) fn wanted(survey: &Survey, scope: &Scope) -> (Wanted, Vec<UnknownName>) {
    match scope {
        Scope::Affected => {
            let names = survey.impacts.to_run().map(|impact| impact.name.clone());
            (names.map(|name| (name, BTreeSet::new())).collect(), Vec::new())
        }
        Scope::All => {
            let names = survey.connectors().into_iter().map(|connector| connector.name.clone());
            (names.map(|name| (name, BTreeSet::new())).collect(), Vec::new())
        }
        Scope::Matching { select } => {
            let connectors = survey.connectors().into_iter();
            let named = connectors.filter(|one| !one.archived && select.matches(one));
            (named.map(|one| (one.name.clone(), BTreeSet::new())).collect(), Vec::new())
        }
        // What was planned before and is not known any more is planned anew.
        Scope::Only { targets } | Scope::Again { targets } => named(survey, targets),
        Scope::And { of, targets } => {
            let (mut all, mut unknown) = wanted(survey, of);
            let (named, more) = named(survey, targets);
            for (name, steps) in named {
                // What is wanted whole stays so.
                all.entry(name).or_insert(steps);
            }
            unknown.extend(more);
            (all, unknown)
        }
        Scope::From { of, .. } => wanted(survey, of),
    }
}

fn named(survey: &Survey, targets: &[Target]) -> (Wanted, Vec<UnknownName>) {
    let mut wanted = Wanted::new();
    let mut whole = BTreeSet::new();
    let mut not_there = Vec::new();
    for target in targets {
        let Some(connector) = survey.named(&target.connector) else {
            let known = survey.connectors();
            let names = known.iter().map(|connector| connector.name.as_str());
            not_there.push(unknown(&target.connector, names));
            continue;
        };
        let Some(step) = &target.step else {
            whole.insert(connector.name.clone());
            continue;
        };
        let known = pipeline(survey, &connector.name).map(|(_, pipeline)| pipeline);
        let known: Vec<&StepSpec> = known.into_iter().flat_map(|of| &of.steps).collect();
        let steps = known.iter().filter(|spec| spec.is_called(step)).map(|spec| spec.id.clone());
        let steps: BTreeSet<StepId> = steps.collect();
        if steps.is_empty() {
            let mut nothing = unknown(step, known.iter().map(|spec| spec.id.as_str()));
            nothing.name = format!("{}/{step}", connector.name);
            nothing.closest = nothing.closest.map(|step| format!("{}/{step}", connector.name));
            not_there.push(nothing);
        } else {
            wanted.entry(connector.name.clone()).or_default().extend(steps);
        }
    }
    // A connector named whole, and by a step as well, is wanted whole.
    for name in whole {
        wanted.insert(name, BTreeSet::new());
    }
    (wanted, not_there)
}

fn pipeline<'s>(survey: &'s Survey, name: &ConnectorName) -> Option<(&'s Connector, &'s Pipeline)> {
    let (connector, view) = survey.known(name)?;
    Some((connector, view.rules.pipeline(connector)?))
}

/// Of the wanted, those whose pipeline tests the merge, and those whose tests the head.
pub(super) fn split(survey: &Survey, wanted: Wanted) -> (Wanted, Wanted) {
    // A branch's own commit has nothing to be merged with.
    let of_branch =
        matches!(survey.terms.event, Some(PipelineTrigger::Push | PipelineTrigger::Schedule));
    let merges =
        |name: &ConnectorName| !of_branch && pipeline(survey, name).is_some_and(|(_, of)| of.merge);
    wanted.into_iter().partition(|(name, _)| merges(name))
}

/// The secrets that steps may have.
#[derive(Clone, Copy)]
pub(super) struct Declared<'a> {
    pub(super) secrets: &'a [SecretSpec],
    /// What the server gives to which repository; on one's own machine all is one's own.
    pub(super) granted: Option<(&'a RepoName, &'a Grants)>,
}

/// What was planned of connectors.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<PlannedJob>,
    /// Those that have no pipeline.
    pub(super) without_pipeline: Vec<String>,
    /// How many have no step that runs before an approval, of a stranger's change.
    pub(super) waiting: usize,
}

impl Found {
    /// Both, by the connectors' names.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.jobs.extend(other.jobs);
        self.jobs.sort_by(|a, b| a.connector.cmp(&b.connector));
        self.without_pipeline.extend(other.without_pipeline);
        self.without_pipeline.sort();
        self.waiting += other.waiting;
        self
    }

    /// What the plans' inputs hold.
    pub(super) fn sources(&self) -> impl Iterator<Item = &BTreeMap<String, String>> {
        self.jobs.iter().map(|job| job.plan.sources())
    }
}

/// The plans of connectors.
pub(super) fn planned(
    survey: &Survey,
    wanted: &Wanted,
    declared: Declared<'_>,
) -> Result<Found, PlanningError> {
    let mut found = Found::default();
    let guarded = survey.terms.trust.is_guarded();
    let digests = Digests::new(&survey.sources, &survey.paths);
    for (name, steps) in wanted {
        let Some((connector, view)) = survey.known(name) else { continue };
        let Some(pipeline) = view.rules.pipeline(connector) else {
            found.without_pipeline.push(name.to_string());
            continue;
        };
        let impact = survey.impacts.connectors.get(name);
        let plan = plan_of(survey, (connector, view), pipeline)?;
        let (plan, only) = if guarded {
            let only = trust::before_approval(plan.steps());
            if only.is_empty() {
                found.waiting += 1;
                continue;
            }
            (plan.guarded(), only)
        } else {
            let secrets = declared.of(&plan)?;
            let plan = plan.with_secrets(secrets);
            let only = plan.to_run(steps);
            (plan, only)
        };
        let sources = digests.of(plan.inputs());
        found.jobs.push(PlannedJob {
            connector: name.clone(),
            change: impact.map_or(ChangeKind::Modified, |impact| impact.change),
            reasons: impact.map(|impact| impact.reasons.clone()).unwrap_or_default(),
            only,
            plan: plan.with_sources(sources),
        });
    }
    Ok(found)
}

/// Plans the named connectors of a survey: the command line's counterpart of [`super::plan`].
/// Names that the head does not have are left out.
pub fn plans(
    survey: &Survey,
    names: &BTreeSet<ConnectorName>,
) -> Result<super::Planned, PlanningError> {
    let wanted = names.iter().map(|name| (name.clone(), BTreeSet::new())).collect();
    let declared = Declared { secrets: &survey.rules().secrets, granted: None };
    let Found { jobs, without_pipeline, .. } = planned(survey, &wanted, declared)?;
    let selection = survey.selection(without_pipeline);
    let wanted = super::Wanted::Names { names: names.clone() };
    let digests = jobs.iter().map(|job| job.plan.sources());
    let definition = survey.definition.clone().map(|made_of| {
        let all: Vec<&PlannedJob> = jobs.iter().collect();
        let needed = Needed::of(survey, &all, &made_of);
        Box::new(made_of.planned(wanted, digests).needing(needed))
    });
    let merge_base = survey.merge_base.clone();
    Ok(super::Planned { merge_base, selection, jobs, unknown: Vec::new(), definition })
}

impl Declared<'_> {
    /// Where the secrets of a plan's steps come from.
    fn of(&self, plan: &Plan) -> Result<Vec<SecretSpec>, PlanningError> {
        let mut secrets: Vec<SecretSpec> = Vec::new();
        for step in plan.steps().iter().filter(|step| step.left_out.is_none()) {
            for name in &step.secrets {
                if secrets.iter().any(|secret| secret.name == *name) {
                    continue;
                }
                let whose = format!("step `{}` of `{}`", step.id, plan.connector());
                secrets.push(self.one(name, plan.connector(), &whose)?);
            }
        }
        Ok(secrets)
    }

    fn one(
        &self,
        name: &SecretName,
        connector: &ConnectorName,
        whose: &str,
    ) -> Result<SecretSpec, PlanningError> {
        let refused = |title: String, text: String| {
            let kind = ProblemKind::Configuration;
            PlanningError::Configuration(Box::new(Problem { kind, title, text, place: None }))
        };
        let Some(secret) = self.secrets.iter().find(|secret| secret.name == *name) else {
            return Err(refused(
                format!("the default branch declares no secret `{name}`"),
                format!(
                    "The {whose} wants the secret `{name}`. A change is given only what the default \
                     branch declares, so that nobody declares a secret and takes it with one \
                     change: merge its declaration, under `secrets:`, first."
                ),
            ));
        };
        let refusal = self
            .granted
            .and_then(|(repository, grants)| grants.refusal(repository, connector, secret));
        match refusal {
            Some(why) => Err(refused(
                format!("the secret `{name}` is not granted"),
                format!("The {whose} wants the secret `{name}`: {why}."),
            )),
            None => Ok(secret.clone()),
        }
    }
}

fn plan_of(
    survey: &Survey,
    (connector, view): (&Connector, &View),
    pipeline: &Pipeline,
) -> Result<Plan, PlanningError> {
    let inputs = inputs(connector, view, pipeline);
    let mut steps = pipeline.steps.clone();
    for step in &mut steps {
        let condition = pipeline.when.get(&step.id);
        step.left_out = condition.and_then(|condition| condition.unmet(connector, &survey.paths));
        if step.left_out.is_none() {
            let of = (pipeline, &step.id);
            step.services.extend(survey.composed.of(of, connector, &survey.paths)?);
        }
    }
    let plan = Plan::new(connector.name.clone(), connector.root.clone(), inputs, steps);
    let version = connector.attribute("version").map(str::to_owned);
    let about = About::of(connector);
    let qa = pipeline.steps.iter().any(|step| step.is(Builtin::Qa));
    let basis = qa.then(|| basis(survey, connector, view));
    let lock = lock(connector, pipeline)?;
    let told = |plan: Plan| {
        let plan = plan.with_version(version).with_about(about).with_basis(basis);
        plan.with_lock(lock).with_outlives_head(!pipeline.supersede)
    };
    plan.map(told).map_err(|error| {
        // The file's reader refuses such pipelines with their line; this is the type's own guard.
        PlanningError::Configuration(Box::new(Problem {
            kind: ProblemKind::Configuration,
            title: format!("the pipeline of `{}` is not valid: {error}", connector.name),
            text: error.to_string(),
            place: None,
        }))
    })
}

/// The lock of a connector's job.
fn lock(connector: &Connector, pipeline: &Pipeline) -> Result<Option<String>, PlanningError> {
    let Some(lock) = &pipeline.lock else { return Ok(None) };
    let refused = |title: String, text: &str| {
        let (kind, text) = (ProblemKind::Configuration, text.to_owned());
        PlanningError::Configuration(Box::new(Problem { kind, title, text, place: None }))
    };
    let whose = format!("the lock `{lock}` of the pipeline of `{}`", connector.name);
    match lock::of_connector(lock, connector) {
        Ok(filled) if filled.len() <= LOCK_MAX => Ok(Some(filled)),
        Ok(_) => {
            let title = format!("{whose} is longer than {LOCK_MAX} bytes");
            Err(refused(title, "Make the lock's text shorter."))
        }
        Err(variable) => {
            let title = format!("{whose} has no value for `{{{variable}}}`");
            let text = "Its rule's `match` has no such variable: use one that it has, or give \
                        these connectors a pipeline of their own.";
            Err(refused(title, text))
        }
    }
}

/// What `qa` will judge by, as it is known now.
fn basis(survey: &Survey, connector: &Connector, view: &View) -> Basis {
    let before = survey.before(&connector.name);
    let version = before.and_then(|before| before.attribute("version")).map(str::to_owned);
    let change = match &survey.change {
        _ if !survey.is_compared() => Change::Nothing,
        ChangeSet::Everything { because } => Change::Unknown { because: because.clone(), version },
        change @ ChangeSet::Complete { .. } => {
            let (files, count) = code_changes(change, &connector.root);
            Change::Known { version, files, count, new: before.is_none() }
        }
    };
    let icons = view.head.iter().any(|connector| connector.icon.is_some());
    Basis { airbyte: connector.airbyte, icons, change }
}

/// What a connector's containers receive: its own files, what it is built from, what reaches it, and
/// what its steps name.
fn inputs(connector: &Connector, view: &View, pipeline: &Pipeline) -> Inputs {
    let mut paths = BTreeSet::new();
    let mut globs = BTreeSet::new();
    if connector.marker.is_some() {
        paths.insert(connector.root.clone());
    }
    paths.extend(connector.marker.clone());
    paths.extend(connector.attribute_file.clone());
    // A variant is built from what it is a variant of.
    let twin = connector.twin.as_ref().and_then(|twin| view.head.connector(twin));
    paths.extend(twin.map(|twin| twin.root.clone()));
    for dependency in view.head.dependencies().of(&connector.name) {
        match (dependency.path(), dependency.extent()) {
            // A package at the top of the tree is the files there and not the tree.
            ("", Extent::Package) => drop(globs.insert("*".to_owned())),
            (path, Extent::Whole | Extent::Package | Extent::NoPackages) => {
                paths.insert(path.to_owned());
            }
        }
    }
    let shared = view.rules.impact.iter().flat_map(|rule| rule.inputs_of(connector));
    let named = pipeline
        .inputs
        .iter()
        .map(|pattern| pattern.fill(&connector.variables).unwrap_or_else(|| pattern.clone()));
    let patterns: Vec<Pattern> =
        connector.owns.iter().cloned().chain(shared).chain(named).collect();
    for pattern in patterns {
        match pattern.literal_paths() {
            Some(literal) => paths.extend(literal),
            None => drop(globs.insert(pattern.to_string())),
        }
    }
    // What lies in a folder that is there whole needs no name of its own.
    let within = |path: &&String| {
        let mut above = path.match_indices('/').map(|(cut, _)| &path[..cut]);
        above.any(|folder| paths.contains(folder)) || !path.is_empty() && paths.contains("")
    };
    Inputs {
        paths: paths.iter().filter(|path| !within(path)).cloned().collect(),
        globs: globs.into_iter().collect(),
    }
}
