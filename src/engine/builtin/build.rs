//! Builds the connector's image, and asks it for its `spec`.

use std::time::Duration;

use super::listen::{Ear, listen};
use super::{Images, Site, Task, blocking};
use crate::domain::acceptance::{Named, Spec};
use crate::domain::build::{self, Folder, Ignore, Recipe, Sources, Unbuildable, dev_name, sources};
use crate::domain::builtin::{Case, Report, Verdict};
use crate::domain::cache::Share;
use crate::domain::catalog::Finding;
use crate::domain::plan::below;
use crate::exec::images::{BuildEnd, Halted, ImageBuild, Talk};
use crate::exec::{Beside, Executor, StepRun, Trust};

/// Bytes of a file that is looked at.
const LARGEST: u64 = build::LARGEST as u64;
const BUILDABLE: &str = "there is a Dockerfile, or one can be made";
const BUILT: &str = "the image is built";
/// How long the image may take to say what it wants to be configured with.
const SPEC: Duration = Duration::from_mins(1);

pub(super) async fn judge<E: Executor>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let mut cases = Vec::new();
    let (plan, source) = (site.task.plan.clone(), site.task.step.source.clone());
    let folder = blocking(site.stop, move || {
        let mut folder = Folder::default();
        source.each_file(LARGEST, |path, content| {
            if let Some(below) = below(plan.root(), path) {
                folder.file(below, content);
            }
        })?;
        let rules = folder.ignore();
        Ok((folder, rules))
    });
    let trust = site.executor.trust();
    let variables = trust.as_ref().map(|trust| trust.variables().collect()).unwrap_or_default();
    let (folder, rules) = folder.await?;
    let folder = folder.trusting(variables);
    let mut notes = Vec::new();
    let rules = rules.map_err(|why| cases.push(unbuildable(site, why))).ok();
    if let Some(rules) = rules
        && let Some((recipe, sources)) = recipe(site, &folder, &mut cases)
    {
        notes.clone_from(&recipe.notes);
        for note in &notes {
            site.say(format!("note: {note}\n")).await;
        }
        make(site, &folder, rules, (recipe, sources), &mut cases).await?;
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Report { suite: "build", cases, note })
}

fn unbuildable<E>(site: &Site<'_, E>, Unbuildable { file, flaw }: Unbuildable) -> Case {
    let path = format!("{}/{file}", site.task.plan.root());
    let finding = Finding::of(path.trim_matches('/'), flaw);
    Case::new(BUILDABLE, Verdict::Failed(vec![finding]))
}

/// How the image is made, if it can be.
fn recipe<E>(
    site: &Site<'_, E>,
    folder: &Folder,
    cases: &mut Vec<Case>,
) -> Option<(Recipe, Sources)> {
    let root = site.task.plan.root();
    let recipe = match folder.recipe() {
        Ok(recipe) => recipe,
        Err(why) => {
            cases.push(unbuildable(site, why));
            return None;
        }
    };
    cases.push(Case::new(BUILDABLE, Verdict::Passed));
    // One that is made here has its image's name from the metadata.
    let is_own = recipe.generated.is_none();
    let file = if is_own { "Dockerfile" } else { "metadata.yaml" };
    let path = format!("{root}/{file}").trim_start_matches('/').to_owned();
    let finding = |(line, text, mend): (usize, String, &str)| Finding {
        path: path.clone(),
        line: u32::try_from(line).ok().filter(|_| is_own),
        column: Some(1).filter(|_| is_own),
        text,
        mend: mend.to_owned(),
    };
    let mut sources = sources(&recipe.dockerfile, &site.task.step.env);
    let mut refused = std::mem::take(&mut sources.refused);
    if u64::try_from(recipe.dockerfile.len()).is_ok_and(|length| length >= LARGEST) {
        refused.push((1, "it is larger than 1 MiB".to_owned(), "make it smaller"));
    }
    let verdict = Verdict::of(refused.into_iter().map(finding).collect());
    let good = verdict == Verdict::Passed;
    cases.push(Case::new("it builds on images of registries alone", verdict));
    good.then_some((recipe, sources))
}

