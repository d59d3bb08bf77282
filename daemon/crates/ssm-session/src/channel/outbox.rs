//! The sending half: what is unacknowledged, when it is sent again, and how much may be on its way.
//!
//! One counter numbers everything sent as data. Nothing is ever evicted: a full window stops the sender, not the
//! oldest message. All overdue messages are sent again, oldest first, each with its own exponential back-off; a
//! message that was sent more than once gives no round-trip sample (Karn's rule).
//!
//! A peer that acknowledges nothing at all is another case: it is away, or its destination does not take what it has.
//! Sending it everything again and again would only be in the way when it comes back. It gets the oldest message, at
//! least once a second, until it answers; then the rest has one more timeout, and is sent again as usual.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::window::{Departure, SendWindow};
use crate::rtt::RttEstimator;

/// Times after its first sending at which the first message behind the handshake is sent again: the agent is not
/// ready for some milliseconds and drops it without a word.
const QUICK: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
];

/// Timeouts without any acknowledgement after which the peer counts as silent.
const SILENT_AFTER: u32 = 2;
/// A silent peer is sent the oldest message at least that often: it is found within this time when it comes back.
const PROBE: Duration = Duration::from_secs(1);

/// Which unacknowledged messages are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Every overdue one: ours.
    AllOverdue,
    /// Only the oldest, at most once per tick: both official programs.
    HeadOnly {
        /// 100 ms in the official programs.
        tick: Duration,
    },
}

#[derive(Debug)]
struct Sent {
    frame: Bytes,
    first_sent: Instant,
    last_sent: Instant,
    /// Its entry in `Outbox::timers`, if it has one.
    timer: Instant,
    /// Since the last resume.
    transmissions: u32,
    /// Ever sent more than once.
    resent: bool,
    quick: bool,
    departure: Departure,
}

/// The sending half of a channel.
#[derive(Debug)]
pub(crate) struct Outbox {
    policy: Resend,
    next: i64,
    unacked: BTreeMap<i64, Sent>,
    /// How many of them there may be.
    most: usize,
    in_flight: usize,
    /// When to look at a message again; the true deadline may have moved since.
    timers: BTreeSet<(Instant, i64)>,
    overdue: BTreeSet<i64>,
    next_tick: Instant,
    rtt: RttEstimator,
    /// What timeouts grew to since the last measured round trip: the least for new messages too (Karn's second rule).
    /// Without it, a path slower than the first timeout would never be measured.
    patience: Duration,
    window: SendWindow,
    last_ack: Option<Instant>,
    /// Since when an acknowledgement has been owed.
    waiting_since: Option<Instant>,
    /// The same, whether or not it could have been seen.
    unanswered_since: Option<Instant>,
}

impl Outbox {
    /// `most`: messages that may be unacknowledged, whatever their size.
    pub(crate) fn new(policy: Resend, most: usize, now: Instant) -> Self {
        Self {
            policy,
            next: 0,
            unacked: BTreeMap::new(),
            most,
            in_flight: 0,
            timers: BTreeSet::new(),
            overdue: BTreeSet::new(),
            next_tick: now,
            rtt: RttEstimator::default(),
            patience: Duration::ZERO,
            window: SendWindow::new(now),
            last_ack: None,
            waiting_since: None,
            unanswered_since: None,
        }
    }

    /// The number of the next new message.
    pub(crate) fn next_number(&self) -> i64 {
        self.next
    }

    /// Whether the window takes a new message. One is always taken when nothing is on its way.
    pub(crate) fn has_room(&self) -> bool {
        let fits = self.in_flight < self.window.limit() && self.unacked.len() < self.most;
        self.unacked.is_empty() || fits
    }

    /// Remembers a message that leaves now under [`Outbox::next_number`].
    pub(crate) fn sent(&mut self, frame: Bytes, quick: bool, now: Instant) {
        let departure = self.window.departure(self.in_flight, now);
        self.in_flight += frame.len();
        self.waiting_since.get_or_insert(now);
        self.unanswered_since.get_or_insert(now);
        let number = self.next;
        self.next += 1;
        self.unacked.insert(
            number,
            Sent {
                frame,
                first_sent: now,
                last_sent: now,
                timer: now,
                transmissions: 1,
                resent: false,
                quick,
                departure,
            },
        );
        self.schedule(number);
    }

