//! What whoever approves a commit is to look at, in `checkvalve`: the heaviest files first, and some of
//! each kind, however many and however long the others are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::domain::links::Links;
use crate::domain::run::Run;
use crate::domain::trust::{Decisive, Role, Showing};
use crate::render::markdown::{code, link, one_line, text};

/// Bytes of all of it.
pub(super) const MAX: usize = 4_000;
/// Of these, what each kind has that nothing heavier takes; no line is longer.
const KEPT: usize = 500;
/// For the first line and the last one.
const FRAME: usize = 400;

pub(super) fn shown(own: &Run, showing: &Showing, links: &Links) -> String {
    if let Some(because) = &showing.unknown {
        let because = text(&one_line(because, 500));
        return format!(
            "**Look at every file before you approve:** which of them decide what is run could not \
             be known ({because}).\n\n"
        );
    }
    if showing.files.is_empty() {
        return "The change touches no configuration, no Dockerfile and no script that is known as \
                one; its code is a stranger's all the same.\n\n"
            .to_owned();
    }
    let mut by_role: BTreeMap<Role, Vec<String>> = BTreeMap::new();
    for file in &showing.files {
        by_role.entry(file.role).or_default().push(item(own, file, links));
    }
    let mut list = "**Look at these before you approve: they decide what is run**\n\n".to_owned();
    let mut left = showing.more_of.clone();
    let kept = |items: &Vec<String>| items.iter().map(String::len).sum::<usize>().min(KEPT);
    let mut waiting: usize = by_role.values().map(kept).sum();
    for (role, items) in &by_role {
        waiting -= kept(items);
        let room = MAX - FRAME - waiting;
        for (nth, item) in items.iter().enumerate() {
            if list.len() + item.len() > room {
                *left.entry(*role).or_default() += items.len() - nth;
                break;
            }
            list.push_str(item);
        }
    }
    // Of those that were planned before it was counted by kind.
    let known: usize = showing.more_of.values().sum();
    list.push_str(&rest(&left, showing.more.saturating_sub(known)));
    list.push('\n');
    list
}

/// With a link, if there is room for it. A name is never cut where it would be taken for another's.
fn item(own: &Run, file: &Decisive, links: &Links) -> String {
    let role = file.role.words();
    let url = links.github_file(&own.repository.name, &own.head_sha, &file.path);
    let linked = (!file.shortened).then(|| link(&file.path, &url));
    let names = linked.into_iter().chain([code(&file.path)]);
    let mut items = names.map(|name| format!("- {role}: {name}\n"));
    let fits = items.find(|item| item.len() <= KEPT);
    fits.unwrap_or_else(|| format!("- {role}: {}\n", text(&one_line(&file.path, 60))))
}

/// `- and 7 more: 5 Dockerfile, 2 other`
fn rest(left: &BTreeMap<Role, usize>, unknown: usize) -> String {
    let count = left.values().sum::<usize>() + unknown;
    if count == 0 {
        return String::new();
    }
    let mut line = format!("- **and {count} more**");
    for (nth, (role, count)) in left.iter().enumerate() {
        let _ = write!(line, "{} {count} {}", if nth == 0 { ":" } else { "," }, role.words());
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted_by_kind() {
        let left = BTreeMap::from([(Role::Dockerfile, 5), (Role::Other, 2)]);
        assert_eq!(rest(&left, 0), "- **and 7 more**: 5 Dockerfile, 2 other\n");
        assert_eq!(rest(&BTreeMap::new(), 3), "- **and 3 more**\n");
        assert_eq!(rest(&BTreeMap::new(), 0), "");
    }
}
