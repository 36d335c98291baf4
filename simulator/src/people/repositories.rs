//! Creating, importing and renaming repositories.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::{home, no_repository, repository_id};
use crate::api::{Change, Commit, RepositoryInfo, RepositoryOptions};
use crate::error::Error;
use crate::events::Deed;
use crate::git;
use crate::simulator::Simulator;
use crate::world::Repository;

impl Simulator {
    /// Creates an empty repository (or a fork) and installs the App on it: the owner's first
    /// one sends `installation.created`, later ones `installation_repositories.added`.
    pub async fn create_repository(
        &self,
        name: &str,
        options: RepositoryOptions,
    ) -> Result<RepositoryInfo, Error> {
        let (owner, short) = name
            .split_once('/')
            .filter(|(owner, short)| !owner.is_empty() && !short.is_empty() && !short.contains('/'))
            .ok_or_else(|| Error::Refused(format!("`{name}` is no OWNER/NAME")))?;
        let id = self.add_repository(owner, short, &options)?;
        let folder = self.inner.folder.join(format!("{id}.git"));
        git::create(&folder, &options.default_branch).await?;
        if let Some(source) = &options.fork_of {
            self.copy_branches(source, id, &folder).await?;
        }
        let installation_id = if options.install { self.install_on(id) } else { 0 };
        Ok(RepositoryInfo { id, installation_id })
    }

