//! From what is written in a file to what there is in the tree.

use super::super::graph::{Family, Node};
use super::super::tree::{Tree, extension, folder, join, resolved, upwards, within};
use super::super::{Manifest, Written};
use super::context::{Context, gradle_top};
use crate::domain::rules::Derivation;

/// A file, as one derivation reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'f> {
    pub(super) set: usize,
    pub(super) derivation: &'f Derivation,
    pub(super) manifest: Manifest,
    pub(super) path: &'f str,
}

impl File<'_> {
    /// Does the derivation read this kind of file at all?
    fn is_read(&self) -> bool {
        matches!(
            (self.derivation, self.manifest),
            (Derivation::PyprojectPath, Manifest::Pyproject)
                | (Derivation::RequirementsPath, Manifest::Requirements)
                | (Derivation::SetupPy, Manifest::SetupPy)
                | (Derivation::Gradle, Manifest::Gradle | Manifest::GradleSettings)
                | (Derivation::DockerfileCopy | Derivation::DockerfileFrom, Manifest::Dockerfile)
                | (Derivation::GoImports, Manifest::Go | Manifest::GoMod)
                | (Derivation::PythonImports { .. }, Manifest::Python)
        )
    }

    fn folder(&self) -> &str {
        folder(self.path)
    }

    pub(super) fn leads_to(&self, to: &Written, tree: &Tree<'_>, context: &Context) -> Vec<Node> {
        if !self.is_read() {
            return Vec::new();
        }
        match (to, self.derivation) {
            (Written::Anything, _) => vec![Node::Place(String::new())],
            (Written::Path(path), Derivation::PyprojectPath | Derivation::SetupPy) => {
                self.at(tree, path).map(|path| self.python(tree, path)).into_iter().collect()
            }
            (Written::Path(path), Derivation::RequirementsPath) => {
                self.near(tree, path).map(|path| self.python(tree, path)).into_iter().collect()
            }
            (Written::Included(path), Derivation::RequirementsPath) => {
                let file = self.near(tree, path).filter(|path| tree.is_file(path));
                file.map(|path| self.read(path)).into_iter().collect()
            }
            (_, Derivation::Gradle) => self.gradle(to, tree, context).into_iter().collect(),
            (Written::Copied(path), Derivation::DockerfileCopy) => self.copied(tree, path),
            (Written::Image(image), Derivation::DockerfileFrom) => {
                context.image(image).into_iter().map(|folder| self.docker(tree, folder)).collect()
            }
            (_, Derivation::GoImports) => self.go(to, tree, context),
            (Written::PythonModule { dots, name }, Derivation::PythonImports { roots }) => {
                self.python_module(tree, roots, *dots, name)
            }
            _ => Vec::new(),
        }
    }

    /// A written path, if it is there.
    fn at(&self, tree: &Tree<'_>, path: &str) -> Option<String> {
        resolved(self.folder(), path).filter(|path| tree.exists(path))
    }

    /// pip counts some paths from where it is started: perhaps the folder above.
    fn near(&self, tree: &Tree<'_>, path: &str) -> Option<String> {
        let above = || resolved(folder(self.folder()), path).filter(|path| tree.exists(path));
        self.at(tree, path).or_else(above)
    }

    fn read(&self, path: String) -> Node {
        Node::File { set: self.set, manifest: self.manifest, path }
    }

    fn project(&self, tree: &Tree<'_>, family: Family, path: String) -> Node {
        if tree.is_folder(&path) {
            Node::Project { set: self.set, family, folder: path }
        } else {
            Node::Place(path)
        }
    }

    fn python(&self, tree: &Tree<'_>, path: String) -> Node {
        self.project(tree, Family::Python, path)
    }

    fn docker(&self, tree: &Tree<'_>, folder: &str) -> Node {
        self.project(tree, Family::Docker, folder.to_owned())
    }

    fn gradle(&self, to: &Written, tree: &Tree<'_>, context: &Context) -> Option<Node> {
        let own = self.folder();
        let at = |path: &str| match path.strip_prefix('/') {
            Some(rest) => resolved(gradle_top(tree, own), rest).filter(|path| tree.exists(path)),
            None => self.at(tree, path),
        };
        match to {
            Written::Project(project) => {
                let folder = context.project(tree, own, project)?;
                Some(self.project(tree, Family::Gradle, folder))
            }
            Written::Included(path) => {
                at(path).filter(|path| tree.is_file(path)).map(|path| self.read(path))
            }
            Written::Path(path) if self.manifest == Manifest::GradleSettings => {
                Some(self.project(tree, Family::Gradle, at(path)?))
            }
            Written::Path(path) => at(path).map(Node::Place),
            Written::Copied(_)
            | Written::Image(_)
            | Written::ProjectFolder { .. }
            | Written::Module(_)
            | Written::Replaced { .. }
            | Written::Package(_)
            | Written::PythonModule { .. }
            | Written::Anything => None,
        }
    }

    /// From the repository's top, which is the context as a rule, and from the own folder.
    fn copied(&self, tree: &Tree<'_>, source: &str) -> Vec<Node> {
        let mut parts: Vec<&str> = Vec::new();
        for part in source.split('/') {
            match part {
                "" | "." => {}
                // Nothing lies above the context.
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let pattern = parts.join("/");
        let own = self.folder();
        // Of the whole context it is not known which folder that is; it would be everything.
        let everything = pattern.chars().all(|c| c == '*');
        let mut found = Vec::new();
        if !everything || own.is_empty() {
            found.extend(tree.matching("", &pattern));
        }
        if !own.is_empty() {
            found.extend(tree.matching(own, &pattern));
        }
        found.into_iter().map(Node::Copied).collect()
    }

    fn go(&self, to: &Written, tree: &Tree<'_>, context: &Context) -> Vec<Node> {
        match to {
            Written::Package(import) => {
                let folders = context.package(tree, import);
                if folders.is_empty() && context.may_have(import) {
                    return vec![Node::Place(String::new())];
                }
                let package = |folder| Node::Package { set: self.set, folder, tests: false };
                folders.into_iter().map(package).collect()
            }
            // Embedded files are the package's own, unless they are packages themselves.
            Written::Path(path) => {
                let path = self.at(tree, path);
                let go = |path: &String| {
                    tree.charge(tree.beneath(path).len());
                    tree.beneath(path).iter().any(|file| extension(file) == "go")
                };
                path.filter(go).map(Node::Place).into_iter().collect()
            }
            Written::Module(_) => {
                let sums = join(self.folder(), "go.sum");
                let files = [self.path.to_owned(), sums].into_iter();
                files.filter(|path| tree.is_file(path)).map(Node::Place).collect()
            }
            Written::Included(_)
            | Written::Copied(_)
            | Written::Image(_)
            | Written::Project(_)
            | Written::ProjectFolder { .. }
            | Written::Replaced { .. }
            | Written::PythonModule { .. }
            | Written::Anything => Vec::new(),
        }
    }

    fn python_module(&self, tree: &Tree<'_>, roots: &[String], dots: u32, name: &str) -> Vec<Node> {
        let parts: Vec<&str> = name.split('.').filter(|part| !part.is_empty()).collect();
        let mut found = Vec::new();
        if dots == 0 {
            tree.charge((name.len() + 128) * roots.len());
            for root in roots.iter().filter_map(|root| resolved("", root)) {
                modules(tree, &root, &parts, &mut found);
            }
        } else {
            let mut package = Some(self.folder());
            for _ in 1..dots {
                package = package.filter(|package| !package.is_empty()).map(folder);
            }
            if let Some(package) = package {
                found.extend(initial(tree, package));
                modules(tree, package, &parts, &mut found);
            }
        }
        found.into_iter().map(|path| self.read(path)).collect()
    }

    /// A Python file's packages are imported before it is.
    pub(super) fn implied(&self, tree: &Tree<'_>) -> Vec<Node> {
        let (Derivation::PythonImports { roots }, Manifest::Python) =
            (self.derivation, self.manifest)
        else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for _ in roots {
            tree.charge_upwards(self.path);
        }
        for root in roots.iter().filter_map(|root| resolved("", root)) {
            if !within(self.path, &root) {
                continue;
            }
            let packages = upwards(self.folder());
            for package in packages.take_while(|package| package.len() > root.len()) {
                found.extend(initial(tree, package).filter(|path| path != self.path));
            }
        }
        found.into_iter().map(|path| self.read(path)).collect()
    }
}

/// What a package's folder runs when it is imported.
fn initial(tree: &Tree<'_>, package: &str) -> Option<String> {
    Some(join(package, "__init__.py")).filter(|path| tree.is_file(path))
}

/// The files of `a.b.c` beneath a folder: the packages on the way, and the module itself.
fn modules(tree: &Tree<'_>, root: &str, parts: &[&str], found: &mut Vec<String>) {
    let mut path = root.to_owned();
    for (at, part) in parts.iter().enumerate() {
        path = join(&path, part);
        if at + 1 == parts.len() {
            let module = format!("{path}.py");
            found.extend(tree.is_file(&module).then_some(module));
        }
        if !tree.is_folder(&path) {
            return;
        }
        found.extend(initial(tree, &path));
    }
}
