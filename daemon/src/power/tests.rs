//! One contract for every watch, kept by the fake and by the real ones against the real thing.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use stormtunnel_engine::ports::Incident;
use tokio::sync::mpsc;

use super::clocks::{Clocks, Reading};
use super::*;

/// How long a test waits before it fails.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a source is provoked until the watch listens to it: there is no other sign of that.
const AGAIN: Duration = Duration::from_millis(50);

/// Makes happen what a watch is to notice.
type Provoke<'a> = Box<dyn FnMut() -> BoxFuture<'a, ()> + 'a>;

/// A watch that runs, as in the daemon.
struct Running {
    tasks: Tasks,
    bulletin: Bulletin,
}

impl Running {
    fn start(watch: Box<dyn Watch>) -> Self {
        let (tasks, bulletin) = (Tasks::new(), Bulletin::default());
        spawn(&tasks, watch, bulletin.clone()).unwrap();
        Self { tasks, bulletin }
    }

    /// What is reported when it is provoked.
    async fn reports(&self, provoke: &mut Provoke<'_>) -> Incident {
        let mut again = tokio::time::interval(AGAIN);
        let provoked = async {
            loop {
                again.tick().await;
                provoke().await;
            }
        };
        let reported = async {
            tokio::select! {
                incident = self.bulletin.next() => incident,
                () = provoked => unreachable!("it goes on for ever"),
            }
        };
        tokio::time::timeout(DEADLINE, reported).await.expect("it is reported")
    }
}

/// What every watch keeps: it reports nothing unless something happens, reports it then, again when it happens again, and
/// nothing any more once it was stopped, which it is at once.
async fn keeps_the_contract(
    id: &str,
    watch: Box<dyn Watch>,
    mut provoke: Provoke<'_>,
    is_right: fn(&Incident) -> bool,
) {
    let running = Running::start(watch);
    let quiet = tokio::time::timeout(4 * AGAIN, running.bulletin.next()).await;
    assert!(quiet.is_err(), "reported out of nothing: {quiet:?}");
    for _ in 0..3 {
        let incident = running.reports(&mut provoke).await;
        assert!(is_right(&incident), "{incident:?}");
    }
    running.tasks.shutdown(DEADLINE).await.unwrap();
    while running.bulletin.next().now_or_never().is_some() {}
    provoke().await;
    let late = tokio::time::timeout(4 * AGAIN, running.bulletin.next()).await;
    assert!(late.is_err(), "reported after its end: {late:?}");
    println!("promise {id}: 3 of 3 incidents reported, nothing out of nothing, nothing after the end");
}

fn woke(incident: &Incident) -> bool {
    matches!(incident, Incident::Woke { slept, .. } if *slept >= HOUR)
}

const HOUR: Duration = Duration::from_secs(3600);

/// Clocks under the test's control.
#[derive(Debug, Default)]
struct FakeClocks(Mutex<Reading>);

impl Clocks for FakeClocks {
    fn read(&self) -> Reading {
        *self.0.lock().unwrap()
    }
}

impl FakeClocks {
    fn sleep_an_hour(&self) {
        let mut reading = self.0.lock().unwrap();
        reading.always += HOUR;
        reading.wall_ms += i64::try_from(HOUR.as_millis()).unwrap();
    }

    fn set_the_wall_clock(&self) {
        self.0.lock().unwrap().wall_ms -= 60_000;
    }
}

fn fake_clocks() -> (Arc<FakeClocks>, Arc<Sleeps>) {
    let clocks = Arc::new(FakeClocks::default());
    (Arc::clone(&clocks), Arc::new(Sleeps::new(clocks)))
}

/// Reports what the test says.
struct Scripted(mpsc::Receiver<Incident>);

impl Watch for Scripted {
    fn name(&self) -> &'static str {
        "watch a script"
    }

    fn watch(mut self: Box<Self>, bulletin: Bulletin) -> PortFuture<'static, ()> {
        Box::pin(async move {
            while let Some(incident) = self.0.recv().await {
                bulletin.report(incident);
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_fake_keeps_the_contract() {
    let (script, incidents) = mpsc::channel(1);
    let provoke: Provoke<'_> = Box::new(move || {
        let script = script.clone();
        Box::pin(async move {
            let _stopped = script.send(Incident::Woke { slept: HOUR, dark: true }).await;
        })
    });
    keeps_the_contract("power.fake", Box::new(Scripted(incidents)), provoke, woke).await;
}

#[tokio::test(start_paused = true)]
async fn the_clocks_keep_the_contract_of_sleep() {
    let (clocks, sleeps) = fake_clocks();
    let provoke: Provoke<'_> = Box::new(|| {
        clocks.sleep_an_hour();
        Box::pin(std::future::ready(()))
    });
    keeps_the_contract("power.sleep", Box::new(ClockWatch::new(sleeps)), provoke, woke).await;
}

#[tokio::test(start_paused = true)]
async fn the_clocks_keep_the_contract_of_a_clock_that_is_set() {
    let (clocks, sleeps) = fake_clocks();
    let provoke: Provoke<'_> = Box::new(|| {
        clocks.set_the_wall_clock();
        Box::pin(std::future::ready(()))
    });
    let jumped =
        |incident: &Incident| matches!(incident, Incident::ClockJumped { by_ms } if *by_ms <= -60_000);
    keeps_the_contract("power.clock", Box::new(ClockWatch::new(sleeps)), provoke, jumped).await;
}

/// Two who notice the same sleep: the one that the system tells is given the word.
#[tokio::test(start_paused = true)]
async fn a_sleep_is_reported_once_and_within_seconds() {
    let (clocks, sleeps) = fake_clocks();
    let running = Running::start(Box::new(ClockWatch::new(Arc::clone(&sleeps))));
    let start = tokio::time::Instant::now();
    clocks.sleep_an_hour();
    let found = tokio::time::timeout(DEADLINE, running.bulletin.next()).await.unwrap();
    assert!(woke(&found) && start.elapsed() <= Duration::from_secs(6), "{:?}", start.elapsed());
    sleeps.woke(false, &running.bulletin);
    clocks.sleep_an_hour();
    sleeps.woke(false, &running.bulletin);
    assert_eq!(running.bulletin.next().await, Incident::Woke { slept: HOUR, dark: false });
    let more = tokio::time::timeout(DEADLINE, running.bulletin.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn this_machine_is_watched_until_the_daemon_stops() {
    let tasks = Tasks::new();
    start(&tasks).unwrap();
    assert_eq!(tasks.len(), watches().len());
    tasks.shutdown(DEADLINE).await.unwrap();
}

#[cfg(target_os = "linux")]
mod linux;
