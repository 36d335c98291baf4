//! Which files of a change decide what is run: what whoever approves it is to look at. The heaviest
//! come first, and a crowd of light ones takes nobody's place.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::super::change::{ChangeSet, ChangedFile};

/// What a changed file has to say about what runs, the heaviest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The repository file.
    Configuration,
    /// A Dockerfile, or what says which files a build sees.
    Dockerfile,
    /// Another file that pipelines read, or that a preset's steps go by.
    Read,
    /// What a step's command names.
    Script,
    /// What may be run all the same: shell scripts, make files, builds' own programs, and whatever
    /// else lies in `.github`.
    Other,
}

impl Role {
    pub const ALL: [Self; 5] =
        [Self::Configuration, Self::Dockerfile, Self::Read, Self::Script, Self::Other];

    pub fn words(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Dockerfile => "Dockerfile",
            Self::Read => "read by pipelines",
            Self::Script => "script",
            Self::Other => "other",
        }
    }
}

/// A changed file that whoever approves should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decisive {
    pub role: Role,
    /// Both ends of it, if it is very long.
    pub path: String,
    /// Is it not the whole path?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
}

/// Bytes of a path that is shown whole.
const PATH_MAX: usize = 200;

impl Decisive {
    fn of(role: Role, path: &str) -> Self {
        if path.len() <= PATH_MAX {
            return Self { role, path: path.to_owned(), shortened: false };
        }
        let start = &path[..path.floor_char_boundary(PATH_MAX / 2)];
        let end = &path[path.ceil_char_boundary(path.len() - PATH_MAX / 2)..];
        Self { role, path: format!("{start}…{end}"), shortened: true }
    }
}

/// What whoever approves a commit is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showing {
    /// The first of each role, the heaviest role first.
    pub files: Vec<Decisive>,
    /// How many more there are.
    #[serde(default)]
    pub more: usize,
    /// Of which roles these are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more_of: BTreeMap<Role, usize>,
    /// Why they could not be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// How many files are shown, and how many places each role has that nothing heavier takes.
const SHOWN: usize = 60;
const KEPT: usize = 8;

/// By what it is known which files decide.
#[derive(Debug, Clone)]
pub struct Decides<'d> {
    /// The repository file's path.
    file: &'d str,
    /// Paths that pipelines read.
    reads: BTreeSet<String>,
    /// Names of files that built-in steps go by, wherever these lie.
    names: BTreeSet<&'d str>,
    /// The words of commands that may be files ([`Decides::heed`]).
    words: BTreeSet<String>,
}

impl Showing {
    /// Of a change.
    pub fn of(change: &ChangeSet, decides: &Decides<'_>) -> Self {
        let files = match change {
            ChangeSet::Everything { because } => {
                return Self { unknown: Some(because.clone()), ..Self::default() };
            }
            ChangeSet::Complete { files } => files,
        };
        let paths: BTreeSet<&str> = files.iter().flat_map(ChangedFile::paths).collect();
        let mut by_role: BTreeMap<Role, Vec<&str>> = BTreeMap::new();
        for path in paths {
            if let Some(role) = decides.role(path) {
                by_role.entry(role).or_default().push(path);
            }
        }
        let mut showing = Self::default();
        let kept = |paths: &Vec<&str>| paths.len().min(KEPT);
        let mut waiting: usize = by_role.values().map(kept).sum();
        for (role, paths) in by_role {
            waiting -= kept(&paths);
            let places = SHOWN.saturating_sub(showing.files.len() + waiting);
            showing.files.extend(paths.iter().take(places).map(|path| Decisive::of(role, path)));
            if paths.len() > places {
                showing.more_of.insert(role, paths.len() - places);
            }
        }
        showing.more = showing.more_of.values().sum();
        showing
    }
}

impl<'d> Decides<'d> {
    /// By the repository file's path, and the paths that pipelines read.
    pub fn new(file: &'d str, reads: BTreeSet<String>) -> Self {
        Self { file, reads, names: BTreeSet::new(), words: BTreeSet::new() }
    }

    /// Built-in steps go by files of this name, wherever these lie.
    pub fn go_by(&mut self, name: &'d str) {
        self.names.insert(name);
    }

