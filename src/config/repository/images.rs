//! Names of images, and images that stand in for those that steps name.

use std::collections::{BTreeMap, BTreeSet};

use super::problems::{Place, Problems};
use crate::domain::image_name;
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
            let is_named = self.image_name(entry.place, &entry.key);
            let taken = self.text(&entry.node, &format!("`images.{}`", entry.key));
            let taken = taken.filter(|image| self.image_name(entry.node.place, image));
            let Some(taken) = taken.filter(|_| is_named) else { continue };
            if instead.insert(entry.key.clone(), (entry.place, taken)).is_some() {
                let what = format!("`{}` stands twice in `images`", entry.key);
                self.add(entry.place, what, "keep one of them");
            }
        }
        instead
    }

    /// May it be given to an engine as an image's name?
    pub(super) fn image_name(&mut self, place: Place, image: &str) -> bool {
        let fault = image_name::fault(image);
        let is_name = fault.is_none();
        if let Some((what, mend)) = fault {
            self.add(place, what, mend);
        }
        is_name
    }

    /// Steps of the file and of its preset, and their services, take the images that the file names in place of theirs.
    pub(super) fn put_images(&mut self, instead: &Instead, rules: &mut RepoRules) {
        let mut met: BTreeSet<String> = BTreeSet::new();
        for step in rules.pipelines.iter_mut().flat_map(|pipeline| &mut pipeline.steps) {
            let services = step.services.iter_mut().map(|service| &mut service.image);
            for image in std::iter::once(&mut step.image).chain(services) {
                met.insert(image.clone());
                if let Some((_, taken)) = instead.get(image) {
                    image.clone_from(taken);
                }
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
