//! `uses: build`: what the connector's folder says of its image.

mod dockerfile;
mod ignore;

use std::collections::{BTreeMap, BTreeSet};

pub use self::dockerfile::{Sources, sources};
pub use self::ignore::Ignore;
use super::metadata;
use super::yaml::{self, Node};

/// Bytes of one file that says how to build.
const LARGEST: usize = 1 << 20;

/// What lies right in the folder.
#[derive(Debug, Default)]
pub struct Folder {
    names: BTreeSet<String>,
    read: BTreeMap<&'static str, String>,
}

/// Files whose content matters.
const READ: [&str; 3] = ["Dockerfile", ".dockerignore", "metadata.yaml"];

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
}

impl Folder {
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
    pub fn ignore(&self) -> Ignore {
        Ignore::parse(self.read.get(".dockerignore").map_or("", String::as_str))
    }

    /// How to make the image, or why it can't be made, with the mend.
    pub fn recipe(&self) -> Result<Recipe, String> {
        let document = self.read.get("metadata.yaml").and_then(|text| yaml::parse(text).ok());
        let document = document.filter(metadata::is_airbyte);
        let data = document.as_ref().and_then(|document| document.get("data"));
        let text = |key: &str| data.and_then(|data| data.get(key)).and_then(Node::text);
        let name = text("dockerRepository").map(str::to_owned);
        let mut labels = BTreeMap::new();
        labels.extend(name.clone().map(|name| ("io.airbyte.name".to_owned(), name)));
        let version = text("dockerImageTag").map(str::to_owned);
        labels.extend(version.map(|version| ("io.airbyte.version".to_owned(), version)));
        let airbyte = document.is_some();
        if let Some(dockerfile) = self.read.get("Dockerfile") {
            let dockerfile = dockerfile.clone();
            return Ok(Recipe { generated: None, dockerfile, labels, name, airbyte });
        }
        let base = data.and_then(|data| data.get("connectorBuildOptions"));
        let base = base.and_then(|options| options.get("baseImage")).and_then(Node::text);
        let Some(base) = base else {
            return Err("the connector's folder has no `Dockerfile`, and its metadata no \
                        `connectorBuildOptions.baseImage`: add one of them"
                .to_owned());
        };
        let dockerfile = self.generate(base)?;
        Ok(Recipe { generated: Some(dockerfile.clone()), dockerfile, labels, name, airbyte })
    }

    fn generate(&self, base: &str) -> Result<String, String> {
        if base.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("`connectorBuildOptions.baseImage` is no image's name".to_owned());
        }
        let has = |name: &str| self.names.contains(name);
        if has("manifest.yaml") {
            return Ok(dockerfile::of_manifest(base, has("components.py")));
        }
        if has("setup.py") || has("pyproject.toml") {
            return Ok(dockerfile::of_python(base));
        }
        Err("the folder has no `Dockerfile`, and none can be made for it: it has neither \
             `manifest.yaml` nor `setup.py` nor `pyproject.toml`. Add a `Dockerfile`, or build the \
             image in a step of your own"
            .to_owned())
    }
}

/// The name of an image that stays on the developer's machine.
pub fn dev_name(recipe: &Recipe, connector: &str) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    };
    let own = || connector.chars().map(plain).collect::<String>();
    let given = recipe.name.clone().filter(|name| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/-_.".contains(c);
        !name.is_empty() && name.chars().all(fits)
    });
    format!("{}:dev", given.unwrap_or_else(own).trim_matches(['-', '/', '.', '_']))
}

#[cfg(test)]
mod tests;
