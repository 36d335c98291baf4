use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::domain::catalog::{Catalog, Paths, discover};
use crate::domain::rules::{ConnectorRule, Derivation, Pattern, RepoRules};

pub(super) type Files<'f> = BTreeMap<&'f str, &'f str>;

/// Connectors are `c/{name}/m`, and single files.
pub(super) fn rules(depends: Vec<Derivation>) -> RepoRules {
    let mut rules = RepoRules::empty("test".to_owned());
    let mut rule = ConnectorRule::new(Pattern::parse("c/{name}/m").unwrap());
    rule.depends = depends.clone();
    let mut single = ConnectorRule::new(Pattern::parse("s/{name}.py").unwrap());
    single.root = Some(Pattern::parse("s/{name}.py").unwrap());
    single.depends = depends;
    rules.connectors = vec![rule, single];
    rules
}

/// A catalog of the connectors, with what they are built from.
pub(super) fn explored(depends: Vec<Derivation>, files: &Files<'_>) -> Catalog {
    let rules = rules(depends);
    let paths = Paths::new(files.keys().map(|path| (*path).to_owned()).collect());
    let catalog = discover(&rules, &paths).finish(|_| None);
    let mut explorer = Explorer::new(&rules, &catalog, &paths);
    let mut asked = BTreeSet::new();
    loop {
        let wanted = explorer.wanted();
        if wanted.is_empty() {
            break;
        }
        for (manifest, path) in wanted {
            assert!(asked.insert((manifest, path.clone())), "{path} is asked for once");
            let text = files.get(path.as_str()).expect("only what is there is asked for");
            explorer.learn(manifest, &path, Some(references(manifest, text.as_bytes()).into()));
        }
    }
    let found = explorer.finish();
    catalog.with_dependencies(found)
}

/// `path` or `path (extent)` of each dependency of the connector.
pub(super) fn of(catalog: &Catalog, name: &str) -> Vec<String> {
    let found = catalog.dependencies().of(&name.parse().unwrap());
    let shown = |one: &Dependency<'_>| match one.extent() {
        Extent::Whole => one.path().to_owned(),
        Extent::Package => format!("{} (package)", one.path()),
        Extent::NoPackages => format!("{} (no packages)", one.path()),
    };
    found.iter().map(shown).collect()
}

/// `connector by chain` of each claim.
pub(super) fn claims(catalog: &Catalog, path: &str) -> Vec<String> {
    let found = catalog.dependencies().claims(path);
    let shown = |one: &Claimed<'_>| {
        let chain: Vec<String> = one.dependency.chain().iter().map(ToString::to_string).collect();
        format!("{} by {}", one.connector, chain.join(" "))
    };
    found.iter().map(shown).collect()
}

#[test]
fn path_dependencies_are_followed_through_each_other_and_back() {
    let files = Files::from([
        ("c/a/m", ""),
        ("c/a/pyproject.toml", "[tool.poetry.dependencies]\nb = { path = \"../../lib/b\" }\n"),
        ("c/z/m", ""),
        ("c/z/setup.py", "setup(install_requires=['a @ file:../a'])"),
        (
            "lib/b/pyproject.toml",
            "[project]\ndependencies = [\n\"k @ file:../k\", \"n @ file:../none\"]\n",
        ),
        ("lib/b/b.py", ""),
        ("lib/k/setup.py", "setup(install_requires=['b @ file:../b'])"),
        ("lib/k/requirements.txt", "-e ../r\n"),
        ("lib/r/x", ""),
        ("lib/unused/x", ""),
    ]);
    let catalog = explored(vec![Derivation::PyprojectPath, Derivation::SetupPy], &files);
    assert_eq!(of(&catalog, "a"), ["lib/b", "lib/b", "lib/k"]);
    assert_eq!(of(&catalog, "z"), ["c/a", "lib/b", "lib/b", "lib/k"]);
    assert_eq!(
        claims(&catalog, "lib/k/deep/file"),
        [
            "a by lib/b/pyproject.toml:3 c/a/pyproject.toml:2",
            "z by lib/b/pyproject.toml:3 c/a/pyproject.toml:2 c/z/setup.py:1",
        ]
    );
    assert_eq!(claims(&catalog, "c/a/main.py"), ["z by c/z/setup.py:1"]);
    assert!(claims(&catalog, "lib/bb/x").is_empty() && claims(&catalog, "lib").is_empty());
    // `requirements.txt` counts only where the rule says so.
    assert!(claims(&catalog, "lib/r/x").is_empty());
    let all = vec![Derivation::PyprojectPath, Derivation::SetupPy, Derivation::RequirementsPath];
    let catalog = explored(all, &files);
    assert_eq!(claims(&catalog, "lib/r/x").len(), 2);
}

