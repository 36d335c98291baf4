//! Speaks with the connector's image as `acceptance-test-config.yml` asks.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use self::files::Files;
use super::Site;
use super::listen::listen;
use crate::domain::acceptance::config::{Asked, Config, Suite, Test};
use crate::domain::acceptance::{
    Catalog, Check, Discover, End, Expected, Heard, Named, Read, Secrets, Spec, States, impossible,
    keeps_secrets, missing, skipped,
};
use crate::domain::builtin::{Case, Report, Verdict};
use crate::exec::Executor;
use crate::exec::images::{CONFIG, Halted, Talk};

/// Where the image finds what is no secret.
const CATALOG: &str = "/data/catalog.json";
const STATE: &str = "/data/state.json";

pub(super) async fn judge<E: Executor>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let Some(image) = site.task.image.clone() else {
        let reason = "the image is not known: the step that builds it did not build one in this \
                      job; run it together with this step";
        return Err(Halted::Errored { reason: reason.to_owned(), retry: false });
    };
    let (config, files) = match Files::gather(site).await? {
        Ok(found) => found,
        Err(case) => return Ok(Report { suite: "acceptance", cases: vec![case], note: None }),
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
        without: BTreeSet::new(),
    };
    for suite in Suite::ALL {
        trial.suite(suite).await?;
    }
    Ok(trial.report())
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
    /// Configurations that are not there.
    without: BTreeSet<String>,
}

/// A test with its configuration.
struct Given<'t> {
    test: &'t Test,
    path: String,
    config: Vec<u8>,
    limit: Duration,
    secrets: Secrets,
}

