//! Speaks with the connector's image as `acceptance-test-config.yml` asks.

mod files;
mod renewed;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::files::Files;
use super::listen::{Ear, listen};
use super::{Judged, Site, blocking, built_image};
use crate::domain::acceptance::config::{Asked, Config, Suite, Test};
use crate::domain::acceptance::{
    Catalog, Check, End, Heard, Named, Secrets, Spec, impossible, keeps_secrets, skipped,
    unfinished,
};
use crate::domain::builtin::{Case, Report};
use crate::domain::pipeline::StepSpec;
use crate::domain::redact::Redactor;
use crate::domain::secret::SecretValue;
use crate::exec::Executor;
use crate::exec::images::{CONFIG, Halted, Talk};

/// Where the image finds what is no secret.
const CATALOG: &str = "/data/catalog.json";
const STATE: &str = "/data/state.json";
/// Of tests that come after one that was cut off.
const NOT_BEGUN: &str = "not begun: the step ended before";

pub(super) async fn judge<E: Executor>(site: &Site<'_, E>) -> Result<Judged, Halted> {
    let image = built_image(site)?;
    let (config, files) = match Files::gather(site).await? {
        Ok(found) => found,
        Err(case) => {
            return Ok(Report { suite: "acceptance", cases: vec![case], note: None }.into());
        }
    };
    for note in &config.notes {
        site.say(format!("note: {note}\n")).await;
    }
    let mut trial = Trial {
        site,
        image,
        files,
        config: &config,
        cases: Vec::new(),
        spec: None,
        catalogs: BTreeMap::new(),
        redactors: BTreeMap::new(),
        without: BTreeSet::new(),
        renewed: Vec::new(),
    };
    let mut halted = None;
    for suite in Suite::ALL {
        match &halted {
            None => halted = trial.suite(suite).await.err(),
            Some(_) => trial.cases.push(skipped(Named(suite.as_str()), NOT_BEGUN)),
        }
    }
    Ok(Judged { report: trial.report(), halted })
}

/// All tests of one connector.
struct Trial<'a, E> {
    site: &'a Site<'a, E>,
    image: String,
    files: Files,
    config: &'a Config,
    cases: Vec<Case>,
    /// What the connector says of its configuration.
    spec: Option<Value>,
    /// What was discovered, by the path of the configuration.
    catalogs: BTreeMap<String, Option<Catalog>>,
    /// What keeps a configuration out of all that is told, by its path.
    redactors: BTreeMap<String, Arc<Redactor>>,
    /// Configurations that are not there.
    without: BTreeSet<String>,
    /// Configurations that were others in between, and are hidden as those are.
    renewed: Vec<SecretValue>,
}

/// A test with its configuration.
struct Given<'t> {
    test: &'t Test,
    path: String,
    config: Vec<u8>,
    limit: Duration,
    /// Judges whether they were printed.
    secrets: Secrets,
    redactor: Arc<Redactor>,
}

/// What an image is asked with its configuration.
struct Asks {
    command: &'static str,
    files: Vec<(String, Vec<u8>)>,
}

