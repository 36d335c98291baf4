//! Why each of a repository's connectors was *not* selected: kept with the run, so that a page can
//! answer "why not?" long after the commits are gone, and without reading git.
//!
//! Hundreds of connectors are left out for the same reasons, said of different names. Texts are
//! therefore kept once, with a connector's own name taken out of them, and names are grouped by the
//! texts that hold for them. What comes out is what was put in, to the letter.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::impact::{Explanation, Look, Reason};

/// Reasons kept of a connector that has some and yet no job: removed, archived, without a pipeline.
const REASONS: usize = 3;

/// Bytes of texts that are kept; what differs beyond that is only named.
const MOST_BYTES: usize = 256 * 1024;

/// The explanations of connectors without a job, or with one that the change alone does not ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unselected {
    texts: Vec<Text>,
    groups: Vec<Group>,
}

/// Connectors of which the same is to be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    /// Indices of texts: rule, because, rule, because, …
    looked: Vec<usize>,
    /// Reached by the change after all; something else keeps it from running here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    selected: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason>,
    names: Vec<String>,
}

/// A text with the places in it where a connector's name stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    /// Which of [`values`].
    Name(usize),
    Words(String),
}

impl Text {
    fn of(text: &str, name: &str) -> Self {
        let values = values(name);
        let mut parts = Vec::new();
        let (mut kept, mut at) = (0, 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let boundary = !text[..at].ends_with(char::is_alphanumeric);
            let found = values.iter().position(|value| {
                boundary
                    && rest.strip_prefix(value).is_some_and(|after| {
                        !after.starts_with(|c: char| c.is_alphanumeric() || c == '-')
                    })
            });
            let Some(nth) = found else {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            };
            if kept < at {
                parts.push(Part::Words(text[kept..at].to_owned()));
            }
            parts.push(Part::Name(nth));
            at += values[nth].len();
            kept = at;
        }
        if kept < text.len() {
            parts.push(Part::Words(text[kept..].to_owned()));
        }
        Self(parts)
    }

    fn with(&self, name: &str) -> String {
        let values = values(name);
        let part = |part| match part {
            &Part::Name(nth) => values.get(nth).copied().unwrap_or_default(),
            Part::Words(words) => words.as_str(),
        };
        self.0.iter().map(part).collect()
    }

    fn bytes(&self) -> usize {
        let bytes = |part: &Part| match part {
            Part::Words(words) => words.len() + 3,
            Part::Name(_) => 2,
        };
        self.0.iter().map(bytes).sum()
    }
}

/// A connector's name, and what stands behind its first dash: the documentation of `source-faker`
/// is called `faker`.
fn values(name: &str) -> Vec<&str> {
    // A tail as short as `s3` stands in too many words that have nothing to do with the connector.
    let tail = name.split_once('-').map(|(_, tail)| tail).filter(|tail| tail.len() > 2);
    std::iter::once(name).chain(tail).filter(|value| !value.is_empty()).collect()
}

impl Unselected {
    /// Keeps explanations, in their order.
    pub fn of(explanations: impl IntoIterator<Item = Explanation>) -> Self {
        let mut kept = Self::default();
        let mut known: HashMap<Text, usize> = HashMap::new();
        let mut groups: BTreeMap<(Vec<usize>, bool, Vec<Reason>), usize> = BTreeMap::new();
        let mut bytes = 0;
        for Explanation { name, selected, mut reasons, looked } in explanations {
            reasons.truncate(REASONS);
            let looked = if bytes > MOST_BYTES { vec![too_much()] } else { looked };
            let texts = looked.iter().flat_map(|look| [&look.rule, &look.because]);
            let looked: Vec<usize> = texts
                .map(|text| {
                    let text = Text::of(text, &name);
                    *known.entry(text).or_insert_with_key(|text| {
                        bytes += text.bytes();
                        kept.texts.push(text.clone());
                        kept.texts.len() - 1
                    })
                })
                .collect();
            bytes += reasons.iter().map(|reason| reason.path.len()).sum::<usize>();
            let key = (looked, selected, reasons);
            if let Some(group) = groups.get(&key).and_then(|at| kept.groups.get_mut(*at)) {
                group.names.push(name);
                continue;
            }
            let (looked, selected, reasons) = key.clone();
            groups.insert(key, kept.groups.len());
            kept.groups.push(Group { looked, selected, reasons, names: vec![name] });
        }
        kept
    }

    /// The explanation of one connector; case is ignored, as no two names differ in case alone.
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let same = |one: &&String| one.eq_ignore_ascii_case(name);
        let (group, name) =
            self.groups.iter().find_map(|group| Some((group, group.names.iter().find(same)?)))?;
        let text = |at: &usize| self.texts.get(*at).map(|text| text.with(name)).unwrap_or_default();
        let looked = group.looked.as_chunks::<2>().0.iter();
        let look = |[rule, because]: &[usize; 2]| Look { rule: text(rule), because: text(because) };
        Some(Explanation {
            name: name.clone(),
            selected: group.selected,
            reasons: group.reasons.clone(),
            looked: looked.map(look).collect(),
        })
    }

    /// Every name that it can explain, in no order that means something.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.names).map(String::as_str)
    }

    /// How many connectors the change does not reach, those that are removed or archived among them.
    pub fn count(&self) -> usize {
        let left_out = self.groups.iter().filter(|group| !group.selected);
        left_out.map(|group| group.names.len()).sum()
    }
}

