//! The commands, as a program's user has them.

use checkvalve::cli::affected::{self, AffectedArgs};
use checkvalve::cli::list::{self, ListArgs};
use checkvalve::cli::plan::{self, PlanArgs};
use checkvalve::cli::select::{CliError, Global, SelectArgs};
use serde_json::{Value, json};

use super::{Repo, monorepo};

fn global(repo: &Repo) -> Global {
    Global { repo: Some(repo.path().to_owned()), ..Global::default() }
}

async fn affected(repo: &Repo, args: &AffectedArgs) -> Result<String, CliError> {
    let mut out = Vec::new();
    affected::run(args, &global(repo), &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

fn main() -> String {
    "main".to_owned()
}

#[tokio::test]
async fn affected_answers_in_the_promised_json() {
    let (repo, base) = monorepo();
    repo.git(&["rm", "-r", "--quiet", "connectors/source-b"]);
    repo.write("connectors/source-a/main.py", "changed");
    repo.write("notes.md", "ignored");
    let head = repo.commit("head");
    let args = AffectedArgs {
        base: Some(main()),
        head: Some("HEAD".to_owned()),
        json: true,
        explain: None,
    };
    let answer: Value = serde_json::from_str(&affected(&repo, &args).await.unwrap()).unwrap();
    let reason = |path: &str| json!({"path": path, "rule": "root", "via": []});
    let expected = json!({
        "base": base.as_str(), "head": head.as_str(), "merge_base": base.as_str(),
        "complete": true, "files": 4,
        "connectors": [
            {"name": "source-a", "root": "connectors/source-a", "change": "modified",
             "reasons": [reason("connectors/source-a/main.py")]},
            {"name": "source-b", "root": "connectors/source-b", "change": "removed",
             "reasons": [reason("connectors/source-b/main.py"), reason("connectors/source-b/pyproject.toml")]},
        ],
        "unclaimed": [],
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn affected_explains_who_is_not() {
    let (repo, _) = monorepo();
    repo.write("connectors/source-a/main.py", "changed, and not committed");
    let args = AffectedArgs {
        base: Some(main()),
        explain: Some("tool-c".to_owned()),
        ..AffectedArgs::default()
    };
    let text = affected(&repo, &args).await.unwrap();
    assert_eq!(
        text,
        "tool-c is not selected\nrules that looked at it:\n  \
         root connectors/tool-c: none of 1 changed path lies in it\n  \
         owns docs/tool-c.rst: none of 1 changed path matches\n  \
         owns tests/*/tool-c/**: none of 1 changed path matches\n  \
         impact shared/**: none of 1 changed path matches\n  \
         impact fixtures/{name}/**: none of 1 changed path matches\n  \
         unclaimed: every changed path is claimed or ignored\n"
    );
    let args = AffectedArgs { base: Some(main()), ..AffectedArgs::default() };
    let text = affected(&repo, &args).await.unwrap();
    assert!(text.starts_with("1 connector affected by 1 changed file\n"), "{text}");
    let args = AffectedArgs { explain: Some("tool-d".to_owned()), ..args };
    let error = affected(&repo, &args).await.unwrap_err();
    assert_eq!((error.status(), error.to_string().contains("did you mean `tool-c`?")), (2, true));
}

fn names(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

async fn listed(repo: &Repo, select: SelectArgs) -> Result<Vec<String>, CliError> {
    let mut out = Vec::new();
    list::run(&ListArgs { select, json: true }, &global(repo), &mut out).await?;
    let answer: Value = serde_json::from_slice(&out).unwrap();
    let connectors = answer["connectors"].as_array().unwrap().iter();
    Ok(connectors.map(|c| c["name"].as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn selection_is_and_between_kinds_and_or_within() {
    let (repo, _) = monorepo();
    repo.write("connectors/source-a/main.py", "changed");
    let of = |name: &[&str]| SelectArgs { name: names(name), ..SelectArgs::default() };
    let python = SelectArgs { kind: names(&["python"]), ..SelectArgs::default() };
    let modified = SelectArgs { modified: true, base: Some(main()), ..SelectArgs::default() };
    let all = SelectArgs { all: true, ..SelectArgs::default() };
    for (select, expected) in [
        (of(&["source-a", "TOOL-C"]), vec!["source-a", "tool-c"]),
        (python.clone(), vec!["source-a", "source-b", "tool-c"]),
        (SelectArgs { kind: names(&["go"]), ..of(&["source-a"]) }, vec![]),
        (SelectArgs { language: names(&["cobol"]), ..all.clone() }, vec![]),
        (modified.clone(), vec!["source-a"]),
        (SelectArgs { name: names(&["source-b"]), ..modified.clone() }, vec![]),
        (all.clone(), vec!["source-a", "source-b", "tool-c"]),
    ] {
        assert_eq!(listed(&repo, select).await.unwrap(), expected);
    }
    for (select, expected) in [
        (SelectArgs::default(), "say which connectors"),
        (of(&["source-aa"]), "did you mean `source-a` or `source-b`?"),
        (SelectArgs { base: None, ..modified }, "give `--base REF`"),
    ] {
        let error = listed(&repo, select).await.unwrap_err();
        assert_eq!(error.status(), 2);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn plans_are_printed_and_drawn() {
    let (repo, _) = monorepo();
    let select = |name: &[&str]| SelectArgs { name: names(name), ..SelectArgs::default() };
    let run = async |args: PlanArgs| {
        let mut out = Vec::new();
        let draw =
            |plan: &checkvalve::domain::plan::Plan| format!("<svg>{}</svg>", plan.connector());
        plan::run(&args, &global(&repo), draw, &mut out)
            .await
            .map(|()| String::from_utf8(out).unwrap())
    };
    let two = PlanArgs { select: select(&["source-a", "tool-c"]), ..PlanArgs::default() };
    let text = run(two.clone()).await.unwrap();
    assert!(
        text.contains("  report: python:3.11 · at most 30 min 00 s · after unit, lint · always\n"),
        "{text}"
    );
    assert!(text.contains("no pipeline is for: tool-c\n"), "{text}");
    let json = run(PlanArgs { json: true, ..two }).await.unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["jobs"][0]["plan"]["steps"][2]["needs"], json!(["unit", "lint"]));

    let svg = repo.path().join("plan.svg");
    let drawn = PlanArgs { select: select(&["source-a"]), svg: Some(svg.clone()), json: false };
    run(drawn).await.unwrap();
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), "<svg>source-a</svg>");
    let both = PlanArgs { select: select(&["source-a", "source-b"]), svg: Some(svg), json: false };
    assert_eq!(run(both).await.unwrap_err().status(), 2);
}

#[tokio::test]
async fn another_file_may_stand_in_for_the_repositorys() {
    let (repo, _) = monorepo();
    let file = repo.write("elsewhere.yml", "components: [{ name: only, include: [shared] }]\n");
    let global = Global { pipelines: Some(file), ..global(&repo) };
    let mut out = Vec::new();
    let select = SelectArgs { all: true, ..SelectArgs::default() };
    list::run(&ListArgs { select: select.clone(), json: false }, &global, &mut out).await.unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "only  shared\n");

    repo.write("elsewhere.yml", "components: 7\n");
    let error = list::run(&ListArgs { select, json: false }, &global, &mut Vec::new()).await;
    let error = error.unwrap_err();
    assert_eq!(error.status(), 2);
    assert!(error.to_string().contains("elsewhere.yml:1:13: `components` wants a list"), "{error}");
}
