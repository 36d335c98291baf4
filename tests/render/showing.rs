//! What whoever approves a commit is to look at.

use checkvalve::domain::check::SUMMARY_MAX_BYTES;
use checkvalve::domain::run::{ProblemKind, Run};
use checkvalve::domain::trigger::Trigger;
use checkvalve::domain::trust::{Decisive, Role, Showing, Trust};
use checkvalve::render::checks::desired;

use pulldown_cmark::{Event, Parser, Tag};

use super::sample::{broken, links, run};

fn summary(showing: Showing) -> String {
    let awaited = broken(1, ProblemKind::NotTrusted, "mallory may not write", "Look at it.\n\n");
    let mut run = run(1, Trigger::PullRequest, Vec::new());
    run.selection.as_mut().unwrap().showing = Some(showing);
    let run = Run { trust: Trust::Untrusted, problem: awaited.problem, ..run };
    desired(&[run], &links()).remove(0).summary
}

fn of(role: Role, path: &str) -> Decisive {
    Decisive { role, path: path.to_owned(), shortened: path.contains('…') }
}

#[test]
fn names_neither_close_what_they_stand_in_nor_push_out_what_is_heavier() {
    let names: [&dyn Fn(usize) -> String; 6] = [
        &|n| format!("{n}/{}", "`".repeat(190)),
        &|n| format!("{n}/{}", "é".repeat(98)),
        &|n| format!("{n}/](https://evil.example)<img src=x onerror=alert(1)> @ada {n}"),
        &|n| format!("{n}/\n\n# INJECTED\n\n{n}"),
        &|n| format!("{n}/{}…{}", "<".repeat(99), "@".repeat(99)),
        &|n| format!("{n}/a\u{202e}b"),
    ];
    for name in names {
        let mut files = vec![of(Role::Configuration, ".github/checkvalve.yml")];
        for role in [Role::Dockerfile, Role::Read, Role::Script, Role::Other] {
            files.extend((0..15).map(|n| of(role, &name(n))));
        }
        let more_of = [(Role::Dockerfile, 4_000), (Role::Other, 70)].into();
        let showing = Showing { files, more: 4_070, more_of, unknown: None };
        let summary = summary(showing);
        assert!(summary.len() <= SUMMARY_MAX_BYTES);
        let list = summary.split("**Look at these before you approve").nth(1).unwrap();
        let list = list.split("\n\n").nth(1).unwrap();
        let lines: Vec<&str> = list.lines().collect();
        assert!(lines[0].starts_with("- configuration: [.github/checkvalve.yml]("), "{list}");
        for role in [Role::Dockerfile, Role::Read, Role::Script, Role::Other] {
            let begins = format!("- {}: ", role.words());
            assert!(lines.iter().any(|line| line.starts_with(&begins)), "{begins}: {list}");
        }
        let (rest, shown) = lines.split_last().unwrap();
        let count = 4_070 + 61 - shown.len();
        assert!(rest.starts_with(&format!("- **and {count} more**: ")), "{rest}");
        assert!(shown.iter().all(|line| line.starts_with("- ")), "{list}");
        assert!(!list.contains('\u{202e}'), "{list}");
        for event in Parser::new(list) {
            if let Event::Html(html) | Event::InlineHtml(html) = event {
                panic!("{html}: {list}");
            } else if let Event::Start(Tag::Link { dest_url, .. }) = event {
                assert!(dest_url.starts_with(&links().github), "{dest_url}: {list}");
            } else if let Event::Start(Tag::Heading { .. }) = event {
                panic!("{list}");
            }
        }
    }
}