#[test]
fn requirements_include_each_other_and_count_from_two_folders() {
    let files = Files::from([
        ("c/a/m", ""),
        ("c/a/requirements/dev.txt", "-r ../../../shared/base.txt\n-e ../../lib\n"),
        ("shared/base.txt", "./pkg\n-r base.txt\n"),
        ("shared/pkg/setup.py", ""),
        ("lib/x", ""),
    ]);
    let catalog = explored(vec![Derivation::RequirementsPath], &files);
    assert_eq!(of(&catalog, "a"), ["lib", "shared/base.txt", "shared/pkg"]);
    assert_eq!(
        claims(&catalog, "shared/pkg/setup.py"),
        ["a by shared/base.txt:1 c/a/requirements/dev.txt:1"]
    );
}

#[test]
fn gradle_projects_lie_where_settings_put_them() {
    let files = Files::from([
        (
            "settings.gradle",
            "project(':moved').projectDir = file('else/where')\nincludeBuild 'logic'",
        ),
        ("c/a/m", ""),
        (
            "c/a/build.gradle.kts",
            "project(\":moved\"); project(\":lib:core\")\nproject(\":lib:deep:lost\")",
        ),
        ("else/where/build.gradle", "project(':c:z')\napply from: \"$rootDir/tools/x.gradle\""),
        ("c/z/m", ""),
        ("lib/core/x", ""),
        ("lib/deep/x", ""),
        ("logic/x", ""),
        ("tools/x.gradle", "project(':last')"),
        ("last/x", ""),
    ]);
    let catalog = explored(vec![Derivation::Gradle], &files);
    let expected = ["c/z", "else/where", "last", "lib/core", "lib/deep", "logic", "tools/x.gradle"];
    assert_eq!(of(&catalog, "a"), expected);
    assert_eq!(of(&catalog, "z"), ["logic"]);
}

#[test]
fn dockerfiles_copy_from_two_contexts_and_build_on_images_of_the_tree() {
    let files = Files::from([
        ("c/a/m", ""),
        (
            "c/a/Dockerfile",
            "FROM x.io/team/base:1\nCOPY . .\nCOPY go.* ./\nCOPY tool c/a ./\nCOPY ../up ./\nCOPY */deep.txt ./\n",
        ),
        ("c/a/tool/x", ""),
        ("c/b/m", ""),
        ("c/b/Dockerfile.dev", "FROM x.io/team/a\n"),
        ("base/Dockerfile", "COPY scripts /x"),
        ("base/scripts/x", ""),
        ("scripts/y", ""),
        ("go.mod", ""),
        ("go.sum", ""),
        ("tool/x", ""),
        ("up/x", ""),
        ("d/deep.txt", ""),
    ]);
    let both = vec![Derivation::DockerfileCopy, Derivation::DockerfileFrom];
    let catalog = explored(both, &files);
    let expected =
        ["base", "base/scripts", "d/deep.txt", "go.mod", "go.sum", "scripts", "tool", "up"];
    assert_eq!(of(&catalog, "a"), expected);
    assert_eq!(
        claims(&catalog, "scripts/y"),
        [
            "a by base/Dockerfile:1 c/a/Dockerfile:1",
            "b by base/Dockerfile:1 c/a/Dockerfile:1 c/b/Dockerfile.dev:1",
        ]
    );
    assert!(claims(&catalog, "unrelated").is_empty());
}

