//! `.dockerignore`, as Docker's own client reads it.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::domain::catalog::Flaw;
use crate::domain::yaml::Place;

/// The rules that one may have, and the bytes of a line: all of them are asked for each file.
const RULES: usize = 2000;
const LONGEST: usize = 4096;

/// What a build's context leaves out.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: GlobSet,
    /// Of each rule, in the file's order: the last that matches decides.
    leave_out: Vec<bool>,
}

impl Ignore {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let mut rules = GlobSetBuilder::new();
        let mut leave_out = Vec::new();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.len() > LONGEST {
                return Err(too_much(at, "the line is longer than 4,096 bytes"));
            }
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if leave_out.len() == RULES {
                return Err(too_much(at, "there are more than 2,000 rules"));
            }
            let (pattern, is_left_out) = match line.strip_prefix('!') {
                Some(pattern) => (pattern.trim(), false),
                None => (line, true),
            };
            // Braces are plain characters there.
            let pattern = clean(pattern).replace('{', "[{]").replace('}', "[}]");
            if let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build() {
                rules.add(glob);
                leave_out.push(is_left_out);
            }
        }
        let rules = rules.build();
        let rules = rules.map_err(|_| too_much(0, "its rules are too much to be read together"))?;
        Ok(Self { rules, leave_out })
    }

    /// Is the path, below the context's top, left out where the engine reads the `Dockerfile` there?
    /// That never is, nor is what it goes by to take it out itself.
    pub fn excludes(&self, path: &str) -> bool {
        !matches!(path, "Dockerfile" | ".dockerignore") && self.names(path)
    }

    /// Is the path, below the context's top, one of those that it names? What is in a folder goes with
    /// it.
    pub fn names(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let last = ends.filter_map(|end| self.rules.matches(&path[..end]).into_iter().max()).max();
        last.is_some_and(|rule| self.leave_out[rule])
    }
}

fn too_much(at: usize, what: &str) -> Flaw {
    let line = u32::try_from(at + 1).unwrap_or(u32::MAX);
    Flaw::unusable(Place { line, column: 1 }, what, "name folders, or write `*`, `**` and `!`")
}

/// Without `./`, empty parts and slashes at the ends; `..` takes a part away.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::{Folder, Unbuildable};
    use super::*;

    fn folder(ignore: &str) -> Folder {
        let mut folder = Folder::default();
        folder.file(".dockerignore", ignore.as_bytes());
        folder
    }

    #[test]
    fn what_is_ignored_is_left_out() {
        let ignore = Ignore::parse(
            "# no\n*.md\n!README.md\n/secrets\n**/*.pyc\ntests/\n!tests/keep\n./a/../b\nDockerfile\n{x}\n",
        )
        .unwrap();
        for path in [
            "x.md",
            "secrets",
            "secrets/config.json",
            "a/b/c.pyc",
            "c.pyc",
            "tests/t.py",
            "b/c",
            "{x}",
        ] {
            assert!(ignore.excludes(path), "{path}");
        }
        for path in ["README.md", "a/x.md", "main.py", "tests/keep/t.py", "Dockerfile", "a/b", "x"]
        {
            assert!(!ignore.excludes(path), "{path}");
        }
        assert!(!Ignore::default().excludes("anything"));
        let only = Ignore::parse("*\n!src\n").unwrap();
        assert!(only.excludes("main.py") && !only.excludes("src/main.py"));
    }

    /// Every rule costs memory, and is asked for every file.
    #[test]
    fn more_rules_than_anybody_needs_are_told_with_their_place() {
        let told = |text: &str| {
            let Unbuildable { file, flaw } = folder(text).ignore().unwrap_err();
            format!("{file}:{} {}", flaw.place.unwrap().line, flaw.text)
        };
        let fine = format!("# x\n\n{}", "*.a\n".repeat(1999));
        let ignore = folder(&format!("{fine}!x.a\n")).ignore().unwrap();
        assert!(ignore.names("y.a") && !ignore.names("x.a"));
        let many = ".dockerignore:2003 there are more than 2,000 rules";
        assert_eq!(told(&format!("{fine}!x.a\n?\n")), many);
        assert!(told(&"?\n".repeat(524_288)).ends_with("more than 2,000 rules"));
        let long = told(&format!("x\n{}\n", "y".repeat(4097)));
        assert_eq!(long, ".dockerignore:2 the line is longer than 4,096 bytes");
        // Whatever they are, they are read in little room.
        let odd = format!("{}\n", "**/?*[a-z]".repeat(400)).repeat(260);
        assert!(told(&odd).ends_with("too much to be read together"), "{}", told(&odd));
    }
}
