//! A client session against arbitrary programs; the operations are described in the crate's `fuzz` module.
#![no_main]
#![expect(clippy::disallowed_methods, reason = "a fuzz target is an edge: its clock starts here")]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ssm_session::fuzz::session(data, Instant::now());
});
