//! A session state machine that its driver and the pumps of its connections share.
//!
//! The lock is held for single calls into the machine, never across an await. Every mutation by a pump wakes the
//! driver once: it leaves its waker here when it has nothing more to do, and the first pump takes it.
//!
//! What the session and its pumps hold of received bytes counts against a budget that all sessions share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use ssm_session::{OpenError, PortSession, SessionEvent, StreamId, WriteError};

use crate::clock::Now;
use crate::publish::SessionMeter;
use crate::tunnel::byte_queue::ByteQueue;
use crate::tunnel::unread_budget::Share;

/// Bytes that a pump takes out of a session before it has written the earlier ones. What is left inside counts
/// against the session's limits, which is where back-pressure is decided; both count against the budget.
const DOWNLOAD_AHEAD: usize = 256 << 10;

/// The session and who waits for it.
pub(crate) struct SharedSession {
    inner: Mutex<Inner>,
    meter: Arc<SessionMeter>,
}

pub(crate) struct Inner {
    pub(crate) session: PortSession,
    streams: HashMap<StreamId, Watched>,
    /// Bytes that the pumps have taken out and not written yet.
    ahead: usize,
    share: Share,
    /// The session's bound of unread bytes, as far as the budget goes.
    bound: usize,
    /// Of the driver, while it has nothing to do.
    driver: Option<Waker>,
    /// When the last connection went, while there is none.
    unused_since: Option<Instant>,
    /// Nothing comes of this session any more.
    over: bool,
}

/// What a pump waits on.
struct Watched {
    fate: Fate,
    /// The remote end said something, if only goodbye.
    heard: bool,
    /// Bytes that its pump has taken out and not written yet.
    ahead: usize,
    pump: Option<Waker>,
}

/// Who is to be woken once the lock is released.
#[derive(Default)]
#[must_use]
pub(crate) struct Wakers {
    /// The driver of this session, or one of its pumps.
    own: Option<Waker>,
    /// Drivers of other sessions, for which there is room now.
    others: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn wake(self) {
        self.own.into_iter().chain(self.others).for_each(Waker::wake);
    }
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
    pub(crate) fn new(session: PortSession, share: Share, now: Now) -> Self {
        let inner = Inner {
            session,
            streams: HashMap::new(),
            ahead: 0,
            share,
            bound: 0,
            driver: None,
            unused_since: Some(now.mono),
            over: false,
        };
        Self { inner: Mutex::new(inner), meter: Arc::default() }
    }

    /// For the driver.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // The driver ends a session in which somebody panicked: until then it is only read.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went through it, for anybody.
    pub(crate) fn meter(&self) -> &Arc<SessionMeter> {
        &self.meter
    }

