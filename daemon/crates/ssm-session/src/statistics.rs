//! Numbers for status displays and tests.

use std::time::{Duration, Instant};

/// What a channel counts. Acknowledgements and service messages are not data messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Data messages received, duplicates included.
    pub messages_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// Data messages sent, each counted once.
    pub messages_out: u64,
    /// Their payload bytes.
    pub bytes_out: u64,
    /// Data messages sent again.
    pub retransmissions: u64,
    /// Data messages received again.
    pub duplicates: u64,
    /// Data messages received before their turn.
    pub early: u64,
    /// Data messages dropped for lack of room.
    pub refused: u64,
    /// Messages dropped for a wrong digest.
    pub digest_errors: u64,
    /// Acknowledgements received.
    pub acks_in: u64,
    /// Acknowledgements sent.
    pub acks_out: u64,
    /// Messages of a type or payload type that has no meaning here.
    pub ignored: u64,
}

/// A session's figures at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Since the session began.
    pub counters: Counters,
    /// Smoothed round trip from message to acknowledgement.
    pub smoothed_rtt: Duration,
    /// Shortest round trip of late; `None` before the first acknowledgement.
    pub min_rtt: Option<Duration>,
    /// Current retransmission timeout of a first sending.
    pub retransmission_timeout: Duration,
    /// Bytes that may be unacknowledged.
    pub window: usize,
    /// Unacknowledged messages.
    pub outstanding_messages: usize,
    /// Unacknowledged bytes, headers included.
    pub outstanding_bytes: usize,
    /// Last acknowledgement.
    pub last_ack: Option<Instant>,
    /// Received bytes that no reader has taken yet.
    pub unread_bytes: usize,
    /// Messages received before their turn.
    pub early_messages: usize,
    /// Their bytes, headers included.
    pub early_bytes: usize,
    /// Messages that those wait for.
    pub missing_messages: u64,
    /// Open streams, those held back included.
    pub streams: usize,
    /// Connections so far, the first included.
    pub connections: u32,
}

/// One stream's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStatistics {
    /// When `open` was called.
    pub opened_at: Instant,
    /// Bytes given to the local reader.
    pub bytes_in: u64,
    /// Bytes taken from the local writer.
    pub bytes_out: u64,
    /// Received bytes not read yet.
    pub unread: usize,
}