    fn add_repository(
        &self,
        owner: &str,
        short: &str,
        options: &RepositoryOptions,
    ) -> Result<u64, Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        let name = format!("{owner}/{short}");
        if world.repository(&name).is_some() {
            return Err(Error::Refused(format!("repository {name} exists already")));
        }
        let fork_of = match &options.fork_of {
            Some(source) => Some(repository_id(&world, source)?),
            None => None,
        };
        world.owner(owner, options.owner);
        let id = world.id();
        world.repositories.insert(
            id,
            Repository {
                id,
                owner: owner.to_owned(),
                name: short.to_owned(),
                private: options.private,
                archived: false,
                default_branch: options.default_branch.clone(),
                fork_of,
                former_names: Vec::new(),
                folder: self.inner.folder.join(format!("{id}.git")),
                created_at: now,
                pushed_at: now,
                auto_trigger_checks: true,
                roles: BTreeMap::new(),
                associations: BTreeMap::new(),
                branches: BTreeMap::new(),
                pushed: BTreeMap::new(),
                commits: BTreeMap::new(),
                pulls: BTreeMap::new(),
                issues: BTreeMap::new(),
                next_number: 1,
                comments: BTreeMap::new(),
                suites: BTreeMap::new(),
                runs: BTreeMap::new(),
                statuses: Vec::new(),
                required: BTreeMap::new(),
                queue: Vec::new(),
            },
        );
        Ok(id)
    }

    async fn copy_branches(&self, source: &str, id: u64, folder: &Path) -> Result<(), Error> {
        let (from, branches) = {
            let world = self.inner.world();
            let source = world.repository(source).ok_or_else(|| no_repository(source))?;
            (source.folder.clone(), source.branches.clone())
        };
        let from = from.to_string_lossy().into_owned();
        git::text(folder, &["fetch", "--quiet", &from, "+refs/heads/*:refs/heads/*"]).await?;
        let mut world = self.inner.world();
        home(&mut world, id)?.branches = branches;
        Ok(())
    }

    /// Fills a repository from a folder: the checked-out commit with its history when it is a
    /// git repository, else its files as one commit on the default branch.
    pub async fn import_folder(
        &self,
        name: &str,
        folder: &Path,
        author: &str,
    ) -> Result<String, Error> {
        let (id, target, branch) = {
            let world = self.inner.world();
            let found = world.repository(name).ok_or_else(|| no_repository(name))?;
            (found.id, found.folder.clone(), found.default_branch.clone())
        };
        if !folder.join(".git").exists() {
            let mut changes = Vec::new();
            read_folder(folder, folder, &mut changes)?;
            let commit = Commit::new("Import", author, changes);
            return self.commit(name, &branch, commit).await;
        }
        let from = folder.canonicalize().map_err(Error::io(folder))?;
        let from = from.to_string_lossy().into_owned();
        let refspec = format!("+HEAD:refs/heads/{branch}");
        git::text(&target, &["-c", "safe.directory=*", "fetch", "--quiet", &from, &refspec])
            .await?;
        let facts = self
            .know_commit(id, &format!("refs/heads/{branch}"))
            .await
            .ok_or_else(|| Error::NotFound(format!("commit in {from}")))?;
        let mut world = self.inner.world();
        world.meet(author);
        let found = home(&mut world, id)?;
        found.branches.insert(branch.clone(), facts.sha.clone());
        found.pushed.insert(facts.sha.clone(), branch);
        Ok(facts.sha)
    }

    /// Renames a repository: the old name answers 301 from then on, git follows it.
    pub fn rename_repository(&self, name: &str, new_name: &str) -> Result<(), Error> {
        let mut world = self.inner.world();
        let found = world.repository_mut(name).ok_or_else(|| no_repository(name))?;
        let old = found.full_name();
        found.former_names.push(old);
        new_name.clone_into(&mut found.name);
        Ok(())
    }

    /// Hides a repository, or shows it: `repository.privatized` or `.publicized`.
    pub fn set_private(&self, name: &str, private: bool) -> Result<(), Error> {
        let action = if private { "privatized" } else { "publicized" };
        self.change_repository(name, action, |found| found.private = private)
    }

    /// Makes a repository read-only, or ends that: `repository.archived` or `.unarchived`.
    pub fn set_archived(&self, name: &str, archived: bool) -> Result<(), Error> {
        let action = if archived { "archived" } else { "unarchived" };
        self.change_repository(name, action, |found| found.archived = archived)
    }

    fn change_repository(
        &self,
        name: &str,
        action: &str,
        change: impl FnOnce(&mut Repository),
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let found = world.repository_mut(name).ok_or_else(|| no_repository(name))?;
        change(found);
        let (id, owner) = (found.id, found.owner.clone());
        self.inner.emit(&mut world, "repository", Deed::new(action, id, &owner), json!({}));
        Ok(())
    }

    /// Deletes a repository, for example a fork: pull requests from it keep their commits but
    /// show `head.repo: null`.
    pub fn delete_repository(&self, name: &str) -> Result<(), Error> {
        let mut world = self.inner.world();
        let id = repository_id(&world, name)?;
        if let Some(installation) = world.installation_of(id).map(|i| i.id) {
            self.inner.emit_selection(&mut world, "removed", installation, id);
            if let Some(installation) = world.installations.get_mut(&installation) {
                installation.repositories.remove(&id);
            }
        }
        world.repositories.remove(&id);
        for repository in world.repositories.values_mut() {
            for pull in repository.pulls.values_mut() {
                if pull.head_repository == Some(id) {
                    pull.head_repository = None;
                }
            }
        }
        Ok(())
    }
}

fn read_folder(
    root: &Path,
    folder: &Path,
    changes: &mut Vec<(String, Change)>,
) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(Error::io(folder))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io(&path))?;
        if kind.is_dir() {
            read_folder(root, &path, changes)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let change = if kind.is_symlink() {
            let target = std::fs::read_link(&path).map_err(Error::io(&path))?;
            Change::Symlink(target.to_string_lossy().into_owned())
        } else {
            let content = std::fs::read(&path).map_err(Error::io(&path))?;
            if is_executable(&entry) {
                Change::WriteExecutable(content)
            } else {
                Change::Write(content)
            }
        };
        changes.push((name, change));
    }
    Ok(())
}

fn is_executable(entry: &std::fs::DirEntry) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    entry.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0)
}
