//! `read`: records that are what the catalog promises.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::config::Test;
use super::cursor::{is_older, is_within};
use super::discover::{Catalog, Stream};
use super::expected::Expected;
use super::message::{Heard, Message, Record};
use super::state::{States, cursor_of};
use super::{End, Named, problem, problems, schema};
use crate::domain::builtin::{Case, Verdict, one_line};
use crate::domain::redact::Redactor;
use crate::domain::time::human;

/// Breaches of one rule: the first few, and how many there are.
#[derive(Debug, Default)]
struct Breaches {
    first: Vec<String>,
    count: u64,
}

impl Breaches {
    /// A record may be quoted whole: what is kept of that is cut, and freed of secrets before.
    fn add(&mut self, redactor: &Redactor, told: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < 3 {
            self.first.push(one_line(&redactor.text(&told())));
        }
    }

    fn told(&self) -> Vec<String> {
        let mut told = self.first.clone();
        let more = self.count.saturating_sub(told.len() as u64);
        if more > 0 {
            told.push(format!("… and {more} more"));
        }
        told
    }

    fn verdict(&self) -> Verdict {
        problems(self.told())
    }
}

/// All records of a stream in 32 bytes and a count: equal for equal records in any order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    words: [u64; 4],
}

impl Sum {
    fn add(&mut self, data: &Map<String, Value>) {
        self.count += 1;
        let digest = Sha256::digest(serde_json::to_vec(data).unwrap_or_default());
        for (word, bytes) in self.words.iter_mut().zip(digest.chunks_exact(8)) {
            let bytes = bytes.try_into().unwrap_or_default();
            *word = word.wrapping_add(u64::from_le_bytes(bytes));
        }
    }
}

/// What is known of one stream's records.
struct Of {
    stream: Stream,
    validator: Option<Validator>,
    ignored: Vec<Vec<String>>,
    sum: Sum,
    /// Was the cursor of a record comparable with the state's?
    compared: bool,
}

/// Hears an answer to `read`.
pub struct Read {
    streams: Vec<Of>,
    index: BTreeMap<(Option<String>, String), usize>,
    malformed: Breaches,
    strangers: Breaches,
    untimed: Breaches,
    unfit: Breaches,
    /// What is wrong with schemas by which records should be judged.
    flawed: Vec<String>,
    older: Breaches,
    /// With what this read began.
    since: States,
    states: States,
    /// There were more states than are kept.
    overflow: bool,
    /// Days before its state that a stream may begin with.
    lookback: Option<u32>,
    /// Records before their state of which it can't be told whether they lie within.
    vague: u64,
    /// States have their cursors elsewhere than by their names.
    elsewhere: bool,
    redactor: Arc<Redactor>,
}

impl Read {
    /// Of these streams; the secrets of the configuration are told to nobody.
    pub fn new(catalog: &Catalog, test: &Test, redactor: Arc<Redactor>) -> Self {
        let mut flawed = Vec::new();
        let mut compiled = |stream: &Stream| match schema::compiled(&stream.schema) {
            Ok(validator) => Some(validator),
            Err(why) => {
                let name = &stream.name;
                flawed.push(format!(
                    "stream `{name}`: no record can follow its schema, which is no JSON Schema of \
                     draft 7: {why}"
                ));
                None
            }
        };
        let of = |stream: &Stream| Of {
            validator: if test.any_schema { None } else { compiled(stream) },
            ignored: test
                .ignored_fields
                .get(&stream.name)
                .into_iter()
                .flatten()
                .map(|f| path(f))
                .collect(),
            stream: stream.clone(),
            sum: Sum::default(),
            compared: false,
        };
        let streams: Vec<Of> = catalog.streams.iter().map(of).collect();
        let key =
            |(at, of): (usize, &Of)| ((of.stream.namespace.clone(), of.stream.name.clone()), at);
        let index = streams.iter().enumerate().map(key).collect();
        Self {
            streams,
            index,
            malformed: Breaches::default(),
            strangers: Breaches::default(),
            untimed: Breaches::default(),
            unfit: Breaches::default(),
            flawed,
            older: Breaches::default(),
            since: States::default(),
            states: States::default(),
            overflow: false,
            lookback: test.lookback,
            vague: 0,
            elsewhere: test.cursors_elsewhere,
            redactor,
        }
    }

