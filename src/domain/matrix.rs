//! One step over several values.

use std::collections::{BTreeMap, BTreeSet};

use super::names::StepId;

/// The variables of a step and the values of each, as the file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix(pub Vec<(String, Vec<String>)>);

/// One value of each variable, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values<'a>(Vec<(&'a str, &'a str)>);

impl Matrix {
    /// How many instances it makes.
    pub fn count(&self) -> usize {
        self.0.iter().fold(1, |count, (_, values)| count.saturating_mul(values.len()))
    }

    /// Every combination; the last variable changes first.
    pub fn instances(&self) -> Vec<Values<'_>> {
        let mut all = vec![Values(Vec::new())];
        for (name, values) in &self.0 {
            all = all.iter().flat_map(|before| before.with(name, values)).collect();
        }
        all
    }

    /// Does it make the same combinations, in whatever order?
    pub fn is_like(&self, other: &Self) -> bool {
        let sorted = |matrix: &Self| -> BTreeMap<String, BTreeSet<String>> {
            let variables = matrix.0.iter();
            variables
                .map(|(name, values)| (name.clone(), values.iter().cloned().collect()))
                .collect()
        };
        sorted(self) == sorted(other)
    }

    /// The id of the instance of a step with this matrix that has these values.
    pub fn id(&self, step: &StepId, values: &Values<'_>) -> String {
        let of = |name: &String| values.of(name).unwrap_or_default();
        let shown: Vec<&str> = self.0.iter().map(|(name, _)| of(name)).collect();
        format!("{step} ({})", shown.join(", "))
    }
}

impl<'a> Values<'a> {
    /// Each of these values of one more variable.
    fn with(&self, name: &'a str, values: &'a [String]) -> Vec<Self> {
        let one = |value| [self.0.as_slice(), &[(name, value)]].concat();
        values.iter().map(|value| Self(one(value.as_str()))).collect()
    }

    pub fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The text with the values in place of `{name}`.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.0 {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        filled
    }

    /// What the step's commands see of them.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().map(|(name, value)| (variable(name), (*value).to_owned()))
    }
}

/// The environment's name of a variable.
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// What the names of all of them begin with.
pub const PREFIX: &str = "MATRIX_";

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(variables: &[(&str, &[&str])]) -> Matrix {
        let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        Matrix(variables.iter().map(|(name, values)| ((*name).to_owned(), owned(values))).collect())
    }

    #[test]
    fn every_combination_is_an_instance_with_a_name() {
        let matrix = matrix(&[("python", &["3.10", "3.11"]), ("os", &["slim", "alpine"])]);
        let unit: StepId = "unit".parse().unwrap();
        let ids: Vec<String> =
            matrix.instances().iter().map(|values| matrix.id(&unit, values)).collect();
        let expected = [
            "unit (3.10, slim)",
            "unit (3.10, alpine)",
            "unit (3.11, slim)",
            "unit (3.11, alpine)",
        ];
        assert_eq!(ids, expected);
        assert_eq!(matrix.count(), 4);
        assert!(ids.iter().all(|id| id.parse::<StepId>().is_ok()));
        let last = matrix.instances().pop().unwrap();
        assert_eq!(last.fill("python:{python}-{os} {other}"), "python:3.11-alpine {other}");
        let seen: Vec<(String, String)> = last.variables().collect();
        assert_eq!(seen[0], ("MATRIX_PYTHON".to_owned(), "3.11".to_owned()));
    }

    #[test]
    fn order_is_no_difference_between_matrices() {
        let one = matrix(&[("a", &["1", "2"]), ("b", &["x"])]);
        let other = matrix(&[("b", &["x"]), ("a", &["2", "1"])]);
        assert!(one.is_like(&other));
        assert!(!one.is_like(&matrix(&[("a", &["1"]), ("b", &["x"])])));
        let step: StepId = "s".parse().unwrap();
        let ids = |values: &Matrix| -> BTreeSet<String> {
            values.instances().iter().map(|values| one.id(&step, values)).collect()
        };
        assert_eq!(ids(&one), ids(&other), "by whichever they are named");
    }
}
