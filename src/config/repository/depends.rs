//! `depends`: how a rule's connectors say what else they are built from.

use super::keys::{DERIVATIONS, PYTHON_IMPORTS};
use super::problems::{Place, Problems};
use crate::domain::rules::{Derivation, closest};
use crate::domain::yaml::{Entry, Node, Value};

impl Problems<'_> {
    /// A list of ways, or one.
    pub(super) fn derivations(&mut self, node: &Node) -> Vec<Derivation> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Text(_) | Value::Map(_) => std::slice::from_ref(node),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.wrong_type(node, "`depends`", "a list such as `[pyproject-path, gradle]`");
                return Vec::new();
            }
        };
        let mut found: Vec<Derivation> = Vec::new();
        for item in items {
            let Some(one) = self.derivation(item) else { continue };
            // Two lists of roots are two things to follow, and can't be told apart in a report.
            if found.iter().any(|other| other.as_str() == one.as_str()) {
                let what = format!("`{one}` stands twice in `depends`");
                self.add(item.place, what, "keep one of them");
            } else {
                found.push(one);
            }
        }
        found
    }

    fn derivation(&mut self, node: &Node) -> Option<Derivation> {
        match &node.value {
            Value::Text(text) => self.derivation_of(node.place, text),
            Value::Map(entries) => match entries.as_slice() {
                [entry] if entry.key == PYTHON_IMPORTS => {
                    let roots = self.roots(&entry.node)?;
                    Some(Derivation::PythonImports { roots })
                }
                [entry] => self.no_mapping(entry),
                [] | [_, _, ..] => {
                    let mend = "begin each with a `-` of its own, or write a list in brackets";
                    self.add(node.place, "a mapping in `depends` has one key", mend);
                    None
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) => {
                let wanted = "a word such as `pyproject-path`, or `python-imports: [roots]`";
                self.wrong_type(node, "an entry of `depends`", wanted);
                None
            }
        }
    }

    fn derivation_of(&mut self, place: Place, text: &str) -> Option<Derivation> {
        let mend = match text {
            "pyproject-path" => return Some(Derivation::PyprojectPath),
            "requirements-path" => return Some(Derivation::RequirementsPath),
            "setup-py" => return Some(Derivation::SetupPy),
            "gradle" => return Some(Derivation::Gradle),
            "dockerfile-copy" => return Some(Derivation::DockerfileCopy),
            "dockerfile-from" => return Some(Derivation::DockerfileFrom),
            "go-imports" => return Some(Derivation::GoImports),
            PYTHON_IMPORTS => {
                let mend = "write `python-imports: [\".\"]`, or the folders in its place";
                self.add(place, "`python-imports` does not say where modules are looked for", mend);
                return None;
            }
            other => suggestion(other),
        };
        self.add(place, format!("`depends` can't be `{text}`"), mend);
        None
    }

    /// A mapping whose key is none that takes a value.
    fn no_mapping(&mut self, entry: &Entry) -> Option<Derivation> {
        let key = entry.key.as_str();
        let mend = if DERIVATIONS.contains(&key) {
            format!("write `{key}` alone, without a value")
        } else {
            suggestion(key)
        };
        self.add(entry.place, format!("`depends` has no `{key}` with a value"), mend);
        None
    }

    fn roots(&mut self, node: &Node) -> Option<Vec<String>> {
        let before = self.error_count();
        let texts = self.texts(node, "`python-imports`");
        if texts.is_empty() && self.error_count() == before {
            let mend = "name the folders in which modules are looked for; `.` is the top";
            self.add(node.place, "`python-imports` has no roots", mend);
        }
        let mut roots: Vec<String> = Vec::new();
        for (place, text) in texts {
            match folder(&text) {
                Err(mend) => {
                    self.add(place, format!("`{text}` is not a folder of the repository"), mend);
                }
                Ok(root) if roots.iter().any(|other| other == root) => {
                    let what = format!("`{text}` stands twice in `python-imports`");
                    self.add(place, what, "keep one of them");
                }
                Ok(root) => roots.push(root.to_owned()),
            }
        }
        (self.error_count() == before).then_some(roots)
    }
}

fn suggestion(text: &str) -> String {
    // `pyproject_path`, `setup.py` and `go` are what people write, too.
    let plain = text.replace(['_', '.', ' '], "-");
    let known = || DERIVATIONS.iter().copied().chain([PYTHON_IMPORTS]);
    let beginning = || known().find(|known| plain.len() > 1 && known.starts_with(&plain));
    match closest(&plain, known()).or_else(beginning) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("it is one of: {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// A folder from the top on, without a `/` at its end; the error is the mend.
fn folder(text: &str) -> Result<&str, &'static str> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let path = path.strip_prefix("./").unwrap_or(path);
    if path == "." || text == "./" {
        return Ok(".");
    }
    if text.starts_with('/') {
        return Err("write it from the repository's root on, without the leading `/`");
    }
    if path.contains(['*', '?', '[', ']', '{', '}']) {
        return Err("write the folder itself, without wildcards and variables");
    }
    if path.contains('\\') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("write its path from the repository's root on: `src`, `plugins/lib`, or `.`");
    }
    Ok(path)
}
