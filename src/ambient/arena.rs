//! One place for what the program allocates.

/// What glibc's allocator reads before `main` (`man 3 mallopt`, `M_ARENA_MAX`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MOST: &str = "MALLOC_ARENA_MAX";
/// Says that the program was started once more already. glibc takes [`MOST`] out of the environment of a
/// program with capabilities or another user's rights (`man 8 ld.so`, "Secure-execution mode"), so that
/// it alone would have such a program start itself for ever.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MARK: &str = "_CHECKVALVE_STARTED_ANEW";

/// Starts the program once more in its own place, under the same process id, with one arena, unless
/// the environment says how many.
///
/// glibc gives threads arenas of their own, up to eight a core, and each keeps what its busiest moment
/// took: a server with a thread a database connection holds several times what it needs. How many may
/// be said only before the start.
///
/// # Errors
///
/// Where it can't be started anew, the caller goes on as it is; but the attempt has given a closed
/// pipe its deadly signal back: see [`survive_closed_pipes`].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_to_one() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;

    if super::env(MOST).is_some() || super::env(MARK).is_some() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else {
        return Ok(());
    };
    let mut again = std::process::Command::new(program);
    Err(again.arg0(name).args(arguments).env(MOST, "1").env(MARK, "1").exec())
}

/// Other C libraries have no arenas.
///
/// # Errors
///
/// None.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_to_one() -> std::io::Result<()> {
    Ok(())
}

/// Has a write to a closed pipe or socket fail with an error, as every Rust program has it from its start:
/// an attempt to start anew ends that (`std::os::unix::process::CommandExt::exec`, "Notes"). To be called
/// inside the runtime.
pub fn survive_closed_pipes() {
    let listening = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::pipe());
    if let Err(error) = listening {
        tracing::warn!("a closed pipe may end this program: {error}");
    }
}
