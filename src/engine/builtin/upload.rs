//! Has the secrets written back that the connector renewed.

use tokio::sync::oneshot;

use super::Site;
use crate::domain::builtin::Report;
use crate::domain::renewal::{report, sentences};
use crate::engine::asks::Ask;
use crate::exec::images::Halted;

pub(super) async fn judge<E>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let spec = site.task.plan.step(&site.task.step.labels.step);
    let names = spec.map(|spec| spec.secrets.clone()).unwrap_or_default();
    let (reply, answer) = oneshot::channel();
    // Who refuses to answer has ended the step.
    let asked = site.task.asks.send(Ask::WriteBack(names.clone(), reply)).await;
    asked.map_err(|_| Halted::Cancelled)?;
    let done = tokio::select! {
        biased;
        () = site.stop.cancelled() => return Err(Halted::Cancelled),
        done = answer => done.map_err(|_| Halted::Cancelled)?,
    };
    let report = report(&names, &done);
    if done.iter().all(|done| done.told.is_ok()) {
        return Ok(report);
    }
    site.say(report.log()).await;
    // What is kept is tried again when the job has ended: the step need not wait for it.
    let reason = format!(
        "{}; it is tried until it is done, and no other job is given the secret before",
        sentences(&done)
    );
    Err(Halted::Errored { reason, retry: false })
}
