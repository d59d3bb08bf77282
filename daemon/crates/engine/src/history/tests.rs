use std::time::Duration;

use futures_util::StreamExt as _;
use stormtunnel_model::EventKind;

use super::watch::{EventChange, EventNews, EventWatcher, EventsWatched};
use super::*;
use crate::testing::{MemoryHistory, PATIENCE, TestClock, spec};
use crate::tunnel::chronicle::subject;

struct Bench {
    store: Arc<MemoryHistory>,
    history: History,
}

impl Bench {
    async fn new() -> Self {
        Self::on(Arc::default()).await
    }

    async fn on(store: Arc<MemoryHistory>) -> Self {
        let history = History::open(Arc::clone(&store) as _, Arc::new(TestClock::new())).await.unwrap();
        Self { store, history }
    }

    fn record(&self, count: u64) -> EventId {
        self.history.record(None, EventKind::EventsLost { count });
        self.last()
    }

    fn last(&self) -> EventId {
        lock(&self.history.shared.log).last()
    }

    /// Records so many events that nothing of the earlier ones stays in memory.
    async fn bury(&self) {
        for count in 0..log::LENGTH as u64 + 1 {
            self.record(count);
            self.history.flush().await;
        }
    }

    fn watch(&self, after: Option<EventId>) -> EventWatcher {
        self.history.watch(EventsWatched { after, limit: 1, ..EventsWatched::default() })
    }

    async fn listed(&self) -> Vec<Event> {
        self.history.newest(Vec::new(), None, 0, None).await.unwrap()
    }
}

async fn next(watcher: &mut EventWatcher) -> EventNews {
    tokio::time::timeout(PATIENCE, watcher.next()).await.expect("news").expect("no end").unwrap()
}

