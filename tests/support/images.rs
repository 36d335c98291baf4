//! Images for tests, made on the spot: nothing can be pulled here.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use checkvalve::ambient;
use checkvalve::exec::docker::DEFAULT_HOST;
use futures_util::StreamExt;
use tar::{Builder, EntryType, Header};

/// A shell and the usual programs.
pub(crate) const BUSYBOX: &str = "checkvalve-test/busybox:1";
/// The same, run as user 1000.
pub(crate) const USER: &str = "checkvalve-test/user:1";
/// The same with a scanner, `examples/scanner`.
pub(crate) const SCANNER: &str = "checkvalve-test/scanner:1";
/// One program and no shell.
pub(crate) const BARE: &str = "checkvalve-test/bare:1";

/// The shell and the usual programs, with a volume.
pub(crate) const STORE: &str = "checkvalve-test/store:1";

const PROGRAMS: [&str; 46] = [
    "[",
    "awk",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "id",
    "ip",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mount",
    "mv",
    "nc",
    "nohup",
    "printf",
    "ps",
    "pwd",
    "rm",
    "sed",
    "seq",
    "setsid",
    "setuidgid",
    "sh",
    "sleep",
    "sort",
    "stat",
    "tail",
    "test",
    "tr",
    "true",
    "wc",
    "yes",
];

/// The engine, or `None` where there is none, which is said; with `CHECKVALVE_REQUIRE=all` that is
/// an error.
pub(crate) async fn engine() -> Option<Docker> {
    let host = ambient::env("DOCKER_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let docker = match Docker::connect_with_host(&host) {
        Ok(docker) => docker.negotiate_version().await.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    match docker {
        Ok(docker) => {
            for image in [BUSYBOX, USER, BARE, STORE, SCANNER] {
                ensure(&docker, image).await;
            }
            Some(docker)
        }
        Err(why) => {
            let required = ambient::env("CHECKVALVE_REQUIRE").as_deref() == Some("all");
            assert!(!required, "no Docker Engine: {why}");
            eprintln!("SKIPPED: no Docker Engine: {why}");
            None
        }
    }
}

async fn ensure(docker: &Docker, image: &str) {
    if docker.inspect_image(image).await.is_ok() {
        return;
    }
    let (archive, changes) = match image {
        USER => (busybox(&PROGRAMS), vec!["USER 1000".to_owned(), path()]),
        BARE => (busybox(&[]), vec![path()]),
        STORE => (busybox(&PROGRAMS), vec!["VOLUME /data".to_owned(), path()]),
        SCANNER => (scanner(), vec!["USER 1000".to_owned(), path()]),
        _ => (busybox(&PROGRAMS), vec![path()]),
    };
    let (repo, tag) = image.split_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        changes,
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(archive.into());
    let mut made = Box::pin(docker.create_image(Some(options), Some(body), None));
    while let Some(progress) = made.next().await {
        progress.unwrap();
    }
}

fn path() -> String {
    "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
}

fn scanner() -> Vec<u8> {
    let mut tar = layer(&[&PROGRAMS[..], &["mktemp", "tar"]].concat());
    let script = include_str!("../../examples/scanner/scan");
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(script.len() as u64);
    tar.append_data(&mut header, "bin/scan", script.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

/// An image's one layer: busybox under these names.
pub(crate) fn busybox(programs: &[&str]) -> Vec<u8> {
    layer(programs).into_inner().unwrap()
}

fn layer(programs: &[&str]) -> Builder<Vec<u8>> {
    let binary = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut tar = Builder::new(Vec::new());
    for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        tar.append_data(&mut header, folder, &[][..]).unwrap();
    }
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(binary.len() as u64);
    tar.append_data(&mut header, "bin/busybox", binary.as_slice()).unwrap();
    for program in programs {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{program}"), "busybox").unwrap();
    }
    tar
}
