//! What is true of all sign-ins now, for everybody who wants to know.
//!
//! Every change gets the next [`Revision`]. A watcher is a position among them, and is told what is other than it was there:
//! of each sign-in the latest, never what it went through meanwhile. So nothing waits for a slow watcher, and nothing grows.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::{Stream, stream};
use stormtunnel_model::{Epoch, Revision, SignIn, SignInName, SignInStatus};
use tokio::sync::watch;

/// Sign-ins that are gone and whose names are remembered for watchers that were away. More go only when somebody rewrites
/// the whole configuration, and then a snapshot is the shorter answer.
const GONE: usize = 64;

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInNews {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What it brings.
    pub change: SignInChange,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInChange {
    /// Replaces all that the watcher knows; ordered by name.
    Snapshot(Vec<SignIn>),
    /// One sign-in is new or different.
    Changed(Box<SignIn>),
    /// One sign-in is gone.
    Removed(SignInName),
    /// The first message to a watcher that resumes: nothing was lost, changes follow.
    Resumed,
}

/// The board. Cheap to clone.
#[derive(Clone)]
pub(super) struct Board(Arc<Shared>);

struct Shared {
    epoch: Epoch,
    rows: Mutex<Rows>,
    /// Number of the last change; `None` once there will be no other.
    latest: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct Rows {
    counter: u64,
    /// Each with the number of its last change.
    present: BTreeMap<SignInName, (u64, SignIn)>,
    /// Those that are gone, with the number of that change, in order.
    gone: VecDeque<(u64, SignInName)>,
    /// Who was away since before this change does not know of everything that is gone.
    forgotten: u64,
}

impl Board {
    /// An empty one.
    pub(super) fn new(epoch: Epoch) -> Self {
        let latest = watch::Sender::new(Some(0));
        Self(Arc::new(Shared { epoch, rows: Mutex::default(), latest }))
    }

    /// Adds a sign-in, or shows it with other profiles, or elsewhere.
    pub(super) fn put(&self, sign_in: SignIn) {
        self.write(&mut self.0.rows(), sign_in);
    }

    /// Shows another status.
    pub(super) fn set_status(&self, name: &SignInName, status: SignInStatus) {
        let mut rows = self.0.rows();
        let shown = rows.present.get(name).map(|(_, shown)| SignIn { status, ..shown.clone() });
        if let Some(sign_in) = shown {
            self.write(&mut rows, sign_in);
        }
    }

    fn write(&self, rows: &mut Rows, sign_in: SignIn) {
        if rows.present.get(&sign_in.name).is_some_and(|(_, shown)| *shown == sign_in) {
            return;
        }
        let number = rows.next();
        rows.present.insert(sign_in.name.clone(), (number, sign_in));
        self.0.tell(number);
    }

    /// Takes a sign-in off.
    pub(super) fn remove(&self, name: &SignInName) {
        let mut rows = self.0.rows();
        if rows.present.remove(name).is_none() {
            return;
        }
        let number = rows.next();
        if rows.gone.len() == GONE {
            rows.forgotten = rows.gone.pop_front().map_or(0, |(number, _)| number);
        }
        rows.gone.push_back((number, name.clone()));
        self.0.tell(number);
    }

    /// One sign-in.
    pub(super) fn get(&self, name: &SignInName) -> Option<SignIn> {
        self.0.rows().present.get(name).map(|(_, sign_in)| sign_in.clone())
    }

    /// All of them, ordered by name.
    pub(super) fn list(&self) -> Vec<SignIn> {
        self.0.rows().list()
    }

    /// See [`SignIns::watch`](super::registry::SignIns::watch).
    pub(super) fn watch(&self, since: Option<Revision>) -> SignInWatcher {
        let latest = self.0.latest.subscribe();
        let reader = Reader { shared: Arc::clone(&self.0), latest, position: Position::Start(since) };
        let news = stream::unfold(reader, |mut reader| async move {
            let news = reader.next().await?;
            Some((news, reader))
        });
        SignInWatcher(Box::pin(news))
    }

    /// Ends all watchers.
    pub(super) fn close(&self) {
        self.0.latest.send_replace(None);
    }
}

impl Shared {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // No code that can panic runs between two changes of the rows: they are whole even after a panic.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A board that was closed stays closed.
    fn tell(&self, number: u64) {
        self.latest.send_if_modified(|latest| {
            let open = latest.is_some();
            *latest = latest.map(|_| number);
            open
        });
    }
}

impl Rows {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn list(&self) -> Vec<SignIn> {
        self.present.values().map(|(_, sign_in)| sign_in.clone()).collect()
    }

    /// Whether everything that changed after `counter` can still be told.
    fn remembers(&self, counter: u64) -> bool {
        (self.forgotten..=self.counter).contains(&counter)
    }

    /// The first change after `told` that still holds.
    fn after(&self, told: u64) -> Option<(u64, SignInChange)> {
        let changed = self.present.values().filter(|(number, _)| *number > told);
        let changed = changed.min_by_key(|(number, _)| *number);
        let removed = self.gone.iter().find(|(number, _)| *number > told);
        match (changed, removed) {
            (Some((changed, _)), Some((removed, name))) if removed < changed => {
                Some((*removed, SignInChange::Removed(name.clone())))
            }
            (Some((number, sign_in)), _) => Some((*number, SignInChange::Changed(Box::new(sign_in.clone())))),
            (None, Some((number, name))) => Some((*number, SignInChange::Removed(name.clone()))),
            (None, None) => None,
        }
    }
}

/// A stream of [`SignInNews`] that ends with the engine. The first one is a snapshot, or [`SignInChange::Resumed`].
pub struct SignInWatcher(Pin<Box<dyn Stream<Item = SignInNews> + Send>>);

impl fmt::Debug for SignInWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInWatcher").finish_non_exhaustive()
    }
}

