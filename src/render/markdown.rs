//! Markdown that stays closed: whatever stands in a name, a message or a log shows as text and
//! ends where it should.

use std::borrow::Cow;

use crate::domain::terminal::visible;

/// The longest start of `text` of at most `max` bytes that ends at a character.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// One line of at most `max` characters, for a check's title, which is plain text.
pub fn one_line(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).map(visible).collect();
    if line.chars().count() <= max {
        return line;
    }
    let mut cut: String = line.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Text as text: Markdown's and HTML's signs escaped where they would act, on one line.
pub fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // A zero-width space keeps GitHub from telling someone that they were mentioned.
            '@' => escaped.push_str("@\u{200b}"),
            // Within a word, as in `spec_test`, it is no emphasis.
            '_' if word(before) && word(chars.peek().copied()) => escaped.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => escaped.extend(['\\', c]),
            // Nor from linking to an issue that has nothing to do with it.
            '#' if chars.peek().is_some_and(char::is_ascii_digit) => escaped.push_str("#\u{200b}"),
            '#' | '-' | '+' | '=' if before.is_none() => escaped.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => escaped.push(' '),
            c => escaped.push(visible(c)),
        }
        before = Some(c);
    }
    escaped
}

/// A sentence of ours: what stands between backticks is code, the rest is text.
pub fn prose(sentence: &str) -> String {
    let mut parts: Vec<&str> = sentence.split('`').collect();
    // One backtick without another is a backtick.
    let odd = if parts.len().is_multiple_of(2) { parts.pop() } else { None };
    let shown = parts.iter().enumerate().map(|(index, part)| match index % 2 {
        1 => code(part),
        _ => text(part),
    });
    let shown: String = shown.collect();
    odd.map_or_else(|| shown.clone(), |rest| format!("{shown}\\`{}", text(rest)))
}

/// Inline code that its content can't close; a `|` is escaped, as tables want it.
pub fn code(content: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { visible(c) };
    let line: String = content.chars().map(plain).collect();
    let line = line.replace('|', "\\|");
    if line.trim().is_empty() {
        return "` `".to_owned();
    }
    let fence = "`".repeat(longest_run(&line, '`') + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{line}{pad}{fence}")
}

/// A block in a fence longer than any inside, within `max` bytes altogether. What is cut is said
/// under the fence. Empty when nothing useful fits.
pub fn fenced(content: &str, max: usize) -> String {
    const CUT: &str = "\n\n*(cut: it was longer than a check can show)*\n\n";
    let seen = content.contains(|c| visible(c) != c);
    let content: Cow<'_, str> =
        if seen { content.chars().map(visible).collect() } else { content.into() };
    let fence = "`".repeat(longest_run(&content, '`').max(2) + 1);
    let frame = 2 * fence.len() + "text\n".len() + "\n\n\n".len();
    let content = content.trim_end();
    if content.is_empty() || frame + CUT.len() + 40 > max {
        return String::new();
    }
    let (shown, note) = if content.len() + frame <= max {
        (Cow::Borrowed(content), "\n\n")
    } else {
        (Cow::Owned(cut(content, max - frame - CUT.len()).to_owned()), CUT)
    };
    format!("{fence}text\n{shown}\n{fence}{note}")
}

/// Markdown of ours within `max` bytes, with every fence closed and no HTML in it, so that what
/// follows is not swallowed by what a message quotes.
pub fn closed(markdown: &str, max: usize) -> String {
    closed_or(markdown, max, "\n*(cut: it was longer than a check can show)*\n\n")
}

/// The same; `cut` says that it goes on.
pub fn closed_or(markdown: &str, max: usize, cut: &str) -> String {
    const CLOSING: usize = 16;
    let mut closed = String::new();
    let mut fence: Option<&str> = None;
    // A return alone ends a line, too.
    let markdown = markdown.replace("\r\n", "\n").replace('\r', "\n");
    for line in markdown.lines() {
        let marks = fence_marks(line);
        let in_fence = fence.is_some() || marks.is_some();
        let shown = if in_fence { Cow::Borrowed(line) } else { without_html(line) };
        if closed.len() + shown.len() + CLOSING + cut.len() > max {
            return finish(closed, fence) + cut;
        }
        fence = match (fence, marks) {
            // A fence longer than what closing it may cost is none of ours.
            (None, Some(marks)) if marks.len() >= CLOSING - 1 => continue,
            (None, marks) => marks,
            (Some(open), Some(marks)) if marks.starts_with(open) && line.trim() == marks => None,
            (open, _) => open,
        };
        closed.push_str(&shown);
        closed.push('\n');
    }
    finish(closed, fence) + "\n"
}

fn finish(mut text: String, fence: Option<&str>) -> String {
    if let Some(fence) = fence {
        text.push_str(fence);
        text.push('\n');
    }
    text
}

/// The three or more backticks or tildes that open or close a fence on this line.
fn fence_marks(line: &str) -> Option<&str> {
    let start = line.trim_start_matches(' ');
    let sign = start.chars().next().filter(|sign| matches!(sign, '`' | '~'))?;
    let marks = &start[..start.len() - start.trim_start_matches(sign).len()];
    // After backticks another one makes them inline code.
    let inline = sign == '`' && start[marks.len()..].contains('`');
    (line.len() - start.len() <= 3 && marks.len() >= 3 && !inline).then_some(marks)
}

/// Escapes what would begin a tag or a comment, or call somebody, but for inline code; and backticks
/// that nothing on the line closes, which would make code of what follows.
fn without_html(line: &str) -> Cow<'_, str> {
    if !line.contains(['<', '@', '`']) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 8);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let run = rest.len() - rest.trim_start_matches('`').len();
        let shown = match c {
            '`' => code_span(rest, run),
            // Escaped, it opens nothing.
            '\\' if after.starts_with(['`', '\\']) => &rest[..2],
            _ => &rest[..c.len_utf8()],
        };
        match shown {
            "" => escaped.push_str(&"\\`".repeat(run)),
            "<" => escaped.push_str("&lt;"),
            "@" => escaped.push_str("@\u{200b}"),
            shown => escaped.push_str(shown),
        }
        rest = &rest[if shown.is_empty() { run } else { shown.len() }..];
    }
    Cow::Owned(escaped)
}

