//! Configurations that a connector renews: what the journal hears, what later calls are given, and
//! what nobody reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::names::{SecretName, StepId};
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::renewal::{NotWritten, Renewed, WrittenBack};
use checkvalve::domain::run::StepRecord;
use checkvalve::domain::secret::{
    Brought, Delivery, JobSecrets, SecretSource, SecretSpec, SecretValue,
};
use checkvalve::domain::state::Outcome;
use checkvalve::engine::{
    Engine, EngineError, Images, JobLabels, JobRun, Journal, Kept, Left, Stop,
};
use checkvalve::exec::images::{BuildEnd, ImageBuild, Said, Talk, TalkEnd};
use checkvalve::exec::{Divided, Division, Ended, Executor, StepRun};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::scripted::{Lost, Notes};
use super::speaker::WELL;
use super::{Done, plan, source, uses};

const FIRST: &str = r#"{"token": "the-token-0", "start": "2024-01-01"}"#;

/// A connector whose token is good for one call: each `check` renews it, and says it.
#[derive(Clone, Default)]
struct Connector {
    /// The tokens that it was called with, by command.
    given: Arc<Mutex<Vec<(String, String)>>>,
    /// What it says further in `check`, `{}` being its new token.
    says: &'static str,
}

impl Executor for Connector {
    type Left = ();

