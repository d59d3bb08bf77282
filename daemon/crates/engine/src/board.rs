//! What is true of all things of one kind now (sign-ins, profiles), for everybody who wants to know.
//!
//! Every change gets the next [`Revision`]. A watcher is a position among them, and is told what is other than it was there:
//! of each row the latest, never what it went through meanwhile. So nothing waits for a slow watcher, and nothing grows.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::{Stream, stream};
use stormtunnel_model::{Epoch, Revision};
use tokio::sync::watch;

/// Rows that are gone and whose names are remembered for watchers that were away. More go only when somebody rewrites
/// the whole configuration, and then a snapshot is the shorter answer.
const GONE: usize = 64;

/// What a board shows, one of each name.
pub trait Row: Clone + fmt::Debug + PartialEq + Send + 'static {
    /// What tells one row from the others, and orders them.
    type Name: Clone + fmt::Debug + Ord + Send + 'static;

    /// Its name.
    fn name(&self) -> Self::Name;
}

/// One message to a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News<R: Row> {
    /// The state of affairs after this message.
    pub revision: Revision,
    /// What it brings.
    pub change: Change<R>,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<R: Row> {
    /// Replaces all that the watcher knows; ordered by name.
    Snapshot(Vec<R>),
    /// One row is new or different.
    Changed(Box<R>),
    /// One row is gone.
    Removed(R::Name),
    /// The first message to a watcher that resumes: nothing was lost, changes follow.
    Resumed,
}

/// The board. Cheap to clone.
pub(crate) struct Board<R: Row>(Arc<Shared<R>>);

impl<R: Row> Clone for Board<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<R: Row> {
    epoch: Epoch,
    rows: Mutex<Rows<R>>,
    /// Number of the last change; `None` once there will be no other.
    latest: watch::Sender<Option<u64>>,
}

struct Rows<R: Row> {
    counter: u64,
    /// Each with the number of its last change.
    present: BTreeMap<R::Name, (u64, R)>,
    /// Those that are gone, with the number of that change, in order.
    gone: VecDeque<(u64, R::Name)>,
    /// Who was away since before this change does not know of everything that is gone.
    forgotten: u64,
}

impl<R: Row> Board<R> {
    /// An empty one.
    pub(crate) fn new(epoch: Epoch) -> Self {
        let latest = watch::Sender::new(Some(0));
        let rows = Rows { counter: 0, present: BTreeMap::new(), gone: VecDeque::new(), forgotten: 0 };
        Self(Arc::new(Shared { epoch, rows: Mutex::new(rows), latest }))
    }

    /// Adds a row, or shows another one in its place.
    pub(crate) fn put(&self, row: R) {
        self.write(&mut self.0.rows(), row);
    }

    /// Shows a row otherwise, if it is there.
    pub(crate) fn update(&self, name: &R::Name, change: impl FnOnce(&mut R)) {
        let mut rows = self.0.rows();
        let shown = rows.present.get(name).map(|(_, shown)| shown.clone());
        if let Some(mut row) = shown {
            change(&mut row);
            self.write(&mut rows, row);
        }
    }

    fn write(&self, rows: &mut Rows<R>, row: R) {
        if rows.present.get(&row.name()).is_some_and(|(_, shown)| *shown == row) {
            return;
        }
        let number = rows.next();
        rows.present.insert(row.name(), (number, row));
        self.0.tell(number);
    }

    /// Takes a row off.
    pub(crate) fn remove(&self, name: &R::Name) {
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

    /// One row.
    pub(crate) fn get(&self, name: &R::Name) -> Option<R> {
        self.0.rows().present.get(name).map(|(_, row)| row.clone())
    }

    /// All of them, ordered by name.
    pub(crate) fn list(&self) -> Vec<R> {
        self.0.rows().list()
    }

    /// The rows as they are, then each change. With a `since` of this board only the changes, as far as they are remembered.
    pub(crate) fn watch(&self, since: Option<Revision>) -> Watcher<R> {
        let latest = self.0.latest.subscribe();
        let reader = Reader { shared: Arc::clone(&self.0), latest, position: Position::Start(since) };
        let news = stream::unfold(reader, |mut reader| async move {
            let news = reader.next().await?;
            Some((news, reader))
        });
        Watcher(Box::pin(news))
    }

    /// Ends all watchers.
    pub(crate) fn close(&self) {
        self.0.latest.send_replace(None);
    }
}

impl<R: Row> Shared<R> {
    fn rows(&self) -> MutexGuard<'_, Rows<R>> {
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

impl<R: Row> Rows<R> {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn list(&self) -> Vec<R> {
        self.present.values().map(|(_, row)| row.clone()).collect()
    }

