//! What is made to cost much: too much is never followed, and never taken for nothing.

use std::sync::Arc;

use super::follow::{Files, claims, explored, of, rules};
use super::*;
use crate::domain::catalog::{Paths, discover};
use crate::domain::rules::Derivation;

const WHOLE: &str = "wherever/it/is";

fn repeated(times: usize, text: impl Fn(usize) -> String) -> String {
    (0..times).map(text).collect::<Vec<_>>().concat()
}

#[test]
fn many_paths_with_one_content_share_what_it_mentions() {
    let text = repeated(120, |n| format!("-e ../{}{n}\n", "x".repeat(900)));
    let found: Arc<[Reference]> = references(Manifest::Requirements, text.as_bytes()).into();
    assert_eq!(found.len(), 120);
    let rules = rules(vec![Derivation::RequirementsPath]);
    let names = (0..3000).flat_map(|n| [format!("c/a{n}/m"), format!("c/a{n}/requirements.txt")]);
    let paths = Paths::new(names.collect());
    let catalog = discover(&rules, &paths).finish(|_| None);
    let mut explorer = Explorer::new(&rules, &catalog, &paths);
    let mut asked = 0;
    loop {
        let wanted = explorer.wanted();
        if wanted.is_empty() {
            break;
        }
        assert!(wanted.len() <= 1000, "no more at a time");
        asked += wanted.len();
        for (manifest, path) in &wanted {
            explorer.learn(*manifest, path, Some(Arc::clone(&found)));
        }
        assert_eq!(Arc::strong_count(&found), asked + 1, "it is not copied");
    }
    assert!(asked < 3000, "{asked} were read");
    let found = explorer.finish();
    let catalog = catalog.with_dependencies(found);
    let hit = claims(&catalog, WHOLE);
    assert!(hit.len() >= 3000 - asked, "{} of those unread", hit.len());
    assert!(hit.contains(&"a999 by c/a999/requirements.txt:1".to_owned()));
    let notes = catalog.dependencies().notes();
    assert!(notes.iter().any(|note| note.contains("too much to follow")), "{notes:?}");
}

#[test]
fn what_can_not_be_read_may_be_anything_and_is_said() {
    let files = ["c/a/m", "c/a/requirements.txt", "c/b/m"];
    let paths = Paths::new(files.map(str::to_owned).to_vec());
    let rules = rules(vec![Derivation::RequirementsPath]);
    let catalog = discover(&rules, &paths).finish(|_| None);
    let mut explorer = Explorer::new(&rules, &catalog, &paths);
    for (manifest, path) in explorer.wanted() {
        explorer.learn(manifest, &path, None);
    }
    assert!(explorer.wanted().is_empty());
    let found = explorer.finish();
    let catalog = catalog.with_dependencies(found);
    assert_eq!(claims(&catalog, WHOLE), ["a by c/a/requirements.txt:1"]);
    let notes = catalog.dependencies().notes();
    assert!(notes[0].starts_with("`c/a/requirements.txt` says"), "{notes:?}");
}

#[test]
fn a_wildcard_that_costs_too_much_is_the_folder_before_it() {
    let long = format!("COPY lib/deep/{}* /\n", "?".repeat(300));
    let files = Files::from([
        ("c/a/m", ""),
        ("c/a/Dockerfile", long.as_str()),
        ("c/b/m", ""),
        ("c/b/Dockerfile", "COPY lib/deep/?*/y /\nCOPY lib/none/*/x /\n"),
        ("lib/deep/x/y", ""),
        ("lib/deep/x/z", ""),
    ]);
    let catalog = explored(vec![Derivation::DockerfileCopy], &files);
    assert_eq!(of(&catalog, "a"), ["lib/deep"]);
    assert_eq!(of(&catalog, "b"), ["lib/deep/x/y"]);

    let names: Vec<String> = (0..2000).map(|n| format!("lib/{}{n:04}", "n".repeat(200))).collect();
    let pattern = "n*".repeat(120);
    let lines = repeated(50, |n| format!("COPY lib/{pattern}{n}x /\n"));
    let mut files: Files<'_> = names.iter().map(|name| (name.as_str(), "")).collect();
    files.extend([("c/a/m", ""), ("c/a/Dockerfile", lines.as_str())]);
    let catalog = explored(vec![Derivation::DockerfileCopy], &files);
    assert_eq!(claims(&catalog, "lib/new").len(), 1);
}

