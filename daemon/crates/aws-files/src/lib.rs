//! The files that the AWS CLI and the SDKs share: `~/.aws/config`, `~/.aws/credentials`, and the cache of SSO tokens
//! `~/.aws/sso/cache`.
//!
//! Bytes in, values out: [`ProfileSet::parse`] reads profiles by the rules of the AWS CLI v2, except that one bad line
//! hides nothing else; [`edit`] changes sections and keeps all else byte for byte, [`configure()`] with it
//! what `aws configure sso` writes; [`tokens`] reads what any tool wrote and
//! writes what every tool can read. What touches the disk is [`ProfileFile`], [`replace`], [`sweep`] and
//! [`tokens::CacheDirectory`], and blocks: callers choose the thread.
//!
//! Read next: `ini` (the dialect), `profiles/resolve.rs` (which credentials win).

mod configure;
pub mod edit;
mod file;
mod ini;
mod keys;
mod not_found;
mod problem;
mod profiles;
pub mod tokens;

pub use configure::{ConfigureError, Configured, configure};
pub use file::{ProfileFile, ReplaceError, replace, sweep};
pub use ini::shell::split as shell_words;
pub use not_found::profile_not_found;
pub use problem::{Place, Problem, ProblemKind};
pub use profiles::{
    Changes, CredentialProcess, Credentials, Diff, Endpoints, Invalid, InvalidKind, Profile, ProfileSet,
    Role, SignIn, Source, SsoRole, StaticKeys, WebIdentity, normalized,
};

#[cfg(test)]
mod botocore_tests;
