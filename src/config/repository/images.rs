//! Names of images, and images that stand in for those that steps name.

use std::collections::{BTreeMap, BTreeSet};

use super::problems::{Place, Problems};
use crate::domain::rules::{RepoRules, closest};
use crate::domain::yaml::{Node, Value};

/// What a step names, and what is taken in its place.
pub(super) type Instead = BTreeMap<String, (Place, String)>;

impl Problems<'_> {
    pub(super) fn images(&mut self, node: &Node) -> Instead {
        let mut instead = Instead::new();
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "`images`", "a mapping from images to those in their place");
            return instead;
        };
        for entry in entries {
            let named = self.image_name(entry.place, entry.key.clone());
            let taken = self.text(&entry.node, &format!("`images.{}`", entry.key));
            let taken = taken.and_then(|image| self.image_name(entry.node.place, image));
            let (Some(named), Some(taken)) = (named, taken) else { continue };
            if instead.insert(named, (entry.place, taken)).is_some() {
                let what = format!("`{}` stands twice in `images`", entry.key);
                self.add(entry.place, what, "keep one of them");
            }
        }
        instead
    }

    /// What may be given to an engine as an image's name.
    pub(super) fn image_name(&mut self, place: Place, image: String) -> Option<String> {
        let is_blank =
            image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control());
        if is_blank || image.starts_with('-') {
            self.add(place, format!("`{image}` is not an image's name"), "write `name:tag`");
            return None;
        }
        // An engine takes an image's id for a name, and the begin of it, whoever's that is.
        let is_hex = image.len() >= 12 && image.bytes().all(|b| b.is_ascii_hexdigit());
        let is_id = image.starts_with("sha256:") || is_hex;
        let is_ours =
            image.starts_with("checkvalve-share") || image.starts_with("checkvalve-snapshot");
        if is_id || is_ours {
            let mend = "write `name:tag`, or `name@sha256:…`";
            self.add(place, format!("`{image}` can't be named as an image here"), mend);
            return None;
        }
        Some(image)
    }

    /// Steps of the file and of its preset take the images that the file names in place of theirs.
    pub(super) fn put_images(&mut self, instead: &Instead, rules: &mut RepoRules) {
        let mut met: BTreeSet<String> = BTreeSet::new();
        for step in rules.pipelines.iter_mut().flat_map(|pipeline| &mut pipeline.steps) {
            met.insert(step.image.clone());
            if let Some((_, taken)) = instead.get(&step.image) {
                step.image.clone_from(taken);
            }
        }
        // Not an error: a later version of a preset may name another one.
        for (named, (place, _)) in instead.iter().filter(|(named, _)| !met.contains(*named)) {
            let near = closest(named, met.iter().map(String::as_str).filter(|one| !one.is_empty()));
            let mend = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            self.note(*place, format!("no step has the image `{named}`{mend}"));
        }
    }
}
