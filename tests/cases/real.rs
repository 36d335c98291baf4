//! The same cases against the repositories themselves, by the program.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::airbyte;
use super::given::given;
use super::rows::{Row, folder, layouts, lines};
use super::verdict::{Answer, Found, Judgement, by_name};

/// The clones in the folder that `CHECKVALVE_REAL` names: its folders, or `repo` in these.
fn clones() -> Vec<PathBuf> {
    let Some(folder) = given("CHECKVALVE_REAL", ".") else { return Vec::new() };
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let inside = entries.flat_map(|path| [path.join("repo"), path]);
    inside.filter(|path| path.join("objects").is_dir() || path.join(".git").is_dir()).collect()
}

/// Which of these commits a clone has.
fn commits(clone: &Path, wanted: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut git = Command::new("git")
        .arg("-C")
        .arg(clone)
        .args(["cat-file", "--batch-check=%(objectname)"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = git.stdin.take().unwrap();
    let text = wanted.iter().copied().collect::<Vec<_>>().join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = git.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.ends_with("missing")).map(str::to_owned).collect()
}

#[derive(Debug, Deserialize)]
struct Json {
    complete: bool,
    files: usize,
    connectors: Vec<Answer>,
}

fn affected(clone: &Path, row: &Row) -> Found {
    let output = Command::new(env!("CARGO_BIN_EXE_checkvalve"))
        .arg("--repo")
        .arg(clone)
        .args(["affected", "--json", "--base", &row.parent, "--head", &row.commit])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", row.commit);
    let answer: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer.complete, "{}: it is not known what changed", row.commit);
    assert_eq!(answer.files, row.files.len(), "{}", row.commit);
    by_name(answer.connectors)
}

/// The rows with the clone that has their commits.
fn with_clones(rows: &[Row]) -> Vec<(Row, PathBuf)> {
    let wanted = rows.iter().flat_map(|row| [row.parent.as_str(), row.commit.as_str()]).collect();
    let clones = clones().into_iter();
    let known: Vec<_> = clones.map(|clone| (commits(&clone, &wanted), clone)).collect();
    let has = |row: &Row| {
        let has = |(known, _): &&(BTreeSet<String>, PathBuf)| {
            known.contains(&row.parent) && known.contains(&row.commit)
        };
        known.iter().find(has).map(|(_, clone)| clone.clone())
    };
    rows.iter().filter_map(|row| Some((row.clone(), has(row)?))).collect()
}

#[test]
fn the_program_says_the_same_of_real_commits() {
    let Some(folder) = folder() else { return };
    let mut judgements: BTreeMap<String, Judgement> = BTreeMap::new();
    for (row, clone) in with_clones(&layouts(&folder).0) {
        judgements.entry(row.repo.clone()).or_default().judge(&row, &affected(&clone, &row));
    }
    for (repository, judgement) in &judgements {
        println!("{}", judgement.summary(repository));
    }
    let wrong: Vec<&String> = judgements.values().flat_map(Judgement::wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_program_says_the_same_of_airbytes_real_commits() {
    let Some(folder) = folder() else { return };
    let rows = with_clones(&lines(&folder.join("airbyte.jsonl.gz")));
    let inventories = airbyte::inventories(&folder);
    let mut judgement = airbyte::Judgement::default();
    for (row, clone) in rows {
        let there = airbyte::names_of(&inventories[&row.commit]);
        judgement.judge(&row, &there, &affected(&clone, &row));
    }
    println!("{}", judgement.summary());
    assert!(judgement.wrong.is_empty(), "{:#?}", judgement.wrong);
}