    /// There was room and nothing to send.
    pub(crate) fn starve(&mut self) {
        self.window.starve(self.in_flight);
    }

    /// Takes an acknowledgement in; false if nothing was waiting for it.
    pub(crate) fn acknowledged(&mut self, number: i64, now: Instant) -> bool {
        let was_silent = self.is_silent(now);
        let Some(sent) = self.unacked.remove(&number) else { return false };
        self.in_flight -= sent.frame.len();
        self.timers.remove(&(sent.timer, number));
        self.overdue.remove(&number);
        let measured = (!sent.resent).then(|| now - sent.first_sent);
        if let Some(measured) = measured {
            self.rtt.sample(measured);
            self.patience = Duration::ZERO;
        }
        self.window.acknowledged(sent.frame.len(), &sent.departure, measured, now);
        self.last_ack = Some(now);
        self.waiting_since = (!self.unacked.is_empty()).then_some(now);
        self.unanswered_since = self.waiting_since;
        if was_silent {
            self.break_silence(now);
        }
        true
    }

    /// The next message to send again now, if one is overdue.
    pub(crate) fn next_resend(&mut self, now: Instant) -> Option<Bytes> {
        let number = match self.policy {
            Resend::AllOverdue => {
                self.collect_overdue(now);
                self.overdue.pop_first()?
            }
            Resend::HeadOnly { tick } => {
                let number = self.head_overdue(now)?;
                self.next_tick = now + tick;
                number
            }
        };
        let sent = self.unacked.get_mut(&number)?;
        self.timers.remove(&(sent.timer, number));
        sent.transmissions += 1;
        sent.resent = true;
        sent.last_sent = now;
        if !sent.quick && sent.transmissions > 1 {
            self.patience = self.patience.max(self.rtt.backed_off(sent.transmissions));
        }
        let frame = sent.frame.clone();
        self.schedule(number);
        Some(frame)
    }

    /// Whether [`Outbox::next_resend`] would answer something.
    pub(crate) fn has_overdue(&mut self, now: Instant) -> bool {
        match self.policy {
            Resend::AllOverdue => {
                self.collect_overdue(now);
                !self.overdue.is_empty()
            }
            Resend::HeadOnly { .. } => self.head_overdue(now).is_some(),
        }
    }

