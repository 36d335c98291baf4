//! Surveys of a branch: what a push changed, or all there is.

use super::{Against, Survey, Terms, rules_of, survey};
use crate::config::repository::FILE;
use crate::domain::change::ChangeSet;
use crate::domain::names::Sha;
use crate::domain::rules::PipelineTrigger;
use crate::domain::schedule::Schedule;
use crate::domain::trust::Trust;
use crate::git::{BareRepo, Comparison, Objects};
use crate::service::planning::answers::Answers;
use crate::service::planning::snapshot::{Contents, Snapshot};
use crate::service::planning::{Base, PlanningError, problem};

/// Surveys a commit of the default branch. Its configuration is all its own: what was merged counts.
/// `None`: no pipeline runs for the event.
pub(in crate::service::planning) async fn of_branch(
    objects: &Objects,
    (base, head): (Base<'_>, &Sha),
    event: PipelineTrigger,
) -> Result<Option<Survey>, PlanningError> {
    let at = format!("at {}", head.short());
    let answers = Answers::open(objects.answers());
    let from = Contents { objects, answers: &answers, work_tree: None, record: true };
    let entries = objects.tree(head).await?;
    let against = match base {
        Base::Of(before) | Base::After(before) => {
            let compared = objects.changes_between(before, head).await;
            let tree = match compared.tree_before(&entries) {
                Some(tree) => Some(tree),
                None if compared.change.is_complete() => Some(objects.tree(before).await?),
                None => None,
            };
            let Comparison { change, .. } = compared;
            let tree = tree.map(|entries| Snapshot::new(from, entries));
            Against { merge_base: Some(before.clone()), change, tree, ..Against::nothing() }
        }
        Base::Unknown { because } => {
            Against { change: ChangeSet::Everything { because }, ..Against::nothing() }
        }
        Base::None => Against::nothing(),
    };
    let snapshot = Snapshot::new(from, entries);
    if event == PipelineTrigger::Push && !runs_for(&snapshot, &at, event).await? {
        return Ok(None);
    }
    let terms = Terms { event: Some(event), trust: Trust::Trusted };
    Box::pin(survey(snapshot, &at, against, (None, terms))).await.map(Some)
}

/// Does any pipeline run for the event? A file that is wrong may have meant so: who pushed it is told;
/// where there is none and the layout is unknown, nobody asked for anything.
async fn runs_for(
    snapshot: &Snapshot<'_>,
    at: &str,
    event: PipelineTrigger,
) -> Result<bool, PlanningError> {
    Ok(match rules_of(snapshot, at, None).await? {
        Ok(rules) => rules.pipelines.iter().any(|pipeline| pipeline.on.contains(&event)),
        Err(_) => snapshot.paths.has_file(FILE),
    })
}

/// What the repository file of a commit says of schedules, or what is wrong with it.
pub async fn schedules(
    repo: &BareRepo,
    commit: &Sha,
) -> Result<Result<Vec<Schedule>, String>, PlanningError> {
    let objects = repo.objects();
    let answers = Answers::open(objects.answers());
    let from = Contents { objects, answers: &answers, work_tree: None, record: false };
    let snapshot = Snapshot::new(from, objects.tree(commit).await?);
    // Presets have none.
    if !snapshot.paths.has_file(FILE) {
        return Ok(Ok(Vec::new()));
    }
    let rules = rules_of(&snapshot, &format!("at {}", commit.short()), None).await?;
    Ok(rules.map(|rules| rules.schedules).map_err(|invalid| problem(&invalid).title))
}
