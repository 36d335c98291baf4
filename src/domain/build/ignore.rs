//! `.dockerignore`, as Docker's own client reads it.

use globset::{GlobBuilder, GlobMatcher};

/// What a build's context leaves out.
#[derive(Debug, Default)]
pub struct Ignore {
    /// In the file's order: the last that matches decides.
    rules: Vec<(GlobMatcher, bool)>,
}

impl Ignore {
    pub fn parse(text: &str) -> Self {
        let rule = |line: &str| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (pattern, leaves_out) = match line.strip_prefix('!') {
                Some(pattern) => (pattern.trim(), false),
                None => (line, true),
            };
            // Braces are plain characters there.
            let pattern = clean(pattern).replace('{', "[{]").replace('}', "[}]");
            let glob = GlobBuilder::new(&pattern).literal_separator(true).build().ok()?;
            Some((glob.compile_matcher(), leaves_out))
        };
        let text = text.trim_start_matches('\u{feff}');
        Self { rules: text.lines().filter_map(rule).collect() }
    }

    /// Is the path, below the context's top, left out? What is in a folder goes with it. What the
    /// build itself reads never is.
    pub fn excludes(&self, path: &str) -> bool {
        if matches!(path, "Dockerfile" | ".dockerignore") {
            return false;
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let ends: Vec<usize> = ends.collect();
        let matches = |glob: &GlobMatcher| ends.iter().any(|end| glob.is_match(&path[..*end]));
        let last = self.rules.iter().rfind(|(glob, _)| matches(glob));
        last.is_some_and(|(_, leaves_out)| *leaves_out)
    }
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
