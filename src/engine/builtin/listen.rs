//! Listens to an image: every line is heard as it comes, told in the log, and forgotten.

use std::fmt::Write;

use tokio::sync::mpsc;

use super::Site;
use crate::domain::acceptance::{End, Heard, Line, Lines, Secrets, heard};
use crate::exec::Executor;
use crate::exec::images::{Halted, Said, Talk, TalkEnd};

/// How many chunks of output may wait to be heard.
const CHUNKS: usize = 32;
/// Characters of a line of the error stream that are told.
const TOLD: usize = 4_000;

/// Calls an image and shows each line of its answer. The secrets of its configuration are looked
/// for in all that it prints, and told to nobody.
pub(super) async fn listen<E: Executor>(
    site: &Site<'_, E>,
    talk: Talk,
    mut secrets: Option<&mut Secrets>,
    mut hear: impl FnMut(Heard),
) -> Result<End, Halted> {
    let limit = talk.limit;
    let (said, mut heard) = mpsc::channel(CHUNKS);
    let call = site.executor.talk(talk, said, site.stop.clone());
    let listening = async {
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let mut longest = 0;
        while let Some(said) = heard.recv().await {
            let mut told = String::new();
            match said {
                Said::Out(chunk) => out.take(&chunk, |line| {
                    watch(line, secrets.as_deref_mut());
                    take(line, &mut hear, &mut told, &mut longest);
                }),
                Said::Err(chunk) => err.take(&chunk, |line| {
                    watch(line, secrets.as_deref_mut());
                    tell(line, secrets.as_deref(), &mut told);
                }),
            }
            site.say(without(secrets.as_deref(), told)).await;
        }
        let mut told = String::new();
        out.finish(|line| {
            watch(line, secrets.as_deref_mut());
            take(line, &mut hear, &mut told, &mut longest);
        });
        err.finish(|line| {
            watch(line, secrets.as_deref_mut());
            tell(line, secrets.as_deref(), &mut told);
        });
        site.say(without(secrets.as_deref(), told)).await;
        longest
    };
    let (end, longest) = tokio::join!(call, listening);
    Ok(match end {
        TalkEnd::Halted(halted) => return Err(halted),
        _ if longest > 0 => End::TooLong(longest),
        TalkEnd::Exited { code, out_of_memory } => End::Exited { code, out_of_memory },
        TalkEnd::TimedOut => End::TimedOut(limit),
        TalkEnd::Unfit(why) => End::Unfit(why),
    })
}

fn watch(line: Line<'_>, secrets: Option<&mut Secrets>) {
    let (Line::Whole(line) | Line::TooLong { start: line, .. }) = line;
    if let Some(secrets) = secrets {
        secrets.hear(line);
    }
}

fn without(secrets: Option<&Secrets>, told: String) -> String {
    match secrets {
        Some(secrets) => secrets.redacted(told),
        None => told,
    }
}

fn take(line: Line<'_>, hear: &mut impl FnMut(Heard), told: &mut String, longest: &mut u64) {
    match line {
        Line::Whole(line) => {
            let heard = heard(line);
            if let Some(line) = heard.told() {
                let _ = writeln!(told, "{line}");
            }
            hear(heard);
        }
        Line::TooLong { bytes, .. } => {
            *longest = bytes.max(*longest);
            let _ = writeln!(told, "! a line of {bytes} bytes is not read");
        }
    }
}

/// What is cut off must not be what a secret is known by.
fn tell(line: Line<'_>, secrets: Option<&Secrets>, told: &mut String) {
    let line = match line {
        Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
        Line::TooLong { start, .. } => format!("{}…", String::from_utf8_lossy(start)),
    };
    let line = without(secrets, line);
    let _ = writeln!(told, "{}", &line[..line.floor_char_boundary(TOLD)]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_at_the_cut_is_hidden() {
        let spec = json!({ "properties": { "key": { "airbyte_secret": true } } });
        let secrets = Secrets::of(Some(&spec), &json!({ "key": "secret-0123456789" }));
        let line = format!("{}secret-0123456789", "x".repeat(TOLD - 10));
        let (mut told, mut start) = (String::new(), String::new());
        tell(Line::Whole(line.as_bytes()), Some(&secrets), &mut told);
        assert!(told.ends_with("x***\n"));
        tell(Line::TooLong { bytes: 1 << 30, start: b"a secret-0123" }, Some(&secrets), &mut start);
        assert_eq!(start, "a ***…\n");
    }
}
