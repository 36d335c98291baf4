//! Imports of Python files, wherever in the file they stand.

use std::iter::Peekable;

use super::python_text::{Piece, Pieces};
use super::{Mentions, Written};

type Rest<'t> = Peekable<Pieces<'t>>;

pub(super) fn read(text: &str, found: &mut Mentions) {
    let mut rest = Pieces::new(text).peekable();
    let mut begins = true;
    while let Some((line, piece)) = rest.next() {
        match piece {
            Piece::Word("import") if begins => import(&mut rest, found),
            Piece::Word("from") if begins => from(&mut rest, found),
            Piece::Word("import_module" | "__import__") => by_name(line, &mut rest, found),
            Piece::Word(_) | Piece::Text(_) | Piece::Sign(_) | Piece::End => {}
        }
        // After `:` of `try: import x` as well; `import` means nothing else anywhere.
        begins = matches!(piece, Piece::End | Piece::Sign(';' | ':'));
    }
}

/// `a.b.c`, and the line on which it stands.
fn dotted(rest: &mut Rest<'_>) -> Option<(u32, String)> {
    let (line, first) = word(rest)?;
    let mut name = first.to_owned();
    while rest.next_if(|(_, piece)| *piece == Piece::Sign('.')).is_some() {
        let Some((_, part)) = word(rest) else { break };
        name.push('.');
        name.push_str(part);
    }
    Some((line, name))
}

fn word<'t>(rest: &mut Rest<'t>) -> Option<(u32, &'t str)> {
    match rest.next_if(|(_, piece)| matches!(piece, Piece::Word(_)))? {
        (line, Piece::Word(word)) => Some((line, word)),
        _ => None,
    }
}

/// `as x`, if it is there.
fn renamed(rest: &mut Rest<'_>) {
    if rest.next_if(|(_, piece)| *piece == Piece::Word("as")).is_some() {
        rest.next_if(|(_, piece)| matches!(piece, Piece::Word(_)));
    }
}

fn sign(rest: &mut Rest<'_>, sign: char) -> bool {
    rest.next_if(|(_, piece)| *piece == Piece::Sign(sign)).is_some()
}

/// `import a.b as c, d`
fn import(rest: &mut Rest<'_>, found: &mut Mentions) {
    while let Some((line, name)) = dotted(rest) {
        found.add(line, Written::PythonModule { dots: 0, name });
        renamed(rest);
        if !sign(rest, ',') {
            break;
        }
    }
}

/// `from ..a import (b as c, d)`: the module, and what may be modules in it.
fn from(rest: &mut Rest<'_>, found: &mut Mentions) {
    let Some(&(mut line, _)) = rest.peek() else { return };
    let mut dots: u32 = 0;
    while sign(rest, '.') {
        dots = dots.saturating_add(1);
    }
    let imports =
        |rest: &mut Rest<'_>| rest.next_if(|(_, piece)| *piece == Piece::Word("import")).is_some();
    let mut module = String::new();
    if !imports(rest) {
        let Some((at, name)) = dotted(rest) else { return };
        (line, module) = (at, name);
        if !imports(rest) {
            return;
        }
    }
    if dots == 0 && module.is_empty() {
        return;
    }
    found.add(line, Written::PythonModule { dots, name: module.clone() });
    sign(rest, '(');
    while let Some((line, name)) = word(rest) {
        let name = if module.is_empty() { name.to_owned() } else { format!("{module}.{name}") };
        found.add(line, Written::PythonModule { dots, name });
        renamed(rest);
        if !sign(rest, ',') {
            break;
        }
    }
}

/// `import_module("a.b")`
fn by_name(line: u32, rest: &mut Rest<'_>, found: &mut Mentions) {
    if !sign(rest, '(') {
        return;
    }
    let Some((_, Piece::Text(Some(name)))) = rest.next_if(|(_, p)| matches!(p, Piece::Text(_)))
    else {
        return;
    };
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    if name.split('.').all(plain) {
        found.add(line, Written::PythonModule { dots: 0, name: name.to_owned() });
    }
}
