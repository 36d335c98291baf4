use serde_json::{Value, json};

use super::*;

fn parse(bytes: &[u8]) -> Result<Annotations, String> {
    super::parse(bytes, &Arc::default())
}

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
        (b"{\"version\": [2, [1]]}".to_vec(), "its version is a list; let"),
        (b"{\"version\": {\"a\": {}}}".to_vec(), "its version is an object; let"),
        (format!("{{\"version\": \"{}\"}}", "2".repeat(41)).into_bytes(), "is a long text; let"),
        (b"{\"version\": null}".to_vec(), "it has no `version`"),
        (
            b"{\"version\": \"2.1.0\", \"runs\": [], \"runs\": []}".to_vec(),
            "duplicate field `runs`",
        ),
        (b"{\"version\": \"2.1.0\"}".to_vec(), "it has no `runs`"),
        (b"{\"version\": \"2.1.0\", \"runs\": {}}".to_vec(), "expected a list"),
        (good.as_bytes()[..good.len() - 9].to_vec(), "it is cut off in line 1"),
        (vec![0xff, 0xfe, b'{', 0], "it is no UTF-8 from byte 0 on"),
        ("[".repeat(100_000).into_bytes(), "it is cut off in line 1"),
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
    let all = read(&json!({
        "tool": { "driver": { "name": long } },
        "results": [{ "message": { "text": long } }],
    }));
    let Annotation { message, rule, .. } = &all.kept[0];
    assert!(message.len() <= 4096 && message.ends_with('…'));
    assert!(rule.len() <= 1024 && rule.ends_with('…'));
}

#[test]
fn arguments_are_filled_in_once_and_up_to_what_is_kept() {
    let told = |text: &str, arguments: Value| {
        let message = json!({ "text": text, "arguments": arguments });
        read(&json!({ "results": [{ "message": message }] })).kept.remove(0).message
    };
    assert_eq!(told("{1} and {0}, {2} {x} {", json!(["{1}", "{0}"])), "{0} and {1}, {2} {x} {");
    // With each replaced in what the one before it made, these would be 10^20 bytes.
    let more = |at: usize| Value::from(format!("{{{}}}", at + 1).repeat(10));
    let arguments: Vec<Value> = (0..20).map(more).collect();
    assert_eq!(told("{0}", Value::from(arguments)), "{1}".repeat(10));
    let long = told("{0}{0}{0}", json!(["x".repeat(3000)]));
    assert!(long.len() <= 4096 && long.ends_with("x…"), "{}", long.len());
}

#[test]
fn parts_of_an_id_have_an_end() {
    let rules = json!([{ "id": "A", "defaultConfiguration": { "level": "error" } }]);
    let told = |id: String| {
        let results = json!([{ "ruleId": id, "message": {} }]);
        let run = json!({ "results": results, "tool": { "driver": { "rules": rules } } });
        read(&run).told()
    };
    assert_eq!(told(format!("A{}", "/x".repeat(8))), "1 error");
    assert_eq!(told(format!("A{}", "/x".repeat(9))), "1 warning");
    assert_eq!(told(format!("A/{}", "x".repeat(1023))), "1 warning", "no id is so long");
}

/// Each of its parts would be compared with an id that differs in its last letter alone.
#[test]
fn an_id_of_megabytes_of_slashes_costs_no_more_than_it_is_long() {
    let slashes = "/".repeat(4 << 20);
    let rules = json!([{ "id": format!("{slashes}x") }]);
    let all = read(&json!({
        "results": [{ "ruleId": slashes, "message": { "text": "m" } }],
        "tool": { "driver": { "rules": rules } },
    }));
    assert_eq!(all.told(), "1 warning");
    assert!(all.kept[0].rule.len() <= NAME_MAX && all.kept[0].rule.ends_with("/…"));
}

#[test]
fn a_secret_across_the_cut_is_hidden_however_it_was_written() {
    let secrets = Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap());
    for before in 0..14 {
        let text = format!("{}{{0}}{{1}} and much more", "x".repeat(TEXT_MAX - before));
        // Of the address, what stands for its letters is known to the format alone.
        let uri = format!("{}%73%65same-open-42/and/much/more", "x".repeat(NAME_MAX - before));
        let run = json!({ "results": [{
            "message": { "text": text, "arguments": ["sesame-", "open-42"] },
            "locations": at(&uri, 1),
        }] });
        // Nor does a file know for a secret what it spells letter by letter.
        let log = log(&run).replace("sesame", "\\u0073esame");
        let all = super::parse(log.as_bytes(), &secrets).unwrap();
        let Annotation { message, path, .. } = &all.kept[0];
        for text in [message, path.as_ref().unwrap()] {
            assert!(text.ends_with('…') && !text.contains("se"), "{text}");
        }
    }
}

#[test]
fn many_runs_are_read_one_by_one() {
    let runs =
        "{\"results\":[{\"message\":{}},{\"level\":\"error\",\"message\":{}}]},".repeat(10_000);
    let text = format!(r#"{{"version":"2.1.0","runs":[{}]}}"#, runs.trim_end_matches(','));
    let all = parse(text.as_bytes()).unwrap();
    assert_eq!((all.errors, all.warnings, all.kept.len()), (10_000, 10_000, KEPT));
    assert!(all.kept.iter().all(|found| found.level == Level::Error));
}

#[test]
fn lists_without_end_are_refused() {
    let runs = "{},".repeat(10_001);
    let text = format!(r#"{{"version":"2.1.0","runs":[{}]}}"#, runs.trim_end_matches(','));
    assert_eq!(parse(text.as_bytes()).unwrap_err(), "it has more than 10000 runs");
}
