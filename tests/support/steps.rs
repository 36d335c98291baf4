//! Steps for the executors' tests, and their output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::{Inputs, Plan};
use checkvalve::exec::{Ended, Executor, Labels, SourceArchive, StepRun};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A folder with a source archive in it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) source: Arc<SourceArchive>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tar = folder.path().join("source.tar");
        let mut builder = tar::Builder::new(std::fs::File::create(&tar).unwrap());
        for (path, mode, body) in [
            ("source-x/hello.txt", 0o644, "hello\n"),
            ("source-x/tool.sh", 0o755, "#!/bin/sh\necho tool\n"),
            ("shared/lib.txt", 0o600, "lib\n"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(body.len() as u64);
            builder.append_data(&mut header, path, body.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        Self { folder, source: Arc::new(SourceArchive { tar }) }
    }

    pub(crate) fn step(&self, image: &str, script: &str) -> StepRun {
        let ulid = ambient::ulid();
        StepRun {
            labels: Labels {
                instance: format!("test-{ulid}"),
                run: RunId::new(ulid),
                job: JobId::new(ulid),
                epoch: 7,
                connector: "source-x".parse().unwrap(),
                step: "unit".parse().unwrap(),
                attempt: 1,
            },
            image: image.to_owned(),
            run: vec![script.to_owned()],
            env: BTreeMap::from([("GREETING".to_owned(), "a b\n$c".to_owned())]),
            secrets: Vec::new(),
            services: Vec::new(),
            workdir: "source-x".to_owned(),
            guarded: false,
            source: self.source.clone(),
            network: Network::None,
            resources: None,
            out: self.folder.path().join(ulid.to_string()).join("out"),
            keep_out: true,
            leave: false,
            shared: false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Runs a step to its end and answers its output too.
pub(crate) async fn run(executor: &impl Executor, step: StepRun) -> (Ended, String) {
    let (ended, output) = run_until(executor, step, CancellationToken::new()).await;
    (ended, String::from_utf8_lossy(&output).into_owned())
}

pub(crate) async fn run_until(
    executor: &impl Executor,
    step: StepRun,
    cancel: CancellationToken,
) -> (Ended, Vec<u8>) {
    run_heard(executor, step, cancel, || {}).await
}

/// Runs a step that prints something and goes on, and does something once it was heard; the step can be
/// stopped. A machine with much to do takes its time until there; an engine tells of a start when the step
/// may have printed already.
pub(crate) async fn run_heard(
    executor: &impl Executor,
    step: StepRun,
    cancel: CancellationToken,
    heard: impl FnOnce(),
) -> (Ended, Vec<u8>) {
    let (log, mut chunks) = mpsc::channel::<Bytes>(8);
    let gather = async {
        let (mut output, mut heard) = (Vec::new(), Some(heard));
        while let Some(chunk) = chunks.recv().await {
            output.extend_from_slice(&chunk);
            if let Some(heard) = heard.take() {
                heard();
            }
        }
        output
    };
    let ((ended, _), output) = tokio::join!(executor.run(step, None, log, cancel), gather);
    (ended, output)
}

/// A stop that comes by itself.
pub(crate) fn stop_after(delay: Duration) -> CancellationToken {
    let stop = CancellationToken::new();
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        later.cancel();
    });
    stop
}

/// Runs a step that is stopped once it was heard.
pub(crate) async fn run_and_stop(executor: &impl Executor, step: StepRun) -> (Ended, String) {
    let cancel = CancellationToken::new();
    let (ended, output) = run_heard(executor, step, cancel.clone(), || cancel.cancel()).await;
    (ended, String::from_utf8_lossy(&output).into_owned())
}

/// Runs a step whose output is only counted.
pub(crate) async fn run_counting(executor: &impl Executor, step: StepRun) -> (Ended, u64) {
    let (log, mut chunks) = mpsc::channel::<Bytes>(8);
    let count = async {
        let mut count = 0;
        while let Some(chunk) = chunks.recv().await {
            count += chunk.len() as u64;
        }
        count
    };
    let run = executor.run(step, None, log, CancellationToken::new());
    let ((ended, _), count) = tokio::join!(run, count);
    (ended, count)
}

/// This process' memory in use, in MiB.
pub(crate) fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

pub(crate) fn spec(image: &str, id: &str, needs: &[&str], script: &str) -> StepSpec {
    StepSpec {
        image: image.to_owned(),
        run: vec![script.to_owned()],
        needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
        timeout_ms: 60_000,
        network: Network::None,
        ..StepSpec::new(id.parse().unwrap())
    }
}

pub(crate) fn plan(steps: Vec<StepSpec>) -> Plan {
    Plan::new("source-x".parse().unwrap(), "source-x".into(), Inputs::default(), steps).unwrap()
}

/// All files below a folder, relative and sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for child in std::fs::read_dir(at).into_iter().flatten().flatten() {
            if child.file_type().unwrap().is_dir() {
                folders.push(child.path());
            } else {
                files.push(child.path().strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    files.sort();
    files
}
