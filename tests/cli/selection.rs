//! SELECT in all its combinations, what it says of what it does not know, and readers that go away.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use super::bench::{Bench, WEATHER};

/// A filter: the options that set it, and what it asks of a connector.
type Filter = (&'static [&'static str], fn(&Value) -> bool);

const FILTERS: &[Filter] = &[
    (&["--name", "source-weather", "SOURCE-shop", "destination-*"], |one| {
        matches!(name(one), "source-weather" | "source-shop" | "destination-ledger")
    }),
    (&["--kind", "source"], |one| one["kind"] == "source"),
    (&["--language", "PYTHON", "--language=cobol"], |one| one["language"] == "python"),
    (&["--release-stage", "alpha", "generally_available"], |one| {
        matches!(one["release_stage"].as_str(), Some("alpha" | "generally_available"))
    }),
    (&["--support-level", "Community"], |one| one["support_level"] == "community"),
    (&["--modified"], |one| matches!(name(one), "source-weather" | "source-slow")),
    (&["--all"], |_| true),
];

fn name(connector: &Value) -> &str {
    connector["name"].as_str().unwrap()
}

/// Every combination of the filters selects what all of them ask for.
#[test]
fn every_combination_of_filters_selects_what_all_of_them_ask_for() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/main.py"), "# changed\n");
    bench.write("airbyte-integrations/connectors/source-slow/main.py", "# changed\n");
    let all = bench.run(&["list", "--all", "--json"]).exits(0).json();
    let all = all["connectors"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for combination in 1_u32..1 << FILTERS.len() {
        let on = |at: &usize| combination & (1 << at) != 0;
        let filters: Vec<&Filter> = (0..FILTERS.len()).filter(on).map(|at| &FILTERS[at]).collect();
        let mut args = vec!["list", "--json"];
        args.extend(filters.iter().flat_map(|(options, _)| *options));
        let fits = |one: &&Value| filters.iter().all(|(_, fits)| fits(one));
        let expected: Vec<&str> = all.iter().filter(fits).map(name).collect();
        let list = bench.run(&args).exits(0).json();
        let found: Vec<&str> = list["connectors"].as_array().unwrap().iter().map(name).collect();
        assert_eq!(found, expected, "{args:?}");
        seen.insert(expected.len());
    }
    assert!(seen.len() > 3, "the filters tell connectors apart: {seen:?}");
}

#[test]
fn names_may_be_written_in_several_ways() {
    let bench = Bench::new();
    let selected = |args: &[&str]| {
        let list = bench.run(&[&["list", "--json"], args].concat()).exits(0).json();
        let names = list["connectors"].as_array().unwrap().iter().map(name);
        names.collect::<Vec<_>>().join(" ")
    };
    let two = "source-shop source-slow";
    assert_eq!(selected(&["--name", "source-slow", "source-shop"]), two);
    assert_eq!(selected(&["--name=source-slow", "--name=source-shop"]), two);
    assert_eq!(selected(&["--name", "source-s*"]), two);
    assert_eq!(selected(&["--name", "SOURCE-S??[pw]"]), two);
    assert_eq!(selected(&["--name", "source-{slow,shop}", "source-slow"]), two);
}

#[test]
fn unknown_names_are_told_with_those_that_are_close() {
    let bench = Bench::new();
    let refused = |args: &[&str], texts: &[&str]| {
        bench.run(&[&["list", "--name"], args].concat()).exits(2).complains(texts);
    };
    refused(
        &["source-shp"],
        &["no connector is called `source-shp`", "did you mean `source-shop`"],
    );
    refused(&["source-slop"], &["did you mean `source-shop` or `source-slow`?"]);
    refused(&["Weather"], &["there is `source-weather`"]);
    refused(&["nothing-like-it"], &["`list --all` prints the 5"]);
    refused(&["source-x*", "source-shop"], &["no connector is called `source-x*`"]);
    refused(&["source-[a"], &["`--name source-[a`", "no `]`"]);
    refused(&[""], &["no connector is called ``"]);
    refused(&["one-wrong", "two-wrong"], &["`one-wrong`", "`two-wrong`"]);
}

#[test]
fn values_that_nothing_has_select_nothing_and_those_that_exist_are_told() {
    let bench = Bench::new();
    for (args, note) in [
        (["--language", "cobol"], "no connector has `--language cobol`; there is python (5)"),
        (["--support-level", "gold"], "no connector has `--support-level gold`; there is "),
        (["--kind", "dag"], "there is destination (1), source (4)"),
        (["--release-stage", "ga"], "no connector has `--release-stage ga`; there is alpha"),
    ] {
        let answer = bench.run(&["list", args[0], args[1]]).exits(0);
        answer.says(&["no connector is selected"]).complains(&[note]);
    }
    // A value that others have, and these not, is no mistake.
    let answer = bench.run(&["list", "--name", "source-weather", "--kind", "destination"]).exits(0);
    assert_eq!(answer.err, "");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/main.py"), "# changed\n");
    for args in [
        &["list", "--all"][..],
        &["list", "--all", "--json"],
        &["affected"],
        &["affected", "--json"],
        &["plan", "--all", "--json"],
        &["--help"],
    ] {
        let mut command = bench.command("checkvalve", args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), said.as_ref()), (Some(141), ""), "{args:?}");
    }
}
