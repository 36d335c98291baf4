//! What is written down of a plan in a repository of many files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use checkvalve::config::repository::FILE;
use checkvalve::domain::names::Sha;
use checkvalve::domain::trigger::Scope;
use checkvalve::service::planning::Planned;

use super::fetched;
use super::git_fixture::{Repo, plan};

const CONFIG: &str = "preset: none\nunclaimed: none\nconnectors:\n  \
    - match: \"connectors/{name}/pyproject.toml\"\n    owns: [\"docs/{name}.md\"]\n    \
      depends: [pyproject-path]\n    attributes: { file: metadata.yaml, version: version }\n\
    pipelines:\n  - steps:\n      \
      - { id: unit, image: x, run: y, when: { files: \"tests/**/*.py\" } }\n      \
      - { id: lint, image: x, run: y, when: { files: \"lint.cfg\" } }\n";

/// A repository of so many connectors of a hundred files each, and a library of folders that all of
/// them are built from.
fn repository(connectors: usize) -> (Repo, Sha) {
    let mut files = vec![(FILE.to_owned(), CONFIG.to_owned())];
    for n in 0..connectors {
        let root = format!("connectors/source-{n:03}");
        let needs = "[tool.poetry.dependencies]\ncdk = { path = \"../../libs/cdk\" }\n";
        files.push((format!("{root}/pyproject.toml"), needs.to_owned()));
        files.push((format!("{root}/metadata.yaml"), format!("version: 1.0.{n}\n")));
        files.push((format!("{root}/tests/unit/test_a.py"), "pass\n".to_owned()));
        files.push((format!("docs/source-{n:03}.md"), "Words\n".to_owned()));
        files.extend(
            (0..100).map(|m| (format!("{root}/schemas/stream_{m:02}.json"), "{}".to_owned())),
        );
    }
    let library =
        (0..500).map(|n| (format!("libs/cdk/part_{:02}/module_{n:03}.py", n % 50), "x".to_owned()));
    files.extend(library);
    files.push(("libs/cdk/pyproject.toml".to_owned(), "[project]\nname = \"cdk\"\n".to_owned()));
    let origin = Repo::new();
    let mut stream = "commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\n\
                      data 4\nmany\n"
        .to_owned();
    for (path, text) in files {
        write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len()).unwrap();
    }
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(origin.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    origin.git(&["reset", "--quiet", "--hard", "main"]);
    let base = origin.head();
    (origin, base)
}

/// Plans a change of this file, and once more from what was written down; answers that, too.
async fn written(origin: &Repo, base: &Sha, path: &str) -> (Planned, String) {
    origin.write(path, "changed\n");
    let head = origin.commit("change");
    let (_folder, repo) = fetched(origin, &[base, &head]).await;
    let planned = plan(&repo, base, &head, &Scope::Affected).await.unwrap();
    let written = serde_json::to_string(&planned.definition).unwrap();
    (planned, written)
}

#[tokio::test]
async fn of_twenty_thousand_files_what_the_plan_needs_is_written_down() {
    let (origin, base) = repository(190);
    assert!(origin.git(&["ls-files"]).lines().count() > 20_000);
    let path = "connectors/source-007/schemas/stream_03.json";
    let (planned, few) = written(&origin, &base, path).await;
    assert_eq!(planned.jobs.len(), 1);
    assert!(few.len() < 32 * 1024, "{} bytes: {few}", few.len());
    assert!(few.contains("source-007") && !few.contains("source-008"), "{few}");
    let plan = &planned.jobs[0].plan;
    assert!(plan.step(&"unit".parse().unwrap()).unwrap().left_out.is_none());
    assert!(plan.step(&"lint".parse().unwrap()).unwrap().left_out.is_some());
}

#[tokio::test]
async fn what_all_connectors_are_built_from_needs_all_of_them() {
    let (origin, base) = repository(12);
    let (planned, all) = written(&origin, &base, "libs/cdk/part_07/module_007.py").await;
    assert_eq!(planned.jobs.len(), 12);
    assert!(all.contains("\"source-008\":{"), "{all}");
}
