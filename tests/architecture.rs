//! Who may import whom is a table, and this test enforces it; no import cycles between rooms.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("ambient", &["domain"]),
    ("domain", &[]),
    ("render", &["domain"]),
    ("config", &["domain"]),
    ("store", &["domain", "ambient"]),
    ("blobs", &["domain", "ambient"]),
    ("github", &["domain", "ambient"]),
    ("git", &["domain", "ambient"]),
    ("exec", &["domain", "ambient"]),
    ("secrets", &["domain", "ambient"]),
    ("engine", &["domain", "ambient", "exec"]),
    (
        "service",
        &[
            "domain", "render", "config", "store", "blobs", "github", "git", "exec", "secrets",
            "engine", "ambient",
        ],
    ),
    // Of `secrets` the seal alone: see the test below.
    ("web", &["domain", "render", "store", "blobs", "github", "secrets", "ambient"]),
    (
        "cli",
        &[
            "domain", "render", "config", "store", "blobs", "github", "git", "exec", "secrets",
            "engine", "service", "web", "ambient",
        ],
    ),
];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The text without `#[cfg(test)]` modules (which stand at the end of a file) and comments.
fn production(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The rooms named by `crate::room`, also inside `use crate::{a::…, b::…}`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            rooms.extend(group_heads(group));
        } else {
            rooms.insert(word(rest));
        }
    }
    rooms.remove("");
    rooms
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first words of a `{…}` group's items.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut item = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(word(std::mem::take(&mut item).trim())),
            _ => item.push(c),
        }
    }
    heads.push(word(item.trim()));
    heads
}

fn rooms() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let mut parts = inside.components();
        let first = parts.next().unwrap().as_os_str().to_string_lossy().into_owned();
        if parts.next().is_none() || first == "bin" {
            continue; // lib.rs and the programs' main files
        }
        let text = production(&fs::read_to_string(&file).unwrap());
        let mut named = imports(&text);
        named.remove(&first);
        found.entry(first).or_default().extend(named);
    }
    found
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    for (room, imported) in rooms() {
        let allowed =
            table.get(room.as_str()).unwrap_or_else(|| panic!("`{room}` is not in the table"));
        for other in imported {
            assert!(allowed.contains(&other.as_str()), "`{room}` imports `{other}`: not allowed");
        }
    }
}

#[test]
fn the_table_has_no_cycles() {
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        MAY_IMPORT.iter().map(|(room, others)| (*room, others.iter().copied().collect())).collect();
    while !left.is_empty() {
        let known: BTreeSet<&str> = left.keys().copied().collect();
        let free: Vec<&str> =
            left.iter().filter(|(_, o)| o.is_disjoint(&known)).map(|(room, _)| *room).collect();
        assert!(!free.is_empty(), "a cycle among {known:?}");
        left.retain(|room, _| !free.contains(room));
    }
}

#[test]
fn only_the_github_room_uses_octocrab_and_only_the_demo_the_simulator() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&src) {
        let text = production(&fs::read_to_string(&file).unwrap());
        let inside = file.strip_prefix(&src).unwrap();
        let shown = inside.display();
        if !inside.starts_with("github") {
            assert!(!text.contains("octocrab"), "{shown} uses octocrab");
        }
        if inside != Path::new("cli/demo.rs") {
            assert!(!text.contains("github_simulator"), "{shown} uses the simulator");
        }
        if !inside.starts_with("store") {
            assert!(!text.contains("sqlx::"), "{shown} uses the database directly");
        }
        if !inside.starts_with("exec") {
            assert!(!text.contains("bollard::"), "{shown} uses the engine's API directly");
        }
        if !inside.starts_with("blobs") {
            assert!(!text.contains("aws_sdk_s3"), "{shown} uses S3 directly");
        }
        if inside.starts_with("web") {
            let secrets = text.matches("secrets::").count();
            assert_eq!(secrets, text.matches("secrets::seal::").count(), "{shown} reads secrets");
        }
    }
}

#[test]
fn no_production_code_is_different_under_test() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&src) {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("#[cfg(test)]") {
            let rest = text[at..].lines().nth(1).unwrap_or_default();
            let begins = ["mod ", "pub(super) mod ", "#[expect"];
            let a_module = begins.iter().any(|begin| rest.trim_start().starts_with(begin));
            assert!(a_module, "{}: `cfg(test)` outside a test module", file.display());
        }
    }
}

#[test]
fn what_is_shipped_can_not_be_told_to_die() {
    const VARIABLE: &str = "CHECKVALVE_FAILPOINT";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let armed = Path::new("src/ambient/failpoint/armed.rs");
    assert!(fs::read_to_string(root.join(armed)).unwrap().contains(VARIABLE));
    for file in rust_files(&root.join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let inside = file.strip_prefix(root).unwrap();
        assert!(inside == armed || !text.contains(VARIABLE), "{} reads it", inside.display());
        let lines: Vec<&str> = text.lines().collect();
        for (nth, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("armed")) {
            let names_it = ["mod armed", "self::armed"].iter().any(|name| line.contains(name));
            let is_debug = nth > 0 && lines[nth - 1] == "#[cfg(debug_assertions)]";
            assert!(!names_it || is_debug, "{}, line {}", inside.display(), nth + 1);
        }
    }
    // No profile turns them on; and it is nobody's to set.
    assert!(!fs::read_to_string(root.join("Cargo.toml")).unwrap().contains("debug-assertions"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|page| page.unwrap().path());
    for page in pages.chain([root.join("README.md")]).filter(|page| page.is_file()) {
        assert!(!fs::read_to_string(&page).unwrap().contains(VARIABLE), "{}", page.display());
    }
}

#[test]
fn the_reader_of_this_test_finds_what_it_forbids() {
    assert_eq!(
        imports("use crate::{a::b, c}; crate::d::e()"),
        ["a", "c", "d"].map(String::from).into()
    );
    assert!(imports("use super::x;").is_empty());
}