fn too_much() -> Look {
    Look {
        rule: "too much to keep".to_owned(),
        because: "the connectors of this change differ too much for every answer to be kept with \
                  the run: `checkvalve affected --explain` says it"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::impact::Rule;

    fn look(rule: &str, because: &str) -> Look {
        Look { rule: rule.to_owned(), because: because.to_owned() }
    }

    fn explanation(name: &str, looked: Vec<Look>) -> Explanation {
        Explanation { name: name.to_owned(), selected: false, reasons: Vec::new(), looked }
    }

    /// As the rules of a large repository look at a connector.
    fn usual(name: &str, tail: &str) -> Explanation {
        let none = "none of 3000 changed paths lies in it";
        explanation(
            name,
            vec![
                look(&format!("root connectors/{name}"), none),
                look(&format!("owns docs/{tail}.md"), "none of 3000 changed paths matches"),
                look("unclaimed", "`a`, `b`, `c` and 40 more: claimed by nothing"),
            ],
        )
    }

    #[test]
    fn what_was_kept_comes_back_to_the_letter() {
        let mut gone = usual("source-gone", "gone");
        gone.reasons = vec![Reason { path: "x".to_owned(), rule: Rule::Root, via: Vec::new() }];
        let all = vec![usual("source-faker", "faker"), gone, usual("source-s3", "s3")];
        let kept = Unselected::of(all.clone());
        let json = serde_json::to_string(&kept).unwrap();
        let kept: Unselected = serde_json::from_str(&json).unwrap();
        for one in &all {
            assert_eq!(kept.explain(&one.name).as_ref(), Some(one));
        }
        assert_eq!(kept.explain("SOURCE-FAKER").as_ref(), Some(&all[0]), "case is ignored");
        assert_eq!(kept.explain("source-other"), None);
        assert_eq!(kept.count(), 3);
    }

    #[test]
    fn many_connectors_share_what_is_said_of_them() {
        let names = (0..700).map(|n| (format!("source-number-{n}"), format!("number-{n}")));
        let all: Vec<Explanation> = names.map(|(name, tail)| usual(&name, &tail)).collect();
        let kept = Unselected::of(all.clone());
        assert_eq!(kept.groups.len(), 1);
        let bytes = serde_json::to_string(&kept).unwrap().len();
        assert!(bytes < 16 * 1024, "{bytes} bytes");
        assert_eq!(kept.explain("source-number-699").as_ref(), all.last());
    }

    #[test]
    fn what_would_grow_without_end_is_cut_and_says_so() {
        let long = |n: usize| look(&format!("rule {n} {}", "x".repeat(4_000)), "because");
        let all = (0..500).map(|n| explanation(&format!("c{n}"), vec![long(n)]));
        let kept = Unselected::of(all);
        assert!(serde_json::to_string(&kept).unwrap().len() < MOST_BYTES + 32 * 1024);
        assert_eq!(kept.count(), 500);
        assert_eq!(kept.explain("c0").unwrap().looked, [long(0)]);
        assert_eq!(kept.explain("c499").unwrap().looked, [too_much()]);
    }

    #[test]
    fn what_is_not_a_record_explains_nothing_and_breaks_nothing() {
        let odd = r#"{"texts": [], "groups": [{"looked": [7, 8, 9], "names": ["a"]}]}"#;
        let kept: Unselected = serde_json::from_str(odd).unwrap();
        assert_eq!(kept.explain("a").unwrap().looked, [look("", "")]);
    }

    proptest! {
        #[test]
        fn any_texts_of_any_names_come_back(
            names in proptest::collection::btree_set("[a-c-]{1,6}|\\PC{1,8}", 1..6),
            texts in proptest::collection::vec("[a-c/ -]{0,20}|\\PC{0,20}", 4),
        ) {
            // No two names differ in case alone.
            let mut seen = std::collections::BTreeSet::new();
            let names: Vec<String> =
                names.into_iter().filter(|name| seen.insert(name.to_ascii_lowercase())).collect();
            let all: Vec<Explanation> = names
                .iter()
                .map(|name| {
                    let looked = texts
                        .iter()
                        .map(|text| look(&format!("{text}{name}"), &text.replace('a', name)))
                        .collect();
                    explanation(name, looked)
                })
                .collect();
            let kept = Unselected::of(all.clone());
            let json = serde_json::to_string(&kept).unwrap();
            let kept: Unselected = serde_json::from_str(&json).unwrap();
            for one in &all {
                prop_assert_eq!(kept.explain(&one.name), Some(one.clone()));
            }
        }
    }
}
