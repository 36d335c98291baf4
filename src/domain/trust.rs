//! On whose word code runs, and what of a stranger's runs before somebody has looked at it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::builtin::Builtin;
use super::change::{ChangeSet, ChangedFile};
use super::names::StepId;
use super::pipeline::StepSpec;

/// On whose word the code of a run runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Who wrote it and who pushed it may write to the repository.
    #[default]
    Trusted,
    /// A stranger's, whose commit somebody who may write looked at and approved.
    Approved,
    /// A stranger's: of it only what the base marks `untrusted: true` runs, with nothing to take.
    Untrusted,
}

impl Trust {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Approved => "approved",
            Self::Untrusted => "untrusted",
        }
    }

    /// Does only what the base marks for it run?
    pub fn is_guarded(self) -> bool {
        match self {
            Self::Untrusted => true,
            Self::Trusted | Self::Approved => false,
        }
    }

    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The steps of a plan that may run before an approval, in its order: those marked `untrusted: true`
/// that have nothing in confidence and nothing beside them, build no image, and come after such steps
/// only. What is left out by its condition stands in nobody's way.
pub fn before_approval(steps: &[StepSpec]) -> Vec<StepId> {
    let mut known: BTreeSet<&StepId> = BTreeSet::new();
    let mut runs = Vec::new();
    // A plan's order puts each step after its needs.
    for step in steps {
        let first = step.needs.iter().all(|need| known.contains(need));
        let harmless = step.secrets.is_empty() && step.services.is_empty() && is_harmless(step);
        if step.left_out.is_some() {
            known.insert(&step.id);
        } else if step.untrusted && harmless && first {
            known.insert(&step.id);
            runs.push(step.id.clone());
        }
    }
    runs
}

/// A container of its own, or no container at all: images are neither built nor called.
pub fn is_harmless(step: &StepSpec) -> bool {
    match step.uses.map(|uses| uses.builtin) {
        None | Some(Builtin::Qa | Builtin::Report) => true,
        Some(Builtin::Build | Builtin::Acceptance | Builtin::Scan | Builtin::UploadSecrets) => {
            false
        }
    }
}

/// What a changed file has to say about what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The repository file, or another that its pipelines read.
    Configuration,
    /// A Dockerfile, or what says which files a build sees.
    Dockerfile,
    /// What is run: shell scripts, make files, builds' own programs, and what steps name.
    Script,
}

impl Role {
    pub fn words(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Dockerfile => "Dockerfile",
            Self::Script => "script",
        }
    }
}

/// A changed file that whoever approves should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decisive {
    pub role: Role,
    pub path: String,
}

/// What whoever approves a commit is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showing {
    /// The first of them, by role and path.
    pub files: Vec<Decisive>,
    /// How many more there are.
    #[serde(default)]
    pub more: usize,
    /// Why they could not be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// How many files are shown.
const SHOWN: usize = 60;

impl Showing {
    /// Of a change: `reads` are paths that pipelines read, `words` are the words of their commands.
    pub fn of(change: &ChangeSet, reads: &BTreeSet<String>, words: &BTreeSet<String>) -> Self {
        let files = match change {
            ChangeSet::Everything { because } => {
                return Self { unknown: Some(because.clone()), ..Self::default() };
            }
            ChangeSet::Complete { files } => files,
        };
        let paths: BTreeSet<&str> = files.iter().flat_map(ChangedFile::paths).collect();
        let decisive = paths.into_iter().filter_map(|path| {
            Some(Decisive { role: role(path, reads, words)?, path: path.to_owned() })
        });
        let mut files: Vec<Decisive> = decisive.collect();
        files.sort();
        let more = files.len().saturating_sub(SHOWN);
        files.truncate(SHOWN);
        Self { files, more, unknown: None }
    }
}

