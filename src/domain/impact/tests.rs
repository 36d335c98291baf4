mod dependencies;

use proptest::prelude::*;

use super::*;
use crate::domain::catalog::{Paths, discover};
use crate::domain::change::{ChangedFile, FileStatus};
use crate::domain::rules::{Component, ConnectorRule, Reaches, Selector};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// Rules that use everything that selects: nested roots, owned paths with and without wildcards,
/// each form of impact rule, a component.
fn rules(unclaimed: Unclaimed) -> RepoRules {
    let mut rules = RepoRules::empty("test".to_owned());
    let mut deep = ConnectorRule::new(pattern("**/{name}/m"));
    deep.kind = Some("deep".to_owned());
    deep.owns = vec![pattern("docs/{name}.md"), pattern("t/*/{name}/**")];
    deep.exclude = vec![pattern("d")];
    let mut single = ConnectorRule::new(pattern("s/{name}.py"));
    single.root = Some(pattern("s/{name}.py"));
    rules.connectors = vec![deep, single];
    rules.components = vec![Component {
        name: "unit".to_owned(),
        kind: None,
        include: vec![pattern("u/**")],
        exclude: vec![pattern("u/a")],
    }];
    rules.ignore = vec![pattern("**/i")];
    let deep = Selector { kind: vec!["deep".to_owned()], ..Selector::default() };
    let rule = |paths: &[&str], reaches| ImpactRule {
        paths: paths.iter().map(|text| pattern(text)).collect(),
        reaches,
    };
    rules.impact = vec![
        rule(&["x/a", "x/b/*"], Reaches::Selector(deep)),
        rule(&["f/{name}/**"], Reaches::Names(vec![pattern("{name}")])),
        rule(&["g/{part}"], Reaches::Names(vec![pattern("{part}"), pattern("[u-z]*")])),
        rule(&["all"], Reaches::All),
    ];
    rules.unclaimed = unclaimed;
    rules
}

fn catalog(rules: &RepoRules, paths: &[String]) -> Catalog {
    discover(rules, &Paths::new(paths.to_vec())).finish(|_| None)
}

fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "b", "c", "d", "m", "i", "s", "t", "u", "x", "f", "g", "docs", "a.md", "b.py", "all",
    ]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn paths(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(path(), 0..most)
}

/// Trees have more markers than chance gives.
fn tree() -> impl Strategy<Value = Vec<String>> {
    let marked = (path(), any::<bool>());
    let path = marked.prop_map(|(path, m)| if m { format!("{path}/m") } else { path });
    prop::collection::vec(path, 0..20)
}

fn unclaimed() -> impl Strategy<Value = Unclaimed> {
    prop::sample::select(vec![Unclaimed::All, Unclaimed::None])
}

fn modified(paths: &[String]) -> ChangeSet {
    let file = |path: &String| ChangedFile {
        path: path.clone(),
        status: FileStatus::Modified,
        old_path: None,
    };
    ChangeSet::Complete { files: paths.iter().map(file).collect() }
}

/// Connector by connector, path by path, without an index.
fn oracle(
    rules: &RepoRules,
    base: &Catalog,
    head: &Catalog,
    changed: &[String],
) -> (BTreeSet<String>, BTreeSet<String>) {
    let left: Vec<&String> = changed
        .iter()
        .filter(|path| !rules.ignore.iter().any(|pattern| pattern.matches(path)))
        .collect();
    let owns = |connector: &Connector, path: &str| {
        if connector.marker.is_none() {
            let unit = &rules.components[0];
            return unit.include.iter().any(|p| p.matches(path))
                && !unit.exclude.iter().any(|p| p.matches(path));
        }
        let root = &connector.root;
        root.is_empty()
            || path == root
            || path.starts_with(&format!("{root}/"))
            || connector.owns.iter().any(|pattern| pattern.matches(path))
    };
    let sides = [base, head];
    let owned = |name: &ConnectorName, path: &str| {
        sides.iter().filter_map(|side| side.connector(name)).any(|one| owns(one, path))
    };
    let all: BTreeSet<&ConnectorName> =
        sides.iter().flat_map(|side| side.iter()).map(|connector| &connector.name).collect();
    let unclaimed: BTreeSet<String> = left
        .iter()
        .filter(|path| !all.iter().any(|name| owned(name, path)))
        .filter(|path| !rules.impact.iter().any(|r| r.paths.iter().any(|p| p.matches(path))))
        .map(|path| (*path).clone())
        .collect();
    let selected = head.iter().filter(|connector| {
        let reached = |path: &&String| {
            owned(&connector.name, path)
                || rules.impact.iter().any(|rule| rule.reaches(path, connector).is_some())
        };
        left.iter().any(reached) || (rules.unclaimed == Unclaimed::All && !unclaimed.is_empty())
    });
    (selected.map(|connector| connector.name.to_string()).collect(), unclaimed)
}

