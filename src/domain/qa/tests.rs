use std::collections::BTreeMap;

use super::*;
use crate::domain::change::{ChangeSet, ChangedFile, FileStatus};
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Inputs;
use crate::domain::state::Outcome;

const ROOT: &str = "airbyte-integrations/connectors/source-weather";
const PAGE: &str = "docs/integrations/sources/weather.md";
const GOOD: &str = r#"metadataSpecVersion: "1.0"
data:
  name: Weather
  definitionId: 0e7f6a3a-9a06-4d7e-8c58-2f9d0b61c5a2
  connectorType: source
  connectorSubtype: api
  dockerRepository: airbyte/source-weather
  dockerImageTag: 0.2.0
  license: MIT
  documentationUrl: https://docs.airbyte.com/integrations/sources/weather
  githubIssueLabel: source-weather
  releaseStage: alpha
  tags: [language:python]
  ab_internal: { ql: 100, sl: 100 }
  registryOverrides: { oss: { enabled: true }, cloud: { enabled: false } }
"#;
const DOCS: &str = "# Weather\n\n## Changelog\n\n| 0.2.0 | 2024-01-01 |\n";
const CODE: &str = "URL = 'https://api.example.com'\n";

fn basis() -> Basis {
    let files = vec![format!("{ROOT}/source_weather/source.py")];
    let version = Some("0.1.9".to_owned());
    let change = Change::Known { version, files, count: 1, new: false };
    Basis { airbyte: true, icons: true, change }
}

fn plan(basis: Basis) -> Plan {
    let steps = vec![StepSpec::new("qa".parse().unwrap())];
    let plan = Plan::new("source-weather".parse().unwrap(), ROOT.into(), Inputs::default(), steps);
    plan.unwrap().with_version(Some("0.2.0".to_owned())).with_basis(Some(basis))
}

fn judged(plan: &Plan, files: &[(&str, &[u8])]) -> Report {
    let mut qa = Qa::new(plan);
    for (path, content) in files {
        qa.file(path, content);
    }
    if qa.lacks_page() {
        for (path, content) in files {
            qa.page(path, content);
        }
    }
    qa.finish()
}

/// The good connector, with one file replaced; an empty one is left out.
fn with(basis: Basis, path: &str, content: &str) -> Report {
    let (metadata, code) =
        (format!("{ROOT}/metadata.yaml"), format!("{ROOT}/source_weather/source.py"));
    let icon = format!("{ROOT}/icon.svg");
    let mut files: BTreeMap<&str, &str> =
        [(metadata.as_str(), GOOD), (PAGE, DOCS), (&code, CODE), (&icon, "<svg/>")].into();
    let path = path.replace("ROOT", ROOT);
    files.insert(&path, content);
    let files: Vec<(&str, &[u8])> =
        files.into_iter().filter(|(_, c)| !c.is_empty()).map(|(p, c)| (p, c.as_bytes())).collect();
    judged(&plan(basis), &files)
}

/// The failed cases, each with the findings.
fn failed(report: &Report) -> Vec<(String, String)> {
    let told = |case: &Case| match &case.verdict {
        Verdict::Failed(found) => {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            Some((case.name.clone(), lines.join("\n")))
        }
        Verdict::Passed | Verdict::Skipped(_) => None,
    };
    report.cases.iter().filter_map(told).collect()
}

#[test]
fn a_good_connector_passes_every_check() {
    let report = with(basis(), "x", "");
    assert_eq!(failed(&report), []);
    assert_eq!((report.passed(), report.cases.len()), (6, 6), "{}", report.log());
    assert_eq!(report.outcome(), (Outcome::Succeeded, None));
}

#[test]
fn the_page_is_found_among_any_number_of_them() {
    let others: Vec<String> = (0..100).map(|n| format!("docs/a{n}.md")).collect();
    let (metadata, icon) = (format!("{ROOT}/metadata.yaml"), format!("{ROOT}/icon.svg"));
    let mut files: Vec<(&str, &[u8])> =
        others.iter().map(|path| (path.as_str(), &b"x"[..])).collect();
    let own: [(&str, &[u8]); 3] =
        [(PAGE, DOCS.as_bytes()), (&metadata, GOOD.as_bytes()), (&icon, b"<svg/>")];
    files.extend(own);
    assert_eq!(failed(&judged(&plan(basis()), &files)), [], "the page comes first");
    files.reverse();
    assert_eq!(failed(&judged(&plan(basis()), &files)), [], "the metadata comes first");
}