fn role(path: &str, reads: &BTreeSet<String>, words: &BTreeSet<String>) -> Option<Role> {
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
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let docker = ["dockerfile", "containerfile"];
    let of_docker = docker.iter().any(|kind| {
        let dotted = |rest: &str| rest.starts_with('.');
        name == *kind
            || name.strip_prefix(kind).is_some_and(dotted)
            || name.strip_suffix(kind).is_some_and(|rest| rest.ends_with('.'))
    });
    if lower.starts_with(".github/") || reads.contains(path) {
        return Some(Role::Configuration);
    }
    if of_docker || name.ends_with(".dockerignore") {
        return Some(Role::Dockerfile);
    }
    let named = words.iter().any(|word| {
        path.strip_suffix(word.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    });
    let script = named || SCRIPTS.contains(&name) || ENDS.iter().any(|end| name.ends_with(end));
    script.then_some(Role::Script)
}

/// The words of commands that may be files' names: those with a dot or a slash in them.
pub fn words<'c>(commands: impl IntoIterator<Item = &'c String>) -> BTreeSet<String> {
    let ends = |c: char| c.is_whitespace() || "'\"`;&|()<>=$,:".contains(c);
    let mut words = BTreeSet::new();
    for command in commands {
        for word in command.split(ends) {
            let word = word.trim_start_matches("./").trim_matches('/');
            if word.len() > 2 && word.contains(['.', '/']) {
                words.insert(word.to_owned());
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::change::FileStatus;
    use super::*;

    fn step(id: &str, untrusted: bool, needs: &[&str]) -> StepSpec {
        StepSpec {
            untrusted,
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            ..StepSpec::new(id.parse().unwrap())
        }
    }

    fn runs(steps: &[StepSpec]) -> Vec<String> {
        before_approval(steps).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn before_an_approval_only_what_is_marked_runs_and_what_comes_after_such_steps_alone() {
        let steps = [
            step("lint", true, &[]),
            step("install", false, &[]),
            step("format", true, &["lint"]),
            step("unit", true, &["install"]),
            step("late", true, &["unit"]),
        ];
        assert_eq!(runs(&steps), ["lint", "format"]);
        let mut of_no_use = steps;
        of_no_use[1].left_out = Some("it has none".to_owned());
        assert_eq!(runs(&of_no_use), ["lint", "format", "unit", "late"]);
    }

    #[test]
    fn a_mark_opens_neither_secrets_nor_services_nor_builds() {
        let secret = StepSpec { secrets: vec!["token".parse().unwrap()], ..step("a", true, &[]) };
        assert!(runs(&[secret]).is_empty());
        let uses =
            |builtin: Builtin| StepSpec { uses: Some(builtin.into()), ..step("a", true, &[]) };
        for builtin in Builtin::ALL {
            let harmless = matches!(builtin, Builtin::Qa | Builtin::Report);
            assert_eq!(runs(&[uses(builtin)]).len(), usize::from(harmless), "{builtin:?}");
        }
    }

    #[test]
    fn what_decides_what_runs_is_shown_wherever_it_lies_and_whatever_it_was_called() {
        let file = |path: &str, old: Option<&str>| ChangedFile {
            path: path.to_owned(),
            status: if old.is_some() { FileStatus::Renamed } else { FileStatus::Modified },
            old_path: old.map(str::to_owned),
        };
        let files = vec![
            file(".github/checkvalve.yml", None),
            file("a/Dockerfile", None),
            file("a/prod.Dockerfile", None),
            file("a/Dockerfile.dev", None),
            file("a/code.py", None),
            file("a/tools/check.py", None),
            file("a/compose.yaml", None),
            file("docs/notes.txt", Some("a/run.sh")),
            file("a/Makefile", None),
        ];
        let reads = BTreeSet::from(["a/compose.yaml".to_owned()]);
        let commands = ["set -e; python ./tools/check.py --all".to_owned()];
        let showing = Showing::of(&ChangeSet::Complete { files }, &reads, &words(&commands));
        let told: Vec<(Role, &str)> =
            showing.files.iter().map(|file| (file.role, file.path.as_str())).collect();
        assert_eq!(
            told,
            [
                (Role::Configuration, ".github/checkvalve.yml"),
                (Role::Configuration, "a/compose.yaml"),
                (Role::Dockerfile, "a/Dockerfile"),
                (Role::Dockerfile, "a/Dockerfile.dev"),
                (Role::Dockerfile, "a/prod.Dockerfile"),
                (Role::Script, "a/Makefile"),
                (Role::Script, "a/run.sh"),
                (Role::Script, "a/tools/check.py"),
            ]
        );
        let cut = ChangeSet::Everything { because: "too many files".to_owned() };
        let unknown = Showing::of(&cut, &reads, &BTreeSet::new());
        assert_eq!(unknown.unknown.as_deref(), Some("too many files"));
    }
}
