//! Spans around tasks: what the lines of a task are about.
//!
//! A filter of the log by the fields of spans, such as `[{tunnel=db}]=debug`, knows only the spans that were made under it, and
//! most tasks are older than the filter that somebody has just set. So a task keeps the way to make its span, and makes it anew
//! when it next runs under another filter.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tracing::Span;

/// How often all spans were given up.
static RENEWALS: AtomicU64 = AtomicU64::new(0);

/// Has each task make its span anew before it next runs: the filter of the log is another one, or what the spans say.
pub fn renew() {
    RENEWALS.fetch_add(1, Ordering::Relaxed);
}

/// A future that runs within a span.
pub(crate) struct Within<M, F> {
    make: M,
    future: Pin<Box<F>>,
    span: Span,
    /// The count of renewals when the span was made.
    made: Option<u64>,
}

impl<M: Fn() -> Span + Unpin, F: Future> Within<M, F> {
    pub(crate) fn new(make: M, future: F) -> Self {
        Self { make, future: Box::pin(future), span: Span::none(), made: None }
    }
}

impl<M: Fn() -> Span + Unpin, F: Future> Future for Within<M, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let renewals = Some(RENEWALS.load(Ordering::Relaxed));
        if this.made != renewals {
            this.span = (this.make)();
            this.made = renewals;
        }
        let _entered = this.span.enter();
        this.future.as_mut().poll(cx)
    }
}

impl<M, F> fmt::Debug for Within<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("span", &self.span).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::tasks::Tasks;

    #[tokio::test]
    async fn a_task_has_a_span_of_its_own_and_another_one_after_a_renewal() {
        let (made, (tell, mut told)) = (Arc::new(AtomicU64::new(0)), mpsc::channel(1));
        let count = Arc::clone(&made);
        let make = move || {
            count.fetch_add(1, Ordering::Relaxed);
            Span::none()
        };
        let seen = Arc::clone(&made);
        let look = async move {
            let first = seen.load(Ordering::Relaxed);
            told.recv().await;
            (first, seen.load(Ordering::Relaxed))
        };
        let tasks = Tasks::new();
        let task = tasks.spawn_within("looks", make, look).unwrap();
        tokio::task::yield_now().await;
        renew();
        tell.send(()).await.unwrap();
        let (first, later) = task.await.unwrap();
        // Another test may renew as well.
        assert!(first >= 1 && later > first, "{first}, {later}");
    }
}
