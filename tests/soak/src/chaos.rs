//! Fifty tunnels with traffic, every fault that a tunnel can have, and the daemon killed in the middle of it: soon after
//! the last fault all of them work again, on their ports.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Injection, Instance};
use serde_json::Value;
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::process::{Signal, gone, send_signal};
use stormtunnel_e2e::scene::{Scene, state};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::dice::Dice;
use crate::figures::{mebibytes, must_have_happened};
use crate::footprint::Footprint;
use crate::job::{Ending, Job};
use crate::plan::Plan;
use crate::remote::Remote;

/// Tunnels of a full run; a short one has fewer, since every one of them wants a connection to AWS after each fault.
const TUNNELS: (usize, usize) = (20, 50);
/// Seconds of faults.
const SECONDS: (u64, u64) = (20, 60);
/// How often the daemon is killed.
const KILLS: u32 = 2;
/// How exactly that is kept.
const TICK: Duration = Duration::from_millis(20);
/// Time from one fault to the next, in milliseconds.
const BETWEEN: std::ops::RangeInclusive<u64> = 300..=1500;
/// Kinds of them.
const FAULTS: usize = 13;
/// The one that a person heals.
const CREDENTIALS: usize = 3;
/// The name of the instance that is replaced.
const REPLACED: &str = "chaos";
/// How long those take that last, in milliseconds.
const OUTAGE: std::ops::RangeInclusive<u64> = 300..=2500;
/// Promised: how soon after the last fault all tunnels are up.
const HEALED: Duration = Duration::from_secs(30);
/// Most bytes of one connection, each way.
const MOST: u64 = 64 << 10;
/// Between two connections of one tunnel.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a tunnel that does not work yet is tried again.
const LOOK: Duration = Duration::from_millis(200);
/// What connections may meet while faults happen.
const EXCUSED: [ErrorKind; 4] = [
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionRefused,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
];
/// Memory that a daemon may have gained over all that: the allocator's business.
const SLACK: u64 = 24 << 20;

struct World {
    scene: Scene,
    remote: Remote,
    numbers: AtomicU64,
    /// How often the daemon was killed.
    lives: AtomicU32,
    over: AtomicBool,
    done: AtomicU64,
    excused: AtomicU64,
    bytes: AtomicU64,
    /// How often the instance was replaced.
    generation: AtomicU32,
}

/// See the module.
pub(crate) async fn run(plan: Plan) -> Result<String> {
    let count = plan.size(TUNNELS.0, TUNNELS.1);
    let length = Duration::from_secs(plan.size(SECONDS.0, SECONDS.1));
    let remote = Remote::start().await?;
    let mut config = Config { habits: AgentHabits::unpaced(), tls: true, ..Config::default() };
    config.instances.push(replaceable(0));
    let scene = Scene::start(config).await?;
    scene.emulator().map_service("chaos.internal", 1, remote.address());
    let ports = tunnels(&scene, count).await?;
    let world = Arc::new(World {
        scene,
        remote,
        numbers: AtomicU64::new(plan.job_numbers()),
        lives: AtomicU32::new(0),
        over: AtomicBool::new(false),
        done: AtomicU64::new(0),
        excused: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        generation: AtomicU32::new(0),
    });
    let mut workers = JoinSet::new();
    for (worker, port) in ports.iter().enumerate() {
        let (world, port) = (Arc::clone(&world), *port);
        let dice = Dice::new(plan.seed, worker as u64 + 1);
        workers
            .spawn(async move { world.talk(port, dice).await.with_context(|| format!("tunnel t{worker}")) });
    }
    tokio::select! {
        played = world.play(plan.seed, length) => played?,
        Some(ended) = workers.join_next() => { ended??; bail!("a worker ended") }
    }
    let healed = world.all_work(&ports).await?;
    world.over.store(true, Ordering::Relaxed);
    while let Some(ended) =
        timeout(2 * DEADLINE, workers.join_next()).await.context("a worker does not end")?
    {
        ended??;
    }
    world.leaves_nothing().await?;
    world.verdict(count, length, healed)
}

/// The instance that has that name for a while.
fn replaceable(generation: u32) -> Instance {
    Instance::new(format!("i-{generation:017x}")).tagged("Name", REPLACED)
}

