//! Valid files, changed at random: by bytes, and by what files are made of.

use proptest::prelude::*;

use super::property;

const SEEDS: &[&str] = &[
    include_str!("../../examples/connectors/.github/checkvalve.yml"),
    include_str!("../../src/config/repository/presets/airbyte.yml"),
    include_str!("../../src/config/repository/presets/estuary.yml"),
    include_str!("../../src/config/repository/presets/tinybird.yml"),
    include_str!("../../src/config/repository/presets/airflow.yml"),
    "preset: airflow\nignore: \"*.md\"\npipelines:\n- for: {kind: dags}\n  steps:\n  - &s\n    \
     id: a\n    image: x\n    run: |\n      set -e\n        indented\n\n      end\n    \
     env: {A: 3.10, B: true, C: 'it''s', D: \"\\t\\e[0m \\u2028é\"}\n  - {<<: *s, id: b, needs: a}\n",
    "preset: airflow\nschedules:\n- {cron: 0 2 * * mon-fri, select: {kind: dags}}\npipelines:\n- on: \
     [push, schedule]\n  steps: [{id: a, image: x, run: y}]\n",
];

/// What replaces a token.
const WORDS: &[&str] = &[
    "",
    "~",
    "true",
    "off",
    "3.10",
    "-1",
    "1e999",
    "\"\\u0000\"",
    "\"\\U0001F600 \\x85\"",
    "'#'",
    "#",
    "&a",
    "*a",
    "<<",
    "!!int",
    "|",
    ">-",
    "[",
    "]",
    "{",
    "}",
    "{name}",
    "**",
    "{a,b}",
    "\\",
    "---",
    "\t",
    "\r",
    "\u{feff}",
    "é",
    "all",
    "none",
    "preset",
    "connectors",
    "depends",
    "python-imports",
    "run",
];

#[derive(Debug, Clone)]
enum Mutation {
    Byte { at: usize, to: u8 },
    Cut { at: usize, len: usize },
    Copy { from: usize, len: usize, to: usize },
    Word { at: usize, to: &'static str },
    SwapLines { one: usize, other: usize },
    Indent { line: usize, by: usize },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || any::<usize>();
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, to)| Mutation::Byte { at, to }),
        (at(), 1..40_usize).prop_map(|(at, len)| Mutation::Cut { at, len }),
        (at(), 1..80_usize, at()).prop_map(|(from, len, to)| Mutation::Copy { from, len, to }),
        (at(), prop::sample::select(WORDS)).prop_map(|(at, to)| Mutation::Word { at, to }),
        (at(), at()).prop_map(|(one, other)| Mutation::SwapLines { one, other }),
        (at(), 0..5_usize).prop_map(|(line, by)| Mutation::Indent { line, by }),
    ]
}

fn apply(mutation: &Mutation, text: &mut Vec<u8>) {
    let end = text.len() + 1;
    match *mutation {
        Mutation::Byte { at, to } => {
            let len = text.len();
            if let Some(byte) = text.get_mut(at % len.max(1)) {
                *byte = to;
            }
        }
        Mutation::Cut { at, len } => {
            let at = at % end;
            drop(text.drain(at..(at + len).min(text.len())));
        }
        Mutation::Copy { from, len, to } => {
            let from = from % end;
            let piece = text[from..(from + len).min(text.len())].to_vec();
            let to = to % end;
            text.splice(to..to, piece);
        }
        Mutation::Word { at, to } => {
            let word =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let at = at % end;
            let start = text[..at].iter().rposition(|byte| !word(*byte)).map_or(0, |at| at + 1);
            let stop =
                text[at..].iter().position(|byte| !word(*byte)).map_or(text.len(), |n| at + n);
            text.splice(start..stop, to.bytes());
        }
        Mutation::SwapLines { one, other } => lines(text, |lines| {
            let (one, other) = (one % lines.len(), other % lines.len());
            lines.swap(one, other);
        }),
        Mutation::Indent { line, by } => lines(text, |lines| {
            let line = line % lines.len();
            let rest = lines[line].trim_ascii_start().to_vec();
            lines[line] = [" ".repeat(by).into_bytes(), rest].concat();
        }),
    }
}

fn lines(text: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    change(&mut lines);
    *text = lines.join(&b'\n');
}

#[test]
fn seeds_are_valid() {
    for seed in SEEDS {
        assert!(super::read(seed).is_ok(), "{}", super::read(seed).unwrap_err());
        property::holds(seed.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_file_is_read_or_refused_within(
        seed in prop::sample::select(SEEDS),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut text = seed.as_bytes().to_vec();
        for mutation in &mutations {
            apply(mutation, &mut text);
        }
        property::holds(&text);
    }

    /// Texts of every kind survive being shown.
    #[test]
    fn what_is_shown_reads_back(script in "\\PC{0,20}(\n ?[ -~\t]{0,12}|\r|\u{85}|\u{2028}){0,5}\n?", value in any::<String>()) {
        let step = serde_json::json!({ "id": "a", "image": "x", "run": script, "env": { "A": value } });
        let file = serde_json::json!({
            "components": [{ "name": "a", "include": ["a"] }],
            "pipelines": [{ "steps": [step] }],
        });
        property::holds(file.to_string().as_bytes());
    }
}
