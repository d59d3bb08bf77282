//! What the end-to-end tests share: the programs they drive, the services "in the VPC", terminals, sign-ins, and the watch.
//!
//! Every wait is for an event and has a deadline. A program that this machine lacks makes a test say so and pass, or
//! fail where nothing may be skipped ([`programs`]).

pub mod bulk;
pub mod household;
pub mod http;
pub mod installation;
pub mod local;
#[cfg(target_os = "linux")]
pub mod own_systemd;
pub mod postgres;
pub mod process;
pub mod profiles;
pub mod programs;
pub mod redis;
pub mod scene;
pub mod secrets;
pub mod sign_in;
pub mod terminal;
pub mod visits;
pub mod watch;

use std::time::Duration;

/// Longest wait for one event. Generous: a test that passes never waits that long, and two cores may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);
