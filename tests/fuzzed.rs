//! What strangers can send — payloads, comments, signatures — over a corpus and its mutations. The fuzz
//! targets of `fuzz/` ask the same of what a fuzzer finds; this is for every compiler, in every run.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "fuzzed/comment.rs"]
mod comment;
#[path = "support/given.rs"]
mod given;
#[path = "fuzzed/signature.rs"]
mod signature;
#[path = "fuzzed/webhook_payload.rs"]
mod webhook_payload;

use std::path::Path;

use given::given;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

/// Mutations of the corpus, for each target.
const MUTATIONS: u32 = 400;
/// Pieces that are laid into what is there.
const PIECES: &[&str] = &[
    "",
    "\0",
    "\n",
    "\r\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"action\":",
    "\"installation\":{\"id\":1},",
    "/test",
    "/retest a",
    "/cancel",
    "> ",
    "```",
    "~~~",
    "    ",
    "<!--",
    "-->",
    "<pre>",
    "- ",
    "1. ",
    "\u{2028}",
    "\u{feff}",
    "\u{202e}",
    "é",
    "sha256=",
    "sha1=",
    "0",
    "f",
    "F",
];

/// The seeds of a target: one file each.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzzed/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{target} has too few seeds");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Payloads that GitHub sent, where they are at hand.
fn recorded() -> Vec<Vec<u8>> {
    let Some(folder) = given("CHECKVALVE_GITHUB_CONTRACT", "webhooks/INDEX.json") else {
        return Vec::new();
    };
    let folder = folder.join("webhooks");
    let index = std::fs::read(folder.join("INDEX.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let examples = index["examples"].as_array().unwrap().iter();
    let payload = |example: &Value| {
        let mut bytes = example["event"].as_str().unwrap().as_bytes().to_vec();
        bytes.push(b'\n');
        bytes.extend(std::fs::read(folder.join(example["file"].as_str().unwrap())).unwrap());
        bytes
    };
    examples.map(payload).collect()
}

/// Asks of each, and of what becomes of them when pieces are cut out and laid in.
fn ask(corpus: &[Vec<u8>], mutations: u32, holds: fn(&[u8])) {
    for seed in corpus {
        holds(seed);
    }
    let edit = (any::<prop::sample::Index>(), 0_usize..12, 0..PIECES.len());
    let strategy = (0..corpus.len(), prop::collection::vec(edit, 1..6)).prop_map(|(nth, edits)| {
        let mut bytes = corpus[nth].clone();
        for (place, cut, piece) in edits {
            let at = place.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, PIECES[piece].bytes());
        }
        bytes
    });
    let config = Config { cases: mutations, failure_persistence: None, ..Config::default() };
    let asked = TestRunner::new(config).run(&strategy, |bytes| {
        holds(&bytes);
        Ok(())
    });
    asked.unwrap();
}

#[test]
fn no_payload_is_understood_as_what_it_is_not() {
    let mut corpus = seeds("webhook_payload");
    corpus.extend(recorded());
    ask(&corpus, MUTATIONS, webhook_payload::holds);
}

#[test]
fn no_comment_is_obeyed_that_is_no_command() {
    ask(&seeds("comment"), 4 * MUTATIONS, comment::holds);
}

#[test]
fn no_signature_is_taken_that_is_not_githubs() {
    ask(&seeds("signature"), MUTATIONS, signature::holds);
}

/// A fuzzer's compiler is not every compiler: what its targets are made of is compiled and asked here.
#[test]
fn every_fuzz_target_is_a_property_that_is_compiled_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let manifest: toml::Table = read("fuzz/Cargo.toml").parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter();
    let mut bins: Vec<&str> = bins.map(|bin| bin["path"].as_str().unwrap()).collect();
    bins.sort_unstable();
    let files = std::fs::read_dir(root.join("fuzz/fuzz_targets")).unwrap();
    let mut files: Vec<String> =
        files.map(|file| format!("fuzz_targets/{}", file.unwrap().file_name().display())).collect();
    files.sort();
    assert_eq!(files, bins);
    let tests = [read("tests/fuzzed.rs"), read("tests/repository_file.rs")].concat();
    for file in files {
        let text = read(&format!("fuzz/{file}"));
        let (_, code) = text.split_once("#![no_main]\n\n").unwrap();
        let (_, rest) = code.split_once("#[path = \"../../tests/").unwrap();
        let (property, _) = rest.split_once('"').unwrap();
        let same = format!(
            "use libfuzzer_sys::fuzz_target;\n\n#[path = \"../../tests/{property}\"]\nmod property;\n\n\
             fuzz_target!(|bytes: &[u8]| property::holds(bytes));\n"
        );
        assert_eq!(code, same, "{file} does more than ask its property");
        assert!(tests.contains(&format!("#[path = \"{property}\"]")), "{property} is not compiled");
        let uses = read(&format!("tests/{property}"));
        let uses = uses.lines().filter_map(|line| line.strip_prefix("use ")?.split("::").next());
        for krate in uses.filter(|krate| !["std", "super", "crate", "core"].contains(krate)) {
            let name = krate.replace('_', "-");
            let is_there = manifest["dependencies"].get(krate).is_some()
                || manifest["dependencies"].get(&name).is_some();
            assert!(is_there, "{property} uses {krate}, which fuzz/Cargo.toml does not have");
        }
    }
}
