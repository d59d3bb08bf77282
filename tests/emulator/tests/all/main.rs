//! Tests of the whole emulator, in one program so that it is linked once.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails is a test that fails")]

mod faults;
mod relay;
mod standing;
mod sts;
mod support;
mod tls;
