//! `BEHAVIOURS.md` against what is there: a table that names what does not exist is worth nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The last number of the table.
const LAST: u32 = 111;

struct Row {
    number: u32,
    places: Vec<String>,
    tests: Vec<String>,
    switches: Vec<String>,
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| "));
    lines
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
            let number = cells[0].trim().parse().ok()?;
            assert_eq!(cells.len(), 5, "{line}");
            let [places, tests, switches] = [cells[2], cells[3], cells[4]].map(quoted);
            Some(Row { number, places, tests, switches })
        })
        .collect()
}

fn read_folder(folder: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let below = read_folder(&path).into_iter();
            texts.extend(below.map(|(file, text)| (format!("{name}/{file}"), text)));
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            texts.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    texts
}

/// The behaviours that a test's doc comment names: `Behaviours 15–18 and 20: …`.
fn numbers(comment: &str) -> BTreeSet<u32> {
    let Some(rest) = comment.strip_prefix("Behaviour") else { return BTreeSet::new() };
    let head = rest.split(':').next().unwrap().trim_start_matches('s').replace(" and ", ", ");
    let mut numbers = BTreeSet::new();
    for part in head.split(',').map(str::trim) {
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        let parse = |text: &str| {
            text.trim().parse::<u32>().unwrap_or_else(|_| panic!("`{part}` in `{comment}`"))
        };
        numbers.extend(parse(first)..=parse(last));
    }
    numbers
}

/// Every test by `file::name`, with the behaviours that its doc comment names.
fn tests(files: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<u32>> {
    let mut found = BTreeMap::new();
    for (file, text) in files {
        let module = file.trim_end_matches(".rs");
        let (mut comment, mut is_test) = (String::new(), false);
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                if !comment.is_empty() {
                    comment.push(' ');
                }
                comment.push_str(words.trim());
            } else if line == "#[tokio::test]" || line == "#[test]" {
                is_test = true;
            } else if let Some(rest) =
                line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
            {
                if is_test {
                    let name = rest.split('(').next().unwrap();
                    found.insert(format!("{module}::{name}"), numbers(&comment));
                }
                (comment, is_test) = (String::new(), false);
            } else if !line.starts_with("#[") {
                comment = String::new();
            }
        }
    }
    found
}

/// Every behaviour is there once, in order, with a place and a test that exist; the test's own
/// comment names the behaviour, and what it names has it in the table.
#[test]
fn the_table_of_behaviours_is_true() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = rows(&std::fs::read_to_string(home.join("BEHAVIOURS.md")).unwrap());
    let numbers: Vec<u32> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=LAST).collect::<Vec<_>>());
    let sources = read_folder(&home.join("src"));
    let tests = tests(&read_folder(&home.join("tests/simulator")));
    let switches: Vec<&String> = sources.values().collect();
    let mut problems = Vec::new();
    for row in &rows {
        let number = row.number;
        if row.places.is_empty() || row.tests.is_empty() {
            problems.push(format!("{number} has no place or no test"));
        }
        for place in row.places.iter().filter(|place| !sources.contains_key(*place)) {
            problems.push(format!("{number}: there is no src/{place}"));
        }
        for test in &row.tests {
            match tests.get(test) {
                None => problems.push(format!("{number}: there is no test {test}")),
                Some(named) if !named.contains(&number) => {
                    problems.push(format!("{number}: the comment of {test} does not name it"));
                }
                Some(_) => {}
            }
        }
        for switch in &row.switches {
            let (field, method) = (format!("pub {switch}:"), format!("pub fn {switch}("));
            if !switches.iter().any(|text| text.contains(&field) || text.contains(&method)) {
                problems.push(format!("{number}: there is no switch {switch}"));
            }
        }
    }
    for (test, named) in &tests {
        for number in named {
            let row = rows.iter().find(|row| row.number == *number);
            if !row.is_some_and(|row| row.tests.contains(test)) {
                problems.push(format!("{number}: the table does not have {test}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Every choice is a row's: a switch that no behaviour needs would be one too many.
#[test]
fn every_choice_belongs_to_a_behaviour() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(home.join("BEHAVIOURS.md")).unwrap();
    let source = std::fs::read_to_string(home.join("src/choices.rs")).unwrap();
    let body = source.split("pub struct Choices {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    for field in fields.map(|field| field.split(':').next().unwrap()) {
        assert!(table.contains(&format!("`{field}`")), "{field}");
    }
}
