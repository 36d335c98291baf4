//! Check runs that are one pull request's alone say in their names for whom they are. When that
//! changes, their names do: under the old one, what was true once would stand on the head for ever.

use std::time::Duration;

use tracing::warn;

use super::shown::Misnamed;
use super::{GIVEN_UP, Held, LATEST, Publisher, Trouble};
use crate::domain::detail::Detail;
use crate::domain::time::Timestamp;
use crate::github::{GithubError, Retry};
use crate::store::{ClaimedHead, Stage};

/// A pause after GitHub could not be reached, or did not know the check run.
const LATER: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Renamed {
    /// What is known of the head is not what GitHub shows of it any more.
    pub(super) any: bool,
    /// The budget did not go far enough: come back after this long.
    pub(super) later: Option<Duration>,
    /// Of these GitHub could not be told for now.
    pub(super) held: Vec<(Misnamed, Duration)>,
    /// GitHub lets nothing be called otherwise.
    pub(super) refused: Option<GithubError>,
}

impl Publisher {
    /// Gives check runs the names that are right by now, as far as the budget goes.
    pub(super) async fn rename(
        &self,
        holder: &mut Held<'_>,
        misnamed: Vec<Misnamed>,
    ) -> Result<Renamed, Trouble> {
        let head = holder.head;
        let stage = Stage { detail: head.detail.unwrap_or(Detail::Step), wanted: 0 };
        let (mut renamed, mut rest) = (Renamed::default(), None);
        let mut left = misnamed.into_iter();
        for misnamed in left.by_ref() {
            let Misnamed { id, github_id, since, ref name } = misnamed;
            renamed.later = self.leave_to_write(holder, stage).await?;
            if let Some(wait) = renamed.later {
                // Nothing is made under the name that it is to have.
                renamed.held.push((misnamed, wait));
                rest = Some(wait);
                break;
            }
            match self.github.rename_check(&head.repository, github_id, name).await {
                Err(error) if self.has_lost(head, (Some(github_id), since), &error).await? => {
                    warn!(check = name, "GitHub has it no more: {error}");
                    self.store.forget_check(head, id).await?;
                    self.store.count_mended("lost", 1).await?;
                    renamed.any = true;
                }
                // Or it is another App's by now, whose check runs stay as they are.
                Err(error @ GithubError::Refused { .. }) => {
                    warn!(check = name, "GitHub does not let it be called so: {error}");
                    self.store.refuse_name(head, id, (name, None)).await?;
                }
                // Made a moment ago, it may be unknown to some of GitHub's hosts; the others are not.
                Err(error @ GithubError::NotFound { .. }) => {
                    warn!(check = name, "it is called so later: {error}");
                    let pause = pause(head, since);
                    self.store.refuse_name(head, id, (name, pause)).await?;
                    renamed.held.extend(pause.map(|pause| (misnamed, pause)));
                    if pause != Some(LATER) {
                        rest = Some(LATER);
                        break;
                    }
                }
                // It is not about the name: nothing is let be called otherwise.
                Err(error) if error.retry() == Retry::Never => {
                    warn!(check = name, "not called so: {error}");
                    renamed.refused = Some(error);
                    break;
                }
                // What else is to be told does not wait for it.
                Err(error) => {
                    warn!(check = name, "it is called so later: {error}");
                    renamed.held.push((misnamed, LATER));
                    rest = Some(LATER);
                    break;
                }
                Ok(()) => {
                    self.store.rename_check(head, id, name).await?;
                    renamed.any = true;
                }
            }
        }
        if let Some(wait) = rest {
            renamed.held.extend(left.map(|misnamed| (misnamed, wait)));
        }
        Ok(renamed)
    }
}

/// When a check run that GitHub did not know just now is asked for again, by how long it has had it;
/// `None`: never.
fn pause(head: &ClaimedHead, since: Timestamp) -> Option<Duration> {
    let age = head.now.since(since);
    (age < GIVEN_UP).then(|| (age / 4).clamp(LATER, LATEST))
}