/// Two modules, one inside the other; a package with data, and one within a copied folder.
fn go() -> Files<'static> {
    Files::from([
        ("go.mod", "module example.com/m\n"),
        ("go.sum", ""),
        ("nested/go.mod", "module example.com/m/nested\n"),
        ("nested/n/n.go", "package n\n"),
        ("c/a/m", ""),
        ("c/a/main.go", "package main\nimport \"example.com/m/lib\"\n"),
        ("c/a/main_test.go", "package main\nimport \"example.com/m/testkit\"\n"),
        ("c/a/sub/sub.go", "package sub\nimport \"example.com/m/nested/n\"\n"),
        ("c/a/Dockerfile", "FROM golang\nCOPY lib ./lib\nCOPY dead ./dead\n"),
        ("lib/lib.go", "package lib\nimport \"example.com/m/lib/inner\"\n//go:embed data/other\n"),
        ("lib/lib_test.go", "package lib\nimport \"example.com/m/unused\"\n"),
        ("lib/testdata/case.go", "package case\n"),
        ("lib/.snapshots/one", ""),
        ("lib/data/other/x.go", "package other\n"),
        ("lib/inner/inner.go", "package inner\n"),
        ("lib/sibling/sibling.go", "package sibling\n"),
        ("lib/docs/readme", ""),
        ("testkit/kit.go", "package testkit\nimport \"example.com/m/lib\"\n"),
        ("unused/unused.go", "package unused\n"),
        ("dead/dead.go", "package dead\n"),
    ])
}

#[test]
fn go_packages_count_with_what_lies_in_them() {
    let catalog = explored(vec![Derivation::GoImports], &go());
    assert_eq!(
        of(&catalog, "a"),
        [
            "go.mod",
            "go.sum",
            "lib (package)",
            "lib/data/other",
            "lib/inner (package)",
            "nested/go.mod",
            "nested/n (package)",
            "testkit (package)",
        ]
    );
    for reached in [
        "lib/lib.go",
        "lib/lib_test.go",
        "lib/new.go",
        "lib/.snapshots/one",
        "lib/testdata/case.go",
        "lib/docs/readme",
        "lib/data/other/x.go",
        "lib/inner/deep/x.json",
        "testkit/kit.go",
        "go.sum",
    ] {
        assert_eq!(claims(&catalog, reached).len(), 1, "{reached}");
    }
    for not in ["lib/sibling/sibling.go", "lib/sibling/testdata/x", "unused/unused.go", "dead/x"] {
        assert!(claims(&catalog, not).is_empty(), "{not}");
    }
    let chain = claims(&catalog, "lib/inner/inner.go");
    assert_eq!(chain, ["a by lib/lib.go:2 c/a/main.go:2"]);
}

#[test]
fn where_imports_are_known_a_copied_folder_is_no_longer_everything_in_it() {
    let both = vec![Derivation::GoImports, Derivation::DockerfileCopy];
    let catalog = explored(both, &go());
    let found = of(&catalog, "a");
    assert!(found.contains(&"lib (no packages)".to_owned()), "{found:?}");
    assert!(found.contains(&"dead".to_owned()), "nothing of it is imported: {found:?}");
    assert!(claims(&catalog, "lib/sibling/sibling.go").is_empty());
    assert_eq!(claims(&catalog, "dead/dead.go"), ["a by c/a/Dockerfile:3"]);
    // Without imports, the copy counts whole.
    let catalog = explored(vec![Derivation::DockerfileCopy], &go());
    assert_eq!(claims(&catalog, "lib/sibling/sibling.go"), ["a by c/a/Dockerfile:2"]);
}