const METADATA_PATH: &str = "ROOT/metadata.yaml";
const DEFINITION: &str = "metadata follows its definition";
const CHANGELOG: &str = "changelog names the version";

/// A file, what stands in the good one and what instead, the one check that fails, and what is told.
const BREACHES: &[(&str, &str, &str, &str, &str)] = &[
    (
        METADATA_PATH,
        "releaseStage: alpha",
        "releaseStage: apha",
        DEFINITION,
        ":12:17: `data.releaseStage` can't be `apha`; did you mean `alpha`?",
    ),
    (METADATA_PATH, "  license: MIT\n", "", DEFINITION, ":3:3: `data` lacks `license`"),
    (
        METADATA_PATH,
        "ql: 100",
        "qll: 100",
        DEFINITION,
        ":14:18: the definition has no `data.ab_internal.qll`; did you mean `ql`?",
    ),
    (
        METADATA_PATH,
        "ql: 100",
        "ql: 700",
        DEFINITION,
        ":14:22: `data.ab_internal.ql` can't be a number; write a whole number from 0 to 600",
    ),
    (
        METADATA_PATH,
        "data:\n",
        "extra: 1\ndata:\n",
        DEFINITION,
        ":2:1: the definition has no `extra`; remove it; there may be `metadataSpecVersion`, `data`",
    ),
    (
        METADATA_PATH,
        "  license:",
        "  licence_of_mine: x\n  license:",
        DEFINITION,
        ":9:3: the definition has no `data.licence_of_mine`; remove it",
    ),
    (
        METADATA_PATH,
        "metadataSpecVersion: \"1.0\"\n",
        "",
        DEFINITION,
        ":1:1: `the file` has no `metadataSpecVersion`",
    ),
    (
        METADATA_PATH,
        "[language:python]",
        "[language:python, odd]",
        DEFINITION,
        ":13:27: the tag `odd` is no `key:value`",
    ),
    (
        METADATA_PATH,
        "[language:python]",
        "[cdk:python]",
        DEFINITION,
        ":13:9: no tag says the language",
    ),
    (
        METADATA_PATH,
        "oss: { enabled: true }",
        "oss: { enabled: true, colour: red }",
        DEFINITION,
        "has no `data.registryOverrides.oss.colour`",
    ),
    (
        METADATA_PATH,
        "  license:",
        "  releases: { breakingChanges: { \"2.0\": { message: x, upgradeDeadline: 2024-01-01 } } }\n  license:",
        DEFINITION,
        ":9:34: `data.releases.breakingChanges.2.0` is no version",
    ),
    (
        METADATA_PATH,
        "  license:",
        "  releases: { breakingChanges: { \"2.0.0\": { message: x } } }\n  license:",
        DEFINITION,
        "`data.releases.breakingChanges.2.0.0` has no `upgradeDeadline`",
    ),
    (
        METADATA_PATH,
        "  license:",
        "  connectorTestSuitesOptions: [{ suite: unit }]\n  license:",
        DEFINITION,
        "can't be a text; write one of `unitTests`",
    ),
    (
        METADATA_PATH,
        "  license:",
        "  remoteRegistries: { pypi: { enabled: 1, packageName: x } }\n  license:",
        DEFINITION,
        "`data.remoteRegistries.pypi.enabled` can't be a number; write `true` or `false`",
    ),
    (
        PAGE,
        DOCS,
        "",
        "documentation page exists",
        ":10:21: `data.documentationUrl` stands for `docs/integrations/sources/weather.md`, which is not there; write the page",
    ),
    (
        PAGE,
        "0.2.0",
        "0.2.01",
        CHANGELOG,
        "weather.md:3:1: the changelog does not name 0.2.0, the version of the metadata; add a line for 0.2.0",
    ),
    (PAGE, "0.2.0", "1.0.2.0 and 0.2.0-rc.1", CHANGELOG, "weather.md:3:1:"),
    (
        PAGE,
        "## Changelog",
        "## History",
        CHANGELOG,
        "weather.md: the page has no heading \"Changelog\"",
    ),
    (PAGE, DOCS, "0.2.0\n# Changelog\n", CHANGELOG, "weather.md:2:1:"),
    (
        "ROOT/icon.svg",
        "<svg/>",
        "",
        "icon exists",
        "metadata.yaml: there is no icon beside it; add `airbyte-integrations/connectors/source-weather/icon.svg`",
    ),
    (
        "ROOT/a/b.py",
        "",
        "ok = 1\nurl = \"HTTP://api.example.com/v1\"\n",
        "links are https",
        "a/b.py:2:8: `HTTP://api.example.com/v1` is not https; write `https://`",
    ),
    (
        "ROOT/b.py",
        "",
        "u = 'http://localhost.evil.com'",
        "links are https",
        "`http://localhost.evil.com` is not https",
    ),
];

