//! From real commits to what would run, through the whole of planning.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[expect(dead_code, reason = "this binary uses a part of it")]
mod git_fixture;

use std::collections::BTreeMap;

use checkvalve::domain::impact::{ChangeKind, Reason, Rule};
use checkvalve::domain::names::{Sha, StepId};
use checkvalve::domain::trigger::{Scope, Target};
use checkvalve::git::{BareRepo, GitCache, LocalRepo};
use checkvalve::service::planning::{Planned, PlanningError, plan, plans, survey_here};
use git_fixture::{Repo, prose};

const FILE: &str = r#"
version: 1
ignore: ["**/*.md"]
connectors:
  - kind: python
    match: "connectors/{name}/pyproject.toml"
    owns: ["docs/{name}.rst", "tests/*/{name}/**"]
impact:
  - { paths: ["shared/**"], reaches: { kind: python } }
  - { paths: ["fixtures/{name}/**"], reaches: ["{name}"] }
unclaimed: all
pipelines:
  - for: { name: "source-*" }
    steps:
      - { id: unit, image: "python:3.11", run: "pytest" }
      - { id: lint, image: "python:3.11", run: ["ruff check", "ruff format --check"], network: none }
      - { id: report, image: "python:3.11", run: "true", needs: [unit, lint], always: true, inputs: ["tools/report.py"] }
"#;

/// Three connectors, one without a pipeline.
fn monorepo() -> (Repo, Sha) {
    let repo = Repo::new();
    repo.write(".github/checkvalve.yml", FILE);
    for name in ["source-a", "source-b", "tool-c"] {
        repo.write(
            format!("connectors/{name}/pyproject.toml"),
            format!("[project]\nname = \"{name}\"\n"),
        );
        repo.write(format!("connectors/{name}/main.py"), prose(name));
    }
    repo.write("shared/util.py", "x");
    repo.write("tools/report.py", "x");
    let base = repo.commit("base");
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    (repo, base)
}

async fn plan_head(repo: &Repo, base: &Sha, scope: &Scope) -> Result<Planned, PlanningError> {
    let head = repo.commit("head");
    let (_folder, bare) = fetched(repo, base, &head).await;
    plan(&bare, base, &head, scope).await
}

async fn fetched(repo: &Repo, base: &Sha, head: &Sha) -> (tempfile::TempDir, BareRepo) {
    let folder = tempfile::tempdir().unwrap();
    let bare = GitCache::new(folder.path()).repository("r", &repo.url());
    bare.fetch(None, &[base.clone(), head.clone()]).await.unwrap();
    (folder, bare)
}

fn names(planned: &Planned) -> Vec<&str> {
    planned.jobs.iter().map(|job| job.connector.as_str()).collect()
}

fn reason(path: &str, rule: Rule, via: &[&str]) -> Reason {
    Reason { path: path.to_owned(), rule, via: via.iter().map(|s| (*s).to_owned()).collect() }
}

#[tokio::test]
async fn a_change_in_one_connector_plans_that_one() {
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/main.py", "changed");
    repo.write("README.md", "ignored");
    let planned = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(names(&planned), ["source-a"]);
    let job = &planned.jobs[0];
    assert_eq!(job.reasons, [reason("connectors/source-a/main.py", Rule::Root, &[])]);
    assert_eq!(job.change, ChangeKind::Modified);
    let steps: Vec<&str> = job.plan.steps().iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["unit", "lint", "report"]);
    assert_eq!(
        job.plan.inputs().paths,
        ["connectors/source-a", "docs/source-a.rst", "tools/report.py"]
    );
    assert_eq!(
        job.plan.inputs().globs,
        ["fixtures/{name}/**", "shared/**", "tests/*/source-a/**"]
            .map(|glob| glob.replace("{name}", "source-a"))
    );
    let selection = &planned.selection;
    assert_eq!((selection.files, selection.ignored, selection.complete), (2, 1, true));
    assert!(selection.origin.starts_with(".github/checkvalve.yml at "), "{}", selection.origin);
    assert_eq!(planned.merge_base, Some(base));
}

#[tokio::test]
async fn shared_code_reaches_its_users_and_says_which_have_no_pipeline() {
    let (repo, base) = monorepo();
    repo.write("shared/util.py", "y");
    repo.write("fixtures/source-b/data.json", "{}");
    let planned = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(names(&planned), ["source-a", "source-b"]);
    assert_eq!(planned.selection.without_pipeline, ["tool-c"]);
    assert_eq!(
        planned.jobs[1].reasons,
        [
            reason("fixtures/source-b/data.json", Rule::Impact, &["fixtures/{name}/**"]),
            reason("shared/util.py", Rule::Impact, &["shared/**"]),
        ]
    );
}

