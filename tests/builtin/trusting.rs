//! Builds behind a proxy that looks into their traffic: they are told of its authority, and their
//! images are not.

use std::path::Path;

use bollard::Docker as Api;
use bollard::query_parameters::RemoveImageOptions;
use checkvalve::ambient;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::state::Outcome;
use checkvalve::engine::Images;
use checkvalve::exec::Trust;
use checkvalve::exec::docker::{Docker, DockerOptions};

use super::build::SPEC;
use super::images::engine;
use super::layers::build_there;
use super::{Begin, Done, plan, run, tls, uses};

const METADATA: &str = include_str!("metadata.yaml");

async fn trusting(ca: Option<&Path>) -> Docker {
    let host = ambient::env("DOCKER_HOST");
    let trust = ca.map(|ca| Trust::with(ca).unwrap());
    let options = DockerOptions { trust, ..DockerOptions::new("test-trusting") };
    Docker::connect(host.as_deref(), options).await.unwrap()
}

/// Images stay, so that one can look into them.
async fn build(ca: Option<&Path>, files: &[(&str, &str)]) -> Done {
    let step = StepSpec { network: Network::None, ..uses(Builtin::Build, &[]) };
    let images = Images::Kept { tag: "dev" };
    run(trusting(ca).await, &plan(vec![step]), files, Begin { images, ..Begin::default() }).await
}

fn named(name: &str) -> String {
    format!("checkvalve-test/{name}-{}", ambient::ulid().to_string().to_lowercase())
}

async fn remove(api: &Api, image: &str) {
    api.remove_image(image, None::<RemoveImageOptions>, None).await.unwrap();
}

#[tokio::test]
async fn a_package_is_installed_by_programs_that_trust_and_the_image_keeps_nothing_of_it() {
    let Some(api) = engine().await else { return };
    let folder = tempfile::tempdir().unwrap();
    if !tls::certificates(folder.path()) {
        return;
    }
    let ca = folder.path().join("ca.pem");
    let text = std::fs::read_to_string(&ca).unwrap();
    let line = text.lines().nth(1).unwrap();
    // Base images with Python are not to be had here: these programs do what is looked at.
    let base = format!("{}:1", named("pip"));
    let pip = format!(
        "#!/bin/sh\necho \"pip has $PIP_CERT $SSL_CERT_FILE\"\n\
         test -z \"$PIP_CERT\" || grep -c '{line}' \"$PIP_CERT\"\nls\n\
         mkdir -p /install/lib; echo x > /install/lib/installed\n"
    );
    let python = format!("#!/bin/sh\necho '{SPEC}'\n");
    let file = "FROM checkvalve-test/busybox:1\nCOPY pip python /bin/\n\
                RUN chmod 755 /bin/pip /bin/python; mkdir -p /usr/local\n";
    let files = [("Dockerfile", file), ("pip", &pip), ("python", &python)];
    build_there(&api, Some(&base), &files).await;
    let own = named("trusting");
    let metadata = METADATA.replace("airbyte/source-x", &own);
    let metadata = format!("{metadata}  connectorBuildOptions: {{ baseImage: \"{base}\" }}\n");
    let files =
        [("metadata.yaml", metadata.as_str()), ("setup.py", "x"), ("main.py", "x"), ("a/b.py", "")];
    for trusted in [Some(ca.as_path()), None] {
        let done = build(trusted, &files).await;
        let log = done.log("build");
        assert_eq!(done.outcome("build"), Outcome::Succeeded, "{log} {}", done.reason("build"));
        let file = "/checkvalve/ca.pem";
        let told = if trusted.is_some() { format!("{file} {file}\n1\n") } else { " \n".to_owned() };
        assert!(log.contains(&format!("pip has {told}")), "{log}");
        assert!(log.contains("\na\nmain.py\nmetadata.yaml\nsetup.py\n"), "{log}");
        let image = format!("{own}:dev");
        let config = api.inspect_image(&image).await.unwrap().config.unwrap();
        let env = config.env.unwrap_or_default();
        assert!(!env.iter().any(|variable| variable.contains("ca.pem")), "{env:?}");
        let history = api.image_history(&image).await.unwrap();
        assert!(!history.iter().any(|layer| layer.created_by.contains("ca.pem")), "{history:?}");
        let look = format!(
            "FROM {image}\nRUN test ! -e /checkvalve; test -e /usr/local/lib/installed; \
             cd /airbyte/integration_code; test -e a/b.py; test ! -e source; \
             test ! -e checkvalve-ca.pem\n"
        );
        let look = look.replace("; ", " && ");
        remove(&api, &build_there(&api, None, &[("Dockerfile", &look)]).await).await;
        remove(&api, &image).await;
    }
    remove(&api, &base).await;
}

#[tokio::test]
async fn a_dockerfile_that_names_the_authorities_is_given_them_and_others_are_left_alone() {
    let Some(api) = engine().await else { return };
    let folder = tempfile::tempdir().unwrap();
    if !tls::certificates(folder.path()) {
        return;
    }
    let ca = folder.path().join("ca.pem");
    let naming = "FROM checkvalve-test/busybox:1 AS builder\n\
                  COPY checkvalve-ca.pem /checkvalve/ca.pem\nARG PIP_CERT\nARG SSL_CERT_FILE=own\n\
                  RUN echo has $PIP_CERT $SSL_CERT_FILE; grep -c BEGIN /checkvalve/ca.pem || true\n\
                  FROM checkvalve-test/busybox:1\nCOPY --from=builder /bin/busybox /x\n";
    let silent = "FROM checkvalve-test/busybox:1\nARG PIP_CERT\nARG SSL_CERT_FILE=own\nCOPY . /code\n\
                  RUN echo has $PIP_CERT $SSL_CERT_FILE; ls /code\n";
    let file = "/checkvalve/ca.pem";
    for (text, trusted, said) in [
        (naming, Some(ca.as_path()), format!("has {file} {file}\n")),
        (naming, None, "has own\n0\n".to_owned()),
        (silent, Some(ca.as_path()), "has own\nDockerfile\n ---> ".to_owned()),
    ] {
        // Nothing of it was built before.
        let mark = format!("\nLABEL mark={}\nARG PIP_CERT\n", ambient::ulid());
        let text = text.replacen("\nARG PIP_CERT\n", &mark, 1);
        let done = build(trusted, &[("Dockerfile", text.as_str())]).await;
        let log = done.log("build").replace("Removing intermediate container", " ---> ");
        assert_eq!(done.outcome("build"), Outcome::Succeeded, "{log} {}", done.reason("build"));
        assert!(log.contains(&said), "{said}: {log}");
        remove(&api, done.step("build").facts.built.as_deref().unwrap()).await;
    }
}
