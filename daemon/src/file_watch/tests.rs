use std::cell::Cell;

use super::*;

/// Runs `follow` under virtual time beside `script`, which is given the event sender; answers the times of looks in
/// milliseconds from the start.
async fn looks<F: Future<Output = ()>>(
    script: impl FnOnce(mpsc::Sender<()>) -> F,
    mut again: impl FnMut() -> Option<Duration>,
) -> Vec<u128> {
    let start = Instant::now();
    let times = Cell::new(Vec::new());
    let (events, changed) = mpsc::channel(EVENTS);
    let cancel = CancellationToken::new();
    let look = || {
        let mut so_far = times.take();
        so_far.push(start.elapsed().as_millis());
        times.set(so_far);
        std::future::ready(again())
    };
    tokio::select! {
        biased;
        () = follow(changed, &cancel, look) => {}
        () = script(events) => {}
    }
    times.into_inner()
}

async fn pass(duration: Duration) {
    tokio::time::advance(duration).await;
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_looked_at_once_after_it() {
    let script = async |events: mpsc::Sender<()>| {
        pass(Duration::from_millis(1)).await;
        for _ in 0..5 {
            let _ = events.try_send(());
            pass(Duration::from_millis(100)).await;
        }
        pass(Duration::from_secs(1)).await;
    };
    let times = looks(script, || None).await;
    assert_eq!(times.len(), 2, "{times:?}");
    assert!(times[1] >= 400 + QUIET.as_millis(), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn endless_writing_is_looked_at_now_and_then() {
    let script = async |events: mpsc::Sender<()>| {
        for _ in 0..100 {
            let _ = events.try_send(());
            pass(Duration::from_millis(100)).await;
        }
    };
    let times = looks(script, || None).await;
    assert!((4..=6).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn without_events_the_poll_looks() {
    let script = async |events: mpsc::Sender<()>| {
        for _ in 0..65 {
            pass(Duration::from_secs(1)).await;
        }
        drop(events);
    };
    let times = looks(script, || None).await;
    assert_eq!(times, [0, POLL.as_millis(), 2 * POLL.as_millis()]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_another_look_gets_it() {
    let script = async |events: mpsc::Sender<()>| {
        for _ in 0..40 {
            pass(Duration::from_millis(100)).await;
        }
        drop(events);
    };
    let mut wishes = [Some(Duration::from_millis(500)), Some(Duration::from_millis(700)), None].into_iter();
    let times = looks(script, || wishes.next().flatten()).await;
    assert_eq!(times, [0, 500, 1200]);
}
