//! The keys that say what a connector is, and what reaches it.

use super::pipelines::{PIPELINE, POLICY, SECRET};
use super::schedules::SCHEDULE;
use super::{Key, Shape, Takes};

pub(in super::super) const PRESETS: &[&str] =
    &["airbyte", "estuary", "tinybird", "airflow", "none"];
const UNCLAIMED: &[&str] = &["all", "none", "error"];
const CONVENTIONS: &[&str] = &["airbyte"];
/// Ways to derive dependencies that are a word by themselves.
pub(in super::super) const DERIVATIONS: &[&str] = &[
    "pyproject-path",
    "requirements-path",
    "setup-py",
    "gradle",
    "dockerfile-copy",
    "dockerfile-from",
    "go-imports",
];
/// The one that is a mapping.
pub(in super::super) const PYTHON_IMPORTS: &str = "python-imports";

pub(in super::super) static FILE: Shape = Shape {
    what: "the file",
    id: "file",
    about: "What the connectors of a repository are, what reaches them, and what runs for them.",
    keys: &[
        Key::new("version", Takes::Version, "The version of this file's language.").default("1"),
        Key::new(
            "preset",
            Takes::Word(PRESETS),
            "A known layout. Lists of the file come before the preset's, single values replace \
             them. Without it, a file that has neither `connectors` nor `components` adds to the \
             layout that is recognised by the tree.",
        )
        .examples(&["\"airbyte\"", "\"none\""]),
        Key::new("ignore", Takes::Patterns, "Paths whose change selects nothing.")
            .default("[]")
            .examples(&["[\"**/*.md\", \"docs/**\"]"]),
        Key::new(
            "connectors",
            Takes::Many(&CONNECTOR),
            "How connectors are found. For a root and name, the first rule that matches wins.",
        )
        .examples(&["[{\"kind\": \"python\", \"match\": \"{name}/pyproject.toml\"}]"]),
        Key::new(
            "components",
            Takes::Many(&COMPONENT),
            "Units without a marker. One that has a connector's name adds paths to that connector.",
        )
        .examples(&["[{\"name\": \"dashboard\", \"include\": [\"dashboard/**\"]}]"]),
        Key::new("impact", Takes::Many(&IMPACT), "Shared code, and what a change of it reaches.")
            .examples(&["[{\"paths\": [\"shared/**\"], \"reaches\": \"all\"}]"]),
        Key::new(
            "unclaimed",
            Takes::Word(UNCLAIMED),
            "What a changed path that nothing claims means: all connectors run, none, or it is an \
             error. The preset `airbyte` says `none`.",
        )
        .default("\"all\""),
        Key::new(
            "pipelines",
            Takes::Many(&PIPELINE),
            "What runs. Of those whose `on` names the event, the first whose `for` matches is a \
             connector's.",
        ),
        Key::new(
            "images",
            Takes::Images,
            "Images in place of those that steps name, the preset's steps among them: the image \
             as it is named there, and the one to run.",
        )
        .default("{}")
        .examples(&["{\"python:3.11\": \"registry.example.com/python:3.11\"}"]),
        Key::new(
            "secrets",
            Takes::Named(&SECRET),
            "What steps may be given in confidence. A pull request is given what its base branch \
             declares.",
        )
        .examples(&[
            "{\"config\": {\"from\": \"gsm\"}}",
            "{\"token\": {\"from\": \"env\", \"as\": \"env\"}}",
        ]),
        Key::new("policy", Takes::One(&POLICY), "Who may run, and how much GitHub shows."),
        Key::new(
            "schedules",
            Takes::Many(&SCHEDULE),
            "Runs of the default branch that nobody asks for. Those of the default branch's own file \
             count; some pipeline runs `on: schedule`.",
        ),
    ],
    not_yet: &[(
        "depends",
        "`depends` belongs to a connector rule: write it there, beside `match`",
    )],
};

