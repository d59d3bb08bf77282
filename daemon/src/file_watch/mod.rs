//! Following files that others write: their directories are watched, because editors replace files instead of writing into
//! them.

mod directories;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long the directories must be quiet before the files are looked at: an editor truncates, writes and renames.
pub(crate) const QUIET: Duration = Duration::from_millis(150);

/// Looked at anyway after that long, should something write without end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The net under the watch: network file systems tell of no changes, and a system may be out of watches.
pub(crate) const POLL: Duration = Duration::from_secs(30);

/// One waiting event says all that two would.
const EVENTS: usize = 1;

/// How often directories are armed anew when they changed meanwhile. What changes more often is for the poll.
const ARM_TRIES: usize = 4;

/// Calls `look` now, after each burst of changes of `files` and every [`POLL`], until the tasks are cancelled. It may block for
/// the disk; if it answers with a time, it is called again after it at the latest. `what` names the files in the log. Neither
/// they nor their directories need exist.
///
/// # Errors
/// [`TasksClosed`].
pub(crate) fn spawn(
    what: &'static str,
    files: Vec<PathBuf>,
    tasks: &Tasks,
    look: impl FnMut() -> Option<Duration> + Send + 'static,
) -> Result<(), TasksClosed> {
    let (events, changed) = mpsc::channel(EVENTS);
    let watch = Watch { what, files, events, watcher: None, armed: BTreeSet::new(), told: false };
    let looker = Arc::new(Mutex::new((watch, look)));
    let cancel = tasks.cancelled().clone();
    tasks.spawn(what, async move {
        follow(changed, &cancel, || {
            let looker = Arc::clone(&looker);
            let looked = tokio::task::spawn_blocking(move || {
                let (watch, look) = &mut *looker.lock().unwrap_or_else(PoisonError::into_inner);
                // First, so that what changes from here on is an event.
                watch.arm();
                look()
            });
            async { looked.await.unwrap_or(None) }
        })
        .await;
    })?;
    Ok(())
}

/// Calls `look` at once, after each burst of events, when it asked for it, and every [`POLL`].
async fn follow<F: Future<Output = Option<Duration>>>(
    mut changed: mpsc::Receiver<()>,
    cancel: &CancellationToken,
    mut look: impl FnMut() -> F,
) {
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            Some(()) = changed.recv() => settle(&mut changed).await,
            () = tokio::time::sleep_until(due) => {}
        }
        tokio::select! {
            biased;
            // The disk may be a network's, and never answer.
            () = cancel.cancelled() => return,
            again = look() => due = Instant::now() + again.unwrap_or(POLL),
        }
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

/// The watch over the directories of some files. Without one the poll has to do.
struct Watch {
    what: &'static str,
    files: Vec<PathBuf>,
    events: mpsc::Sender<()>,
    watcher: Option<RecommendedWatcher>,
    armed: BTreeSet<PathBuf>,
    /// That there is no watch was said.
    told: bool,
}

impl Watch {
    /// Watches every directory that matters now. Each is armed anew even if it was: another directory may have its name.
    fn arm(&mut self) {
        for _ in 0..ARM_TRIES {
            let wanted = self.wanted();
            let outcome = self.watch(&wanted);
            // What was made or removed in between made no event.
            if self.wanted() != wanted {
                continue;
            }
            return outcome.unwrap_or_else(|error| self.tell(&error));
        }
    }

    fn wanted(&self) -> BTreeSet<PathBuf> {
        self.files.iter().flat_map(|file| directories::of(file)).collect()
    }

    fn watch(&mut self, directories: &BTreeSet<PathBuf>) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            empty => empty.insert(watcher(self.events.clone())?),
        };
        for directory in std::mem::take(&mut self.armed) {
            let _gone_already = watcher.unwatch(&directory);
        }
        let mut outcome = Ok(());
        for directory in directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.armed.insert(directory.clone())),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn tell(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%error, "changes of the {} may show only every {} s", self.what, POLL.as_secs());
        }
    }
}

fn watcher(events: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reads are events too. A full channel holds the news already.
        if !matches!(event, Ok(ref event) if event.kind.is_access()) {
            let _ = events.try_send(());
        }
    })
}

#[cfg(test)]
mod tests;
