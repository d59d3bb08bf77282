//! Compiles the contract with protox: nobody who builds this needs `protoc`.

#[path = "build/levels.rs"]
mod levels;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILES: [&str; 10] = [
    "stormtunnel/v1/common.proto",
    "stormtunnel/v1/daemon.proto",
    "stormtunnel/v1/doctor.proto",
    "stormtunnel/v1/events.proto",
    "stormtunnel/v1/profiles.proto",
    "stormtunnel/v1/prompts.proto",
    "stormtunnel/v1/settings.proto",
    "stormtunnel/v1/sign_in.proto",
    "stormtunnel/v1/targets.proto",
    "stormtunnel/v1/tunnels.proto",
];

/// Messages that hold a secret, or may: a proxy's password is a setting. They get no `Debug` here: `src/conversions` has one for each
/// that leaves the secret out.
const SECRETS: [&str; 3] = [
    ".stormtunnel.v1.AnswerPromptRequest",
    ".stormtunnel.v1.ReplaceSettingsFileRequest",
    ".stormtunnel.v1.UpdateSettingsRequest.Change",
];

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["stormtunnel", "levels.txt", "build.rs", "build"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out_dir = env::var_os("OUT_DIR").map(PathBuf::from).ok_or("cargo sets OUT_DIR for build scripts")?;
    fs::write(out_dir.join("stormtunnel.v1.fds"), descriptors.encode_to_vec())?;
    fs::write(out_dir.join("levels.rs"), levels::rows(&fs::read_to_string("levels.txt")?, &descriptors)?)?;
    // Requests are looked up by their names.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    // Without the transport methods: they would connect over TCP, and this API has none.
    let builder = tonic_prost_build::configure().build_transport(false).skip_debug(SECRETS);
    builder.compile_fds_with_config(descriptors, config)?;
    Ok(())
}
