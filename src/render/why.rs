//! Reasons in words, alike in checks, pages and the terminal: what changed, by which rule or over
//! which files it leads to a connector. Connectors with the same reason are told of together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::domain::impact::{EVERY_PATH, Reason, Rule};

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word<'a> {
    /// A path, a pattern, a name: as it is.
    Code(Cow<'a, str>),
    Text(Cow<'static, str>),
}

/// Longer paths are cut in their middle: both ends tell more.
const LONGEST: usize = 240;

/// Longer chains are cut in their middle.
const HOPS: usize = 12;
const FIRST_HOPS: usize = 8;
const LAST_HOPS: usize = 3;

/// Connectors whose shortest reason is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// The first member's.
    pub reason: &'a Reason,
    pub members: Vec<Member<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    pub name: &'a str,
    /// How many further reasons it has.
    pub more: usize,
}

/// What the reasons of a group have in common: path, rule, the hops before the connector's own
/// file, and of which other connector it is another build.
type Same<'a> = (&'a str, Rule, &'a [String], Option<&'a str>);

/// Groups connectors by their shortest reason, large groups first; those without a reason are left
/// out.
pub fn groups<'a>(connectors: impl IntoIterator<Item = (&'a str, &'a [Reason])>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut known: BTreeMap<Same<'a>, usize> = BTreeMap::new();
    for (name, reasons) in connectors {
        let Some((reason, further)) = reasons.split_first() else { continue };
        let member = Member { name, more: further.len() };
        // A documentation page and some other file of several connectors read differently.
        let key = (reason.path.as_str(), reason.rule, shared(reason), twin(reason, name));
        if let Some(group) = known.get(&key).and_then(|at| groups.get_mut(*at)) {
            group.members.push(member);
        } else {
            known.insert(key, groups.len());
            groups.push(Group { reason, members: vec![member] });
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
    groups
}

impl<'a> Group<'a> {
    /// The reason, as it holds for all members.
    pub fn words(&self) -> Vec<Word<'a>> {
        match self.members.as_slice() {
            [first, _, ..] if twin(self.reason, first.name).is_none() => of_many(self.reason),
            [first, ..] => words(self.reason, first.name),
            [] => Vec::new(),
        }
    }
}

/// The hops that lead up to a connector; the last file on the way is its own, and no other's.
fn shared(reason: &Reason) -> &[String] {
    match reason.rule {
        Rule::Depends => reason.via.split_last().map(|(_, before)| before).unwrap_or_default(),
        Rule::Root | Rule::Owns | Rule::Impact | Rule::Unclaimed | Rule::Everything => &reason.via,
    }
}

/// The connector of which this one is another build, if that is the reason's last part.
fn twin<'a>(reason: &'a Reason, name: &str) -> Option<&'a str> {
    let last = reason.via.last().filter(|_| reason.rule == Rule::Impact)?;
    let builds = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'))
    };
    (builds(last, name) || builds(name, last)).then_some(last)
}

/// Why one connector is selected, as a sentence without its end.
pub fn words<'a>(reason: &'a Reason, name: &str) -> Vec<Word<'a>> {
    if let Some(twin) = twin(reason, name) {
        return of_twin(reason, twin);
    }
    match reason.rule {
        Rule::Root => vec![path(reason), plain(" lies in its folder")],
        Rule::Owns if is_documentation(&reason.path) => {
            vec![path(reason), plain(" is its documentation page")]
        }
        Rule::Owns => vec![path(reason), plain(" is one of its own files elsewhere")],
        Rule::Impact => of_rule(reason),
        Rule::Depends if reason.via.is_empty() => {
            vec![path(reason), plain(" is a dependency of it")]
        }
        Rule::Depends => chain(path(reason), &reason.via),
        Rule::Unclaimed => of_unclaimed(reason),
        Rule::Everything => of_everything(reason),
    }
}

fn of_many(reason: &Reason) -> Vec<Word<'_>> {
    match reason.rule {
        Rule::Root => vec![path(reason), plain(" lies in the folder of each")],
        Rule::Owns if is_documentation(&reason.path) => {
            vec![path(reason), plain(" is their documentation page")]
        }
        Rule::Owns => vec![path(reason), plain(" is a file of each elsewhere")],
        Rule::Impact => of_rule(reason),
        Rule::Depends => match reason.via.split_last() {
            None => vec![path(reason), plain(" is a dependency of each")],
            Some((own, before)) => {
                let mut words = chain(path(reason), before);
                words.push(Word::Text(format!(" → {} each of them, as at ", verb(own)).into()));
                words.push(short(own));
                words
            }
        },
        Rule::Unclaimed => of_unclaimed(reason),
        Rule::Everything => of_everything(reason),
    }
}

