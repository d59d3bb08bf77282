//! The files of `daemon/src/settings_file` that do no I/O.

#[path = "../../../daemon/src/settings_file/document.rs"]
pub mod document;
#[path = "../../../daemon/src/settings_file/fuzz.rs"]
pub mod fuzz;
