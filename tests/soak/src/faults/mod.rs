//! Every fault at once, at random times, under connections of every kind.

mod load;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Direction, Emulator, Injection};
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use self::load::{JOB_DEADLINE, Load};
use self::schedule::{Act, What, schedule};
use crate::clock::ClockedDaemon;
use crate::figures::{mebibytes, must_have_happened};
use crate::footprint::Footprint;
use crate::plan::Plan;
use crate::remote::Remote;
use crate::say;

/// How exactly the schedule is kept.
const TICK: Duration = Duration::from_millis(20);
/// A ping leaves every 20 s, and its pong is awaited for 40 s even while the agent goes on sending; then comes a new
/// connection.
const NOTICED: Duration = Duration::from_secs(75);
/// What the daemon may keep of the run beside what it kept of its beginning: the allocator's business.
const MEMORY_SLACK: u64 = 24 << 20;
/// How often it is looked whether a connection was replaced.
const LOOK: Duration = Duration::from_millis(100);
/// Lines of the daemon's log that a failure shows.
const LOG_LINES: usize = 30;
/// Acts of the schedule that a failure shows.
const LAST_ACTS: usize = 6;

/// The tunnels: one session each, so that each kind of agent and of destination has its own.
const TRANSFERS: &str = "transfers";
const HABITS: &str = "habits";
const REFUSED: &str = "refused";
const SILENT: &str = "silent";
const FRESH: &str = "fresh";

/// What must have happened, as the emulator counts it.
const HITS: &[(&str, Counter)] = &[
    ("drops", Counter::InjectedClientDrops),
    ("closes", Counter::InjectedCloses),
    ("oversize closes", Counter::InjectedOversizeCloses),
    ("lost", Counter::InjectedLost),
    ("doubled", Counter::InjectedDuplicated),
    ("reordered", Counter::InjectedReordered),
    ("delayed", Counter::InjectedDelayed),
    ("jittered", Counter::InjectedJittered),
    ("damaged", Counter::InjectedCorrupted),
    ("pauses", Counter::InjectedPauses),
    ("black holes", Counter::InjectedBlackHoles),
    ("one-sided black holes", Counter::InjectedOneSidedBlackHoles),
    ("bytes vanished in them", Counter::InjectedBytesVanished),
    ("agents cut", Counter::InjectedAgentDrops),
    ("messages to agents not ready", Counter::AgentNotReady),
    ("gateway outages", Counter::InjectedOutages),
    ("upgrades refused", Counter::InjectedUpgradeRefusals),
    ("calls throttled", Counter::InjectedThrottles),
    ("dials refused", Counter::AgentDialsFailed),
    ("dials unanswered", Counter::InjectedDialsUnanswered),
];

/// Connections that work at once through the first two tunnels.
const TRANSFER_WORKERS: u64 = 8;
const HABITS_WORKERS: u64 = 3;

