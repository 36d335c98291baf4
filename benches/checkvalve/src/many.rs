//! Repositories of many connectors at the simulated GitHub, and pull requests that touch all of them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use github_simulator::{Change, Commit, OpenPull, Permission, RepositoryOptions};

use crate::http;
use crate::load::Request;
use crate::payload;
use crate::pipelines::HEAD;
use crate::server::{GitHub, Server};

const AUTHOR: &str = "quill";

/// A repository whose connectors have one pipeline.
pub(crate) struct Many<'a> {
    github: &'a GitHub,
    repository: &'static str,
    connectors: usize,
}

impl<'a> Many<'a> {
    /// `steps` are the lines of the repository file below `steps:`.
    pub(crate) fn prepare(
        github: &'a GitHub,
        repository: &'static str,
        connectors: usize,
        steps: &str,
    ) -> anyhow::Result<Self> {
        let many = Self { github, repository, connectors };
        let simulator = &github.simulator;
        let file = format!("{HEAD}{steps}").into_bytes();
        let mut changes = many.connectors("first\n");
        changes.push((".github/checkvalve.yml".to_owned(), Change::Write(file)));
        github.runtime.block_on(async {
            simulator.create_repository(repository, RepositoryOptions::default()).await?;
            simulator.set_permission(repository, AUTHOR, Permission::Write);
            simulator.commit(repository, "main", Commit::new("Begin", AUTHOR, changes)).await
        })?;
        Ok(many)
    }

    fn connectors(&self, text: &str) -> Vec<(String, Change)> {
        let file = |n| (format!("connector-{n:02}/bench.txt"), Change::Write(text.into()));
        (0..self.connectors).map(file).collect()
    }

    /// Opens a pull request that changes every connector, always in the same way, and posts its
    /// delivery: its head, and when it was posted.
    pub(crate) fn change_all(
        &self,
        server: &Server,
        branch: &str,
    ) -> anyhow::Result<(String, Instant)> {
        let simulator = &self.github.simulator;
        let change =
            Commit::new(&format!("Change all: {branch}"), AUTHOR, self.connectors("second\n"));
        let head = self.github.runtime.block_on(async {
            let head = simulator.commit(self.repository, branch, change).await?;
            let pull = OpenPull::new(branch, "main", AUTHOR, "Change all connectors");
            simulator.open_pull_request(self.repository, pull).await?;
            anyhow::Ok(head)
        })?;
        let deliveries = simulator.deliveries();
        let opened = deliveries.iter().rev().find(|delivery| {
            delivery.event == "pull_request" && delivery.action.as_deref() == Some("opened")
        });
        let body = opened.context("no delivery of the opening")?.body.to_vec();
        let mut request = Request::new(server.address, "pull_request", &payload::sign(body));
        let posted = Instant::now();
        let answer = http::send(server.address, request.fresh())?;
        ensure!((200..300).contains(&answer.status), "the delivery: {}", answer.status);
        Ok((head, posted))
    }

    /// Waits until the run of a head has its verdict, which must be success; its id.
    pub(crate) fn succeeded(
        &self,
        server: &mut Server,
        head: &str,
        patience: Duration,
    ) -> anyhow::Result<String> {
        let path = format!("/api/v1/runs?repo={}&sha={head}", self.repository);
        let mut run = String::new();
        server.wait_for(patience, |server| {
            let runs = http::get_json(server.address, &path)?;
            let found = runs.get(0).or_else(|| runs["runs"].get(0));
            let Some(found) = found.filter(|run| run["state"] == "concluded") else {
                std::thread::sleep(Duration::from_millis(5));
                return Ok(false);
            };
            ensure!(found["conclusion"] == "success", "the run: {found}");
            found["id"].as_str().context("a run without id")?.clone_into(&mut run);
            Ok(true)
        })?;
        Ok(run)
    }
}
