//! What a run left in the object store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::world::World;

/// The objects of an archived run by their final names, below its folder.
pub(crate) async fn objects(world: &World, run: &str) -> BTreeMap<String, String> {
    let state = world.state.path();
    let folder = ["objects", "state/objects"].map(|objects| state.join(objects));
    let folder = folder.into_iter().find(|objects| objects.exists()).unwrap();
    let files = || {
        let files = files_below(&folder).into_iter();
        let of_run = files.filter_map(|file| {
            let name = file.strip_prefix(&folder).unwrap().to_str()?.to_owned();
            let (_, name) = name.split_once(&format!("/{run}/"))?;
            (!name.contains(".epoch-")).then(|| (name.to_owned(), file.clone()))
        });
        of_run.collect::<BTreeMap<_, _>>()
    };
    world.until("the run is archived", async |_: &World| files().contains_key("run.json")).await;
    let read = |file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    files().into_iter().map(|(name, file)| (name, read(file))).collect()
}

/// A name without the number of an attempt.
pub(crate) fn plain(name: &str) -> String {
    let number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.split('/').map(|part| Some(part).filter(|p| !number(p)).unwrap_or("N"));
    parts.collect::<Vec<_>>().join("/")
}

/// What is stored of the run of a head, by name; attempts without their number.
pub(crate) async fn stored(world: &World, head: &str) -> BTreeMap<String, String> {
    let run = world.runs().await.into_iter().find(|run| run["head_sha"] == head).unwrap();
    let objects = objects(world, run["id"].as_str().unwrap()).await;
    objects.into_iter().map(|(name, text)| (plain(&name), text)).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |entry: std::fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() { files_below(&path) } else { vec![path] }
    };
    entries.flat_map(below).collect()
}

/// The steps of a job's whole log, and what each of them printed.
pub(crate) fn sections(log: &str) -> BTreeMap<String, String> {
    let sections = log.split("==> ").skip(1).map(|section| {
        let (heading, printed) = section.split_once('\n').unwrap();
        let (step, _) = heading.split_once(" (attempt ").unwrap();
        (step.to_owned(), printed.trim_end().to_owned())
    });
    sections.collect()
}

/// The same objects as an undisturbed run has, and in its logs at least what that printed: what a
/// step inherits may have been made again before it.
pub(crate) fn stored_as(undisturbed: &BTreeMap<String, String>, now: &BTreeMap<String, String>) {
    let names = |stored: &BTreeMap<String, String>| stored.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(now), names(undisturbed));
    for connector in ["source-a", "source-b"] {
        let name = format!("{connector}/log.txt");
        let (now, before) = (sections(&now[&name]), sections(&undisturbed[&name]));
        for (step, printed) in before {
            assert!(now[&step].ends_with(&printed), "{name}, {step}: {now:?}");
        }
    }
    for (step, printed) in sections(&undisturbed["source-a/log.txt"]) {
        let shown = printed.lines().all(|line| now["source-a/report.html"].contains(line));
        assert!(shown, "the report shows no log of {step}");
    }
}
