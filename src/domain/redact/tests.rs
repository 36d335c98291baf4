use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use proptest::prelude::*;

use super::{Left, MASK, RedactedStream, Redactor};
use crate::domain::names::SecretName;

fn redactor(values: &[&str]) -> Redactor {
    let names: Vec<SecretName> =
        (0..values.len()).map(|n| format!("s{n}").parse().unwrap()).collect();
    let values = names.iter().zip(values.iter().map(|value| value.as_bytes()));
    Redactor::new(values, "source-postgres-strict").unwrap()
}

fn in_pieces(redactor: &Arc<Redactor>, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = RedactedStream::new(redactor.clone());
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&stream.finish());
    out
}

const SECRET: &str = "p@ss/w\u{f6}rd \"x\" & <y>";

fn forms(secret: &str) -> Vec<String> {
    let url = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC);
    let json = serde_json::to_string(secret).unwrap();
    let mut forms = vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        hex::encode(secret),
        hex::encode_upper(secret),
        url.to_string().replace("%2E", ".").replace("%2D", "-").replace("%5F", "_"),
    ];
    // At each alignment, what no neighbour changes.
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{secret}");
        let first = [0, 2, 3][before.len() % 3] + before.len() / 3 * 4;
        let whole = text.len() * 8 / 6;
        forms.push(STANDARD.encode(&text)[first..whole].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&text)[first..whole].to_owned());
    }
    forms
}

#[test]
fn every_form_of_a_value_is_masked() {
    let redactor = redactor(&[SECRET]);
    for form in forms(SECRET) {
        let text = format!("before {form} after");
        assert_eq!(redactor.text(&text), "before *** after", "{form}");
    }
    for form in [
        r#"p@ss\/w\u00f6rd \"x\" & <y>"#,
        "p%40ss%2fw%c3%b6rd%20%22x%22%20%26%20%3cy%3e",
        "p%40ss%2Fw%C3%B6rd+%22x%22+%26+%3Cy%3E",
        "p%40ss/w%C3%B6rd%20%22x%22%20%26%20%3Cy%3E",
        "p@ss/w\u{f6}rd &quot;x&quot; &amp; &lt;y&gt;",
        "p@ss/w\u{f6}rd \"x\" &amp; &lt;y&gt;",
        "p@ss/w\u{f6}rd &#34;x&#34; &amp; &lt;y&gt;",
    ] {
        assert_eq!(redactor.text(form), MASK, "{form}");
    }
}

#[test]
fn what_programs_print_of_a_file_is_masked() {
    let key = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n{}\n-----END PRIVATE KEY-----\n",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDGzX",
        "Zq8Jd0pY3c1sT5uV7wX9yA2bC4dE6fG8hI0jK2lM4nO6pQ8rS0tU2v"
    );
    let account = serde_json::json!({
        "type": "service_account",
        "start_date": "2021-01-01T00:00:00Z",
        "private_key": key,
        "nested": [{ "token": "tok-123456789" }],
        "embedded": "{\"inner\": \"inner-secret-1\"}",
    });
    let account = serde_json::to_string_pretty(&account).unwrap();
    let redactor = redactor(&[&account]);
    let whole = STANDARD.encode(&account);
    let lines: Vec<&[u8]> = whole.as_bytes().chunks(76).collect();
    let wrapped = lines.join(&b'\n');
    let wrapped = redactor.bytes(&wrapped);
    assert!(wrapped.iter().filter(|b| b.is_ascii_alphanumeric()).count() < 8, "{wrapped:?}");
    for leak in [
        "tok-123456789",
        "inner-secret-1",
        "Zq8Jd0pY3c1sT5uV7wX9yA2bC4dE6fG8hI0jK2lM4nO6pQ8rS0tU2v",
    ] {
        assert_eq!(redactor.text(&format!("<{leak}>")), "<***>");
    }
    for kept in ["service_account", "2021-01-01T00:00:00Z", "-----BEGIN PRIVATE KEY-----"] {
        assert_eq!(redactor.text(&format!("<{kept}>")), format!("<{kept}>"));
    }
    let yaml = self::redactor(&["host: db.example.org\npassword: 'it''s a secret'\nport: 5432\n"]);
    assert_eq!(yaml.text("it's a secret at db.example.org:5432"), "*** at ***:5432");
}

