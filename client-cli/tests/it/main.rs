//! The command line from the outside: what it prints and returns, against a daemon of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation is a failed test")]

mod commands;
mod completions;
mod doctor;
mod fake;
mod guards;
mod history;
mod labels;
mod manual;
mod profiles;
mod prompts;
mod rendering;
mod service;
mod shells;
mod sso;
mod sso_configure;
mod starting;
mod support;
mod system;
mod targets;
mod troubleshooting;