pub(in super::super) static CONNECTOR: Shape = Shape {
    what: "a connector rule",
    id: "connector",
    about: "How connectors are found: every file that `match` names makes one.",
    keys: &[
        Key::new("kind", Takes::Text, "A word that selectors use.").examples(&["\"python\""]),
        Key::new(
            "match",
            Takes::Pattern,
            "The marker: one file that makes a connector. `{name}` and other variables stand for \
             one path component, or for a part of one beside plain text.",
        )
        .required()
        .examples(&["\"{name}/pyproject.toml\"", "\"connectors/{name}.py\""]),
        Key::new(
            "where",
            Takes::Conditions,
            "Patterns for variables of `match`; one of them must match.",
        )
        .examples(&["{\"name\": [\"source-*\", \"destination-*\"]}"]),
        Key::new(
            "beside",
            Takes::Patterns,
            "Files or folders that must be there, from the marker's folder on.",
        )
        .examples(&["[\"Dockerfile\"]"]),
        Key::new(
            "unless",
            Takes::Patterns,
            "Files or folders that must not be there, from the marker's folder on.",
        )
        .examples(&["[\"Cargo.toml\"]"]),
        Key::new(
            "root",
            Takes::Pattern,
            "The connector's folder or file, made of plain text and variables. Default: the \
             marker's folder.",
        )
        .examples(&["\"{name}\"", "\"connectors/{name}.py\""]),
        Key::new("owns", Takes::Patterns, "Paths elsewhere that are the connector's own.")
            .examples(&["[\"docs/{name}.md\", \"tests/*/{name}/**\"]"]),
        Key::new("exclude", Takes::Patterns, "Names that are no connectors.")
            .examples(&["[\"source-retired\"]"]),
        Key::new(
            "attributes",
            Takes::Attributes,
            "Facts about the connector: dotted paths in one YAML, JSON or TOML file of its root. \
             `data.tags[language]` takes `python` from a list that has `language:python`.",
        )
        .examples(&["{\"file\": \"metadata.yaml\", \"language\": \"data.tags[language]\"}"]),
        Key::new(
            "depends",
            Takes::Derivations,
            "How the connectors' own files say what else in the repository they are built from.",
        )
        .default("[]")
        .examples(&[
            "[\"pyproject-path\", \"dockerfile-copy\"]",
            "[{\"python-imports\": [\"src\", \".\"]}]",
        ]),
        Key::new(
            "conventions",
            Takes::Word(CONVENTIONS),
            "What a layout does beyond patterns. `airbyte`: a connector owns its documentation \
             page, archived ones are never selected by a change, `X` and `X-strict-encrypt` go \
             together, `-scaffold-` and hidden folders are none, and files tell the language.",
        ),
    ],
    not_yet: &[],
};

pub(in super::super) static COMPONENT: Shape = Shape {
    what: "a component",
    id: "component",
    about: "A unit without a marker: what its patterns cover.",
    keys: &[
        Key::new("name", Takes::Name, "Its name, a part of its check runs' names.")
            .required()
            .examples(&["\"dashboard\""]),
        Key::new("kind", Takes::Text, "A word that selectors use.").examples(&["\"web\""]),
        Key::new("include", Takes::Patterns, "What it consists of.")
            .required()
            .examples(&["[\"dashboard/**\"]"]),
        Key::new("exclude", Takes::Patterns, "What of that is not its own.")
            .default("[]")
            .examples(&["[\"dashboard/docs/**\"]"]),
    ],
    not_yet: &[],
};

pub(in super::super) static IMPACT: Shape = Shape {
    what: "an impact rule",
    id: "impact",
    about: "Shared code: changed paths that reach connectors elsewhere.",
    keys: &[
        Key::new("paths", Takes::Patterns, "Changed paths. They may hold variables.")
            .required()
            .examples(&["[\"go.mod\", \"go.sum\"]", "[\"tests/{name}/**\"]"]),
        Key::new(
            "reaches",
            Takes::Reaches,
            "`all`, names (in which the variables of `paths` may stand), or a selector.",
        )
        .required()
        .examples(&["\"all\"", "[\"source-a\"]", "{\"name\": \"source-*\"}"]),
    ],
    not_yet: &[],
};

pub(in super::super) static SELECTOR: Shape = Shape {
    what: "a selector",
    id: "selector",
    about: "Which connectors: AND between the keys, OR within one.",
    keys: &[
        Key::new("name", Takes::Patterns, "Patterns of names.").examples(&["\"source-*\""]),
        Key::new("kind", Takes::Texts, "Kinds, as connector rules and components give them."),
        Key::new("language", Takes::Texts, "Values of the attribute `language`.")
            .examples(&["[\"python\", \"low-code\"]"]),
        Key::new("release_stage", Takes::Texts, "Values of the attribute `release_stage`.")
            .examples(&["\"generally_available\""]),
        Key::new("support_level", Takes::Texts, "Values of the attribute `support_level`.")
            .examples(&["\"certified\""]),
    ],
    not_yet: &[],
};
