//! Builds the connector's image, and asks it for its `spec`.

use std::time::Duration;

use super::listen::{Ear, listen};
use super::{Images, Site, blocking};
use crate::domain::acceptance::{Named, Spec};
use crate::domain::build::{self, Folder, Recipe, Sources, Unbuildable, dev_name, sources};
use crate::domain::builtin::{Case, Report, Verdict};
use crate::domain::catalog::Finding;
use crate::domain::plan::below;
use crate::exec::Executor;
use crate::exec::images::{BuildEnd, Halted, ImageBuild, Talk};

/// Bytes of a file that is looked at.
const LARGEST: u64 = build::LARGEST as u64;
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
        Ok(folder)
    });
    let folder = folder.await?;
    let mut notes = Vec::new();
    if let Some((recipe, sources)) = recipe(site, &folder, &mut cases) {
        notes.clone_from(&recipe.notes);
        for note in &notes {
            site.say(format!("note: {note}\n")).await;
        }
        make(site, &folder, (recipe, sources), &mut cases).await?;
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Report { suite: "build", cases, note })
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
        Err(Unbuildable { file, flaw }) => {
            let path = format!("{root}/{file}");
            let finding = Finding::of(path.trim_matches('/'), flaw);
            let verdict = Verdict::Failed(vec![finding]);
            cases.push(Case::new("there is a Dockerfile, or one can be made", verdict));
            return None;
        }
    };
    cases.push(Case::new("there is a Dockerfile, or one can be made", Verdict::Passed));
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
    (recipe, sources): (Recipe, Sources),
    cases: &mut Vec<Case>,
) -> Result<(), Halted> {
    let step = &site.task.step;
    let context = step.out.with_file_name("context.tar");
    let (to, source) = (context.clone(), step.source.clone());
    let (root, ignore) = (site.task.plan.root().to_owned(), folder.ignore());
    let generated = recipe.generated.clone();
    blocking(site.stop, move || {
        let excluded = |path: &str| ignore.excludes(path);
        source.build_context(&to, &root, excluded, generated.as_deref())
    })
    .await?;
    if let Some(dockerfile) = &recipe.generated {
        site.say(format!("the Dockerfile that is made of the base image:\n{dockerfile}\n")).await;
    }
    let tag = match site.task.images {
        Images::OfJob { repository } => format!("checkvalve/{repository}:{}", step.labels.job),
        Images::Kept { tag } => dev_name(&recipe, step.labels.connector.as_str(), tag),
    };
    let labels = recipe.labels.clone();
    let (step, passing) = (step.clone(), matches!(site.task.images, Images::OfJob { .. }));
    let Sources { images, platforms, .. } = sources;
    let build = ImageBuild {
        step,
        context: context.clone(),
        tag: tag.clone(),
        labels,
        images,
        platforms,
        passing,
    };
    let end = site.executor.build(build, site.log.clone(), site.stop.clone()).await;
    // A context may be large, and is of no more use.
    let _ = tokio::fs::remove_file(&context).await;
    let name = "the image is built";
    match end {
        BuildEnd::Halted(halted) => Err(halted),
        BuildEnd::Failed(why) => {
            let mend = "the log says how far it came".to_owned();
            let finding = Finding { mend, ..Finding::whole("", why) };
            cases.push(Case::new(name, Verdict::Failed(vec![finding])));
            Ok(())
        }
        BuildEnd::Built(id) => {
            let _ = site.built.set(id.clone());
            site.say(format!("built {id} as {tag}\n")).await;
            cases.push(Case::new(name, Verdict::Passed));
            cases.extend(spec(site, id, recipe.airbyte).await?);
            Ok(())
        }
    }
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