#[test]
fn each_check_fails_by_itself() {
    for (path, from, to, check, expected) in BREACHES {
        let good = match *path {
            METADATA_PATH => GOOD,
            PAGE => DOCS,
            _ => from,
        };
        let content = if from.is_empty() { (*to).to_owned() } else { good.replace(from, to) };
        assert_ne!(content, good, "{from}");
        let report = with(basis(), path, &content);
        let found = failed(&report);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [*check], "{path}: {content}\n{found:?}");
        assert!(found[0].1.contains(expected), "{}\n--- not ---\n{expected}", found[0].1);
        assert_eq!(report.outcome().0, Outcome::Failed);
    }
}

#[test]
fn the_first_of_a_major_version_says_what_breaks() {
    let first = GOOD.replace("0.2.0", "3.0.0");
    let report = with(basis(), METADATA_PATH, &first);
    let told = &failed(&report)[0].1;
    assert!(told.contains(":8:19: 3.0.0 begins a new major version, and nothing says"), "{told}");
    let entry =
        "  releases: { breakingChanges: { 3.0.0: { message: x, upgradeDeadline: 2024-01-01 } } }\n";
    let told = first.replace("  license:", &format!("{entry}  license:"));
    let report = with(basis(), METADATA_PATH, &told);
    assert!(failed(&report).iter().all(|(name, _)| name != DEFINITION), "{:?}", failed(&report));
}

#[test]
fn a_broken_file_is_one_finding() {
    let mut bomb = "a0: &a0 [x]\n".to_owned();
    for n in 1..40 {
        let before = n - 1;
        bomb.push_str(&["a", &n.to_string(), ": &a", &n.to_string(), " ["].concat());
        bomb.push_str(&format!("*a{before},").repeat(5));
        bomb.push_str("x]\n");
    }
    let long = "x".repeat(2 << 20);
    for broken in [bomb.as_str(), "data: [\n", "\tdata: 1\n", "a: 1\n---\nb: 2\n", &long] {
        let report = with(basis(), METADATA_PATH, broken);
        let found = failed(&report);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0.as_str(), found[0].1.lines().count()), (DEFINITION, 1), "{found:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_one_finding() {
    let path = format!("{ROOT}/metadata.yaml");
    let report = judged(&plan(basis()), &[(&path, b"data:\n  name: \xff\n")]);
    let found = failed(&report);
    assert_eq!(found[0].1, format!("{path}:2:1: it is not UTF-8; save it as UTF-8"));
}

#[test]
fn links_that_airbyte_lets_pass() {
    for (path, content) in [
        ("ROOT/unit_tests/a.py", "http://x.example"),
        ("ROOT/integration_tests/expected_records.jsonl", "http://x.example"),
        ("ROOT/src/ATest.java", "http://x.example"),
        ("ROOT/a.json", "{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}"),
        ("ROOT/a.py", "x = 'http://localhost:8080'"),
        ("ROOT/a.py", "  # see http://x.example"),
        ("ROOT/a.py", "x = 'http://x.example'  # ignore-https-check"),
        ("ROOT/a.py", "if url.startswith('http://'):"),
        ("ROOT/a.bin", "\0http://x.example"),
    ] {
        let report = with(basis(), path, content);
        assert_eq!(failed(&report), [], "{path}: {content}");
    }
}

