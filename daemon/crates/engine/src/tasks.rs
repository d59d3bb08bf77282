//! Every task of the daemon: tracked, named, cancellable. A panic ends its own task, is logged, and is told to
//! whoever waits for the task.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

#[cfg(doc)]
use crate::spans;
use crate::spans::Within;

/// A family of tasks that end together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

/// The family is closed: nothing may be started any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no task can be started: the daemon is stopping")]
pub struct TasksClosed;

/// Some tasks did not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{remaining} tasks did not end in time")]
pub struct TasksRemain {
    /// How many are left.
    pub remaining: usize,
}

/// A task did not come to its end: it panicked, or the runtime went away under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task} failed: {message}")]
pub struct TaskFailed {
    /// Its name.
    pub task: &'static str,
    /// What the panic said.
    pub message: String,
}

/// A running task. Dropping this does not stop it.
#[derive(Debug)]
pub struct Task<T> {
    name: &'static str,
    handle: JoinHandle<Result<T, TaskFailed>>,
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.name;
        Pin::new(&mut self.handle).poll(cx).map(|joined| match joined {
            Ok(outcome) => outcome,
            Err(error) => Err(TaskFailed { task, message: error.to_string() }),
        })
    }
}

impl Tasks {
    /// An empty family.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task.
    ///
    /// # Errors
    /// [`TasksClosed`] once [`Tasks::shutdown`] began.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> Result<Task<F::Output>, TasksClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.track(name, guarded(name, future))
    }

    /// Starts a task whose lines in the log are about what this span says. It is made when the task runs, and again after each
    /// [`spans::renew`].
    ///
    /// # Errors
    /// [`TasksClosed`] once [`Tasks::shutdown`] began.
    pub fn spawn_within<F, M>(
        &self,
        name: &'static str,
        span: M,
        future: F,
    ) -> Result<Task<F::Output>, TasksClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        M: Fn() -> Span + Send + Unpin + 'static,
    {
        // Around the guard, so that a panic is about the same.
        self.track(name, Within::new(span, guarded(name, future)))
    }

    fn track<T: Send + 'static>(
        &self,
        name: &'static str,
        guarded: impl Future<Output = Result<T, TaskFailed>> + Send + 'static,
    ) -> Result<Task<T>, TasksClosed> {
        if self.tracker.is_closed() {
            return Err(TasksClosed);
        }
        Ok(Task { name, handle: self.tracker.spawn(guarded) })
    }

    /// Fires when the family is to end. Tasks that have something to put in order listen to it.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Refuses new tasks, asks all to end and waits for them.
    ///
    /// # Errors
    /// [`TasksRemain`] when some are left after `bound`.
    pub async fn shutdown(&self, bound: Duration) -> Result<(), TasksRemain> {
        self.tracker.close();
        self.cancel.cancel();
        let wait = tokio::time::timeout(bound, self.tracker.wait()).await;
        wait.map_err(|_elapsed| TasksRemain { remaining: self.tracker.len() })
    }

    /// Tasks that run now.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}

/// A panic is reported, and the values it crossed are dropped with the task: nobody sees them half-changed.
fn guarded<F: Future>(name: &'static str, future: F) -> impl Future<Output = Result<F::Output, TaskFailed>> {
    AssertUnwindSafe(future).catch_unwind().map(move |outcome| {
        outcome.map_err(|panic| {
            let message = panic_message(panic.as_ref());
            tracing::error!(task = name, %message, "task panicked");
            TaskFailed { task: name, message }
        })
    })
}

/// What a panic said; panics carry text unless somebody went out of their way.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_does_not_spread() {
        let tasks = Tasks::new();
        let failed = tasks.spawn("clumsy", async { panic!("dropped a plate") }).unwrap();
        let fine = tasks.spawn("steady", async { 7 }).unwrap();
        let expected = TaskFailed { task: "clumsy", message: "dropped a plate".to_owned() };
        assert_eq!(failed.await, Err::<(), _>(expected));
        assert_eq!(fine.await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_cancels_waits_and_refuses() {
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled().clone();
        let task = tasks.spawn("waiter", async move { cancelled.cancelled().await }).unwrap();
        assert_eq!(tasks.shutdown(Duration::from_secs(1)).await, Ok(()));
        assert_eq!(task.await, Ok(()));
        assert_eq!(tasks.spawn("late", async {}).map(|_| ()), Err(TasksClosed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_will_not_end_is_reported() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending::<()>()).unwrap();
        assert_eq!(tasks.shutdown(Duration::from_secs(1)).await, Err(TasksRemain { remaining: 1 }));
    }
}
