//! The daemon's settings file without the daemon, which links the AWS SDK and SQLite: its sources, as they are.

/// Of the log, the language of its filter.
#[path = "../../../daemon/src/logging/filter.rs"]
pub mod logging;
pub mod settings_file;