#[test]
fn python_modules_below_several_roots() {
    let files = Files::from([
        ("s/one.py", "from pkg.sub import leaf\nimport helper, json\nfrom shared import *\n"),
        ("s/two.py", "def f():\n    from plugins.pkg import missing\n"),
        ("plugins/pkg/__init__.py", ""),
        ("plugins/pkg/sub/__init__.py", "from . import sibling\nfrom ..other import x\n"),
        ("plugins/pkg/sub/leaf.py", ""),
        ("plugins/pkg/sub/sibling.py", ""),
        ("plugins/pkg/other.py", "import pkg.sub.leaf\n"),
        ("plugins/pkg/unused.py", ""),
        ("lib/helper.py", ""),
        ("lib/shared/__init__.py", "from .... import too_far\n"),
    ]);
    let roots = ["plugins", "lib/"].map(str::to_owned).to_vec();
    let catalog = explored(vec![Derivation::PythonImports { roots }], &files);
    assert_eq!(
        of(&catalog, "one"),
        [
            "lib/helper.py",
            "lib/shared/__init__.py",
            "plugins/pkg/__init__.py",
            "plugins/pkg/other.py",
            "plugins/pkg/sub/__init__.py",
            "plugins/pkg/sub/leaf.py",
            "plugins/pkg/sub/sibling.py",
        ]
    );
    assert!(of(&catalog, "two").is_empty());
    assert_eq!(
        claims(&catalog, "plugins/pkg/other.py"),
        ["one by plugins/pkg/sub/__init__.py:2 s/one.py:1"]
    );
    let catalog = explored(vec![Derivation::PythonImports { roots: vec![".".to_owned()] }], &files);
    assert_eq!(of(&catalog, "two"), ["plugins/pkg/__init__.py"]);
}

#[test]
fn a_file_that_may_mean_anything_makes_its_connector_depend_on_everything() {
    let text = (0..=MAX_REFERENCES).fold(String::new(), |text, n| text + &format!("./p{n}\n"));
    let files = Files::from([("c/a/m", ""), ("c/a/requirements.txt", text.as_str())]);
    let catalog = explored(vec![Derivation::RequirementsPath], &files);
    assert_eq!(claims(&catalog, "wherever/it/is"), ["a by c/a/requirements.txt:2001"]);
}

/// Folders that name each other by path.
fn links() -> impl Strategy<Value = BTreeMap<String, BTreeSet<String>>> {
    let folders: Vec<String> =
        ["c/a", "c/b", "c/d", "l/x", "l/y", "l/y/z", "l/w", "k"].map(str::to_owned).to_vec();
    let targets = prop::collection::btree_set(prop::sample::select(folders.clone()), 0..3);
    let all = folders.len();
    prop::collection::vec(targets, all..=all)
        .prop_map(move |targets| folders.iter().cloned().zip(targets).collect())
}

/// Breadth first over explicit edges: how far each folder is, from one.
fn distances(links: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::from([(from.to_owned(), 0)]);
    let mut queue = VecDeque::from([from.to_owned()]);
    while let Some(here) = queue.pop_front() {
        for next in &links[&here] {
            if !found.contains_key(next) {
                found.insert(next.clone(), found[&here] + 1);
                queue.push_back(next.clone());
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn what_is_reached_and_how_far_it_is_equals_the_naive_answer(links in links(), deep in any::<bool>()) {
        let texts: Vec<(String, String)> = links
            .iter()
            .map(|(folder, targets)| {
                let up = "../".repeat(folder.matches('/').count() + 1);
                let lines: Vec<String> = targets.iter().map(|to| format!("-e {up}{to}\n")).collect();
                (format!("{folder}/requirements.txt"), lines.concat())
            })
            .collect();
        let mut files: Files<'_> = texts.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        files.extend([("c/a/m", ""), ("c/b/m", ""), ("c/d/m", "")]);
        let catalog = explored(vec![Derivation::RequirementsPath], &files);
        for folder in links.keys() {
            let path = format!("{folder}/{}", if deep { "p/q" } else { "p" });
            let mut expected = BTreeMap::new();
            for name in ["a", "b", "d"] {
                let root = format!("c/{name}");
                let near = distances(&links, &root);
                let holds = |place: &&String| {
                    path.starts_with(&format!("{place}/")) && !format!("{place}/").starts_with(&format!("{root}/"))
                };
                let best = near.iter().filter(|(place, _)| holds(place)).map(|(_, far)| *far).min();
                expected.extend(best.map(|far| (name.to_owned(), far)));
            }
            let found: BTreeMap<String, usize> = catalog
                .dependencies()
                .claims(&path)
                .iter()
                .map(|one| (one.connector.to_string(), one.dependency.chain().len()))
                .collect();
            prop_assert_eq!(found, expected, "{}", path);
        }
    }
}
