//! Engines and registries that are far away or say no: pulls that are shared, logins, TLS and SSH.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/images.rs"]
mod images;
#[path = "support/registry.rs"]
mod registry;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;
#[expect(dead_code, reason = "no server is needed")]
#[path = "support/tls.rs"]
mod tls;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::Docker as Api;
use bollard::query_parameters::RemoveImageOptions;
use checkvalve::ambient;
use checkvalve::domain::state::Outcome;
use checkvalve::exec::docker::{DEFAULT_HOST, Docker, DockerOptions};
use checkvalve::exec::{Ended, ExecError};
use images::BUSYBOX;
use registry::{Manner, Registry};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use steps::{Place, run};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

async fn connect(host: Option<&str>, options: DockerOptions) -> Result<Docker, ExecError> {
    let usual = ambient::env("DOCKER_HOST");
    Docker::connect(host.or(usual.as_deref()), options).await
}

fn options() -> DockerOptions {
    let grace = Duration::from_millis(500);
    DockerOptions { grace, ..DockerOptions::new(format!("engines-{}", ambient::ulid())) }
}

async fn forget(api: &Api, image: &str) {
    let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
    api.remove_image(image, Some(options), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_want_an_image_at_once_have_it_pulled_once() {
    let Some(api) = images::engine().await else { return };
    let manner = Manner { delay: Duration::from_secs(1), ..Manner::default() };
    let registry = Registry::with(&images::busybox(&["sh", "echo"]), manner).await;
    let docker = connect(None, options()).await.unwrap();
    let place = Place::new();
    let alone = format!("{}/some/image:alone", registry.address);
    let (ended, _) = run(&docker, place.step(&alone, "echo pulled")).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    let once = registry.asked();
    forget(&api, &alone).await;
    let together = format!("{}/some/image:together", registry.address);
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let (docker, step) = (docker.clone(), place.step(&together, "echo pulled"));
            tokio::spawn(async move { run(&docker, step).await })
        })
        .collect();
    for run in runs {
        let (ended, output) = run.await.unwrap();
        assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "pulled\n"), "{ended:?}");
        let pull = &ended.segments[0];
        assert_eq!(pull.name, "pull", "each says what it waited for");
        assert!(pull.finished_at.since(pull.started_at) >= Duration::from_millis(500));
    }
    assert_eq!(registry.asked(), 2 * once, "four steps, one pull");
    // The first of two that wait goes; the other has its image all the same.
    forget(&api, &together).await;
    let (first, second) = (place.step(&together, "true"), place.step(&together, "true"));
    let begun = tokio::time::timeout(Duration::from_millis(400), run(&docker, first));
    let (gone, (ended, _)) = tokio::join!(begun, run(&docker, second));
    assert!(gone.is_err());
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    docker.settled().await;
    forget(&api, &together).await;
}

/// A password of which every letter that URLs have otherwise is in the base64.
const LOGIN: &str = "robot$ci:p>>>???~~~w\u{fc}rd";

async fn pull_with(registry: &Registry, config: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let config = Some(folder.path().to_owned());
    let docker = connect(None, DockerOptions { config, ..options() }).await.unwrap();
    let image = format!("{}/some/image:7", registry.address);
    run(&docker, Place::new().step(&image, "true")).await.0
}

#[tokio::test]
async fn a_registry_that_asks_who_one_is_is_told() {
    let Some(api) = images::engine().await else { return };
    let manner = Manner { login: Some(LOGIN.to_owned()), ..Manner::default() };
    let registry = Registry::with(&images::busybox(&["sh", "true"]), manner).await;
    let auths = |login: &str| {
        let auth = STANDARD.encode(login);
        format!(r#"{{ "auths": {{ "http://{}/v1/": {{ "auth": "{auth}" }} }} }}"#, registry.address)
    };
    for config in ["{}".to_owned(), auths("robot$ci:geheim"), "{ \"auths\": ".to_owned()] {
        let ended = pull_with(&registry, &config).await;
        assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, false), "{ended:?}");
        let reason = ended.reason.unwrap();
        assert!(reason.contains("could not be pulled") && !reason.contains("geheim"), "{reason}");
        assert_eq!(reason.contains("config.json"), config.ends_with(": "), "{reason}");
    }
    assert_eq!(registry.asked(), 0);
    let ended = pull_with(&registry, &auths(LOGIN)).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
    forget(&api, &format!("{}/some/image:7", registry.address)).await;
}

