//! The data channel's message codec against arbitrary frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ssm_session::fuzz::message(data);
});
