//! Places in files, as tools name them, and where in the repository they may be.

/// Where a container has the source.
pub const WORKSPACE: &str = "/workspace";

/// Bytes of a path; a longer one is none.
const PATH_MAX: usize = 512;

/// Files that have no extension.
const BARE: [&str; 5] = ["Dockerfile", "Makefile", "Jenkinsfile", "Justfile", "Containerfile"];

/// A place in a file, as a tool wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub path: String,
    /// From 1.
    pub line: u32,
    pub column: Option<u32>,
}

/// `path:line`, `path:line:column`, `path(line,column)`, `path:[line,column]` or
/// `path: (line, column)` at the beginning of a text, and what follows it.
pub(super) fn leading(text: &str) -> Option<(Place, &str)> {
    let text = text.strip_prefix("file://").unwrap_or(text);
    for at in memchr::memchr2_iter(b':', b'(', text.as_bytes()) {
        let (path, after) = (&text[..at], &text[at..]);
        if path.len() > PATH_MAX {
            return None;
        }
        let Some((line, column, rest)) = position(after) else { continue };
        return is_path(path).then(|| (Place { path: path.to_owned(), line, column }, rest));
    }
    None
}

fn position(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (rest, close) = if let Some(rest) = text.strip_prefix('(') {
        (rest, ")")
    } else if let Some(rest) = text.strip_prefix(":[") {
        (rest, "]")
    } else if let Some(rest) = text.strip_prefix(": (") {
        (rest, ")")
    } else {
        let (line, rest) = number(text.strip_prefix(':')?)?;
        let (column, rest) = match rest.strip_prefix(':').and_then(number) {
            Some((column, rest)) => (Some(column), rest),
            None => (None, rest),
        };
        let ends = rest.is_empty() || rest.starts_with([':', ' ', ',']);
        return ends.then_some((line, column, rest));
    };
    let (line, rest) = number(rest)?;
    let (column, rest) = match rest.strip_prefix(',').map(str::trim_start).and_then(number) {
        Some((column, rest)) => (Some(column), rest),
        None => (None, rest),
    };
    Some((line, column, rest.strip_prefix(close)?))
}

/// A line's or column's number, and what follows.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok().filter(|number| *number > 0 && digits <= 7)?;
    Some((number, &text[digits..]))
}

/// May it be in a path, or between it and a line's number?
pub(super) fn may_be_of_path(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"\"'`<>|*?=,;{}()[]!\\".contains(&byte)
}

/// Does it look like the path of a file?
pub(super) fn is_path(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or(text);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let named = BARE.contains(&name)
        || extension.is_some_and(|end| {
            (1..=10).contains(&end.len())
                && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && end.bytes().any(|byte| byte.is_ascii_alphabetic())
        });
    named
        && text.len() <= PATH_MAX
        && text.bytes().all(may_be_of_path)
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && !text.contains("://")
}

/// `File "path", line 12`, as Python names places.
pub(super) fn python(text: &str) -> Option<Place> {
    let (path, rest) = text.trim_start().strip_prefix("File \"")?.split_once('"')?;
    let (line, _) = number(rest.strip_prefix(", line ")?)?;
    let place = Place { path: path.to_owned(), line, column: None };
    is_path(path).then_some(place)
}

/// Where steps run in the repository, by which their tools' paths are to be read.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The folder that they begin in.
    pub folder: &'a str,
    /// The connector's own.
    pub root: &'a str,
}

impl Ground<'_> {
    /// The paths of the repository that a tool's path may mean, the likeliest first.
    pub fn candidates(&self, path: &str) -> Vec<String> {
        let path = path.strip_prefix("file://").unwrap_or(path);
        let mut found: Vec<String> = Vec::new();
        let mut add = |folder: &str, path: &str| {
            let joined = plain(folder, path).filter(|path| !path.is_empty());
            if let Some(joined) = joined.filter(|path| !found.contains(path)) {
                found.push(joined);
            }
        };
        if let Some(absolute) = path.strip_prefix('/') {
            if let Some(inside) = path.strip_prefix(WORKSPACE).and_then(|p| p.strip_prefix('/')) {
                add("", inside);
            }
            // A process has a copy of the source somewhere, with the same folders in it.
            for folder in [self.folder, self.root] {
                let marker = format!("/{folder}/");
                if let Some(at) = path.rfind(&marker).filter(|_| !folder.is_empty()) {
                    add("", &path[at + 1..]);
                }
            }
            let copies = absolute.rsplit_once("/tree/");
            if let Some((_, inside)) = copies {
                add("", inside);
            }
        } else {
            for folder in [self.folder, self.root, ""] {
                add(folder, path);
            }
        }
        found
    }
}

/// The path without `.` and `..`; `None` if it leads out of the repository.
fn plain(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_in_every_form() {
        let place = |path: &str, line, column| Place { path: path.to_owned(), line, column };
        for (text, expected, rest) in [
            ("a/b.py:3:7: F401 x", place("a/b.py", 3, Some(7)), ": F401 x"),
            ("./main.go:5: x", place("./main.go", 5, None), ": x"),
            ("src/a.ts(10,5): error", place("src/a.ts", 10, Some(5)), ": error"),
            ("src/a.ts:10:5 - error", place("src/a.ts", 10, Some(5)), " - error"),
            ("/w/A.java:[12,5] no", place("/w/A.java", 12, Some(5)), " no"),
            ("/w/A.kt: (12, 5): no", place("/w/A.kt", 12, Some(5)), ": no"),
            ("file:///w/A.kt:12:5 no", place("/w/A.kt", 12, Some(5)), " no"),
            ("Makefile:12: *** no", place("Makefile", 12, None), ": *** no"),
        ] {
            assert_eq!(leading(text), Some((expected, rest)), "{text}");
        }
        for text in [
            "12:34:56 x",
            "https://host.example:8080/x: y",
            "a.py:0: x",
            "a.py:99999999: x",
            "no place: 3",
            "see a.py:3: x",
            "a.py:3x",
            "127.0.0.1:80: x",
        ] {
            assert_eq!(leading(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_looked_for_where_the_step_runs_first() {
        let ground = Ground { folder: "connectors/a", root: "connectors/a" };
        assert_eq!(ground.candidates("./x.py"), ["connectors/a/x.py", "x.py"]);
        assert_eq!(ground.candidates("../b/x.py"), ["connectors/b/x.py"]);
        assert_eq!(ground.candidates("/workspace/connectors/a/x.py"), ["connectors/a/x.py"]);
        assert_eq!(ground.candidates("/tmp/y/tree/connectors/a/x.py"), ["connectors/a/x.py"]);
        assert!(ground.candidates("/usr/lib/python3/x.py").is_empty());
        assert!(ground.candidates("../../../x.py").is_empty());
        let top = Ground { folder: "", root: "one.py" };
        assert_eq!(top.candidates("x.py"), ["x.py", "one.py/x.py"]);
        assert_eq!(top.candidates("/tmp/y/tree/x.py"), ["x.py"]);
    }
}