    /// Whether everything that changed after `counter` can still be told.
    fn remembers(&self, counter: u64) -> bool {
        (self.forgotten..=self.counter).contains(&counter)
    }

    /// The first change after `told` that still holds.
    fn after(&self, told: u64) -> Option<(u64, Change<R>)> {
        let changed = self.present.values().filter(|(number, _)| *number > told);
        let changed = changed.min_by_key(|(number, _)| *number);
        let removed = self.gone.iter().find(|(number, _)| *number > told);
        match (changed, removed) {
            (Some((changed, _)), Some((removed, name))) if removed < changed => {
                Some((*removed, Change::Removed(name.clone())))
            }
            (Some((number, row)), _) => Some((*number, Change::Changed(Box::new(row.clone())))),
            (None, Some((number, name))) => Some((*number, Change::Removed(name.clone()))),
            (None, None) => None,
        }
    }
}

/// A stream of [`News`] that ends with the engine. The first one is a snapshot, or [`Change::Resumed`].
pub struct Watcher<R: Row>(Pin<Box<dyn Stream<Item = News<R>> + Send>>);

impl<R: Row> fmt::Debug for Watcher<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl<R: Row> Stream for Watcher<R> {
    type Item = News<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<News<R>>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The state of one watcher.
struct Reader<R: Row> {
    shared: Arc<Shared<R>>,
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

impl<R: Row> Reader<R> {
    async fn next(&mut self) -> Option<News<R>> {
        loop {
            (*self.latest.borrow_and_update())?;
            if let Some(news) = self.next_now() {
                return Some(news);
            }
            self.latest.changed().await.ok()?;
        }
    }

    /// The next news that are there already.
    fn next_now(&mut self) -> Option<News<R>> {
        let shared = Arc::clone(&self.shared);
        let rows = shared.rows();
        let (counter, change) = match self.position {
            Position::Start(Some(since)) if since.epoch == shared.epoch && rows.remembers(since.counter) => {
                (since.counter, Change::Resumed)
            }
            Position::At(told) if rows.remembers(told) => rows.after(told)?,
            Position::Start(_) | Position::At(_) => (rows.counter, Change::Snapshot(rows.list())),
        };
        self.position = Position::At(counter);
        Some(News { revision: Revision { epoch: shared.epoch, counter }, change })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use stormtunnel_model::{SignIn, SignInStatus};

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
    fn told(watcher: &mut Watcher<SignIn>) -> Vec<Change<SignIn>> {
        std::iter::from_fn(|| watcher.next().now_or_never().flatten()).map(|news| news.change).collect()
    }

    fn changed(name: &str, start_url: &str) -> Change<SignIn> {
        Change::Changed(Box::new(sign_in(name, start_url)))
    }

    #[test]
    fn a_watcher_gets_a_snapshot_and_then_the_latest_of_each() {
        let board = Board::new(Epoch(1));
        board.put(sign_in("b", "1"));
        board.put(sign_in("a", "1"));
        let mut watcher = board.watch(None);
        assert_eq!(told(&mut watcher), [Change::Snapshot(vec![sign_in("a", "1"), sign_in("b", "1")])]);
        board.put(sign_in("a", "1"));
        assert_eq!(told(&mut watcher), [], "nothing changed");
        (2..10).for_each(|number| board.put(sign_in("a", &number.to_string())));
        board.remove(&"b".parse().unwrap());
        board.put(sign_in("c", "1"));
        let gone = Change::Removed("b".parse().unwrap());
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
        assert_eq!(told(&mut board.watch(Some(since))), [Change::Resumed, changed("b", "2")]);
        let other_life = Revision { epoch: Epoch(2), counter: 1 };
        assert!(matches!(told(&mut board.watch(Some(other_life)))[..], [Change::Snapshot(_)]));
        for number in 0..=GONE {
            let name = format!("n{number}");
            board.put(sign_in(&name, "1"));
            board.remove(&name.parse().unwrap());
        }
        assert!(matches!(told(&mut board.watch(Some(since)))[..], [Change::Snapshot(_)]));
    }
}
