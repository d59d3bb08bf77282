//! The command line from the outside: what it prints and returns, against a daemon of its own.

mod commands;
mod fake;
mod rendering;
mod starting;
mod support;
