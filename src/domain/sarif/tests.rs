use serde_json::{Value, json};

use super::*;

fn log(run: &Value) -> String {
    json!({ "$schema": "https://example.test/sarif", "version": "2.1.0", "runs": [run] })
        .to_string()
}

fn read(run: &Value) -> Annotations {
    parse(log(run).as_bytes()).unwrap()
}

fn at(uri: &str, line: u32) -> Value {
    let region = json!({ "startLine": line, "startColumn": 5, "endLine": line + 1 });
    json!([{ "physicalLocation": { "artifactLocation": { "uri": uri }, "region": region } }])
}

#[test]
fn a_finding_is_told_with_tool_rule_and_place() {
    let all = read(&json!({
        "results": [{ "ruleId": "S105", "level": "error", "message": { "text": "a password\n" },
                      "locations": at("./src/a%20b.py", 7) }],
        "tool": { "driver": { "name": "ruff", "rules": [] } },
    }));
    let expected = Annotation {
        level: Level::Error,
        rule: "ruff: S105".to_owned(),
        message: "a password".to_owned(),
        path: Some("src/a b.py".to_owned()),
        line: Some(7),
        end_line: Some(8),
        column: Some(5),
    };
    assert_eq!(all, Annotations { errors: 1, kept: vec![expected], ..Annotations::default() });
    assert_eq!(all.kept[0].place().unwrap(), "src/a b.py:7");
}

#[test]
fn what_a_result_leaves_out_its_rule_says_wherever_that_stands() {
    let rules = json!([
        { "id": "A", "defaultConfiguration": { "level": "error" },
          "messageStrings": { "m": { "text": "{0} is {1}" } } },
        { "id": "B", "defaultConfiguration": { "level": "note" } },
        { "id": "C" },
        { "id": "D", "defaultConfiguration": { "level": "none" } },
    ]);
    let results = json!([
        { "ruleId": "A/part", "message": { "id": "m", "arguments": ["x", "bad"] } },
        { "ruleIndex": 1, "message": { "text": "by its place" } },
        { "rule": { "id": "C" }, "message": { "markdown": "**c**" } },
        { "ruleId": "D", "message": { "text": "no finding" } },
        { "ruleId": "unknown", "message": { "id": "m" } },
        { "message": {} },
    ]);
    let extension = json!([{ "name": "more", "rules": [{ "id": "E" }] }]);
    let all = read(&json!({
        "results": results,
        "tool": { "extensions": extension, "driver": { "rules": rules } },
    }));
    assert_eq!(all.told(), "1 error, 3 warnings, 1 note");
    let told: Vec<_> = all.kept.iter().map(|a| (a.rule.as_str(), a.message.as_str())).collect();
    let expected = [
        ("A/part", "x is bad"),
        ("C", "**c**"),
        ("unknown", "message `m`"),
        ("", ""),
        ("B", "by its place"),
    ];
    assert_eq!(told, expected, "the gravest first");
}

#[test]
fn what_is_no_finding_is_passed_over() {
    let results = json!([
        { "level": "error", "kind": "pass", "message": {} },
        { "level": "error", "kind": "notApplicable", "message": {} },
        { "level": "none", "message": {} },
        { "level": "error", "baselineState": "absent", "message": {} },
        { "level": "error", "suppressions": [{ "kind": "inSource" }], "message": {} },
        { "level": "error", "suppressions": [], "message": { "text": "one" } },
        { "level": "error", "suppressions": [{ "kind": "external", "status": "rejected" }], "message": {} },
        { "level": "warning", "kind": "review", "message": {} },
    ]);
    assert_eq!(read(&json!({ "results": results })).told(), "2 errors, 1 warning");
    assert_eq!(read(&json!({ "results": null })), Annotations::default());
    assert_eq!(read(&json!({ "tool": { "driver": {} } })), Annotations::default());
}

#[test]
fn what_is_no_sarif_is_said_to_be_none() {
    let good = log(&json!({ "results": [{ "message": { "text": "ü" } }] }));
    for (bytes, told) in [
        (b"".to_vec(), "it is cut off in line 1"),
        (b"{".to_vec(), "it is cut off in line 1"),
        (b"not json".to_vec(), "it is no SARIF: expected"),
        (b"[]".to_vec(), "it is no SARIF"),
        (b"{}".to_vec(), "it has no `version`"),
        (b"{\"version\": 1}".to_vec(), "its version is 1; let the tool write 2.1.0"),
        (b"{\"version\": \"2.0.0\", \"runs\": 7}".to_vec(), "its version is \"2.0.0\""),
        (b"{\"version\": \"2.1.0\"}".to_vec(), "it has no `runs`"),
        (b"{\"version\": \"2.1.0\", \"runs\": {}}".to_vec(), "expected a list"),
        (good.as_bytes()[..good.len() - 9].to_vec(), "it is cut off in line 1"),
        (vec![0xff, 0xfe, b'{', 0], "it is no UTF-8 from byte 0 on"),
        ("[".repeat(100_000).into_bytes(), "it is no SARIF: recursion limit"),
    ] {
        let why = parse(&bytes).unwrap_err();
        assert!(why.contains(told), "{why} --- {told}");
    }
    let marked = format!("\u{feff}{good}");
    assert_eq!(parse(marked.as_bytes()).unwrap().warnings, 1);
}

#[test]
fn a_million_results_are_counted_and_the_gravest_kept() {
    let mut text = String::from(r#"{"version":"2.1.0","runs":[{"results":["#);
    for _ in 0..1_000_000 {
        text.push_str(r#"{"ruleId":"R","message":{"text":"t"}},"#);
    }
    text.push_str(r#"{"level":"error","message":{"text":"last"}}],"#);
    let rules =
        r#""tool":{"driver":{"rules":[{"id":"R","defaultConfiguration":{"level":"note"}}]}}"#;
    text.push_str(rules);
    text.push_str("}]}");
    let all = parse(text.as_bytes()).unwrap();
    assert_eq!((all.errors, all.notes, all.kept.len()), (1, 1_000_000, KEPT));
    assert_eq!(all.kept[0].message, "last");
    assert_eq!(all.more(), 1_000_001 - 200);
    let long = "x".repeat(100_000);
    let all = read(&json!({ "results": [{ "message": { "text": long }, "ruleId": long }] }));
    assert!(all.kept[0].message.len() <= 4096 && all.kept[0].message.ends_with('…'));
}

#[test]
fn lists_without_end_are_refused() {
    let runs = "{},".repeat(10_001);
    let text = format!(r#"{{"version":"2.1.0","runs":[{}]}}"#, runs.trim_end_matches(','));
    assert_eq!(parse(text.as_bytes()).unwrap_err(), "it has more than 10000 runs");
}
