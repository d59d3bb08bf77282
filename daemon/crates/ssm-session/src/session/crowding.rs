//! Unread bytes, and what becomes of readers that stand in the way of others.
//!
//! The multiplexer has no window per stream: the only way to slow the agent down for one stream is to stop reading
//! for all of them. So:
//!
//! 1. A session at its bound of unread bytes is not read further. The bound is [`Config::stream_buffer`] for a stream
//!    that is alone, [`Config::session_buffer`] for several together, or less where the owner says so.
//! 2. A stream alone on its session is never reset: a paused application is legitimate, and nobody else waits.
//! 3. With other streams open, a reader that leaves more than [`Config::stream_buffer`] and takes nothing for
//!    [`Config::stalled_reader_grace`] is stalled, and its stream is reset.
//! 4. When the session is at its bound while another stream waits for data, nobody waits that long: of the streams
//!    that hold their fair share of the unread bytes or more, and whose reader took nothing for
//!    [`Config::give_way_after`], the one that holds the most gives way, and then the next, until there is room. Some
//!    stream always holds its fair share, so that bytes spread over many small streams have a way out too.
//!
//! A reader that takes something at least once in that time is never reset, however slow it is: at the bound the
//! others move at its pace.
//!
//! Who stands in the way can only be told by a look at every stream, each byte may change it, and there may be
//! thousands. So looks are rare: at the bound only, not before the first stream's time can be over, and not for some
//! milliseconds after one in vain.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use smux::Mux;

use super::streams::{Entry, Streams};
use crate::config::Config;
use crate::event::{Backlog, ResetReason, StreamId};
use crate::time::earliest;

/// A stream with nothing unread waits for data if a byte moved on it at most this long before the session reached its
/// bound: an application has asked and is being answered, or is in the middle of a transfer. Longer ago, the
/// connection idles and misses nothing.
const RECENT: Duration = Duration::from_secs(10);

/// How much later than a look in vain the next one may come, for each stream: some hundred times what it costs. What
/// changes meanwhile is noticed that late, with a thousand streams 10 ms.
const LOOK_AGAIN: Duration = Duration::from_micros(10);

/// The bounds of one session, and how long it has been at them.
#[derive(Debug)]
pub(super) struct Room {
    alone: usize,
    together: usize,
    stalled_reader_grace: Duration,
    give_way_after: Duration,
    /// Since when the session has been at its bound, but for a little room now and then: it ends when an eighth is
    /// free. Otherwise each stream that gives way would buy its neighbours the next wait.
    full_since: Option<Instant>,
    /// When to look who stands in the way. `None` below the bound, and when nobody will unless something happens.
    look_at: Option<Instant>,
    /// Never before then.
    look_after: Option<Instant>,
}

impl Room {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            alone: config.stream_buffer,
            together: config.session_buffer,
            stalled_reader_grace: config.stalled_reader_grace,
            give_way_after: config.give_way_after,
            full_since: None,
            look_at: None,
            look_after: None,
        }
    }
}

impl Streams {
    /// Whether more input is welcome.
    pub(crate) fn wants_input(&self) -> bool {
        !self.is_full()
    }

    /// Bytes that may lie here before their turn. They are no reader's fault and do not stop the input, which is what
    /// they wait for; the bound holds for them all the same.
    pub(crate) fn early_room(&self) -> usize {
        self.room.together.saturating_sub(self.unread())
    }

    /// Sets the bound of several streams together.
    pub(crate) fn limit_unread(&mut self, bytes: usize, now: Instant) {
        if self.room.together != bytes {
            self.room.together = bytes;
            self.pump(now);
        }
    }

