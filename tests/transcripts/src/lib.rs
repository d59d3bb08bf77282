//! Recorded exchanges between AWS's own client and AWS's own agent, frame by frame: the referee between our client,
//! our agent and the mistakes that the two could share.
//!
//! [`Recording`] reads a file of `data/`; [`script`] tells from it what the people and programs around the protocol
//! did (local connections, remote servers, outages), so that the same can be done to our own client and agent;
//! [`facts`] are what is compared.

mod deviations;
pub mod facts;
pub mod frame;
pub mod replay_agent;
pub mod replay_client;
pub mod script;
pub mod wire;

pub use deviations::{Deviation, Deviations, unintended};
pub use frame::{Direction, Line, Recording};

/// Recordings of multiplexed port sessions whose halves are replayed.
pub const REPLAYED: &[&str] = &[
    "a-mux-one-connection",
    "b-mux-two-connections",
    "b2-mux-half-close",
    "b3-mux-server-closes",
    "e1-mux-connection-refused",
    "e4-mux-terminated-by-service",
    "f1-agent-reconnect",
    "f2-client-resume",
    "g1-remote-host",
    "g2-remote-host-denied",
    "g3-remote-host-unresolvable",
    "h1-client-never-connects",
    "i1-client-ack-lost",
    "i2-data-lost",
    "j1-agent-paused",
];
