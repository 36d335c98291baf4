//! Pipelines: for which connectors, at which events, under which lock.

use std::collections::BTreeSet;

use super::keys::PIPELINE;
use super::pipelines::Rest;
use super::problems::Problems;
use super::secrets::Used;
use super::sections::Kinds;
use crate::domain::lock::{self, LOCK_MAX};
use crate::domain::rules::{Pipeline, PipelineTrigger, RepoRules, Selector, closest};
use crate::domain::yaml::{Node, Value};

impl Problems<'_> {
    pub(super) fn pipeline(
        &mut self,
        node: &Node,
        kinds: &mut Kinds,
        used: &mut Used,
    ) -> Option<Pipeline> {
        let fields = self.fields(node, &PIPELINE)?;
        let selector = match fields.get("for") {
            Some(node) => self.selector(node, kinds).unwrap_or_default(),
            None => Selector::default(),
        };
        let on = fields.get("on").map_or_else(
            || vec![PipelineTrigger::PullRequest, PipelineTrigger::MergeGroup],
            |node| self.triggers(node),
        );
        let supersede = fields.get("supersede").and_then(|node| self.boolean(node, "`supersede`"));
        let supersede = supersede.unwrap_or(true);
        let lock = fields.get("lock").and_then(|node| self.lock(node));
        let merge = fields.get("merge").and_then(|node| self.boolean(node, "`merge`"));
        let merge = merge.unwrap_or(false);
        let Some(steps) = fields.get("steps") else {
            let mend = "add `steps:` with a list of `{ id, image, run }`";
            self.add(fields.place, "the pipeline has no `steps`", mend);
            return None;
        };
        let mut rest = Rest::default();
        let steps = self.steps(steps, &mut rest);
        kinds.append(&mut rest.kinds);
        used.append(&mut rest.used);
        let steps = steps?;
        let Rest { when, compose, inputs, .. } = rest;
        Some(Pipeline { selector, on, supersede, lock, merge, steps, when, compose, inputs })
    }

    fn lock(&mut self, node: &Node) -> Option<String> {
        let lock = self.text(node, "`lock`")?;
        if lock.len() <= LOCK_MAX && !lock.chars().any(char::is_control) {
            return Some(lock);
        }
        let what = "`lock` is too long, or holds a control character";
        self.add(node.place, what, format!("write a name of at most {LOCK_MAX} bytes"));
        None
    }

    /// Variables that no connector rule has would fail every plan.
    pub(super) fn known_variables(&mut self, file: &Node, rules: &RepoRules) {
        let markers = rules.connectors.iter().flat_map(|rule| rule.marker.variables());
        let known: BTreeSet<&str> = markers.chain(["name"]).collect();
        let pipelines = value(file, "pipelines").map(|pipelines| match &pipelines.value {
            Value::List(items) => items.iter().filter_map(|one| value(one, "lock")).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                Vec::new()
            }
        });
        for node in pipelines.unwrap_or_default() {
            let Value::Text(text) = &node.value else { continue };
            for name in lock::variables(text).filter(|name| !known.contains(name)) {
                let mend = closest(name, known.iter().copied()).map_or_else(
                    || "`{name}` is the connector's, others are those of a rule's `match`".into(),
                    |known| format!("did you mean `{{{known}}}`?"),
                );
                let what = format!("no connector rule has the variable `{{{name}}}` of `lock`");
                self.add(node.place, what, mend);
            }
        }
    }

    fn triggers(&mut self, node: &Node) -> Vec<PipelineTrigger> {
        let all = [
            PipelineTrigger::PullRequest,
            PipelineTrigger::MergeGroup,
            PipelineTrigger::Push,
            PipelineTrigger::Schedule,
        ];
        let before = self.error_count();
        let mut on = Vec::new();
        for (place, text) in self.texts(node, "`on`") {
            if let Some(trigger) = all.into_iter().find(|trigger| trigger.as_str() == text) {
                on.push(trigger);
                continue;
            }
            let known = all.map(PipelineTrigger::as_str);
            let mend = closest(&text, known).map_or_else(
                || format!("it is one of: {}", known.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            self.add(place, format!("there is no trigger `{text}`"), mend);
        }
        if on.is_empty() && self.error_count() == before {
            let mend = "name an event, or remove `on`: pull requests and merge groups";
            self.add(node.place, "`on` names no event: the pipeline would never run", mend);
        }
        on
    }
}

fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
}
