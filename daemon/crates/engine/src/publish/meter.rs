//! Counters that are written where bytes pass and read by whoever looks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use stormtunnel_model::{SsmSessionId, Traffic, TunnelLimit, TunnelStatus};

/// Live counters of one tunnel.
#[derive(Debug, Default)]
pub struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    connections: AtomicU32,
    opened: AtomicU64,
    waiting: AtomicU64,
    /// Those of its sessions, for as long as they live.
    sessions: Mutex<Vec<(SsmSessionId, Weak<SessionMeter>)>>,
}

/// Live counters of one session.
#[derive(Debug, Default)]
pub struct SessionMeter {
    sent: AtomicU64,
    received: AtomicU64,
    connections: AtomicU32,
}

impl Meter {
    /// Counts bytes from local applications.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes to local applications.
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Sets how many received bytes wait for messages that were lost.
    pub fn set_waiting(&self, bytes: usize) {
        self.waiting.store(bytes as u64, Ordering::Relaxed);
    }

    /// Connections open now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Bytes so far.
    pub fn traffic(&self) -> Traffic {
        Traffic { sent: self.sent.load(Ordering::Relaxed), received: self.received.load(Ordering::Relaxed) }
    }

    /// Counts a connection until the answer is dropped.
    #[must_use]
    pub fn connect(self: &Arc<Self>) -> Connected {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Shows the counters of a session too, for as long as it lives.
    pub fn add_session(&self, id: SsmSessionId, session: &Arc<SessionMeter>) {
        let mut sessions = self.sessions();
        sessions.retain(|(_, session)| session.strong_count() > 0);
        sessions.push((id, Arc::downgrade(session)));
    }

    pub(super) fn write_to(&self, status: &mut TunnelStatus) {
        status.connections = self.connections();
        status.traffic = self.traffic();
        if let Some(TunnelLimit::AgentResend { waiting_bytes }) = &mut status.limit {
            *waiting_bytes = self.waiting.load(Ordering::Relaxed);
        }
        let live = self.sessions();
        for shown in &mut status.sessions {
            let session = live.iter().find(|(id, _)| *id == shown.id);
            if let Some(session) = session.and_then(|(_, session)| session.upgrade()) {
                shown.connections = session.connections();
                shown.traffic = session.traffic();
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<(SsmSessionId, Weak<SessionMeter>)>> {
        // Nothing that can panic runs between two changes of the list.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionMeter {
    /// Counts bytes from local applications.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes to local applications.
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Sets how many connections it carries.
    pub fn set_connections(&self, count: usize) {
        self.connections.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Connections that it carries.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes so far.
    pub fn traffic(&self) -> Traffic {
        Traffic { sent: self.sent.load(Ordering::Relaxed), received: self.received.load(Ordering::Relaxed) }
    }
}

/// One counted connection.
#[derive(Debug)]
pub struct Connected(Arc<Meter>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