#[test]
fn short_and_common_values_are_left_and_named() {
    let left = ["short", "true", "localhost", "20261121", "2026-11-21", "postgres", "aaaaaaaaaaaa"];
    let redactor = redactor(&left);
    assert_eq!(redactor.left().len(), left.len());
    let text = left.join(" ");
    assert_eq!(redactor.text(&text), text);
    assert_eq!(self::redactor(&["1234567890", "hunter2-hunter2"]).left().len(), 0);
}

#[test]
fn values_that_overlap_are_all_gone() {
    let redactor = redactor(&["abcdefgh12345678", "12345678zzzzyyyy", "gh123456"]);
    assert_eq!(redactor.text("<abcdefgh12345678zzzzyyyy>"), "<***>");
    assert_eq!(redactor.text("<gh123456><12345678zzzzyyy>"), "<***><12345678zzzzyyy>");
}

#[test]
fn only_what_could_be_a_begin_is_held_back() {
    let redactor = Arc::new(redactor(&["sesame-open-42"]));
    let mut stream = RedactedStream::new(redactor.clone());
    assert_eq!(stream.push(Bytes::from_static(b"hello\n")), "hello\n");
    assert_eq!(stream.push(Bytes::from_static(b"say sesame-")), "say ");
    assert_eq!(stream.push(Bytes::from_static(b"street\nsesame-open-")), "sesame-street\n");
    assert_eq!(stream.push(Bytes::from_static(b"42!")), "***!");
    assert_eq!(in_pieces(&redactor, &[b"sesame", b"-open"]), b"sesame-open");
}

#[test]
fn html_safe_json_is_masked() {
    let redactor = redactor(&["a<b>c&d=e'f\"g+h`i"]);
    for form in [
        r#"a\u003cb\u003ec\u0026d=e'f\"g+h`i"#,
        r#"a\u003cb\u003ec\u0026d\u003de\u0027f\"g+h`i"#,
        r"a\u003Cb\u003Ec\u0026d=e\u0027f\u0022g\u002Bh\u0060i",
        r#"a\\u003cb\\u003ec\\u0026d=e'f\\\"g+h`i"#,
    ] {
        assert_eq!(redactor.text(form), MASK, "{form}");
    }
    let net = self::redactor(&["\u{f6}-back\\slash\\\"x"]);
    assert_eq!(net.text(r"\u00F6-back\\slash\\\u0022x"), MASK);
}

#[test]
fn quotings_of_shells_and_bare_xml_are_masked() {
    let redactor = redactor(&["it's <a> secret"]);
    for form in [r"it'\''s <a> secret", r#"it'"'"'s <a> secret"#, "it's &lt;a> secret"] {
        assert_eq!(redactor.text(form), MASK, "{form}");
    }
    assert_eq!(self::redactor(&["c2VzYW1lLW9wZW4=="]).text("<c2VzYW1lLW9wZW4>"), "<***>");
}

#[test]
fn numbers_are_parts_as_they_are_written() {
    for document in [
        r#"{"a": "x \" 5 {", "pin": 98765432109876543210987, "n": [1.500000000010, 42]}"#,
        "a: x\npin: 98765432109876543210987\nn: [1.500000000010, 42]\n",
    ] {
        let redactor = redactor(&[document]);
        let text = "98765432109876543210987 1.500000000010 42";
        assert_eq!(redactor.text(text), "*** *** 42", "{document}");
    }
}

#[test]
fn what_lines_assign_is_a_part() {
    let env = "# of production: none\nexport TOKEN='tok-123456789'\nKEY = \"key-123456789\"\n\
               pass: pas-123456789 # mine\nurl=https://h.example/\n[broken: {\n";
    let redactor = redactor(&[env]);
    for part in ["tok-123456789", "key-123456789", "pas-123456789"] {
        assert_eq!(redactor.text(&format!("<{part}>")), "<***>");
    }
    assert_eq!(self::redactor(&["PASSWORD=hunter2-hunter2"]).text("hunter2-hunter2"), MASK);
}

