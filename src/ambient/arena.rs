//! One place for what the program allocates.

/// What glibc's allocator reads before `main` (`man 3 mallopt`, `M_ARENA_MAX`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MOST: &str = "MALLOC_ARENA_MAX";

/// Starts the program once more in its own place, under the same process id, with one arena, unless
/// the environment says how many.
///
/// glibc gives threads arenas of their own, up to eight a core, and each keeps what its busiest moment
/// took: a server with a thread a database connection holds several times what it needs. How many may
/// be said only before the start. Where that can't be, it goes on as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_to_one() {
    use std::os::unix::process::CommandExt as _;

    if super::env(MOST).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else { return };
    let failed =
        std::process::Command::new(program).arg0(name).args(arguments).env(MOST, "1").exec();
    tracing::debug!("{MOST} could not be set: {failed}");
}

/// Other C libraries have no arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_to_one() {}
