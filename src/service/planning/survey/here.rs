//! Surveys of the repository that one stands in, and of what was written down of one.

use super::{Against, RepositoryFile, Survey, Terms, against, commits, rules_of, survey};
use crate::domain::names::Sha;
use crate::git::{Comparison, LocalRepo};
use crate::service::planning::PlanningError;
use crate::service::planning::answers::Answers;
use crate::service::planning::definition::Definition;
use crate::service::planning::snapshot::{Contents, Snapshot};

/// Surveys the repository that one stands in: `head` (or the work tree, or in a bare repository
/// HEAD) against its merge base with `base`, or by itself.
pub async fn survey_here(
    repo: &LocalRepo,
    base: Option<&Sha>,
    head: Option<&Sha>,
    file: Option<&RepositoryFile>,
) -> Result<Survey, PlanningError> {
    here(repo, base, head, (file, false)).await
}

/// As [`survey_here`], of the work tree, with all that is read written down.
pub async fn survey_to_replay(
    repo: &LocalRepo,
    base: Option<&Sha>,
    file: Option<&RepositoryFile>,
) -> Result<Survey, PlanningError> {
    here(repo, base, None, (file, true)).await
}

async fn here(
    repo: &LocalRepo,
    base: Option<&Sha>,
    head: Option<&Sha>,
    (file, record): (Option<&RepositoryFile>, bool),
) -> Result<Survey, PlanningError> {
    if repo.work_tree().is_none() || head.is_some() {
        let head = match head {
            Some(head) => head.clone(),
            None => repo.resolve("HEAD").await?,
        };
        return commits(repo.objects(), (base, &head), (file, record), (Terms::of_person(), None))
            .await;
    }
    let answers = Answers::open(repo.objects().answers());
    let (objects, work_tree) = (repo.objects(), repo.work_tree());
    let from = Contents { objects, answers: &answers, work_tree, record };
    let unstaged = repo.unstaged().await?;
    let against = async {
        let Some(base) = base else { return Ok(Against::nothing()) };
        let compared = match repo.resolve("HEAD").await {
            Ok(tip) => repo.changes(base, &tip, &unstaged).await,
            Err(error) => Comparison::everything(None, error.to_string()),
        };
        against(from, base, (compared, None), file).await
    };
    let (entries, against) = tokio::join!(repo.files(&unstaged), against);
    Box::pin(survey(
        Snapshot::new(from, entries?),
        "in the work tree",
        against?,
        (file, Terms::of_person()),
    ))
    .await
}

/// Surveys what was written down of an earlier survey.
pub(in crate::service::planning) async fn of_definition(
    definition: &Definition,
) -> Result<Survey, PlanningError> {
    let (head, tree, tip) = definition.trees();
    let rules = match (&definition.base_at, tip.as_ref().or(tree.as_ref())) {
        (Some(at), Some(tip)) if definition.file.is_none() => Some(rules_of(tip, at, None).await?),
        _ => None,
    };
    let (merge_base, change) = (definition.merge_base.clone(), definition.change.clone());
    let at = definition.base_at.clone();
    let standing = definition.standing.clone();
    let against = Against { merge_base, change, tree, tip, rules, at, standing };
    let terms = Terms { event: definition.event, trust: definition.trust };
    Box::pin(survey(head, &definition.at, against, (definition.file.as_ref(), terms))).await
}
