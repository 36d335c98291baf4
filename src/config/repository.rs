//! The repository file, `.github/checkvalve.yml`, and the presets that stand in for it.
//!
//! All errors of a file are found at once. A key that this version can't obey is refused, or, where
//! it asks for nothing that would change a result, accepted with a remark; never ignored silently.

mod builtin;
mod depends;
mod images;
mod inherit;
mod keys;
mod matrix;
mod pipeline;
mod pipelines;
mod presets;
mod problems;
mod reader;
mod resolved;
mod schedules;
mod schema;
mod secrets;
mod sections;
mod services;
mod text;
mod uploads;

use std::collections::BTreeSet;

use self::images::Instead;
use self::keys::{FILE as FILE_SHAPE, POLICY, PRESETS};
pub use self::presets::signs;
use self::problems::Problems;
pub use self::problems::{Invalid, Place, Wrong};
use self::reader::Fields;
pub use self::resolved::{Resolved, resolved};
pub use self::schema::schema;
use self::secrets::Used;
use self::sections::Kinds;
pub use self::text::decode;
use crate::domain::catalog::Paths;
use crate::domain::detail::Detail;
use crate::domain::policy::{Permission, Policy};
use crate::domain::rules::{Preset, RepoRules, Unclaimed, closest};
use crate::domain::yaml::{self, Node, Value};

/// Where a repository says what its connectors are.
pub const FILE: &str = ".github/checkvalve.yml";
const SAYS_NOTHING: &str = "the file says nothing of connectors";
/// The other spelling, which would be overlooked.
const MISSPELT: &str = ".github/checkvalve.yaml";

/// The repository's rules at one tree: its file's, its preset's, or both.
///
/// `file` is the text of [`FILE`] (or of the file that stands in for it) and the name under which
/// errors speak of it; `at` says in words which tree this is.
pub fn resolve(file: Option<(&str, &str)>, at: &str, paths: &Paths) -> Result<RepoRules, Invalid> {
    resolved(file, at, Some(paths)).map(|resolved| resolved.rules)
}

/// One file as it stands, before anything is added to it.
struct Read<'t> {
    document: Node,
    /// Without what the file does not say itself.
    rules: RepoRules,
    unclaimed: Option<Unclaimed>,
    preset: Option<Preset>,
    /// Has it the key, whatever stands there?
    names_preset: bool,
    /// Has it `connectors` or `components`?
    says_connectors: bool,
    /// Kinds that it uses, which a rule of the file or of its preset must make.
    kinds: Kinds,
    /// Secrets that its steps use, which the file or its preset must declare.
    used: Used,
    /// Images that stand in for others.
    instead: Instead,
    /// Where its schedules begin.
    schedules: Option<Place>,
    problems: Problems<'t>,
}

/// Reads one file; what is wrong with it, but for its YAML, is among its problems.
fn read<'t>(name: &str, text: &'t str) -> Result<Read<'t>, Invalid> {
    let mut problems = Problems::new(name, text);
    let document = match yaml::parse(text) {
        Ok(document) => document,
        Err(broken) => {
            problems.add(broken.place, broken.what, broken.mend);
            return Err(problems.invalid());
        }
    };
    let mut read = Read {
        document,
        rules: RepoRules::empty(String::new()),
        unclaimed: None,
        preset: None,
        names_preset: false,
        says_connectors: false,
        kinds: Kinds::new(),
        used: Used::new(),
        instead: Instead::new(),
        schedules: None,
        problems,
    };
    read.sections();
    Ok(read)
}

impl Read<'_> {
    fn sections(&mut self) {
        let (rules, kinds, problems) = (&mut self.rules, &mut self.kinds, &mut self.problems);
        let Some(fields) = problems.fields(&self.document, &FILE_SHAPE) else {
            self.says_connectors = true;
            return;
        };
        problems.version(&fields);
        problems.ignore(&fields, rules);
        for item in problems.items(&fields, "connectors") {
            rules.connectors.extend(problems.connector_rule(item));
        }
        for item in problems.items(&fields, "components") {
            rules.components.extend(problems.component(item));
        }
        problems.distinct_components(&fields, rules);
        for item in problems.items(&fields, "impact") {
            rules.impact.extend(problems.impact_rule(item, kinds));
        }
        for item in problems.items(&fields, "pipelines") {
            rules.pipelines.extend(problems.pipeline(item, kinds, &mut self.used));
        }
        if let Some(node) = fields.get("images") {
            self.instead = problems.images(node);
        }
        if let Some(node) = fields.get("secrets") {
            rules.secrets = problems.secrets(node);
        }
        if let Some(node) = fields.get("policy") {
            (rules.policy, rules.detail) = problems.policy(node);
        }
        rules.schedules = problems.schedules(&fields, kinds);
        self.schedules = fields.entry("schedules").map(|entry| entry.place);
        self.says_connectors = ["connectors", "components"].iter().any(|key| fields.has(key));
        self.names_preset = fields.has("preset");
        self.preset = fields.get("preset").and_then(|node| problems.preset(node));
        if self.preset == Some(Preset::None) && !self.says_connectors {
            problems.add(fields.place, SAYS_NOTHING, "add `connectors:` or `components:`");
        }
        let words =
            [("all", Unclaimed::All), ("none", Unclaimed::None), ("error", Unclaimed::Error)];
        let unclaimed = fields.get("unclaimed");
        self.unclaimed = unclaimed.and_then(|node| problems.word(node, "`unclaimed`", &words));
    }
}

