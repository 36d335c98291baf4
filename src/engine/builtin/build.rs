//! Builds the connector's image, and asks it for its `spec`.

use std::time::Duration;

use super::listen::{Ear, listen};
use super::{Images, Site, blocking};
use crate::domain::acceptance::{Named, Spec};
use crate::domain::build::{Folder, Recipe, Sources, dev_name, sources};
use crate::domain::builtin::{Case, Report, Verdict};
use crate::domain::catalog::Finding;
use crate::domain::plan::below;
use crate::exec::Executor;
use crate::exec::images::{BuildEnd, Halted, ImageBuild, Talk};

/// Bytes of a file that is looked at.
const LARGEST: u64 = 1 << 20;
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
    if let Some(recipe) = recipe(site, &folder, &mut cases) {
        make(site, &folder, recipe, &mut cases).await?;
    }
    Ok(Report { suite: "build", cases, note: None })
}

/// How the image is made, if it can be.
fn recipe<E>(
    site: &Site<'_, E>,
    folder: &Folder,
    cases: &mut Vec<Case>,
) -> Option<(Recipe, Vec<String>)> {
    let root = site.task.plan.root();
    let recipe = match folder.recipe() {
        Ok(recipe) => recipe,
        Err(why) => {
            let verdict = Verdict::Failed(vec![Finding::whole(root, why)]);
            cases.push(Case::new("there is a Dockerfile, or one can be made", verdict));
            return None;
        }
    };
    cases.push(Case::new("there is a Dockerfile, or one can be made", Verdict::Passed));
    let path = format!("{root}/Dockerfile").trim_start_matches('/').to_owned();
    let finding = |(line, text, mend): (usize, String, &str)| Finding {
        path: path.clone(),
        line: u32::try_from(line).ok(),
        column: Some(1),
        text,
        mend: mend.to_owned(),
    };
    let Sources { images, mut refused } = sources(&recipe.dockerfile, &site.task.step.env);
    if u64::try_from(recipe.dockerfile.len()).is_ok_and(|length| length >= LARGEST) {
        refused.push((1, "it is larger than 1 MiB".to_owned(), "make it smaller"));
    }
    let verdict = Verdict::of(refused.into_iter().map(finding).collect());
    let good = verdict == Verdict::Passed;
    cases.push(Case::new("it builds on images of registries alone", verdict));
    good.then_some((recipe, images))
}

async fn make<E: Executor>(
    site: &Site<'_, E>,
    folder: &Folder,
    (recipe, images): (Recipe, Vec<String>),
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
        Images::Kept => dev_name(&recipe, step.labels.connector.as_str()),
    };
    let labels = recipe.labels.clone();
    let (step, passing) = (step.clone(), matches!(site.task.images, Images::OfJob { .. }));
    let context_file = context.clone();
    let build =
        ImageBuild { step, context: context_file, tag: tag.clone(), labels, images, passing };
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
