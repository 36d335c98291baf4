//! What strangers can send — payloads, comments, signatures — over a corpus and its mutations. The fuzz
//! targets of `fuzz/` ask the same of what a fuzzer finds; this is for every compiler, in every run.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "fuzzed/comment.rs"]
mod comment;
#[path = "fuzzed/signature.rs"]
mod signature;
#[path = "fuzzed/webhook_payload.rs"]
mod webhook_payload;

use std::path::Path;

use checkvalve::ambient;
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
    let Some(folder) = ambient::env("CHECKVALVE_GITHUB_CONTRACT") else {
        eprintln!("recorded payloads: not asked (CHECKVALVE_GITHUB_CONTRACT is not set)");
        return Vec::new();
    };
    let folder = Path::new(&folder).join("webhooks");
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
