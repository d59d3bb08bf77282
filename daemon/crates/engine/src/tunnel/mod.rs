//! One tunnel: the machine that decides, and everything that acts on its word.
//!
//! ```text
//! EngineHandle -> Supervisor (one task) -> TunnelActor (one task per tunnel)
//!                                            owns the TunnelMachine, the listener and the held connections
//!                                            runs the machine's effects as tasks, feeds their answers back
//!                                            finds a node for each new session (`node`, `candidates`)
//!                                          -> session task (one per SSM session): drives a PortSession over
//!                                             WebSockets, ends the session at AWS when it is over
//!                                          -> pump task (one per local connection)
//! ```

pub(crate) mod about;
pub(crate) mod actor;
pub(crate) mod binding;
pub(crate) mod byte_queue;
pub(crate) mod candidates;
pub(crate) mod chronicle;
pub(crate) mod context;
pub(crate) mod effects;
pub(crate) mod front;
pub(crate) mod identity;
pub(crate) mod lanes;
pub mod machine;
pub(crate) mod mailbox;
pub(crate) mod node;
pub(crate) mod payload_limits;
pub(crate) mod politeness;
pub(crate) mod presence;
pub(crate) mod pump;
pub(crate) mod rules;
pub(crate) mod session_driver;
pub(crate) mod session_end;
pub(crate) mod session_task;
pub(crate) mod shared_session;
pub(crate) mod spread;
pub(crate) mod supervisor;
pub(crate) mod unread_budget;
pub(crate) mod way;
