//! `uses: build`: what the connector's folder says of its image.

mod dockerfile;
mod ignore;
mod sent;
mod sources;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use self::ignore::Ignore;
pub use self::sent::{SENT, Sent, ignoring};
pub use self::sources::{Sources, sources};
use super::catalog::Flaw;
use super::metadata;
use super::yaml::{self, Node};

/// Bytes of one file that are looked at: one more than it may have tells that it is too large.
pub const LARGEST: usize = yaml::MAX_BYTES + 1;
/// Says of Airbyte's connectors which image they are built on.
pub const METADATA: &str = "metadata.yaml";
/// The file of a build's context that has the certificate authorities to trust, if the Dockerfile
/// names it; and where it lies in steps, which is what the variables of programs say.
pub const AUTHORITIES: &str = "checkvalve-ca.pem";
pub const AUTHORITIES_AT: &str = "/checkvalve/ca.pem";
/// The folder of a context in which the source is where that file lies beside it.
pub const SOURCE: &str = "source";
/// Hooks of Airbyte's own build.
const HOOKS: &str = "build_customization.py";

/// What lies right in the folder.
#[derive(Debug, Default)]
pub struct Folder {
    names: BTreeSet<String>,
    /// Variables that name authorities to trust, if there are any.
    variables: Vec<&'static str>,
    read: BTreeMap<&'static str, String>,
}

/// Files whose content matters.
const READ: [&str; 3] = ["Dockerfile", IGNORE, METADATA];
const IGNORE: &str = ".dockerignore";

/// How the image is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The Dockerfile, if the folder has none.
    pub generated: Option<String>,
    pub dockerfile: String,
    pub labels: BTreeMap<String, String>,
    /// The name that the connector's metadata gives the image.
    pub name: Option<String>,
    /// Its metadata is Airbyte's: it answers to `spec`.
    pub airbyte: bool,
    /// What of the folder does not count, though it may seem to.
    pub notes: Vec<String>,
}

impl Recipe {
    /// Does it want the authorities to trust in its context? An empty file will do.
    pub fn names_authorities(&self) -> bool {
        let stem = AUTHORITIES.trim_end_matches(".pem");
        self.dockerfile.contains(stem)
    }

    /// The folder of the context in which the source is; its top if empty.
    pub fn source_in(&self) -> &'static str {
        if self.generated.is_some() && self.names_authorities() { SOURCE } else { "" }
    }
}

/// Why no image can be made.
#[derive(Debug)]
pub struct Unbuildable {
    /// The file below the root that says so; empty for the folder as a whole.
    pub file: &'static str,
    pub flaw: Flaw,
}

impl Unbuildable {
    fn folder(text: &str, mend: &str) -> Self {
        Self { file: "", flaw: Flaw::unusable(None, text, mend) }
    }
}

impl Folder {
    /// The same folder where programs are told of authorities to trust by these variables.
    #[must_use]
    pub fn trusting(self, variables: Vec<&'static str>) -> Self {
        Self { variables, ..self }
    }

    /// Looks at a file: its path below the connector's root.
    pub fn file(&mut self, below: &str, content: &[u8]) {
        if below.contains('/') {
            return;
        }
        self.names.insert(below.to_owned());
        if let Some(name) = READ.into_iter().find(|name| *name == below) {
            let content = &content[..content.len().min(LARGEST)];
            self.read.insert(name, String::from_utf8_lossy(content).into_owned());
        }
    }

    /// What the build leaves out.
    pub fn ignore(&self) -> Result<Ignore, Unbuildable> {
        let ignore = Ignore::parse(self.ignore_file().unwrap_or_default());
        ignore.map_err(|flaw| Unbuildable { file: IGNORE, flaw })
    }

    /// The text that says so.
    pub fn ignore_file(&self) -> Option<&str> {
        self.read.get(IGNORE).map(String::as_str)
    }