async fn make<E: Executor>(
    site: &Site<'_, E>,
    folder: &Folder,
    rules: Ignore,
    (recipe, sources): (Recipe, Sources),
    cases: &mut Vec<Case>,
) -> Result<(), Halted> {
    let step = &site.task.step;
    let context = step.out.with_file_name("context.tar");
    let (to, source) = (context.clone(), step.source.clone());
    let root = site.task.plan.root().to_owned();
    let passing = matches!(site.task.images, Images::OfJob { .. });
    let (ends, below) = (site.stop.clone(), recipe.source_in());
    // The engine gets the Dockerfile of an image that goes with its job beside what is here. Stopped,
    // nobody wants the rest, which is left out at once.
    let excluded = move |path: &str| {
        ends.is_cancelled() || if passing { rules.names(path) } else { rules.excludes(path) }
    };
    let ignore = folder.ignore_file().filter(|_| below.is_empty()).map(str::to_owned);
    let trust = site.executor.trust();
    let mut files = files(&recipe, trust.as_ref());
    files.retain(|(path, _)| *path == build::AUTHORITIES || !excluded(path));
    blocking(site.stop, move || {
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, &content[..])).collect();
        let beside = Beside { source: below, files: &files };
        source.build_context(&to, &root, excluded, beside)
    })
    .await?;
    if let Some(dockerfile) = &recipe.generated {
        site.say(format!("the Dockerfile that is made of the base image:\n{dockerfile}\n")).await;
    }
    let tag = match site.task.images {
        Images::OfJob { repository } => format!("checkvalve/{repository}:{}", step.labels.job),
        Images::Kept { tag } => dev_name(&recipe, step.labels.connector.as_str(), tag),
    };
    let pins = site.task.plan.bases_of(&step.labels.step).cloned().unwrap_or_default();
    let build = ImageBuild {
        step: step_of(step, &recipe, trust.as_ref()),
        context: context.clone(),
        sources,
        ignore,
        tag: tag.clone(),
        labels: recipe.labels.clone(),
        scope: scope(site.task),
        passing,
        begun: site.begun.clone(),
        pins,
        bases: site.bases.clone(),
    };
    let end = site.executor.build(build, site.log.clone(), site.stop.clone()).await;
    // A context may be large, and is of no more use.
    let _ = tokio::fs::remove_file(&context).await;
    match end {
        BuildEnd::Halted(halted) => Err(halted),
        BuildEnd::Failed(why) => {
            let mend = "the log says how far it came".to_owned();
            let finding = Finding { mend, ..Finding::whole("", why) };
            cases.push(Case::new(BUILT, Verdict::Failed(vec![finding])));
            Ok(())
        }
        BuildEnd::Built(id) => {
            let _ = site.built.set(id.clone());
            site.say(format!("built {id} as {tag}\n")).await;
            cases.push(Case::new(BUILT, Verdict::Passed));
            cases.extend(spec(site, id, recipe.airbyte).await?);
            Ok(())
        }
    }
}

/// With whom a build shares its layers: as results are shared, whoever may use those of others would
/// have them use its own.
fn scope(task: &Task) -> String {
    let repository = match task.images {
        Images::OfJob { repository } => repository,
        Images::Kept { .. } => 0,
    };
    match task.share {
        Some(Share::Repository) => format!("{repository}.all"),
        Some(Share::Pull(pull)) => format!("{repository}.pull-{pull}"),
        Some(Share::Nothing) | None => format!("{repository}.{}", task.step.labels.job),
    }
}

/// What the context has beside the source, or in place of something there.
fn files(recipe: &Recipe, trust: Option<&Trust>) -> Vec<(&'static str, Vec<u8>)> {
    let own = recipe.generated.as_ref().map(|text| ("Dockerfile", text.clone().into_bytes()));
    let authorities = recipe.names_authorities().then(|| {
        let pem = trust.map(|trust| trust.pem().to_vec());
        (build::AUTHORITIES, pem.unwrap_or_default())
    });
    own.into_iter().chain(authorities).collect()
}

/// The step with its variables as the build's arguments: of authorities only a Dockerfile is told that
/// takes them, since it would look for a file that is not there.
fn step_of(step: &StepRun, recipe: &Recipe, trust: Option<&Trust>) -> StepRun {
    let mut step = step.clone();
    for name in trust.filter(|_| recipe.names_authorities()).iter().flat_map(|t| t.variables()) {
        let variable = step.env.entry(name.to_owned());
        variable.or_insert_with(|| build::AUTHORITIES_AT.to_owned());
    }
    step
}

/// What is built must at least say what it wants to be configured with.
async fn spec<E: Executor>(
    site: &Site<'_, E>,
    image: String,
    airbyte: bool,
) -> Result<Vec<Case>, Halted> {
    if !airbyte {
        let why = "its folder has no metadata of Airbyte's, by which it would answer to `spec`";
        return Ok(vec![Case::new("spec: ends well", Verdict::Skipped(why.to_owned()))]);
    }
    let mut step = site.task.step.clone();
    step.image = image;
    step.env.clear();
    let arguments = vec!["spec".to_owned()];
    let talk = Talk { step, arguments, files: Vec::new(), config: None, limit: SPEC };
    let ear = Ear::new(Spec::default(), Spec::hear, site.task.redactor.clone());
    let (end, ear) = listen(site, talk, ear).await?;
    Ok(ear.judge.cases(Named("spec"), &end, None))
}
