//! The connections that work on while everything goes wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_emulator::{AgentHabits, Injection};
use stormtunnel_e2e::scene::Scene;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::dice::Dice;
use crate::job::{self, Ending, Job, Pace};
use crate::remote::Remote;

/// Longest time for one connection. Several faults may fall upon one, each may cost it half a minute.
pub(super) const JOB_DEADLINE: Duration = Duration::from_secs(120);
/// Between two connections that lead nowhere.
const NOWHERE: Duration = Duration::from_millis(250);
/// Most bytes of a job of an agent without brakes.
const LARGE: u64 = 1 << 20;
/// Bytes of a job with an end that is stuck: more than an agent keeps for its destinations.
const STUCK: u64 = 8 << 20;
/// Most bytes of a job of an agent with the real one's habits.
const SMALL: u64 = 24 << 10;

/// Shared by all workers.
pub(super) struct Load {
    pub(super) scene: Scene,
    pub(super) remote: Remote,
    seed: u64,
    numbers: AtomicU64,
    over: AtomicBool,
    tally: Mutex<Tally>,
}

/// What the workers did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) jobs: u64,
    pub(super) bytes: u64,
    pub(super) slowest: Duration,
    pub(super) slow_local: u64,
    pub(super) stuck_local: u64,
    pub(super) slow_remote: u64,
    pub(super) stuck_remote: u64,
    pub(super) local_first: u64,
    pub(super) remote_first: u64,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    pub(super) restarts: u64,
}

impl Tally {
    /// The faults that the workers themselves are.
    pub(super) fn hits(&self) -> [(&'static str, u64); 9] {
        [
            ("slow local readers", self.slow_local),
            ("stuck local readers", self.stuck_local),
            ("slow remote readers", self.slow_remote),
            ("stuck remote readers", self.stuck_remote),
            ("local half-closes", self.local_first),
            ("remote half-closes", self.remote_first),
            ("connections refused", self.refused),
            ("connections never answered", self.unanswered),
            ("sessions renewed", self.restarts),
        ]
    }
}

impl Load {
    pub(super) fn new(scene: Scene, remote: Remote, seed: u64, first_number: u64) -> Self {
        Self {
            scene,
            remote,
            seed,
            numbers: AtomicU64::new(first_number),
            over: AtomicBool::new(false),
            tally: Mutex::default(),
        }
    }

    /// Lets every worker finish what it does, and no more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs one after the other through a tunnel whose agent has no brakes.
    pub(super) async fn transfers(&self, port: u16, worker: u64) -> Result<()> {
        let mut dice = Dice::new(self.seed, worker);
        while !self.is_over() {
            let job = any_job(&mut dice, self.next_number());
            self.work(job, port).await?;
        }
        Ok(())
    }

    /// Small jobs through a tunnel whose agent has the real one's habits.
    pub(super) async fn small_transfers(&self, port: u16, worker: u64) -> Result<()> {
        let mut dice = Dice::new(self.seed, worker);
        while !self.is_over() {
            let (up, down) = (dice.magnitude(1..=SMALL), dice.magnitude(1..=SMALL));
            let ending = dice.pick(&[Ending::Together, Ending::LocalFirst, Ending::RemoteFirst]);
            self.work(Job { ending, ..Job::new(self.next_number(), up, down) }, port).await?;
        }
        Ok(())
    }

    /// Connections to a port where nobody listens.
    pub(super) async fn refusals(&self, port: u16) -> Result<()> {
        let mut ticks = interval(NOWHERE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            ticks.tick().await;
            job::refused(port, JOB_DEADLINE).await.context("nobody listens there")?;
            self.tally().refused += 1;
        }
        Ok(())
    }

    /// By turns a connection whose dial gets no answer, and one that works.
    pub(super) async fn silences(&self, port: u16, session: &str, worker: u64) -> Result<()> {
        let mut dice = Dice::new(self.seed, worker);
        while !self.is_over() {
            let (session, for_ms) = (Some(session.to_owned()), dice.within(200..=3000));
            self.scene.emulator().inject(Injection::BlackHoleDials { session, count: 1, for_ms });
            job::refused(port, JOB_DEADLINE).await.context("the dial gets no answer")?;
            self.tally().unanswered += 1;
            self.work(Job::new(self.next_number(), LARGE / 8, LARGE / 8), port).await?;
        }
        Ok(())
    }

    /// A new session for each job, with an agent that is not ready for a while.
    pub(super) async fn restarts(&self, port: u16, name: &str, worker: u64) -> Result<()> {
        let mut dice = Dice::new(self.seed, worker);
        while !self.is_over() {
            let habits = AgentHabits { not_ready_ms: dice.within(5..=1500), ..AgentHabits::unpaced() };
            self.scene.emulator().inject(Injection::Habits { habits });
            // It may give up waiting in the middle of an outage. The connection will wait until the tunnel is up.
            self.scene.stctl(&["restart", name, "--no-wait"]).await?;
            self.tally().restarts += 1;
            self.work(Job::new(self.next_number(), LARGE / 8, LARGE / 8), port).await?;
        }
        Ok(())
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    async fn work(&self, job: Job, port: u16) -> Result<()> {
        let start = Instant::now();
        let done = timeout(JOB_DEADLINE, job.run(port, &self.remote)).await;
        let done = done.with_context(|| format!("no end within {JOB_DEADLINE:?}")).flatten();
        done.with_context(|| format!("{job:?}, after {:.1} s", start.elapsed().as_secs_f64()))?;
        let mut tally = self.tally();
        tally.jobs += 1;
        tally.bytes += job.up.length + job.down.length;
        tally.slowest = tally.slowest.max(start.elapsed());
        tally.slow_local += u64::from(job.local == Pace::Slow);
        tally.stuck_local += u64::from(job.local == Pace::Stuck);
        tally.slow_remote += u64::from(job.remote == Pace::Slow);
        tally.stuck_remote += u64::from(job.remote == Pace::Stuck);
        tally.local_first += u64::from(job.ending == Ending::LocalFirst);
        tally.remote_first += u64::from(job.ending == Ending::RemoteFirst);
        Ok(())
    }
}

fn any_job(dice: &mut Dice, number: u64) -> Job {
    let (up, down) = (dice.magnitude(1..=LARGE), dice.magnitude(1..=LARGE));
    let ending = dice.pick(&[Ending::Together, Ending::LocalFirst, Ending::RemoteFirst]);
    let job = Job { ending, ..Job::new(number, up, down) };
    match dice.within(0..=15) {
        0 | 1 => Job { local: Pace::Slow, ..job },
        2 | 3 => Job { remote: Pace::Slow, ..job },
        4 => Job { local: Pace::Stuck, ending, ..Job::new(number, up, STUCK) },
        5 => Job { remote: Pace::Stuck, ending, ..Job::new(number, STUCK, down) },
        _ => job,
    }
}