/// Tunnels of every kind; answers their ports.
async fn tunnels(scene: &Scene, count: usize) -> Result<Vec<u16>> {
    let targets = [scene.emulator().instance().to_owned(), format!("name:{REPLACED}")];
    let mut ports = Vec::new();
    for number in 0..count {
        let name = format!("t{number}");
        let target = &targets[number % 2];
        let keep = ["auto", "warm", "on-demand"][number % 3];
        let sessions = if number % 5 == 0 { "2" } else { "1" };
        let add = ["tunnel", "add", &name, "--target", target, "--remote", "chaos.internal:1", "--up"];
        scene.ok(&[&add[..], &["--keep", keep, "--sessions", sessions]].concat()).await?;
        ports.push(scene.port(&name).await?);
    }
    Ok(ports)
}

impl World {
    /// One connection after the other. What is wrong is never excused: bytes that differ, an end that comes too early
    /// although the daemon lives.
    async fn talk(&self, port: u16, mut dice: Dice) -> Result<()> {
        let mut pauses = interval(PAUSE);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.over.load(Ordering::Relaxed) {
            pauses.tick().await;
            let (up, down) = (dice.magnitude(1..=MOST), dice.magnitude(1..=MOST));
            let ending = dice.pick(&[Ending::Together, Ending::LocalFirst, Ending::RemoteFirst]);
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let job = Job { ending, ..Job::new(number, up, down) };
            let life = self.lives.load(Ordering::Relaxed);
            match timeout(3 * DEADLINE, job.run(port, &self.remote)).await {
                Ok(Ok(())) => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    self.bytes.fetch_add(up + down, Ordering::Relaxed);
                }
                Ok(Err(error)) => {
                    let killed = life != self.lives.load(Ordering::Relaxed);
                    ensure!(killed || is_excused(&error), error.context(format!("{job:?}")));
                    self.excused.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => bail!("{job:?} has no end, neither a good nor a bad one"),
            }
        }
        Ok(())
    }

    async fn play(&self, seed: u64, length: Duration) -> Result<()> {
        let mut dice = Dice::new(seed, 0);
        let start = Instant::now();
        let (mut ticks, mut next, mut kills) = (interval(TICK), Duration::ZERO, 0);
        let (mut round, mut outages) = (Vec::new(), Vec::new());
        while start.elapsed() < length {
            ticks.tick().await;
            let now = start.elapsed();
            let over = outages.extract_if(.., |(end, _)| *end <= now);
            for (_, fault) in over {
                self.hurt(fault, false);
                if fault == CREDENTIALS {
                    self.renew_credentials().await?;
                }
            }
            if kills < KILLS && now >= length * (kills + 1) / (KILLS + 1) {
                kills += 1;
                self.kill_daemon().await?;
            } else if now >= next {
                next = now + Duration::from_millis(dice.within(BETWEEN));
                if round.is_empty() {
                    round = (0..FAULTS).collect();
                    dice.shuffle(&mut round);
                }
                if let Some(fault) = round.pop() {
                    self.hurt(fault, true);
                    outages.push((now + Duration::from_millis(dice.within(OUTAGE)), fault));
                }
            }
        }
        self.scene.emulator().inject(Injection::Calm);
        self.renew_credentials().await
    }

    /// A fault happens, or ends if it is one that lasts.
    fn hurt(&self, fault: usize, on: bool) {
        let instance = self.scene.emulator().instance().to_owned();
        let lasting = [
            Injection::BlackHole { on },
            Injection::GatewayDown { on },
            Injection::InstanceOffline { instance, offline: on },
            Injection::ExpireCredentials { access_key_id: None, expired: on },
        ];
        let passing = [
            Injection::DropClient { session: None },
            Injection::DropAgent { session: None },
            Injection::CloseClient { session: None, code: 1000, reason: "Bye".to_owned() },
            Injection::OversizeClose { session: None, bytes: 300 },
            Injection::PauseStorm { every_ms: 100, times: 3 },
            Injection::Throttle { count: 5 },
            Injection::RefuseUpgrades { status: 503, count: 5 },
            Injection::Restart,
        ];
        if on && fault == CREDENTIALS {
            // Whoever still has a channel would not notice.
            self.scene.emulator().inject(Injection::DropClient { session: None });
        }
        let passing = passing.into_iter().filter(|_| on);
        match lasting.into_iter().chain(passing).nth(fault) {
            Some(injection) => self.scene.emulator().inject(injection),
            None if on => self.replace_instance(),
            None => {}
        }
    }

