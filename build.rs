//! Where functions lie in the program: `layout/start.ld` puts what a start runs next to each other.

#![expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts by variables")]

use std::process::Command;

fn main() {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    println!("cargo::rerun-if-changed=layout/start.ld");
    // It names functions as they are once optimised, and speaks to linkers of ELF.
    let is_optimised = of("OPT_LEVEL") != "0";
    let is_known = of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_optimised && is_known {
        let script = format!("{}/layout/start.ld", of("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-link-arg-bin=checkvalve=-Wl,-T,{script}");
        if of("HOST") == of("TARGET") && loads_packed_relocations() {
            println!("cargo::rustc-link-arg-bin=checkvalve=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// A start reads all relocations: 1.7 MB, or a thirtieth of it when packed. glibc can since 2.36.
fn loads_packed_relocations() -> bool {
    let asked = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = asked.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    let told = told.unwrap_or_default();
    let version = told.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let numbers =
        version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.is_some_and(|version: (u32, u32)| version >= (2, 36))
}
