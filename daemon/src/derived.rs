//! What follows from something that is watched.

use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use tokio::sync::watch;

/// What `make` makes of the newest value, now and whenever it is something else. Ends with its source and with the tasks.
///
/// # Errors
/// [`TasksClosed`] while the daemon stops.
pub(crate) fn derived<S, D>(
    name: &'static str,
    tasks: &Tasks,
    mut source: watch::Receiver<S>,
    make: impl Fn(&S) -> D + Send + 'static,
) -> Result<watch::Receiver<D>, TasksClosed>
where
    S: Send + Sync + 'static,
    D: PartialEq + Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(make(&source.borrow_and_update()));
    let cancel = tasks.cancelled().clone();
    tasks.spawn(name, async move {
        while let Some(Ok(())) = cancel.run_until_cancelled(source.changed()).await {
            publish(&sender, make(&source.borrow_and_update()));
        }
    })?;
    Ok(receiver)
}

/// The same of two things.
///
/// # Errors
/// [`TasksClosed`] while the daemon stops.
pub(crate) fn derived_of_both<A, B, D>(
    name: &'static str,
    tasks: &Tasks,
    (mut one, mut other): (watch::Receiver<A>, watch::Receiver<B>),
    make: impl Fn(&A, &B) -> D + Send + 'static,
) -> Result<watch::Receiver<D>, TasksClosed>
where
    A: Send + Sync + 'static,
    B: Send + Sync + 'static,
    D: PartialEq + Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(make(&one.borrow_and_update(), &other.borrow_and_update()));
    let cancel = tasks.cancelled().clone();
    tasks.spawn(name, async move {
        loop {
            let changed = async {
                tokio::select! {
                    changed = one.changed() => changed,
                    changed = other.changed() => changed,
                }
            };
            let Some(Ok(())) = cancel.run_until_cancelled(changed).await else { return };
            publish(&sender, make(&one.borrow_and_update(), &other.borrow_and_update()));
        }
    })?;
    Ok(receiver)
}

fn publish<D: PartialEq>(sender: &watch::Sender<D>, now: D) {
    sender.send_if_modified(|held| {
        let is_news = *held != now;
        if is_news {
            *held = now;
        }
        is_news
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_differs_is_news() {
        let tasks = Tasks::new();
        let (source, watched) = watch::channel(1);
        let mut derived = derived("parity", &tasks, watched, |number| number % 2).unwrap();
        assert_eq!(*derived.borrow_and_update(), 1);
        source.send_replace(3);
        source.send_replace(4);
        derived.changed().await.unwrap();
        assert_eq!(*derived.borrow_and_update(), 0);
        tasks.shutdown(std::time::Duration::from_secs(1)).await.unwrap();
        assert!(derived.changed().await.is_err(), "it ends with the tasks");
    }

    #[tokio::test]
    async fn either_source_is_heard() {
        let tasks = Tasks::new();
        let ((one, a), (other, b)) = (watch::channel(1), watch::channel(10));
        let mut sum = derived_of_both("sum", &tasks, (a, b), |a, b| a + b).unwrap();
        one.send_replace(2);
        assert_eq!(*sum.wait_for(|sum| *sum == 12).await.unwrap(), 12);
        other.send_replace(20);
        assert_eq!(*sum.wait_for(|sum| *sum == 22).await.unwrap(), 22);
    }
}