#[tokio::test]
async fn what_nothing_claims_selects_everything_and_docs_alone_nothing() {
    let (repo, base) = monorepo();
    repo.write("Makefile", "all:");
    let all = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert_eq!(names(&all), ["source-a", "source-b"]);
    assert_eq!(all.selection.unclaimed, ["Makefile"]);
    assert_eq!(all.jobs[0].reasons, [reason("Makefile", Rule::Unclaimed, &[])]);

    let (repo, base) = monorepo();
    repo.write("docs/page.md", "x");
    let planned = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert_eq!((names(&planned).len(), planned.selection.ignored), (0, 1));
}

#[tokio::test]
async fn removed_added_and_moved_connectors() {
    let (repo, base) = monorepo();
    repo.git(&["rm", "-r", "--quiet", "connectors/source-b"]);
    repo.write("connectors/source-n/pyproject.toml", "");
    repo.git(&["mv", "connectors/source-a/main.py", "connectors/tool-c/from_a.py"]);
    let planned = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(planned.selection.removed, ["source-b"]);
    let changes: BTreeMap<&str, ChangeKind> =
        planned.jobs.iter().map(|job| (job.connector.as_str(), job.change)).collect();
    let expected = [("source-a", ChangeKind::Modified), ("source-n", ChangeKind::Added)];
    assert_eq!(changes, BTreeMap::from(expected));
    assert_eq!(planned.selection.without_pipeline, ["tool-c"]);
}

#[tokio::test]
async fn a_pull_request_cannot_ignore_its_way_to_green() {
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/main.py", "broken");
    repo.write(".github/checkvalve.yml", FILE.replace("**/*.md", "**"));
    let all = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert!(names(&all).contains(&"source-a"));
    assert!(all.selection.notes.iter().any(|note| note.contains("either")));

    // Nor by no longer calling it a connector.
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/main.py", "broken");
    repo.write(
        ".github/checkvalve.yml",
        FILE.replace("connectors/{name}/py", "connectors/x-{name}/py"),
    );
    let planned = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert!(names(&planned).contains(&"source-a"));
}

#[tokio::test]
async fn commands_name_connectors_and_steps() {
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/main.py", "changed");
    let only = |names: &[(&str, Option<&str>)]| Scope::Only {
        targets: names
            .iter()
            .map(|(connector, step)| Target {
                connector: (*connector).to_owned(),
                step: step.map(str::to_owned),
            })
            .collect(),
    };
    let scope = only(&[("SOURCE-B", Some("Unit")), ("source-a", None), ("source-a", Some("lint"))]);
    let found = plan_head(&repo, &base, &scope).await.unwrap();
    assert_eq!(names(&found), ["source-a", "source-b"]);
    assert!(found.jobs[0].only.is_empty() && found.jobs[1].reasons.is_empty());
    assert_eq!(found.jobs[1].only.iter().map(StepId::as_str).collect::<Vec<_>>(), ["unit"]);

    let error =
        plan_head(&repo, &base, &only(&[("source-c", None), ("source-a", Some("unitt"))])).await;
    let Err(PlanningError::Unknown(unknown)) = error else { panic!("{error:?}") };
    assert_eq!(unknown[0].closest.as_deref(), Some("source-a"));
    assert_eq!(unknown[1].closest.as_deref(), Some("source-a/unit"));

    let all = plan_head(&repo, &base, &Scope::All).await.unwrap();
    assert_eq!(names(&all), ["source-a", "source-b"]);
}

#[tokio::test]
async fn a_wrong_file_is_a_problem_with_its_place() {
    let (repo, base) = monorepo();
    repo.write(".github/checkvalve.yml", FILE.replace("unclaimed: all", "unclamed: all"));
    let error = plan_head(&repo, &base, &Scope::Affected).await;
    let Err(PlanningError::Configuration(problem)) = error else { panic!("{error:?}") };
    assert_eq!(problem.place, Some((".github/checkvalve.yml".to_owned(), 11)));
    assert!(problem.text.contains("did you mean `unclaimed`?"), "{}", problem.text);

    // A base that is wrong does not keep the head from being mended.
    repo.commit("broken");
    let broken = repo.head();
    repo.write(".github/checkvalve.yml", FILE);
    repo.write("connectors/source-a/main.py", "changed");
    let found = plan_head(&repo, &broken, &Scope::Affected).await.unwrap();
    assert!(found.selection.notes.iter().any(|note| note.contains("not valid")));
    assert!(names(&found).contains(&"source-a"));
}

