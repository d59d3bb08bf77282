//! Reading and changing a settings file; how the data is cut is described in the daemon's `settings_file::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    stormtunnel_fuzz::settings_file::fuzz::settings(data);
});
