//! What a person is told although nobody asks: few notifications, each about something that waits for them.
//!
//! Events are what makes one think of it, so that nothing is notified which is not in the history as well; what is shown is the
//! truth at the time of showing. A sign-in that a hundred tunnels wait for is one notification, and tunnels that are blocked
//! at once are another one (`queue`). Who shows them is a [`Notifier`].

mod queue;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use futures_util::StreamExt as _;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Event, EventId, EventKind, Fault};
use tokio::sync::watch;

use self::queue::{NotificationQueue, Present};
use crate::clock::Now;
use crate::handle::EngineHandle;
use crate::history::watch::EventChange;
use crate::ports::{Clock, PortFuture};
use crate::tasks::{Task, Tasks, TasksClosed};

/// Events that are looked at first: those of a start with hundreds of tunnels that all fail.
const FIRST_EVENTS: u32 = 1000;

/// What a desktop shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What it is about.
    pub kind: NotificationKind,
    /// A few words.
    pub title: String,
    /// One or two sentences, with the command that helps. Plain text.
    pub body: String,
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotificationKind {
    /// Tunnels wait for an SSO login.
    SignInNeeded,
    /// They will, and soon: the present token cannot be renewed.
    SignInExpiring,
    /// Tunnels are blocked until a person mends something.
    TunnelsBlocked,
}

impl NotificationKind {
    /// Whether the settings let it be shown.
    fn is_wanted(self, settings: &Settings) -> bool {
        let this = match self {
            Self::SignInNeeded | Self::SignInExpiring => settings.notify_sign_in,
            Self::TunnelsBlocked => settings.notify_tunnels,
        };
        settings.notifications && this
    }
}

/// Shows notifications. A call ends by itself, and soon; where nothing can be shown it does nothing.
pub trait Notifier: Send + Sync {
    /// Shows one.
    fn show<'a>(&'a self, notification: &'a Notification) -> PortFuture<'a, ()>;
}

/// Begins to tell. Nothing waits for this task: events that it has not looked at stay where they are.
///
/// # Errors
/// [`TasksClosed`] while the daemon stops.
pub fn start(
    engine: EngineHandle,
    settings: watch::Receiver<Arc<Settings>>,
    notifier: Arc<dyn Notifier>,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Task<()>, TasksClosed> {
    let cancel = tasks.cancelled().clone();
    let teller = Teller { engine, settings, notifier, clock, queue: NotificationQueue::default() };
    tasks.spawn("notifications", async move {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            told = teller.tell() => if let Err(fault) = told {
                tracing::warn!(%fault, "events cannot be read: no more notifications");
            },
        }
    })
}

/// Listens to events and has the notifications shown that come of them.
struct Teller {
    engine: EngineHandle,
    settings: watch::Receiver<Arc<Settings>>,
    notifier: Arc<dyn Notifier>,
    clock: Arc<dyn Clock>,
    queue: NotificationQueue,
}

impl Teller {
    /// Tells until the engine is gone.
    async fn tell(mut self) -> Result<(), Fault> {
        let mut watcher = self.engine.watch_events(&[], None, None, FIRST_EVENTS).await?;
        let mut heard = None;
        loop {
            let news = tokio::select! {
                news = watcher.next() => news,
                () = until(self.queue.due(), self.now()) => {
                    self.show().await;
                    continue;
                }
            };
            let Some(news) = news.transpose()? else { return Ok(()) };
            match news.change {
                EventChange::Snapshot(events) => self.hear(unheard(&events, heard)),
                EventChange::Recorded(event) => self.hear(std::slice::from_ref(&event)),
                EventChange::Resumed => {}
            }
            heard = Some(news.last);
        }
    }

    fn hear(&mut self, events: &[Event]) {
        let now = self.now().mono;
        events.iter().for_each(|event| self.queue.hear(event, now));
    }

    async fn show(&mut self) {
        let settings = Arc::clone(&self.settings.borrow());
        let default_profile = settings.default_profile.as_ref().map_or("default", |profile| profile.as_str());
        let present = Present {
            tunnels: self.engine.list(),
            sign_ins: self.engine.sign_ins().list(),
            default_profile: default_profile.to_owned(),
        };
        while let Some(notification) = self.queue.next(&present, self.now()) {
            if notification.kind.is_wanted(&settings) {
                tracing::debug!(kind = ?notification.kind, "notified: {}", notification.title);
                self.notifier.show(&notification).await;
            }
        }
    }

    fn now(&self) -> Now {
        Now::read(self.clock.as_ref())
    }
}

/// Of a snapshot, what this daemon went through and was not heard of yet.
fn unheard(events: &[Event], heard: Option<EventId>) -> &[Event] {
    let is_old = |event: &Event| match heard {
        Some(heard) => event.id <= heard,
        None => event.kind == EventKind::DaemonStarted,
    };
    let begin = events.iter().rposition(is_old).map_or(0, |last_old| last_old + 1);
    events.get(begin..).unwrap_or_default()
}

/// Waits for a moment; without one, for ever.
async fn until(due: Option<std::time::Instant>, now: Now) {
    match due {
        Some(due) => tokio::time::sleep_until(now.timer_at(due)).await,
        None => std::future::pending().await,
    }
}
