//! Has a scanner look through the image that was built, and judges what it found.

use super::{Site, blocking, built_image};
use crate::domain::builtin::Report;
use crate::domain::scan::{self, Exit, IMAGE, VARIABLE};
use crate::domain::state::Outcome;
use crate::engine::found;
use crate::exec::Executor;
use crate::exec::images::{Halted, Scan};

pub(super) async fn judge<E: Executor>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let image = built_image(site)?;
    let mut step = site.task.step.clone();
    step.env.insert(VARIABLE.to_owned(), IMAGE.to_owned());
    let (out, spool) = (step.out.clone(), step.out.with_file_name("image.tar"));
    let scan = Scan { step, image, path: IMAGE, spool: spool.clone() };
    let ended = site.executor.scan(scan, site.log.clone(), site.stop.clone()).await;
    // An image may be large, and is of no more use here.
    let _ = tokio::fs::remove_file(&spool).await;
    let (outcome, retry) = (ended.outcome, ended.retry);
    let exit = ended.exit_code.map(|code| Exit { code, reason: ended.reason.clone() });
    let reason = ended.reason.clone();
    let _ = site.ran.set(ended);
    let exit = match (outcome, exit) {
        (Outcome::Succeeded | Outcome::Failed, Some(exit)) => exit,
        (Outcome::Cancelled, _) => return Err(Halted::Cancelled),
        (Outcome::Errored | Outcome::TimedOut | Outcome::Succeeded | Outcome::Failed, _) => {
            let reason = reason.unwrap_or_else(|| "the scanner's end is not known".to_owned());
            return Err(Halted::Errored { reason, retry });
        }
    };
    let spec = site.task.plan.step(&site.task.step.labels.step);
    let path = spec.and_then(|spec| spec.sarif.clone()).unwrap_or_else(|| scan::SARIF.to_owned());
    let fail = spec.map(|spec| spec.fail).unwrap_or_default();
    let (redactor, halt) = (site.task.redactor.clone(), site.stop.clone());
    // Its findings go to the log, to the cases and on: it holds no secret when it is read.
    let read = blocking(site.stop, move || {
        let found = match std::fs::symlink_metadata(out.join(&path)) {
            Ok(_) => found::annotations((&out, &path), &redactor, &halt),
            Err(_) => Err("the scanner did not write it".to_owned()),
        };
        let found = found.map_err(|why| format!("`{path}`: {why}"));
        let cases = scan::cases(&exit, found.as_ref().map_err(String::clone), fail);
        Ok((cases, found.ok()))
    });
    let (cases, found) = read.await?;
    if let Some(found) = found {
        let _ = site.found.set(found);
    }
    Ok(Report { suite: "scan", cases, note: None })
}
