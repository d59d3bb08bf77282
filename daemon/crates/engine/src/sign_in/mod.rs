//! Sign-ins: one token each, however many profiles and tunnels live on it.
//!
//! [`machine`] decides everything, [`actor`] carries it out through [`ports`]. What AWS answers is sorted by
//! [`classify`]; which way to sign in is chosen by [`flow`]; when to renew is computed by [`policy`]. [`credentials`] hands out
//! what profiles need in the end.

pub mod actor;
pub mod classify;
pub mod credentials;
pub mod flow;
mod login;
pub mod machine;
pub mod policy;
pub mod ports;
mod storage;
pub mod token;
