//! Micro-benchmarks of the protocol cores: what a message costs in time and in memory, without sockets, TLS and tasks.
//!
//! ```text
//! just bench-cores                                               # all; a release build of this crate comes first
//! just bench-cores download                                      # those whose path holds this
//! cargo bench -p stormtunnel-bench --bench cores                 # the same without just
//! cargo bench -p stormtunnel-bench --bench cores -- upload --sample-count 1000
//! cargo test -p stormtunnel-bench --bench cores                  # each once, unoptimised: whether they still work
//! ```
//!
//! Each figure is the time of one iteration; below it stand the throughput that follows from it, and the allocations of
//! one iteration. In [`session`] and [`crowd`] an iteration is a round of 100 or 10 messages, so that allocations per
//! message are read off by moving the decimal point. Only the client's work is timed: what the agent does, and the
//! making of what arrives, happens between the iterations. Time is virtual and data a pattern, so that two runs do the
//! same; bytes that get lost break a run. The fastest iteration is the figure to compare: the others waited for the
//! rest of the machine.
//!
//! SHA-256 is that of the product (feature `aws-lc` of `ssm-session`); [`message::digest`] shows its share.
#![expect(clippy::expect_used, reason = "a session that does not do what is measured breaks the run")]

mod crowd;
mod message;
mod mux;
mod pair;
mod session;

use bytes::Bytes;

/// Counts what each iteration allocates.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Bytes without a short period.
fn pattern(length: usize) -> Bytes {
    let byte = |at: usize| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    (0..length).map(byte).collect()
}
