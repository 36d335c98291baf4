//! From a tree's paths to its connectors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Catalog, Connector, Facts, Finding, Flaw, Paths, covers};
use crate::domain::names::ConnectorName;
use crate::domain::registry::{Holder, duplicates};
use crate::domain::rules::{Component, ConnectorRule, Pattern, RepoRules, Variables};
use crate::domain::yaml::Place;

/// Airbyte's documentation lives in the repository, and its connectors point at its address.
const DOCUMENTATION_SITE: &str = "https://docs.airbyte.com";
const STRICT_ENCRYPT: &str = "-strict-encrypt";
/// Pictures by which a connector is known, the first that is there; its metadata may name another.
const ICONS: &[&str] = &["icon.svg", "icon.png"];

/// Connectors found, before their attribute files are read.
#[derive(Debug)]
pub struct Draft<'r> {
    rules: &'r RepoRules,
    paths: &'r Paths,
    found: Vec<Found>,
    /// With the folder that each lies in.
    components: Vec<(Component, String)>,
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Found {
    rule: usize,
    name: String,
    root: String,
    marker: String,
    variables: Variables,
    attribute_file: Option<String>,
    language: Option<&'static str>,
}

/// Applies the connector rules to a tree, in order: for each marker the first rule that matches.
pub fn discover<'r>(rules: &'r RepoRules, paths: &'r Paths) -> Draft<'r> {
    let mut by_file_name: HashMap<&str, Vec<&str>> = HashMap::new();
    for path in paths.iter() {
        by_file_name.entry(file_name(path)).or_default().push(path);
    }
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for (nth, rule) in rules.connectors.iter().enumerate() {
        let candidates: Vec<&str> = match rule.marker.file_name() {
            Some(name) => by_file_name.get(name).cloned().unwrap_or_default(),
            None => paths.iter().collect(),
        };
        for marker in candidates {
            if let Some(one) = recognise(nth, rule, marker, paths)
                && taken.insert((one.root.clone(), one.name.clone()))
            {
                found.push(one);
            }
        }
    }
    let mut findings = Vec::new();
    tell_apart(&mut found, &mut findings);
    let components = rules.components.iter().filter(|component| exists(component, paths));
    let components = components.map(|one| (one.clone(), component_root(one, paths))).collect();
    Draft { rules, paths, found, components, findings }
}

fn recognise(nth: usize, rule: &ConnectorRule, marker: &str, paths: &Paths) -> Option<Found> {
    let folder = folder(marker);
    let fits = |variables: &Variables| {
        rule.conditions.iter().all(|(variable, patterns)| {
            variables.get(variable).is_some_and(|v| patterns.iter().any(|p| p.matches(v)))
        })
    };
    let variables = rule.marker.exact_bindings(marker).into_iter().find(fits)?;
    let beside = |pattern: &Pattern| lies_beside(pattern, folder, &variables, paths);
    if !rule.beside.iter().all(beside) || rule.unless.iter().any(beside) {
        return None;
    }
    if rule.airbyte.enabled && (marker.contains("-scaffold-") || marker.contains("/.")) {
        return None;
    }
    let root = match &rule.root {
        Some(root) => root.fill(&variables)?.literal_paths()?.into_iter().next()?,
        None => folder.to_owned(),
    };
    let name = variables.get("name").cloned().unwrap_or_else(|| file_name(&root).to_owned());
    if rule.exclude.iter().any(|pattern| pattern.matches(&name)) {
        return None;
    }
    let attribute_file = rule.attributes.as_ref().and_then(|attributes| {
        // A connector that is a single file has its facts in it or beside it.
        let inside = join(&root, &attributes.file);
        let beside = join(folder, &attributes.file);
        [inside, beside].into_iter().find(|path| paths.has_file(path))
    });
    let language = if rule.airbyte.enabled { airbyte_language(&root, &name, paths) } else { None };
    let marker = marker.to_owned();
    Some(Found { rule: nth, name, root, marker, variables, attribute_file, language })
}

/// As Airbyte's own tooling infers it from files; the first that is there.
fn airbyte_language(root: &str, name: &str, paths: &Paths) -> Option<&'static str> {
    let file = |path: &str| paths.has_file(&join(root, path));
    let folder = |path: &str| paths.has_folder(&join(root, path));
    if file("manifest.yaml") {
        Some("manifest-only")
    } else if file(&format!("{}/manifest.yaml", name.replace('-', "_"))) {
        Some("low-code")
    } else if file("setup.py") || file("pyproject.toml") {
        Some("python")
    } else if folder("src/main/java") || folder("src/main/kotlin") {
        Some("java")
    } else {
        None
    }
}

fn lies_beside(pattern: &Pattern, folder: &str, variables: &Variables, paths: &Paths) -> bool {
    let Some(pattern) = pattern.fill(variables) else { return false };
    if let Some(literal) = pattern.literal_paths() {
        return literal.iter().any(|path| {
            let path = join(folder, path);
            paths.has_file(&path) || paths.has_folder(&path)
        });
    }
    let skip = if folder.is_empty() { 0 } else { folder.len() + 1 };
    paths.within(folder).iter().any(|path| pattern.matches(&path[skip..]))
}

