//! A job's secrets: which of them its steps want, whether they are granted, and their values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::config::grants::Grants;
use crate::domain::names::{ConnectorName, RepoName, SecretName, Sha, StepId};
use crate::domain::plan::Plan;
use crate::domain::secret::{Brought, JobSecrets, LARGEST, NoValue, SecretSpec};
use crate::git::{EntryKind, GitError, Objects};
use crate::secrets::{Of, Providers};

/// An encrypted file is larger than what it holds.
const LARGEST_FILE: usize = 16 * LARGEST;

/// Files by their path in the tree.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Where a server takes secrets from, and what it gives to whom.
#[derive(Clone)]
pub struct SecretAccess {
    pub providers: Arc<Providers>,
    pub grants: Grants,
}

impl SecretAccess {
    /// Those of a job of a served repository. Grants are asked here again: the plan may be from a
    /// server with others.
    pub async fn of_job(
        &self,
        repository: &RepoName,
        wanted: &Wanted<'_>,
        files: &Files,
    ) -> Gathered {
        let refusal =
            |secret: &SecretSpec| self.grants.refusal(repository, wanted.plan.connector(), secret);
        wanted.bring(&self.providers, files, refusal).await
    }
}

/// What came of asking for all of them.
#[derive(Debug, Default)]
pub struct Gathered {
    pub secrets: JobSecrets,
    /// Why asking again soon may bring more.
    pub again: Option<String>,
}

/// The secrets that the steps of a plan want.
pub struct Wanted<'a> {
    plan: &'a Plan,
    secrets: Vec<SecretSpec>,
    /// The connector's folder.
    folder: &'a str,
    /// Those that can't be given now, with why.
    withheld: BTreeMap<SecretName, String>,
}

impl<'a> Wanted<'a> {
    /// Those of the steps that are to run.
    pub fn of(plan: &'a Plan, folder: &'a str, runs: impl Fn(&StepId) -> bool) -> Self {
        let steps = plan.steps().iter().filter(|step| step.left_out.is_none() && runs(&step.id));
        let names: BTreeSet<_> = steps.flat_map(|step| &step.secrets).collect();
        let secrets = plan.secrets().iter().filter(|secret| names.contains(&secret.name));
        let (secrets, withheld) = (secrets.cloned().collect(), BTreeMap::new());
        Self { plan, secrets, folder, withheld }
    }

    /// The same without some of them, for now: why, for each.
    #[must_use]
    pub fn without(self, withheld: BTreeMap<SecretName, String>) -> Self {
        Self { withheld, ..self }
    }

    fn whose(&self) -> Of<'_> {
        let connector: &ConnectorName = self.plan.connector();
        Of { connector, root: self.folder }
    }

    /// The files of the tree that they are read from.
    pub fn paths(&self, providers: &Providers) -> BTreeSet<String> {
        providers.all_paths(&self.secrets, self.whose())
    }

    /// Their values, or why not.
    pub async fn bring(
        &self,
        providers: &Providers,
        files: &Files,
        refusal: impl Fn(&SecretSpec) -> Option<String>,
    ) -> Gathered {
        let (mut brought, mut again) = (Vec::new(), None);
        for secret in &self.secrets {
            let withheld = self.withheld.get(&secret.name).cloned();
            again = again.or_else(|| withheld.clone());
            let fetched = match withheld.or_else(|| refusal(secret)) {
                Some(why) => Err(NoValue::Unavailable(why)),
                None => providers.fetch(secret, self.whose(), files).await.map_err(|error| {
                    let why = error.to_string();
                    if error.passes {
                        again = Some(format!("secret `{}`: {why}", secret.name));
                    }
                    if error.missing { NoValue::Missing(why) } else { NoValue::Unavailable(why) }
                }),
            };
            let (value, note) = match fetched {
                Ok(fetched) => (Ok(fetched.value), fetched.note),
                Err(no) => (Err(no), None),
            };
            brought.push(Brought { secret: secret.clone(), value, note });
        }
        match built(self.plan.connector(), brought).await {
            Ok(secrets) => Gathered { secrets, again },
            Err(why) => Gathered { secrets: JobSecrets::default(), again: Some(why) },
        }
    }
}