impl Problems<'_> {
    fn version(&mut self, fields: &Fields<'_>) {
        if let Some(node) = fields.get("version")
            && !matches!(&node.value, Value::Number(text) if text == "1")
        {
            let what = "this version reads files of `version: 1` only";
            self.add(node.place, what, "write `version: 1`");
        }
    }

    fn items<'n>(&mut self, fields: &Fields<'n>, key: &str) -> &'n [Node] {
        fields.get(key).map(|node| self.list(node, &format!("`{key}`"))).unwrap_or_default()
    }

    fn ignore(&mut self, fields: &Fields<'_>, rules: &mut RepoRules) {
        let Some(node) = fields.get("ignore") else { return };
        for (place, pattern) in self.patterns(node, "`ignore`") {
            if let Some(variable) = pattern.variables().into_iter().next() {
                let what = format!("nothing gives the variable `{{{variable}}}` a value");
                self.add(place, what, "write `*` for any name");
            }
            rules.ignore.push(pattern);
        }
    }

    fn distinct_components(&mut self, fields: &Fields<'_>, rules: &RepoRules) {
        let mut seen = BTreeSet::new();
        for component in &rules.components {
            if !seen.insert(component.name.to_lowercase()) {
                let place = fields.entry("components").map_or(fields.place, |entry| entry.place);
                let what = format!("two components are called `{}`", component.name);
                self.add(place, what, "give each its own name, or join their `include` lists");
            }
        }
    }

    fn preset(&mut self, node: &Node) -> Option<Preset> {
        let text = self.text(node, "`preset`")?;
        let all =
            [Preset::Airbyte, Preset::Estuary, Preset::Tinybird, Preset::Airflow, Preset::None];
        if let Some(preset) = all.into_iter().find(|preset| preset.as_str() == text) {
            return Some(preset);
        }
        let mend = closest(&text, PRESETS.iter().copied()).map_or_else(
            || format!("the presets are: {}", PRESETS.join(", ")),
            |known| format!("did you mean `{known}`?"),
        );
        self.add(node.place, format!("there is no preset `{text}`"), mend);
        None
    }

    fn policy(&mut self, node: &Node) -> (Policy, Detail) {
        let mut policy = Policy::default();
        let Some(fields) = self.fields(node, &POLICY) else { return (policy, Detail::default()) };
        let words = [
            ("write", Permission::Write),
            ("maintain", Permission::Maintain),
            ("admin", Permission::Admin),
        ];
        let approve = fields.get("approve").and_then(|node| self.word(node, "`approve`", &words));
        policy.approve = approve.unwrap_or(policy.approve);
        for (place, bot) in fields.get("bots").map(|n| self.texts(n, "`bots`")).unwrap_or_default()
        {
            let login = bot.strip_suffix("[bot]").unwrap_or(&bot);
            let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if login.is_empty() || !login.chars().all(sound) {
                let mend = "write its login, as `renovate[bot]`; one for each bot";
                self.add(place, format!("`{bot}` is no bot's login"), mend);
            }
            policy.bots.push(bot);
        }
        let words = [
            ("step", Detail::Step),
            ("connector", Detail::Connector),
            ("summary", Detail::Summary),
        ];
        let detail = fields.get("detail").and_then(|node| self.word(node, "`detail`", &words));
        (policy, detail.unwrap_or_default())
    }
}

/// What a default branch's file says of who may do what, whatever layout its tree shows.
pub fn policy(content: Vec<u8>) -> Result<Policy, Invalid> {
    let text = decode(FILE, content)?;
    Ok(resolved(Some((FILE, &text)), "on the default branch", None)?.rules.policy)
}
