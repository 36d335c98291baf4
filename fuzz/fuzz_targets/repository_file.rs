//! The repository file: what the tests ask of mutated files, asked of whatever the fuzzer finds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/repository_file/property.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
