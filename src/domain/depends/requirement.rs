//! Local paths in the way that Python's tools write requirements (PEP 508 and pip's own forms).

/// The local path in `name @ file:…`, `name[extra] @ ../x` or a bare `file:…`: markers, extras and
/// fragments taken off. `None` if the requirement names no local path.
pub(super) fn local_path(requirement: &str) -> Option<String> {
    let text = requirement.trim();
    let text = text.split_once(';').map_or(text, |(before, marker)| {
        // A `;` that no blank follows may belong to the path.
        if marker.starts_with([' ', '\t']) || before.ends_with(' ') {
            before.trim_end()
        } else {
            text
        }
    });
    let place = match text.split_once('@') {
        Some((name, place)) if is_name(name) => place.trim(),
        Some(_) | None => text,
    };
    if let Some(path) = file_address(place) {
        return Some(path);
    }
    // `name @ ../x`, and what stands for the project's own folder.
    let written = place.len() < text.len() && looks_local(place);
    written.then(|| bare(place))
}

/// The path in a `file:` address: absolute ones are taken to count from the repository's root.
pub(super) fn file_address(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_at_checked("file:".len())?;
    if !scheme.eq_ignore_ascii_case("file:") {
        return None;
    }
    let path = match rest.strip_prefix("//") {
        // The host, which is `localhost` or none.
        Some(rest) => match rest.find(['/', '.', '$', '{']) {
            Some(start) => &rest[start..],
            None => return None,
        },
        None => rest,
    };
    let path = bare(path);
    // `/../x` and `/./x` can only be meant from the project's folder.
    let path = match path.strip_prefix('/') {
        Some(rest) if rest.starts_with("./") || rest.starts_with("../") => rest.to_owned(),
        Some(_) | None => path,
    };
    (!path.is_empty()).then_some(path)
}

/// Does it name a place rather than a package?
pub(super) fn looks_local(text: &str) -> bool {
    let path = text.starts_with('.')
        || text.contains('/')
        || text.starts_with('$')
        || text.starts_with('{');
    path && !text.contains("://") && !text.starts_with("git+") && !text.starts_with("git@")
}

/// A path without fragment, query, extras, quotes, and names of the project's own folder.
pub(super) fn bare(text: &str) -> String {
    let end = text.find(['#', '?']).unwrap_or(text.len());
    let mut path = text[..end].trim().trim_matches(['"', '\'']);
    if let Some((before, extras)) = path.rsplit_once('[')
        && extras.ends_with(']')
    {
        path = before.trim_end();
    }
    let own = own_folder(path.trim_start_matches('/'));
    decoded(own.as_deref().unwrap_or(path))
}

/// `${PROJECT_ROOT}/x` (pdm), `{root:uri}/x`, `{root:parent:uri}/x` (hatch) → `./x`, `../x`.
fn own_folder(path: &str) -> Option<String> {
    let (variable, rest) =
        path.strip_prefix('$').unwrap_or(path).strip_prefix('{')?.split_once('}')?;
    let parents = variable.split(':').filter(|part| *part == "parent").count();
    Some(format!(".{}{rest}", "/..".repeat(parents)))
}

/// `%20` and its like.
fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// `name` or `name[extra, …]`.
fn is_name(text: &str) -> bool {
    let name = text.split_once('[').map_or(text, |(name, _)| name).trim();
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