    /// How to make the image, or why it can't be made, with the mend. As in Airbyte's own build, a
    /// base image goes before a Dockerfile.
    pub fn recipe(&self) -> Result<Recipe, Unbuildable> {
        if self.names.contains(SENT) {
            let text = "the folder has a file of this name, which is used here";
            let flaw = Flaw::unusable(None, text, "name it otherwise");
            return Err(Unbuildable { file: SENT, flaw });
        }
        let document = self.metadata()?;
        let data = document.as_ref().and_then(|document| document.get("data"));
        let text = |key: &str| data.and_then(|data| data.get(key)).and_then(Node::text);
        let name = text("dockerRepository").map(str::to_owned);
        let mut labels = BTreeMap::new();
        labels.extend(name.clone().map(|name| ("io.airbyte.name".to_owned(), name)));
        let version = text("dockerImageTag").map(str::to_owned);
        labels.extend(version.map(|version| ("io.airbyte.version".to_owned(), version)));
        let base = data.and_then(|data| data.get("connectorBuildOptions"));
        let base = base.and_then(|options| options.entry("baseImage"));
        let base = base.and_then(|entry| Some((entry.node.text()?, entry.node.place)));
        let generated = match base {
            Some((base, place)) => self.generate(base, place)?,
            None => None,
        };
        let own = self.read.get("Dockerfile").cloned();
        let notes = self.notes(base.is_some(), generated.is_some());
        let airbyte = document.is_some();
        match generated.clone().or(own) {
            Some(dockerfile) => Ok(Recipe { generated, dockerfile, labels, name, airbyte, notes }),
            None if base.is_some() => Err(Unbuildable::folder(
                "the folder has no `Dockerfile`, and none can be made for it: it has neither \
                 `manifest.yaml` nor `setup.py` nor `pyproject.toml`",
                "add a `Dockerfile`, or build the image in a step of your own",
            )),
            None => Err(Unbuildable::folder(
                "the connector's folder has no `Dockerfile`, and no metadata of Airbyte's with a \
                 `connectorBuildOptions.baseImage`",
                "add one of them",
            )),
        }
    }

    /// Airbyte's metadata, if there is any. Of a file that can't be read nobody knows whose it is.
    fn metadata(&self) -> Result<Option<Node>, Unbuildable> {
        let Some(text) = self.read.get(METADATA) else { return Ok(None) };
        let document = yaml::parse(text).map_err(|broken| Unbuildable {
            file: METADATA,
            flaw: Flaw::unusable(broken.place, broken.what, broken.mend),
        })?;
        Ok(Some(document).filter(metadata::is_airbyte))
    }

    /// The Dockerfile for a base image; none where nothing tells how to go on from it.
    fn generate(&self, base: &str, place: yaml::Place) -> Result<Option<String>, Unbuildable> {
        if base.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let text = "`connectorBuildOptions.baseImage` is no image's name";
            let flaw = Flaw::unusable(place, text, "write `name:tag@sha256:…`");
            return Err(Unbuildable { file: METADATA, flaw });
        }
        let has = |name: &str| self.names.contains(name);
        if has("manifest.yaml") {
            return Ok(Some(dockerfile::of_manifest(base, has("components.py"))));
        }
        let is_python = has("setup.py") || has("pyproject.toml");
        Ok(is_python.then(|| dockerfile::of_python(base, &self.variables)))
    }

    fn notes(&self, based: bool, generated: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if self.read.contains_key("Dockerfile") && generated {
            notes.push(
                "the `Dockerfile` does not count: the metadata's `connectorBuildOptions.baseImage` \
                 goes before it"
                    .to_owned(),
            );
        }
        if self.names.contains(HOOKS) && based {
            notes.push(format!(
                "`{HOOKS}` is not carried out: what its hooks add to the released image, this one \
                 lacks"
            ));
        }
        notes
    }
}

/// The name of an image that stays on the developer's machine.
pub fn dev_name(recipe: &Recipe, connector: &str, tag: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    };
    let own = || connector.chars().map(plain).collect::<String>();
    let given = recipe.name.clone().filter(|name| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/-_.".contains(c);
        !name.is_empty() && name.chars().all(fits)
    });
    format!("{}:{tag}", given.unwrap_or_else(own).trim_matches(['-', '/', '.', '_']))
}

#[cfg(test)]
mod tests;
