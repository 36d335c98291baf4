//! `uses: qa`, by the engine.

use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::qa::{Basis, Change};
use checkvalve::domain::state::Outcome;
use checkvalve::exec::host::Host;

use super::{carry_out, plan, uses};

const METADATA: &str = include_str!("metadata.yaml");
const PAGE: &str = "/docs/integrations/sources/x.md";

fn basis(version: &str) -> Basis {
    let files = vec!["connectors/source-x/main.py".to_owned()];
    let version = Some(version.to_owned());
    let change = Change::Known { version, files, count: 1, new: false };
    Basis { airbyte: true, icons: true, change }
}

#[tokio::test]
async fn a_good_connector_is_green_with_a_case_for_each_check() {
    let plan = plan(vec![uses(Builtin::Qa, &[])]);
    let plan = plan.with_version(Some("0.2.0".into())).with_basis(Some(basis("0.1.0")));
    let docs = "# X\n## Changelog\n| 0.2.0 | now |\n";
    let files =
        [("metadata.yaml", METADATA), (PAGE, docs), ("icon.svg", "<svg/>"), ("main.py", "x = 1\n")];
    let done = carry_out(Host::default(), &plan, &files).await;
    assert_eq!(done.outcome("qa"), Outcome::Succeeded, "{}", done.log("qa"));
    assert_eq!(done.tests("qa"), (6, 0, 0, vec![]));
    assert!(done.log("qa").starts_with("passed   metadata follows its definition\n"));
    let artifacts = &done.step("qa").facts.artifacts;
    assert_eq!(artifacts[0].path, "junit.xml");
}

#[tokio::test]
async fn what_is_wrong_is_a_failed_case_with_file_and_line() {
    let plan = plan(vec![uses(Builtin::Qa, &[])]);
    let plan = plan.with_version(Some("0.2.0".into())).with_basis(Some(basis("0.2.0")));
    let metadata = METADATA.replace("releaseStage: alpha", "releaseStage: never");
    let files = [("metadata.yaml", metadata.as_str()), ("main.py", "\nu = 'http://x.example'\n")];
    let done = carry_out(Host::default(), &plan, &files).await;
    assert_eq!(done.outcome("qa"), Outcome::Failed);
    let (passed, failed, skipped, names) = done.tests("qa");
    assert_eq!((passed, failed, skipped), (0, 5, 1), "{names:?}");
    let tests = done.step("qa").facts.tests.as_ref().unwrap();
    let link = tests.failures.iter().find(|failure| failure.name == "links are https").unwrap();
    assert_eq!(link.file.as_deref(), Some("connectors/source-x/main.py"));
    assert_eq!(link.line, Some(2));
}

#[tokio::test]
async fn nothing_judged_is_red_and_says_so() {
    let plan = plan(vec![uses(Builtin::Qa, &[])]);
    let done = carry_out(Host::default(), &plan, &[("/elsewhere.txt", "x")]).await;
    assert_eq!(done.outcome("qa"), Outcome::Failed);
    assert!(done.reason("qa").starts_with("nothing was judged"), "{}", done.reason("qa"));
}
