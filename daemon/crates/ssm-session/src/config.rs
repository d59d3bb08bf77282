//! Settings of a client session.

use std::time::Duration;

/// Payload size every agent and gateway is known to take; the official client never sends more.
pub const SAFE_PAYLOAD: usize = 1024;
/// Largest payload that may be configured.
pub const MAX_PAYLOAD: usize = 32 * 1024;

/// How many data messages may leave per second. The service is reported to end a channel that carries more than about
/// 1000 per second for 2 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRate {
    /// Sustained messages per second, retransmissions included, acknowledgements not. At least 1.
    pub per_second: u32,
    /// Messages that may leave at once after a quiet time. At least 1.
    pub burst: u32,
}

impl MessageRate {
    /// That many messages per second, with a burst of what a fifth of a second takes: enough for the late timers of a
    /// busy machine, and at 900 per second no 2 s see more than 1980 messages.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, burst: (per_second / 5).max(1) }
    }

    /// Messages that may be unacknowledged: what can be sent again in half a second, so that new data flows within a
    /// second of a reconnect.
    pub(crate) fn most_unacknowledged(self) -> usize {
        // Below this, a slow rate would be slower still on a long path.
        const LEAST: usize = 16;
        usize::try_from(self.per_second / 2).unwrap_or(usize::MAX).max(LEAST)
    }
}

impl Default for MessageRate {
    fn default() -> Self {
        Self::new(900)
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
    /// How long the remote may still answer after the local side finished, from when the agent has acknowledged all that
    /// was written or from the remote's last byte on. The protocol has no half-close: our FIN makes the agent close both
    /// directions. It leaves only if the agent answers once that time is over: a broken path is silent as well.
    pub half_close_grace: Duration,
    /// How long a reader may take nothing, with more than [`Config::stream_buffer`] unread and other streams open,
    /// before its stream is reset.
    pub stalled_reader_grace: Duration,
    /// The same once the session has reached its bound and another stream waits for data. Long enough for a reader that
    /// is slow: sockets tell of room in steps of some 100 KiB, so that one that takes 200 kB per second is seen to take
    /// something every second or two.
    pub give_way_after: Duration,
    /// Received bytes that a stream alone on its session may leave unread before the session stops wanting input.
    pub stream_buffer: usize,
    /// Received bytes that all streams of a session may leave unread before it stops wanting input.
    pub session_buffer: usize,
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
    /// The same for this long: the session is given up, if the gateway answers and the agent cannot be waiting for a
    /// destination that takes nothing (see [`crate::SessionEnd::AgentLost`]).
    pub agent_lost_after: Duration,
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
            give_way_after: Duration::from_secs(2),
            stream_buffer: 16 << 20,
            session_buffer: 64 << 20,
            send_buffer: 256 << 10,
            max_undialled: 64,
            dial_grace: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(10),
            agent_stalled_after: Duration::from_secs(10),
            agent_lost_after: Duration::from_secs(30),
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