#[test]
fn passwords_of_urls_are_parts() {
    let redactor = redactor(&[
        r#"{"dsn": "postgres://reader:pass%2Fword-1@db.example/x"}"#,
        "https://u:with/slash@h.example",
    ]);
    for password in ["pass%2Fword-1", "pass/word-1", "with/slash"] {
        assert_eq!(redactor.text(password), MASK, "{password}");
    }
}

#[test]
fn a_byte_order_mark_hides_no_parts() {
    let redactor = redactor(&["\u{feff}{\"token\": \"tok-123456789\"}"]);
    assert_eq!(redactor.text("<tok-123456789>"), "<***>");
    assert_eq!(redactor.text("{\"token\": \"tok-123456789\"}"), MASK);
}

#[test]
fn names_of_which_parts_are_left_are_told() {
    let redactor = redactor(&[
        r#"{"token": "tok-123456789", "pin": "1234"}"#,
        r#"{"token": "tok-123456789", "port": 5432}"#,
        "TOKEN=tok-123456789\nPIN=1234\n",
        r#"{"token": "tok-123456789", "on": true, "none": ""}"#,
        "tok-123456789",
        "1234",
    ]);
    let left: Vec<_> = redactor.left().iter().map(|(name, left)| (name.as_str(), *left)).collect();
    let expected =
        [("s0", Left::Parts), ("s1", Left::Parts), ("s2", Left::Parts), ("s5", Left::Whole)];
    assert_eq!(left, expected);
}

#[test]
fn large_values_are_bounded() {
    // No two pieces of it are the same.
    let large = (0..9000).map(|n| format!("{n:07}")).collect::<Vec<_>>().concat();
    let forms = super::Forms::of(large.as_bytes(), "source-x");
    assert!(forms.patterns.iter().map(Vec::len).sum::<usize>() < 12 * large.len());
    let redactor = redactor(&[&large]);
    assert_eq!(redactor.text(&large), MASK);
    for before in ["", "a", "ab"] {
        let encoded = STANDARD.encode(format!("{before}{large}"));
        assert!(redactor.text(&encoded).len() < 16);
    }
    let names: Vec<SecretName> = (0..5).map(|n| format!("s{n}").parse().unwrap()).collect();
    let values = names.iter().map(|name| (name, large.as_bytes()));
    assert!(Redactor::new(values, "x").unwrap_err().contains("larger than 256 KiB together"));
}

#[test]
fn many_lines_take_no_time_that_grows_with_their_square() {
    let lines = (0..5000).map(|n| format!("{:08}-x\n", n * 7919)).collect::<Vec<_>>().concat();
    let begun = std::time::Instant::now();
    assert!(super::Forms::of(lines.as_bytes(), "source-x").patterns.len() > 5000);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn any_chunking_redacts_as_the_whole(
        values in prop::collection::vec("[abc%+/ \"]{8,12}", 1..4),
        parts in prop::collection::vec((0usize..9, "[abc%+/ \"]{0,6}"), 0..12),
        cuts in prop::collection::vec(0usize..400, 0..12),
    ) {
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let redactor = Arc::new(redactor(&texts));
        let mut text = String::new();
        for (form, between) in &parts {
            let value = &values[form % values.len()];
            text.push_str(&forms(value)[*form]);
            text.push_str(between);
        }
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &bytes[two[0]..two[1]]).collect();
        let whole = redactor.bytes(bytes);
        prop_assert_eq!(in_pieces(&redactor, &pieces), whole.as_ref());
        let shown = String::from_utf8_lossy(&whole).into_owned();
        // A blank at an end is no part of a value that is looked for.
        let left = redactor.left().len();
        for value in values.iter().filter(|_| left == 0) {
            for form in forms(value.trim()).iter().filter(|_| value.trim().len() >= 8) {
                prop_assert!(!shown.contains(form.as_str()), "{form} in {shown}");
            }
        }
    }
}
