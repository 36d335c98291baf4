//! `spec`: what the connector wants to be configured with.

use serde_json::{Map, Value};

use super::message::{Heard, Message};
use super::schema;
use super::{End, Named, problem};
use crate::domain::builtin::{Case, Verdict};

/// Hears an answer to `spec`.
#[derive(Debug, Default)]
pub struct Spec {
    found: Option<Map<String, Value>>,
    malformed: Option<String>,
    count: u64,
}

impl Spec {
    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(Message::Spec(spec)) => {
                self.count += 1;
                self.found.get_or_insert(spec);
            }
            Heard::Malformed { kind, why } if kind == "SPEC" => self.malformed = Some(why),
            Heard::Message(_) | Heard::Noise(_) | Heard::Malformed { .. } => {}
        }
    }

    /// The schema of the configuration, if it is one.
    pub fn schema_of(&self) -> Option<&Value> {
        let schema = self.found.as_ref()?.get("connectionSpecification");
        schema.filter(|schema| schema::flaw(schema).is_none())
    }

    /// One case for each rule; `expected` is what the file that `spec_path` names holds.
    pub fn cases(&self, named: Named<'_>, end: &End, expected: Option<&Value>) -> Vec<Case> {
        let mut cases = vec![
            named.case("ends well", end.verdict()),
            named.case("is one SPEC", self.one()),
            named.case("connectionSpecification is a schema", self.schema()),
        ];
        if let Some(expected) = expected {
            cases.push(named.case("is what spec_path has", self.equals(expected)));
        }
        cases
    }

    fn one(&self) -> Verdict {
        match (self.count, &self.malformed) {
            (1, None) => Verdict::Passed,
            (_, Some(why)) => problem(format!("a SPEC is malformed: {why}"), ""),
            (count, None) => problem(
                format!("`spec` printed {count} SPEC messages, not one"),
                "print one line `{\"type\": \"SPEC\", \"spec\": {…}}` on the standard output",
            ),
        }
    }

    fn schema(&self) -> Verdict {
        let Some(spec) = &self.found else { return no_spec() };
        let Some(schema) = spec.get("connectionSpecification") else {
            return problem("the SPEC has no `connectionSpecification`".to_owned(), "");
        };
        match schema::flaw(schema) {
            None => Verdict::Passed,
            Some(why) => problem(
                format!("`connectionSpecification` is no JSON Schema of draft 7: {why}"),
                "",
            ),
        }
    }

    fn equals(&self, expected: &Value) -> Verdict {
        let Some(spec) = &self.found else { return no_spec() };
        // The file holds what stands in the message; older ones hold the schema alone.
        let whole = expected.get("connectionSpecification").is_some();
        let same = if whole {
            expected.as_object().is_some_and(|keys| {
                keys.iter().all(|(key, value)| spec.get(key).unwrap_or(&Value::Null) == value)
            })
        } else {
            spec.get("connectionSpecification") == Some(expected)
        };
        if same {
            return Verdict::Passed;
        }
        let mend = "run `spec` and put its answer into the file, or mend the connector";
        problem("the answer is not what the file of `spec_path` holds".to_owned(), mend)
    }
}

fn no_spec() -> Verdict {
    Verdict::Skipped("there is no SPEC".to_owned())
}
