//! The contract between the daemon and its front ends: generated code, conversions, a typed client.
//!
//! - [`v1`]: what the `.proto` files say, as Rust. Only services and this crate touch it.
//! - [`calls`]: what the calls take and give, in the words of `stormtunnel_model`.
//! - [`conversions`]: between the two. Incoming messages are parsed (`TryFrom`), outgoing ones written (`From`).
//! - [`status`]: a failed call carries its [`Fault`](stormtunnel_model::Fault), typed, in the details of its status.
//! - [`Client`]: the calls of a front end, over the daemon's Unix socket. It sends nothing that an older daemon would overlook.
//! - [`paths`]: where socket, state and settings are.
//!
//! Nothing here decides anything about tunnels, and nothing knows of AWS.

pub mod calls;
mod client;
pub mod conversions;
mod levels;
pub mod paths;
pub mod status;

pub use client::{
    CallError, Client, ConnectError, EventWatch, ProfileWatch, PromptWatch, RunningChecks, RunningLogin,
    SignInWatch, TunnelWatch,
};
pub use conversions::ConversionError;

/// Generated from `stormtunnel/v1/*.proto`; the comments there are the documentation.
pub mod v1 {
    #![expect(
        missing_docs,
        unused_qualifications,
        clippy::allow_attributes,
        clippy::clone_on_ref_ptr,
        clippy::large_enum_variant,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    tonic::include_proto!("stormtunnel.v1");
}

/// The level of this API. Grows by one with each addition that a client may depend on; a client asks for it with
/// `GetInfo` and knows what the daemon can do. `levels.txt` lists what each level brought.
pub const API_LEVEL: u32 = 6;

/// The compiled contract, comments included, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stormtunnel.v1.fds"));
