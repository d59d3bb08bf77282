//! Following the file: the directory is watched, because editors replace files instead of writing into them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::SettingsFile;

/// How long the directory must be quiet before the file is read: an editor truncates, writes and renames.
const QUIET: Duration = Duration::from_millis(250);

/// Read anyway after that long, should something write without end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The net under the watch: network file systems tell of no changes, and a system may be out of watches.
const POLL: Duration = Duration::from_secs(30);

/// One waiting event says all that two would.
const EVENTS: usize = 1;

pub(super) fn spawn(file: Arc<SettingsFile>, tasks: &Tasks) -> Result<(), TasksClosed> {
    let (events, changed) = mpsc::channel(EVENTS);
    let watcher = watcher(&file.path, events);
    let cancel = tasks.cancelled().clone();
    tasks.spawn("settings file", async move {
        follow(changed, &cancel, || {
            let file = Arc::clone(&file);
            // A read of a few lines; but the disk may be a network's.
            let read = tokio::task::spawn_blocking(move || file.reload());
            async {
                let _ = read.await;
            }
        })
        .await;
        drop(watcher);
    })?;
    Ok(())
}

/// Calls `reload` after each burst of events, and every [`POLL`].
async fn follow<F: Future>(
    mut changed: mpsc::Receiver<()>,
    cancel: &CancellationToken,
    mut reload: impl FnMut() -> F,
) {
    let mut poll = tokio::time::interval_at(Instant::now() + POLL, POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            Some(()) = changed.recv() => settle(&mut changed).await,
            _ = poll.tick() => {}
        }
        reload().await;
    }
}

/// Waits until no event came for [`QUIET`], at most [`PATIENCE`].
async fn settle(changed: &mut mpsc::Receiver<()>) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let until = (Instant::now() + QUIET).min(deadline);
        if !matches!(tokio::time::timeout_at(until, changed.recv()).await, Ok(Some(()))) {
            return;
        }
    }
}

/// Watches the file's directory, and the one where a symbolic link leads. Without a watch the poll has to do.
fn watcher(path: &Path, events: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let unwatched = |error: notify::Error| {
        tracing::warn!(%error, "changes of the settings file show only every {} s", POLL.as_secs());
    };
    let notice = move |event: notify::Result<notify::Event>| {
        // Our own reads are events too. A full channel holds the news already.
        if !matches!(event, Ok(ref event) if event.kind.is_access()) {
            let _ = events.try_send(());
        }
    };
    // Without a directory there is nothing to watch, and the first setting makes it anyway.
    if let Some(Err(error)) = path.parent().map(std::fs::create_dir_all) {
        tracing::debug!(%error, "the settings file has no directory");
    }
    let mut watcher = notify::recommended_watcher(notice).map_err(unwatched).ok()?;
    for directory in directories(path) {
        if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
            unwatched(error);
        }
    }
    Some(watcher)
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let linked = std::fs::canonicalize(path).ok();
    let mut directories: Vec<PathBuf> =
        [parent(path), linked.as_deref().and_then(parent)].into_iter().flatten().collect();
    directories.dedup();
    directories
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Runs `follow` under virtual time beside `script`, which is given the event sender; answers the times of reloads
    /// in milliseconds from the start.
    async fn reloads<F: Future<Output = ()>>(script: impl FnOnce(mpsc::Sender<()>) -> F) -> Vec<u128> {
        let start = Instant::now();
        let times = Cell::new(Vec::new());
        let (events, changed) = mpsc::channel(EVENTS);
        let cancel = CancellationToken::new();
        let reload = || {
            let mut so_far = times.take();
            so_far.push(start.elapsed().as_millis());
            times.set(so_far);
            std::future::ready(())
        };
        tokio::select! {
            biased;
            () = follow(changed, &cancel, reload) => {}
            () = script(events) => {}
        }
        times.into_inner()
    }

    async fn pass(duration: Duration) {
        tokio::time::advance(duration).await;
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_read_once_after_it() {
        let times = reloads(async |events| {
            for _ in 0..5 {
                let _ = events.try_send(());
                pass(Duration::from_millis(100)).await;
            }
            pass(Duration::from_secs(1)).await;
        })
        .await;
        assert_eq!(times.len(), 1, "{times:?}");
        assert!(times[0] >= 400 + QUIET.as_millis(), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn endless_writing_is_read_now_and_then() {
        let times = reloads(async |events| {
            for _ in 0..100 {
                let _ = events.try_send(());
                pass(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert!((3..=5).contains(&times.len()), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_events_the_poll_reads() {
        let times = reloads(async |events| {
            for _ in 0..65 {
                pass(Duration::from_secs(1)).await;
            }
            drop(events);
        })
        .await;
        assert_eq!(times, [POLL.as_millis(), 2 * POLL.as_millis()]);
    }
}