/// What `read` is given.
struct Reading<'r> {
    catalog: &'r Catalog,
    incremental: bool,
    state: Option<Value>,
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
        for (at, test) in tests.iter().enumerate() {
            let name = if tests.len() > 1 { format!("{name} {}", at + 1) } else { name.to_owned() };
            self.site.say(format!("== {name}\n")).await;
            self.test(suite, Named(&name), test).await?;
        }
        Ok(())
    }

    async fn test(&mut self, suite: Suite, named: Named<'_>, test: &Test) -> Result<(), Halted> {
        if suite == Suite::Spec {
            return self.spec(named, test).await;
        }
        let Some(mut given) = self.given(suite, named, test) else { return Ok(()) };
        let before = self.cases.len();
        match suite {
            Suite::Spec | Suite::Connection => self.check(named, &mut given).await?,
            Suite::Discovery => self.discover(named, &mut given).await?,
            Suite::BasicRead => self.basic_read(named, &mut given).await?,
            Suite::FullRefresh => self.full_refresh(named, &mut given).await?,
            Suite::Incremental => self.incremental(named, &mut given).await?,
        }
        // What the image said may be quoted in what is wrong with it.
        for case in self.cases.iter_mut().skip(before) {
            if let Verdict::Failed(findings) = &mut case.verdict {
                for finding in findings {
                    finding.text = given.secrets.redacted(std::mem::take(&mut finding.text));
                }
            }
        }
        self.cases.push(keeps_secrets(named, &given.secrets));
        Ok(())
    }

    /// The test's configuration; without it the test is skipped, and never passed.
    fn given<'t>(&mut self, suite: Suite, named: Named<'_>, test: &'t Test) -> Option<Given<'t>> {
        let path = test.config_path.clone().unwrap_or_else(|| files::CREDENTIALS.to_owned());
        let Some(config) = self.files.config(&path) else {
            let why = format!("no credentials: `{path}` is not there");
            self.cases.push(skipped(named, &why));
            self.without.insert(path);
            return None;
        };
        let Ok(value) = serde_json::from_slice::<Value>(config) else {
            self.cases.push(impossible(named, &format!("`{path}` is no JSON")));
            return None;
        };
        let secrets = Secrets::of(self.spec.as_ref(), &value);
        let limit = test.timeout.unwrap_or(suite.limit());
        Some(Given { test, config: config.to_vec(), path, limit, secrets })
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
        let mut spec = Spec::default();
        let end = listen(self.site, talk, None, |heard| spec.hear(heard)).await?;
        self.cases.extend(spec.cases(named, &end, expected.as_ref()));
        self.spec = spec.schema_of().cloned();
        Ok(())
    }

    async fn check(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let mut check = Check::default();
        let end = self.call("check", given, Vec::new(), |heard| check.hear(heard)).await?;
        self.cases.extend(check.cases(named, &end, given.test.status));
        Ok(())
    }

    async fn discover(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let mut discover = Discover::default();
        let end = self.call("discover", given, Vec::new(), |heard| discover.hear(heard)).await?;
        self.cases.extend(discover.cases(named, &end));
        self.catalogs.insert(given.path.clone(), discover.catalog().cloned());
        Ok(())
    }

    /// The streams to read: the file's, else what is discovered with this configuration.
    async fn catalog(
        &mut self,
        named: Named<'_>,
        given: &mut Given<'_>,
    ) -> Result<Option<Catalog>, Halted> {
        if let Some(path) = &given.test.catalog_path {
            let file = self.files.json(path);
            let found = file.and_then(|file| {
                Catalog::configured(&file).ok_or_else(|| "is no configured catalog".to_owned())
            });
            return Ok(match found {
                Ok(catalog) => Some(catalog),
                Err(why) => {
                    let why = format!("`configured_catalog_path`: `{path}` {why}");
                    self.cases.push(impossible(named, &why));
                    None
                }
            });
        }
        if !self.catalogs.contains_key(&given.path) {
            let mut discover = Discover::default();
            self.call("discover", given, Vec::new(), |heard| discover.hear(heard)).await?;
            self.catalogs.insert(given.path.clone(), discover.catalog().cloned());
        }
        let found = self.catalogs.get(&given.path).cloned().flatten();
        if found.is_none() {
            self.cases.push(skipped(named, "`discover` gave no streams to read"));
        }
        Ok(found)
    }

    async fn basic_read(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let Some(catalog) = self.catalog(named, given).await? else { return Ok(()) };
        let test = given.test;
        let mut expected = Expected::default();
        let mut flawed = None;
        if let Some(path) = &test.expect_records {
            match self.files.text(path).map(|text| Expected::read(path, &text, &catalog)) {
                Some(Ok(read)) => expected = read,
                Some(Err(flaws)) => flawed = Some(Verdict::Failed(flaws)),
                None => {
                    let why = format!("`expect_records`: `{path}` is not there");
                    self.cases.push(impossible(named, &why));
                }
            }
        }
        let catalog = catalog.only(|stream| !test.empty_streams.contains(&stream.name));
        if catalog.streams.is_empty() {
            self.cases.push(skipped(named, "`empty_streams` names every stream"));
            return Ok(());
        }
        let reading = Reading { catalog: &catalog, incremental: false, state: None };
        let mut read = Read::new(&catalog, test);
        let end = self.read(given, &reading, |heard| read.hear(heard, &mut expected)).await?;
        self.cases.extend(read.cases(named, &end));
        if test.expect_records.is_some() {
            let case = match flawed {
                Some(verdict) => named.case("expected records are there", verdict),
                None => missing(named, &expected),
            };
            self.cases.push(case);
        }
        Ok(())
    }

    async fn full_refresh(
        &mut self,
        named: Named<'_>,
        given: &mut Given<'_>,
    ) -> Result<(), Halted> {
        let Some(catalog) = self.catalog(named, given).await? else { return Ok(()) };
        let full = |modes: &[String]| modes.is_empty() || modes.iter().any(|m| m == "full_refresh");
        let catalog = catalog.only(|stream| full(&stream.modes));
        if catalog.streams.is_empty() {
            self.cases.push(skipped(named, "no stream supports `full_refresh`"));
            return Ok(());
        }
        let reading = Reading { catalog: &catalog, incremental: false, state: None };
        let Some(first) = self.whole(named, "first", given, &reading).await? else { return Ok(()) };
        let Some(second) = self.whole(named, "second", given, &reading).await? else {
            return Ok(());
        };
        self.cases.push(named.case("both reads are equal", first.same(&second)));
        Ok(())
    }

    async fn incremental(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let Some(catalog) = self.catalog(named, given).await? else { return Ok(()) };
        let catalog = catalog.only(crate::domain::acceptance::Stream::is_incremental);
        if catalog.streams.is_empty() {
            self.cases.push(skipped(named, "no stream supports `incremental`"));
            return Ok(());
        }
        let mut reading = Reading { catalog: &catalog, incremental: true, state: None };
        let Some(first) = self.whole(named, "first", given, &reading).await? else { return Ok(()) };
        self.cases.push(named.case("every stream prints its state", first.has_states()));
        if !first.states().is_empty() {
            reading.state = Some(first.states().to_json());
            if let Some(second) = self.whole(named, "second", given, &reading).await? {
                self.cases.push(named.case("the state is honoured", second.honours(&first)));
            }
        }
        let Some(path) = &given.test.future_state else { return Ok(()) };
        match self.files.json(path) {
            Ok(state) => {
                reading.state = Some(state);
                if let Some(third) = self.whole(named, "future", given, &reading).await? {
                    self.cases.push(named.case("nothing lies in the future", third.is_empty()));
                }
            }
            Err(why) => {
                self.cases.push(impossible(named, &format!("`future_state`: `{path}` {why}")));
            }
        }
        Ok(())
    }

    /// One read that is compared with another, if it ends well.
    async fn whole(
        &mut self,
        named: Named<'_>,
        which: &str,
        given: &mut Given<'_>,
        reading: &Reading<'_>,
    ) -> Result<Option<Read>, Halted> {
        let mut since = States::default();
        if let Some(state) = &reading.state {
            since.hear_all(state);
        }
        let mut read = Read::new(reading.catalog, given.test).since(since);
        let mut none = Expected::default();
        let end = self.read(given, reading, |heard| read.hear(heard, &mut none)).await?;
        self.cases.push(named.case(&format!("{which} read ends well"), end.verdict()));
        Ok(end.is_good().then_some(read))
    }

    async fn read(
        &self,
        given: &mut Given<'_>,
        reading: &Reading<'_>,
        hear: impl FnMut(Heard),
    ) -> Result<End, Halted> {
        let catalog = reading.catalog.to_read(reading.incremental).to_string();
        let mut files = vec![(CATALOG.to_owned(), catalog.into_bytes())];
        files
            .extend(reading.state.as_ref().map(|s| (STATE.to_owned(), s.to_string().into_bytes())));
        self.call("read", given, files, hear).await
    }

    /// Calls the image with the configuration, and whatever files it is given.
    async fn call(
        &self,
        command: &str,
        given: &mut Given<'_>,
        files: Vec<(String, Vec<u8>)>,
        hear: impl FnMut(Heard),
    ) -> Result<End, Halted> {
        let mut arguments = vec![command.to_owned(), "--config".to_owned(), CONFIG.to_owned()];
        for (path, _) in &files {
            let flag = if path == CATALOG { "--catalog" } else { "--state" };
            arguments.extend([flag.to_owned(), path.clone()]);
        }
        let talk = self.talk(given.test, arguments, given.limit);
        let talk = Talk { files, config: Some(given.config.clone()), ..talk };
        listen(self.site, talk, Some(&mut given.secrets), hear).await
    }

    fn talk(&self, test: &Test, arguments: Vec<String>, limit: Duration) -> Talk {
        let mut step = self.site.task.step.clone();
        step.image.clone_from(&self.image);
        step.env.extend(self.config.env.clone());
        step.env.extend(test.deployment.clone().map(|mode| ("DEPLOYMENT_MODE".to_owned(), mode)));
        Talk { step, arguments, files: Vec::new(), config: None, limit }
    }
}
