//! Layouts that need no repository file: each is a repository file of its own, in `presets/`, read
//! by the same reader, with the signs by which a tree is known to have it.

use super::problems::{Invalid, Problems};
use super::{Read, read};
use crate::domain::catalog::Paths;
use crate::domain::rules::Preset;

/// A known layout.
struct Layout {
    preset: Preset,
    text: &'static str,
    /// By the tree alone. Each asks for names that only its own layout has, so that no tree shows
    /// the signs of two by chance.
    recognises: fn(&Paths) -> bool,
}

const LAYOUTS: &[Layout] = &[
    Layout {
        preset: Preset::Airbyte,
        text: include_str!("presets/airbyte.yml"),
        recognises: |paths| paths.has_folder("airbyte-integrations/connectors"),
    },
    Layout {
        preset: Preset::Estuary,
        text: include_str!("presets/estuary.yml"),
        recognises: estuary,
    },
    Layout {
        preset: Preset::Tinybird,
        text: include_str!("presets/tinybird.yml"),
        recognises: |paths| {
            paths.has_file("tinybird_cdk/__init__.py")
                && has_python(paths, "tinybird_cdk/connectors")
        },
    },
    Layout {
        preset: Preset::Airflow,
        text: include_str!("presets/airflow.yml"),
        recognises: |paths| {
            let container = ["airflow-content-syncer/Dockerfile", "airflow-customized/Dockerfile"];
            has_python(paths, "dags")
                && paths.has_folder("plugins")
                && container.iter().any(|file| paths.has_file(file))
        },
    },
];

/// The shared library of either language, and a folder at the top that its marker makes a connector.
fn estuary(paths: &Paths) -> bool {
    let shared = paths.has_folder("estuary-cdk")
        || paths.has_folder("source-boilerplate")
        || paths.has_folder("materialize-boilerplate");
    let marker = |path: &str| {
        let Some((folder, file)) = path.split_once('/') else { return false };
        (folder.starts_with("source-") || folder.starts_with("materialize-"))
            && matches!(file, "VERSION" | "pyproject.toml")
    };
    shared && paths.iter().any(marker)
}

/// Has the folder a Python module right in it?
fn has_python(paths: &Paths, folder: &str) -> bool {
    let module = |path: &String| {
        let name = path.get(folder.len() + 1..).unwrap_or_default();
        name.strip_suffix(".py").is_some_and(|name| name != "__init__" && !name.contains('/'))
    };
    paths.within(folder).iter().any(module)
}

/// The layouts whose signs a tree shows; more than one is possible only where two repositories
/// were put into one.
pub(super) fn recognise(paths: &Paths) -> Vec<Preset> {
    LAYOUTS.iter().filter(|one| (one.recognises)(paths)).map(|one| one.preset).collect()
}

/// The layout as a repository file, to be copied.
pub(super) fn text(preset: Preset) -> Option<&'static str> {
    LAYOUTS.iter().find(|one| one.preset == preset).map(|one| one.text)
}

/// What a layout says; `None` for [`Preset::None`].
pub(super) fn load(preset: Preset) -> Result<Option<Read<'static>>, Invalid> {
    let Some(text) = text(preset) else { return Ok(None) };
    let name = format!("preset {preset}");
    let mut read = read(&name, text)?;
    let problems = std::mem::replace(&mut read.problems, Problems::new(&name, text));
    problems.finish()?;
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::repository::resolve;
    use crate::domain::rules::RepoRules;

    const ALL: [Preset; 4] = [Preset::Airbyte, Preset::Estuary, Preset::Tinybird, Preset::Airflow];

    fn resolved(text: &str) -> RepoRules {
        resolve(Some(("x.yml", text)), "here", &Paths::default())
            .unwrap_or_else(|invalid| panic!("{invalid}"))
    }

    #[test]
    fn a_copied_preset_means_the_same() {
        for preset in ALL {
            let named = resolved(&format!("preset: {preset}\n"));
            let copied = resolved(text(preset).unwrap());
            assert!(named.selects_as(&copied), "{preset}");
            assert_eq!((named.preset, copied.preset), (preset, Preset::None));
            assert!(named.notes.is_empty(), "{preset}: {:?}", named.notes);
        }
    }

    #[test]
    fn the_documentation_shows_each_preset_as_it_is() {
        let page = include_str!("../../../docs/presets.md");
        for preset in ALL {
            let block = format!("```yaml\n{}```", text(preset).unwrap());
            assert!(page.contains(&block), "docs/presets.md does not show {preset}'s file");
        }
    }
}