fn exists(component: &Component, paths: &Paths) -> bool {
    component
        .include
        .iter()
        .any(|pattern| paths.within(&pattern.folder()).iter().any(|path| covers(component, path)))
}

/// A name is a check's name: of two connectors that share one, the first in the tree's order of
/// depth keeps it, and the others get the folder above it in front.
fn tell_apart(found: &mut [Found], findings: &mut Vec<Finding>) {
    found.sort_by(|a, b| {
        let depth = |one: &Found| one.root.matches('/').count();
        (&a.name, depth(a), &a.root).cmp(&(&b.name, depth(b), &b.root))
    });
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for one in found {
        let Some(first) = seen.get(&one.name.to_lowercase()).cloned() else {
            seen.insert(one.name.to_lowercase(), one.root.clone());
            continue;
        };
        let longer = one.root.replace('/', ".");
        let text = format!(
            "`{}` is already the connector in `{first}`; this one is called `{longer}`",
            one.name
        );
        findings.push(Finding::whole(one.marker.as_str(), text));
        one.name = longer;
        seen.insert(one.name.to_lowercase(), one.root.clone());
    }
}

impl Draft<'_> {
    /// The files that [`Draft::finish`] wants to see, sorted.
    pub fn wanted(&self) -> Vec<&str> {
        let files = self.found.iter().filter_map(|one| one.attribute_file.as_deref());
        files.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How many connectors each rule found, in the rules' order.
    pub fn by_rule(&self) -> Vec<usize> {
        let of = |rule: usize| self.found.iter().filter(|one| one.rule == rule).count();
        (0..self.rules.connectors.len()).map(of).collect()
    }

    /// The components of which the tree has something.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|(component, _)| component.name.as_str())
    }

    /// Makes the catalog. `facts` answers for every path of [`Draft::wanted`]; a file that can't be
    /// read is a finding, and its connector stays.
    pub fn finish<'d>(self, facts: impl Fn(&str) -> Option<&'d Arc<Facts>>) -> Catalog {
        let mut catalog = Catalog { findings: self.findings, ..Catalog::default() };
        let mut rule_of = Vec::new();
        let mut definitions = Vec::new();
        for found in self.found {
            let (root, nth) = (found.root.clone(), found.rule);
            let rule = &self.rules.connectors[nth];
            let facts = found.attribute_file.as_deref().and_then(&facts).map(Arc::as_ref);
            match connector(rule, found, facts, self.paths) {
                Ok((connector, flaws)) => {
                    let file = connector.attribute_file.as_deref().unwrap_or(&connector.root);
                    catalog.findings.extend(flaws.into_iter().map(|flaw| Finding::of(file, flaw)));
                    let definition = facts.and_then(|facts| facts.definition(connector.airbyte));
                    definitions.extend(definition.map(|one| (catalog.connectors.len(), one)));
                    catalog.connectors.push(connector);
                    rule_of.push(Some(nth));
                }
                Err(text) => catalog.findings.push(Finding::whole(root, text)),
            }
        }
        catalog.by_name =
            catalog.connectors.iter().enumerate().map(|(at, c)| (c.name.clone(), at)).collect();
        for (component, root) in self.components {
            match of_component(&component, root) {
                Ok(connector) => {
                    // A component with a connector's name adds paths to it.
                    let at = catalog.by_name.get(&connector.name).copied().unwrap_or_else(|| {
                        catalog.by_name.insert(connector.name.clone(), rule_of.len());
                        catalog.connectors.push(connector);
                        rule_of.push(None);
                        rule_of.len() - 1
                    });
                    catalog.components.push((at, component));
                }
                Err(text) => catalog.findings.push(Finding::whole(component.name, text)),
            }
        }
        pair_variants(&mut catalog, self.rules, &rule_of);
        same_definition(&mut catalog, definitions);
        catalog.index(self.rules, &rule_of);
        catalog.findings.sort();
        catalog
    }
}

