//! The addresses of our pages and of GitHub's: one place, so that links can't rot.

use super::ids::RunId;
use super::names::{ConnectorName, RepoName, Sha, StepId};
use super::objects::segment;

/// Builds links. Both addresses are without a `/` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// Ours, as the outside reaches it (`CHECKVALVE_PUBLIC_URL`).
    pub public: String,
    /// GitHub's web address (`CHECKVALVE_GITHUB_URL`).
    pub github: String,
}

impl Links {
    pub fn repository(&self, name: &RepoName) -> String {
        format!("{}/r/{name}", self.public)
    }

    pub fn pull(&self, name: &RepoName, number: u64) -> String {
        format!("{}/r/{name}/pull/{number}", self.public)
    }

    pub fn run(&self, run: RunId) -> String {
        format!("{}/runs/{run}", self.public)
    }

    /// Where a run's page answers why a connector is not selected.
    pub fn why_not(&self, run: RunId) -> String {
        format!("{}#why-not", self.run(run))
    }

    pub fn job(&self, run: RunId, connector: &ConnectorName) -> String {
        format!("{}/runs/{run}/{}", self.public, segment(connector.as_str()))
    }

    pub fn step(&self, run: RunId, connector: &ConnectorName, step: &StepId) -> String {
        format!("{}/{}", self.job(run, connector), segment(step.as_str()))
    }

    /// The stored report of a job.
    pub fn report(&self, run: RunId, connector: &ConnectorName) -> String {
        format!("{}/report.html", self.job(run, connector))
    }

    pub fn log(&self, run: RunId, connector: &ConnectorName, step: &StepId) -> String {
        let (connector, step) = (segment(connector.as_str()), segment(step.as_str()));
        format!("{}/api/v1/runs/{run}/connectors/{connector}/steps/{step}/log", self.public)
    }

    pub fn github_pull(&self, name: &RepoName, number: u64) -> String {
        format!("{}/{name}/pull/{number}", self.github)
    }

    pub fn github_commit(&self, name: &RepoName, sha: &Sha) -> String {
        format!("{}/{name}/commit/{sha}", self.github)
    }

    pub fn github_file(&self, name: &RepoName, sha: &Sha, path: &str) -> String {
        let path: Vec<String> = path.split('/').map(segment).collect();
        format!("{}/{name}/blob/{sha}/{}", self.github, path.join("/"))
    }
}
