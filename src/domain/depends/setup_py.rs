//! Local paths in `setup.py`: texts that are requirements or paths, and paths put together from
//! the file's own place. What is computed otherwise is skipped.

use std::iter::Peekable;

use super::Mentions;
use super::python_text::{Piece, Pieces};
use super::requirement::local_path;

type Rest<'t> = Peekable<Pieces<'t>>;

pub(super) fn read(text: &str, found: &mut Mentions) {
    let mut rest = Pieces::new(text).peekable();
    while let Some((line, piece)) = rest.next() {
        match piece {
            Piece::Text(Some(text)) => mention(line, text, found),
            Piece::Word("__file__") => beside(line, &mut rest, found),
            Piece::Word("join" | "joinpath") => joined(line, &mut rest, found),
            Piece::Text(None) | Piece::Word(_) | Piece::Sign(_) | Piece::End => {}
        }
    }
}

fn mention(line: u32, text: &str, found: &mut Mentions) {
    let text = text.trim();
    // Prose has more than one line, and so have files that are quoted whole.
    if text.contains('\n') {
        return;
    }
    if let Some(path) = local_path(text) {
        found.path(line, &path);
    } else if ["./", "../"].iter().any(|start| text.starts_with(start)) {
        found.path(line, text);
    }
}

/// `Path(__file__).resolve().parent.parent / "a" / "b"`
fn beside(line: u32, rest: &mut Rest<'_>, found: &mut Mentions) {
    let mut parents = 0_usize;
    let mut path = String::new();
    let mut divided = false;
    loop {
        let piece = rest.next_if(|(_, piece)| match piece {
            Piece::Sign(sign) => matches!(sign, '(' | ')' | '.' | '/'),
            Piece::Word(word) => matches!(*word, "parent" | "resolve" | "absolute"),
            Piece::Text(text) => divided && text.is_some(),
            Piece::End => false,
        });
        match piece {
            Some((_, Piece::Word("parent"))) => parents += 1,
            Some((_, Piece::Text(Some(text)))) => {
                path.push('/');
                path.push_str(text.trim_matches('/'));
            }
            Some(_) => {}
            None => break,
        }
        divided = matches!(piece, Some((_, Piece::Sign('/'))));
    }
    // The first parent is the file's own folder.
    if parents > 1 || !path.is_empty() {
        found.path(line, &format!(".{}{path}", "/..".repeat(parents.saturating_sub(1))));
    }
}

/// `os.path.join(…, "..", "a")`: the texts from the first `..` on.
fn joined(line: u32, rest: &mut Rest<'_>, found: &mut Mentions) {
    let mut parts: Vec<&str> = Vec::new();
    let mut depth = 0_usize;
    while let Some((at, piece)) = rest.peek().copied() {
        match piece {
            Piece::Sign('(') => depth += 1,
            Piece::Sign(')') => depth = depth.saturating_sub(1),
            Piece::Text(Some(text)) if text.starts_with("..") || !parts.is_empty() => {
                parts.push(text);
            }
            Piece::Text(Some(text)) => mention(at, text, found),
            Piece::Text(None) => break,
            Piece::Word(_) | Piece::Sign(_) | Piece::End => {}
        }
        rest.next();
        if depth == 0 {
            break;
        }
    }
    if !parts.is_empty() {
        found.path(line, &parts.join("/"));
    }
}
