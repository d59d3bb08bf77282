//! Fifty tunnels with traffic, ten minutes, and everything that can go wrong: half a minute after the last fault all of
//! them work, on their ports. The time is virtual, so that every run of a seed is the same.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use stormtunnel_engine::ports::Incident;
use stormtunnel_engine::testing::{MemoryClient, MemoryNetwork, spec, wait_until};
use stormtunnel_model::{Fault, FaultKind, Keep, StartOptions, Tunnel, TunnelSpec, TunnelState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::bytes;
use super::cloud::Setup;

const TUNNELS: usize = 50;
const LENGTH: Duration = Duration::from_secs(600);
/// Promised: how soon after the last fault all tunnels work.
const HEALED: Duration = Duration::from_secs(30);
/// How long a connection may take in all that.
const PATIENCE: Duration = Duration::from_secs(300);
/// From one fault to the next, and how long those take that last, in milliseconds.
const BETWEEN: (u64, u64) = (1000, 8000);
const LASTING: (u64, u64) = (300, 20_000);
/// Between two connections of a tunnel, in milliseconds, and most bytes of one.
const PAUSE: (u64, u64) = (500, 12_000);
const MOST: u64 = 16 << 10;
/// Kinds of faults; each comes once before one comes again.
const FAULTS: usize = 14;
const SEEDS: u64 = 3;

struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    fn within(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.0.next_u64() % (most - least + 1)
    }

    fn millis(&mut self, range: (u64, u64)) -> Duration {
        Duration::from_millis(self.within(range))
    }
}

/// An agent that falls silent while its gateway goes on is replaced after half a minute: what is promised of that is another
/// promise, and it must be over by the end.
const SILENCE: Duration = Duration::from_secs(40);

/// What workers and faults share.
#[derive(Default)]
struct Run {
    over: AtomicBool,
    /// How often the engine was stopped: connections that it carried end then.
    lives: AtomicU32,
    done: AtomicU32,
    failed: AtomicU32,
}

async fn pass(span: Duration) {
    let _elapsed = timeout(span, std::future::pending::<()>()).await;
}

/// How a connection ended.
enum End {
    Right,
    /// In a way that an application sees.
    Failed(ErrorKind),
}

/// One connection: everything that is sent comes back.
async fn exchange(client: MemoryClient, data: &[u8]) -> End {
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut back = vec![0; data.len()];
    let (sent, received) = tokio::join!(writer.write_all(data), reader.read_exact(&mut back));
    match sent.and(received.map(drop)) {
        Ok(()) => {
            assert!(back == data, "the echo differs");
            End::Right
        }
        Err(error) => End::Failed(error.kind()),
    }
}

