//! Settings of a [`crate::Mux`].

use std::time::Duration;

use crate::{ConfigError, ReceiveLimits, frame::MAX_SEND_PAYLOAD};

/// Interval of NOPs toward peers that need them: the default of the Go implementation, whose check runs every 30 s.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The longest interval that still puts a frame into every 30 s check of the peer.
const MAX_KEEPALIVE: Duration = Duration::from_secs(30);

/// Below this, headers would outweigh the data.
const MIN_FRAME_PAYLOAD: usize = 64;

/// Settings of a [`crate::Mux`]; `Mux::new` refuses values that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of payload in the largest PSH frame, which is also the quantum of fair sending. 64 to 32768.
    pub frame_payload: usize,
    /// Bytes that `write` accepts per stream before they are transmitted. At least `frame_payload`.
    pub stream_send_buffer: usize,
    /// How long nothing may have been transmitted before a NOP is queued; `None` sends none, which lets idle
    /// timeouts of the carrier work. At most 30 s; [`KEEPALIVE_INTERVAL`] is the usual value.
    pub keepalive: Option<Duration>,
    /// SYNs that one piece of input may hold (server role); more are a protocol error.
    pub accept_backlog: usize,
    /// How much may lie unread.
    pub receive: ReceiveLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frame_payload: 16 * 1024,
            stream_send_buffer: 256 * 1024,
            keepalive: None,
            // As in the Go implementation.
            accept_backlog: 1024,
            receive: ReceiveLimits::default(),
        }
    }
}

impl Config {
    /// Checks each value and how they fit together.
    ///
    /// # Errors
    /// The first value that is out of range, with the range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(MIN_FRAME_PAYLOAD..=MAX_SEND_PAYLOAD).contains(&self.frame_payload) {
            return Err(ConfigError::FramePayload(self.frame_payload));
        }
        if self.stream_send_buffer < self.frame_payload {
            return Err(ConfigError::StreamSendBuffer {
                buffer: self.stream_send_buffer,
                frame_payload: self.frame_payload,
            });
        }
        if let Some(interval) = self.keepalive
            && !(Duration::from_millis(1)..=MAX_KEEPALIVE).contains(&interval)
        {
            return Err(ConfigError::Keepalive(interval));
        }
        if self.accept_backlog == 0 {
            return Err(ConfigError::AcceptBacklog);
        }
        self.receive.validate()
    }
}
