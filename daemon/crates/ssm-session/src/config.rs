//! Settings of a client session.

use std::time::Duration;

/// Payload size every agent and gateway is known to take; the official client never sends more.
pub const SAFE_PAYLOAD: usize = 1024;
/// Largest payload that may be configured.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// How many data messages may leave per second. The service is reported to act against more than about 1000 per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRate {
    /// Sustained messages per second, retransmissions included, acknowledgements not. At least 1.
    pub per_second: u32,
    /// Messages that may leave at once after a quiet time. At least 1.
    pub burst: u32,
}

impl Default for MessageRate {
    fn default() -> Self {
        Self { per_second: 900, burst: 900 }
    }
}

/// Settings of a [`crate::PortSession`]. `Config::default()` is what production uses.
#[derive(Clone, Debug)]
pub struct Config {
    /// Announced in the open message and in the handshake.
    pub client_version: String,
    /// Payload to use once a probe of that size was acknowledged. Clamped to 1024..=32768.
    pub payload_size: usize,
    /// Upper bound learnt by an earlier session on the same path (see [`crate::PortSession::payload_size`]).
    pub payload_limit: Option<usize>,
    /// `None` switches the limit off.
    pub message_rate: Option<MessageRate>,
    /// Longest wait for each step of the handshake, from the connection on.
    pub handshake_timeout: Duration,
    /// How long the remote may still answer after the local side finished, from its last byte on. The protocol has no
    /// half-close: our FIN makes the agent close both directions.
    pub half_close_grace: Duration,
    /// How long a reader may take nothing, while other streams are open, before its stream is reset.
    pub stalled_reader_grace: Duration,
    /// Received bytes kept for one stream before the session stops wanting input.
    pub stream_buffer: usize,
    /// The same while other streams are open: enough for the agent's usual 0.9 MB/s during the stalled reader's grace,
    /// so that one sleeping application does not stop its neighbours.
    pub crowded_stream_buffer: usize,
    /// Bytes accepted from the application per stream before `write` answers 0.
    pub send_buffer: usize,
    /// Streams announced to the agent that are not known to be connected. It connects one after the other, and beyond
    /// 1024 waiting ones it stops reading everything.
    pub max_undialled: usize,
    /// After this time a stream no longer counts as undialled: a connected but silent one cannot be told apart.
    pub dial_grace: Duration,
    /// Interval of WebSocket pings.
    pub ping_interval: Duration,
    /// Silence after a ping that means the connection is dead.
    pub pong_timeout: Duration,
    /// Data outstanding and no acknowledgement for this long: reported as stalled.
    pub agent_stalled_after: Duration,
    /// Longest wait for the acknowledgement of the terminate flag.
    pub terminate_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client_version: crate::CLIENT_VERSION.to_owned(),
            payload_size: 16 * 1024,
            payload_limit: None,
            message_rate: Some(MessageRate::default()),
            handshake_timeout: Duration::from_secs(30),
            half_close_grace: Duration::from_secs(30),
            stalled_reader_grace: Duration::from_secs(30),
            stream_buffer: 16 << 20,
            crowded_stream_buffer: 48 << 20,
            send_buffer: 256 << 10,
            max_undialled: 64,
            dial_grace: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(10),
            agent_stalled_after: Duration::from_secs(10),
            terminate_wait: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// The payload size to aim for, within all bounds.
    pub(crate) fn target_payload(&self) -> usize {
        self.payload_size.min(self.payload_limit.unwrap_or(MAX_PAYLOAD)).clamp(SAFE_PAYLOAD, MAX_PAYLOAD)
    }
}
