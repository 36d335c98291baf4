//! From real commits to what would run, through the whole of planning.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "impact/commands.rs"]
mod commands;
#[expect(dead_code, reason = "this binary uses a part of it")]
mod git_fixture;

use std::collections::BTreeMap;

use checkvalve::domain::impact::{ChangeKind, Reason, Rule};
use checkvalve::domain::names::{Sha, StepId};
use checkvalve::domain::trigger::{Scope, Target};
use checkvalve::git::{BareRepo, GitCache, LocalRepo};
use checkvalve::service::planning::{Planned, PlanningError, plans, survey_here};
use git_fixture::{Repo, plan, prose};

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
    let (_folder, cached) = fetched(repo, base, &head).await;
    plan(&cached, base, &head, scope).await
}

async fn fetched(repo: &Repo, base: &Sha, head: &Sha) -> (tempfile::TempDir, BareRepo) {
    let folder = tempfile::tempdir().unwrap();
    let cached = GitCache::new(folder.path()).repository("r", &repo.url());
    cached.fetch(None, &[base.clone(), head.clone()]).await.unwrap();
    (folder, cached)
}

fn names(found: &Planned) -> Vec<&str> {
    found.jobs.iter().map(|job| job.connector.as_str()).collect()
}

fn reason(path: &str, rule: Rule, via: &[&str]) -> Reason {
    Reason { path: path.to_owned(), rule, via: via.iter().map(|s| (*s).to_owned()).collect() }
}

#[tokio::test]
async fn a_change_in_one_connector_plans_that_one() {
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/main.py", "changed");
    repo.write("README.md", "ignored");
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(names(&found), ["source-a"]);
    let job = &found.jobs[0];
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
    let selection = &found.selection;
    assert_eq!((selection.files, selection.ignored, selection.complete), (2, 1, true));
    assert!(selection.origin.starts_with(".github/checkvalve.yml at "), "{}", selection.origin);
    assert_eq!(found.merge_base, Some(base));
}

