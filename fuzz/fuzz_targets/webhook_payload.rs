//! What tests/fuzzed.rs asks of a corpus and its mutations, asked of whatever the fuzzer finds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fuzzed/webhook_payload.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