    /// Takes the words of a command that may be paths of files, or ends of such: a shell's own are
    /// taken as well, and do no harm.
    pub fn heed(&mut self, command: &str) {
        let ends = |c: char| c.is_whitespace() || "'\"`;&|()<>=,:{}[]".contains(c);
        for word in command.split(ends) {
            // What a variable stands for is not known; what follows it is.
            let word = match word.rsplit_once('$') {
                Some((_, rest)) => rest.split_once('/').map_or("", |(_, rest)| rest),
                None => word,
            };
            let path = normal(word);
            if !path.contains('/') && path.contains('.') {
                // `python -m tools.check`
                let module = path.replace('.', "/");
                self.words.insert(format!("{module}.py"));
                self.words.insert(format!("{module}/__main__.py"));
            }
            if !path.is_empty() {
                self.words.insert(path);
            }
        }
    }

    fn role(&self, path: &str) -> Option<Role> {
        let lower = path.to_ascii_lowercase();
        let name = lower.rsplit('/').next().unwrap_or(&lower);
        let folder = self.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        // A link in the folder's place is as good as another file.
        if lower == self.file || lower == folder {
            return Some(Role::Configuration);
        }
        if is_of_docker(name) {
            return Some(Role::Dockerfile);
        }
        let plain = path.rsplit('/').next().unwrap_or(path);
        if self.reads.contains(path) || self.names.contains(plain) {
            return Some(Role::Read);
        }
        if ends(path).any(|end| self.words.contains(end)) {
            return Some(Role::Script);
        }
        let github = lower.starts_with(".github/");
        (github || is_script(name)).then_some(Role::Other)
    }
}

/// The path, and what is left of it below each of its folders.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    let below = path.match_indices('/').filter_map(|(at, _)| path.get(at + 1..));
    std::iter::once(path).chain(below)
}