fn versions(change: Change, head: Option<&str>) -> Verdict {
    let plan = plan(Basis { change, ..basis() }).with_version(head.map(str::to_owned));
    let cases = judged(&plan, &[]).cases;
    cases.into_iter().find(|case| case.name == "version is raised").unwrap().verdict
}

#[test]
fn a_change_of_code_raises_the_version() {
    let known = |version: Option<&str>| Change::Known {
        version: version.map(str::to_owned),
        files: vec!["a/b.py".to_owned()],
        count: 3,
        new: false,
    };
    for (base, head) in [
        ("0.1.9", "0.2.0"),
        ("1.9.0", "1.10.0"),
        ("1.0.0-rc.1", "1.0.0"),
        ("1.0.0-rc.9", "1.0.0-rc.10"),
        ("1.0.0", "1.1.0-rc.1"),
        ("odd", "1.0.0"),
    ] {
        assert_eq!(versions(known(Some(base)), Some(head)), Verdict::Passed, "{base} {head}");
    }
    for (base, head, told) in [
        (
            "0.2.0",
            "0.2.0",
            "version 0.2.0 is not above the base's 0.2.0, and `a/b.py` and 2 more change",
        ),
        ("0.10.0", "0.9.0", "is not above"),
        ("1.0.0", "1.0.0-rc.1", "is not above"),
        ("1.0.0-rc.2", "1.0.0-rc.1", "is not above"),
        ("1.0.0-rc.1", "1.1.0-rc.1", "does not follow the release candidate"),
        ("1.0.0", "latest", "can't be compared"),
    ] {
        let Verdict::Failed(found) = versions(known(Some(base)), Some(head)) else {
            panic!("{base} {head}")
        };
        assert!(found[0].text.contains(told), "{}", found[0].text);
    }
    let Verdict::Failed(found) = versions(known(Some("1.0.0")), None) else { panic!() };
    assert!(found[0].text.contains("here there is none"));
    let unknown = |version: Option<&str>| Change::Unknown {
        because: "the diff was cut off".to_owned(),
        version: version.map(str::to_owned),
    };
    let Verdict::Failed(found) = versions(unknown(Some("1.0.0")), Some("1.0.0")) else { panic!() };
    assert!(found[0].text.contains("is not known (the diff was cut off)"));
    assert_eq!(versions(unknown(Some("1.0.0")), Some("1.0.1")), Verdict::Passed);
}

#[test]
fn what_the_version_check_leaves_out_is_said() {
    let known = |version: Option<&str>, count, new| Change::Known {
        version: version.map(str::to_owned),
        files: Vec::new(),
        count,
        new,
    };
    let skipped = |change, head, told: &str| match versions(change, head) {
        Verdict::Skipped(why) => assert!(why.contains(told), "{why}"),
        verdict @ (Verdict::Passed | Verdict::Failed(_)) => panic!("{verdict:?}"),
    };
    skipped(Change::Nothing, Some("1.0.0"), "no base");
    skipped(known(Some("1.0.0"), 0, false), Some("1.0.0"), "no code");
    skipped(known(None, 1, false), None, "neither side");
    skipped(known(None, 1, false), Some("1.0.0"), "the base has no version");
    let because = "shallow".to_owned();
    skipped(Change::Unknown { because, version: None }, Some("1.0.0"), "shallow");
    assert_eq!(versions(known(None, 1, true), Some("1.0.0")), Verdict::Passed);
    let waived = GOOD.replace("sl: 100", "requireVersionIncrementsInPullRequests: false");
    let same = Basis { change: known(Some("0.2.0"), 1, false), ..basis() };
    assert_eq!(failed(&with(same.clone(), "x", "")).len(), 1);
    assert_eq!(failed(&with(same, "ROOT/metadata.yaml", &waived)), []);
}

