//! What `qa` judges by, as it is known when a run is planned.

use checkvalve::config::repository::FILE;
use checkvalve::domain::names::Sha;
use checkvalve::domain::qa::{Basis, Change};
use checkvalve::domain::trigger::Scope;
use checkvalve::git::{GitCache, LocalRepo};
use checkvalve::service::planning::{plans, survey_here};

use super::git_fixture::{Repo, plan};

const ROOT: &str = "airbyte-integrations/connectors/source-a";

fn metadata(repo: &Repo, version: &str) {
    let text = format!("metadataSpecVersion: \"1.0\"\ndata:\n  dockerImageTag: {version}\n");
    repo.write(format!("{ROOT}/metadata.yaml"), text);
}

fn repository(steps: &str) -> (Repo, Sha) {
    let repo = Repo::new();
    metadata(&repo, "1.0.0");
    repo.write(format!("{ROOT}/main.py"), "1");
    repo.write(format!("{ROOT}/icon.svg"), "<svg/>");
    repo.write(FILE, format!("pipelines: [{{ steps: [{steps}] }}]\n"));
    let base = repo.commit("base");
    (repo, base)
}

async fn basis(repo: &Repo, base: &Sha, head: &Sha) -> Option<Basis> {
    let folder = tempfile::tempdir().unwrap();
    let cached = GitCache::new(folder.path()).repository(7, &repo.url());
    cached.fetch(None, &[base.clone(), head.clone()]).await.unwrap();
    let planned = plan(&cached, base, head, &Scope::Affected).await.unwrap();
    let plan = &planned.jobs[0].plan;
    // A plan is stored with the run, and judged by what is stored.
    let stored = serde_json::to_string(plan).unwrap();
    assert_eq!(serde_json::from_str::<checkvalve::domain::plan::Plan>(&stored).unwrap(), *plan);
    plan.basis().cloned()
}

fn known(version: &str, files: &[&str]) -> Change {
    let files: Vec<String> = files.iter().map(|file| format!("{ROOT}/{file}")).collect();
    let count = files.len();
    Change::Known { version: Some(version.to_owned()), files, count, new: false }
}

#[tokio::test]
async fn the_bases_version_is_that_of_its_tip() {
    let (repo, base) = repository("{ id: qa, uses: qa }");
    repo.write(format!("{ROOT}/main.py"), "2");
    repo.write(format!("{ROOT}/README.md"), "2");
    let head = repo.commit("a change of code and of what is none");
    let change = known("1.0.0", &["main.py"]);
    let wanted = Basis { airbyte: true, icons: true, change };
    assert_eq!(basis(&repo, &base, &head).await, Some(wanted));
    // The base branch has gone on meanwhile.
    repo.git(&["checkout", "-q", base.as_str()]);
    metadata(&repo, "1.0.7");
    let tip = repo.commit("released by somebody else");
    let change = basis(&repo, &tip, &head).await.unwrap().change;
    assert_eq!(change, known("1.0.7", &["main.py"]));
}

#[tokio::test]
async fn nothing_is_compared_without_a_base_and_nothing_kept_without_the_step() {
    let (repo, base) = repository("{ id: unit, image: x, run: y }");
    repo.write(format!("{ROOT}/main.py"), "2");
    let head = repo.commit("a change");
    assert_eq!(basis(&repo, &base, &head).await, None);
    let (repo, _) = repository("{ id: qa, uses: qa }");
    let local = LocalRepo::discover(Some(repo.path())).await.unwrap();
    let survey = survey_here(&local, None, None, None).await.unwrap();
    let names = [survey.named("source-a").unwrap().name.clone()].into();
    let planned = plans(&survey, &names).unwrap();
    assert_eq!(planned.jobs[0].plan.basis().unwrap().change, Change::Nothing);
}
