//! A repository file together with its preset: the rules, and where each value comes from.

mod print;
mod tree;

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use self::tree::{Origin, Tree};
use super::problems::{Invalid, Problems};
use super::sections::Kinds;
use super::{FILE, MISSPELT, Read, SAYS_NOTHING, presets, read};
use crate::domain::catalog::Paths;
use crate::domain::rules::{Preset, RepoRules, Unclaimed, closest};

/// The rules of a tree, and the one file that says all of them.
#[derive(Debug)]
pub struct Resolved {
    pub rules: RepoRules,
    whole: Tree,
}

impl Resolved {
    /// As a repository file that needs no preset; each value's origin is a comment.
    pub fn to_yaml(&self) -> String {
        print::yaml(&self.rules.origin, &self.whole)
    }

    /// The same as JSON: `file` is the repository file, `origins` says by JSON pointer where each
    /// value comes from.
    pub fn to_json(&self) -> Json {
        json!({
            "origin": self.rules.origin,
            "preset": self.rules.preset,
            "notes": self.rules.notes,
            "file": self.whole.to_json(),
            "origins": self.whole.origins(),
        })
    }
}

/// The preset that counts, and how the origin says so.
struct Chosen {
    preset: Preset,
    recognised: bool,
}

/// As [`resolve`](super::resolve), with the origins of all values. Without `paths` nothing is known
/// of the tree: what a file leaves to the layout that is recognised is then left open, with a note.
pub fn resolved(
    file: Option<(&str, &str)>,
    at: &str,
    paths: Option<&Paths>,
) -> Result<Resolved, Invalid> {
    let Some((name, text)) = file else { return without_file(at, paths) };
    let mut own = read(name, text)?;
    let chosen = choose(&mut own, paths);
    let preset = match &chosen {
        Some(chosen) => presets::load(chosen.preset)?,
        None => None,
    };
    let source = preset.as_ref().zip(chosen.as_ref());
    let whole = tree::whole(
        Some((Origin::File(name.to_owned()), &own.document)),
        source.map(|(read, chosen)| (Origin::Preset(chosen.preset), &read.document)),
    );
    let (kinds, used) = (std::mem::take(&mut own.kinds), std::mem::take(&mut own.used));
    let instead = std::mem::take(&mut own.instead);
    let mut problems = own.problems;
    let mut rules = merged((own.rules, own.unclaimed), preset);
    rules.origin = match &chosen {
        None | Some(Chosen { preset: Preset::None, .. }) => format!("{name} {at}"),
        Some(Chosen { preset, recognised: true }) => {
            format!("{name} {at} (preset {preset}, recognised)")
        }
        Some(Chosen { preset, recognised: false }) => format!("{name} {at} (preset {preset})"),
    };
    problems.known_secrets(&used, &rules);
    if let Some(place) = own.schedules {
        problems.scheduled_pipelines(place, &rules);
    }
    problems.known_variables(&own.document, &rules);
    let mut open = None;
    match chosen {
        Some(chosen) => {
            rules.preset = chosen.preset;
            problems.known_kinds(&kinds, &rules);
            problems.put_images(&instead, &mut rules);
        }
        None => {
            open = Some(format!(
                "`{name}` adds to the layout that its tree shows; no tree was looked at"
            ));
        }
    }
    rules.notes = problems.finish()?;
    rules.notes.extend(open);
    Ok(Resolved { rules, whole })
}

fn without_file(at: &str, paths: Option<&Paths>) -> Result<Resolved, Invalid> {
    if paths.is_some_and(|paths| paths.has_file(MISSPELT)) {
        let mend = format!("rename it to `{FILE}`");
        return Err(Invalid::whole(MISSPELT, format!("`{MISSPELT}` is not read"), mend));
    }
    let found = paths.map(presets::recognise).unwrap_or_default();
    let loaded = match found.as_slice() {
        [preset] => presets::load(*preset)?.map(|read| (*preset, read)),
        [] => None,
        several => {
            let what = format!("there is no `{FILE}`, and the tree looks like {}", both(several));
            return Err(Invalid::whole(FILE, what, "add the file, with the `preset:` that counts"));
        }
    };
    let Some((preset, read)) = loaded else {
        return Err(Invalid::whole(
            FILE,
            format!("there is no `{FILE}`, and the layout is not a known one"),
            "add the file; docs/repository-file.md shows one".to_owned(),
        ));
    };
    let whole = tree::whole(None, Some((Origin::Preset(preset), &read.document)));
    let mut rules = merged((read.rules, read.unclaimed), None);
    rules.origin = format!("preset {preset}, recognised {at}");
    rules.preset = preset;
    Ok(Resolved { rules, whole })
}

/// The file's preset; without one, a file that says nothing of connectors adds to the layout that
/// is recognised. `None` if that can't be known.
fn choose(own: &mut Read<'_>, paths: Option<&Paths>) -> Option<Chosen> {
    if let Some(preset) = own.preset {
        return Some(Chosen { preset, recognised: false });
    }
    // A preset whose name is wrong is an error already.
    if own.says_connectors || own.names_preset {
        return Some(Chosen { preset: Preset::None, recognised: false });
    }
    let (what, mend) = match presets::recognise(paths?).as_slice() {
        [one] => return Some(Chosen { preset: *one, recognised: true }),
        [] => (
            format!("{SAYS_NOTHING}, and the layout is not a known one"),
            "add `connectors:`, `components:` or a `preset:`",
        ),
        several => (
            format!("{SAYS_NOTHING}, and the tree looks like {}", both(several)),
            "add the `preset:` that counts, or `connectors:`",
        ),
    };
    own.problems.add(own.document.place, what, mend);
    None
}

fn both(presets: &[Preset]) -> String {
    let names: Vec<String> = presets.iter().map(|preset| format!("`{preset}`")).collect();
    names.join(" and ")
}

/// Lists of the file come before the preset's, single values replace them, and so does a component
/// one of the same name.
fn merged(
    (mut rules, mut unclaimed): (RepoRules, Option<Unclaimed>),
    preset: Option<Read<'_>>,
) -> RepoRules {
    if let Some(preset) = preset {
        unclaimed = unclaimed.or(preset.unclaimed);
        let theirs = preset.rules;
        rules.ignore.extend(theirs.ignore);
        rules.connectors.extend(theirs.connectors);
        let names: Vec<String> =
            rules.components.iter().map(|one| one.name.to_lowercase()).collect();
        let others = theirs.components.into_iter();
        rules
            .components
            .extend(others.filter(|component| !names.contains(&component.name.to_lowercase())));
        rules.impact.extend(theirs.impact);
        rules.pipelines.extend(theirs.pipelines);
        rules.secrets.extend(theirs.secrets);
        rules.schedules.extend(theirs.schedules);
    }
    rules.unclaimed = unclaimed.unwrap_or_default();
    rules
}

impl Problems<'_> {
    /// A selector of a kind that no connector can have would select nothing, silently.
    fn known_kinds(&mut self, kinds: &Kinds, rules: &RepoRules) {
        let of_rules = rules.connectors.iter().filter_map(|rule| rule.kind.as_deref());
        let of_components = rules.components.iter().filter_map(|one| one.kind.as_deref());
        let known: BTreeSet<&str> = of_rules.chain(of_components).collect();
        for (place, kind) in kinds {
            // As selectors compare them.
            if known.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
                continue;
            }
            let mend = closest(kind, known.iter().copied()).map_or_else(
                || "give a connector rule or component this `kind`".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            self.add(*place, format!("no connector rule makes the kind `{kind}`"), mend);
        }
    }
}
