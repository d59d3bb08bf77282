//! One direction of the way between client and agent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Rng, ms};

/// What goes wrong on the way, in per mille of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    /// Messages that are late by up to `lateness`, so that others overtake them.
    pub(crate) reordering: u64,
    pub(crate) lateness: Duration,
    pub(crate) delay: Duration,
    /// Bytes per second; `None`: no limit.
    pub(crate) rate: Option<u64>,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { loss: 0, duplication: 0, reordering: 0, lateness: ms(0), delay: ms(1), rate: None };
}

/// Messages under way, by arrival.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) faults: Faults,
    rng: Rng,
    flying: BTreeMap<(Instant, u64), Bytes>,
    serial: u64,
    /// When the sender's socket buffer is empty.
    free_at: Instant,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) late: u64,
}

/// Socket buffer in front of a leg with a rate.
const SOCKET: u64 = 32 << 10;
/// Messages that the receiver's side holds for it before the sender has to wait.
const UNREAD: usize = 64;

impl Leg {
    pub(crate) fn new(faults: Faults, seed: u64, now: Instant) -> Self {
        Self {
            faults,
            rng: Rng(seed),
            flying: BTreeMap::new(),
            serial: 0,
            free_at: now,
            lost: 0,
            doubled: 0,
            late: 0,
        }
    }

    /// When the socket takes the next message; `None`: now.
    pub(crate) fn full_until(&self, now: Instant) -> Option<Instant> {
        let buffered = Duration::from_secs_f64(SOCKET as f64 / self.faults.rate? as f64);
        let room_at = self.free_at.checked_sub(buffered)?;
        (room_at > now).then_some(room_at)
    }

    /// Whether the receiver does not read what arrives.
    pub(crate) fn is_blocked(&self, now: Instant) -> bool {
        self.flying.range(..=(now, u64::MAX)).nth(UNREAD).is_some()
    }

    pub(crate) fn send(&mut self, frame: &Bytes, now: Instant) {
        if let Some(rate) = self.faults.rate {
            self.free_at = self.free_at.max(now) + Duration::from_secs_f64(frame.len() as f64 / rate as f64);
        } else {
            self.free_at = now;
        }
        let copies = if self.rng.chance(self.faults.loss) {
            self.lost += 1;
            0
        } else if self.rng.chance(self.faults.duplication) {
            self.doubled += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut at = self.free_at + self.faults.delay;
            if self.rng.chance(self.faults.reordering) {
                self.late += 1;
                at += Duration::from_micros(self.rng.below(self.faults.lateness.as_micros() as u64));
            }
            self.serial += 1;
            self.flying.insert((at, self.serial), frame.clone());
        }
    }

    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Bytes> {
        let entry = self.flying.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// The connection broke: nothing of what is under way arrives.
    pub(crate) fn clear(&mut self, now: Instant) {
        self.flying.clear();
        self.free_at = now;
    }
}
