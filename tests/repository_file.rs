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
fn bad_files_are_refused_with_a_mend() {
    let step = "      - { id: a, image: x, run: y }\n";
    for (text, expected) in [
        // YAML itself.
        ("a: [1, 2".to_owned(), ":1:"),
        ("\tversion: 1".to_owned(), "checkvalve.yml:"),
        (String::new(), "wants a mapping"),
        ("- a\n- b".to_owned(), "wants a mapping"),
        ("version: 1\n---\nversion: 1\n".to_owned(), "checkvalve.yml:"),
        // Keys.
        ("version: 2".to_owned(), "`version: 1`"),
        ("ignore: []\nignore: []".to_owned(), "`ignore` stands twice in the file\n"),
        ("ignore: []\nignore: []".to_owned(), "the first is on line 1"),
        ("conectors: []".to_owned(), "did you mean `connectors`?"),
        ("version: 1".to_owned(), "the file says nothing of connectors"),
        ("preset: none".to_owned(), "the file says nothing of connectors"),
        ("preset: airbite".to_owned(), "did you mean `airbyte`?"),
        ("preset: snowflake".to_owned(), "airbyte, estuary, tinybird, airflow, none"),
        ("secrets: [a]".to_owned(), "a mapping from names to where they come from"),
        ("secrets: { a/b: { from: gsm } }".to_owned(), "it becomes a file's name"),
        ("secrets: { a: { as: env } }".to_owned(), "the secret `a` has no `from`"),
        ("secrets: { a: { from: gms } }".to_owned(), "did you mean `gsm`?"),
        ("secrets: { a: { from: gsm, as: fil } }".to_owned(), "did you mean `file`?"),
        ("secrets: { a: { from: gsm, variable: B } }".to_owned(), "only `from: env` reads one"),
        ("secrets: { a: { from: env, file: b } }".to_owned(), "it is read from a variable"),
        ("secrets: { a: { from: env, variable: PATH } }".to_owned(), "begin `CHECKVALVE_SECRET_`"),
        ("secrets: { a: { from: sops } }".to_owned(), "the secret `a` names no `file`"),
        ("secrets: { a: { from: sops, file: ../b } }".to_owned(), "below the connector's root"),
        ("secrets: { a: { from: local, file: b/c } }".to_owned(), "a file's name without folders"),
        ("secrets: { path: { from: gsm, as: env } }".to_owned(), "`PATH`, which is taken"),
        (
            "secrets: { a-b: { from: gsm }, a_b: { from: gsm } }".to_owned(),
            "`a_b` stands twice in `secrets`",
        ),
        ("images: [a]".to_owned(), "a mapping from images to those in their place"),
        ("images: { x: \"b c\" }".to_owned(), "`b c` is not an image's name"),
        ("images: { -x: y }".to_owned(), "`-x` is not an image's name"),
        ("images: { x: 1 }".to_owned(), "`images.x` wants a text"),
        ("images: { x: \"sha256:0\" }".to_owned(), "may be the begin of any image's id"),
        ("policy: { approve: read }".to_owned(), "it is one of: write, maintain, admin"),
        ("policy: { bots: [\"a bot\"] }".to_owned(), "`a bot` is no bot's login"),
        ("policy: { detail: steps }".to_owned(), "did you mean `step`?"),
        // Connectors.
        ("connectors: [{ kind: a }]".to_owned(), "has no `match`"),
        ("connectors: [{ match: \"/x/{name}\" }]".to_owned(), "without the leading `/`"),
        (
            "connectors: [{ match: \"{name}/x\", owns: [\"docs/{nam}.md\"] }]".to_owned(),
            "did you mean `{name}`?",
        ),
        (
            "connectors: [{ match: \"{name}/x\", where: { nmae: [a] } }]".to_owned(),
            "did you mean `{name}`?",
        ),
        (
            "connectors: [{ match: \"{name}/x\", root: \"{name}/*\" }]".to_owned(),
            "one folder or file",
        ),
        ("connectors: [{ match: \"{name}/x\", conventions: airbite }]".to_owned(), "`airbyte`?"),
        (
            "connectors: [{ match: \"{name}/*.x\", attributes: { language: a } }]".to_owned(),
            "add `file:",
        ),
        (
            "connectors: [{ match: \"{name}/x\", attributes: { language: \"a..b\" } }]".to_owned(),
            "dots between",
        ),
        ("components: [{ include: [a] }]".to_owned(), "has no `name`"),
        ("components: [{ name: a/b, include: [a] }]".to_owned(), "`/`"),
        ("components: [{ name: a }]".to_owned(), "includes nothing"),
        (
            "components: [{ name: a, include: [a] }, { name: A, include: [b] }]".to_owned(),
            "two components",
        ),
        // Impact.
        ("impact: [{ paths: [a] }]".to_owned(), "what it reaches"),
        ("impact: [{ reaches: all }]".to_owned(), "has no `paths`"),
        ("impact: [{ paths: [a], reaches: [\"{name}\"] }]".to_owned(), "`{name}`"),
        (
            "components: [{ name: a, include: [a], kind: go }]\nimpact: [{ paths: [a], reaches: { kind: gone } }]".to_owned(),
            "no connector rule makes the kind `gone`",
        ),
        // Pipelines.
        ("pipelines: [{ steps: [] }]".to_owned(), "has no steps"),
        ("pipelines: [{ lock: \"\", steps: [] }]".to_owned(), "`lock` is empty"),
        (format!("pipelines: [{{ lock: {}, steps: [] }}]", "a".repeat(201)), "at most 200 bytes"),
        (
            "connectors: [{ match: \"{name}/x\" }]\npipelines: [{ lock: \"a-{nmae}\", steps: [] }]"
                .to_owned(),
            "did you mean `{name}`?",
        ),
        ("pipelines: [{ on: [pull_requests] }]".to_owned(), "did you mean `pull_request`?"),
        ("pipelines: [{ supersede: no }]".to_owned(), "`true` or `false`"),
        ("pipelines: [{ merge: maybe }]".to_owned(), "`true` or `false`"),
        (with_steps("      - { image: x, run: y }\n"), "no `id`"),
        (with_steps("      - { id: a/b, image: x, run: y }\n"), "`/`"),
        (with_steps("      - { id: a, run: y }\n"), "step `a` has no `image`"),
        (with_steps("      - { id: a, image: 3.11, run: y }\n"), "put it in quotes"),
        (with_steps("      - { id: a, image: \"x y\", run: y }\n"), "not an image's name"),
        (with_steps("      - { id: a, image: beef, run: y }\n"), "`beef` may be the begin of any"),
        (
            with_steps("      - { id: a, image: \"docker.io/checkvalve/1:job\", run: y }\n"),
            "is an image that another job made",
        ),
        (with_steps("      - { id: a, image: x }\n"), "nothing to `run`"),
        (with_steps("      - { id: a, image: x, run: [] }\n"), "nothing to `run`"),
        (with_steps("      - { id: a, image: x, run: y, needs: [b] }\n"), "which does not exist"),
        (
            with_steps(
                "      - { id: unit, image: x, run: y }\n      - { id: b, image: x, run: y, needs: unti }\n",
            ),
            "did you mean `unit`?",
        ),
        (
            with_steps(
                "      - { id: a, image: x, run: y, needs: [b] }\n      - { id: b, image: x, run: y, needs: [a] }\n",
            ),
            "`a` → `b` → `a`",
        ),
        (with_steps("      - { id: a, image: x, run: y, needs: [a] }\n"), "`a` → `a`"),
        (with_steps(&step.repeat(2)), "two steps are called `a`"),
        (with_steps("      - { id: a, image: x, run: y, timeout: 10 }\n"), "`10s`, `10m` or `10h`"),
        (with_steps("      - { id: a, image: x, run: y, timeout: 0s }\n"), "above 0"),
        (
            with_steps("      - { id: a, image: x, run: y, timeout: 99999999999999999999h }\n"),
            "at most 7",
        ),
        (with_steps("      - { id: a, image: x, run: y, retries: -1 }\n"), "between 0 and 10"),
        (with_steps("      - { id: a, image: x, run: y, retries: many }\n"), "a whole number"),
        (with_steps("      - { id: a, image: x, run: y, always: yes }\n"), "`true` or `false`"),
        (with_steps("      - { id: a, image: x, run: y, resources: { cpus: 2 } }\n"), "give both"),
        (
            with_steps(
                "      - { id: a, image: x, run: y, resources: { cpus: 0, memory: 1Gi } }\n",
            ),
            "above 0",
        ),
        (
            with_steps(
                "      - { id: a, image: x, run: y, resources: { cpus: 1, memory: lots } }\n",
            ),
            "`512Mi`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, env: { 1A: b } }\n"),
            "not beginning with a digit",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, env: { CHECKVALVE_OUT: b } }\n"),
            "reserved",
        ),
        (with_steps("      - { id: a, image: x, run: y, env: { A: [b] } }\n"), "wants a text"),
        (with_steps("      - { id: a, image: x, run: y, env: { A: }}\n"), "has nothing"),
        (
            with_steps("      - { id: a, image: x, run: y, reports: { sarif: /x } }\n"),
            "`sarif` can't be `/x`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, reports: { coverage: ../x } }\n"),
            "`coverage` can't be `../x`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, reports: { coverag: x } }\n"),
            "did you mean `coverage`?",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, reports: { junit: /x } }\n"),
            "under `$CHECKVALVE_OUT`",
        ),
        (with_steps("      - { id: a, image: x, run: y, when: {} }\n"), "`when` says nothing"),
        (with_steps("      - { id: a, image: x, run: y, when: { files: [] } }\n"), "says nothing"),
        (with_steps("      - { id: a, image: x, run: y, when: { file: b } }\n"), "mean `files`?"),
        (
            with_steps("      - { id: a, image: x, run: y, when: { attributes: { kind: [] } } }\n"),
            "has no values",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, when: { attributes: { kind: q } } }\n"),
            "no connector rule makes the kind `q`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, when: { attributes: [kind] } }\n"),
            "a mapping from attributes to values",
        ),
        (with_steps("      - { id: a, uses: scan, run: y }\n"), "step `a` has no `image`"),
        (with_steps("      - { id: a, uses: scan, image: x }\n"), "step `a` has nothing to `run`"),
        (
            with_steps("      - { id: a, uses: scan, image: x, run: y }\n"),
            "step `a` comes after no step that builds an image",
        ),
        (
            with_steps("      - { id: a, uses: scan, image: x, run: y, fail: grave }\n"),
            "`fail` can't be `grave`",
        ),
        (
            with_steps("      - { id: a, uses: scan, image: x, run: y, reports: { junit: z } }\n"),
            "`junit` says nothing to a scan",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, fail: error }\n"),
            "`fail` says nothing to step `a`, which is no `uses: scan`",
        ),
        (
            with_steps("      - { id: a, uses: upload-secrets }\n"),
            "step `a` names no secrets to write back",
        ),
        (
            with_steps("      - { id: a, uses: upload-secrets, secrets: b }\n")
                + "secrets: { b: { from: gsm } }\n",
            "no `acceptance` step has the secret `b`",
        ),
        (
            with_steps("      - { id: a, uses: upload-secrets, secrets: b }\n")
                + "secrets: { b: { from: env } }\n",
            "the secret `b` is `from: env`, which is never written to",
        ),
        (
            with_steps("      - { id: a, uses: upload-secrets, secrets: b }\n")
                + "secrets: { b: { from: sops, file: c.yaml } }\n",
            "`from: gsm`; under `checkvalve test` also `local`",
        ),
        (
            with_steps("      - { id: a, uses: upload-secrets, secrets: b, always: true }\n"),
            "`always` says nothing to a built-in step",
        ),
        (
            with_steps("      - { id: a, uses: report }\n      - { id: b, uses: report }\n"),
            ":5:9: `b` is a second report\n",
        ),
        (
            with_steps("      - { id: a, uses: report }\n      - { id: b, uses: qa, needs: a }\n"),
            ":5:9: step `b` needs `a`, a report, which comes last",
        ),
        (
            with_steps("      - { id: b, uses: qa }\n      - { id: a, uses: report, needs: b }\n"),
            "`needs` says nothing to a built-in step, and step `a` is one",
        ),
        (with_steps("      - { id: a, uses: report, always: true }\n"), "`always` says nothing"),
        (with_steps("      - { id: a, uses: qaa }\n"), "did you mean `qa`?"),
        (
            with_steps("      - { id: a, uses: acceptance }\n"),
            "step `a` comes after no step that builds an image",
        ),
        (
            with_steps(
                "      - { id: b, uses: build }\n      - { id: c, uses: build, needs: b }\n      \
                 - { id: a, uses: acceptance, needs: c }\n",
            ),
            ":6:9: step `a` comes after more than one step that builds an image",
        ),
        (
            with_steps("      - { id: a, uses: qa, image: x }\n"),
            "`image` says nothing to a built-in step, and step `a` is one",
        ),
        (with_steps("      - { id: a, uses: qa, env: { B: c } }\n"), "`env` says nothing"),
        (
            with_steps(
                "      - { id: a, uses: build }\n      - { id: b, image: x, run: y, from: a }\n",
            ),
            "step `b` inherits from `a`, a built-in step, which leaves no file system",
        ),
        (
            with_steps("      - { id: a, run: y, from: unti }\n      - { id: unit, image: x, run: y }\n"),
            "step `a` inherits from `unti`, which does not exist",
        ),
        (
            with_steps("      - { id: a, image: x, run: y }\n      - { id: b, image: z, from: a, run: y }\n"),
            "step `b` names the image `z`, and inherits from `a`, which has `x`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y }\n      - { id: b, from: a, run: y, always: true }\n"),
            "step `b` is to run always, and inherits from `a`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y }\n      - { id: b, from: a, run: y, untrusted: true }\n"),
            "step `b` is `untrusted`, and inherits from `a`, which is not",
        ),
        (
            with_steps("      - { id: a, from: b, run: y }\n      - { id: b, from: a, run: y }\n"),
            "steps need each other in a circle",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, secrets: [b] }\n"),
            "declare it at the top: `secrets: { b: { from: gsm } }`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, secrets: [bee] }\n")
                + "\nsecrets: { be: { from: gsm } }\n",
            "did you mean `be`?",
        ),
        (
            with_steps("      - { id: a, uses: build, untrusted: true }\n"),
            "`uses: build` can't be `untrusted`: images are not built of strangers' code",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, secrets: b, untrusted: true }\n"),
            "a step with `secrets` can't be `untrusted`",
        ),
        (
            with_steps("      - { id: a, image: x, run: y, secrets: b, env: { B: c } }\n")
                + "\nsecrets: { b: { from: env, as: env } }\n",
            "the secret `b` and `env` both give `B`",
        ),
        (
            with_steps(
                "      - { id: a, image: x, run: y, secrets: b }\n      - { id: c, from: a, run: z }\n",
            ),
            "step `c` is `from` step `a`, which has secrets and may have left some behind",
        ),
        (with_steps("      - { id: a, image: x, run: y, matrix: [b] }\n"), "from variables to lists"),
        (
            with_steps("      - { id: a, image: x, run: y, cache: sometimes }\n"),
            "one of: success, all, never",
        ),
        (with_steps("      - { id: a, image: x, run: y, needz: [b] }\n"), "did you mean `needs`?"),
        (with_steps("      - just a text\n"), "a step wants a mapping"),
    ] {
        let message = refused(&text);
        assert!(
            message.contains(expected),
            "{text}\n--- gave ---\n{message}\n--- not ---\n{expected}"
        );
    }
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
