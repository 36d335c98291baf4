//! Git: a bare cache per repository, fetch, merge base, diff, trees, source archives; and the work
//! tree that the command line stands in.
//!
//! All of it is the `git` program. Credentials reach it through its environment only, never argv,
//! URL or a file; nothing of a repository is ever executed (hooks, filters, external diffs).

mod cache;
mod command;
mod compare;
mod diff;
mod error;
mod export;
mod history;
mod local;
mod merge;
mod names;
mod objects;
mod origin;
mod worktree;

pub use self::cache::{BareRepo, GitCache};
pub use self::compare::Comparison;
pub use self::error::GitError;
pub use self::local::LocalRepo;
pub use self::merge::Merged;
pub use self::objects::{EntryKind, Objects, TreeEntry};
pub use self::worktree::Unstaged;