    /// Another instance takes the name; by turns the service ends the sessions of the old one, or leaves them open.
    fn replace_instance(&self) {
        let old = self.generation.fetch_add(1, Ordering::Relaxed);
        let emulator = self.scene.emulator();
        emulator.inject(Injection::AddInstance { instance: replaceable(old + 1) });
        let (instance, end_sessions) = (replaceable(old).id, old.is_multiple_of(2));
        emulator.inject(Injection::TerminateInstance { instance, end_sessions });
    }

    /// What a person does whose tunnels say that their credentials have expired.
    async fn renew_credentials(&self) -> Result<()> {
        self.scene.ok(&["up", "--all", "--no-wait"]).await.map(drop)
    }

    /// Kills the daemon; the next command starts it again.
    async fn kill_daemon(&self) -> Result<()> {
        let pid = self.scene.daemon_pid().await?;
        self.lives.fetch_add(1, Ordering::Relaxed);
        send_signal(pid, Signal::KILL)?;
        gone(pid, DEADLINE).await?;
        self.scene.ok(&["ls"]).await.map(drop)
    }

    /// Waits until bytes come through every tunnel; answers how long that took.
    async fn all_work(&self, ports: &[u16]) -> Result<Duration> {
        let start = Instant::now();
        let mut looks = interval(LOOK);
        for (number, port) in ports.iter().enumerate() {
            loop {
                let left = HEALED.saturating_sub(start.elapsed());
                let job = Job::new(self.numbers.fetch_add(1, Ordering::Relaxed), 1000, 1000);
                match timeout(left, job.run(*port, &self.remote)).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => drop(looks.tick().await),
                    Err(_) => {
                        let shown = self.scene.tunnel(&format!("t{number}")).await?;
                        bail!("tunnel t{number} does not work {HEALED:?} after the last fault: {shown}");
                    }
                }
            }
        }
        Ok(start.elapsed())
    }

    /// All Up or Idle; no growth while they go on working; and after `down` nothing is left at AWS.
    async fn leaves_nothing(&self) -> Result<()> {
        let listed = self.scene.json(&["ls"]).await?;
        let tunnels = listed.as_array().or_else(|| listed["tunnels"].as_array()).context("a list")?;
        let works = |tunnel: &Value| matches!(state(tunnel), "up" | "idle");
        ensure!(tunnels.iter().all(works), "not all are up: {listed}");
        let pid = self.scene.daemon_pid().await?;
        let before = Footprint::of(pid)?;
        let names: Vec<String> =
            tunnels.iter().filter_map(|tunnel| tunnel["name"].as_str().map(str::to_owned)).collect();
        let down: Vec<&str> = std::iter::once("down").chain(names.iter().map(String::as_str)).collect();
        self.scene.ok(&down).await?;
        self.scene.no_session_left(HEALED).await?;
        before.regained(pid, SLACK, DEADLINE).await.map(drop)
    }

    fn verdict(&self, count: usize, length: Duration, healed: Duration) -> Result<String> {
        let [drops, cuts, closes, throttles, expired, restarts, replaced] = must_have_happened(
            self.scene.emulator().counters(),
            [
                Counter::InjectedClientDrops,
                Counter::InjectedAgentDrops,
                Counter::InjectedCloses,
                Counter::InjectedThrottles,
                Counter::ApiExpired,
                Counter::InjectedRestarts,
                Counter::InjectedTerminations,
            ],
        )?;
        let done = self.done.load(Ordering::Relaxed);
        ensure!(done > 0 && self.lives.load(Ordering::Relaxed) == KILLS, "nothing was shown");
        Ok(format!(
            "{count} tunnels, {} s of faults ({drops} drops, {cuts} agents cut, {closes} closes, {throttles} calls throttled, {expired} refused \
             for expired credentials, AWS restarted {restarts} times, the instance replaced {replaced} times, the daemon killed {KILLS} times): all \
             work {:.1} s after the last one; {done} connections, {}, every byte right; {} connections failed visibly, no \
             session left",
            length.as_secs(),
            healed.as_secs_f64(),
            mebibytes(self.bytes.load(Ordering::Relaxed)),
            self.excused.load(Ordering::Relaxed),
        ))
    }
}

/// Whether an error is one that an application can see: the connection was reset, or nobody took it.
fn is_excused(error: &Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| EXCUSED.contains(&io.kind()))
}
