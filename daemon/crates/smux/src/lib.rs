//! smux version 1 (the wire format of `xtaci/smux`), sans-IO, both roles.
//!
//! Many byte streams inside one ordered, reliable byte stream. The crate knows nothing of what carries that byte
//! stream, has no clock, no sockets, no async and no entropy: bytes and time are arguments.
//!
//! # Contract
//!
//! 1. Make **one mutation** of a [`Mux`]: [`handle_input`](Mux::handle_input), [`open`](Mux::open),
//!    [`write`](Mux::write), [`read`](Mux::read), [`finish`](Mux::finish), [`abort`](Mux::abort),
//!    [`queue_nop`](Mux::queue_nop), [`transmit`](Mux::transmit) or [`handle_timeout`](Mux::handle_timeout).
//! 2. **Drain** [`poll_output`](Mux::poll_output) until it answers [`Output::Timeout`]; call
//!    [`handle_timeout`](Mux::handle_timeout) at that time if nothing happened before.
//! 3. While [`has_pending`](Mux::has_pending) and the carrier takes bytes, **pull** with [`transmit`](Mux::transmit).
//!    Output is never pushed, so a carrier that stands still costs no more than the bounded send buffers.
//! 4. `now` never goes backwards from one call to the next.
//!
//! ```
//! # use std::time::Instant;
//! # use bytes::{Bytes, BytesMut};
//! # use smux::{Config, Event, Mux, Output, Role};
//! # fn demo(now: Instant) -> Result<(), Box<dyn std::error::Error>> {
//! let mut mux = Mux::new(Role::Client, Config::default(), now)?;
//! let id = mux.open()?;
//! mux.write(id, &mut Bytes::from_static(b"hello"))?;
//! let mut wire = BytesMut::new();
//! mux.transmit(&mut wire, 1024, now); // SYN and PSH in one go
//! mux.handle_input(Bytes::from_static(b"\x01\x02\x02\x00\x03\x00\x00\x00hi"), now)?;
//! while let Output::Event(event) = mux.poll_output() {
//!     if let Event::Readable(id) = event {
//!         while let Some(bytes) = mux.read(id) {
//!             // pass the bytes on
//!             # let _ = bytes;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The life of a stream
//!
//! | step | what the peer sees | what the owner sees |
//! |---|---|---|
//! | [`Mux::open`] (client) | SYN, in one transmission with the first data | the stream can be written at once; there is no reply |
//! | SYN received (server) | | [`Event::Opened`] |
//! | data received | | [`Event::Readable`] once, until `read` answered `None` |
//! | [`Mux::finish`] | FIN behind everything written before | reading goes on until the peer's FIN |
//! | FIN received | | queued data is dropped, writes fail at once; [`Event::RemoteFinished`] when all was read |
//! | both FINs, all read | | [`Event::Closed`]; the id is unknown from here on |
//! | [`Mux::abort`] | FIN (nothing at all if the SYN had not left yet) | both queues dropped, [`Event::Closed`] at once |
//! | [`Mux::abandon`] | the same | both queues dropped, [`Event::Closed`] when the peer's FIN has come |
//!
//! **FIN is a full close**: version 1 has no half-close. A peer that sent FIN has forgotten the stream and drops what
//! still arrives for it; a peer that received FIN closes its side both ways. Hence the asymmetry above, and hence an
//! owner whose local application only shut down its write side should delay `finish` as long as it hopes for answers.
//! Every stream must be ended with `finish`, `abort` or `abandon`, also after `RemoteFinished`: nothing is forgotten behind the
//! owner's back.
//!
//! # What is tolerated, what is fatal
//!
//! As in the Go implementation: PSH for an unknown id is dropped, PSH of length 0 and SYN for an id in use are
//! ignored, FIN for an unknown id is ignored. A client ignores SYN, because nobody accepts streams there.
//! Another version, another command (UPD belongs to version 2), and a length on SYN, FIN or NOP are a
//! [`ProtocolError`]: Go would take the bytes behind such a frame for a header, other implementations would skip
//! them, so the framing is lost either way. After an error the `Mux` takes no more input.
//!
//! # Fairness
//!
//! SYN, FIN and NOP leave first. Each stream has a credit of one quantum ([`Config::frame_payload`]) per round. A
//! stream that was idle and writes within its credit leaves before all bulk data; bulk streams take turns, one
//! quantum each. So a small write waits for no bulk data at all once the running `transmit` has returned, and
//! between two turns of a bulk stream every other stream sends at most two quanta.
//!
//! # Memory
//!
//! Sending is bounded by [`Config::stream_send_buffer`] per stream. Version 1 has no window, so receiving cannot be
//! refused for one stream: [`ReceiveBudget`] counts what is unread, [`Mux::wants_input`] says when to stop feeding,
//! [`Mux::over_limit_streams`] says who is to blame; what to do about it is the caller's policy.
//!
//! Read next: [`frame`] for the wire format, then `mux/mod.rs`.

mod budget;
mod config;
mod decoder;
mod error;
pub mod frame;
mod fuzz;
mod id;
mod mux;
mod queue;
mod stream;

pub use budget::{OverLimit, ReceiveBudget, ReceiveLimits};
pub use config::{Config, KEEPALIVE_INTERVAL};
pub use error::{ConfigError, OpenError, ProtocolError, StreamError};
pub use frame::{Command, Frame, Header};
#[doc(hidden)]
pub use fuzz::fuzz_entry;
pub use id::{Role, StreamId};
pub use mux::{Event, MIN_TRANSMIT, Mux, Output};