impl<E: Executor> Trial<'_, E> {
    fn report(self) -> Report {
        let without: Vec<String> = self.without.iter().map(|path| format!("`{path}`")).collect();
        let note = (!without.is_empty()).then(|| {
            let paths = without.join(", ");
            format!("no credentials: what needs {paths} was skipped, not passed")
        });
        Report { suite: "acceptance", cases: self.cases, note }
    }

    async fn suite(&mut self, suite: Suite) -> Result<(), Halted> {
        let name = suite.as_str();
        let asked = self.config.suites.get(&suite);
        let tests = match asked {
            Some(Asked::Tests(tests)) => tests.clone(),
            Some(Asked::Bypassed(why)) => {
                self.cases.push(skipped(Named(name), &format!("bypassed: {why}")));
                return Ok(());
            }
            None if self.config.strict => {
                let why =
                    "`test_strictness_level: high` demands this suite, or its `bypass_reason`";
                self.cases.push(impossible(Named(name), why));
                return Ok(());
            }
            // What it wants to be configured with is asked in any case: the rest depends on it.
            None if suite == Suite::Spec => vec![Test::default()],
            None => {
                let why = "acceptance-test-config.yml has no such suite";
                self.cases.push(skipped(Named(name), why));
                return Ok(());
            }
        };
        let mut halted = None;
        for (at, test) in tests.iter().enumerate() {
            let name = if tests.len() > 1 { format!("{name} {}", at + 1) } else { name.to_owned() };
            if halted.is_some() {
                self.cases.push(skipped(Named(&name), NOT_BEGUN));
                continue;
            }
            self.site.say(format!("== {name}\n")).await;
            if let Err(why) = self.test(suite, Named(&name), test).await {
                let case = self.unfinished(Named(&name), &why);
                self.cases.push(case);
                halted = Some(why);
            }
        }
        halted.map_or(Ok(()), Err)
    }

    /// The test that ran when the step had to end. What was judged before is not lost.
    fn unfinished(&self, named: Named<'_>, halted: &Halted) -> Case {
        let task = self.site.task;
        match halted {
            Halted::Cancelled if task.overdue.is_cancelled() => {
                let step = task.plan.step(&task.step.labels.step);
                unfinished(named, step.map(StepSpec::timeout).unwrap_or_default())
            }
            Halted::Cancelled => skipped(named, "cut off: the step was cancelled"),
            Halted::Errored { reason, .. } => skipped(named, &format!("cut off: {reason}")),
        }
    }

    async fn test(&mut self, suite: Suite, named: Named<'_>, test: &Test) -> Result<(), Halted> {
        if suite == Suite::Spec {
            return self.spec(named, test).await;
        }
        let Some(mut given) = self.given(suite, named, test).await? else { return Ok(()) };
        let before = self.cases.len();
        let done = match suite {
            Suite::Spec | Suite::Connection => self.check(named, &mut given).await,
            Suite::Discovery => self.discover(named, &mut given).await,
            Suite::BasicRead => self.basic_read(named, &mut given).await,
            Suite::FullRefresh => self.full_refresh(named, &mut given).await,
            Suite::Incremental => self.incremental(named, &mut given).await,
        };
        // What the image said may be quoted in what is wrong with it.
        for case in self.cases.iter_mut().skip(before) {
            case.redact(&given.redactor);
        }
        done?;
        self.cases.push(keeps_secrets(named, &given.secrets));
        Ok(())
    }

    /// The test's configuration; without it the test is skipped, and never passed.
    async fn given<'t>(
        &mut self,
        suite: Suite,
        named: Named<'_>,
        test: &'t Test,
    ) -> Result<Option<Given<'t>>, Halted> {
        let path = test.configuration();
        let Some(config) = self.files.config(&path) else {
            let why = format!("no credentials: `{path}` is not there");
            self.cases.push(skipped(named, &why));
            self.without.insert(path);
            return Ok(None);
        };
        let config = config.to_vec();
        let Ok(value) = serde_json::from_slice::<Value>(&config) else {
            self.cases.push(impossible(named, &format!("`{path}` is no JSON")));
            return Ok(None);
        };
        let redactor = match self.redactor(&path, &config).await? {
            Ok(redactor) => redactor,
            Err(why) => {
                self.cases.push(impossible(named, &format!("`{path}`: {why}")));
                return Ok(None);
            }
        };
        let spec = self.spec.clone();
        let secrets = blocking(self.site.stop, move || Ok(Secrets::of(spec.as_ref(), &value)));
        let secrets = secrets.await?.with(self.site.task.redactor.clone());
        let limit = test.timeout.unwrap_or(suite.limit());
        Ok(Some(Given { test, path, config, limit, secrets, redactor }))
    }

    /// What keeps a configuration and the step's secrets out of all that is told; why it can't, if
    /// they are too large.
    async fn redactor(
        &mut self,
        path: &str,
        config: &[u8],
    ) -> Result<Result<Arc<Redactor>, String>, Halted> {
        if let Some(redactor) = self.redactors.get(path) {
            return Ok(Ok(redactor.clone()));
        }
        let (hidden, connector) = (self.hidden(config), self.connector());
        let made = blocking(self.site.stop, move || {
            Ok(Redactor::of(hidden.iter().map(SecretValue::expose), &connector))
        });
        let made = made.await?.map(Arc::new);
        if let Ok(redactor) = &made {
            self.redactors.insert(path.to_owned(), redactor.clone());
        }
        Ok(made)
    }

    async fn spec(&mut self, named: Named<'_>, test: &Test) -> Result<(), Halted> {
        let expected = match test.spec_path.as_deref().map(|path| (path, self.files.json(path))) {
            None => None,
            Some((_, Ok(value))) => Some(value),
            Some((path, Err(why))) => {
                self.cases.push(impossible(named, &format!("`spec_path`: `{path}` {why}")));
                return Ok(());
            }
        };
        let talk =
            self.talk(test, vec!["spec".to_owned()], test.timeout.unwrap_or(Suite::Spec.limit()));
        let ear = Ear::new(Spec::default(), Spec::hear, self.site.task.redactor.clone());
        let (end, ear) = listen(self.site, talk, ear).await?;
        self.cases.extend(ear.judge.cases(named, &end, expected.as_ref()));
        self.spec = ear.judge.schema_of().cloned().or(self.spec.take());
        Ok(())
    }

    async fn check(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let asked = Asks { command: "check", files: Vec::new() };
        let (end, check) = self.call(asked, given, Check::default(), Check::hear).await?;
        self.cases.extend(check.cases(named, &end, given.test.status));
        Ok(())
    }

    /// Calls the image with the configuration, and whatever files it is given.
    async fn call<J: Send + 'static>(
        &mut self,
        Asks { command, files }: Asks,
        given: &mut Given<'_>,
        judge: J,
        hear: fn(&mut J, Heard),
    ) -> Result<(End, J), Halted> {
        let mut arguments = vec![command.to_owned(), "--config".to_owned(), CONFIG.to_owned()];
        for (path, _) in &files {
            let flag = if path == CATALOG { "--catalog" } else { "--state" };
            arguments.extend([flag.to_owned(), path.clone()]);
        }
        let talk = self.talk(given.test, arguments, given.limit);
        let talk = Talk { files, config: Some(given.config.clone()), ..talk };
        let ear = Ear::new(judge, hear, given.redactor.clone());
        let renewals = self.renewals(given);
        let ear = ear.watching(std::mem::take(&mut given.secrets), renewals);
        let (end, ear) = listen(self.site, talk, ear).await?;
        given.secrets = ear.secrets;
        self.turn(given, ear.lost, ear.renewals).await?;
        Ok((end, ear.judge))
    }

    fn talk(&self, test: &Test, arguments: Vec<String>, limit: Duration) -> Talk {
        let mut step = self.site.task.step.clone();
        step.image.clone_from(&self.image);
        step.env.extend(self.config.env.clone());
        step.env.extend(test.deployment.clone().map(|mode| ("DEPLOYMENT_MODE".to_owned(), mode)));
        Talk { step, arguments, files: Vec::new(), config: None, limit }
    }
}