/// Each would take minutes if its cost grew with the square of its length.
#[test]
fn large_dockerfiles_are_read_in_time() {
    let open = repeated(80_000, |n| format!("RUN <<E{n}\n"));
    mentions(Manifest::Dockerfile, &open);
    let listed = repeated(60_000, |n| format!("\"\\u0061{n}\", \n"));
    let listed = format!("COPY [{} \"b\"]\n", listed.replace('\n', "\\\n"));
    assert!(mentions(Manifest::Dockerfile, &listed).contains(&"1 anything".to_owned()));
    let values = repeated(100_000, |n| format!("A{n}=1 "));
    let stages = "FROM a\n".repeat(20_000);
    let text = format!("FROM x AS a\nENV {values}\n{stages}");
    assert!(mentions(Manifest::Dockerfile, &text).contains(&"1 anything".to_owned()));
}

#[test]
fn a_module_that_nobody_knows_may_be_any() {
    let long = format!("//{}\nmodule ex.org/lib\n", "x".repeat(MAX_BYTES));
    let files = |module: &'static str| {
        Files::from([
            ("c/a/m", ""),
            ("c/a/main.go", "package a\nimport \"ex.org/lib/x\"\n"),
            ("c/b/m", ""),
            ("c/b/main.go", "package b\nimport \"fmt\"\n"),
            ("go.mod", "module other.org\n"),
            ("lib/go.mod", module),
            ("lib/x/x.go", "package x\n"),
        ])
    };
    let catalog = explored(vec![Derivation::GoImports], &files("module ex.org/lib\n"));
    assert_eq!(claims(&catalog, "lib/x/x.go"), ["a by c/a/main.go:2"]);
    let catalog = explored(vec![Derivation::GoImports], &files(long.leak()));
    assert_eq!(claims(&catalog, "lib/x/x.go"), ["a by c/a/main.go:2"]);
    assert_eq!(claims(&catalog, WHOLE), ["a by c/a/main.go:2"]);
}

#[test]
fn folders_at_any_depth_are_the_folder_before_them() {
    let files = Files::from([
        ("c/a/m", ""),
        ("c/a/Dockerfile", "COPY --parents lib/**/go.mod /src/\n"),
        ("lib/x/y/go.mod", ""),
    ]);
    let catalog = explored(vec![Derivation::DockerfileCopy], &files);
    assert_eq!(claims(&catalog, "lib/x/y/go.mod").len(), 1);
}

#[test]
fn a_chain_without_end_is_cut() {
    let names: Vec<String> = (0..700).map(|n| format!("r/i{n}.txt")).collect();
    let texts: Vec<String> = (1..=700).map(|n| format!("-r i{n}.txt\n")).collect();
    let mut files: Files<'_> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.extend([("c/a/m", ""), ("c/a/requirements.txt", "-r ../../r/i0.txt\n"), ("c/b/m", "")]);
    let catalog = explored(vec![Derivation::RequirementsPath], &files);
    assert_eq!(of(&catalog, "a").len(), 501);
    assert_eq!(claims(&catalog, WHOLE).len(), 1);
    assert_eq!(catalog.dependencies().notes().len(), 1);
}

#[test]
fn a_tree_of_too_many_folders_is_built_from_as_a_whole() {
    let chain = "d/".repeat(900);
    let mut names: Vec<String> = (0..800).map(|n| format!("t{n}/{chain}f")).collect();
    names.extend(["c/a/m".to_owned(), "c/a/requirements.txt".to_owned()]);
    let files: Files<'_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let catalog = explored(vec![Derivation::RequirementsPath], &files);
    assert_eq!(claims(&catalog, WHOLE).len(), 1);
    assert!(!catalog.dependencies().notes().is_empty());
    // Nobody asks for folders: they cost nothing.
    let catalog = explored(Vec::new(), &files);
    assert!(claims(&catalog, WHOLE).is_empty());
}

/// The product of modules, roots and paths with the same content.
#[test]
fn what_a_small_repository_multiplies_is_cut() {
    let roots: Vec<String> = (0..60).map(|n| format!("r{n}")).collect();
    let modules = roots.iter().flat_map(|root| (0..60).map(move |n| format!("{root}/m{n}.py")));
    let mut names: Vec<String> = modules.collect();
    names.extend((0..4000).map(|n| format!("c/a{}/p{n}.py", n % 40)));
    names.extend((0..40).map(|n| format!("c/a{n}/m")));
    let text = repeated(60, |n| format!("import m{n}\n"));
    let files: Files<'_> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
    let catalog = explored(vec![Derivation::PythonImports { roots }], &files);
    assert!(catalog.dependencies().notes()[0].contains("too much to follow"));
    assert_eq!(claims(&catalog, WHOLE).len(), 40);
}