/// A way to the engine of this machine that wants TLS, and to know who comes.
async fn behind_tls(folder: &Path) -> String {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(vec![read("leaf.pem")], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    let engine = ambient::env("DOCKER_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let engine = engine.strip_prefix("unix://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, engine) = (acceptor.clone(), engine.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = UnixStream::connect(engine).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    host
}

#[tokio::test]
async fn an_engine_behind_tls_is_known_and_knows_us() {
    let Some(_) = images::engine().await else { return };
    let folder = tempfile::tempdir().unwrap();
    if !tls::certificates(folder.path()) {
        return;
    }
    let host = behind_tls(folder.path()).await;
    let at = |tls: &Path| DockerOptions { tls: Some(tls.to_owned()), ..options() };
    let docker = connect(Some(&host), at(folder.path())).await.unwrap();
    let place = Place::new();
    let script = "cat hello.txt; echo x > $CHECKVALVE_OUT/x; head -c 3000000 /dev/zero | wc -c";
    let step = place.step(BUSYBOX, script);
    let out = step.out.clone();
    let (ended, output) = run(&docker, step).await;
    assert_eq!((ended.outcome, output.as_str()), (Outcome::Succeeded, "hello\n3000000\n"));
    assert_eq!(steps::files(&out), ["x"]);
    // Without a certificate of ours, with another authority, and without TLS.
    let nobody = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("ca.pem"), nobody.path().join("ca.pem")).unwrap();
    let other = tempfile::tempdir().unwrap();
    assert!(tls::certificates(other.path()));
    for options in [at(nobody.path()), at(other.path()), options()] {
        let error = connect(Some(&host), options).await.unwrap_err().to_string();
        assert!(error.contains(&host), "{error}");
    }
    std::fs::write(nobody.path().join("ca.pem"), "nothing").unwrap();
    let error = connect(Some(&host), at(nobody.path())).await.unwrap_err().to_string();
    assert!(error.contains("ca.pem") && error.contains("DOCKER_CERT_PATH"), "{error}");
}

/// `checkvalve test` over SSH, with an `ssh` that is a script.
#[tokio::test]
async fn an_engine_over_ssh_is_reached_as_dockers_own_client_does() {
    if images::engine().await.is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (bin, repo) = (folder.path().join("bin"), folder.path().join("repo"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(repo.join("source-a")).unwrap();
    let host = ambient::env("DOCKER_HOST").map(|host| format!("export DOCKER_HOST={host}\n"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}/calls\nunset DOCKER_HOST\n{}case \"$*\" in\n  *'-l ci -p 2222 -- \
         build.example docker system dial-stdio') exec docker system dial-stdio ;;\nesac\necho 'Permission \
         denied (publickey).' >&2\nexit 255\n",
        folder.path().display(),
        host.unwrap_or_default(),
    );
    let ssh = bin.join("ssh");
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(repo.join("source-a/code.txt"), "over ssh\n").unwrap();
    let pipelines = format!(
        "version: 1\ncomponents: [{{ name: a, include: [\"source-a/**\"] }}]\npipelines:\n  - steps:\n      - \
         {{ id: unit, image: \"{BUSYBOX}\", network: none, run: \"grep -r ssh . && echo done\" }}\n"
    );
    std::fs::create_dir_all(repo.join(".github")).unwrap();
    std::fs::write(repo.join(".github/checkvalve.yml"), pipelines).unwrap();
    let git = |args: &str| {
        let name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let mut git = Command::new("git");
        git.arg("-C")
            .arg(&repo)
            .args(name)
            .args(args.split(' '))
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.output().unwrap().status.success(), "{args}");
    };
    git("init --quiet --initial-branch=main");
    git("add --all");
    git("commit --quiet --message Begin");
    let path = format!("{}:{}", bin.display(), ambient::env("PATH").unwrap());
    let test = |host: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_checkvalve"));
        command.args(["test", "--name", "a"]).current_dir(&repo).env_clear().env("PATH", &path);
        command.env("HOME", folder.path()).env("DOCKER_HOST", host);
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).unwrap())
    };
    let (status, said) = test("ssh://ci@build.example:2222");
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("a / unit: passed"), "{said}");
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert!(calls.lines().all(|call| call.contains("BatchMode=yes")), "{calls}");
    let (status, said) = test("ssh://mallory@build.example");
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("Permission denied (publickey)"), "{said}");
    let (status, said) = test("ssh://ci:secret@build.example");
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("write `ssh://user@host`"), "{said}");
}
