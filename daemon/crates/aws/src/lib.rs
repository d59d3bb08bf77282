//! AWS adapters: the Session Manager API, credentials, and what the data channel's upgrade needs.
//!
//! [`AwsAccess`] is the one place that knows which profile, region, endpoint and credentials a tunnel gets; it is
//! shared by [`AwsSsm`] (the API calls), by [`AwsTargets`] (which finds nodes), by [`AwsIdentity`] (which knows whose they
//! are) and by the transport that opens data
//! channels, so that all use the same credentials. [`AwsOidc`] and [`AwsPortal`] sign in at IAM Identity Center, and
//! [`Providers`] makes credentials of what a profile says. Errors of the SDK become a [`Fault`](stormtunnel_model::Fault) in `classify`, nowhere else. Values of
//! the environment are arguments ([`AwsEnvironment`]).

mod access;
mod address;
mod agents;
mod chosen;
mod classify;
mod connect;
mod credentials;
mod diagnosis;
mod endpoint;
mod environment;
mod http_client;
mod identity;
mod network;
mod providers;
mod proxy;
mod quote;
mod service;
mod sign_in;
mod signer;
mod ssm;
mod targets;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;

pub use access::{AwsAccess, ProfileSource, UpgradeRefusal, WayOut};
pub use address::ChannelAddress;
pub use connect::lead_through;
pub use diagnosis::AwsDiagnosis;
pub use endpoint::EndpointGuard;
pub use environment::AwsEnvironment;
pub use identity::AwsIdentity;
pub use network::AwsNetwork;
pub use providers::{AskCode, FindSignIn, ProfileCredentials, Providers};
pub use proxy::Proxy;
pub use quote::{quote, with_trust_hint};
pub use service::{ServiceAccess, no_endpoint};
pub use sign_in::{AwsOidc, AwsPortal};
pub use ssm::AwsSsm;
pub use targets::{AwsTargets, ContainerFinder, Finders, InstanceFinder};
pub use tls::client_config;
