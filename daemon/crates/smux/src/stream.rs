//! State of one stream.

use crate::{StreamError, StreamId, queue::ByteQueue};

/// How far our side of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalHalf {
    /// Takes writes.
    Open,
    /// `finish` was called, data is still queued in front of the FIN.
    Finishing,
    /// The FIN is in the control queue or gone.
    Finished,
}

/// How far the peer's side has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemoteHalf {
    /// May send.
    Open,
    /// Its FIN arrived, data before it is still unread.
    Unread,
    /// Its FIN arrived, everything was read and the owner told so.
    Finished,
    /// What it sends is dropped; its FIN is awaited.
    Ignored,
}

/// A stream's place in the sending order; see [`crate::mux`].
#[derive(Debug)]
pub(crate) struct Turn {
    /// Bytes that it may still send in this round.
    pub(crate) credit: usize,
    /// In the queue of streams that leave first.
    pub(crate) in_sparse: bool,
    /// In the round of bulk streams, perhaps with nothing to send.
    pub(crate) in_bulk: bool,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) inbox: ByteQueue,
    pub(crate) outbox: ByteQueue,
    pub(crate) local: LocalHalf,
    pub(crate) remote: RemoteHalf,
    pub(crate) turn: Turn,
    /// `Readable` was emitted and `read` has not answered `None` since.
    pub(crate) readable_told: bool,
    /// The send buffer was full: `Writable` is owed.
    pub(crate) write_blocked: bool,
    /// `Drained` is to be emitted when it is true.
    pub(crate) drain_awaited: bool,
    /// The SYN has not left yet.
    pub(crate) syn_queued: bool,
    /// Payload bytes that ever arrived.
    pub(crate) received: u64,
}

impl Stream {
    pub(crate) fn new(credit: usize, syn_queued: bool) -> Self {
        Self {
            inbox: ByteQueue::default(),
            outbox: ByteQueue::default(),
            local: LocalHalf::Open,
            remote: RemoteHalf::Open,
            turn: Turn { credit, in_sparse: false, in_bulk: false },
            readable_told: false,
            write_blocked: false,
            drain_awaited: false,
            syn_queued,
            received: 0,
        }
    }

    /// Whether the peer would still take data.
    pub(crate) fn check_writable(&self, id: StreamId) -> Result<(), StreamError> {
        match (self.local, self.remote) {
            (LocalHalf::Finishing | LocalHalf::Finished, _) => Err(StreamError::Finished(id)),
            (LocalHalf::Open, RemoteHalf::Unread | RemoteHalf::Finished | RemoteHalf::Ignored) => {
                Err(StreamError::RemoteFinished(id))
            }
            (LocalHalf::Open, RemoteHalf::Open) => Ok(()),
        }
    }

    /// Whether to tell now that nothing waits to leave.
    pub(crate) fn take_drained(&mut self) -> bool {
        let drained = self.outbox.is_empty() && !self.syn_queued;
        drained && std::mem::take(&mut self.drain_awaited)
    }

    /// Whether nothing can happen to it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.local == LocalHalf::Finished && self.remote == RemoteHalf::Finished
    }
}
