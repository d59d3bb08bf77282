//! What the received bytes of all sessions together may take.
//!
//! A session may hold as much as the budget has left. One that nobody reads from ends up with half of the budget, two
//! with a third each, n with 1/(n+1): something is always left, so that a session whose readers keep up does not notice
//! the others, and all together never hold more than the budget. (Switches share their buffer memory among ports by
//! the same rule: the dynamic thresholds of Choudhury and Hahne.)
//!
//! A session that holds as much as is left stops reading its WebSocket, and leaves its waker here: it is woken when
//! others have let go of enough. What its own readers take wakes it anyway.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What a session may hold in any case, so that it moves on even if others filled the budget in one go.
const MINIMUM: usize = 64 << 10;

/// The account of one engine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UnreadBudget(Arc<Mutex<Accounts>>);

#[derive(Debug)]
struct Accounts {
    bytes: usize,
    /// Of all sessions.
    held: usize,
    next_share: u64,
    /// Who waits until all hold less than that, by share.
    waiting: BTreeMap<(usize, u64), Waker>,
}

/// One session's part. Dropping it gives everything back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: UnreadBudget,
    number: u64,
    held: usize,
    /// Its place in `Accounts::waiting`.
    waits_for: Option<usize>,
}

impl UnreadBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Accounts { bytes, held: 0, next_share: 0, waiting: BTreeMap::new() })))
    }

    /// A part for one more session.
    pub(crate) fn share(&self) -> Share {
        let mut accounts = self.lock();
        let number = accounts.next_share;
        accounts.next_share += 1;
        Share { budget: self.clone(), number, held: 0, waits_for: None }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Nothing panics between two changes of the account.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// Those for whom there is room now.
    fn released(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(last) = self.waiting.last_entry()
            && last.key().0 > self.held
        {
            woken.push(last.remove());
        }
        woken
    }
}

impl Share {
    /// Notes what the session holds now. The answer is to be woken: somebody else waits for what was given back.
    #[must_use]
    pub(crate) fn hold(&mut self, bytes: usize) -> Vec<Waker> {
        if bytes == self.held {
            return Vec::new();
        }
        let mut accounts = self.budget.lock();
        accounts.held = accounts.held - self.held + bytes;
        self.held = bytes;
        accounts.released()
    }

    /// What the session may hold at this moment. If `stops`, the part of it that makes it stop reading, is as much
    /// already, `waker` is woken once it may hold more.
    pub(crate) fn limit(&mut self, stops: usize, waker: &Waker) -> usize {
        let mut accounts = self.budget.lock();
        if let Some(held) = self.waits_for.take() {
            accounts.waiting.remove(&(held, self.number));
        }
        let others = accounts.held - self.held;
        let limit = (accounts.bytes.saturating_sub(others) / 2).max(MINIMUM);
        if stops >= limit {
            // One byte more fits when others + 2 * (stops + 1) <= bytes.
            let enough = (accounts.bytes + self.held).saturating_sub(2 * stops + 1);
            accounts.waiting.insert((enough, self.number), waker.clone());
            self.waits_for = Some(enough);
        }
        limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0).into_iter().for_each(Waker::wake);
        if let Some(held) = self.waits_for {
            self.budget.lock().waiting.remove(&(held, self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    const MIB: usize = 1 << 20;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn total(budget: &UnreadBudget) -> usize {
        budget.lock().held
    }

    /// Sessions of which nobody reads take turns until none may hold more.
    fn fill(shares: &mut [Share], step: usize) {
        let waker = Waker::noop();
        while shares.iter_mut().fold(false, |grew, share| {
            let more = share.held < share.limit(share.held, waker);
            if more {
                assert!(share.hold(share.held + step).is_empty());
            }
            grew | more
        }) {}
    }

    #[test]
    fn greedy_sessions_share_and_leave_a_part() {
        for count in 1..10 {
            let budget = UnreadBudget::new(128 * MIB);
            let mut shares: Vec<_> = (0..count).map(|_| budget.share()).collect();
            fill(&mut shares, 1000);
            let fair = 128 * MIB / (count + 1);
            for share in &shares {
                assert!(share.held.abs_diff(fair) < 20_000, "{} of {count} sessions", share.held);
            }
            assert!(total(&budget) < 128 * MIB);
            let mut modest = budget.share();
            assert!(modest.limit(0, Waker::noop()) > fair / 3, "one that holds little goes on");
        }
    }

    #[test]
    fn a_thousand_sessions_have_their_minimum() {
        let budget = UnreadBudget::new(MIB);
        let mut shares: Vec<_> = (0..1000).map(|_| budget.share()).collect();
        fill(&mut shares, 4096);
        assert!(shares.iter().all(|share| share.held >= MINIMUM));
        assert!(total(&budget) <= 1000 * (MINIMUM + 4096));
    }

    #[test]
    fn who_waits_is_woken_exactly_when_there_is_room() {
        let budget = UnreadBudget::new(10 * MIB);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(other.hold(6 * MIB).is_empty());
        assert_eq!(one.limit(0, Waker::noop()), 2 * MIB);
        assert!(one.hold(2 * MIB).is_empty());
        let (count, waker) = counted();
        assert_eq!(one.limit(2 * MIB, &waker), 2 * MIB);
        assert!(other.hold(6 * MIB - 1).is_empty(), "not yet");
        let woken = other.hold(6 * MIB - 2);
        assert_eq!(woken.len(), 1);
        woken.into_iter().for_each(Waker::wake);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(one.limit(2 * MIB, &waker), 2 * MIB + 1);
        assert!(other.hold(0).is_empty(), "who does not wait is not woken");
    }

    /// What came before its turn is held, but the session does not stop for it.
    #[test]
    fn who_waits_is_woken_for_the_part_that_stops_it() {
        let budget = UnreadBudget::new(10 * MIB);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(other.hold(6 * MIB).is_empty());
        assert!(one.hold(3 * MIB).is_empty());
        assert_eq!(one.limit(2 * MIB, Waker::noop()), 2 * MIB);
        assert_eq!(other.hold(6 * MIB - 2).len(), 1);
        assert_eq!(one.limit(2 * MIB, Waker::noop()), 2 * MIB + 1);
    }

    #[test]
    fn a_session_that_ends_gives_back_and_leaves_no_waker() {
        let budget = UnreadBudget::new(4 * MIB);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(other.hold(3 * MIB).is_empty());
        assert!(one.hold(MIB).is_empty());
        let (count, waker) = counted();
        one.limit(MIB, &waker);
        other.limit(3 * MIB, Waker::noop());
        drop(other);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        drop(one);
        assert_eq!((total(&budget), budget.lock().waiting.len()), (0, 0));
    }
}