impl Run {
    async fn talk(&self, network: &MemoryNetwork, port: u16, mut dice: Dice) {
        while !self.over.load(Ordering::Relaxed) {
            pass(dice.millis(PAUSE)).await;
            let Some(client) = network.connect(port).await else { continue };
            let (length, seed, life) = (dice.within((1, MOST)), dice.within((1, u64::MAX - 1)), self.life());
            let length = usize::try_from(length).unwrap();
            let end = timeout(PATIENCE, exchange(client, &bytes(length, seed))).await;
            match end.expect("a connection has no end, neither a good nor a bad one") {
                End::Right => self.done.fetch_add(1, Ordering::Relaxed),
                End::Failed(kind) => {
                    let visible = kind == ErrorKind::ConnectionReset || kind == ErrorKind::BrokenPipe;
                    assert!(visible || life != self.life(), "{kind:?} looks like an end");
                    self.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }

    fn life(&self) -> u32 {
        self.lives.load(Ordering::Relaxed)
    }
}

/// What takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Network,
    Pause,
    Node,
    Credentials,
    Throttled,
}

/// The faults of one run.
struct Faults {
    setup: Setup,
    run: Arc<Run>,
    dice: Dice,
    /// Kinds that have not come in this round.
    round: Vec<usize>,
    /// What ends when.
    outages: Vec<(Instant, Outage)>,
    seen: BTreeSet<usize>,
    end: Instant,
}

impl Faults {
    async fn play(mut self) -> Setup {
        let (end, mut next) = (self.end, Instant::now());
        while Instant::now() < end {
            let due = self.outages.iter().map(|(until, _)| *until).chain([next, end]).min().unwrap();
            pass(due.saturating_duration_since(Instant::now())).await;
            self.end_outages(Instant::now()).await;
            if Instant::now() >= next {
                next = Instant::now() + self.dice.millis(BETWEEN);
                self = self.strike().await;
            }
        }
        self.end_outages(end + Duration::from_millis(LASTING.1)).await;
        assert_eq!(self.seen.len(), FAULTS, "not everything has happened");
        self.setup
    }

    async fn end_outages(&mut self, now: Instant) {
        let over: Vec<_> = self.outages.extract_if(.., |(until, _)| *until <= now).collect();
        for (_, outage) in over {
            if !self.outages.iter().any(|(_, other)| *other == outage) {
                self.set(outage, false).await;
            }
        }
    }

    async fn set(&self, outage: Outage, on: bool) {
        let cloud = &self.setup.cloud;
        let refusal = |kind| on.then(|| Fault::new(kind, ""));
        match outage {
            Outage::Network => cloud.set_network_down(on).await,
            Outage::Pause => cloud.pause(on).await,
            Outage::Node if on => cloud.set_offline(spec("any").target.as_str()),
            Outage::Node => cloud.all_online(),
            Outage::Throttled => cloud.set_refusal(refusal(FaultKind::Throttled)),
            Outage::Credentials => {
                cloud.set_refusal(refusal(FaultKind::CredentialsInvalid { profile: String::new() }));
                if !on {
                    renew_credentials(&self.setup).await;
                }
            }
        }
    }

    async fn strike(mut self) -> Self {
        if self.round.is_empty() {
            self.round = (0..FAULTS).collect();
        }
        let at = usize::try_from(self.dice.within((0, self.round.len() as u64 - 1))).unwrap();
        let fault = self.round.swap_remove(at);
        self.seen.insert(fault);
        let cloud = &self.setup.cloud;
        let outage = match fault {
            0 => Some(Outage::Network),
            1 => Some(Outage::Pause),
            2 => Some(Outage::Node),
            3 => Some(Outage::Credentials),
            4 => Some(Outage::Throttled),
            _ => None,
        };
        if let Some(outage) = outage {
            self.set(outage, true).await;
            self.outages.push((Instant::now() + self.dice.millis(LASTING), outage));
        }
        match fault {
            3 | 5 => cloud.drop_channels().await,
            6 => cloud.swallow_channels().await,
            7 if Instant::now() + SILENCE < self.end => cloud.mute().await,
            8 => cloud.lose_messages(5).await,
            9 => cloud.expire_sessions().await,
            10 => cloud.close_sessions("").await,
            11 => cloud.send_garbage().await,
            12 => {
                let incident = self.incident();
                self.setup.world.incidents.report(incident);
            }
            13 => {
                self.run.lives.fetch_add(1, Ordering::Relaxed);
                self.setup = self.setup.restarted().await;
            }
            _ => {}
        }
        self
    }

    fn incident(&mut self) -> Incident {
        match self.dice.within((0, 2)) {
            0 => Incident::NetworkChanged,
            1 => Incident::ClockJumped { by_ms: -3_600_000 },
            _ => Incident::Woke { slept: Duration::from_secs(60), dark: false },
        }
    }
}

/// What a person does whose tunnels say that their credentials have expired.
async fn renew_credentials(setup: &Setup) {
    let all = (0..TUNNELS).map(|number| format!("t-{number}")).collect();
    setup.handle.start(all, StartOptions::default()).await;
}

/// Tunnels of every kind; answers their ports.
async fn tunnels(setup: &Setup) -> Vec<u16> {
    let mut ports = Vec::new();
    for number in 0..TUNNELS {
        let name = format!("t-{number}");
        let keep = [Keep::Auto, Keep::Warm, Keep::OnDemand][number % 3];
        let sessions = if number % 5 == 0 { "2" } else { "1" }.parse().unwrap();
        setup.handle.create(None, TunnelSpec { keep, sessions, ..spec(&name) }, true).await.unwrap();
        let listens = |tunnel: &Tunnel| !tunnel.status.listening.is_empty();
        ports.push(wait_until(&setup.handle, &name, listens).await.status.listening[0].port().unwrap());
    }
    ports
}

/// Waits until bytes come through a tunnel.
async fn works(network: &MemoryNetwork, port: u16) {
    loop {
        if let Some(client) = network.connect(port).await
            && let End::Right = exchange(client, b"are you there?").await
        {
            return;
        }
        pass(Duration::from_millis(100)).await;
    }
}

async fn chaos(seed: u64) -> (Duration, Arc<Run>) {
    let setup = Setup::new().await;
    let ports = tunnels(&setup).await;
    let (run, network) = (Arc::new(Run::default()), Arc::clone(&setup.world.network));
    let workers =
        ports.iter().zip(1..).map(|(port, stream)| run.talk(&network, *port, Dice::new(seed, stream)));
    let faults = Faults {
        setup,
        run: Arc::clone(&run),
        dice: Dice::new(seed, 0),
        round: Vec::new(),
        outages: Vec::new(),
        seen: BTreeSet::new(),
        end: Instant::now() + LENGTH,
    };
    let healing = async {
        let setup = faults.play().await;
        renew_credentials(&setup).await;
        let start = Instant::now();
        let works = join_all(ports.iter().map(|port| timeout(HEALED, works(&network, *port)))).await;
        let took = start.elapsed();
        for (number, works) in works.iter().enumerate() {
            let tunnel = setup.handle.get(&format!("t-{number}")).unwrap();
            let fine = matches!(tunnel.status.state, TunnelState::Up | TunnelState::Idle);
            assert!(works.is_ok() && fine, "seed {seed}, {took:?} after the last fault: {tunnel:?}");
        }
        run.over.store(true, Ordering::Relaxed);
        (setup, took)
    };
    let ((setup, took), _) = tokio::join!(healing, join_all(workers));
    let (cloud, store) = (Arc::clone(&setup.cloud), Arc::clone(&setup.world.store));
    setup.shutdown().await;
    assert_eq!((cloud.open_sessions(), store.state().open_sessions.len()), (0, 0), "a session is left");
    (took, run)
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_all_tunnels_work_half_a_minute_later() {
    let (mut slowest, mut done, mut failed) = (Duration::ZERO, 0, 0);
    for seed in 1..=SEEDS {
        let (took, run) = chaos(seed).await;
        slowest = slowest.max(took);
        done += run.done.load(Ordering::Relaxed);
        failed += run.failed.load(Ordering::Relaxed);
    }
    assert!(done > 1000 && failed > 0, "{done} connections, {failed} failed: nothing was shown");
    println!(
        "promise chaos.virtual: {SEEDS} runs of {TUNNELS} tunnels and {} virtual minutes: all work {:.1} s after the last fault at most; {done} \
         connections, every byte right; {failed} failed visibly; no session left",
        LENGTH.as_secs() / 60,
        slowest.as_secs_f64()
    );
}
