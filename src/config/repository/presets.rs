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
    shared && paths.iter().any(is_estuarys)
}

/// Does the path make a folder at the top a connector there?
fn is_estuarys(path: &str) -> bool {
    let Some((folder, file)) = path.split_once('/') else { return false };
    (folder.starts_with("source-") || folder.starts_with("materialize-"))
        && matches!(file, "VERSION" | "pyproject.toml")
}

/// Has the folder a Python module right in it?
fn has_python(paths: &Paths, folder: &str) -> bool {
    python_module(paths, folder).is_some()
}

fn python_module<'p>(paths: &'p Paths, folder: &str) -> Option<&'p String> {
    let module = |path: &str| {
        let name = path.get(folder.len() + 1..).unwrap_or_default();
        name.strip_suffix(".py").is_some_and(|name| name != "__init__" && !name.contains('/'))
    };
    paths.within(folder).iter().find(|path| module(path))
}

/// The layouts whose signs a tree shows; more than one is possible only where two repositories
/// were put into one.
pub(super) fn recognise(paths: &Paths) -> Vec<Preset> {
    LAYOUTS.iter().filter(|one| (one.recognises)(paths)).map(|one| one.preset).collect()
}

/// Paths by which a tree shows the layouts that it shows; the rest of it is not asked.
pub fn signs(paths: &Paths) -> Vec<&str> {
    const FOLDERS: [&str; 7] = [
        "airbyte-integrations/connectors",
        "dags",
        "estuary-cdk",
        "materialize-boilerplate",
        "plugins",
        "source-boilerplate",
        "tinybird_cdk/connectors",
    ];
    const FILES: [&str; 3] = [
        "airflow-content-syncer/Dockerfile",
        "airflow-customized/Dockerfile",
        "tinybird_cdk/__init__.py",
    ];
    let any = FOLDERS.iter().filter_map(|folder| paths.within(folder).first());
    let modules = FOLDERS.iter().filter_map(|folder| python_module(paths, folder));
    let files = FILES.iter().filter_map(|file| Some(paths.at(paths.position(file)?)));
    let marker = paths.iter().find(|path| is_estuarys(path));
    any.chain(modules).map(String::as_str).chain(files).chain(marker).collect()
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
    fn the_signs_of_a_layout_are_enough_to_know_it() {
        let trees: [&[&str]; 6] = [
            &["airbyte-integrations/connectors/source-a/metadata.yaml", "b", "c/d"],
            &["estuary-cdk/a.py", "source-a/README", "source-b/pyproject.toml", "x/VERSION"],
            &["materialize-a/VERSION", "materialize-boilerplate/b.go"],
            &[
                "tinybird_cdk/__init__.py",
                "tinybird_cdk/connectors/__init__.py",
                "tinybird_cdk/connectors/s3.py",
                "tinybird_cdk/connectors/a/b.py",
            ],
            &[
                "airflow-customized/Dockerfile",
                "dags/__init__.py",
                "dags/a/b.py",
                "dags/c.py",
                "plugins/x",
            ],
            &["source-a/x", "dags/a.txt", "README"],
        ];
        for (at, tree) in trees.into_iter().enumerate() {
            let paths = |of: &[&str]| Paths::new(of.iter().map(|&path| path.to_owned()).collect());
            let whole = paths(tree);
            let known = recognise(&whole);
            assert_eq!(known.is_empty(), at == 5, "{tree:?}");
            assert_eq!(recognise(&paths(&signs(&whole))), known, "{tree:?}");
        }
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
