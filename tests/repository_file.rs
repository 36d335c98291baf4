//! The repository file: what is read, what is refused, and how well the refusal helps.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "repository_file/depends.rs"]
mod depends;
#[path = "repository_file/layouts.rs"]
mod layouts;
#[path = "repository_file/matrix.rs"]
mod matrix;
#[path = "repository_file/mutations.rs"]
mod mutations;
#[path = "repository_file/property.rs"]
mod property;
#[path = "repository_file/refused.rs"]
mod refused;
#[path = "repository_file/schedules.rs"]
mod schedules;
#[path = "repository_file/schema.rs"]
mod schema;
#[path = "repository_file/services.rs"]
mod services;
#[path = "repository_file/uploads.rs"]
mod uploads;
#[path = "repository_file/yaml.rs"]
mod yaml;

use std::time::{Duration, Instant};

use checkvalve::config::repository::{FILE, Invalid, resolve};
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::catalog::Paths;
use checkvalve::domain::pipeline::Network;
use checkvalve::domain::rules::{Derivation, Preset, Reaches, RepoRules, Unclaimed};
use checkvalve::domain::scan::FailOn;
use proptest::prelude::*;

fn read(text: &str) -> Result<RepoRules, Invalid> {
    resolve(Some((FILE, text)), "at 1a2b3c", &Paths::default())
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// A file with one pipeline of these steps.
fn with_steps(steps: &str) -> String {
    format!("components: [{{ name: a, include: [a] }}]\npipelines:\n  - steps:\n{steps}")
}

#[test]
fn the_whole_of_a_file_is_read() {
    let rules = read(
        r#"
version: 1
preset: none
ignore: ["**/*.md", docs/**]
connectors:
  - kind: python
    match: "{name}/pyproject.toml"
    where: { name: ["source-*", "materialize-*"] }
    beside: [test.flow.yaml]
    unless: [Cargo.toml]
    root: "{name}"
    owns: ["tests/connectors/*/{name}/**", "docs/integrations/{name}.md"]
    exclude: [source-retired]
    depends: [pyproject-path, python-imports: [src/, .]]
    attributes: { file: metadata.yaml, language: "data.tags[language]", version: data.dockerImageTag }
components:
  - { name: dashboard, kind: web, include: ["dashboard/**"], exclude: ["dashboard/docs/**"] }
impact:
  - { paths: ["go.mod", "go.sum"], reaches: { kind: python } }
  - { paths: ["tests/{name}/**"], reaches: ["{name}"] }
  - { paths: "Makefile", reaches: all }
unclaimed: none
pipelines:
  - for: { kind: [python, web] }
    on: [pull_request]
    supersede: true
    steps:
      - id: install
        image: "python:3.11"
        run: ["pip install -e .", "pip check"]
        timeout: 90s
        retries: 2
        env: { LEVEL: 3, VERSION: 3.10, VERBOSE: true }
      - { id: unit, image: "python:3.11", run: pytest, needs: install, network: none,
          resources: { cpus: 1.5, memory: 512Mi }, reports: { junit: junit.xml }, artifacts: ["*.log"] }
      - { id: report, image: busybox, run: "true", needs: [unit], always: true, allow_failure: true, untrusted: true }
policy: { approve: write, detail: step }
"#,
    )
    .unwrap_or_else(|invalid| panic!("{invalid}"));

    assert_eq!((rules.preset, rules.unclaimed), (Preset::None, Unclaimed::None));
    assert_eq!(rules.origin, ".github/checkvalve.yml at 1a2b3c");
    assert_eq!((rules.ignore.len(), rules.connectors.len(), rules.components.len()), (2, 1, 1));
    assert_eq!(rules.impact[2].reaches, Reaches::All);
    assert_eq!(rules.components[0].kind.as_deref(), Some("web"));
    let roots = vec!["src".to_owned(), ".".to_owned()];
    let derivations = [Derivation::PyprojectPath, Derivation::PythonImports { roots }];
    assert_eq!(rules.connectors[0].depends, derivations);
    let steps = &rules.pipelines[0].steps;
    assert_eq!(steps[0].run, ["pip install -e .", "pip check"]);
    assert_eq!((steps[0].timeout(), steps[0].retries), (Duration::from_secs(90), 2));
    // As written: a version is no number.
    assert_eq!(steps[0].env["VERSION"], "3.10");
    assert_eq!((steps[0].env["LEVEL"].as_str(), steps[0].env["VERBOSE"].as_str()), ("3", "true"));
    assert_eq!(steps[1].needs[0].as_str(), "install");
    assert_eq!(steps[1].network, Network::None);
    assert_eq!(steps[1].resources.unwrap().memory, 512 << 20);
    assert_eq!(steps[1].junit.as_deref(), Some("junit.xml"));
    assert!(steps[2].always && steps[2].allow_failure && steps[2].untrusted);
    assert_eq!(steps[2].timeout(), Duration::from_mins(30));
    assert_eq!(steps[2].network, Network::Bridge);
    assert!(rules.notes.is_empty(), "{:?}", rules.notes);
}

#[test]
fn a_built_in_step_needs_neither_image_nor_commands() {
    let rules = read(&with_steps("      - { id: look, uses: qa, artifacts: \"*.json\" }\n"));
    let step = rules.unwrap().pipelines[0].steps[0].clone();
    assert_eq!(step.uses, Some(Builtin::Qa.into()));
    assert_eq!((step.image.as_str(), step.run.len()), ("", 0));
    assert_eq!(step.junit.as_deref(), Some("junit.xml"));
    assert_eq!(step.artifacts, ["*.json", "junit.xml"]);
    // The version is a part of the definition.
    let stored = serde_json::to_value(&step).unwrap();
    assert_eq!(stored["uses"], serde_json::json!({ "builtin": "qa", "version": 2 }));
}

#[test]
fn an_error_names_its_place_the_line_and_the_mend() {
    let text = refused("components: [{ name: a, include: [a] }]\npipelines:\n  - stpes: []\n");
    assert_eq!(
        text,
        ".github/checkvalve.yml:3:5: a pipeline has no key `stpes`\n \
         3 |   - stpes: []\n   |     ^\n did you mean `steps`?\n\n\
         .github/checkvalve.yml:3:5: the pipeline has no `steps`\n \
         3 |   - stpes: []\n   |     ^\n add `steps:` with a list of `{ id, image, run }`"
    );
}

#[test]
fn all_errors_of_a_file_are_found_at_once() {
    let text = with_steps(
        "      - { id: a, image: x, run: y, timeout: 10 }\n      - { id: b, run: y }\n      - { id: c, image: x, run: y, network: lan }\n",
    ) + "unclaimed: maybe\ncolour: red\n";
    let invalid = read(&text).unwrap_err();
    let lines: Vec<u32> = invalid.errors.iter().map(|wrong| wrong.place.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8], "{invalid}");
    assert!(invalid.title().contains("and 4 more"), "{}", invalid.title());
}

#[test]
fn a_step_says_which_of_its_results_are_used_again() {
    use checkvalve::domain::pipeline::CachePolicy::{All, Never, Success};
    for (text, expected) in [
        ("", Success),
        (", cache: success", Success),
        (", cache: true", Success),
        (", cache: all", All),
        (", cache: never", Never),
        (", cache: false", Never),
        (", cache: off", Never),
    ] {
        let text = with_steps(&format!("      - {{ id: a, image: x, run: y{text} }}\n"));
        let rules = read(&text).unwrap();
        assert_eq!(rules.pipelines[0].steps[0].cache, expected, "{text}");
        assert!(rules.notes.is_empty());
    }
}

#[test]
fn heirs_have_the_image_of_their_chain() {
    let text = "      - { id: c, from: b, run: y }\n      - { id: b, from: a, run: y }\n\
                \x20     - { id: a, image: x, run: y, isolate: true }\n";
    let rules = read(&with_steps(text)).unwrap();
    let steps = &rules.pipelines[0].steps;
    assert!(steps.iter().all(|step| step.image == "x"));
    assert_eq!(steps[0].from.as_ref().unwrap().as_str(), "b");
    assert!(steps[2].isolate && !steps[0].isolate);
}

#[test]
fn anchors_and_merge_keys_work() {
    let rules = read(
        "components: [{ name: a, include: [a] }]\npipelines:\n  - steps:\n    - &base { id: a, image: x, run: y, timeout: 5m }\n    - { <<: *base, id: b }\n",
    )
    .unwrap_or_else(|invalid| panic!("{invalid}"));
    let steps = &rules.pipelines[0].steps;
    assert_eq!((steps[1].id.as_str(), steps[1].image.as_str()), ("b", "x"));
    assert_eq!(steps[1].timeout(), Duration::from_mins(5));
}

#[test]
fn bombs_are_small() {
    use std::fmt::Write;
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        writeln!(laughs, "a{level}: &a{level} [{}]", before.trim_end_matches(", ")).unwrap();
    }
    let deep = "[".repeat(100_000);
    let long = format!("ignore: [{}]", "a,".repeat(600_000));
    let wide = format!("ignore: [{}]", "a,".repeat(200_000));
    let nested = format!("components:\n{}", "- ".repeat(50_000));
    for bomb in [laughs, deep, long, wide, nested] {
        let start = Instant::now();
        assert!(read(&bomb).is_err());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}

/// Pieces that files are made of, so that random ones get far.
const PIECES: &[&str] = &[
    "version: 1\n",
    "preset: airbyte\n",
    "connectors:\n",
    "  - match: \"{name}/x\"\n",
    "    root: ",
    "    owns: [\"a/{name}\"]\n",
    "components: [{ name: a, include: [a] }]\n",
    "impact:\n",
    "  - { paths: [a], reaches: all }\n",
    "pipelines:\n",
    "  - steps:\n",
    "      - id: a\n",
    "        image: x\n",
    "        run: c\n",
    "        timeout: ",
    "10m\n",
    "        needs: [a]\n",
    "        env: { A: 1 }\n",
    "&x ",
    "*x\n",
    "<<: *x\n",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "|\n",
    ">\n",
    "#",
    "\t",
    "\n",
    "é",
    "\u{0}",
    ": ",
    "!!int ",
    "1e999\n",
    "0x",
    "~\n",
    "---\n",
    "? ",
    "%",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_is_too_much(text in "\\PC{0,200}") {
        let _ = read(&text).map_err(|invalid| invalid.to_string());
    }

    #[test]
    fn no_file_is_too_much(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.concat();
        let found = read(&text);
        prop_assert!(found.is_ok() || !found.unwrap_err().errors.is_empty());
    }
}

#[test]
fn a_scan_and_a_report_are_read_with_what_they_imply() {
    let steps = "      - { id: report, uses: report }\n      - { id: build, uses: build }\n      \
                 - { id: scan, uses: scan, image: \"scanner:1\", run: scan, needs: build, fail: note }\n      \
                 - { id: other, uses: scan, image: s, run: t, needs: [build], reports: { sarif: \"a[1].sarif\" } }\n";
    let rules = read(&with_steps(steps)).unwrap();
    let [report, _, scan, other] = rules.pipelines[0].steps.as_slice() else { panic!() };
    assert!(report.always && report.junit.is_none());
    let needs: Vec<_> = report.needs.iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["build", "scan", "other"]);
    assert_eq!((scan.image.as_str(), scan.run[0].as_str()), ("scanner:1", "scan"));
    assert_eq!(scan.fail, FailOn::Note);
    assert_eq!(scan.sarif.as_deref(), Some("scan.sarif"));
    assert_eq!(scan.artifacts, ["scan.sarif", "junit.xml"]);
    assert_eq!(other.sarif.as_deref(), Some("a[1].sarif"));
    assert_eq!(other.fail, FailOn::Error);
}
