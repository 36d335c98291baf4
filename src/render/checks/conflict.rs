//! What a check says where the merge that it would test can't be made.

use crate::domain::verdict::Standing;
use crate::render::markdown::{code, fenced};

/// What is in the way, its files, and the mend, in about `max` bytes; empty for a step that is not
/// held.
pub(super) fn text(standing: &Standing<'_>, max: usize) -> String {
    let held = standing.step.state.conflict().is_some();
    let Some(conflict) = standing.job.plan.conflict().filter(|_| held) else {
        return String::new();
    };
    format!(
        "The pipeline says `merge: true`: what is tested is the head {} merged with the base {}, and \
         the two don't merge:\n\n{}Merge the base branch into this one, or rebase, and push.\n\n",
        code(standing.run.head_sha.short()),
        code(conflict.base.short()),
        fenced(&conflict.listed(), max),
    )
}