fn run(impacts: &Impacts) -> BTreeSet<String> {
    impacts.to_run().map(|impact| impact.name.to_string()).collect()
}

proptest! {
    #[test]
    fn impact_equals_the_naive_answer(
        before in tree(), after in tree(), changed in paths(8), unclaimed in unclaimed(),
    ) {
        let rules = rules(unclaimed);
        let (base, head) = (catalog(&rules, &before), catalog(&rules, &after));
        let found = impacts(&rules, Some(&base), &head, &modified(&changed));
        let (selected, unclaimed) = oracle(&rules, &base, &head, &changed);
        prop_assert_eq!(run(&found), selected);
        prop_assert_eq!(found.unclaimed, unclaimed);
    }

    #[test]
    fn a_larger_change_never_drops_a_connector(
        tree in tree(), changed in paths(8), more in paths(4), unclaimed in unclaimed(),
    ) {
        let rules = rules(unclaimed);
        let catalog = catalog(&rules, &tree);
        let small = impacts(&rules, Some(&catalog), &catalog, &modified(&changed));
        let large: Vec<String> = changed.into_iter().chain(more).collect();
        let large = impacts(&rules, Some(&catalog), &catalog, &modified(&large));
        prop_assert!(run(&small).is_subset(&run(&large)));
        let everything = ChangeSet::Everything { because: "lost".to_owned() };
        let everything = impacts(&rules, Some(&catalog), &catalog, &everything);
        prop_assert!(run(&large).is_subset(&run(&everything)));
    }

    #[test]
    fn a_rename_is_a_deletion_and_an_addition(
        before in tree(), after in tree(), old in path(), new in path(), unclaimed in unclaimed(),
    ) {
        let rules = rules(unclaimed);
        let (base, head) = (catalog(&rules, &before), catalog(&rules, &after));
        let file = |path: &String, status| ChangedFile { path: path.clone(), status, old_path: None };
        let renamed = ChangedFile { old_path: Some(old.clone()), ..file(&new, FileStatus::Renamed) };
        let renamed = ChangeSet::Complete { files: vec![renamed] };
        let two = vec![file(&old, FileStatus::Deleted), file(&new, FileStatus::Added)];
        let renamed = impacts(&rules, Some(&base), &head, &renamed);
        let two = impacts(&rules, Some(&base), &head, &ChangeSet::Complete { files: two });
        prop_assert_eq!(renamed.connectors, two.connectors);
        prop_assert_eq!(renamed.unclaimed, two.unclaimed);
        prop_assert_eq!(renamed.ignored, two.ignored);
    }

    #[test]
    fn the_order_of_input_does_not_matter(
        tree in tree(), changed in paths(8), unclaimed in unclaimed(),
    ) {
        let rules = rules(unclaimed);
        let backwards = |paths: &[String]| paths.iter().rev().cloned().collect::<Vec<_>>();
        let one = catalog(&rules, &tree);
        let two = catalog(&rules, &backwards(&tree));
        let one = impacts(&rules, Some(&one), &one, &modified(&changed));
        let two = impacts(&rules, Some(&two), &two, &modified(&backwards(&changed)));
        prop_assert_eq!(one, two);
    }

    #[test]
    fn reasons_are_few_short_and_true(tree in tree(), changed in paths(60)) {
        let rules = rules(Unclaimed::All);
        let catalog = catalog(&rules, &tree);
        let found = impacts(&rules, Some(&catalog), &catalog, &modified(&changed));
        for impact in found.connectors.values() {
            prop_assert!((1..=MAX_REASONS).contains(&impact.reasons.len()));
            prop_assert!(impact.reasons.windows(2).all(|two| order(&two[0]) < order(&two[1])));
            prop_assert!(impact.reasons.iter().all(|reason| changed.contains(&reason.path)));
        }
    }

    #[test]
    fn a_connector_that_is_not_selected_is_explained(
        tree in tree(), changed in paths(8), unclaimed in unclaimed(),
    ) {
        let rules = rules(unclaimed);
        let catalog = catalog(&rules, &tree);
        let change = modified(&changed);
        let found = impacts(&rules, Some(&catalog), &catalog, &change);
        for connector in catalog.iter() {
            let sides = (Some(&catalog), &catalog);
            let why = explain(&rules, sides, &change, &found, connector.name.as_str()).unwrap();
            prop_assert_eq!(why.selected, found.connectors.contains_key(&connector.name));
            prop_assert_eq!(why.selected, !why.reasons.is_empty());
            prop_assert!(!why.looked.is_empty());
        }
    }
}

