//! Large repositories of connectors, and changes to them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

const FOLDER: &str = "airbyte-integrations/connectors";
/// Files of a connector beside its metadata, and its page.
const SOURCES: usize = 23;
/// The many files of the large change.
const MANY: usize = 3000;
/// Airbyte's rules, and everything that files say beyond them.
const PIPELINES: &str = "\
version: 1
preset: airbyte
connectors:
  - kind: connector
    match: \"airbyte-integrations/connectors/{name}/metadata.yaml\"
    attributes: { file: metadata.yaml, support_level: data.supportLevel, version: data.dockerImageTag }
    depends: [pyproject-path, requirements-path, setup-py, gradle, dockerfile-copy, dockerfile-from, go-imports, python-imports: [airbyte-integrations]]
";

/// A change to look at.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: &'static str,
    pub(crate) files: usize,
    pub(crate) base: String,
    pub(crate) head: String,
    /// A repository file to use.
    pub(crate) pipelines: Option<PathBuf>,
    /// Of a history that people wrote.
    pub(crate) real: bool,
}

/// A bare repository made for this.
#[derive(Debug)]
pub(crate) struct Monorepo {
    pub(crate) path: PathBuf,
    pub(crate) files: usize,
    pipelines: PathBuf,
}

impl Monorepo {
    /// Makes one with as many connectors and three commits: the base, two files changed, many.
    pub(crate) fn make(path: &Path, connectors: usize) -> anyhow::Result<Self> {
        let init = Command::new("git").args(["init", "--quiet", "--bare"]).arg(path).status()?;
        ensure!(init.success(), "git init: {init}");
        let mut import = Command::new("git")
            .arg("-C")
            .arg(path)
            .args(["fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut stream = import.stdin.take().context("no pipe to git")?;
        let mut files = 0;
        let mut commit = begin("base");
        for nth in 0..connectors {
            for (path, text) in connector(nth) {
                file(&mut commit, &path, &text);
                files += 1;
            }
            if commit.len() > 1 << 20 {
                stream.write_all(std::mem::take(&mut commit).as_bytes())?;
            }
        }
        commit.push_str(&begin("two"));
        // Neither is archived.
        for nth in [5, 6] {
            file(&mut commit, &source(nth, 3), "# changed\n");
        }
        commit.push_str(&begin("many"));
        for nth in 0..MANY {
            file(&mut commit, &source(nth / 10 % connectors, nth % 10), "# changed again\n");
        }
        stream.write_all(commit.as_bytes())?;
        drop(stream);
        let ended = import.wait()?;
        ensure!(ended.success(), "git fast-import: {ended}");
        let pipelines = path.with_extension("yml");
        std::fs::write(&pipelines, PIPELINES)?;
        Ok(Self { path: path.to_owned(), files, pipelines })
    }

    pub(crate) fn changes(&self) -> [Change; 3] {
        let change = |name, files, base: &str, head: &str, pipelines| {
            let (base, head) = (base.to_owned(), head.to_owned());
            Change { name, files, base, head, pipelines, real: false }
        };
        let rules = Some(self.pipelines.clone());
        [
            change("two files", 2, "base", "two", None),
            change("many files", MANY, "two", "many", None),
            change("two files, all kinds of `depends`", 2, "base", "two", rules),
        ]
    }
}

/// The last change of two files on a repository's main line, and the first stretch of it that
/// touches as many as the large change.
pub(crate) fn real_changes(repo: &Path) -> anyhow::Result<Vec<Change>> {
    let log = ["log", "--first-parent", "--max-count=500", "--format=%H", "--shortstat", "HEAD"];
    let log = git(repo, &log)?;
    let mut commit = "";
    let two = log.lines().find_map(|line| {
        if line.contains(" 2 files changed") {
            return Some(commit);
        }
        if !line.is_empty() && !line.contains(" changed") {
            commit = line;
        }
        None
    });
    let two = two.context("no change of two files among the last 500")?;
    let change = |name, files, base, head: &str| {
        let head = head.to_owned();
        Change { name, files, base, head, pipelines: None, real: true }
    };
    let head = git(repo, &["rev-parse", "HEAD"])?;
    let mut changes = vec![change("two files", 2, format!("{two}~1"), two)];
    for back in (100..=8000).step_by(100) {
        let base = format!("HEAD~{back}");
        let names = git(repo, &["diff-tree", "-r", "--name-only", &base, "HEAD"])?;
        let files = names.lines().count();
        if files >= MANY {
            changes.push(change("many files", files, base, head.trim()));
            return Ok(changes);
        }
    }
    bail!("no stretch of the last 8,000 commits changes {MANY} files")
}

fn git(repo: &Path, args: &[&str]) -> anyhow::Result<String> {
    let done = Command::new("git").arg("-C").arg(repo).args(args).output()?;
    ensure!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A branch of that name with one more commit, after all that came before.
fn begin(name: &str) -> String {
    let before = match name {
        "two" => "from refs/heads/base\n",
        "many" => "from refs/heads/two\n",
        _ => "",
    };
    format!(
        "commit refs/heads/{name}\ncommitter Ada <ada@example.org> 1700000000 +0000\n\
         data {}\n{name}\n{before}",
        name.len()
    )
}

fn file(stream: &mut String, path: &str, text: &str) {
    let _ = writeln!(stream, "M 100644 inline {path}\ndata {}\n{text}", text.len());
}

fn name(nth: usize) -> String {
    format!("source-{nth:05}")
}

fn source(nth: usize, file: usize) -> String {
    format!("{FOLDER}/{name}/source_{nth:05}/part_{file:02}.py", name = name(nth))
}

/// The files of one connector, alike in number and size to real ones.
fn connector(nth: usize) -> Vec<(String, String)> {
    let name = name(nth);
    let root = format!("{FOLDER}/{name}");
    let mut files = vec![
        (format!("{root}/metadata.yaml"), metadata(nth)),
        (
            format!("{root}/pyproject.toml"),
            format!(
                "[tool.poetry]\nname = \"{name}\"\n\n[tool.poetry.dependencies]\n\
                 shared = {{ path = \"../../bases/base-{:02}\" }}\n",
                nth % 20
            ),
        ),
        (
            format!("{root}/Dockerfile"),
            "FROM python:3.11\nCOPY pyproject.toml .\nCOPY . ./\nRUN pip install .\n".to_owned(),
        ),
        (format!("docs/integrations/sources/{nth:05}.md"), format!("# {name}\n")),
    ];
    files.extend((0..SOURCES).map(|part| {
        let mut text = format!("import source_{nth:05}.part_{:02}\nimport json\n", part / 2);
        for line in 0..40 {
            let _ = writeln!(text, "value_{line} = json.dumps({{\"{name}\": {part}}})");
        }
        (source(nth, part), text)
    }));
    if nth < 20 {
        let base = format!("airbyte-integrations/bases/base-{nth:02}/pyproject.toml");
        files.push((base, format!("[tool.poetry]\nname = \"base-{nth:02}\"\n")));
    }
    files
}

/// As long as Airbyte's are.
fn metadata(nth: usize) -> String {
    let hosts = (0..6).fold(String::new(), |all, host| {
        all + &format!("      - \"${{subdomain_{host}}}.api.example-{nth}.org\"\n")
    });
    let streams = (0..12).fold(String::new(), |all, stream| {
        all + &format!(
            "          - name: stream_{stream}\n            bypass_reason: \"no data of \
             account {nth} in it\"\n"
        )
    });
    let level = ["certified", "community", "community", "archived"][nth % 4];
    format!(
        "data:\n  ab_internal:\n    ql: 200\n    sl: 100\n  allowedHosts:\n    hosts:\n{hosts}  \
         connectorSubtype: api\n  connectorType: source\n  \
         definitionId: 00000000-0000-4000-8000-{nth:012}\n  dockerImageTag: 1.{nth}.0\n  \
         dockerRepository: airbyte/source-{nth:05}\n  \
         documentationUrl: https://docs.airbyte.com/integrations/sources/{nth:05}\n  \
         githubIssueLabel: source-{nth:05}\n  icon: icon.svg\n  license: ELv2\n  \
         name: Source {nth}\n  registryOverrides:\n    cloud:\n      enabled: true\n    oss:\n      \
         enabled: true\n  releaseStage: alpha\n  connectorTestSuitesOptions:\n    - suite: \
         acceptanceTests\n      acceptance:\n        emptyStreams:\n{streams}  \
         supportLevel: {level}\n  tags:\n    - language:python\n    - cdk:python\n\
         metadataSpecVersion: \"1.0\"\n"
    )
}