/// The connector, and what is wrong with its files.
fn connector(
    rule: &ConnectorRule,
    found: Found,
    facts: Option<&Facts>,
    paths: &Paths,
) -> Result<(Connector, Vec<Flaw>), String> {
    let name: ConnectorName = found.name.parse().map_err(|e| format!("{e}"))?;
    let airbyte = rule.airbyte.enabled;
    let read = rule.attributes.as_ref().zip(facts);
    let mut attributes = read.map(|(rule, facts)| facts.attributes(rule)).unwrap_or_default();
    let mut flaws = read.map(|(rule, facts)| facts.flaws(rule, airbyte)).unwrap_or_default();
    if let Some(language) = found.language {
        attributes.insert("language".to_owned(), language.to_owned());
    }
    let place = |attribute: &str| read.and_then(|(rule, facts)| facts.place(rule, attribute));
    let named = attributes.get("icon").map(String::as_str);
    let mut icons = ICONS.iter().copied().chain(named).map(|file| join(&found.root, file));
    let icon = icons.find(|path| paths.has_file(path));
    if let (true, None, Some(named)) = (airbyte, &icon, named) {
        let text = format!("`data.icon` is `{named}`, and no picture is beside it");
        let mend = format!("add {}/{}", found.root, ICONS[0]);
        flaws.push(Flaw::remark(place("icon"), text, mend));
    }
    let mut owns: Vec<Pattern> =
        rule.owns.iter().filter_map(|pattern| pattern.fill(&found.variables)).collect();
    let url = attributes.get("documentation");
    let page = url.filter(|_| airbyte).and_then(|url| documentation_page(url));
    owns.extend(page.as_deref().map(Pattern::literal));
    if let Some(page) = page.as_ref().filter(|page| !paths.has_file(page)) {
        let text = format!("`data.documentationUrl` stands for `{page}`, which is not there");
        let mend = "write the page, or mend the address";
        flaws.push(Flaw::remark(place("documentation"), text, mend));
    }
    let archived = airbyte && attributes.get("support_level").is_some_and(|l| l == "archived");
    let connector = Connector {
        name,
        rule: Some(found.rule),
        kind: rule.kind.clone(),
        root: found.root,
        marker: Some(found.marker),
        attributes,
        variables: found.variables,
        owns,
        attribute_file: found.attribute_file,
        icon,
        page: page.filter(|page| paths.has_file(page)),
        airbyte,
        archived,
        twin: None,
    };
    Ok((connector, flaws))
}

/// No two connectors may have one definition id.
fn same_definition(catalog: &mut Catalog, definitions: Vec<(usize, (String, Place))>) {
    let holder = |(at, (id, place)): (usize, (String, Place))| Holder {
        connector: &catalog.connectors[at],
        id,
        place,
    };
    let holders: Vec<Holder<'_>> = definitions.into_iter().map(holder).collect();
    let finding = |(at, flaw): (usize, Flaw)| {
        let connector = holders[at].connector;
        Finding::of(connector.attribute_file.as_deref().unwrap_or(&connector.root), flaw)
    };
    let findings: Vec<Finding> = duplicates(&holders).into_iter().map(finding).collect();
    catalog.findings.extend(findings);
}

/// `https://docs.airbyte.com/integrations/sources/faker` → `docs/integrations/sources/faker.md`.
pub(in crate::domain) fn documentation_page(url: &str) -> Option<String> {
    let page = url.strip_prefix(DOCUMENTATION_SITE)?.trim_matches('/');
    (!page.is_empty() && !page.split('/').any(|part| matches!(part, "" | "." | "..")))
        .then(|| format!("docs/{page}.md"))
}

/// The folder that all of a component's patterns share; the whole tree if there is none.
fn component_root(component: &Component, paths: &Paths) -> String {
    let folder = |pattern: &Pattern| match pattern.literal_paths().as_deref() {
        Some([path]) if paths.has_folder(path) => path.clone(),
        Some(_) | None => pattern.folder(),
    };
    let folders: BTreeSet<String> = component.include.iter().map(folder).collect();
    let mut folders = folders.into_iter();
    folders.next().filter(|_| folders.next().is_none()).unwrap_or_default()
}

fn of_component(component: &Component, root: String) -> Result<Connector, String> {
    Ok(Connector {
        name: component.name.parse().map_err(|e| format!("{e}"))?,
        kind: component.kind.clone(),
        root,
        marker: None,
        attributes: BTreeMap::new(),
        variables: Variables::from([("name".to_owned(), component.name.clone())]),
        owns: component.include.clone(),
        attribute_file: None,
        rule: None,
        icon: None,
        page: None,
        airbyte: false,
        archived: false,
        twin: None,
    })
}

/// `X` and `X-strict-encrypt` are one connector in two builds.
fn pair_variants(catalog: &mut Catalog, rules: &RepoRules, rule_of: &[Option<usize>]) {
    let airbyte =
        |at: usize| rule_of[at].is_some_and(|rule| rules.connectors[rule].airbyte.enabled);
    let pairs: Vec<(usize, usize)> = catalog
        .connectors
        .iter()
        .enumerate()
        .filter(|(at, _)| airbyte(*at))
        .filter_map(|(at, connector)| {
            let plain: ConnectorName =
                connector.name.as_str().strip_suffix(STRICT_ENCRYPT)?.parse().ok()?;
            let plain = *catalog.by_name.get(&plain)?;
            airbyte(plain).then_some((plain, at))
        })
        .collect();
    for (plain, strict) in pairs {
        catalog.connectors[plain].twin = Some(catalog.connectors[strict].name.clone());
        catalog.connectors[strict].twin = Some(catalog.connectors[plain].name.clone());
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}
