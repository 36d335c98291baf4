//! `connectors-ci`, the second name under which connector teams have the program in their scripts.

fn main() -> std::process::ExitCode {
    checkvalve::cli::main()
}
