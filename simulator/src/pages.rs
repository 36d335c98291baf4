//! Small pages to look at in a browser: what a pull request's author would see.

use std::fmt::Write as _;

use crate::clock::stamp;
use crate::refusals::Answer;
use crate::simulator::Inner;
use crate::world::{Pull, Repository, Run, World, latest};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;\
    padding:0 1rem;color:#1f2328}a{color:#0969da}h1{font-weight:500;margin-bottom:.2rem}\
    .muted{color:#59636e}.box{border:1px solid #d1d9e0;border-radius:6px;margin:1rem 0}\
    .box>div{padding:.5rem 1rem;border-top:1px solid #d1d9e0}.box>div:first-child{border-top:0}\
    .head{background:#f6f8fa;font-weight:600}.state{display:inline-block;min-width:9.5rem}\
    .success{color:#1a7f37}.failure,.timed_out,.cancelled{color:#d1242f}\
    .in_progress,.queued,.action_required{color:#9a6700}.neutral,.skipped{color:#59636e}\
    pre{white-space:pre-wrap;margin:0;font:13px/1.45 ui-monospace,monospace}";

/// `/`, `/{owner}/{repo}`, `/{owner}/{repo}/pull/{n}` and `/{owner}/{repo}/runs/{id}`.
pub(crate) fn serve(inner: &Inner, path: &str) -> Answer {
    let world = inner.world();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let repository = |owner: &str, name: &str| world.repository(&format!("{owner}/{name}"));
    let page = match parts.as_slice() {
        [] => Some(front(&world)),
        [owner, name] => repository(owner, name).map(pulls),
        [owner, name, "pull", number, ..] => repository(owner, name).and_then(|home| {
            let pull = home.pulls.get(&number.parse().ok()?)?;
            Some(pull_page(home, pull))
        }),
        [owner, name, "runs", id] => repository(owner, name).and_then(|home| {
            let run = home.runs.get(&id.parse().ok()?)?;
            Some(run_page(home, run))
        }),
        _ => None,
    };
    match page {
        Some((title, body)) => {
            let html = format!(
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
                 content=\"width=device-width\"><title>{}</title><style>{STYLE}</style>\
                 <body>{body}<p class=\"muted\">GitHub simulator · not GitHub</p></body></html>",
                escape(&title)
            );
            Answer::raw(200, "text/html; charset=utf-8", html)
        }
        None => Answer::raw(404, "text/plain; charset=utf-8", "Not Found\n"),
    }
}

type Page = (String, String);

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Writing into a `String` cannot fail.
macro_rules! add {
    ($page:expr, $($format:tt)*) => { let _ = write!($page, $($format)*); };
}

fn front(world: &World) -> Page {
    let mut page = "<h1>Repositories</h1><div class=\"box\">".to_owned();
    for repository in world.repositories.values() {
        let name = escape(&repository.full_name());
        let count = repository.pulls.len();
        add!(
            page,
            "<div><a href=\"/{name}\">{name}</a> <span class=\"muted\">{count} pull requests</span></div>"
        );
    }
    page.push_str("</div>");
    ("Repositories".to_owned(), page)
}

fn pulls(home: &Repository) -> Page {
    let name = home.full_name();
    let mut page = format!("<h1>{0}</h1><div class=\"box\">", escape(&name));
    for pull in home.pulls.values().rev() {
        let (number, title) = (pull.number, escape(&pull.title));
        let state = pull.state();
        add!(page, "<div><a href=\"/{0}/pull/{number}\">#{number} {title}</a> ", escape(&name));
        add!(page, "<span class=\"muted\">{state}, by {}</span></div>", escape(&pull.author));
    }
    page.push_str("</div>");
    (name, page)
}

fn pull_page(home: &Repository, pull: &Pull) -> Page {
    let title = format!("{} · {}#{}", pull.title, home.full_name(), pull.number);
    let mut page =
        format!("<h1>{} <span class=\"muted\">#{}</span></h1>", escape(&pull.title), pull.number);
    add!(
        page,
        "<p class=\"muted\">{} · {} wants to merge {} into {} · {}</p>",
        pull.state(),
        escape(&pull.author),
        escape(&pull.head_branch),
        escape(&pull.base_branch),
        &pull.head_sha[..pull.head_sha.len().min(7)]
    );
    let mut runs = latest(home.runs.values().filter(|run| run.head_sha == pull.head_sha));
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    add!(page, "<div class=\"box\"><div class=\"head\">{} checks</div>", runs.len());
    for run in runs {
        page.push_str(&run_line(home, run));
    }
    page.push_str("</div>");
    for comment in home.comments.values().filter(|comment| comment.number == pull.number) {
        let reactions: Vec<&str> = comment.reactions.iter().map(|r| r.content.as_str()).collect();
        add!(
            page,
            "<div class=\"box\"><div class=\"head\">{} <span class=\"muted\">{} {}</span></div>\
             <div><pre>{}</pre></div></div>",
            escape(&comment.user),
            stamp(comment.created_at),
            escape(&reactions.join(" ")),
            escape(&comment.body)
        );
    }
    (title, page)
}

fn run_line(home: &Repository, run: &Run) -> String {
    let state = run.conclusion.as_deref().unwrap_or(&run.status);
    let title = run.title.as_deref().unwrap_or_default();
    format!(
        "<div><span class=\"state {0}\">{0}</span> <a href=\"/{1}/runs/{2}\">{3}</a> \
         <span class=\"muted\">{4}</span> · <a href=\"{5}\">Details</a></div>",
        escape(state),
        escape(&home.full_name()),
        run.id,
        escape(&run.name),
        escape(title),
        escape(&run.details_url)
    )
}

fn run_page(home: &Repository, run: &Run) -> Page {
    let mut page =
        format!("<h1>{}</h1><div class=\"box\">{}", escape(&run.name), run_line(home, run));
    let time = |at: Option<_>| at.map_or("–".to_owned(), stamp);
    add!(
        page,
        "<div class=\"muted\">{} – {} · {}</div>",
        time(run.started_at),
        time(run.completed_at),
        escape(&run.external_id)
    );
    for text in [&run.summary, &run.text].into_iter().flatten() {
        add!(page, "<div><pre>{}</pre></div>", escape(text));
    }
    for annotation in &run.annotations {
        add!(
            page,
            "<div><b>{}:{}</b> <span class=\"{2}\">{2}</span> {3}</div>",
            escape(annotation["path"].as_str().unwrap_or_default()),
            annotation["start_line"],
            escape(annotation["annotation_level"].as_str().unwrap_or_default()),
            escape(annotation["message"].as_str().unwrap_or_default())
        );
    }
    for action in &run.actions {
        add!(page, "<div>[{}] {}</div>", escape(&action.label), escape(&action.description));
    }
    page.push_str("</div>");
    (run.name.clone(), page)
}