    /// When a message will be overdue, if none is now.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        match self.policy {
            Resend::AllOverdue if self.is_silent(now) => self.next_probe().map(|(at, _)| at),
            Resend::AllOverdue => self.timers.first().map(|(at, _)| *at),
            Resend::HeadOnly { .. } => {
                let (_, head) = self.unacked.first_key_value()?;
                Some(self.next_tick.max(head.last_sent + self.rtt.rto()))
            }
        }
    }

    /// The connection is a new one. Everything unacknowledged is due at once, in order, and its back-off starts anew.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        self.window.restart(now);
        self.patience = Duration::ZERO;
        self.waiting_since = (!self.unacked.is_empty()).then_some(now);
        self.unanswered_since = self.waiting_since;
        self.next_tick = now;
        if self.policy != Resend::AllOverdue {
            return;
        }
        self.timers.clear();
        self.overdue = self.unacked.keys().copied().collect();
        for sent in self.unacked.values_mut() {
            sent.transmissions = 0;
            sent.resent = true;
            sent.quick = false;
        }
    }

    /// Drops everything unacknowledged.
    pub(crate) fn clear(&mut self) {
        self.unacked.clear();
        self.timers.clear();
        self.overdue.clear();
        self.in_flight = 0;
        (self.waiting_since, self.unanswered_since) = (None, None);
    }

    /// Exchanges the frame of an unacknowledged message; false if it is acknowledged already.
    pub(crate) fn replace(&mut self, number: i64, frame: Bytes) -> bool {
        let Some(sent) = self.unacked.get_mut(&number) else { return false };
        self.in_flight = self.in_flight - sent.frame.len() + frame.len();
        sent.frame = frame;
        true
    }

    /// When this unacknowledged message was last sent.
    pub(crate) fn last_sent(&self, number: i64) -> Option<Instant> {
        self.unacked.get(&number).map(|sent| sent.last_sent)
    }

    /// Restarts the clock of [`Outbox::waiting_since`]: acknowledgements could not have been seen.
    pub(crate) fn excuse_peer(&mut self, now: Instant) {
        if self.waiting_since.is_some() {
            self.waiting_since = Some(now);
        }
    }

    /// Since when the peer has owed an acknowledgement without giving any.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// Whether every message up to this number, which was given out, is acknowledged.
    pub(crate) fn is_settled(&self, number: i64) -> bool {
        self.unacked.first_key_value().is_none_or(|(oldest, _)| *oldest > number)
    }

    pub(crate) fn last_ack(&self) -> Option<Instant> {
        self.last_ack
    }

    pub(crate) fn rtt(&self) -> &RttEstimator {
        &self.rtt
    }

    pub(crate) fn window(&self) -> &SendWindow {
        &self.window
    }

    /// Unacknowledged messages and their bytes.
    pub(crate) fn outstanding(&self) -> (usize, usize) {
        (self.unacked.len(), self.in_flight)
    }

    /// Sets the timer of a message that was sent just now.
    fn schedule(&mut self, number: i64) {
        if self.policy != Resend::AllOverdue {
            return;
        }
        if let Some(sent) = self.unacked.get_mut(&number) {
            sent.timer = sent.deadline(&self.rtt, self.patience);
            self.timers.insert((sent.timer, number));
        }
    }

    /// Moves what is overdue from the timers to the overdue set. A timer is set when a message leaves; by now the
    /// estimated timeout may be longer.
    fn collect_overdue(&mut self, now: Instant) {
        if self.is_silent(now) {
            if self.overdue.is_empty()
                && let Some((at, number)) = self.next_probe()
                && at <= now
            {
                self.overdue.insert(number);
            }
            return;
        }
        while let Some((at, number)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            let Some(sent) = self.unacked.get_mut(&number) else { continue };
            sent.timer = sent.deadline(&self.rtt, self.patience);
            if sent.timer > now {
                self.timers.insert((sent.timer, number));
            } else {
                self.overdue.insert(number);
            }
        }
    }

    /// Whether the peer has left everything unacknowledged for so long that it must be away.
    fn is_silent(&self, now: Instant) -> bool {
        self.unanswered_since.is_some_and(|since| now >= since + self.rtt.rto() * SILENT_AFTER)
    }

    /// Which message a silent peer is sent next, and when.
    fn next_probe(&self) -> Option<(Instant, i64)> {
        let (number, head) = self.unacked.first_key_value()?;
        let at = head.deadline(&self.rtt, Duration::ZERO).min(head.last_sent + PROBE.max(self.rtt.rto()));
        Some((at, *number))
    }

    /// The peer is back. What it has got it is about to acknowledge; the rest is sent again after one timeout.
    fn break_silence(&mut self, now: Instant) {
        self.patience = Duration::ZERO;
        self.timers.clear();
        for (number, sent) in &mut self.unacked {
            sent.transmissions = sent.transmissions.min(1);
            if !self.overdue.contains(number) {
                sent.timer = now + self.rtt.rto();
                self.timers.insert((sent.timer, *number));
            }
        }
    }

    fn head_overdue(&self, now: Instant) -> Option<i64> {
        let (number, head) = self.unacked.first_key_value()?;
        (now >= self.next_tick && now >= head.last_sent + self.rtt.rto()).then_some(*number)
    }
}

