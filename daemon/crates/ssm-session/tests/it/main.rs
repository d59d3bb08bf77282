//! Tests of the crate from outside: one binary, one module per subject.
#![expect(clippy::wildcard_enum_match_arm, reason = "tests look for one event among many")]

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod client;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod crowding;
#[cfg(test)]
mod download;
#[cfg(test)]
mod half_closed;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod support;
