//! Whatever a reply quotes, GitHub takes it, it ends what it begins, and it calls nobody.

use checkvalve::domain::command;
use checkvalve::domain::policy::Permission;
use checkvalve::domain::trigger::{Scope, Target};
use checkvalve::render::replies::{self, COMMENT_MAX_BYTES};
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::properties::{is_closed, nasty};

const MARK: &str = "<!-- checkvalve answers 12345 -->";

/// What people read of it, without code.
fn read(markdown: &str) -> String {
    let mut in_code = false;
    let mut text = String::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        if matches!(event, Event::Start(Tag::CodeBlock(_)) | Event::End(TagEnd::CodeBlock)) {
            in_code = !in_code;
        } else if let Event::Text(shown) = event
            && !in_code
        {
            text.push_str(&shown);
        }
    }
    text
}

fn calls_nobody(markdown: &str) -> bool {
    let text = read(markdown);
    let called = text.split('@').skip(1).find(|after| after.starts_with(char::is_alphanumeric));
    called.is_none()
}

fn fault(reply: &str) -> Option<&'static str> {
    let Some(said) = reply.strip_suffix(MARK) else { return Some("it is not found again") };
    let faults = [
        (reply.len() > COMMENT_MAX_BYTES, "too long"),
        (!is_closed(said), "open"),
        (!calls_nobody(said), "somebody is called"),
    ];
    faults.into_iter().find_map(|(wrong, fault)| wrong.then_some(fault))
}

prop_compose! {
    /// Sentences as decisions have them, and such as no decision has.
    fn sentences()(
        words in proptest::collection::vec(nasty(), 1..40),
        foreign in proptest::collection::vec(nasty(), 0..4),
        times in prop_oneof![Just(1_usize), Just(3), Just(300)],
    ) -> Vec<String> {
        let targets: Vec<Target> = words
            .iter()
            .map(|word| Target { connector: word.clone(), step: Some(word.clone()) })
            .collect();
        let word = &words[0];
        let written = format!("/test {}\n/cancel --{word} {word}\n/retest @ada", words.join(" "));
        let mut said = command::parse(&written).problems;
        said.extend([
            replies::targets(&targets),
            replies::may_not_command(word, Permission::Write),
            replies::begins_at(word),
            replies::no_step_alone(&targets[0]),
            replies::nothing_to_retest(&targets[0], &[]),
        ]);
        said.extend(replies::will_run(&Scope::Again { targets: targets.clone() }));
        said.extend(targets.iter().map(|one| replies::nothing_to_retest(one, &[])));
        said.extend(foreign);
        std::iter::repeat_n(said, times).flatten().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn github_takes_every_reply(sentences in sentences(), help in any::<bool>()) {
        let mut text = replies::said(&sentences.join("\n"));
        if help {
            text = format!("{text}\n\n{}", command::help());
        }
        let reply = replies::reply(&text, MARK);
        prop_assert_eq!(fault(&reply), None, "{}", reply);
        // What fits is there.
        prop_assert!(reply.contains("*(cut: ") || text.len() < 80_000);
    }
}

#[test]
fn what_we_say_ourselves_is_left_as_it_is() {
    let said = format!("- `source-a` is not run again.\n\n{}", command::help());
    assert_eq!(replies::reply(&said, MARK), format!("{}\n\n{MARK}", said.trim_end()));
}

#[test]
fn a_long_reply_says_that_it_goes_on_and_keeps_its_mark() {
    let many: Vec<String> = (0..4_000).map(|nth| format!("`source-{nth}` is not known.")).collect();
    let reply = replies::reply(&replies::said(&many.join("\n")), MARK);
    assert_eq!(fault(&reply), None);
    assert!(reply.len() > COMMENT_MAX_BYTES - 200, "{}", reply.len());
    assert!(reply.ends_with(&format!("*(cut: it was longer than a comment can be)*\n\n{MARK}")));
}