#[tokio::test]
async fn shared_code_reaches_its_users_and_says_which_have_no_pipeline() {
    let (repo, base) = monorepo();
    repo.write("shared/util.py", "y");
    repo.write("fixtures/source-b/data.json", "{}");
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(names(&found), ["source-a", "source-b"]);
    assert_eq!(found.selection.without_pipeline, ["tool-c"]);
    assert_eq!(
        found.jobs[1].reasons,
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
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert_eq!((names(&found).len(), found.selection.ignored), (0, 1));
}

#[tokio::test]
async fn removed_added_and_moved_connectors() {
    let (repo, base) = monorepo();
    repo.git(&["rm", "-r", "--quiet", "connectors/source-b"]);
    repo.write("connectors/source-n/pyproject.toml", "");
    repo.git(&["mv", "connectors/source-a/main.py", "connectors/tool-c/from_a.py"]);
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(found.selection.removed, ["source-b"]);
    let changes: BTreeMap<&str, ChangeKind> =
        found.jobs.iter().map(|job| (job.connector.as_str(), job.change)).collect();
    let expected = [("source-a", ChangeKind::Modified), ("source-n", ChangeKind::Added)];
    assert_eq!(changes, BTreeMap::from(expected));
    assert_eq!(found.selection.without_pipeline, ["tool-c"]);
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
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert!(names(&found).contains(&"source-a"));
}

/// What a run keeps for "why not?" is what the terminal says, of every connector and to the letter.
#[tokio::test]
async fn what_is_kept_of_the_unselected_is_what_explain_says() {
    let (repo, base) = monorepo();
    repo.write("connectors/source-a/main.py", "changed");
    repo.write("fixtures/source-a/x", "1");
    repo.write("NOTES.md", "ignored");
    repo.git(&["rm", "-r", "--quiet", "connectors/tool-c"]);
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let survey = survey_here(&local, Some(&base), Some(&repo.head()), None).await.unwrap();

    let kept = found.selection.unselected.as_ref().unwrap();
    let names: Vec<&str> = kept.names().collect();
    assert_eq!(names, ["source-b", "tool-c"]);
    for name in names {
        assert_eq!(kept.explain(name), survey.explain(name), "{name}");
    }
    let b = kept.explain("source-b").unwrap();
    assert!(!b.selected && b.reasons.is_empty());
    let said: Vec<String> =
        b.looked.iter().map(|look| format!("{}: {}", look.rule, look.because)).collect();
    assert!(said.contains(&"ignore: `NOTES.md` select nothing".to_owned()), "{said:?}");
    let beside = "impact fixtures/{name}/**: `fixtures/source-a/x` matches, but reaches {name} \
                  and not this one";
    assert!(said.contains(&beside.to_owned()), "{said:?}");
    assert_eq!(found.selection.not_selected(), 1, "what is removed is named by itself");
    assert_eq!(found.selection.unclaimed_selects, Some(true));

    // Affected, and yet without a job here: for want of a pipeline, or as it was not asked for.
    let (repo, base) = monorepo();
    repo.write("shared/util.py", "y");
    let targets = vec![Target { connector: "source-a".to_owned(), step: None }];
    let found = plan_head(&repo, &base, &Scope::Only { targets }).await.unwrap();
    let kept = found.selection.unselected.as_ref().unwrap();
    assert!(kept.explain("source-b").unwrap().selected);
    assert_eq!(kept.explain("source-a"), None);
    assert_eq!(found.selection.not_selected(), 0);
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

    // From a step on: it, and what comes after it, of each connector that has it.
    let from = |step: &str, of| Scope::From { step: step.to_owned(), of: Box::new(of) };
    let found = plan_head(&repo, &base, &from("UNIT", Scope::Affected)).await.unwrap();
    assert_eq!(names(&found), ["source-a"]);
    assert_eq!(
        found.jobs[0].only.iter().map(StepId::as_str).collect::<Vec<_>>(),
        ["unit", "report"]
    );
    let found = plan_head(&repo, &base, &from("lint", Scope::All)).await.unwrap();
    assert_eq!(names(&found), ["source-a", "source-b"]);
    let error = plan_head(&repo, &base, &from("unitt", Scope::Affected)).await;
    let Err(PlanningError::Unknown(unknown)) = error else { panic!("{error:?}") };
    assert_eq!(unknown[0].closest.as_deref(), Some("unit"));
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
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert_eq!(names(&found), ["source-a", "source-b"]);
    assert!(!found.selection.complete && found.selection.because.is_some());
    assert_eq!(found.jobs[0].reasons, [reason("*", Rule::Everything, &[])]);
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

    let jobs: Vec<&str> = found.jobs.iter().map(|job| job.connector.as_str()).collect();
    assert_eq!(jobs, ["airbyte-x", "source-a", "source-a-strict-encrypt", "source-broken"]);
    assert!(found.selection.without_pipeline.is_empty(), "the preset has one for each");
    assert_eq!(found.selection.unclaimed, ["buildSrc/x"]);
    assert_eq!(found.selection.archived, ["source-old"]);
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

const DEPENDS: &str = r#"
version: 1
connectors:
  - match: "connectors/{name}/pyproject.toml"
    depends: [pyproject-path, dockerfile-copy]
unclaimed: all
pipelines:
  - steps: [{ id: unit, image: "python:3.11", run: "pytest" }]
"#;

#[tokio::test]
async fn what_a_connector_is_built_from_selects_it_on_both_sides() {
    let repo = Repo::new();
    let needs = |path: &str| format!("[tool.poetry.dependencies]\nx = {{ path = \"{path}\" }}\n");
    repo.write(".github/checkvalve.yml", DEPENDS);
    repo.write("connectors/source-a/pyproject.toml", needs("../../kit"));
    repo.write("connectors/source-b/pyproject.toml", needs("../source-a"));
    repo.write("connectors/source-c/pyproject.toml", "");
    repo.write("connectors/source-c/Dockerfile", "FROM python:3.11\nCOPY tools ./tools\n");
    repo.write("kit/pyproject.toml", needs("../base"));
    repo.write("base/lib.py", prose("base"));
    repo.write("tools/x.sh", "x");
    let base = repo.commit("base");
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    repo.write("base/lib.py", "changed");
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();

    assert_eq!(names(&found), ["source-a", "source-b"]);
    let via = ["kit/pyproject.toml:2", "connectors/source-a/pyproject.toml:2"];
    assert_eq!(found.jobs[0].reasons, [reason("base/lib.py", Rule::Depends, &via)]);
    let via = [via[0], via[1], "connectors/source-b/pyproject.toml:2"];
    assert_eq!(found.jobs[1].reasons, [reason("base/lib.py", Rule::Depends, &via)]);
    assert!(found.selection.unclaimed.is_empty());
    assert_eq!(
        found.jobs[1].plan.inputs().paths,
        ["base", "connectors/source-a", "connectors/source-b", "kit"]
    );

    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let survey = survey_here(&local, Some(&base), None, None).await.unwrap();
    let why = survey.explain("source-c").unwrap();
    let because = |rule: &str| {
        let look = why.looked.iter().find(|look| look.rule == rule);
        look.map(|look| look.because.as_str()).unwrap()
    };
    assert_eq!(
        because("depends dockerfile-copy"),
        "none of 1 changed path is among the 1 place it is built from"
    );
    assert_eq!(
        because("depends pyproject-path"),
        "none of 1 changed path is among the 0 places it is built from"
    );

    // What no longer depends did until now, and is tested without it.
    repo.write("base/lib.py", prose("base"));
    repo.write("kit/pyproject.toml", "");
    repo.git(&["rm", "-r", "--quiet", "--force", "tools"]);
    let found = plan_head(&repo, &base, &Scope::Affected).await.unwrap();
    assert_eq!(names(&found), ["source-a", "source-b", "source-c"]);
    let via = ["connectors/source-c/Dockerfile:2"];
    assert_eq!(found.jobs[2].reasons, [reason("tools/x.sh", Rule::Depends, &via)]);
}
