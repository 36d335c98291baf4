//! Settings, ports, databases and folders that are of no use: a clear error, the mend, the status.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use github_simulator::{Config, Simulator};

use super::bench::{Answer, Bench, answer};
use super::mounts::Mount;

/// All that `serve` needs.
async fn complete() -> Vec<(&'static str, String)> {
    let simulator = Simulator::start(Config::default()).await.unwrap();
    let app = simulator.app();
    simulator.stop().await;
    vec![
        ("CHECKVALVE_REPOSITORIES", "acme/*".to_owned()),
        ("CHECKVALVE_WEBHOOK_SECRET", "secret".to_owned()),
        ("CHECKVALVE_GITHUB_APP_ID", "1".to_owned()),
        ("CHECKVALVE_GITHUB_PRIVATE_KEY", app.private_key_pem),
        ("CHECKVALVE_EXECUTOR", "host".to_owned()),
        ("CHECKVALVE_LISTEN", "127.0.0.1:0".to_owned()),
    ]
}

fn serve(bench: &Bench, settings: &[(&str, String)], other: &[(&str, &str)]) -> Answer {
    let mut command = bench.command("checkvalve", &["serve"]);
    command.envs(settings.iter().map(|(name, value)| (*name, value.as_str())));
    answer(command.envs(other.iter().copied()))
}

#[tokio::test]
async fn a_setting_that_is_missing_is_named_with_the_mend() {
    let bench = Bench::new();
    let complete = complete().await;
    for (missing, mend) in [
        ("CHECKVALVE_REPOSITORIES", "acme/connectors"),
        ("CHECKVALVE_WEBHOOK_SECRET", "webhook settings"),
        ("CHECKVALVE_GITHUB_APP_ID", "settings page"),
        ("CHECKVALVE_GITHUB_PRIVATE_KEY", "CHECKVALVE_GITHUB_PRIVATE_KEY_FILE"),
    ] {
        let given: Vec<_> = complete.iter().filter(|(name, _)| *name != missing).cloned().collect();
        serve(&bench, &given, &[]).exits(2).complains(&[missing, mend]);
    }
}

#[tokio::test]
async fn a_setting_that_is_wrong_is_named_before_anything_starts() {
    let bench = Bench::new();
    let complete = complete().await;
    let broken = "-----BEGIN RSA PRIVATE KEY-----\nabcd\n-----END RSA PRIVATE KEY-----\n";
    for (name, value, mend) in [
        ("CHECKVALVE_REPOSITORIES", "acme", "owner/repo"),
        ("CHECKVALVE_LISTEN", "8080", "127.0.0.1:8080"),
        ("CHECKVALVE_GITHUB_PRIVATE_KEY", "abc", "whole .pem file"),
        ("CHECKVALVE_GITHUB_PRIVATE_KEY", broken, "generate one"),
        ("CHECKVALVE_KEY", "abc", "openssl rand -base64 32"),
        ("CHECKVALVE_EXECUTOR", "podman", "`docker` or `host`"),
        ("CHECKVALVE_LEASE", "soon", "`30s`"),
        ("CHECKVALVE_RECOVERY", "often", "`30s`"),
        ("CHECKVALVE_RECOVERY", "10ms", "`5m`"),
        ("CHECKVALVE_SLOTS", "many", "whole number"),
        ("CHECKVALVE_WORKERS", "many", "whole number"),
        ("CHECKVALVE_DATABASE_URL", "mysql://db/x", "postgres://"),
        ("CHECKVALVE_STORE", "ftp://x", "s3://<bucket>/<prefix>"),
        ("CHECKVALVE_GITHUB_API_URL", "nope", "http(s)"),
        ("CHECKVALVE_CA_FILE", "/nowhere.pem", "PEM certificates"),
        ("CHECKVALVE_LOG_FORMAT", "xml", "`text` or `json`"),
        ("CHECKVALVE_LOG", "a=b=c", "CHECKVALVE_LOG"),
    ] {
        let refused = serve(&bench, &complete, &[(name, value)]).exits(2).complains(&[mend]);
        assert!(!refused.err.contains("listening"), "{name}: {}", refused.err);
        let named = refused.err.contains(name) || refused.err.contains(value);
        assert!(named, "{name} is not named: {}", refused.err);
    }
    let missing = ("CHECKVALVE_WEBHOOK_SECRET_NEXT_FILE", "/nowhere");
    serve(&bench, &complete, &[missing]).exits(2).complains(&[missing.0, missing.1]);
}

