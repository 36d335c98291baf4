//! The changes of three layouts, in trees that are made from what the cases say of them.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{Row, State, folder, layouts};
use super::synthetic::{airflow, estuary, tinybird, with_files};
use super::tree::{Tree, affected};
use super::verdict::{CLASSES, Found, Judgement, is_stated, of_impacts};

fn trees(row: &Row, states: &BTreeMap<String, State>) -> (Tree, Tree) {
    match row.repo.as_str() {
        "estuary/connectors" => {
            with_files(row, estuary(&states[&row.base_state]), estuary(&states[&row.state]))
        }
        "dfinity/dre-airflow" => with_files(row, airflow(row), airflow(row)),
        "tinybirdco/cdk" => with_files(row, tinybird(), tinybird()),
        other => panic!("a row of `{other}`"),
    }
}

fn found(row: &Row, states: &BTreeMap<String, State>) -> Found {
    let (base, head) = trees(row, states);
    of_impacts(affected(&base, &head, row.changed()))
}

#[test]
fn no_connector_of_three_layouts_is_missed_and_each_one_more_is_justified() {
    let Some(folder) = folder() else { return };
    let (rows, states) = layouts(&folder);
    let mut judgements: BTreeMap<String, Judgement> = BTreeMap::new();
    for row in rows {
        let found = found(&row, &states);
        judgements.entry(row.repo.clone()).or_default().judge(&row, &found);
    }
    for (repository, judgement) in &judgements {
        println!("{}", judgement.summary(repository));
    }
    let wrong: Vec<&String> = judgements.values().flat_map(Judgement::wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let used: BTreeSet<&str> = judgements.values().flat_map(Judgement::used).collect();
    let classes: BTreeSet<&str> = CLASSES.iter().map(|class| class.name).collect();
    is_stated(&classes, &used);
}
