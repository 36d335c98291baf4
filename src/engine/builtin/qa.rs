//! Shows the source's files to the judge.

use super::{Site, blocking};
use crate::domain::builtin::Report;
use crate::domain::qa::{FILE_MAX, Qa};
use crate::exec::images::Halted;

pub(super) async fn judge<E>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let (plan, source) = (site.task.plan.clone(), site.task.step.source.clone());
    blocking(site.stop, move || {
        let mut qa = Qa::new(&plan);
        source.each_file(FILE_MAX, |path, content| qa.file(path, content))?;
        if qa.lacks_page() {
            source.each_file(FILE_MAX, |path, content| qa.page(path, content))?;
        }
        Ok(qa.finish())
    })
    .await
}