/// Elsewhere: large values take a while, and the task that waits also keeps the job's lease.
async fn built(connector: &ConnectorName, brought: Vec<Brought>) -> Result<JobSecrets, String> {
    let connector = connector.clone();
    let built = tokio::task::spawn_blocking(move || JobSecrets::new(&connector, brought)).await;
    built.map_err(|error| format!("its secrets could not be made ready: {error}"))
}

/// Files of a commit; those that are not there, or are links, are left out.
pub async fn committed(
    objects: &Objects,
    commit: &Sha,
    paths: &BTreeSet<String>,
) -> Result<Files, GitError> {
    let mut files = Files::new();
    if paths.is_empty() {
        return Ok(files);
    }
    let tree = objects.tree(commit).await?;
    let plain = |kind| matches!(kind, EntryKind::File | EntryKind::Executable);
    for entry in tree.iter().filter(|entry| plain(entry.kind) && paths.contains(&entry.path)) {
        let content = objects.read(&entry.oid, LARGEST_FILE).await?;
        files.extend(content.map(|content| (entry.path.clone(), content)));
    }
    Ok(files)
}

/// Files of a work tree; those that are not there are left out.
pub fn on_disk(top: &Path, paths: &BTreeSet<String>) -> std::io::Result<Files> {
    let mut files = Files::new();
    for path in paths {
        let file = top.join(path);
        if file.is_file() {
            files.insert(path.clone(), std::fs::read(file)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::domain::builtin::Builtin;
    use crate::domain::pipeline::StepSpec;
    use crate::domain::plan::Inputs;
    use crate::domain::secret::{Delivery, SecretSource, SecretValue, VARIABLE_PREFIX};
    use crate::secrets::Access;

    #[tokio::test]
    async fn what_nobody_has_is_missing_and_what_nobody_can_tell_is_not() {
        let secret = |name: &str, source| {
            let name = name.parse().unwrap();
            SecretSpec { name, source, delivery: Delivery::File }
        };
        let file = "config".to_owned();
        let variable = format!("{VARIABLE_PREFIX}NOBODY_SET_IT");
        let secrets = vec![
            secret("here", SecretSource::Local { file: file.clone() }),
            secret("tree", SecretSource::Sops { file: "config.yaml".to_owned() }),
            secret("server", SecretSource::Env { variable }),
            secret("google", SecretSource::Gsm { file: file.clone() }),
            secret("refused", SecretSource::Local { file }),
        ];
        let step = |name: &str, uses: Option<Builtin>| StepSpec {
            uses: uses.map(Into::into),
            secrets: vec![name.parse().unwrap()],
            ..StepSpec::new(name.parse().unwrap())
        };
        let names = ["here", "tree", "server", "google", "refused"];
        let steps = names.map(|name| step(name, None)).to_vec();
        let plan = Plan::new("source-x".parse().unwrap(), "x".into(), Inputs::default(), steps);
        let plan = plan.unwrap().with_secrets(secrets);
        let wanted = Wanted::of(&plan, "x", |_| true);
        let providers = Providers::new(Access::default(), false).unwrap();
        let refusal = |secret: &SecretSpec| {
            (secret.name.as_str() == "refused").then(|| "it is not granted".to_owned())
        };
        let brought = wanted.bring(&providers, &Files::new(), refusal).await.secrets;
        for name in names {
            let missing = brought.of_step(&step(name, Some(Builtin::Acceptance)));
            let is_missing = ["here", "tree", "server"].contains(&name);
            assert_eq!(missing.is_ok(), is_missing, "{name}: {missing:?}");
            assert!(brought.of_step(&step(name, None)).is_err());
        }
    }

    #[tokio::test]
    async fn values_are_made_ready_without_holding_up_who_keeps_the_lease() {
        let source = SecretSource::Local { file: "config".to_owned() };
        let name = "config".parse().unwrap();
        let secret = SecretSpec { name, source, delivery: Delivery::File };
        let lines = (0..4000).map(|n| format!("key{n}=value{n}\n")).collect::<Vec<_>>().concat();
        let value = Ok(SecretValue::new(lines.into_bytes()));
        let connector = "source-x".parse().unwrap();
        let mut built = pin!(built(&connector, vec![Brought { secret, value, note: None }]));
        let at_once = poll_fn(|cx| Poll::Ready(built.as_mut().poll(cx).is_ready())).await;
        assert!(!at_once);
        assert!(built.await.is_ok());
    }
}