    /// Notes whether the session is at its bound, and resets the streams whose time is over; answers whether there was
    /// one.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        self.notice_bound(now);
        let before = self.entries.len();
        while let Some((id, _)) = self.stalled().filter(|(_, at)| *at <= now).min_by_key(|(_, at)| *at) {
            self.reset(id, ResetReason::StalledReader(self.backlog(id, now)));
        }
        if self.room.look_at.is_some_and(|at| at <= now) {
            self.look_for_obstacles(now);
        }
        self.entries.len() < before
    }

    /// When the next stream's time is over, or may be.
    pub(super) fn next_relief(&self) -> Option<Instant> {
        let stalled = self.stalled().map(|(_, at)| at).min();
        earliest(stalled, self.room.look_at)
    }

    /// Notes whether the session is at its bound. If it is, whatever happened may have put a stream in the way.
    fn notice_bound(&mut self, now: Instant) {
        let bound = self.bound();
        if self.is_full() {
            let since = *self.room.full_since.get_or_insert(now);
            let look_at = Some(since + self.room.give_way_after).max(self.room.look_after);
            self.room.look_at = earliest(self.room.look_at, look_at);
            return;
        }
        self.room.look_at = None;
        if self.unread() <= bound - bound / 8 {
            self.room.full_since = None;
        }
    }

    /// Resets the streams that stand in the way, and notes when the next one's time is over.
    fn look_for_obstacles(&mut self, now: Instant) {
        let before = self.entries.len();
        while let Some((id, _)) = self
            .obstacles()
            .filter(|(_, at)| *at <= now)
            .max_by_key(|(id, at)| (self.unread_of(*id), Reverse(*at)))
        {
            self.reset(id, ResetReason::GaveWay(self.backlog(id, now)));
        }
        self.room.look_at = self.obstacles().map(|(_, at)| at).min();
        if self.entries.len() == before {
            let streams = u32::try_from(before).unwrap_or(u32::MAX);
            self.room.look_after = Some(now + LOOK_AGAIN * streams);
        }
    }

    /// Streams over their limit with others open, and when each is reset.
    fn stalled(&self) -> impl Iterator<Item = (StreamId, Instant)> + '_ {
        let crowded = self.mux.as_ref().filter(|_| self.entries.len() > 1);
        crowded.into_iter().flat_map(Mux::over_limit_streams).filter_map(|over| {
            let id = *self.by_mux.get(&over.id)?;
            let read_at = self.entries.get(&id)?.read_at;
            Some((id, over.since.max(read_at) + self.room.stalled_reader_grace))
        })
    }

    /// Streams that hold their share of a session at its bound while another one waits, and when each gives way.
    fn obstacles(&self) -> impl Iterator<Item = (StreamId, Instant)> + '_ {
        let since = self.room.full_since.filter(|since| self.is_full() && self.somebody_waits(*since));
        let share = (self.unread() / self.entries.len().max(1)).max(1);
        since.into_iter().flat_map(move |since| {
            let holders = self.entries.iter().filter(move |(id, _)| self.unread_of(**id) >= share);
            holders.map(move |(id, entry)| (*id, since.max(entry.read_at) + self.room.give_way_after))
        })
    }

    /// Whether a stream misses data because the session, at its bound since then, is not read.
    fn somebody_waits(&self, full_since: Instant) -> bool {
        let moved_at = |entry: &Entry| entry.heard_at.max(entry.wrote_at);
        let mut drained = self.entries.iter().filter(|(id, _)| self.unread_of(**id) == 0);
        drained.any(|(_, entry)| moved_at(entry) + RECENT >= full_since)
    }

    /// A session with nothing unread is never full: nobody could make room.
    fn is_full(&self) -> bool {
        self.unread() >= self.bound().max(1)
    }

    fn bound(&self) -> usize {
        let Room { alone, together, .. } = self.room;
        if self.entries.len() > 1 { together } else { together.min(alone) }
    }

    fn backlog(&self, id: StreamId, now: Instant) -> Backlog {
        let idle = self.entries.get(&id).map_or(Duration::ZERO, |entry| now - entry.read_at);
        Backlog { unread: self.unread_of(id), idle }
    }

    fn unread_of(&self, id: StreamId) -> usize {
        let inner = self.entries.get(&id).and_then(|entry| entry.mux);
        self.mux.as_ref().zip(inner).map_or(0, |(mux, inner)| mux.unread(inner))
    }
}