fn of_rule(reason: &Reason) -> Vec<Word<'_>> {
    match reason.via.as_slice() {
        [] => vec![path(reason), plain(" is matched by an impact rule")],
        [pattern] => vec![path(reason), plain(" matches impact rule "), short(pattern)],
        [pattern, rest @ ..] => {
            let first = [path(reason), plain(" matches impact rule "), short(pattern)];
            first.into_iter().chain(chain_on(rest)).collect()
        }
    }
}

fn of_twin<'a>(reason: &'a Reason, twin: &'a str) -> Vec<Word<'a>> {
    let before = reason.via.split_last().map(|(_, before)| before).unwrap_or_default();
    let mut words = match before {
        [] => vec![path(reason)],
        // The file and line of an edge, or the pattern of a rule.
        [first, ..] if edge(first).is_some() => chain(path(reason), before),
        [pattern, ..] => vec![path(reason), plain(" matches impact rule "), short(pattern)],
    };
    let leads = if before.is_empty() { " leads to " } else { ", which leads to " };
    words.extend([plain(leads), short(twin), plain(", another build of it")]);
    words
}

fn of_unclaimed(reason: &Reason) -> Vec<Word<'_>> {
    vec![path(reason), plain(" belongs to no connector, so every connector is tested")]
}

fn of_everything(reason: &Reason) -> Vec<Word<'_>> {
    let every = plain("it is not known what changed, so every connector is tested");
    if reason.path == EVERY_PATH { vec![every] } else { vec![path(reason), plain(": "), every] }
}

/// `path → imported by file:line → required by file:line`
fn chain<'a>(from: Word<'a>, hops: &'a [String]) -> Vec<Word<'a>> {
    std::iter::once(from).chain(chain_on(hops)).collect()
}

fn chain_on(hops: &[String]) -> Vec<Word<'_>> {
    fn words(hop: &str) -> [Word<'_>; 2] {
        [Word::Text(format!(" → {} ", verb(hop)).into()), short(hop)]
    }
    let hop = |hop| words(String::as_str(hop));
    if hops.len() <= HOPS {
        return hops.iter().flat_map(hop).collect();
    }
    let left_out = hops.len() - FIRST_HOPS - LAST_HOPS;
    let (first, last) = (hops.iter().take(FIRST_HOPS), hops.iter().skip(hops.len() - LAST_HOPS));
    let gap = [Word::Text(format!(" → … {left_out} more …").into())];
    first.flat_map(hop).chain(gap).chain(last.flat_map(hop)).collect()
}

/// The file of `file:line`.
fn edge(hop: &str) -> Option<&str> {
    let (file, line) = hop.rsplit_once(':')?;
    (!line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())).then_some(file)
}

/// How a file names what it needs.
fn verb(hop: &str) -> &'static str {
    let Some(file) = edge(hop) else { return "used by" };
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    let ends = |ending: &str| name.ends_with(ending);
    if name == "setup.py" || ends(".toml") || ends(".txt") || ends(".mod") {
        "required by"
    } else if ends(".gradle") || ends(".kts") {
        "a project of"
    } else if ends(".py") || ends(".go") {
        "imported by"
    } else {
        "used by"
    }
}

/// A page that people read: Markdown of a connector that lies elsewhere.
fn is_documentation(path: &str) -> bool {
    let path = path.rsplit_once('.');
    path.is_some_and(|(_, ending)| matches!(ending, "md" | "mdx" | "rst"))
}

fn path(reason: &Reason) -> Word<'_> {
    if reason.path.is_empty() { Word::Code("the whole tree".into()) } else { short(&reason.path) }
}

fn plain<'a>(text: &'static str) -> Word<'a> {
    Word::Text(text.into())
}

/// A path or name of a length that a line can have.
pub fn short(text: &str) -> Word<'_> {
    Word::Code(shortened(text))
}

/// The text, or both of its ends.
pub fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let start = &text[..text.floor_char_boundary(LONGEST / 2)];
    let end = &text[text.ceil_char_boundary(text.len() - LONGEST / 2)..];
    format!("{start}…{end}").into()
}

