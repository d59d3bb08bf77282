//! Sign-ins: one token each, however many profiles and tunnels live on it.
//!
//! [`machine`] decides everything, [`actor`] carries it out through [`ports`]. What AWS answers is sorted by
//! [`classify`]; which way to sign in is chosen by [`flow`]; when to renew is computed by [`policy`]. [`credentials`] hands out
//! what profiles need in the end.
//!
//! [`registry`] has all of them, as the AWS files configure them ([`directory`]), and shows them on a [`board`]; [`running`] is
//! a login as whoever asked for it sees it. What sets profiles up is in `configure`.

pub mod actor;
pub mod board;
pub mod classify;
mod configure;
pub mod credentials;
pub mod directory;
mod events;
pub mod flow;
pub(crate) mod follow;
mod login;
pub mod machine;
pub mod policy;
pub mod ports;
pub mod registry;
pub mod running;
mod storage;
pub mod token;
