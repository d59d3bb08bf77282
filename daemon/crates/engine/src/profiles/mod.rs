//! Profiles of the AWS files: whether their credentials are any good.
//!
//! AWS is asked who it takes a profile's credentials for, and the answer is shown: when the daemon starts, when the profile or
//! what it depends on is edited, when its sign-in gets or loses a token, and when somebody asks. Never by the clock.
//!
//! `standing` and `decide` say when AWS is asked (pure); [`registry`] asks it and shows what comes of it on a [`board`].
//! What stands in the files comes in as [`directory`] has it.

pub mod board;
mod decide;
pub mod directory;
pub(crate) mod follow;
pub mod registry;
mod standing;
