//! Where functions lie in the program: `layout/start.ld` puts what a start runs next to each other.

#![expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts by variables")]

fn main() {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    println!("cargo::rerun-if-changed=layout/start.ld");
    // It names functions as they are once optimised, and speaks to linkers of ELF.
    let is_optimised = of("OPT_LEVEL") != "0";
    let is_known = of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_optimised && is_known {
        let script = format!("{}/layout/start.ld", of("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-link-arg-bin=checkvalve=-Wl,-T,{script}");
    }
}
