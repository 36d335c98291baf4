//! What names stand for, wherever they are used: Go modules, Gradle projects, images.

use std::collections::{BTreeSet, HashMap};

use super::super::tree::{Tree, file_name, folder, join, resolved, upwards};
use super::super::{Manifest, Reference, Written};
use crate::domain::catalog::Catalog;
use crate::domain::rules::Derivation;

pub(super) const GRADLE_SETTINGS: [&str; 2] = ["settings.gradle", "settings.gradle.kts"];
/// Where it is said which image a connector becomes.
const DOCKER_REPOSITORY: &str = "docker_repository";

/// With what the import paths of Go's own packages begin.
const GO_ITSELF: [&str; 46] = [
    "C",
    "archive",
    "bufio",
    "builtin",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unsafe",
];

#[derive(Debug, Default)]
pub(super) struct Context {
    /// Files that it has not been shown.
    wanted: BTreeSet<(Manifest, String)>,
    /// Is there a `go.mod` whose module nobody knows?
    unknown_module: bool,
    /// Go module → the folders that make it.
    modules: HashMap<String, Vec<String>>,
    /// Folders with Go packages of others.
    vendors: Vec<String>,
    /// Gradle's top folder → project → folder.
    projects: HashMap<String, HashMap<String, String>>,
    /// Image, or the last part of its name → the folders that it is built in.
    images: HashMap<String, Vec<String>>,
}

impl Context {
    pub(super) fn new(catalog: &Catalog, tree: &Tree<'_>, sets: &[&[Derivation]]) -> Self {
        let mut context = Self::default();
        let has = |wanted: &Derivation| sets.iter().any(|set| set.contains(wanted));
        let (go, gradle) = (has(&Derivation::GoImports), has(&Derivation::Gradle));
        for path in tree.beneath("") {
            match file_name(path) {
                "go.mod" if go => {
                    let vendor = join(folder(path), "vendor");
                    context.vendors.extend(tree.is_folder(&vendor).then_some(vendor));
                    context.wanted.insert((Manifest::GoMod, path.clone()));
                }
                name if gradle && GRADLE_SETTINGS.contains(&name) => {
                    context.wanted.insert((Manifest::GradleSettings, path.clone()));
                }
                _ => {}
            }
        }
        if has(&Derivation::DockerfileFrom) {
            context.images(catalog, tree);
        }
        context
    }

    fn images(&mut self, catalog: &Catalog, tree: &Tree<'_>) {
        for connector in catalog.iter() {
            let names = [connector.attribute(DOCKER_REPOSITORY), Some(connector.name.as_str())];
            for name in names.into_iter().flatten() {
                self.images.entry(name.to_owned()).or_default().push(connector.root.clone());
            }
        }
        for top in tree.children("").iter().filter(|top| tree.is_folder(top)) {
            if tree.files(top).any(super::is_dockerfile) {
                self.images.entry((*top).to_owned()).or_default().push((*top).to_owned());
            }
        }
    }

    /// What it wants to know before anything is followed, each file once.
    pub(super) fn wanted(&mut self, at_once: usize) -> BTreeSet<(Manifest, String)> {
        let rest = self.wanted.iter().nth(at_once).cloned();
        let rest = rest.map(|rest| self.wanted.split_off(&rest)).unwrap_or_default();
        std::mem::replace(&mut self.wanted, rest)
    }

    pub(super) fn learn(&mut self, manifest: Manifest, path: &str, references: &[Reference]) {
        let own = folder(path);
        for reference in references {
            match &reference.to {
                Written::Module(module) if manifest == Manifest::GoMod => {
                    self.modules.entry(module.clone()).or_default().push(own.to_owned());
                }
                Written::Replaced { module, folder } if manifest == Manifest::GoMod => {
                    let folders = self.modules.entry(module.clone()).or_default();
                    folders.extend(resolved(own, folder));
                }
                Written::ProjectFolder { project, folder } => {
                    if let Some(folder) = resolved(own, folder) {
                        let projects = self.projects.entry(own.to_owned()).or_default();
                        projects.insert(project.clone(), folder);
                    }
                }
                Written::Anything if manifest == Manifest::GoMod => self.unknown_module = true,
                Written::Path(_)
                | Written::Included(_)
                | Written::Copied(_)
                | Written::Image(_)
                | Written::Project(_)
                | Written::Module(_)
                | Written::Replaced { .. }
                | Written::Package(_)
                | Written::PythonModule { .. }
                | Written::Anything => {}
            }
        }
    }

    /// May a package that is found nowhere lie in this tree all the same?
    pub(super) fn may_have(&self, import: &str) -> bool {
        let first = import.split('/').next().unwrap_or_default();
        self.unknown_module && !GO_ITSELF.contains(&first)
    }

    /// The folders of a Go package, by its import path.
    pub(super) fn package(&self, tree: &Tree<'_>, import: &str) -> Vec<String> {
        tree.charge_upwards(import);
        for prefix in upwards(import).filter(|prefix| !prefix.is_empty()) {
            let Some(folders) = self.modules.get(prefix) else { continue };
            tree.charge(import.len() * folders.len());
            let rest = import[prefix.len()..].trim_start_matches('/');
            let found = folders.iter().filter_map(|folder| resolved(folder, rest));
            let found: BTreeSet<String> = found.filter(|folder| tree.has_go(folder)).collect();
            if !found.is_empty() {
                return found.into_iter().collect();
            }
        }
        tree.charge(import.len() * self.vendors.len());
        let vendored = self.vendors.iter().filter_map(|vendor| resolved(vendor, import));
        vendored.filter(|folder| tree.has_go(folder)).collect()
    }

    /// The folder of a Gradle project, as a build in another one names it.
    pub(super) fn project(&self, tree: &Tree<'_>, from: &str, project: &str) -> Option<String> {
        let top = gradle_top(tree, from);
        if let Some(folder) = self.projects.get(top).and_then(|known| known.get(project)) {
            return Some(folder.clone());
        }
        // Settings may compute where projects lie: the nearest folder that there is.
        let folder = resolved(top, &project.trim_start_matches(':').replace(':', "/"))?;
        let mut folders =
            upwards(&folder).take_while(|folder| !folder.is_empty() && *folder != top);
        folders.find(|folder| tree.is_folder(folder)).map(str::to_owned)
    }

    /// The folders that an image is built in.
    pub(super) fn image(&self, image: &str) -> Vec<&str> {
        let last = file_name(image);
        let found = [image, last].into_iter().filter_map(|name| self.images.get(name)).flatten();
        found.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The folder of the settings that a Gradle project belongs to.
pub(super) fn gradle_top<'f>(tree: &Tree<'_>, folder: &'f str) -> &'f str {
    tree.charge_upwards(folder);
    let has_settings =
        |folder: &&str| GRADLE_SETTINGS.iter().any(|name| tree.is_file(&join(folder, name)));
    upwards(folder).find(has_settings).unwrap_or_default()
}
