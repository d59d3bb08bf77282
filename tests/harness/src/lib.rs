//! Builds `stormtunneld` and `stctl` once, and runs them in a place of their own: with their own home, socket, state
//! and settings, against an emulator instead of AWS.
//!
//! [`Binaries`] are the two programs, [`Place`] is where they run, [`Sandbox`] is a place with an emulator.

mod binaries;
mod place;
mod sandbox;

pub use binaries::{Binaries, Parts, binaries};
pub use place::{Place, Ran};
pub use sandbox::Sandbox;