/// The inline code that `text` begins with, between runs of so many backticks; empty if none closes it.
fn code_span(text: &str, opening: usize) -> &str {
    let mut at = opening;
    while let Some(next) = text[at..].find('`') {
        let begin = at + next;
        let run = text[begin..].len() - text[begin..].trim_start_matches('`').len();
        at = begin + run;
        if run == opening {
            return &text[..at];
        }
    }
    ""
}

fn longest_run(text: &str, sign: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == sign { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// A link whose text is plain. The address is ours or made by [`crate::domain::links`].
pub fn link(label: &str, url: &str) -> String {
    let url = url.replace(' ', "%20").replace('(', "%28").replace(')', "%29").replace('<', "%3C");
    format!("[{}]({url})", text(label))
}

/// Lines while they fit into `max` bytes; then one that says how many are missing.
pub fn lines(lines: impl ExactSizeIterator<Item = String>, max: usize) -> String {
    const REST: usize = 40;
    let count = lines.len();
    let mut shown = String::new();
    for (index, line) in lines.enumerate() {
        if shown.len() + line.len() + 1 + REST > max {
            let rest = format!("- … and {} more\n", count - index);
            if shown.len() + rest.len() <= max {
                shown.push_str(&rest);
            }
            break;
        }
        shown.push_str(&line);
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_cannot_close_what_it_stands_in() {
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`a`"), "`` `a` ``");
        assert_eq!(code("a|b\nc"), "`a\\|b c`");
        assert_eq!(fenced("```\nx\n````", 200), "`````text\n```\nx\n````\n`````\n\n");
        assert_eq!(text("<b>*x*</b>"), "&lt;b&gt;\\*x\\*&lt;/b&gt;");
        assert_eq!(text("source-a_b (1)"), "source-a_b (1)");
        assert_eq!(text("# _x_"), "\\# \\_x\\_");
        assert_eq!(text("fixes #12 @ada"), "fixes #\u{200b}12 @\u{200b}ada");
        // What is read is what is there.
        assert_eq!(text("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(code("a\u{2066}b"), "`a\u{fffd}b`");
        assert_eq!(fenced("a\u{202e}b", 200), "```text\na\u{fffd}b\n```\n\n");
    }

    #[test]
    fn a_cut_is_said_and_the_fence_closed() {
        let block = fenced(&"é".repeat(1_000), 300);
        assert!(block.len() <= 300);
        assert!(block.contains("é\n```\n\n*(cut: "), "{block}");
    }

    #[test]
    fn our_markdown_is_closed_after_a_cut() {
        assert_eq!(closed("a\n```\ncode", 200), "a\n```\ncode\n```\n\n");
        assert_eq!(closed("<!-- `<x>`", 200), "&lt;!-- `<x>`\n\n");
        assert_eq!(closed("a\r```\rb @c", 200), "a\n```\nb @c\n```\n\n");
        assert_eq!(closed("@ada `@ada`", 200), "@\u{200b}ada `@ada`\n\n");
        // One backtick without another makes no code of what follows, on this line or the next.
        assert_eq!(closed("don`t\n@ada `@b`", 200), "don\\`t\n@\u{200b}ada `@b`\n\n");
        assert_eq!(closed("``a`@b`` ``@c", 200), "``a`@b`` \\`\\`@\u{200b}c\n\n");
        assert_eq!(closed("```a`\n<b> @c", 200), "\\`\\`\\`a\\`\n&lt;b> @\u{200b}c\n\n");
        assert_eq!(closed("\\`@a` <b>", 200), "\\`@\u{200b}a\\` &lt;b>\n\n");
        let long = closed(&format!("```\n{}", "line\n".repeat(100)), 200);
        assert!(long.len() <= 200 && long.contains("line\n```\n\n*(cut"), "{long}");
    }

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(one_line("a\n b\tc", 10), "a b c");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }

    #[test]
    fn a_list_says_what_it_leaves_out() {
        let list =
            lines((0..100).map(|n| format!("- item {n}")).collect::<Vec<_>>().into_iter(), 100);
        assert!(list.len() <= 100);
        assert!(list.ends_with(" more\n"), "{list}");
    }
}