#[tokio::test]
async fn unclaimed_may_be_an_error() {
    let (repo, _) = monorepo();
    repo.write(".github/checkvalve.yml", FILE.replace("unclaimed: all", "unclaimed: error"));
    let base = repo.commit("strict");
    repo.write("Makefile", "all:");
    let error = plan_head(&repo, &base, &Scope::Affected).await;
    let Err(PlanningError::Configuration(problem)) = error else { panic!("{error:?}") };
    assert_eq!(problem.title, "`Makefile` belongs to no connector");
}

#[tokio::test]
async fn unrelated_histories_select_everything() {
    let (repo, base) = monorepo();
    repo.git(&["checkout", "--quiet", "--orphan", "unrelated"]);
    let planned = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert_eq!(names(&planned), ["source-a", "source-b"]);
    assert!(!planned.selection.complete && planned.selection.because.is_some());
    assert_eq!(planned.jobs[0].reasons, [reason("*", Rule::Everything, &[])]);
}

#[tokio::test]
async fn the_work_tree_plans_as_its_commit_would() {
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/new.py", "untracked");
    repo.write("shared/util.py", "unstaged");
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let here = survey_here(&local, Some(&base), None, None).await.unwrap();
    let head = repo.commit("now committed");
    let there = survey_here(&local, Some(&base), Some(&head), None).await.unwrap();

    assert_eq!(here.impacts, there.impacts);
    let names = here.impacts.to_run().map(|impact| impact.name.clone()).collect();
    let (here, there) = (plans(&here, &names).unwrap(), plans(&there, &names).unwrap());
    let digests = |planned: &Planned| -> Vec<String> {
        planned.jobs.iter().map(|job| job.plan.digest()).collect()
    };
    assert_eq!(digests(&here), digests(&there));
}

#[tokio::test]
async fn airbyte_is_recognised_without_a_file() {
    let repo = Repo::new();
    let metadata = |level: &str, page: &str| {
        format!(
            "data:\n  dockerImageTag: 1.2.3\n  supportLevel: {level}\n  documentationUrl: \
             https://docs.airbyte.com/integrations/{page}\n  tags:\n    - language:python\n"
        )
    };
    let folder = "airbyte-integrations/connectors";
    repo.write(format!("{folder}/source-a/metadata.yaml"), metadata("certified", "sources/a"));
    repo.write(
        format!("{folder}/source-a-strict-encrypt/metadata.yaml"),
        metadata("certified", "x"),
    );
    repo.write(format!("{folder}/source-old/metadata.yaml"), metadata("archived", "sources/old"));
    repo.write(
        format!("{folder}/third-party/farosai/airbyte-x/metadata.yaml"),
        metadata("community", "y"),
    );
    repo.write(format!("{folder}/source-scaffold-x/metadata.yaml"), metadata("community", "z"));
    repo.write(format!("{folder}/source-broken/metadata.yaml"), "data: [unclosed");
    let base = repo.commit("base");
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.write("docs/integrations/sources/a.md", "page");
    repo.write(format!("{folder}/source-old/main.py"), "x");
    repo.write(format!("{folder}/source-broken/main.py"), "x");
    repo.write(format!("{folder}/third-party/farosai/airbyte-x/main.py"), "x");
    repo.write("buildSrc/x", "x");
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(
        found.selection.without_pipeline,
        ["airbyte-x", "source-a", "source-a-strict-encrypt", "source-broken"]
    );
    assert_eq!(found.selection.unclaimed, ["buildSrc/x"]);
    assert!(found.selection.origin.starts_with("preset airbyte, recognised at "));
    assert!(found.selection.notes.iter().any(|note| note.contains("source-broken/metadata.yaml")));

    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let survey = survey_here(&local, Some(&base), None, None).await.unwrap();
    let old = survey.explain("source-old").unwrap();
    assert!(!old.selected && old.looked.iter().any(|look| look.rule == "archived"));
    let twin = &survey.impacts.connectors[&"source-a-strict-encrypt".parse().unwrap()];
    assert_eq!(
        twin.reasons,
        [reason("docs/integrations/sources/a.md", Rule::Impact, &["source-a"])]
    );
}
