//! Names, endpoints, ids and specs against arbitrary text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    stormtunnel_model::fuzz::names(data);
});
