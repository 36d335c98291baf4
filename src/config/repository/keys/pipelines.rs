//! The keys that say what runs.

use super::selection::SELECTOR;
use super::services::{COMPOSE, SERVICE};
use super::{Key, Shape, Takes};

const TRIGGERS: &[&str] = &["pull_request", "merge_group", "push", "schedule"];
/// What `uses` takes; see [`Builtin`](crate::domain::builtin::Builtin).
const BUILTINS: &[&str] = &["qa", "build", "acceptance", "scan", "upload-secrets", "report"];
/// What `fail` takes; see [`FailOn`](crate::domain::scan::FailOn).
const GRAVITIES: &[&str] = &["error", "warning", "note", "never"];
const NETWORKS: &[&str] = &["none", "bridge"];
pub(in super::super) const CACHES: &[&str] = &["success", "all", "never", "off", "false"];
const PERMISSIONS: &[&str] = &["write", "maintain", "admin"];
const DETAILS: &[&str] = &["step", "connector", "summary"];

pub(in super::super) static PIPELINE: Shape = Shape {
    what: "a pipeline",
    id: "pipeline",
    about: "What runs for the connectors that `for` selects.",
    keys: &[
        Key::new("for", Takes::One(&SELECTOR), "Which connectors it is for; without it, all."),
        Key::new(
            "on",
            Takes::Words(TRIGGERS),
            "The events that it runs for. `push` is one to the default branch, `schedule` an entry of \
             `schedules`; neither shows anything on pull requests.",
        )
            .default("[\"pull_request\", \"merge_group\"]"),
        Key::new(
            "supersede",
            Takes::Flag,
            "A new head of the pull request ends what waits or runs for the old one.",
        )
        .default("true"),
        Key::new(
            "lock",
            Takes::Text,
            "Jobs with the same lock never run at once, in any pull request; `{name}` and other \
             variables of the connector may stand in it.",
        )
        .examples(&["\"live-{name}\""]),
        Key::new(
            "merge",
            Takes::Flag,
            "Tests the merge of the head with its base, not the head as it was pushed.",
        )
        .default("false"),
        Key::new("steps", Takes::Many(&STEP), "What runs, at most 100 steps.")
            .required()
            .examples(&["[{\"id\": \"unit\", \"image\": \"python:3.11\", \"run\": \"pytest\"}]"]),
    ],
    not_yet: &[],
};

pub(in super::super) static STEP: Shape = Shape {
    what: "a step",
    id: "step",
    about: "One container that does one thing; its check run is `<connector> / <id>`.",
    keys: &[
        Key::new("id", Takes::Name, "Names the check run `<connector> / <id>`.")
            .required()
            .examples(&["\"unit\""]),
        Key::new("uses", Takes::Word(BUILTINS), "A built-in step, instead of `image` and `run`.")
            .examples(&["\"qa\""]),
        Key::new(
            "image",
            Takes::Text,
            "The container's image; a step that inherits (`from`) has its parent's.",
        )
        .examples(&["\"python:3.11\""]),
        Key::new(
            "run",
            Takes::Texts,
            "A command for `sh -e -c`, or a list of them, run in order in the connector's root.",
        )
        .examples(&["\"python -m pytest\"", "[\"ruff check\", \"ruff format --check\"]"]),
        Key::new("needs", Takes::Texts, "Steps that must succeed first.").default("[]"),
        Key::new(
            "matrix",
            Takes::Matrix,
            "Variables with values: one instance of the step for each combination, `unit (3.11)`, \
             at most 50. The image has them as `{python}`, the commands as `$MATRIX_PYTHON`.",
        )
        .examples(&["{\"python\": [\"3.10\", \"3.11\"]}"]),
        Key::new(
            "from",
            Takes::Name,
            "A step whose file system it inherits: what that left is there, and changes stay its own.",
        ),
        Key::new(
            "when",
            Takes::One(&WHEN),
            "Of which connectors it is of use; for others it is left out, and what needs it runs.",
        ),
        Key::new("always", Takes::Flag, "Runs once its needs are settled, however they ended.")
            .default("false"),
        Key::new(
            "env",
            Takes::Environment,
            "Names and values; numbers are taken as they are written. `CHECKVALVE_…` is reserved.",
        )
        .default("{}")
        .examples(&["{\"LOG_LEVEL\": \"debug\"}"]),
        Key::new(
            "secrets",
            Takes::Texts,
            "Names of the file's `secrets`; the step finds each as a file of \
             `$CHECKVALVE_SECRETS`, or as a variable. `uses: upload-secrets` writes back those that \
             the connector updated.",
        )
        .default("[]"),
        Key::new(
            "services",
            Takes::ManyOr(&SERVICE, &COMPOSE),
            "What runs beside it, in containers that it reaches by name: a list, or a compose file.",
        )
        .default("[]")
        .examples(&[
            "[{\"alias\": \"db\", \"image\": \"postgres:16\", \"ready\": {\"port\": 5432}}]",
            "{\"compose\": \"docker-compose.yml\"}",
        ]),
        Key::new("timeout", Takes::Duration, "How long it may take, at most 7 days.")
            .default("\"30m\"")
            .examples(&["\"90s\"", "\"10m\"", "\"2h\""]),
        Key::new("retries", Takes::Count(10), "Further tries of a failed step.").default("0"),
        Key::new("network", Takes::Word(NETWORKS), "What it can reach.").default("\"bridge\""),
        Key::new("resources", Takes::One(&RESOURCES), "What it gets; without it, the worker's."),
        Key::new("inputs", Takes::Patterns, "Further files that the step needs.")
            .default("[]")
            .examples(&["[\"tools/**\"]"]),
        Key::new("artifacts", Takes::Patterns, "What is kept, under `$CHECKVALVE_OUT`.")
            .default("[]")
            .examples(&["[\"*.log\"]"]),
        Key::new("reports", Takes::One(&REPORTS), "Files under `$CHECKVALVE_OUT` that are read."),
        Key::new("fail", Takes::Word(GRAVITIES), "`uses: scan`: the least grave finding that fails it.")
            .default("\"error\""),
        Key::new("allow_failure", Takes::Flag, "A failure is shown and does not count.")
            .default("false"),
        Key::new("untrusted", Takes::Flag, "May run before a foreign change is approved.")
            .default("false"),
        Key::new(
            "cache",
            Takes::Cache,
            "Which results later runs use again: successes, failures too (`all`), or none (`never`).",
        )
        .default("\"success\""),
        Key::new(
            "isolate",
            Takes::Flag,
            "Never shares a running container with the steps before and after it.",
        )
        .default("false"),
    ],
    not_yet: &[
    ],
};

