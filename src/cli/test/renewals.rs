//! Secrets that connectors renew under `test`: each new value is a file at once, as Airbyte's own
//! tool keeps it, and goes back to Secret Manager from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ambient;
use crate::domain::builtin::Builtin;
use crate::domain::names::{ConnectorName, SecretName};
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Plan;
use crate::domain::renewal::{NotWritten, Renewed, WrittenBack, digest, hidden};
use crate::domain::secret::{SecretSource, SecretValue};
use crate::secrets::{Of, Providers};
use crate::service::rotations::told;
use crate::service::secrets::Files;

/// Below `secrets/`.
const FOLDER: &str = "updated_configurations";

/// Those of one connector.
#[derive(Debug)]
pub struct LocalRenewals {
    providers: Arc<Providers>,
    /// Is Secret Manager itself asked?
    remote: bool,
    connector: ConnectorName,
    /// The connector's `secrets/` in the work tree, if there is one.
    folder: Option<PathBuf>,
    secrets: BTreeMap<SecretName, SecretSource>,
    pending: Mutex<BTreeMap<SecretName, Pending>>,
}

/// A value on its way.
#[derive(Debug, Clone)]
struct Pending {
    before: Vec<String>,
    value: SecretValue,
    /// Where it is kept, and the ones before it.
    files: Vec<PathBuf>,
}

impl LocalRenewals {
    /// For the secrets of those steps of a plan that are to run.
    pub fn new(
        (providers, remote): (Arc<Providers>, bool),
        plan: &Plan,
        folder: Option<PathBuf>,
        runs: impl Fn(&StepSpec) -> bool,
    ) -> Self {
        let uploads = plan.steps().iter().filter(|step| step.is(Builtin::UploadSecrets));
        let uploads = uploads.filter(|step| step.left_out.is_none() && runs(step));
        let names: BTreeSet<&SecretName> = uploads.flat_map(|step| &step.secrets).collect();
        let secrets = plan.secrets().iter().filter(|secret| names.contains(&secret.name));
        let secrets = secrets.map(|secret| (secret.name.clone(), secret.source.clone())).collect();
        let connector = plan.connector().clone();
        Self { providers, remote, connector, folder, secrets, pending: Mutex::default() }
    }

    /// Keeps a new value, as a file that only its owner can read.
    pub(super) async fn keep(&self, renewed: &Renewed) -> io::Result<()> {
        let name = &renewed.secret;
        let Some(source) = self.secrets.get(name) else { return Ok(()) };
        let mut files = Vec::new();
        if let Some(folder) = &self.folder {
            let at = renewed.emitted_at.unwrap_or_else(|| ambient::now().as_millis());
            let file = folder.join(FOLDER).join(format!("{}|{at}.json", stem(source)));
            let (path, value) = (file.clone(), renewed.value.clone());
            let written = tokio::task::spawn_blocking(move || write(&path, value.expose()));
            written.await.map_err(io::Error::other)??;
            files.push(file);
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = vec![digest(&renewed.before)];
        if let Some(earlier) = pending.remove(name) {
            before.splice(0..0, earlier.before);
            files.splice(0..0, earlier.files);
        }
        let value = renewed.value.clone();
        pending.insert(name.clone(), Pending { before, value, files });
        Ok(())
    }

    /// Writes back what is kept of these; of all, without names.
    pub(super) async fn write_back(&self, names: Option<&[SecretName]>) -> Vec<WrittenBack> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted = |name: &SecretName| names.is_none_or(|names| names.contains(name));
        let mut done = Vec::new();
        for (name, pending) in pending.into_iter().filter(|(name, _)| wanted(name)) {
            let told = self.write_one(&name, &pending).await;
            if told.is_ok() {
                self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            }
            done.push(WrittenBack { secret: name, told });
        }
        done
    }

    async fn write_one(&self, name: &SecretName, pending: &Pending) -> Result<String, NotWritten> {
        let file = pending.files.last().map(|file| file.display().to_string());
        let Some(SecretSource::Gsm { file: of }) = self.secrets.get(name).filter(|_| self.remote)
        else {
            let why = "there is no work tree in which it could be kept".to_owned();
            let file = file.ok_or(NotWritten { why, passes: false })?;
            return Ok(format!("kept in `{file}`, where the next call finds it"));
        };
        let kept = file.map(|file| format!("; it is kept in `{file}`")).unwrap_or_default();
        let not = |why: String, passes| NotWritten { why: format!("{why}{kept}"), passes };
        let gsm = self.providers.gsm().ok_or_else(|| {
            not("GCP_GSM_CREDENTIALS is not set where this runs".to_owned(), false)
        })?;
        let own = digest(&pending.value);
        let is_same = |there: &SecretValue| digest(there) == own;
        let is_before = |there: &SecretValue| pending.before.contains(&digest(there));
        let place = (&self.connector, of.as_str());
        let back = gsm.write_back(place, &pending.value, (is_same, is_before)).await;
        let said = |text: String| hidden(&pending.value, &self.connector, &text);
        let back = back.map_err(|error| not(said(error.to_string()), error.passes))?;
        for file in &pending.files {
            if let Err(error) = fs::remove_file(file) {
                tracing::warn!(path = %file.display(), "a value that was written back stays: {error}");
            }
        }
        Ok(told(&back))
    }
}

/// What earlier calls kept goes before the files of `secrets/`, by the paths of those.
pub(in crate::cli) fn latest(
    (top, folder): (&Path, &str),
    plan: &Plan,
    providers: &Providers,
) -> io::Result<Files> {
    let of = Of { connector: plan.connector(), root: folder };
    let back = plan.written_back();
    let mut files = Files::new();
    for secret in plan.secrets().iter().filter(|secret| back.contains(&secret.name)) {
        let paths = providers.paths(secret, of);
        let Some(first) = paths.first() else { continue };
        let Some(beside) = Path::new(first).parent() else { continue };
        if let Some(newest) = newest(&top.join(beside).join(FOLDER), stem(&secret.source))? {
            files.insert(first.clone(), fs::read(newest)?);
        }
    }
    Ok(files)
}

/// The file that was made last, by the time in its name.
fn newest(folder: &Path, stem: &str) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut newest = None;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let at = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('|'));
        let at = at.and_then(|rest| rest.strip_suffix(".json")?.parse::<i64>().ok());
        newest = newest.max(at.map(|at| (at, path)));
    }
    Ok(newest.map(|(_, path)| path))
}

fn stem(source: &SecretSource) -> &str {
    match source {
        SecretSource::Gsm { file } | SecretSource::Local { file } => {
            file.strip_suffix(".json").unwrap_or(file)
        }
        SecretSource::Sops { file } => file,
        SecretSource::Env { variable } => variable,
    }
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let shown =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let written = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = folder.join(format!(".{}.new", ambient::ulid()));
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(bytes).and_then(|()| file.sync_all())?;
        fs::rename(&new, path)
    };
    written().map_err(shown)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_newest_file_counts_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("secrets").join(FOLDER);
        assert_eq!(newest(&kept, "config").unwrap(), None);
        for (name, text) in [
            ("config|99.json", "old"),
            ("config|1700000000000.json", "new"),
            ("config_oauth|1800000000000.json", "another's"),
            ("config|later.json", "no time"),
        ] {
            write(&kept.join(name), text.as_bytes()).unwrap();
        }
        let found = newest(&kept, "config").unwrap().unwrap();
        assert_eq!(fs::read_to_string(&found).unwrap(), "new");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&found), mode(&kept)), (0o600, 0o700));
    }
}
