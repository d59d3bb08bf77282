//! IAM Identity Center through the SDK: SSO-OIDC ([`AwsOidc`]), which signs in and renews tokens, and the access portal
//! ([`AwsPortal`]), which gives credentials of roles for them.
//!
//! No call is sent a second time: a refresh token may be good for one. What AWS answers is told as it is
//! (`error`); what it means is the engine's to say.

mod clients;
mod error;
mod oidc;
mod portal;

pub use oidc::AwsOidc;
pub use portal::AwsPortal;

pub(crate) use clients::portal_url;
