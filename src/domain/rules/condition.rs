//! When a step is of use to a connector.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Pattern;
use crate::domain::catalog::{Connector, Paths};

/// What must hold of a connector for a step to run for it: all of what is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Below the connector's root; a file that any of them matches must be there.
    pub files: Vec<Pattern>,
    /// Attribute → the values of which the connector must have one.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl Condition {
    /// Why the step is left out for the connector, in words; `None` if it is to run, which it also
    /// is where nobody knows: of an attribute that the connector has not or that can't be read, of
    /// a variable that its rule has not, of files below what is a file itself. `paths` are those of
    /// the tree that is tested.
    pub fn unmet(&self, connector: &Connector, paths: &Paths) -> Option<String> {
        for (name, wanted) in &self.attributes {
            let value = connector.attribute(name);
            let value = value.or_else(|| connector.kind.as_deref().filter(|_| name == "kind"));
            let Some(value) = value else { continue };
            if !wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(value)) {
                return Some(format!("its {name} is `{value}`, and not {}", either(wanted)));
            }
        }
        if self.files.is_empty() || self.is_met_by_files(connector, paths) {
            return None;
        }
        let files: Vec<String> = self.files.iter().map(ToString::to_string).collect();
        Some(format!("there is no {} in `{}`", either(&files), connector.root))
    }

    fn is_met_by_files(&self, connector: &Connector, paths: &Paths) -> bool {
        let unknown = self.patterns(connector).is_none();
        unknown || paths.has_file(&connector.root) || self.file(connector, paths).is_some()
    }

    /// Absent where a variable has no value.
    fn patterns(&self, connector: &Connector) -> Option<Vec<Pattern>> {
        self.files.iter().map(|pattern| pattern.fill(&connector.variables)).collect()
    }

    /// The first file below the connector's root that any of the patterns matches.
    pub fn file<'p>(&self, connector: &Connector, paths: &'p Paths) -> Option<&'p str> {
        let patterns = self.patterns(connector)?;
        let root = connector.root.as_str();
        let found = paths.within(root).iter().find(|path| {
            let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
            patterns.iter().any(|pattern| pattern.matches(below))
        });
        found.map(String::as_str)
    }
}

/// `a`, `b` or `c`
fn either(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::discover;
    use crate::domain::rules::{ConnectorRule, RepoRules};

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn files_and_attributes_must_both_be_there() {
        let files = ["c/a/m", "c/a/tests/deep/test_a.py", "c/b/m", "c/ab/m", "c/ab/tests/x"];
        let paths = Paths::new(files.map(str::to_owned).to_vec());
        let mut rules = RepoRules::empty("test".to_owned());
        let mut rule = ConnectorRule::new(Pattern::parse("c/{name}/m").unwrap());
        rule.kind = Some("python".to_owned());
        rules.connectors = vec![rule];
        let catalog = discover(&rules, &paths).finish(|_| None);
        let connector = |name: &str| catalog.connector(&name.parse().unwrap()).unwrap();
        let tests = Condition { files: patterns(&["tests/**/*.py"]), ..Condition::default() };
        assert_eq!(tests.unmet(connector("a"), &paths), None);
        assert_eq!(
            tests.unmet(connector("b"), &paths).unwrap(),
            "there is no `tests/**/*.py` in `c/b`"
        );
        assert!(tests.unmet(connector("ab"), &paths).is_some(), "its file is no Python");
        let own = Condition {
            files: patterns(&["{name}/x", "**/test_{name}.py"]),
            ..Condition::default()
        };
        assert_eq!(own.unmet(connector("a"), &paths), None);
        assert!(own.unmet(connector("b"), &paths).unwrap().contains("`{name}/x` or"));
        let unknown = Condition { files: patterns(&["{owner}/x"]), ..Condition::default() };
        assert_eq!(unknown.unmet(connector("b"), &paths), None);

        let values = |values: &[&str]| values.iter().map(|&one| one.to_owned()).collect();
        let of = |name: &str, wanted: &[&str]| Condition {
            files: Vec::new(),
            attributes: BTreeMap::from([(name.to_owned(), values(wanted))]),
        };
        assert_eq!(of("kind", &["java", "Python"]).unmet(connector("a"), &paths), None);
        assert_eq!(
            of("kind", &["java", "go"]).unmet(connector("a"), &paths).unwrap(),
            "its kind is `python`, and not `java` or `go`"
        );
        // Its file may be broken: that must not leave a test out.
        assert_eq!(of("language", &["java"]).unmet(connector("a"), &paths), None);
    }
}