#[test]
fn what_is_not_known_selects_everything_but_what_nothing_selects() {
    let rules = rules(Unclaimed::None);
    let head = catalog(&rules, &["a/m".to_owned(), "b/m".to_owned()]);
    let base = catalog(&rules, &["a/m".to_owned(), "c/m".to_owned()]);
    let change = ChangeSet::Everything { because: "the diff failed".to_owned() };
    let found = impacts(&rules, Some(&base), &head, &change);
    let kinds: Vec<(&str, ChangeKind, &str)> = found
        .connectors
        .values()
        .map(|i| (i.name.as_str(), i.change, i.reasons[0].rule.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("a", ChangeKind::Modified, "everything"),
            ("b", ChangeKind::Added, "everything"),
            ("c", ChangeKind::Removed, "root"),
        ]
    );
    // The base is not known: nothing counts as added.
    let found = impacts(&rules, None, &head, &change);
    assert!(found.connectors.values().all(|impact| impact.change == ChangeKind::Modified));
}

#[test]
fn a_union_ignores_only_what_both_ignore() {
    let strict = rules(Unclaimed::None);
    let mut lax = rules(Unclaimed::None);
    lax.ignore = vec![pattern("**")];
    let changed = modified(&["a/x".to_owned(), "a/i".to_owned(), "nobody".to_owned()]);
    let tree = ["a/m".to_owned()];
    let by = |rules: &RepoRules| {
        let catalog = catalog(rules, &tree);
        impacts(rules, Some(&catalog), &catalog, &changed)
    };
    let both = by(&lax).union(by(&strict));
    assert_eq!(run(&both), BTreeSet::from(["a".to_owned()]));
    assert_eq!(both.ignored, BTreeSet::from(["a/i".to_owned()]));
    assert!(both.unclaimed.is_empty(), "the lax rules ignore it");
    assert_eq!(both, by(&strict).union(by(&lax)));
}

#[test]
fn the_inputs_of_an_impact_rule_are_what_can_reach_the_connector() {
    let rules = rules(Unclaimed::All);
    let catalog = catalog(&rules, &["a/m".to_owned(), "s/b.py".to_owned()]);
    let of = |name: &str| -> Vec<String> {
        let connector = catalog.named(name).unwrap();
        let all = rules.impact.iter().flat_map(|rule| rule.inputs_of(connector));
        all.map(|pattern| pattern.to_string()).collect()
    };
    assert_eq!(of("a"), ["x/a", "x/b/*", "f/a/**", "g/a", "all"]);
    assert_eq!(of("b"), ["f/b/**", "g/b", "all"]);
}
