//! Steps over several values: one instance for each, named by it.

use std::collections::{BTreeMap, BTreeSet};

use super::pipelines::{MAX_STEPS, Rest, Step};
use super::problems::Problems;
use crate::domain::matrix::{Matrix, Values, variable};
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::yaml::{Entry, Node, Value};

/// Each is a container, and a check run of its own.
const MAX_INSTANCES: usize = 50;
const MAX_VALUE: usize = 60;

impl Problems<'_> {
    /// Reads the matrix of a step, if it has one. False: it can't be used.
    pub(super) fn matrix(&mut self, node: &Node, step: &mut Step) -> bool {
        let Value::Map(entries) = &node.value else { return true };
        let Some(entry) = entries.iter().find(|entry| entry.key == "matrix") else { return true };
        let before = self.error_count();
        let id = step.spec.id.clone();
        let mut matrix = Matrix::default();
        if let Value::Map(variables) = &entry.node.value {
            if variables.len() > MAX_INSTANCES {
                let what = format!("the matrix of step `{id}` has {} variables", variables.len());
                self.add(entry.place, what, format!("a matrix has at most {MAX_INSTANCES}"));
                return false;
            }
            matrix.0 = variables.iter().map(|one| (one.key.clone(), self.axis(one))).collect();
            self.own_names(variables, &step.spec);
        } else {
            self.wrong_type(&entry.node, "`matrix`", "a mapping from variables to lists of values");
        }
        if self.error_count() > before {
            return false;
        }
        let mend = "write `matrix: { python: [3.10, 3.11] }`, or remove it";
        match matrix.count() {
            _ if matrix.0.is_empty() => {
                self.add(entry.place, format!("the matrix of step `{id}` is empty"), mend);
            }
            0 => {
                let what = format!("the matrix of step `{id}` has a variable without values");
                self.add(entry.place, what, mend);
            }
            count if count > MAX_INSTANCES => {
                let what = format!("the matrix of step `{id}` makes {count} instances");
                self.add(entry.place, what, format!("a matrix makes at most {MAX_INSTANCES}"));
            }
            _ => step.matrix = Some(matrix),
        }
        step.matrix.is_some()
    }

    /// The values of one variable.
    fn axis(&mut self, entry: &Entry) -> Vec<String> {
        let what = format!("`matrix.{}`", entry.key);
        let nodes = self.list(&entry.node, &what);
        if nodes.len() > MAX_INSTANCES {
            let has = format!("{what} has {} values", nodes.len());
            self.add(entry.place, has, format!("a matrix makes at most {MAX_INSTANCES} instances"));
            return Vec::new();
        }
        let mut values: Vec<String> = Vec::new();
        for node in nodes {
            let Some(value) = node.written() else {
                self.wrong_type(node, &what, "values");
                continue;
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-+:@=~".contains(c);
            if value.is_empty() || value.len() > MAX_VALUE || !value.chars().all(plain) {
                let mend = format!(
                    "it names a check run: write letters, digits and `. _ - + : @ = ~`, at most \
                     {MAX_VALUE}"
                );
                self.add(node.place, format!("{what} can't have the value `{value}`"), mend);
            } else if values.contains(&value) {
                let what = format!("{what} has the value `{value}` twice");
                self.add(node.place, what, "keep one of them");
            } else {
                values.push(value);
            }
        }
        values
    }

    /// Names of variables: letters that `{name}` and the environment can have, each once.
    fn own_names(&mut self, variables: &[Entry], step: &StepSpec) {
        let mut seen = BTreeSet::new();
        for entry in variables {
            let name = &entry.key;
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
                let what = format!("`{name}` can't be a variable of a matrix");
                let mend = "write small letters, digits and `_`, beginning with a letter";
                self.add(entry.place, what, mend);
            }
            if !seen.insert(name) {
                let what = format!("`{name}` stands twice in `matrix`");
                self.add(entry.place, what, "put all values into one list");
            }
            let variable = variable(name);
            if step.env.contains_key(&variable) {
                let what =
                    format!("`matrix` and `env` of step `{}` both give `{variable}`", step.id);
                self.add(entry.place, what, "remove one of the two");
            }
        }
    }

    /// Puts the instances of each step with a matrix in its place. Needs of such a step become
    /// needs of all of its instances; an heir with the same matrix inherits from the instance with
    /// its own values.
    pub(super) fn expanded(&mut self, read: Vec<Step>, rest: &mut Rest) -> Option<Vec<StepSpec>> {
        let before = self.error_count();
        let of: BTreeMap<StepId, Matrix> = read
            .iter()
            .filter_map(|step| Some((step.spec.id.clone(), step.matrix.clone()?)))
            .collect();
        // Each may need all instances of all others: they are made once they are known to be few.
        let count = |step: &Step| step.matrix.as_ref().map_or(1, Matrix::count);
        let all = read.iter().map(count).sum::<usize>();
        if let Some(last) = read.last().filter(|_| all > MAX_STEPS) {
            let what = format!("with its matrices, the pipeline has {all} steps");
            self.add(last.place, what, format!("a pipeline has at most {MAX_STEPS}"));
            return None;
        }
        let mut specs: Vec<StepSpec> = Vec::new();
        for step in read {
            self.pairs(&step, &of);
            let mut made = instances(&step, &of);
            self.filled(&step, &made);
            for spec in &made {
                if specs.iter().any(|other| same(&other.id, &spec.id)) {
                    let what = format!("two steps are called `{}`", spec.id);
                    self.add(step.place, what, "one is an instance of a matrix: rename the other");
                }
            }
            for_each(&mut rest.when, &step.spec.id, &made);
            for_each(&mut rest.compose, &step.spec.id, &made);
            specs.append(&mut made);
        }
        (self.error_count() == before).then_some(specs)
    }

    /// Who inherits from several inherits from none.
    fn pairs(&mut self, step: &Step, of: &BTreeMap<StepId, Matrix>) {
        let Some((parent, theirs)) = step.spec.from.as_ref().and_then(|id| of.get_key_value(id))
        else {
            return;
        };
        if step.matrix.as_ref().is_some_and(|own| own.is_like(theirs)) {
            return;
        }
        let what = format!(
            "step `{}` inherits from `{parent}`, which has {} instances",
            step.spec.id,
            theirs.count()
        );
        let mend = format!("give it the matrix of `{parent}`, or write `needs` in place of `from`");
        let place = step.from.as_ref().map_or(step.place, |(place, _)| *place);
        self.add(place, what, mend);
    }

    /// Images are names once the values are in.
    fn filled(&mut self, step: &Step, made: &[StepSpec]) {
        let Some(place) = step.image else { return };
        for spec in made {
            if let Some((open, rest)) = spec.image.split_once('{') {
                let name = rest.split('}').next().unwrap_or_default();
                let what = format!("the image `{open}{{{rest}` of step `{}` is open", step.spec.id);
                let mend = format!("give the step values for it: `matrix: {{ {name}: [a, b] }}`");
                self.add(place, what, mend);
                return;
            }
            if step.matrix.is_some() && !self.image_name(place, &spec.image) {
                return;
            }
        }
    }
}