    /// It begins with what an earlier read ended with.
    #[must_use]
    pub fn since(self, since: States) -> Self {
        Self { since, ..self }
    }

    pub fn hear(&mut self, heard: Heard, expected: &mut Expected) {
        match heard {
            Heard::Message(Message::Record(record)) => self.record(record, expected),
            Heard::Message(Message::State(state)) => {
                self.overflow |= !self.states.hear(state, |key| self.index.contains_key(key));
            }
            Heard::Malformed { kind, why } if kind == "RECORD" || kind == "STATE" => {
                let told = || format!("a {kind} is malformed: {why}");
                self.malformed.add(&self.redactor, told);
            }
            Heard::Message(_) | Heard::Noise(_) | Heard::Malformed { .. } => {}
        }
    }

    fn record(&mut self, record: Record, expected: &mut Expected) {
        let key = (record.namespace, record.stream);
        let Some(of) = self.index.get(&key).and_then(|at| self.streams.get_mut(*at)) else {
            let told = || format!("a record of `{}`, which was not asked for", key.1);
            self.strangers.add(&self.redactor, told);
            return;
        };
        let name = &of.stream.name;
        if !record.emitted_at.as_ref().is_some_and(|at| at.is_i64() || at.is_u64()) {
            let got = record.emitted_at.map_or("nothing".to_owned(), |at| at.to_string());
            let told = || format!("stream `{name}`: `emitted_at` is {got}");
            self.untimed.add(&self.redactor, told);
        }
        let mut data = Value::Object(record.data);
        if let Some(why) = of.validator.as_ref().and_then(|v| schema::breach(v, &data)) {
            self.unfit.add(&self.redactor, || format!("stream `{name}`: {why}"));
        }
        let state = self.since.cursor(&of.stream);
        if let Some((state, here)) = state.zip(cursor_of(&data, &of.stream.cursor))
            && is_older(here, &state).inspect(|_| of.compared = true) == Some(true)
        {
            match self.lookback.map(|days| is_within(here, &state, days)) {
                Some(Some(true)) => {}
                Some(None) => self.vague += 1,
                Some(Some(false)) | None => {
                    let told =
                        || format!("stream `{name}`: {here} lies before the state's {state}");
                    self.older.add(&self.redactor, told);
                }
            }
        }
        expected.meet(&of.stream, &data);
        for field in &of.ignored {
            remove(&mut data, field);
        }
        if let Value::Object(data) = &data {
            of.sum.add(data);
        }
    }

    /// The cases of a basic read.
    pub fn cases(&self, named: Named<'_>, end: &End) -> Vec<Case> {
        vec![
            named.case("ends well", end.verdict()),
            named.case("records are well formed", self.malformed.verdict()),
            named.case("records belong to the catalog", self.strangers.verdict()),
            named.case("records follow their schemas", self.fit()),
            named.case("emitted_at is a whole number", self.untimed.verdict()),
            named.case("states are small enough", self.has_room()),
            named.case("every stream has records", self.full()),
        ]
    }

    fn fit(&self) -> Verdict {
        problems(self.flawed.iter().cloned().chain(self.unfit.told()))
    }

    fn full(&self) -> Verdict {
        let empty = self.streams.iter().filter(|of| of.sum.count == 0);
        problems(empty.map(|of| empty_stream(&of.stream)))
    }

    /// Two reads without a record are equal, and say nothing: but for streams that may be empty,
    /// one of them must have some.
    pub fn has_records(&self, second: &Self, may_be_empty: &BTreeSet<String>) -> Verdict {
        let both = self.streams.iter().zip(&second.streams);
        let empty = both.filter(|(one, two)| one.sum.count + two.sum.count == 0);
        let empty = empty.map(|(one, _)| &one.stream);
        let empty = empty.filter(|stream| !may_be_empty.contains(&stream.name));
        problems(empty.map(empty_stream))
    }

    /// Is a second read what the first one was?
    pub fn same(&self, second: &Self) -> Verdict {
        let both = self.streams.iter().zip(&second.streams);
        problems(both.filter(|(one, two)| one.sum != two.sum).map(|(one, two)| {
            let name = &one.stream.name;
            match (one.sum.count, two.sum.count) {
                (one, two) if one == two => format!(
                    "stream `{name}`: of {one} records some differ; name fields that may in \
                     `ignored_fields`"
                ),
                (one, two) => format!("stream `{name}`: {one} records, then {two}"),
            }
        }))
    }

