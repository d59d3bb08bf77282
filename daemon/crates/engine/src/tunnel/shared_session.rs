//! A session state machine that its driver and the pumps of its connections share.
//!
//! The lock is held for single calls into the machine, never across an await. Every mutation by a pump wakes the
//! driver once: it leaves its waker here when it has nothing more to do, and the first pump takes it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::{Buf as _, Bytes};
use ssm_session::{OpenError, PortSession, SessionEvent, StreamId, WriteError};

use crate::clock::Now;
use crate::tunnel::byte_queue::ByteQueue;

/// Bytes that a pump takes out of a session before it has written the earlier ones. What is left inside counts
/// against the session's limits, which is where back-pressure is decided.
const DOWNLOAD_AHEAD: usize = 256 << 10;

/// The session and who waits for it.
pub(crate) struct SharedSession {
    inner: Mutex<Inner>,
}

pub(crate) struct Inner {
    pub(crate) session: PortSession,
    streams: HashMap<StreamId, Watched>,
    /// Of the driver, while it has nothing to do.
    driver: Option<Waker>,
    /// Nothing comes of this session any more.
    over: bool,
}

/// What a pump waits on.
struct Watched {
    fate: Fate,
    /// The remote end said something, if only goodbye.
    heard: bool,
    pump: Option<Waker>,
}

/// How far a stream has come, seen from its pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// The remote end closed and everything was read; or both directions are over.
    Finished,
    /// It failed.
    Reset,
}

/// What a pump wants moved.
pub(crate) struct Exchange<'a> {
    pub(crate) stream: StreamId,
    /// From the local connection; what is accepted is cut off its front.
    pub(crate) upload: &'a mut Bytes,
    /// The local side said its last word.
    pub(crate) finish: bool,
    /// To the local connection.
    pub(crate) download: &'a mut ByteQueue,
}

impl fmt::Debug for SharedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSession").finish_non_exhaustive()
    }
}

impl SharedSession {
    pub(crate) fn new(session: PortSession) -> Self {
        Self { inner: Mutex::new(Inner { session, streams: HashMap::new(), driver: None, over: false }) }
    }

    /// For the driver.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // The driver ends a session in which somebody panicked: until then it is only read.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a panic passed through the session: what it says is not to be trusted.
    pub(crate) fn is_broken(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// Opens a stream.
    pub(crate) fn open(&self, now: Now) -> Result<StreamId, OpenError> {
        let (stream, driver) = {
            let mut inner = self.lock();
            if inner.over {
                return Err(OpenError::SessionOver);
            }
            let stream = inner.session.open(now.for_session())?;
            inner.streams.insert(stream, Watched { fate: Fate::Open, heard: false, pump: None });
            (stream, inner.driver.take())
        };
        wake(driver);
        Ok(stream)
    }

    /// Moves what can be moved, and leaves the waker for when more can be.
    pub(crate) fn exchange(&self, exchange: Exchange<'_>, now: Now, cx: &Context<'_>) -> Fate {
        let (fate, driver) = self.lock().exchange(exchange, now.for_session(), cx.waker());
        wake(driver);
        fate
    }

    /// Forgets a stream. If it is still open the remote end is told at once.
    pub(crate) fn forget(&self, stream: StreamId, now: Now) {
        let driver = {
            let mut inner = self.lock();
            if inner.streams.remove(&stream).is_none() || inner.over {
                return;
            }
            inner.session.abort(stream, now.for_session());
            inner.driver.take()
        };
        wake(driver);
    }

    /// Resets all streams that are open: nothing comes of this session any more.
    pub(crate) fn end(&self) {
        let pumps: Vec<Waker> = {
            let mut inner = self.lock();
            inner.over = true;
            let streams = inner.streams.values_mut().filter(|stream| stream.fate == Fate::Open);
            streams.filter_map(|stream| stream.settle(Fate::Reset)).collect()
        };
        pumps.into_iter().for_each(Waker::wake);
    }
}

impl Inner {
    /// The driver has nothing to do until somebody wakes it.
    pub(crate) fn park_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(parked) => parked.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
    }

    /// Tells a stream's pump what happened; answers who is to be woken once the lock is released.
    pub(crate) fn deliver(&mut self, event: &SessionEvent) -> Option<Waker> {
        match event {
            SessionEvent::Readable(stream) | SessionEvent::Writable(stream) => {
                self.streams.get_mut(stream)?.pump.take()
            }
            SessionEvent::RemoteFinished(stream) | SessionEvent::Closed(stream) => {
                self.streams.get_mut(stream)?.settle(Fate::Finished)
            }
            SessionEvent::Reset { stream, .. } => self.streams.get_mut(stream)?.settle(Fate::Reset),
            SessionEvent::HandshakeComplete { .. }
            | SessionEvent::Up
            | SessionEvent::RemoteConnectFailed
            | SessionEvent::AgentStalled { .. }
            | SessionEvent::AgentRecovered
            | SessionEvent::PayloadReduced { .. }
            | SessionEvent::ChannelDead
            | SessionEvent::Ended(_) => None,
        }
    }

    /// Whether this is the first that is heard of the remote end of a stream: it took the connection.
    pub(crate) fn is_first_word(&mut self, stream: StreamId) -> bool {
        self.streams.get_mut(&stream).is_some_and(|watched| !std::mem::replace(&mut watched.heard, true))
    }

    fn exchange(
        &mut self,
        exchange: Exchange<'_>,
        now: ssm_session::Now,
        waker: &Waker,
    ) -> (Fate, Option<Waker>) {
        let Exchange { stream, upload, finish, download } = exchange;
        let Some(watched) = self.streams.get_mut(&stream) else { return (Fate::Reset, None) };
        watched.pump = Some(waker.clone());
        if watched.fate != Fate::Open || self.over {
            return (watched.fate, None);
        }
        let mut touched = false;
        while download.remaining() < DOWNLOAD_AHEAD
            && let Some(chunk) = self.session.read(stream, now)
        {
            touched = true;
            download.push(chunk);
        }
        if !upload.is_empty() {
            touched = true;
            match self.session.write(stream, upload, now) {
                Ok(_) => {}
                // Nobody is left who would read it: a socket would throw it away as well.
                Err(WriteError::Closed | WriteError::RemoteFinished) => upload.clear(),
            }
        }
        if finish {
            touched = true;
            self.session.finish(stream, now);
        }
        (Fate::Open, self.driver.take_if(|_| touched))
    }
}

impl Watched {
    fn settle(&mut self, fate: Fate) -> Option<Waker> {
        self.fate = fate;
        self.pump.take()
    }
}

fn wake(waker: Option<Waker>) {
    waker.into_iter().for_each(Waker::wake);
}