/// What was said of a step is said of each of its instances.
fn for_each<T: Clone>(said: &mut BTreeMap<StepId, T>, step: &StepId, made: &[StepSpec]) {
    if let Some(of_step) = said.get(step).cloned() {
        said.extend(made.iter().map(|spec| (spec.id.clone(), of_step.clone())));
    }
}

fn instances(step: &Step, of: &BTreeMap<StepId, Matrix>) -> Vec<StepSpec> {
    let Some(matrix) = &step.matrix else {
        let needs = needs(&step.spec, of);
        return vec![StepSpec { needs, ..step.spec.clone() }];
    };
    let instance = |values: &Values<'_>| {
        let mut spec = step.spec.clone();
        spec.image = values.fill(&spec.image);
        spec.env.extend(values.variables());
        let pair = spec.from.as_ref().and_then(|from| Some((from, of.get(from)?)));
        if let Some((from, theirs)) = pair {
            let pair = theirs.id(from, values).parse().ok();
            spec.needs.retain(|id| id != from);
            spec.from = pair;
        }
        spec.needs = needs(&spec, of);
        spec.instance_of = Some(spec.id);
        Some(StepSpec { id: matrix.id(&step.spec.id, values).parse().ok()?, ..spec })
    };
    matrix.instances().iter().filter_map(instance).collect()
}

/// Of a step with a matrix, every instance is needed.
fn needs(spec: &StepSpec, of: &BTreeMap<StepId, Matrix>) -> Vec<StepId> {
    let all = |id: &StepId| match of.get(id) {
        None => vec![id.clone()],
        Some(matrix) => {
            let instances = matrix.instances();
            instances.iter().filter_map(|values| matrix.id(id, values).parse().ok()).collect()
        }
    };
    spec.needs.iter().flat_map(all).collect()
}

/// Check names differ in more than case.
fn same(one: &StepId, other: &StepId) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}