fn counts(events: &[Event]) -> Vec<u64> {
    let count = |event: &Event| {
        let EventKind::EventsLost { count } = event.kind else { panic!("{event:?}") };
        count
    };
    events.iter().map(count).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_listed_at_once_and_stored_soon() {
    let bench = Bench::new().await;
    for count in 1..=3 {
        bench.record(count);
    }
    assert_eq!(counts(&bench.listed().await), [1, 2, 3], "nothing is stored yet");
    assert!(bench.store.events().is_empty());
    bench.history.flush().await;
    assert_eq!(counts(&bench.store.events()), [1, 2, 3]);
    bench.record(4);
    assert_eq!(counts(&bench.listed().await), [1, 2, 3, 4], "from both, nothing twice");
    let newest = bench.history.newest(Vec::new(), None, 2, Some(bench.last())).await.unwrap();
    assert_eq!(counts(&newest), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn numbers_are_never_given_twice() {
    let bench = Bench::new().await;
    bench.record(1);
    bench.history.flush().await;
    let unstored = bench.record(2);
    tokio::time::advance(Duration::from_secs(1)).await;
    let next_life = Bench::on(Arc::clone(&bench.store)).await;
    // The test's clock begins anew; a real one goes on.
    assert!(next_life.record(3) >= unstored);
    let fresh = Bench::new().await;
    assert!(fresh.record(1).0 > 1_700_000_000_000, "another database begins at another number");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told_and_costs_nothing_that_fits_into_memory() {
    let bench = Bench::new().await;
    bench.store.break_with(Some(Fault::internal("disk full")));
    let keeper = bench.history.clone().keep([1; 32]);
    let told = async {
        bench.record(1);
        while bench.history.warning().is_none() {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(bench.history.warning().unwrap().contains("disk full"), "{:?}", bench.history.warning());
        assert_eq!(counts(&bench.listed().await), [1], "kept in memory");
        tokio::time::advance(Duration::from_secs(3600)).await;
        bench.record(2);
        bench.store.break_with(None);
        bench.store.wait_for(|kind| *kind == EventKind::EventsLost { count: 2 }).await;
    };
    tokio::select! {
        () = keeper => panic!("it never ends"),
        () = told => {}
    }
    assert_eq!(counts(&bench.store.events()), [1, 2]);
    assert_eq!(bench.history.warning(), None);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_memory_is_lost_with_a_count() {
    let bench = Bench::new().await;
    bench.store.break_with(Some(Fault::internal("disk full")));
    for _ in 0..log::LENGTH as u64 + 7 {
        bench.record(0);
    }
    bench.store.break_with(None);
    bench.history.flush().await;
    let stored = bench.store.events();
    assert_eq!(counts(&stored[stored.len() - 1..]), [7], "the last event counts them");
    assert_eq!(stored.len(), log::LENGTH + 1);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_gets_a_snapshot_then_everything_and_resumes() {
    let bench = Bench::new().await;
    for count in 1..=2 {
        bench.record(count);
    }
    let mut watcher = bench.watch(None);
    let first = next(&mut watcher).await;
    let EventChange::Snapshot(events) = &first.change else { panic!("{first:?}") };
    assert_eq!((counts(events), first.last), (vec![2], bench.last()), "as many as asked for");
    let third = bench.record(3);
    let news = next(&mut watcher).await;
    assert!(matches!(news.change, EventChange::Recorded(_)) && news.last == third, "{news:?}");
    bench.record(4);
    let mut resumed = bench.watch(Some(third));
    assert_eq!(next(&mut resumed).await, EventNews { last: third, change: EventChange::Resumed });
    assert_eq!(next(&mut resumed).await.last, bench.last());
    assert_eq!(next(&mut watcher).await.last, bench.last());
    bench.history.close();
    assert_eq!(watcher.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_falls_behind_reads_on_in_the_store() {
    let bench = Bench::new().await;
    let first = bench.record(0);
    let mut watcher = bench.watch(None);
    next(&mut watcher).await;
    bench.bury().await;
    for id in first.0 + 1..=bench.last().0 {
        let news = next(&mut watcher).await;
        assert!(matches!(news.change, EventChange::Recorded(_)), "{news:?}");
        assert_eq!(news.last, EventId(id), "nothing is lost, nothing comes twice");
    }
    let mut resumed = bench.watch(Some(first));
    assert_eq!(next(&mut resumed).await.change, EventChange::Resumed);
    assert_eq!(next(&mut resumed).await.last, EventId(first.0 + 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_missed_something_for_good_gets_a_new_snapshot() {
    let bench = Bench::new().await;
    let first = bench.record(0);
    let mut watcher = bench.watch(None);
    next(&mut watcher).await;
    bench.bury().await;
    bench.store.keep_newest(10);
    let news = next(&mut watcher).await;
    assert!(matches!(news.change, EventChange::Snapshot(_)) && news.last == bench.last(), "{news:?}");
    for after in [first, EventId(7), EventId(bench.last().0 + 1)] {
        let news = next(&mut bench.watch(Some(after))).await;
        assert!(matches!(news.change, EventChange::Snapshot(_)), "{after:?}: {news:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_of_one_tunnel_hears_of_it_and_of_the_daemon() {
    let bench = Bench::new().await;
    let of =
        |number: u8, name: &str| subject(TunnelId::new(Timestamp::default(), &[number; 10]), &spec(name));
    let tunnels = vec![of(1, "db").tunnel];
    let mut watcher = bench.history.watch(EventsWatched { tunnels, ..EventsWatched::default() });
    next(&mut watcher).await;
    bench.history.record(Some(of(2, "web")), EventKind::Created);
    bench.history.record(Some(of(1, "db")), EventKind::Created);
    bench.history.record(None, EventKind::DaemonStopping);
    for expected in [Some("db"), None] {
        let EventChange::Recorded(event) = next(&mut watcher).await.change else { panic!("no event") };
        assert_eq!(event.subject.as_ref().map(|subject| subject.name.as_str()), expected);
    }
    assert_eq!(bench.history.find("web").await, Ok(of(2, "web").tunnel));
    bench.history.flush().await;
    let missing = bench.history.find("nosuch").await.unwrap_err();
    assert_eq!(missing.kind, FaultKind::TunnelNotFound { tunnel: "nosuch".to_owned() });
}

#[test]
fn a_long_detail_is_cut_between_characters() {
    let fault = bounded(Fault::internal("é".repeat(5000)));
    assert!(fault.detail.len() <= MAX_DETAIL + '…'.len_utf8() && fault.detail.ends_with("é…"));
}