/// What a run moves.
struct World {
    load: Arc<Load>,
    clock: Option<ClockedDaemon>,
    /// Tunnel, local port, session.
    tunnels: Vec<(&'static str, u16, String)>,
    pid: u32,
    /// Acts of the schedule that are done.
    played: AtomicUsize,
}

/// Faults for as long as the plan says.
pub(crate) async fn run(plan: Plan) -> Result<String> {
    let minutes = plan.minutes.unwrap_or(plan.size(1, 15));
    let length = Duration::from_secs(60) * minutes;
    let world = World::start(plan).await?;
    let acts = schedule(plan.seed, length, world.emulator().instance());
    let outcome = Box::pin(world.live_through(&acts)).await;
    outcome.with_context(|| world.last_words(&acts))?;
    let hits = world.hits()?;
    for (name, hit) in &hits {
        say(&format!("  {hit:>9} {name}"))?;
    }
    let tally = *world.load.tally();
    Ok(format!(
        "seed {}: all {} kinds of fault hit, {} orders in {} s{}; {} connections, {}, every byte right, the \
         slowest in {:.0} s; the same sessions and no growth at the end",
        plan.seed,
        hits.len(),
        acts.len(),
        acts.last().map_or(0, |act| act.at.as_secs()),
        if world.clock.is_some() { "" } else { " (clock steps skipped: no C compiler)" },
        tally.jobs,
        mebibytes(tally.bytes),
        tally.slowest.as_secs_f64(),
    ))
}

impl World {
    async fn start(plan: Plan) -> Result<Self> {
        let remote = Remote::start().await?;
        let scene =
            Scene::start(Config { habits: AgentHabits::unpaced(), tls: true, ..Config::default() }).await?;
        let clock = ClockedDaemon::start(scene.sandbox()).await?;
        let nobody = ([127, 0, 0, 1], local::free_port()?).into();
        let mut tunnels = Vec::new();
        for name in [TRANSFERS, HABITS, REFUSED, SILENT, FRESH] {
            let host = format!("{name}.internal");
            let service = if name == REFUSED { nobody } else { remote.address() };
            scene.emulator().map_service(&host, 1, service);
            let habits = if name == HABITS { AgentHabits::default() } else { AgentHabits::unpaced() };
            scene.emulator().inject(Injection::Habits { habits });
            scene.add(name, &format!("{host}:1")).await?;
            scene.ok(&["up", name]).await?;
            tunnels.push((name, scene.port(name).await?, session(&scene, name).await?));
        }
        let pid = scene.daemon_pid().await?;
        let load = Arc::new(Load::new(scene, remote, plan.seed, plan.job_numbers()));
        Ok(Self { load, clock, tunnels, pid, played: AtomicUsize::new(0) })
    }

    /// What a failure happened under.
    fn last_words(&self, acts: &[Act]) -> String {
        let played = self.played.load(Ordering::Relaxed);
        let last = &acts[played.saturating_sub(LAST_ACTS)..played];
        let log = self.load.scene.sandbox().log_tail(LOG_LINES);
        format!(
            "after {played} of {} acts, the last of them {last:#?}; the daemon's last words:\n{log}\n",
            acts.len()
        )
    }

    fn emulator(&self) -> &Emulator {
        self.load.scene.emulator()
    }

