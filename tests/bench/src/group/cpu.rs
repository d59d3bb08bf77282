//! CPU seconds of the daemon per 100 MB, over one connection.
//!
//! The counterparts are the plain relay and the near half of the TLS relay: processes that stand where the daemon
//! stands. CPU time includes what the kernel does for the process, its TCP stack included.

use anyhow::Result;
use aws_emulator::{AgentHabits, Counter};

use crate::Bench;
use crate::load::{self, Load, Took};
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::{LIFTED, Scene, unpaced};
use crate::traffic::Direction::{self, Down, Up};
use crate::traffic::Pace;

const MIB: u64 = 1 << 20;

/// One way of using a tunnel.
struct Case {
    name: &'static str,
    direction: Direction,
    habits: AgentHabits,
    settings: &'static [(&'static str, &'static str)],
    bytes: u64,
    warm_up: u64,
    /// How fast the relays are fed: as fast as they take it, or where the tunnel is held to a pace, at that pace.
    relay_pace: Pace,
    /// Id and limit in CPU seconds per 100 MB.
    promise: Option<(&'static str, f64)>,
}

impl Case {
    fn down(name: &'static str, message_bytes: usize) -> Self {
        Self {
            name,
            direction: Down,
            habits: unpaced(message_bytes),
            settings: &[],
            bytes: 256 * MIB,
            warm_up: 16 * MIB,
            relay_pace: Pace::FULL,
            promise: None,
        }
    }

    fn up(name: &'static str, settings: &'static [(&'static str, &'static str)]) -> Self {
        // The warm-up uses the first 900 messages up, which are not held to the rate.
        Self { direction: Up, settings, ..Self::down(name, 1024) }
    }
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for case in cases() {
        measure(&case, bench, report).await?;
    }
    Ok(())
}

fn cases() -> [Case; 7] {
    [
        Case {
            promise: Some(("fast.cpu-down", 1.5)),
            ..Case::down("down, 1 KiB messages, pacing off", 1024)
        },
        Case::down("down, 32 KiB messages, pacing off", 32 << 10),
        Case {
            habits: AgentHabits::default(),
            bytes: 24 * MIB,
            warm_up: MIB,
            relay_pace: Pace { chunk: 1024, per_second: 1000 },
            promise: Some(("fast.cpu-down-paced", 4.0)),
            ..Case::down("down, 1 KiB messages, pacing on", 1024)
        },
        Case {
            bytes: 128 * MIB,
            relay_pace: Pace { chunk: 16 << 10, per_second: 900 },
            promise: Some(("fast.cpu-up", 0.4)),
            ..Case::up("up, 16 KiB payloads, default rate", &[])
        },
        Case::up("up, 16 KiB payloads, no rate limit", &[("tunnels.message_rate", "0")]),
        Case::up("up, 32 KiB payloads, no rate limit", LIFTED),
        Case::up(
            "up, 1 KiB payloads, no rate limit",
            &[("tunnels.message_rate", "0"), ("tunnels.payload_bytes", "1024")],
        ),
    ]
}

async fn measure(case: &Case, bench: &Bench, report: &mut Report) -> Result<()> {
    let &Case { name, direction, bytes, warm_up, relay_pace, promise, .. } = case;
    let load = Load { direction, connections: 1, bytes, warm_up, pace: Pace::FULL };
    let scene = Scene::start(bench.server.address(), case.habits.clone(), case.settings).await?;
    let before = Messages::count(&scene, direction).await?;
    let processes = [scene.daemon()?, scene.aws().process()?];
    let tunnel = scene.measuring(load::carry(load, scene.address(), &processes)).await?;
    let messages = Messages::count(&scene, direction).await?.since(&before);
    drop(scene);

    let load = Load { pace: relay_pace, ..load };
    let relays = &bench.relays;
    let plain = load::carry(load, relays.plain.address(), &[relays.plain.process()?]).await?;
    let tls = load::carry(load, relays.near.address(), &[relays.near.process()?]).await?;

    let beside = |what: &str, unit, figure: fn(&Took) -> f64| {
        Row::beside(format!("{name}{what}"), unit, [&tunnel, &plain, &tls].map(figure))
    };
    let alone = |what: &str, unit, figure| Row::alone(format!("{name}{what}"), unit, figure);
    let cpu = "CPU s / 100 MB";
    report.row(beside("", cpu, |took| took.cpu_per_100_megabytes(0)))?;
    report.row(alone(": the emulator's own", cpu, tunnel.cpu_per_100_megabytes(1)))?;
    report.row(beside(": wake-ups", "per MB", Took::wake_ups_per_megabyte))?;
    report.row(alone(": acknowledgements", "per message", messages.acks_per_message()))?;
    report.row(alone(": sent again", "% of messages", messages.repeated_percent()))?;
    if let Some((id, limit)) = promise {
        let figure = tunnel.cpu_per_100_megabytes(0);
        let text = format!("{figure:.2} CPU s per 100 MB (limit {limit})");
        report.promise(Promise { id, nature: Nature::Counted, figure: text, holds: figure <= limit })?;
    }
    Ok(())
}

/// What crossed the gateway, warm-up included.
struct Messages {
    data: u64,
    repeated: u64,
    acks: u64,
}

impl Messages {
    async fn count(scene: &Scene, direction: Direction) -> Result<Self> {
        let [data, repeated, acks] = match direction {
            Down => [Counter::DataFromAgent, Counter::RepeatedFromAgent, Counter::AcksFromClient],
            Up => [Counter::DataFromClient, Counter::RepeatedFromClient, Counter::AcksFromAgent],
        };
        let aws = scene.aws();
        Ok(Self {
            data: aws.count(data).await?,
            repeated: aws.count(repeated).await?,
            acks: aws.count(acks).await?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            data: self.data - before.data,
            repeated: self.repeated - before.repeated,
            acks: self.acks - before.acks,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn acks_per_message(&self) -> f64 {
        self.acks as f64 / self.data as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn repeated_percent(&self) -> f64 {
        self.repeated as f64 / self.data as f64 * 100.0
    }
}
