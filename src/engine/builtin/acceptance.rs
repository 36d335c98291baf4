//! Speaks with the connector's image as `acceptance-test-config.yml` asks.

mod files;
mod renewed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::files::Files;
use super::listen::{Ear, listen};
use super::{Site, blocking, built_image};
use crate::domain::acceptance::config::{Asked, Config, Suite, Test};
use crate::domain::acceptance::{
    Catalog, Check, Discover, End, Expected, Heard, Named, Read, Secrets, Spec, States, impossible,
    keeps_secrets, missing, skipped,
};
use crate::domain::builtin::{Case, Report, Verdict};
use crate::domain::redact::Redactor;
use crate::domain::secret::SecretValue;
use crate::exec::Executor;
use crate::exec::images::{CONFIG, Halted, Talk};

/// Where the image finds what is no secret.
const CATALOG: &str = "/data/catalog.json";
const STATE: &str = "/data/state.json";

pub(super) async fn judge<E: Executor>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let image = built_image(site)?;
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
        redactors: BTreeMap::new(),
        without: BTreeSet::new(),
        renewed: Vec::new(),
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
        let Some(mut given) = self.given(suite, named, test).await? else { return Ok(()) };
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
            case.redact(&given.redactor);
        }
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
        let path = test.config_path.clone().unwrap_or_else(|| files::CREDENTIALS.to_owned());
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
        let secrets = Secrets::of(self.spec.as_ref(), &value);
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
        self.spec = ear.judge.schema_of().cloned();
        Ok(())
    }

    async fn check(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let asked = Asks { command: "check", files: Vec::new() };
        let (end, check) = self.call(asked, given, Check::default(), Check::hear).await?;
        self.cases.extend(check.cases(named, &end, given.test.status));
        Ok(())
    }

    async fn discover(&mut self, named: Named<'_>, given: &mut Given<'_>) -> Result<(), Halted> {
        let (end, discover) = self.ask_streams(given).await?;
        let name = named.0.to_owned();
        // Every schema is compiled.
        let cases = move || Ok(discover.cases(Named(&name), &end));
        self.cases.extend(blocking(self.site.stop, cases).await?);
        Ok(())
    }

    async fn ask_streams(&mut self, given: &mut Given<'_>) -> Result<(End, Discover), Halted> {
        let asked = Asks { command: "discover", files: Vec::new() };
        let (end, discover) = self.call(asked, given, Discover::default(), Discover::hear).await?;
        self.catalogs.insert(given.path.clone(), discover.catalog().cloned());
        Ok((end, discover))
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
            self.ask_streams(given).await?;
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
        let read = self.reader(given, &reading).await?;
        let (end, read, expected) = self.read(given, &reading, (read, expected)).await?;
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
        let read = self.reader(given, reading).await?.since(since);
        let (end, read, _) = self.read(given, reading, (read, Expected::default())).await?;
        self.cases.push(named.case(&format!("{which} read ends well"), end.verdict()));
        Ok(end.is_good().then_some(read))
    }

    /// Judges a read; every schema is compiled for it.
    async fn reader(&self, given: &Given<'_>, reading: &Reading<'_>) -> Result<Read, Halted> {
        let (catalog, test) = (reading.catalog.clone(), given.test.clone());
        let redactor = given.redactor.clone();
        blocking(self.site.stop, move || Ok(Read::new(&catalog, &test, redactor))).await
    }

    async fn read(
        &mut self,
        given: &mut Given<'_>,
        reading: &Reading<'_>,
        judges: (Read, Expected),
    ) -> Result<(End, Read, Expected), Halted> {
        let catalog = reading.catalog.to_read(reading.incremental).to_string();
        let mut files = vec![(CATALOG.to_owned(), catalog.into_bytes())];
        files
            .extend(reading.state.as_ref().map(|s| (STATE.to_owned(), s.to_string().into_bytes())));
        let asked = Asks { command: "read", files };
        let hear = |(read, expected): &mut (Read, Expected), heard| read.hear(heard, expected);
        let (end, (read, expected)) = self.call(asked, given, judges, hear).await?;
        Ok((end, read, expected))
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
