//! `uses: scan`, with a real engine and a scanner of busybox and shell.

use std::collections::BTreeMap;

use bollard::query_parameters::ListContainersOptions;
use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::annotation::Level;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::Plan;
use checkvalve::domain::scan::{FailOn, SARIF};
use checkvalve::domain::secret::{
    Brought, Delivery, JobSecrets, SecretSource, SecretSpec, SecretValue,
};
use checkvalve::domain::state::Outcome;
use checkvalve::exec::images::Scan;
use checkvalve::exec::{Divided, Division, Ended, Executor, StepRun};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::build::docker;
use super::images::{SCANNER, engine};
use super::{Begin, Done, built, carry_out, plan, resume, run, uses};

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

/// An executor whose scanner writes this.
struct Scanner(String);

impl Executor for Scanner {
    type Left = ();

    async fn run(
        &self,
        _: StepRun,
        _: Option<()>,
        _: mpsc::Sender<Bytes>,
        _: CancellationToken,
    ) -> (Ended, Option<()>) {
        panic!("no step here has commands alone")
    }

    async fn divide(&self, (): (), _: Division) -> Divided<()> {
        Divided::nothing()
    }

    async fn keep(&self, (): (), _: &str) {}

    async fn recall(&self, _: &str) -> Option<()> {
        None
    }

    fn identity(&self) -> Option<String> {
        None
    }

    async fn identify(&self, image: &str) -> Result<Option<String>, String> {
        Ok(Some(image.to_owned()))
    }

    async fn scan(&self, scan: Scan, _: mpsc::Sender<Bytes>, _: CancellationToken) -> Ended {
        std::fs::create_dir_all(&scan.step.out).unwrap();
        std::fs::write(scan.step.out.join(SARIF), &self.0).unwrap();
        let now = ambient::now();
        Ended {
            outcome: Outcome::Succeeded,
            exit_code: Some(0),
            reason: None,
            retry: false,
            started_at: now,
            finished_at: now,
            segments: vec![],
            image_digest: None,
            services: BTreeMap::new(),
        }
    }
}

#[tokio::test]
async fn a_secret_in_a_finding_is_hidden_wherever_its_text_is_cut() {
    let plan = both("scan", FailOn::Error);
    for from in [4_070, 4_085, 4_089, 4_095, 5_000] {
        let brought = Brought {
            secret: SecretSpec {
                name: "token".parse().unwrap(),
                source: SecretSource::Local { file: "token".to_owned() },
                delivery: Delivery::File,
            },
            value: Ok(SecretValue::new(b"s3cr3t-token".to_vec())),
            note: None,
        };
        let secrets = JobSecrets::new(&"source-x".parse().unwrap(), [brought]);
        let text = format!("{}s3cr3t-token and more", "x".repeat(from));
        let uri = format!("{}s3cr3t-token/more", "x".repeat(from - 3_072));
        let sarif = serde_json::json!({ "version": "2.1.0", "runs": [{ "results": [{
            "level": "error",
            "ruleId": "R",
            "message": { "text": text },
            "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri } } }],
        }] }] });
        let begin = Begin { records: vec![built("sha256:1234")], secrets, ..Begin::default() };
        let done = run(Scanner(sarif.to_string()), &plan, &[], begin).await;
        let facts = &done.step("scan").facts;
        let told = format!("{} {facts:?}", done.log("scan"));
        assert_eq!(facts.annotations.as_ref().unwrap().errors, 1, "{told}");
        assert_eq!(done.tests("scan").3, ["R"], "{told}");
        assert!(told.contains("xxx") && !told.contains("s3c"), "{from}: {told}");
        let kept = done.notes.kept.lock().unwrap();
        let left = kept.iter().find(|left| left.step.as_str() == "scan").unwrap();
        assert_eq!(left.artifacts, ["junit.xml", SARIF]);
    }
}