impl Stream for SignInWatcher {
    type Item = SignInNews;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SignInNews>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The state of one watcher.
struct Reader {
    shared: Arc<Shared>,
    latest: watch::Receiver<Option<u64>>,
    position: Position,
}

#[derive(Clone, Copy)]
enum Position {
    /// Nothing was told yet.
    Start(Option<Revision>),
    /// Everything up to this change was told.
    At(u64),
}

impl Reader {
    async fn next(&mut self) -> Option<SignInNews> {
        loop {
            (*self.latest.borrow_and_update())?;
            if let Some(news) = self.next_now() {
                return Some(news);
            }
            self.latest.changed().await.ok()?;
        }
    }

    /// The next news that are there already.
    fn next_now(&mut self) -> Option<SignInNews> {
        let shared = Arc::clone(&self.shared);
        let rows = shared.rows();
        let (counter, change) = match self.position {
            Position::Start(Some(since)) if since.epoch == shared.epoch && rows.remembers(since.counter) => {
                (since.counter, SignInChange::Resumed)
            }
            Position::At(told) if rows.remembers(told) => rows.after(told)?,
            Position::Start(_) | Position::At(_) => (rows.counter, SignInChange::Snapshot(rows.list())),
        };
        self.position = Position::At(counter);
        Some(SignInNews { revision: Revision { epoch: shared.epoch, counter }, change })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn sign_in(name: &str, start_url: &str) -> SignIn {
        SignIn {
            name: name.parse().unwrap(),
            start_url: start_url.to_owned(),
            region: "eu-west-1".parse().unwrap(),
            profiles: Vec::new(),
            status: SignInStatus::unknown(),
        }
    }

    /// What a watcher is told without waiting.
    fn told(watcher: &mut SignInWatcher) -> Vec<SignInChange> {
        std::iter::from_fn(|| watcher.next().now_or_never().flatten()).map(|news| news.change).collect()
    }

    fn changed(name: &str, start_url: &str) -> SignInChange {
        SignInChange::Changed(Box::new(sign_in(name, start_url)))
    }

    #[test]
    fn a_watcher_gets_a_snapshot_and_then_the_latest_of_each() {
        let board = Board::new(Epoch(1));
        board.put(sign_in("b", "1"));
        board.put(sign_in("a", "1"));
        let mut watcher = board.watch(None);
        assert_eq!(told(&mut watcher), [SignInChange::Snapshot(vec![sign_in("a", "1"), sign_in("b", "1")])]);
        board.put(sign_in("a", "1"));
        assert_eq!(told(&mut watcher), [], "nothing changed");
        (2..10).for_each(|number| board.put(sign_in("a", &number.to_string())));
        board.remove(&"b".parse().unwrap());
        board.put(sign_in("c", "1"));
        let gone = SignInChange::Removed("b".parse().unwrap());
        assert_eq!(told(&mut watcher), [changed("a", "9"), gone, changed("c", "1")]);
        board.close();
        assert_eq!(watcher.next().now_or_never(), Some(None));
    }

    #[test]
    fn a_watcher_resumes_where_everything_is_remembered() {
        let board = Board::new(Epoch(1));
        board.put(sign_in("a", "1"));
        let since = Revision { epoch: Epoch(1), counter: 1 };
        board.put(sign_in("b", "1"));
        board.put(sign_in("b", "2"));
        assert_eq!(told(&mut board.watch(Some(since))), [SignInChange::Resumed, changed("b", "2")]);
        let other_life = Revision { epoch: Epoch(2), counter: 1 };
        assert!(matches!(told(&mut board.watch(Some(other_life)))[..], [SignInChange::Snapshot(_)]));
        for number in 0..=GONE {
            let name = format!("n{number}");
            board.put(sign_in(&name, "1"));
            board.remove(&name.parse().unwrap());
        }
        assert!(matches!(told(&mut board.watch(Some(since)))[..], [SignInChange::Snapshot(_)]));
    }
}
