//! Every key of the repository file, described once: the reader knows a key by these tables, and
//! the JSON Schema that editors use is made from them.

mod pipelines;
mod schedules;
mod selection;
mod services;

pub(super) use self::pipelines::{
    CACHES, PIPELINE, POLICY, REPORTS, RESOURCES, SECRET, STEP, WHEN,
};
pub(super) use self::schedules::SCHEDULE;
pub(super) use self::selection::{
    COMPONENT, CONNECTOR, DERIVATIONS, FILE, IMPACT, PRESETS, PYTHON_IMPORTS, SELECTOR,
};
pub(super) use self::services::{COMPOSE, READY, SERVICE};

/// What may stand in a mapping.
pub(super) struct Shape {
    /// As an error calls the mapping: "a step".
    pub(super) what: &'static str,
    /// Its name in the schema.
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
    /// Keys of the design that this version can't obey: refused, as leaving them out would test
    /// something else than was asked for.
    pub(super) not_yet: &'static [(&'static str, &'static str)],
}

impl Shape {
    pub(super) fn knows(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name == key)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

/// One key of a mapping.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// A sentence for whoever points at the key in an editor.
    pub(super) about: &'static str,
    pub(super) required: bool,
    /// What holds without the key, as JSON.
    pub(super) default: Option<&'static str>,
    /// Values, as JSON.
    pub(super) examples: &'static [&'static str],
}

impl Key {
    const fn new(name: &'static str, takes: Takes, about: &'static str) -> Self {
        Self { name, takes, about, required: false, default: None, examples: &[] }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, json: &'static str) -> Self {
        self.default = Some(json);
        self
    }

    const fn examples(mut self, json: &'static [&'static str]) -> Self {
        self.examples = json;
        self
    }
}

/// What a key's value may be.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Version,
    Text,
    /// A text without `/`: a part of a check run's name.
    Name,
    /// A text, or a list of them.
    Texts,
    Pattern,
    /// A pattern, or a list of them.
    Patterns,
    /// One of these.
    Word(&'static [&'static str]),
    /// One of these, or a list of them.
    Words(&'static [&'static str]),
    Flag,
    /// A whole number from 0 to this.
    Count(u32),
    /// A TCP port.
    Port,
    /// A number above 0, at most this.
    Positive(u32),
    Duration,
    Size,
    /// Names and values.
    Environment,
    /// Variables, each with a list of values.
    Matrix,
    /// Images, each with the one in its place.
    Images,
    /// Variables of `match`, each with patterns.
    Conditions,
    /// Names, each with a text or a list of them.
    Values,
    /// `file`, and attributes with dotted paths.
    Attributes,
    /// Ways to derive dependencies.
    Derivations,
    /// A mapping.
    One(&'static Shape),
    /// A list of mappings.
    Many(&'static Shape),
    /// A list of mappings of the first kind, or one mapping of the second.
    ManyOr(&'static Shape, &'static Shape),
    /// A mapping from names to mappings.
    Named(&'static Shape),
    /// `all`, names, or a selector.
    Reaches,
    /// A word of [`CACHES`], `true` or `false`.
    Cache,
}
