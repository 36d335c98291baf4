//! All processes that a step started, also those that left its group, its session or its parent.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

/// The variable by which a process is known; its children inherit it, wherever they hide.
pub(super) const MARK: &str = "CHECKVALVE_PROCESS";

/// How many times the tree is looked for again: what forks while it is being killed comes back.
const ROUNDS: u32 = 200;

/// A step's processes. What is left of them ends when this is dropped, at the latest.
#[derive(Debug)]
pub(super) struct Tree {
    group: Option<i32>,
    mark: Vec<u8>,
    folder: PathBuf,
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: i32,
    group: i32,
    /// Ended, and waiting for its parent to notice.
    zombie: bool,
}

impl Tree {
    /// The tree of a child that leads its own process group, works below `folder` and has
    /// [`MARK`] set to `mark`, which nobody else has.
    pub(super) fn of(child: &Child, mark: &str, folder: PathBuf) -> Self {
        let folder = folder.canonicalize().unwrap_or(folder);
        let group = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self { group, mark: format!("{MARK}={mark}").into_bytes(), folder }
    }

    /// Asks all to end.
    pub(super) fn terminate(&self) {
        signal(&self.alive(), Signal::TERM);
    }

    /// Ends all that are there now.
    pub(super) fn kill(&self) {
        signal(&self.alive(), Signal::KILL);
    }

    /// Ends all, until none is left; says so if that can't be done. Blocks.
    pub(super) fn end(self) -> Option<String> {
        let left = self.end_all();
        (!left.is_empty()).then(|| format!("processes {left:?} could not be ended"))
    }

    fn end_all(&self) -> Vec<i32> {
        let mut left = self.alive();
        for _ in 0..ROUNDS {
            if left.is_empty() {
                break;
            }
            signal(&left, Signal::KILL);
            std::thread::sleep(Duration::from_millis(5));
            left = self.alive();
        }
        left
    }

    /// The step's processes that run: marked, in its group, at work in its folder, or children of
    /// such.
    fn alive(&self) -> Vec<i32> {
        let ours = i32::try_from(std::process::id()).ok();
        let all = processes();
        let mut found: Vec<i32> = all
            .iter()
            .filter(|(pid, _)| Some(**pid) != ours)
            .filter(|(pid, stat)| Some(stat.group) == self.group || self.is_marked(**pid))
            .map(|(pid, _)| *pid)
            .collect();
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            let children = all.iter().filter(|(_, stat)| stat.parent == parent);
            let fresh: Vec<i32> =
                children.map(|(pid, _)| *pid).filter(|pid| !found.contains(pid)).collect();
            found.extend(fresh);
        }
        found.retain(|pid| all.get(pid).is_some_and(|stat| !stat.zombie));
        found
    }

    fn is_marked(&self, pid: i32) -> bool {
        let marked = fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|var| var == self.mark));
        // Whoever wiped its environment may still stand in the folder.
        marked
            || fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|folder| folder.starts_with(&self.folder))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.end_all();
    }
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        // It may have ended in the meantime.
        let _ = kill_process(pid, signal);
    }
}

/// Every process that can be seen. On a system without `/proc` there is none, and the end of the
/// step's own shell has to do.
fn processes() -> BTreeMap<i32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, stat(pid)?)))
        .collect()
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state ppid pgrp …`, where the name may hold blanks and parentheses.
fn parse(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some(Stat { parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let stat = parse("12 (a) b (c) Z 1 34 34 0 -1").unwrap();
        assert_eq!((stat.parent, stat.group, stat.zombie), (1, 34, true));
        assert!(parse("12 (x").is_none());
    }

    #[test]
    fn this_process_is_seen() {
        let ours = i32::try_from(std::process::id()).unwrap();
        assert!(processes().contains_key(&ours));
    }
}