    /// Whether a panic passed through the session: what it says is not to be trusted.
    pub(crate) fn is_broken(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// Connections that it carries.
    pub(crate) fn connections(&self) -> usize {
        self.lock().streams.len()
    }

    /// For how long it has carried no connection; zero while it does.
    pub(crate) fn unused_for(&self, now: Now) -> Duration {
        self.lock().unused_since.map_or(Duration::ZERO, |since| now.mono.saturating_duration_since(since))
    }

    /// Has the data channel prove that it works. The driver looks at once, and again when the time for that is over.
    pub(crate) fn verify(&self, now: Now) {
        let wakers = {
            let mut inner = self.lock();
            inner.session.verify(now.for_session());
            inner.settle(true)
        };
        wakers.wake();
    }

    /// Has the agent confirm that it is there.
    pub(crate) fn ask_agent(&self, now: Now) {
        let wakers = {
            let mut inner = self.lock();
            inner.session.ask_agent(now.for_session());
            inner.settle(true)
        };
        wakers.wake();
    }

    /// Opens a stream.
    pub(crate) fn open(&self, now: Now) -> Result<StreamId, OpenError> {
        let (stream, wakers) = {
            let mut inner = self.lock();
            if inner.over {
                return Err(OpenError::SessionOver);
            }
            let stream = inner.session.open(now.for_session())?;
            inner.streams.insert(stream, Watched { fate: Fate::Open, heard: false, ahead: 0, pump: None });
            inner.unused_since = None;
            self.meter.set_connections(inner.streams.len());
            (stream, inner.settle(true))
        };
        wakers.wake();
        Ok(stream)
    }

    /// Moves what can be moved, and leaves the waker for when more can be.
    pub(crate) fn exchange(&self, exchange: Exchange<'_>, now: Now, cx: &Context<'_>) -> Fate {
        let (fate, wakers) = self.lock().exchange(exchange, now.for_session(), cx.waker());
        wakers.wake();
        fate
    }

    /// Forgets a stream. If it is still open the remote end is told at once.
    pub(crate) fn forget(&self, stream: StreamId, now: Now) {
        let wakers = {
            let mut inner = self.lock();
            let Some(watched) = inner.streams.remove(&stream) else { return };
            inner.ahead -= watched.ahead;
            self.meter.set_connections(inner.streams.len());
            if inner.streams.is_empty() {
                inner.unused_since = Some(now.mono);
            }
            if !inner.over {
                inner.session.abort(stream, now.for_session());
            }
            inner.settle(true)
        };
        wakers.wake();
    }

    /// Resets all streams that are open: nothing comes of this session any more.
    pub(crate) fn end(&self) {
        let (pumps, wakers) = {
            let mut inner = self.lock();
            inner.over = true;
            let streams = inner.streams.values_mut().filter(|stream| stream.fate == Fate::Open);
            let pumps: Vec<Waker> = streams.filter_map(|stream| stream.settle(Fate::Reset)).collect();
            (pumps, inner.settle(false))
        };
        pumps.into_iter().for_each(Waker::wake);
        wakers.wake();
    }
}

impl Inner {
    /// The driver has nothing to do until somebody wakes it.
    pub(crate) fn park_driver(&mut self, waker: &Waker) -> Wakers {
        match &mut self.driver {
            Some(parked) => parked.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
        self.settle(false)
    }

    /// Bounds the session by what all the others leave; answers whether that is another bound than before. If they are
    /// the reason why it does not want input, `driver` is woken when that changes.
    pub(crate) fn bound(&mut self, now: ssm_session::Now, driver: &Waker) -> bool {
        let limit = self.share.limit(self.session.unread_bytes() + self.ahead, driver);
        let bound = limit.saturating_sub(self.ahead);
        self.session.limit_unread(bound, now);
        std::mem::replace(&mut self.bound, bound) != bound
    }

    /// Settles the account with the budget, and takes the driver's waker along if there is something to do for it.
    fn settle(&mut self, driver: bool) -> Wakers {
        let held = self.session.unread_bytes() + self.session.early_bytes() + self.ahead;
        Wakers { own: self.driver.take_if(|_| driver), others: self.share.hold(held) }
    }

    /// Tells a stream's pump what happened; answers who is to be woken once the lock is released.
    pub(crate) fn deliver(&mut self, event: &SessionEvent) -> Wakers {
        Wakers { own: self.pump_of(event), others: Vec::new() }
    }

    fn pump_of(&mut self, event: &SessionEvent) -> Option<Waker> {
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
            | SessionEvent::Paused
            | SessionEvent::Unpaused
            | SessionEvent::AgentResendsSlowly { .. }
            | SessionEvent::AgentCaughtUp
            | SessionEvent::PayloadReduced { .. }
            | SessionEvent::ChannelDead
            | SessionEvent::Ended(_) => None,
        }
    }

    /// Whether this is the first that is heard of the remote end of a stream: it took the connection.
    pub(crate) fn is_first_word(&mut self, stream: StreamId) -> bool {
        self.streams.get_mut(&stream).is_some_and(|watched| !std::mem::replace(&mut watched.heard, true))
    }

    fn exchange(&mut self, exchange: Exchange<'_>, now: ssm_session::Now, waker: &Waker) -> (Fate, Wakers) {
        let Exchange { stream, upload, finish, download } = exchange;
        let Some(watched) = self.streams.get_mut(&stream) else { return (Fate::Reset, Wakers::default()) };
        watched.pump = Some(waker.clone());
        let mut touched = false;
        let open = watched.fate == Fate::Open && !self.over;
        while open
            && download.remaining() < DOWNLOAD_AHEAD
            && let Some(chunk) = self.session.read(stream, now)
        {
            touched = true;
            download.push(chunk);
        }
        self.ahead = self.ahead - watched.ahead + download.remaining();
        watched.ahead = download.remaining();
        if !open {
            let fate = watched.fate;
            return (fate, self.settle(false));
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
        (Fate::Open, self.settle(touched))
    }
}

impl Watched {
    fn settle(&mut self, fate: Fate) -> Option<Waker> {
        self.fate = fate;
        self.pump.take()
    }
}
