use stormtunnel_model::{Etag, Intent};

use super::*;
use crate::testing::{spec, stored};

fn publisher() -> Publisher {
    Publisher::new(Epoch(7))
}

fn tunnel(name: &str) -> Tunnel {
    stopped_tunnel(&stored(spec(name)), Timestamp::from_millis(5))
}

fn changed(name: &str, etag: Etag, intent: Intent) -> StoredTunnel {
    StoredTunnel { etag, intent, ..stored(spec(name)) }
}

/// What a watcher is told without waiting.
fn told(watcher: &mut Watcher) -> Vec<WatchEvent> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = Pin::new(&mut *watcher).poll_next(&mut cx) {
        events.push(event);
    }
    events
}

fn changes(watcher: &mut Watcher) -> Vec<Change> {
    told(watcher).into_iter().map(|event| event.change).collect()
}

fn names(tunnels: &[Tunnel]) -> Vec<&str> {
    tunnels.iter().map(|tunnel| tunnel.spec.name.as_str()).collect()
}

#[test]
fn a_watcher_gets_a_snapshot_and_then_every_change_with_its_number() {
    let publisher = publisher();
    publisher.add(tunnel("web"), Arc::default());
    publisher.add(tunnel("db"), Arc::default());
    let mut watcher = publisher.watch(None, Vec::new());
    let Change::Snapshot(tunnels) = &told(&mut watcher)[0].change else { panic!("no snapshot") };
    assert_eq!(names(tunnels), ["db", "web"]);
    publisher.set_stored(&changed("db", Etag(2), Intent::Run));
    publisher.remove(tunnel("web").id);
    let events = told(&mut watcher);
    assert_eq!(events.iter().map(|event| event.revision.counter).collect::<Vec<_>>(), [3, 4]);
    assert!(matches!(&events[0].change, Change::Changed(tunnel) if tunnel.intent == Intent::Run));
    assert!(matches!(&events[1].change, Change::Deleted { name, .. } if name.as_str() == "web"));
}

#[test]
fn a_watcher_resumes_without_loss_or_repetition() {
    let publisher = publisher();
    publisher.add(tunnel("a"), Arc::default());
    let seen = told(&mut publisher.watch(None, Vec::new()))[0].revision;
    publisher.add(tunnel("b"), Arc::default());
    let events = told(&mut publisher.watch(Some(seen), Vec::new()));
    assert_eq!(events[0], WatchEvent { revision: seen, change: Change::Resumed });
    assert!(matches!(&events[1].change, Change::Changed(tunnel) if tunnel.spec.name.as_str() == "b"));
    assert_eq!(events.len(), 2);
}

#[test]
fn another_life_or_a_forgotten_revision_gives_a_snapshot() {
    let publisher = publisher();
    publisher.add(tunnel("a"), Arc::default());
    let other_life = Revision { epoch: Epoch(8), counter: 1 };
    let future = Revision { epoch: Epoch(7), counter: 99 };
    for since in [other_life, future] {
        let changes = changes(&mut publisher.watch(Some(since), Vec::new()));
        assert!(matches!(changes[..], [Change::Snapshot(_)]), "{changes:?}");
    }
    for etag in 0..LOG_LENGTH as u64 + 1 {
        publisher.set_stored(&changed("a", Etag(etag + 2), Intent::Stop));
    }
    let forgotten = Revision { epoch: Epoch(7), counter: 1 };
    assert!(matches!(changes(&mut publisher.watch(Some(forgotten), Vec::new()))[..], [Change::Snapshot(_)]));
}

#[test]
fn a_watcher_that_falls_behind_gets_a_new_snapshot() {
    let publisher = publisher();
    publisher.add(tunnel("a"), Arc::default());
    let mut slow = publisher.watch(None, Vec::new());
    assert_eq!(told(&mut slow).len(), 1);
    for etag in 0..LOG_LENGTH as u64 * 2 {
        publisher.set_stored(&changed("a", Etag(etag + 2), Intent::Stop));
    }
    let Change::Snapshot(tunnels) = &changes(&mut slow)[0] else { panic!("no snapshot") };
    assert_eq!(tunnels[0].etag, Etag(LOG_LENGTH as u64 * 2 + 1), "the latest state");
    assert!(publisher.board().log.len() <= LOG_LENGTH);
}

#[test]
fn a_filter_follows_its_tunnel_through_a_new_name() {
    let publisher = publisher();
    publisher.add(tunnel("a"), Arc::default());
    publisher.add(tunnel("b"), Arc::default());
    let mut watcher = publisher.watch(None, vec!["a".to_owned()]);
    let Change::Snapshot(tunnels) = &changes(&mut watcher)[0] else { panic!("no snapshot") };
    assert_eq!(names(tunnels), ["a"]);
    publisher.set_stored(&changed("b", Etag(2), Intent::Run));
    let renamed = StoredTunnel { spec: spec("renamed"), ..changed("a", Etag(2), Intent::Stop) };
    publisher.set_stored(&renamed);
    publisher.remove(tunnel("a").id);
    let changes = changes(&mut watcher);
    assert!(matches!(&changes[0], Change::Changed(tunnel) if tunnel.spec.name.as_str() == "renamed"));
    assert!(matches!(&changes[1], Change::Deleted { .. }));
    assert_eq!(changes.len(), 2, "nothing of the other tunnel");
}

#[test]
fn what_does_not_change_is_not_published() {
    let publisher = publisher();
    publisher.add(tunnel("a"), Arc::default());
    publisher.set_status(tunnel("a").id, &tunnel("a").status);
    assert_eq!(publisher.board().counter, 1);
}

#[tokio::test(start_paused = true)]
async fn counters_are_live_for_readers_and_coalesced_for_watchers() {
    use futures_util::StreamExt as _;
    let publisher = publisher();
    let meter = Arc::new(Meter::default());
    publisher.add(tunnel("a"), Arc::clone(&meter));
    let mut watcher = publisher.watch(None, Vec::new());
    watcher.next().await.unwrap();
    let changes = async {
        (0..1000).for_each(|_| meter.add_sent(10));
        assert_eq!(publisher.find("a").unwrap().status.traffic.sent, 10_000, "a reader sees them at once");
        watcher.next().await.unwrap()
    };
    let started = tokio::time::Instant::now();
    let event = tokio::select! {
        event = changes => event,
        () = publisher.clone().publish_statistics() => panic!("it never ends"),
    };
    assert!(started.elapsed() <= STATISTICS_INTERVAL);
    assert!(matches!(event.change, Change::Changed(tunnel) if tunnel.status.traffic.sent == 10_000));
    assert_eq!(event.revision.counter, 2, "one change for a thousand writes");
}

#[test]
fn closing_ends_the_watchers() {
    let publisher = publisher();
    let mut watcher = publisher.watch(None, Vec::new());
    assert_eq!(told(&mut watcher).len(), 1);
    publisher.close();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(Pin::new(&mut watcher).poll_next(&mut cx), Poll::Ready(None));
    publisher.add(tunnel("late"), Arc::default());
    assert_eq!(Pin::new(&mut publisher.watch(None, Vec::new())).poll_next(&mut cx), Poll::Ready(None));
}
