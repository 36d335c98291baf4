//! Wrong files, each with its mend.

use super::{refused, with_steps};

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