    async fn run(
        &self,
        _: StepRun,
        _: Option<()>,
        _: mpsc::Sender<Bytes>,
        _: CancellationToken,
    ) -> (Ended, Option<()>) {
        panic!("no step here has commands")
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

    async fn identify(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn build(&self, _: ImageBuild, _: mpsc::Sender<Bytes>, _: CancellationToken) -> BuildEnd {
        BuildEnd::Built("sha256:1234".to_owned())
    }

    async fn talk(&self, talk: Talk, said: mpsc::Sender<Said>, stop: CancellationToken) -> TalkEnd {
        let command = talk.arguments[0].clone();
        let config: Value =
            talk.config.as_deref().map_or(Value::Null, |c| serde_json::from_slice(c).unwrap());
        let token = config["token"].as_str().unwrap_or_default().to_owned();
        self.given.lock().unwrap().push((command.clone(), token.clone()));
        let properties = json!({ "token": { "type": "string", "airbyte_secret": true } });
        let lines = match command.as_str() {
            "spec" => {
                let spec = json!({ "type": "object", "properties": properties });
                let spec = json!({ "connectionSpecification": spec });
                json!({ "type": "SPEC", "spec": spec }).to_string()
            }
            "check" => {
                let number: u32 = token.rsplit('-').next().unwrap().parse().unwrap();
                let renewed = format!("the-token-{}", number + 1);
                let status = json!({ "status": "SUCCEEDED" });
                let status = json!({ "type": "CONNECTION_STATUS", "connectionStatus": status });
                let between = control(&format!("{renewed}-for-a-moment"));
                let says = self.says.replace("{}", &renewed);
                [control(&token), between, control(&renewed), says, status.to_string()].join("\n")
            }
            _ => json!({ "type": "CATALOG", "catalog": { "streams": [{
                "name": "a", "json_schema": { "type": "object" },
                "supported_sync_modes": ["full_refresh"],
            }] } })
            .to_string(),
        };
        let lines = Bytes::from(lines + "\n");
        tokio::select! {
            _ = said.send(Said::Out(lines)) => {}
            () = stop.cancelled() => {}
        }
        WELL
    }
}

fn control(token: &str) -> String {
    let config = json!({ "token": token, "start": "2024-01-01" });
    let control = json!({
        "type": "CONNECTOR_CONFIG", "emitted_at": 1.5e12, "connectorConfig": { "config": config },
    });
    json!({ "type": "CONTROL", "control": control }).to_string()
}

/// Notes what is to be kept and written back, too.
#[derive(Default)]
struct Keeping {
    notes: Notes,
    renewed: Mutex<Vec<Renewed>>,
    asked: Mutex<Vec<SecretName>>,
    refuses: bool,
    /// Why nothing can be written back.
    away: Option<&'static str>,
}

impl Journal for Keeping {
    type Error = Lost;

    async fn record(&self, steps: &[StepRecord]) -> Result<(), Lost> {
        self.notes.record(steps).await
    }

    async fn printed(&self, step: &StepId, attempt: u32, offset: u64, chunk: &Bytes) {
        self.notes.printed(step, attempt, offset, chunk).await;
    }

    async fn keep(&self, left: &Left) -> Result<Kept, Lost> {
        self.notes.keep(left).await
    }

    async fn renewed(&self, renewed: &Renewed) -> Result<(), Lost> {
        if self.refuses {
            return Err(Lost);
        }
        self.renewed.lock().unwrap().push(renewed.clone());
        Ok(())
    }

    async fn write_back(&self, secrets: &[SecretName]) -> Result<Vec<WrittenBack>, Lost> {
        self.asked.lock().unwrap().extend(secrets.iter().cloned());
        let names: Vec<SecretName> =
            self.renewed.lock().unwrap().iter().map(|renewed| renewed.secret.clone()).collect();
        let last = names.last().filter(|name| secrets.contains(name));
        let told = match self.away {
            None => Ok("written back as version 2".to_owned()),
            Some(why) => Err(NotWritten { why: why.to_owned(), passes: true }),
        };
        Ok(last.map(|name| WrittenBack { secret: name.clone(), told }).into_iter().collect())
    }
}

const TESTS: &str = "
acceptance_tests:
  connection: { tests: [{ config_path: secrets/config.json }, { config_path: secrets/config }] }
  discovery: { tests: [{}] }
";

fn steps(upload: bool) -> Plan {
    let secrets: Vec<SecretName> = vec!["config".parse().unwrap()];
    let acceptance = uses(Builtin::Acceptance, &["build"]);
    let mut steps =
        vec![uses(Builtin::Build, &[]), StepSpec { secrets: secrets.clone(), ..acceptance }];
    if upload {
        let upload = uses(Builtin::UploadSecrets, &["acceptance"]);
        steps.push(StepSpec { secrets, always: true, ..upload });
    }
    plan(steps)
}

async fn carried_out(
    connector: &Connector,
    plan: &Plan,
    journal: &Keeping,
) -> Result<(Vec<StepRecord>, JobSecrets), EngineError<Lost>> {
    let spec = SecretSpec {
        name: "config".parse().unwrap(),
        source: SecretSource::Gsm { file: "config".to_owned() },
        delivery: Delivery::File,
    };
    let value = Ok(SecretValue::new(FIRST.as_bytes().to_vec()));
    let brought = Brought { secret: spec, value, note: None };
    let secrets = JobSecrets::new(&"source-x".parse().unwrap(), [brought]);
    let (folder, ulid) = (tempfile::tempdir().unwrap(), ambient::ulid());
    let files = [("Dockerfile", "FROM x\n"), ("acceptance-test-config.yml", TESTS)];
    let job = JobRun {
        plan,
        records: Vec::new(),
        labels: JobLabels {
            instance: format!("test-{ulid}"),
            run: RunId::new(ulid),
            job: JobId::new(ulid),
            epoch: 1,
            connector: "source-x".parse().unwrap(),
        },
        env: BTreeMap::new(),
        secrets: secrets.clone(),
        source: source(&folder, &files),
        spool: folder.path().join("spool"),
        fail_fast: false,
        images: Images::OfJob { repository: 1 },
        cache: None,
    };
    let engine = Engine::new(connector.clone(), 2);
    let records = engine.run(job, journal, &Stop::new()).await?;
    Ok((records, secrets))
}

async fn done(connector: &Connector, plan: &Plan, journal: Keeping) -> (Done, Keeping) {
    let (records, _) = carried_out(connector, plan, &journal).await.unwrap();
    let Keeping { notes, .. } = journal;
    (Done { records, notes }, Keeping { notes: Notes::default(), ..journal })
}

fn value(value: &SecretValue) -> Value {
    serde_json::from_slice(value.expose()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_renewed_is_kept_used_next_hidden_and_written_back() {
    let says = "the new one is {}";
    let connector = Connector { says, ..Connector::default() };
    let (done, kept) = done(&connector, &steps(true), Keeping::default()).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Failed, "{log}");
    let given = connector.given.lock().unwrap().clone();
    let given: Vec<_> = given.iter().map(|(call, token)| (call.as_str(), token.as_str())).collect();
    let first = ("check", "the-token-0");
    // One file by two paths is one secret.
    assert_eq!(given, [("spec", ""), first, ("check", "the-token-1"), ("discover", "the-token-2")]);
    // The one that it has already is no new one; of the others the last one counts.
    let renewed = kept.renewed.lock().unwrap();
    let tokens = renewed.iter().map(|one| value(&one.value)["token"].as_str().unwrap().to_owned());
    assert_eq!(
        tokens.collect::<Vec<_>>(),
        ["the-token-1-for-a-moment", "the-token-1", "the-token-2-for-a-moment", "the-token-2"]
    );
    assert_eq!(value(&renewed[0].before)["token"], "the-token-0");
    assert_eq!(value(&renewed[2].before)["token"], "the-token-1");
    assert_eq!(renewed[0].emitted_at, Some(1_500_000_000_000));
    // Saying it in a message of another kind is another thing.
    let failed = done.tests("acceptance").3;
    assert_eq!(failed, ["connection 1: keeps secrets", "connection 2: keeps secrets"]);
    assert!(log.contains("the configuration was updated: it is kept"), "{log}");
    assert!(log.contains("| the new one is ***\n"), "{log}");
    assert!(!log.contains("the-token"), "{log}");
    assert_eq!(done.outcome("upload-secrets"), Outcome::Succeeded);
    assert_eq!(*kept.asked.lock().unwrap(), ["config".parse().unwrap()]);
    let log = done.log("upload-secrets");
    assert!(log.ends_with("\npassed   config: written back as version 2\n"), "{log}");
    assert_eq!(done.reason("upload-secrets"), "secret `config`: written back as version 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewing_a_configuration_is_no_fault() {
    let connector = Connector::default();
    let (done, _) = done(&connector, &steps(true), Keeping::default()).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{log}");
    assert_eq!(done.tests("acceptance").1, 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_that_no_step_writes_back() {
    let connector = Connector::default();
    let (done, kept) = done(&connector, &steps(false), Keeping::default()).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded);
    assert_eq!(kept.renewed.lock().unwrap().len(), 0);
    let log = done.log("acceptance");
    assert!(log.contains("not written back, as no `upload-secrets` step names it"), "{log}");
    let given = connector.given.lock().unwrap();
    assert_eq!(given.last().unwrap().1, "the-token-2", "and used all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_written_back_makes_the_step_errored_and_nothing_else() {
    let away = Some("Google is away");
    let journal = Keeping { away, ..Keeping::default() };
    let (done, _) = done(&Connector::default(), &steps(true), journal).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded);
    assert_eq!(done.outcome("upload-secrets"), Outcome::Errored);
    let reason = done.reason("upload-secrets");
    assert!(reason.starts_with("secret `config`: Google is away; it is tried until"), "{reason}");
    assert_eq!(done.step("upload-secrets").attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_refuses_ends_the_job_at_once() {
    let journal = Keeping { refuses: true, ..Keeping::default() };
    let connector = Connector::default();
    let ended = carried_out(&connector, &steps(true), &journal).await;
    assert!(matches!(ended, Err(EngineError::Journal(Lost))));
    assert_eq!(connector.given.lock().unwrap().len(), 2, "it was called no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn later_steps_of_the_job_are_given_what_was_renewed() {
    let (_, secrets) =
        carried_out(&Connector::default(), &steps(true), &Keeping::default()).await.unwrap();
    let given =
        secrets.of_step(steps(false).step(&"acceptance".parse().unwrap()).unwrap()).unwrap();
    assert_eq!(value(&given[0].value)["token"], "the-token-2");
    let text = secrets.redactor().text("the-token-0 the-token-1 the-token-2").into_owned();
    assert_eq!(text, "*** *** ***");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_renewed_is_nothing_wrong() {
    let journal = Keeping::default();
    let mut steps = steps(true).steps().to_vec();
    steps.retain(|step| !step.is(Builtin::Acceptance));
    for step in &mut steps {
        step.needs.retain(|need| need.as_str() != "acceptance");
    }
    let (done, _) = done(&Connector::default(), &plan(steps), journal).await;
    assert_eq!(done.outcome("upload-secrets"), Outcome::Succeeded);
    assert_eq!(done.reason("upload-secrets"), "no configuration was updated");
    let log = done.log("upload-secrets");
    assert!(log.ends_with("\nskipped  config: no configuration was updated\n"), "{log}");
}
