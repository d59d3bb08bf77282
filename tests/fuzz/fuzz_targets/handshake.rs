//! The JSON bodies of the handshake, and both ends that take them in; the data is described in the crate's `fuzz` module.
#![no_main]
#![expect(clippy::disallowed_methods, reason = "a fuzz target is an edge: its clock starts here")]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ssm_session::fuzz::handshake(data, Instant::now());
});