/// `; 2 more reasons`, `; 19 or more further reasons`: nothing for none.
pub fn further(more: usize) -> String {
    const ALL_KEPT: usize = crate::domain::impact::MAX_REASONS - 1;
    match more {
        0 => String::new(),
        1 => "1 more reason".to_owned(),
        ALL_KEPT.. => format!("{more} more reasons, or more than that"),
        _ => format!("{more} more reasons"),
    }
}

/// Words without any markup.
pub fn plain_text(words: &[Word<'_>]) -> String {
    words
        .iter()
        .map(|word| match word {
            Word::Code(code) => code.as_ref(),
            Word::Text(text) => text.as_ref(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(path: &str, rule: Rule, via: &[&str]) -> Reason {
        let via = via.iter().map(|one| (*one).to_owned()).collect();
        Reason { path: path.to_owned(), rule, via }
    }

    fn said(path: &str, rule: Rule, via: &[&str]) -> String {
        plain_text(&words(&reason(path, rule, via), "source-a"))
    }

    #[test]
    fn each_rule_has_its_words() {
        let imported = ["boilerplate/m.go:12", "source-a/main.go:9"];
        let sentences = [
            said("source-a/main.py", Rule::Root, &[]),
            said("docs/a.md", Rule::Owns, &[]),
            said("tests/a/x.json", Rule::Owns, &[]),
            said("shared/x.py", Rule::Impact, &["shared/**"]),
            said("go/x.go", Rule::Depends, &imported),
            said("base/x", Rule::Depends, &["lib/pyproject.toml:3", "source-a/Dockerfile:1"]),
            said("base/x", Rule::Depends, &["source-a/build.gradle:7"]),
            said("Makefile", Rule::Unclaimed, &[]),
            said(EVERY_PATH, Rule::Everything, &[]),
            said("x.py", Rule::Impact, &["source-a-strict-encrypt"]),
            said("x.py", Rule::Impact, &["shared/**", "source-a-strict-encrypt"]),
        ];
        insta::assert_snapshot!(sentences.join("\n"), @r"
        source-a/main.py lies in its folder
        docs/a.md is its documentation page
        tests/a/x.json is one of its own files elsewhere
        shared/x.py matches impact rule shared/**
        go/x.go → imported by boilerplate/m.go:12 → imported by source-a/main.go:9
        base/x → required by lib/pyproject.toml:3 → used by source-a/Dockerfile:1
        base/x → a project of source-a/build.gradle:7
        Makefile belongs to no connector, so every connector is tested
        it is not known what changed, so every connector is tested
        x.py leads to source-a-strict-encrypt, another build of it
        x.py matches impact rule shared/**, which leads to source-a-strict-encrypt, another build of it
        ");
    }

    #[test]
    fn connectors_with_one_reason_are_one_group() {
        let by = |edge: &str| vec![reason("cdk/http.py", Rule::Depends, &["cdk/x.py:1", edge])];
        let own = vec![reason("b/main.py", Rule::Root, &[]), reason("b/x.py", Rule::Root, &[])];
        let (a, c) = (by("a/main.py:9"), by("c/run.py:2"));
        let all: [(&str, &[Reason]); 4] = [("b", &own), ("a", &a), ("c", &c), ("none", &[])];
        let groups = groups(all);
        let told: Vec<String> = groups
            .iter()
            .map(|group| {
                let names: Vec<&str> = group.members.iter().map(|member| member.name).collect();
                format!("{}: {}", names.join(", "), plain_text(&group.words()))
            })
            .collect();
        assert_eq!(
            told,
            [
                "a, c: cdk/http.py → imported by cdk/x.py:1 → imported by each of them, as at a/main.py:9",
                "b: b/main.py lies in its folder",
            ]
        );
        assert_eq!(groups[1].members[0].more, 1);
    }

    #[test]
    fn whatever_is_long_is_cut_in_its_middle() {
        let long = format!("start/{}/end", "ü".repeat(2_000));
        let told = said(&long, Rule::Root, &[]);
        assert!(told.len() < LONGEST + 40 && told.starts_with("start/ü"), "{told}");
        assert!(told.contains("ü/end lies in its folder"), "{told}");
        let hops: Vec<String> = (0..100).map(|n| format!("lib{n}/m.py:{n}")).collect();
        let hops: Vec<&str> = hops.iter().map(String::as_str).collect();
        let told = said("x.py", Rule::Depends, &hops);
        assert!(told.contains("lib7/m.py:7 → … 89 more … → imported by lib97/"), "{told}");
        assert!(told.ends_with("lib99/m.py:99"), "{told}");
    }
}
