//! The simulator as a program: prints its addresses and the App's credentials as JSON, then
//! serves until it is interrupted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use github_simulator::{Config, Error, RepositoryOptions, Simulator};
use serde_json::json;

/// A GitHub with state, for tests and demonstrations.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where to send webhook deliveries.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Signs deliveries.
    #[arg(long, value_name = "SECRET", default_value = "simulator-webhook-secret")]
    secret: String,
    /// A repository to create, filled from a folder (with its history, if it is a git one).
    #[arg(long = "repository", value_name = "OWNER/NAME=FOLDER", value_parser = repository)]
    repositories: Vec<(String, PathBuf)>,
    /// Make the repositories private.
    #[arg(long)]
    private: bool,
    /// Where to keep the bare repositories; a temporary folder by default.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Folder with GitHub's `openapi-subset.json`; calls are checked against it.
    #[arg(long, env = "CHECKVALVE_GITHUB_CONTRACT", value_name = "FOLDER")]
    contract: Option<PathBuf>,
}

fn repository(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("expected OWNER/NAME=FOLDER")?;
    Ok((name.to_owned(), PathBuf::from(folder)))
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("github-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the credentials are this program's output")]
async fn run(arguments: Arguments) -> Result<(), Error> {
    let config = Config {
        listen: arguments.listen,
        contract: arguments.contract,
        folder: arguments.folder,
        webhook_secret: Some(arguments.secret).filter(|secret| !secret.is_empty()),
        ..Config::default()
    };
    let github = Simulator::start(config).await?;
    if let Some(url) = &arguments.webhook {
        github.install_webhook(url);
    }
    let mut repositories = Vec::new();
    for (name, folder) in &arguments.repositories {
        let options = RepositoryOptions { private: arguments.private, ..Default::default() };
        let info = github.create_repository(name, options).await?;
        let sha = github.import_folder(name, folder, "octocat").await?;
        repositories.push(json!({ "name": name, "id": info.id, "sha": sha,
            "installation_id": info.installation_id }));
    }
    let started = json!({
        "url": github.url(),
        "api_url": github.api_url(),
        "control_url": format!("{}/_simulator", github.url()),
        "app": github.app(),
        "repositories": repositories,
    });
    println!("{started:#}");
    interrupted().await;
    github.stop().await;
    Ok(())
}

/// Waits for Ctrl-C or a polite end from outside.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let ctrl_c = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = ctrl_c => {}
            _ = terminate.recv() => {}
        },
        // Without a handler, the default one ends the process.
        Err(_) => {
            let _ = ctrl_c.await;
        }
    }
}