    /// The schedule with all workers at work, then silent faults that the daemon has to notice by itself, then peace.
    async fn live_through(&self, acts: &[Act]) -> Result<()> {
        let before = Footprint::of(self.pid)?;
        let mut workers = self.workers();
        let (first_half, second_half) = acts.split_at(acts.len() / 2);
        let start = Instant::now();
        self.while_all_work(&mut workers, self.play(first_half, start)).await?;
        let baseline = Footprint {
            // Memory is compared with that of a daemon at work.
            bytes: Footprint::of(self.pid)?.bytes,
            // One call to AWS per tunnel at a time, whose connection is kept for the next one.
            descriptors: before.descriptors + self.tunnels.len() as u64,
            ..before
        };
        self.while_all_work(&mut workers, self.play(second_half, start)).await?;
        self.emulator().inject(Injection::Calm);
        self.clock.as_ref().map_or(Ok(()), |clock| clock.step_to(0))?;
        self.while_all_work(&mut workers, self.vanish_unannounced()).await?;
        self.load.end();
        let finishing = async {
            while let Some(worker) = workers.join_next().await {
                worker??;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(JOB_DEADLINE + DEADLINE, finishing).await.context("the workers do not end")??;
        for (name, _, session_before) in self.tunnels.iter().filter(|(name, ..)| *name != FRESH) {
            let session_now = session(&self.load.scene, name).await?;
            ensure!(session_now == *session_before, "{name} lost its session");
        }
        ensure!(self.load.scene.daemon_pid().await? == self.pid, "the daemon is another one");
        baseline.regained(self.pid, MEMORY_SLACK, DEADLINE).await?;
        let log = std::fs::read_to_string(self.load.scene.sandbox().log_file())?;
        let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
        ensure!(errors.is_empty(), "the daemon's log has errors: {errors:#?}");
        self.load.scene.ok(&["down", "--all"]).await?;
        self.load.scene.no_session_left(DEADLINE).await
    }

    fn workers(&self) -> JoinSet<Result<()>> {
        let mut workers = JoinSet::new();
        for (name, port, session) in &self.tunnels {
            let (name, port, session) = (*name, *port, session.clone());
            let count = match name {
                TRANSFERS => TRANSFER_WORKERS,
                HABITS => HABITS_WORKERS,
                _ => 1,
            };
            for _ in 0..count {
                let (load, session) = (Arc::clone(&self.load), session.clone());
                // Stream 0 is the schedule's.
                let worker = workers.len() as u64 + 1;
                workers.spawn(async move {
                    let working = match name {
                        TRANSFERS => load.transfers(port, worker).await,
                        HABITS => load.small_transfers(port, worker).await,
                        REFUSED => load.refusals(port).await,
                        SILENT => load.silences(port, &session, worker).await,
                        _ => load.restarts(port, name, worker).await,
                    };
                    working.with_context(|| format!("tunnel {name}"))
                });
            }
        }
        workers
    }

    /// Waits for something; a worker that fails ends the wait.
    async fn while_all_work(
        &self,
        workers: &mut JoinSet<Result<()>>,
        something: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        tokio::select! {
            done = something => done,
            Some(worker) = workers.join_next() => match worker? {
                Ok(()) => bail!("a worker ended early"),
                Err(error) => Err(error),
            },
        }
    }

    /// Carries the schedule out.
    async fn play(&self, acts: &[Act], start: Instant) -> Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for act in acts {
            while start.elapsed() < act.at {
                ticks.tick().await;
            }
            match &act.what {
                What::Inject(injection) => self.emulator().inject(injection.clone()),
                What::ClockOff { seconds } => {
                    self.clock.as_ref().map_or(Ok(()), |clock| clock.step_to(*seconds))?;
                }
            }
            self.played.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// One direction of one connection vanishes, and the other one of another. Nothing but silence tells the daemon.
    async fn vanish_unannounced(&self) -> Result<()> {
        let vanishing = [(TRANSFERS, Direction::ToAgent), (HABITS, Direction::ToClient)];
        let mut before = Vec::new();
        for (name, direction) in vanishing {
            before.push((name, direction, self.connections_of(name)?));
            let session = self.tunnels.iter().find(|tunnel| tunnel.0 == name).map(|tunnel| tunnel.2.clone());
            self.emulator().inject(Injection::OneSidedBlackHole { session, direction });
        }
        let mut ticks = interval(LOOK);
        for (name, direction, connections) in before {
            let noticing = async {
                while self.connections_of(name)? <= connections {
                    ticks.tick().await;
                }
                Ok::<_, anyhow::Error>(())
            };
            let noticed = timeout(NOTICED, noticing).await;
            noticed.with_context(|| {
                format!("tunnel {name}: nothing passes {direction:?} any more, and after {NOTICED:?} there is no new connection")
            })??;
        }
        Ok(())
    }

    /// WebSockets that a tunnel's session has had.
    fn connections_of(&self, name: &str) -> Result<u64> {
        let tunnel = self.tunnels.iter().find(|tunnel| tunnel.0 == name).context("no such tunnel")?;
        let sessions = self.emulator().sessions();
        let session =
            sessions.into_iter().find(|session| session.id == tunnel.2).context("its session is unknown")?;
        Ok(session.clients_attached)
    }

    /// Every kind of fault and how often it hit.
    fn hits(&self) -> Result<Vec<(&'static str, u64)>> {
        let counters = self.emulator().counters();
        let mut hits = Vec::new();
        for (name, counter) in HITS {
            let [hit] = must_have_happened(counters, [*counter])?;
            hits.push((*name, hit));
        }
        if self.clock.is_some() {
            let [hit] = must_have_happened(counters, [Counter::MisdatedFromClient])?;
            hits.push(("messages with a clock that was off", hit));
        }
        for (name, hit) in self.load.tally().hits() {
            ensure!(hit > 0, "{name}: 0, the fault never happened");
            hits.push((name, hit));
        }
        Ok(hits)
    }
}

async fn session(scene: &Scene, name: &str) -> Result<String> {
    let tunnel = scene.tunnel(name).await?;
    Ok(tunnel["status"]["session_id"].as_str().context("no session")?.to_owned())
}