#[test]
fn tests_and_pages_are_no_code() {
    let file = |path: &str| ChangedFile {
        path: path.replace("ROOT", ROOT),
        status: FileStatus::Modified,
        old_path: None,
    };
    let change =
        |paths: &[&str]| ChangeSet::Complete { files: paths.iter().map(|p| file(p)).collect() };
    let none = [
        "ROOT/metadata.yaml",
        "ROOT/README.md",
        "ROOT/acceptance-test-config.yml",
        "ROOT/unit_tests/test_a.py",
        "ROOT/integration_tests/a.json",
        "ROOT/src/test/java/A.java",
        "ROOT/build.gradle",
        "ROOT-2/a.py",
        "docs/integrations/sources/weather.md",
    ];
    assert_eq!(code_changes(&change(&none), ROOT).1, 0);
    let moved = ChangedFile {
        old_path: Some(format!("{ROOT}/old.py")),
        status: FileStatus::Renamed,
        ..file("elsewhere.py")
    };
    let files = vec![file("ROOT/source.py"), file("ROOT/src/main/A.java"), moved];
    let (named, count) = code_changes(&ChangeSet::Complete { files }, ROOT);
    assert_eq!((named.len(), count), (3, 3), "{named:?}");
    let many: Vec<ChangedFile> = (0..20).map(|n| file(&format!("ROOT/{n}.py"))).collect();
    let (named, count) = code_changes(&ChangeSet::Complete { files: many }, ROOT);
    assert_eq!((named.len(), count), (5, 20));
}

#[test]
fn a_connector_without_metadata_is_judged_by_what_applies() {
    let report =
        judged(&plan(Basis { airbyte: false, ..basis() }), &[(&format!("{ROOT}/a.py"), b"x = 1")]);
    let skips: Vec<String> = report
        .cases
        .iter()
        .filter_map(|case| match &case.verdict {
            Verdict::Skipped(why) => Some(format!("{}: {why}", case.name)),
            Verdict::Passed | Verdict::Failed(_) => None,
        })
        .collect();
    assert_eq!(skips.len(), 4, "{skips:?}");
    assert!(
        skips.iter().all(|skip| skip.ends_with(&format!("there is no `{ROOT}/metadata.yaml`")))
    );
    assert_eq!(report.outcome(), (Outcome::Succeeded, None));
    let nothing = Basis { airbyte: false, icons: false, change: Change::Nothing };
    let (outcome, reason) = judged(&plan(nothing), &[]).outcome();
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.unwrap().starts_with("nothing was judged"));
}

#[test]
fn an_icon_is_asked_for_only_where_others_have_one() {
    let report = with(Basis { icons: false, ..basis() }, "ROOT/icon.svg", "");
    assert_eq!(failed(&report), []);
    let named = GOOD.replace("  license:", "  icon: weather.png\n  license:");
    let path = format!("{ROOT}/metadata.yaml");
    let picture = format!("{ROOT}/weather.png");
    let files: &[(&str, &[u8])] =
        &[(&path, named.as_bytes()), (PAGE, DOCS.as_bytes()), (&picture, b"\0")];
    assert_eq!(failed(&judged(&plan(basis()), files)), []);
}

#[test]
fn a_file_of_one_line_is_walked_through_once() {
    let path = format!("{ROOT}/a.txt");
    for piece in ["http://x.example ", "http://xé", "http://localhost "] {
        let text = piece.repeat((8 << 20) / piece.len());
        let mut links = links::Links::default();
        let begun = std::time::Instant::now();
        links.file(&path, "a.txt", text.as_bytes());
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
        let Verdict::Failed(found) = links.verdict() else {
            assert!(piece.contains("localhost"));
            continue;
        };
        assert_eq!(found.len(), 200);
        let columns: Vec<_> = found[..3].iter().map(|finding| finding.column.unwrap()).collect();
        let width = u32::try_from(piece.chars().count()).unwrap();
        assert_eq!(columns, [1, 1 + width, 1 + 2 * width]);
    }
}