/// A path as a tree has it.
fn normal(word: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in word.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn is_of_docker(name: &str) -> bool {
    let dotted = |rest: &str| rest.starts_with('.');
    let is_one = |kind: &str| {
        name == kind
            || name.strip_prefix(kind).is_some_and(dotted)
            || name.strip_suffix(kind).is_some_and(|rest| rest.ends_with('.'))
    };
    ["dockerfile", "containerfile"].into_iter().any(is_one) || name.ends_with(".dockerignore")
}

fn is_script(name: &str) -> bool {
    const SCRIPTS: [&str; 14] = [
        "makefile",
        "gnumakefile",
        "justfile",
        "taskfile.yml",
        "setup.py",
        "conftest.py",
        "noxfile.py",
        "tox.ini",
        "gradlew",
        "build.gradle",
        "build.gradle.kts",
        "settings.gradle",
        "package.json",
        "build.rs",
    ];
    const ENDS: [&str; 8] = [".sh", ".bash", ".zsh", ".ps1", ".bat", ".cmd", ".mk", ".just"];
    SCRIPTS.contains(&name) || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::super::change::FileStatus;
    use super::*;

    const FILE: &str = ".github/checkvalve.yml";

    fn file(path: &str, old: Option<&str>) -> ChangedFile {
        ChangedFile {
            path: path.to_owned(),
            status: if old.is_some() { FileStatus::Renamed } else { FileStatus::Modified },
            old_path: old.map(str::to_owned),
        }
    }

    fn decides(commands: &[&str]) -> Decides<'static> {
        let mut decides = Decides::new(FILE, BTreeSet::new());
        for command in commands {
            decides.heed(command);
        }
        decides
    }

    fn told(showing: &Showing) -> Vec<(Role, &str)> {
        showing.files.iter().map(|file| (file.role, file.path.as_str())).collect()
    }

    #[test]
    fn what_decides_what_runs_is_shown_wherever_it_lies_and_whatever_it_was_called() {
        let mut files = vec![file("docs/notes.txt", Some("a/run.sh"))];
        files.extend(
            [
                ".github/workflows/ci.yml",
                FILE,
                "a/Dockerfile",
                "a/prod.Dockerfile",
                "a/Dockerfile.dev",
                "a/code.py",
                "a/tools/check.py",
                "a/compose.yaml",
                "a/metadata.yaml",
                "a/Makefile",
            ]
            .map(|path| file(path, None)),
        );
        let mut decides = decides(&["set -e; python ./tools/check.py --all"]);
        decides.reads.insert("a/compose.yaml".to_owned());
        decides.go_by("metadata.yaml");
        let showing = Showing::of(&ChangeSet::Complete { files }, &decides);
        assert_eq!(
            told(&showing),
            [
                (Role::Configuration, FILE),
                (Role::Dockerfile, "a/Dockerfile"),
                (Role::Dockerfile, "a/Dockerfile.dev"),
                (Role::Dockerfile, "a/prod.Dockerfile"),
                (Role::Read, "a/compose.yaml"),
                (Role::Read, "a/metadata.yaml"),
                (Role::Script, "a/tools/check.py"),
                (Role::Other, ".github/workflows/ci.yml"),
                (Role::Other, "a/Makefile"),
                (Role::Other, "a/run.sh"),
            ]
        );
        let cut = ChangeSet::Everything { because: "too many files".to_owned() };
        assert_eq!(Showing::of(&cut, &decides).unknown.as_deref(), Some("too many files"));
    }

    #[test]
    fn a_command_names_its_files_in_many_ways() {
        let cases = [
            ("sh ./go", "a/go"),
            ("bash ../tools/x.sh", "tools/x.sh"),
            ("$CHECKVALVE_ROOT/bin/run --fast", "a/bin/run"),
            ("\"${HOME}/bin/run\"", "a/bin/run"),
            ("python -m tools.check", "a/tools/check.py"),
            ("python -m tools.check", "a/tools/check/__main__.py"),
            ("X=1 python3 b/../c.py;ls", "a/c.py"),
            ("install", "a/install"),
        ];
        for (command, path) in cases {
            assert_eq!(decides(&[command]).role(path), Some(Role::Script), "{command}: {path}");
        }
        for (command, path) in [("sh x.py", "a/yx.py"), ("echo", "a/b"), ("$X", "a/X"), ("", "a")] {
            assert_eq!(decides(&[command]).role(path), None, "{command}: {path}");
        }
    }

    #[test]
    fn a_crowd_hides_nothing_that_is_heavier_and_leaves_some_of_what_is_lighter() {
        let crowd = |name: &dyn Fn(usize) -> String| -> Vec<ChangedFile> {
            (0..5_000).map(|n| file(&name(n), None)).collect()
        };
        let mut heavy: Vec<ChangedFile> = [FILE, "z/Dockerfile", "z/compose.yaml", "z/run.py"]
            .map(|path| file(path, None))
            .into();
        let mut decides = decides(&["python run.py"]);
        decides.reads.insert("z/compose.yaml".to_owned());
        let long = "x".repeat(250);
        heavy.extend(crowd(&|n| format!(".github/0{n}-{long}/{long}.yml")));
        let showing = Showing::of(&ChangeSet::Complete { files: heavy.clone() }, &decides);
        assert_eq!(
            told(&showing)[..4],
            [
                (Role::Configuration, FILE),
                (Role::Dockerfile, "z/Dockerfile"),
                (Role::Read, "z/compose.yaml"),
                (Role::Script, "z/run.py"),
            ]
        );
        assert_eq!((showing.files.len(), showing.more), (SHOWN, 5_004 - SHOWN));
        assert_eq!(showing.more_of, BTreeMap::from([(Role::Other, 5_004 - SHOWN)]));
        for shown in &showing.files[4..] {
            assert!(shown.shortened && shown.path.len() <= PATH_MAX + 3, "{}", shown.path);
        }
        // A crowd of Dockerfiles leaves what is lighter its places.
        heavy.extend(crowd(&|n| format!("0{n}/Dockerfile")));
        let showing = Showing::of(&ChangeSet::Complete { files: heavy }, &decides);
        let count = |role| showing.files.iter().filter(|file| file.role == role).count();
        let counts = Role::ALL.map(count);
        assert_eq!(counts, [1, SHOWN - 1 - 2 - KEPT, 1, 1, KEPT]);
        let hidden: Vec<Role> = showing.more_of.keys().copied().collect();
        assert_eq!(hidden, [Role::Dockerfile, Role::Other]);
        assert_eq!(showing.files.len() + showing.more, 10_004);
    }
}