#[test]
fn a_wrong_settings_file_is_named() {
    let bench = Bench::new();
    let file = bench.place("checkvalve.toml");
    let path = file.display().to_string();
    for (text, complaint) in [
        ("lisen = \"127.0.0.1:1\"\n", "unknown key `lisen`; did you mean `listen`?"),
        ("listen = \n", "line 1"),
        ("listen = true\n", "`listen` must be"),
        ("[[grants]]\n", "missing field `repositories`"),
        ("grants = 3\n", "invalid type"),
    ] {
        std::fs::write(&file, text).unwrap();
        bench.run(&["--config", &path, "migrate"]).exits(2).complains(&[&path, complaint]);
    }
    let nowhere = bench.run(&["--config", "/nowhere.toml", "migrate"]).exits(2);
    nowhere.complains(&["/nowhere.toml", "can't be read"]);
}

#[test]
fn migrating_makes_the_database_and_is_repeatable() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.run(&["migrate"]).exits(0).complains(&["up to date"]);
    }
    let mode =
        |name: &str| std::fs::metadata(bench.place(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/checkvalve.db")), (0o700, 0o600));
}

#[tokio::test]
async fn a_port_in_use_is_3() {
    let bench = Bench::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    serve(&bench, &complete().await, &[("CHECKVALVE_LISTEN", &address)]).exits(3).complains(&[
        &address,
        "another program has that port",
        "--listen",
    ]);
    bench
        .run_with(&["demo", "--once", "--listen", &address], &[("CHECKVALVE_EXECUTOR", "host")])
        .exits(3)
        .complains(&[&address, "another program has that port"]);
}

#[tokio::test]
async fn without_an_engine_the_server_says_how_to_get_one() {
    let bench = Bench::new();
    let nowhere = [("CHECKVALVE_EXECUTOR", "docker"), ("DOCKER_HOST", "unix:///nonexistent")];
    serve(&bench, &complete().await, &nowhere).exits(3).complains(&[
        "unix:///nonexistent",
        "Start Docker",
        "CHECKVALVE_EXECUTOR=host",
    ]);
}

#[tokio::test]
async fn a_database_or_store_that_is_of_no_use_is_3_with_its_place() {
    let bench = Bench::new();
    let complete = complete().await;
    let folder = bench.place("folder");
    std::fs::create_dir_all(&folder).unwrap();
    let file = bench.place("file");
    std::fs::write(&file, "no database").unwrap();
    let (folder, file) = (folder.display().to_string(), file.display().to_string());
    for (name, value, mend) in [
        ("CHECKVALVE_DATABASE_URL", format!("sqlite:{folder}"), "give the path of a file"),
        ("CHECKVALVE_DATABASE_URL", format!("sqlite:{file}"), "restore it from a backup"),
        ("CHECKVALVE_STATE_DIR", file.clone(), "CHECKVALVE_STATE_DIR"),
        ("CHECKVALVE_STORE", format!("file:{file}"), "CHECKVALVE_STORE"),
    ] {
        let place = value.split_once(':').map_or(value.as_str(), |(_, path)| path).to_owned();
        serve(&bench, &complete, &[(name, &value)]).exits(3).complains(&[&place, mend]);
    }
    // Nothing listens there.
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let url = format!("postgres://me:hunter2@127.0.0.1:{port}/x");
    let refused = serve(&bench, &complete, &[("CHECKVALVE_DATABASE_URL", &url)]).exits(3);
    let refused = refused.complains(&[&format!("127.0.0.1:{port}"), "CHECKVALVE_DATABASE_URL"]);
    assert!(refused.err.contains("refused"), "the reason is said: {}", refused.err);
    assert!(!refused.err.contains("hunter2"), "{}", refused.err);
}

#[tokio::test]
async fn a_database_that_is_read_only_is_3_with_the_mend() {
    let bench = Bench::new();
    let complete = complete().await;
    bench.run(&["migrate"]).exits(0);
    let file = bench.place("state/checkvalve.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    serve(&bench, &complete, &[]).exits(3).complains(&["checkvalve.db", "read-only", "writable"]);
}

/// As on a disk that the kernel remounted after an error.
#[tokio::test]
async fn a_state_folder_that_is_read_only_is_3_with_the_mend() {
    let bench = Bench::new();
    let complete = complete().await;
    bench.run(&["migrate"]).exits(0);
    let state = bench.place("state");
    let Some(_mount) = Mount::read_only(&state) else { return };
    let place = state.display().to_string();
    serve(&bench, &complete, &[]).exits(3).complains(&[&place, "read-only"]);
    bench.run(&["migrate"]).exits(3).complains(&[&place, "read-only"]);
}
