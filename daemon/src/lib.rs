//! `stormtunneld`: the per-user daemon that owns AWS Session Manager tunnels.
//!
//! This crate is the composition root. It decides nothing about tunnels (the engine does) and knows no AWS type (the
//! AWS crate does); it owns what a process owns: arguments, locks, files, sockets, signals, the log.
//!
//! Read [`app`] first: start and stop, in order. Then the adapters of the engine's ports: [`store`] (SQLite),
//! [`local_network`] (TCP), [`transport`] (WebSocket), [`system`] (time, randomness), [`power`] (sleep, network, clock changes),
//! [`sso_cache`] (token files), [`browser`] (logins), [`notify`] (the desktop). [`aws_dir`] follows the files of the AWS CLI. [`keystore`] keeps SSO tokens.
//! [`service`] is launchd and systemd.

pub mod adapters;
pub mod app;
pub mod args;
mod atomic_file;
pub mod aws_dir;
pub mod browser;
mod control;
mod derived;
pub mod detach;
pub mod doctor;
pub mod environment;
mod file_watch;
pub mod instance;
pub mod keystore;
pub mod local_network;
pub mod logging;
pub mod manual;
pub mod mfa;
pub mod notify;
pub mod paths;
pub mod power;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod private_bus;
pub mod profiles;
pub mod purge;
pub mod service;
pub mod settings_file;
pub mod signals;
pub mod sso_cache;
pub mod store;
pub mod system;
pub mod transport;
