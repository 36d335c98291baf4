//! Selection by what connectors are built from, against a search over explicit edges.

use std::collections::VecDeque;

use super::*;
use crate::domain::depends::{Dependencies, Explorer, Reference, Written};
use crate::domain::rules::Derivation;

/// Folder → the folders that its requirements name, in order.
type Links = BTreeMap<&'static str, Vec<&'static str>>;

const CONNECTORS: [&str; 3] = ["c/a", "c/b", "c/d"];
const FOLDERS: [&str; 8] = ["c/a", "c/b", "c/d", "l/x", "l/y", "l/y/z", "k", "l/w"];

/// Connectors that are there, and what names what.
type Side = (BTreeSet<&'static str>, Links);

fn side() -> impl Strategy<Value = Side> {
    let there = prop::sample::subsequence(CONNECTORS.to_vec(), 0..=3);
    let targets = prop::collection::vec(prop::sample::select(FOLDERS.to_vec()), 0..3);
    let links = prop::collection::vec(targets, FOLDERS.len()..=FOLDERS.len());
    let links = links.prop_map(|links| FOLDERS.into_iter().zip(links).collect());
    (there.prop_map(|there| there.into_iter().collect()), links)
}

fn changed() -> impl Strategy<Value = Vec<String>> {
    let folder = prop::sample::select(FOLDERS.to_vec());
    let path = (folder, prop::sample::select(vec!["p", "deep/p", "i", "README"]));
    let path = prop_oneof![
        5 => path.prop_map(|(folder, name)| format!("{folder}/{name}")),
        1 => prop::sample::select(vec!["x", "l/p", "y/z"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(path, 0..5)
}

fn rules_by(unclaimed: Unclaimed) -> RepoRules {
    let mut rules = RepoRules::empty("test".to_owned());
    let mut rule = ConnectorRule::new(pattern("c/{name}/m"));
    rule.depends = vec![Derivation::Gradle, Derivation::RequirementsPath];
    rules.connectors = vec![rule];
    rules.ignore = vec![pattern("**/i")];
    rules.unclaimed = unclaimed;
    rules
}

fn catalog_of(rules: &RepoRules, (there, links): &Side) -> Catalog {
    let markers = there.iter().map(|root| format!("{root}/m"));
    let manifests = links.keys().map(|folder| format!("{folder}/requirements.txt"));
    let paths = Paths::new(markers.chain(manifests).collect());
    let catalog = discover(rules, &paths).finish(|_| None);
    let found = explored(rules, &catalog, &paths, links);
    catalog.with_dependencies(found)
}

fn explored(rules: &RepoRules, catalog: &Catalog, paths: &Paths, links: &Links) -> Dependencies {
    let mut explorer = Explorer::new(rules, catalog, paths);
    loop {
        let wanted = explorer.wanted();
        if wanted.is_empty() {
            return explorer.finish();
        }
        for (manifest, path) in wanted {
            let folder = path.rsplit_once('/').unwrap().0;
            let named = (1..).zip(&links[folder]);
            let references: Vec<Reference> = named
                .map(|(line, to)| Reference { line, to: Written::Path(format!("/{to}")) })
                .collect();
            explorer.learn(manifest, &path, Some(references.into()));
        }
    }
}

/// How far each folder is from a root.
fn distances(links: &Links, root: &'static str) -> BTreeMap<&'static str, usize> {
    let mut found = BTreeMap::from([(root, 0)]);
    let mut queue = VecDeque::from([root]);
    while let Some(here) = queue.pop_front() {
        for next in &links[here] {
            if !found.contains_key(next) {
                found.insert(next, found[here] + 1);
                queue.push_back(next);
            }
        }
    }
    found
}

/// The length of the shortest way from the path to the connector, over one side.
fn way((there, links): &Side, root: &'static str, path: &str) -> Option<usize> {
    let near = distances(links, root).into_iter().filter(|_| there.contains(root));
    near.filter(|(place, _)| path.starts_with(&format!("{place}/"))).map(|(_, far)| far).min()
}

proptest! {
    #[test]
    fn selection_equals_the_naive_answer(
        before in side(), after in side(), changed in changed(), unclaimed in unclaimed(),
    ) {
        let rules = rules_by(unclaimed);
        let (base, head) = (catalog_of(&rules, &before), catalog_of(&rules, &after));
        let found = impacts(&rules, Some(&base), &head, &modified(&changed));
        let left: Vec<&String> = changed.iter().filter(|path| !path.ends_with("/i")).collect();
        let reaches = |root, path: &str| {
            [&before, &after].into_iter().any(|side| way(side, root, path).is_some())
        };
        let unclaimed_paths: BTreeSet<String> = left
            .iter()
            .filter(|path| !CONNECTORS.iter().any(|root| reaches(root, path)))
            .map(|path| (*path).clone())
            .collect();
        let all = unclaimed == Unclaimed::All && !unclaimed_paths.is_empty();
        let selected: BTreeSet<String> = after.0
            .iter()
            .filter(|root| all || left.iter().any(|path| reaches(root, path)))
            .map(|root| root.trim_start_matches("c/").to_owned())
            .collect();
        prop_assert_eq!(run(&found), selected);
        prop_assert_eq!(&found.unclaimed, &unclaimed_paths);
    }

    #[test]
    fn chains_are_the_shortest_and_end_in_the_connector(
        before in side(), after in side(), changed in changed(),
    ) {
        let rules = rules_by(Unclaimed::None);
        let (base, head) = (catalog_of(&rules, &before), catalog_of(&rules, &after));
        let found = impacts(&rules, Some(&base), &head, &modified(&changed));
        for impact in found.connectors.values() {
            let root = *CONNECTORS.iter().find(|root| **root == impact.root).unwrap();
            for reason in impact.reasons.iter().filter(|reason| reason.rule == Rule::Depends) {
                let ways = [&before, &after].map(|side| way(side, root, &reason.path));
                // What lies in the connector itself is no dependency of it.
                prop_assert!(ways.contains(&Some(reason.via.len())), "{:?} {:?}", ways, reason);
                let own = format!("{root}/requirements.txt:");
                prop_assert!(reason.via.last().unwrap().starts_with(&own));
            }
        }
    }

    #[test]
    fn a_larger_change_never_drops_a_connector_and_its_order_does_not_matter(
        before in side(), after in side(), changed in changed(), more in changed(),
        unclaimed in unclaimed(),
    ) {
        let rules = rules_by(unclaimed);
        let (base, head) = (catalog_of(&rules, &before), catalog_of(&rules, &after));
        let small = impacts(&rules, Some(&base), &head, &modified(&changed));
        let mut large: Vec<String> = changed.into_iter().chain(more).collect();
        let found = impacts(&rules, Some(&base), &head, &modified(&large));
        prop_assert!(run(&small).is_subset(&run(&found)));
        large.reverse();
        prop_assert_eq!(found, impacts(&rules, Some(&base), &head, &modified(&large)));
    }

    #[test]
    fn a_rename_is_a_deletion_and_an_addition_for_dependants_too(
        before in side(), after in side(), old in changed(), new in changed(),
    ) {
        let rules = rules_by(Unclaimed::None);
        let (base, head) = (catalog_of(&rules, &before), catalog_of(&rules, &after));
        let file = |path: &String, status, old_path| ChangedFile { path: path.clone(), status, old_path };
        let pairs = old.iter().zip(&new);
        let renamed = pairs.clone().map(|(old, new)| file(new, FileStatus::Renamed, Some(old.clone())));
        let renamed = ChangeSet::Complete { files: renamed.collect() };
        let two = pairs.flat_map(|(old, new)| {
            [file(old, FileStatus::Deleted, None), file(new, FileStatus::Added, None)]
        });
        let two = ChangeSet::Complete { files: two.collect() };
        let renamed = impacts(&rules, Some(&base), &head, &renamed);
        let two = impacts(&rules, Some(&base), &head, &two);
        prop_assert_eq!(renamed.connectors, two.connectors);
        prop_assert_eq!(renamed.unclaimed, two.unclaimed);
    }

    #[test]
    fn every_derivation_is_explained(before in side(), after in side(), changed in changed()) {
        let rules = rules_by(Unclaimed::None);
        let (base, head) = (catalog_of(&rules, &before), catalog_of(&rules, &after));
        let change = modified(&changed);
        let found = impacts(&rules, Some(&base), &head, &change);
        for connector in head.iter() {
            let sides = (Some(&base), &head);
            let why = explain(&rules, sides, &change, &found, connector.name.as_str()).unwrap();
            let of = |rule: &str| why.looked.iter().find(|look| look.rule == rule).unwrap();
            let depends = why.reasons.iter().any(|reason| reason.rule == Rule::Depends);
            let look = of("depends requirements-path");
            prop_assert_eq!(depends, look.because.contains("` reaches it by `"), "{:?}", look);
            let nothing = of("depends gradle").because.ends_with("among the 0 places it is built from");
            prop_assert!(nothing);
        }
    }
}
