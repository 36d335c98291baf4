//! `uses: scan`, with a real engine and a scanner of busybox and shell.

use bollard::query_parameters::ListContainersOptions;
use checkvalve::domain::annotation::Level;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::Plan;
use checkvalve::domain::scan::{FailOn, SARIF};
use checkvalve::domain::state::Outcome;

use super::build::docker;
use super::images::{SCANNER, engine};
use super::{Done, built, carry_out, plan, resume, uses};

const DOCKERFILE: &str =
    "FROM checkvalve-test/busybox:1\nCOPY . /code\nRUN touch /code/notes.bak\n";

fn both(run: &str, fail: FailOn) -> Plan {
    let step = |step: StepSpec| StepSpec { network: Network::None, timeout_ms: 120_000, ..step };
    let mut scan = uses(Builtin::Scan, &["build"]);
    SCANNER.clone_into(&mut scan.image);
    scan.run = vec![run.to_owned()];
    scan.sarif = Some(SARIF.to_owned());
    scan.artifacts.push(SARIF.to_owned());
    scan.fail = fail;
    plan(vec![step(uses(Builtin::Build, &[])), step(scan)])
}

async fn scanned(run: &str, fail: FailOn, files: &[(&str, &str)]) -> Option<Done> {
    engine().await?;
    let files = [&[("Dockerfile", DOCKERFILE), ("main.py", "")], files].concat();
    Some(carry_out(docker().await, &both(run, fail), &files).await)
}

#[tokio::test]
async fn what_a_scanner_finds_in_the_image_fails_the_step_by_its_level() {
    let key = ("keys/server.pem", "-----BEGIN-----");
    let Some(done) = scanned("scan", FailOn::Error, &[key]).await else { return };
    let log = done.log("scan");
    assert_eq!(done.outcome("scan"), Outcome::Failed, "{} {log}", done.reason("scan"));
    let facts = &done.step("scan").facts;
    assert_eq!(done.tests("scan").3, ["little-scanner: private-key"], "{log}");
    let failure = &facts.tests.as_ref().unwrap().failures[0];
    assert!(failure.message.contains("code/keys/server.pem: a private key"), "{failure:?}");
    let found = facts.annotations.as_ref().unwrap();
    assert_eq!((found.errors, found.warnings), (1, 1), "a warning fails nothing");
    assert_eq!(found.kept[0].level, Level::Error);
    assert_eq!(found.kept[0].path.as_deref(), Some("code/keys/server.pem"));
    assert!(facts.image_digest.is_some() && facts.exit_code == Some(0));
    let names: Vec<_> = facts.segments.iter().map(|segment| segment.name.as_str()).collect();
    assert_eq!(names, ["export", "create", "start", "run", "collect"]);
    let kept = done.notes.kept.lock().unwrap();
    let left = kept.iter().find(|left| left.step.as_str() == "scan").unwrap();
    assert_eq!(left.artifacts, ["junit.xml", SARIF]);
}

#[tokio::test]
async fn an_image_without_grave_findings_passes() {
    for (fail, outcome) in [
        (FailOn::Error, Outcome::Succeeded),
        (FailOn::Never, Outcome::Succeeded),
        (FailOn::Warning, Outcome::Failed),
    ] {
        let Some(done) = scanned("scan", fail, &[]).await else { return };
        assert_eq!(done.outcome("scan"), outcome, "{fail:?} {}", done.log("scan"));
        assert_eq!(done.step("scan").facts.annotations.as_ref().unwrap().warnings, 1);
    }
}

#[tokio::test]
async fn a_scanner_that_fails_or_writes_no_sarif_is_never_green() {
    let cut =
        format!("scan; head -c 100 $CHECKVALVE_OUT/{SARIF} > x; mv x $CHECKVALVE_OUT/{SARIF}");
    let other = format!("echo '{{\"version\":\"2.0.0\"}}' > $CHECKVALVE_OUT/{SARIF}");
    for (run, case, told) in [
        ("scan; exit 3", "the scanner ends well", "it exited with code 3"),
        ("true", "the scanner leaves SARIF", "the scanner did not write it"),
        (&cut, "the scanner leaves SARIF", "it is cut off"),
        (&other, "the scanner leaves SARIF", "its version is \"2.0.0\""),
    ] {
        let Some(done) = scanned(run, FailOn::Error, &[]).await else { return };
        let log = done.log("scan");
        assert_eq!(done.outcome("scan"), Outcome::Failed, "{run}: {log}");
        assert_eq!(done.tests("scan").3, [case], "{run}: {log}");
        assert!(log.contains(told), "{run}: {log}");
    }
}

#[tokio::test]
async fn the_image_is_a_file_and_no_socket_is_there() {
    let run = "test -r $CHECKVALVE_IMAGE; test ! -e /var/run/docker.sock; test ! -e /run/docker.sock\n\
               id -u; scan";
    let Some(done) = scanned(run, FailOn::Error, &[]).await else { return };
    assert_eq!(done.outcome("scan"), Outcome::Succeeded, "{}", done.log("scan"));
    assert!(done.log("scan").contains("1000\n"), "{}", done.log("scan"));
    let api = engine().await.unwrap();
    let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let still = api.list_containers(Some(options)).await.unwrap();
    let mine = |c: &&bollard::models::ContainerSummary| c.image.as_deref() == Some(SCANNER);
    assert_eq!(still.iter().filter(mine).count(), 0, "nothing is left of the scanner");
}

#[tokio::test]
async fn an_image_that_is_gone_is_built_again_before_it_is_scanned() {
    let Some(_) = engine().await else { return };
    let plan = both("scan", FailOn::Error);
    let id = format!("sha256:{}", "0".repeat(64));
    // There is nothing to build it from.
    let done = resume(docker().await, &plan, &[], vec![built(&id)]).await;
    assert_eq!((done.outcome("build"), done.step("build").attempt), (Outcome::Failed, 2));
    assert!(done.step("scan").state.outcome().is_none(), "{:?}", done.step("scan"));
}
