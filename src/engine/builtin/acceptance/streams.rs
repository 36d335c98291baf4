//! What is asked of a connector's streams: which there are, and their records.

use serde_json::Value;

use super::super::blocking;
use super::{Asks, CATALOG, Given, STATE, Trial};
use crate::domain::acceptance::config::{Asked, Suite, Test};
use crate::domain::acceptance::{
    Catalog, Discover, End, Expected, Named, Read, States, Stream, impossible, missing, skipped,
};
use crate::domain::builtin::Verdict;
use crate::exec::Executor;
use crate::exec::images::Halted;

/// What `read` is given.
struct Reading<'r> {
    catalog: &'r Catalog,
    incremental: bool,
    state: Option<Value>,
}

impl<E: Executor> Trial<'_, E> {
    pub(super) async fn discover(
        &mut self,
        named: Named<'_>,
        given: &mut Given<'_>,
    ) -> Result<(), Halted> {
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

    /// Asks for the streams because a test needs them and no other asked: what is wrong with the
    /// answer is no less wrong.
    async fn need_streams(
        &mut self,
        named: Named<'_>,
        given: &mut Given<'_>,
    ) -> Result<(), Halted> {
        let own = std::mem::replace(&mut given.limit, Suite::Discovery.limit());
        let asked = self.ask_streams(given).await;
        given.limit = own;
        let (end, discover) = asked?;
        let name = format!("discover for {}", named.0);
        let asked = self.config.suites.get(&Suite::Discovery);
        let bypassed = matches!(asked, Some(Asked::Bypassed(_)));
        // Every schema is compiled.
        let failures = move || Ok(discover.failures(Named(&name), &end, bypassed));
        self.cases.extend(blocking(self.site.stop, failures).await?);
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
            self.need_streams(named, given).await?;
        }
        let found = self.catalogs.get(&given.path).cloned().flatten();
        if found.is_none() {
            self.cases.push(skipped(named, "`discover` gave no streams to read"));
        }
        Ok(found)
    }

    pub(super) async fn basic_read(
        &mut self,
        named: Named<'_>,
        given: &mut Given<'_>,
    ) -> Result<(), Halted> {
        let Some(catalog) = self.catalog(named, given).await? else { return Ok(()) };
        let test = given.test;
        let expected = self.expected(named, test, &catalog);
        let is_asked = expected.is_some();
        let catalog = catalog.only(|stream| !test.empty_streams.contains(&stream.name));
        if catalog.streams.is_empty() {
            self.cases.push(skipped(named, "`empty_streams` names every stream"));
            return Ok(());
        }
        let reading = Reading { catalog: &catalog, incremental: false, state: None };
        let read = self.reader(given, &reading).await?;
        let judges = (read, expected.unwrap_or_default());
        let (end, read, expected) = self.read(given, &reading, judges).await?;
        self.cases.extend(read.cases(named, &end));
        self.cases.extend(is_asked.then(|| missing(named, &expected)));
        Ok(())
    }

    /// The records that must come, if the test names some that can be read.
    fn expected(&mut self, named: Named<'_>, test: &Test, catalog: &Catalog) -> Option<Expected> {
        let path = test.expect_records.as_ref()?;
        let Some(records) = self.files.text(path) else {
            let why = format!("`expect_records`: `{path}` is not there");
            self.cases.push(impossible(named, &why));
            return None;
        };
        match Expected::read(&self.files.place(path), &records, catalog) {
            Ok(expected) => Some(expected),
            Err(flaws) => {
                self.cases.push(named.case("expected records are there", Verdict::Failed(flaws)));
                None
            }
        }
    }

    pub(super) async fn full_refresh(
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
        let records = first.has_records(&second, &self.config.empty_streams());
        self.cases.push(named.case("every stream has records", records));
        Ok(())
    }

    pub(super) async fn incremental(
        &mut self,
        named: Named<'_>,
        given: &mut Given<'_>,
    ) -> Result<(), Halted> {
        let Some(catalog) = self.catalog(named, given).await? else { return Ok(()) };
        let catalog = catalog.only(Stream::is_incremental);
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
        &self,
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
}
