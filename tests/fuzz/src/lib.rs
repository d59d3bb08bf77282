//! The daemon's settings file without the daemon, which links the AWS SDK and SQLite: its sources, as they are.

#[path = "../../../daemon/src/args.rs"]
pub mod args;
#[path = "../../../daemon/src/environment.rs"]
pub mod environment;
#[path = "../../../daemon/src/logging/mod.rs"]
pub mod logging;
pub mod settings_file;