pub(in super::super) static WHEN: Shape = Shape {
    what: "`when`",
    id: "when",
    about: "What must hold of a connector: all of what is given.",
    keys: &[
        Key::new(
            "files",
            Takes::Patterns,
            "Below its root; one that any of them matches is there.",
        )
        .examples(&["\"unit_tests/**\""]),
        Key::new(
            "attributes",
            Takes::Values,
            "Attributes, each with the values of which it has one; `kind` is one of them.",
        )
        .examples(&["{\"language\": [\"python\", \"low-code\"]}"]),
    ],
    not_yet: &[],
};

pub(in super::super) static RESOURCES: Shape = Shape {
    what: "`resources`",
    id: "resources",
    about: "What a step's container gets.",
    keys: &[
        Key::new("cpus", Takes::Positive(1024), "Processors, perhaps with a fraction.")
            .required()
            .examples(&["1.5"]),
        Key::new("memory", Takes::Size, "Memory.").required().examples(&["\"512Mi\"", "\"2Gi\""]),
    ],
    not_yet: &[],
};

pub(in super::super) static REPORTS: Shape = Shape {
    what: "`reports`",
    id: "reports",
    about: "Files that a step leaves and that are read for the check.",
    keys: &[
        Key::new("junit", Takes::Pattern, "JUnit XML, under `$CHECKVALVE_OUT`.")
            .examples(&["\"junit.xml\""]),
        Key::new("sarif", Takes::Pattern, "SARIF 2.1.0: what tools found becomes annotations.")
            .examples(&["\"ruff.sarif\""]),
        Key::new(
            "coverage",
            Takes::Pattern,
            "Cobertura's XML (coverage.py) or lcov: lines reached.",
        )
        .examples(&["\"coverage.xml\"", "\"lcov.info\""]),
    ],
    not_yet: &[],
};

const SOURCES: &[&str] = &["gsm", "sops", "env", "local"];
const DELIVERIES: &[&str] = &["file", "env"];

pub(in super::super) static SECRET: Shape = Shape {
    what: "a secret",
    id: "secret",
    about: "Where a value comes from that a step is given in confidence. Its name is the key.",
    keys: &[
        Key::new(
            "from",
            Takes::Word(SOURCES),
            "`gsm`: Google Secret Manager. `sops`: an encrypted file of the tree. `env`: a \
             variable of the server. `local`: the connector's `secrets/` folder, for `test` only.",
        )
        .required(),
        Key::new(
            "as",
            Takes::Word(DELIVERIES),
            "The file `$CHECKVALVE_SECRETS/<name>`, or the variable `<NAME>`.",
        )
        .default("\"file\""),
        Key::new(
            "file",
            Takes::Text,
            "`gsm`: the file name that the secret is labelled with; `local`: the file's name, \
             `.json` may be left out; default for both: the secret's name. `sops`: the path from \
             the connector's root.",
        ),
        Key::new(
            "variable",
            Takes::Text,
            "`env`: the server's variable, which begins `CHECKVALVE_SECRET_`; default: with the \
             secret's name in upper case.",
        ),
    ],
    not_yet: &[],
};

pub(in super::super) static POLICY: Shape = Shape {
    what: "`policy`",
    id: "policy",
    about: "Who may run, and how much GitHub shows.",
    keys: &[
        Key::new("approve", Takes::Word(PERMISSIONS), "The permission that may run and approve.")
            .default("\"write\""),
        Key::new(
            "bots",
            Takes::Texts,
            "Bots that count as one who may write, for their code and their commands; none may approve.",
        )
        .examples(&["[\"renovate[bot]\"]"]),
        Key::new("detail", Takes::Word(DETAILS), "The finest check runs wanted.")
            .default("\"step\""),
    ],
    not_yet: &[],
};