impl Sent {
    fn deadline(&self, rtt: &RttEstimator, patience: Duration) -> Instant {
        let transmissions = usize::try_from(self.transmissions).unwrap_or(usize::MAX);
        let slow = match (self.quick, QUICK.get(transmissions.wrapping_sub(1))) {
            (true, Some(after)) => return self.first_sent + *after,
            (true, None) => self.transmissions.saturating_sub(4),
            (false, _) => self.transmissions,
        };
        self.last_sent + rtt.backed_off(slow).max(patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
    fn origin() -> Instant {
        Instant::now()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn frame(byte: u8) -> Bytes {
        Bytes::from(vec![byte; 100])
    }

    fn outbox(now: Instant, messages: u8) -> Outbox {
        let mut outbox = Outbox::new(Resend::AllOverdue, usize::MAX, now);
        for byte in 0..messages {
            outbox.sent(frame(byte), false, now);
        }
        outbox
    }

    fn due(outbox: &mut Outbox, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| outbox.next_resend(now)).map(|frame| frame[0]).collect()
    }

    /// Both official programs resend only the oldest message: 500 lost ones take them 50 s.
    #[test]
    fn official_bug_all_overdue_messages_are_resent_not_only_the_head() {
        let start = origin();
        let mut outbox = outbox(start, 5);
        outbox.acknowledged(2, start + ms(1));
        assert_eq!(due(&mut outbox, start + ms(199)), [0u8; 0]);
        assert_eq!(due(&mut outbox, start + ms(200)), [0, 1, 3, 4]);
    }

    /// Each message would be overdue before its acknowledgement, and none of those counts as a measurement.
    #[test]
    fn a_path_slower_than_the_first_timeout_is_measured_in_the_end() {
        let start = origin();
        let mut outbox = outbox(start, 1);
        assert_eq!(due(&mut outbox, start + ms(200)), [0]);
        outbox.acknowledged(0, start + ms(300));
        outbox.sent(frame(1), false, start + ms(300));
        assert_eq!(
            due(&mut outbox, start + ms(599)),
            [0u8; 0],
            "it keeps the timeout that the first one grew to"
        );
        outbox.acknowledged(1, start + ms(600));
        assert!(outbox.rtt().smoothed() > ms(100), "a measurement at last");
    }

    /// The official client stores the new sending time in a copy: once late, a message leaves on every 100 ms tick.
    #[test]
    fn official_bug_resending_backs_off_exponentially() {
        let start = origin();
        let mut outbox = outbox(start, 1);
        let mut sent_at = Vec::new();
        for step in 0..20_000 {
            let now = start + ms(step);
            if due(&mut outbox, now).contains(&0) {
                sent_at.push(step);
            }
            // The peer is there, and takes other messages.
            let other = outbox.next_number();
            outbox.sent(frame(1), false, now);
            outbox.acknowledged(other, now);
        }
        assert_eq!(sent_at, [200, 600, 1400, 3000, 6200, 12_600]);
    }

    #[test]
    fn a_silent_peer_gets_the_oldest_message_each_second_and_the_rest_once_it_answers() {
        let start = origin();
        let mut outbox = outbox(start, 3);
        let mut sent_at = Vec::new();
        for step in 0..4_000 {
            // It may be we who do not read; that is no reason to send more.
            outbox.excuse_peer(start + ms(step));
            sent_at.extend(due(&mut outbox, start + ms(step)).into_iter().map(|byte| (step, byte)));
        }
        let probes = [(600, 0), (1400, 0), (2400, 0), (3400, 0)];
        assert_eq!(sent_at[..3], [(200, 0), (200, 1), (200, 2)]);
        assert_eq!(sent_at[3..], probes);
        let back = start + ms(4_000);
        assert_eq!(outbox.next_deadline(back), Some(start + ms(4_400)));
        outbox.acknowledged(0, back);
        outbox.acknowledged(2, back);
        outbox.sent(frame(3), false, back);
        assert_eq!(due(&mut outbox, back + ms(199)), [0u8; 0], "it may have got them all");
        assert_eq!(outbox.next_deadline(back + ms(199)), Some(back + ms(200)));
        assert_eq!(due(&mut outbox, back + ms(200)), [1, 3], "nor is a new message any more patient");
    }

    /// The official client measures round trips of messages that it sent several times.
    #[test]
    fn official_bug_resent_messages_give_no_round_trip_sample() {
        let start = origin();
        let mut outbox = outbox(start, 2);
        due(&mut outbox, start + ms(200));
        outbox.acknowledged(0, start + ms(201));
        assert_eq!(outbox.rtt().smoothed(), ms(100));
    }

    /// The official client drops the oldest message when its list is full.
    #[test]
    fn official_bug_nothing_is_evicted_the_window_closes_instead() {
        let start = origin();
        let mut outbox = Outbox::new(Resend::AllOverdue, usize::MAX, start);
        let mut sent = 0;
        while outbox.has_room() {
            outbox.sent(frame(1), false, start);
            sent += 1;
        }
        assert_eq!(outbox.outstanding(), (sent, sent * 100));
        assert!((256 << 10..300_000).contains(&(sent * 100)));
        assert_eq!(due(&mut outbox, start + ms(300)).len(), sent);
        outbox.acknowledged(0, start + ms(300));
        assert!(outbox.has_room());
    }

    #[test]
    fn the_number_of_messages_is_bounded_too() {
        let start = origin();
        let mut outbox = Outbox::new(Resend::AllOverdue, 2, start);
        outbox.sent(frame(0), false, start);
        assert!(outbox.has_room());
        outbox.sent(frame(1), false, start);
        assert!(!outbox.has_room());
        outbox.acknowledged(1, start);
        assert!(outbox.has_room());
    }

    #[test]
    fn a_growing_timeout_postpones_timers_already_set() {
        let start = origin();
        let mut outbox = outbox(start, 3);
        outbox.acknowledged(0, start + ms(190));
        outbox.acknowledged(1, start + ms(199));
        assert!(outbox.rtt().rto() > ms(200));
        assert_eq!(due(&mut outbox, start + ms(200)), [0u8; 0]);
        let deadline = outbox.next_deadline(start + ms(200)).unwrap();
        assert_eq!(due(&mut outbox, deadline), [2]);
    }

    #[test]
    fn the_first_message_is_resent_quickly_then_normally() {
        let start = origin();
        let mut outbox = Outbox::new(Resend::AllOverdue, usize::MAX, start);
        outbox.sent(frame(0), true, start);
        let mut sent_at = Vec::new();
        for step in 0..1_000 {
            if !due(&mut outbox, start + ms(step)).is_empty() {
                sent_at.push(step);
            }
        }
        assert_eq!(sent_at, [10, 20, 40, 80, 280, 680]);
    }

    #[test]
    fn a_reconnect_makes_everything_due_in_order_and_restarts_the_back_off() {
        let start = origin();
        let mut outbox = outbox(start, 4);
        due(&mut outbox, start + ms(200));
        outbox.acknowledged(1, start + ms(300));
        outbox.reconnected(start + ms(5_000));
        assert_eq!(due(&mut outbox, start + ms(5_000)), [0, 2, 3]);
        assert_eq!(outbox.next_deadline(start + ms(5_000)), Some(start + ms(5_000) + outbox.rtt().rto()));
    }

    #[test]
    fn head_only_sends_one_message_per_tick() {
        let start = origin();
        let mut outbox = Outbox::new(Resend::HeadOnly { tick: ms(100) }, usize::MAX, start);
        for byte in 0..3 {
            outbox.sent(frame(byte), false, start);
        }
        assert_eq!(due(&mut outbox, start + ms(200)), [0]);
        assert_eq!(due(&mut outbox, start + ms(200)), [0u8; 0]);
    }

    #[test]
    fn waiting_starts_with_the_first_message_and_ends_with_the_last_acknowledgement() {
        let start = origin();
        let mut outbox = outbox(start, 2);
        assert_eq!(outbox.waiting_since(), Some(start));
        outbox.acknowledged(1, start + ms(5));
        assert_eq!(outbox.waiting_since(), Some(start + ms(5)));
        outbox.acknowledged(0, start + ms(9));
        assert_eq!(outbox.waiting_since(), None);
        assert_eq!(outbox.next_deadline(start + ms(9)), None, "an idle channel wakes nobody");
        assert!(!outbox.acknowledged(0, start + ms(9)));
    }
}
