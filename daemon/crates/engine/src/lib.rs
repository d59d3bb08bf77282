//! Keeps tunnels up: machines that decide, actors that act, ports to the world.
//!
//! Read in this order: [`ports`] (what the engine needs of the world), [`handle`] (what it does for front ends),
//! [`tunnel::machine`] (every decision about a tunnel, as one table), then the actors that carry the decisions out.
//! [`sign_in`] is built the same way, for the tokens that tunnels live on; [`profiles`] tells whether credentials are any good.
//!
//! Rules of the house:
//! - Machines decide, drivers act: [`tunnel::machine::TunnelMachine`] has no clock, no task and no socket.
//! - Answers carry the [`Attempt`](stormtunnel_model::Attempt) they belong to; late ones are dropped.
//! - Intent is stored before a call answers; state is never stored.
//! - Every task is tracked ([`tasks`]), every channel bounded.

pub mod board;
pub mod clock;
pub mod doctor;
mod engine;
pub mod handle;
mod history;
pub mod incidents;
pub mod notifications;
pub mod ports;
pub mod profiles;
pub mod prompts;
pub mod publish;
pub mod retry;
pub mod sign_in;
pub mod spans;
pub mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tunnel;

pub use engine::{Engine, Ports};
pub use handle::{EngineHandle, TunnelResult, Updated};
pub use history::watch::{EventChange, EventNews, EventWatcher};
pub use publish::{Change, WatchEvent, Watcher};