    /// What it ended with.
    pub fn states(&self) -> &States {
        &self.states
    }

    fn has_room(&self) -> Verdict {
        if self.overflow {
            let text = "the latest states of its streams take more than 64 MiB together";
            return problem(text.to_owned(), "keep in a state what the next read needs");
        }
        Verdict::Passed
    }

    /// Did each stream say how far it came?
    pub fn has_states(&self) -> Verdict {
        if self.overflow {
            return self.has_room();
        }
        let without = self.streams.iter().filter(|of| !self.states.has(&of.stream));
        problems(without.map(|of| format!("stream `{}` printed no STATE", of.stream.name)))
    }

    /// Does it leave out what the first read had, whose state it began with? No record lies before
    /// the state's cursor, and there are no more than at first; fewer, where no cursor can tell.
    /// What the tests say of a look back is allowed for, and nothing is judged that it leaves open.
    pub fn honours(&self, first: &Self) -> Verdict {
        if self.elsewhere {
            let why = "`cursor_paths` says that states have their cursors elsewhere";
            return Verdict::Skipped(why.to_owned());
        }
        if self.older.count > 0 {
            return self.older.verdict();
        }
        let both = first.streams.iter().zip(&self.streams);
        let mut vague = self.vague > 0;
        let told: Vec<String> = both
            .filter_map(|(one, two)| {
                let (before, now) = (one.sum.count, two.sum.count);
                let blind = !two.compared;
                let same = blind && before > 1 && now == before;
                vague |= same && self.lookback.is_some();
                let too_many = now > before || same && self.lookback.is_none();
                let name = &two.stream.name;
                too_many.then(|| {
                    format!("stream `{name}`: {before} records, and {now} since its state")
                })
            })
            .collect();
        if vague && told.is_empty() {
            let why = "`threshold_days` allows for older records, and a cursor that is no date does \
                       not tell how old they are";
            return Verdict::Skipped(why.to_owned());
        }
        problems(told)
    }

    /// Nothing may lie behind a state of the future.
    pub fn is_empty(&self) -> Verdict {
        let full = self.streams.iter().filter(|of| of.sum.count > 0);
        problems(full.map(|of| {
            format!("stream `{}`: {} records since the future", of.stream.name, of.sum.count)
        }))
    }
}

fn empty_stream(stream: &Stream) -> String {
    let name = &stream.name;
    format!(
        "stream `{name}` has no records; name it in `empty_streams` of `basic_read` if that must be"
    )
}

/// The expected records that did not come.
pub fn missing(named: Named<'_>, expected: &Expected) -> Case {
    named.case("expected records are there", Verdict::of(expected.missing()))
}

/// What was not done, and is none of the connector's faults.
pub fn skipped(named: Named<'_>, why: &str) -> Case {
    named.case("is made", Verdict::Skipped(why.to_owned()))
}

/// What could not be done, which is.
pub fn impossible(named: Named<'_>, why: &str) -> Case {
    named.case("can be made", problem(why.to_owned(), ""))
}

/// What the step's own time was too short for.
pub fn unfinished(named: Named<'_>, limit: Duration) -> Case {
    let text = format!("the step's `timeout` of {} ended it while it ran", human(limit));
    let mend = "raise the step's `timeout`, or lower `timeout_seconds` of the tests before it";
    named.case("ends within the step's time", problem(text, mend))
}

/// A field as `ignored_fields` names it: parts with `/` between, `*` for any.
fn path(field: &str) -> Vec<String> {
    field.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn remove(data: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match data {
        Value::Object(fields) if rest.is_empty() => {
            if first == "*" {
                fields.clear();
            } else {
                fields.remove(first);
            }
        }
        Value::Object(fields) => {
            let inner = fields.iter_mut().filter(|(name, _)| first == "*" || *name == first);
            for (_, value) in inner {
                remove(value, rest);
            }
        }
        Value::Array(items) => {
            // A list may be meant, or each of its items.
            let rest = if first == "*" || first.parse::<usize>().is_ok() { rest } else { path };
            for item in items {
                remove(item, rest);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
