//! Whether a step is tried again.

use std::time::Duration;

use crate::domain::pipeline::StepSpec;
use crate::domain::run::Tries;
use crate::domain::state::Outcome;
use crate::engine::EngineOptions;
use crate::engine::attempt::Tried;

/// How long to wait before the step is tried again, if it is, and what it has used up by then.
pub(super) fn again<L>(
    options: &EngineOptions,
    spec: &StepSpec,
    before: Tries,
    tried: &Tried<L>,
) -> Option<(Duration, Tries)> {
    let Tries { failed, errored } = before;
    match tried.outcome {
        Outcome::Errored if tried.retry && errored < options.error_retries => {
            let pause = options.backoff.saturating_mul(5_u32.saturating_pow(errored));
            Some((pause, Tries { errored: errored + 1, failed }))
        }
        Outcome::Failed if failed < spec.retries => {
            Some((Duration::ZERO, Tries { failed: failed + 1, errored }))
        }
        Outcome::Succeeded
        | Outcome::Failed
        | Outcome::TimedOut
        | Outcome::Errored
        | Outcome::Cancelled => None,
    }
}
