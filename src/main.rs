//! The `checkvalve` program; everything is in the library.

fn main() -> std::process::ExitCode {
    checkvalve::cli::main()
}
