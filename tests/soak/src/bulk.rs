//! Bulk both ways over a bad line, with the WebSocket dropped again and again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Direction, Emulator, Injection, LineFaults};
use futures_util::future::try_join_all;
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::scene::Scene;
use tokio::time::{Instant, timeout};

use crate::figures::{mebibytes, must_have_happened};
use crate::footprint::Footprint;
use crate::job::Job;
use crate::plan::Plan;
use crate::remote::Remote;

/// Connections that share one half of the transfer.
const CONNECTIONS: u64 = 4;

/// How much, and what happens meanwhile.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    /// Bytes each way, over all connections.
    bytes: u64,
    drop_every: Duration,
    /// Longest time for one half of it.
    deadline: Duration,
    /// What the daemon may hold after the second half beside what it held after the first. A session keeps up to 64 MiB for
    /// its readers, and the allocator gives nothing back: what it holds is the most that it ever needed.
    memory_slack: u64,
}

/// An agent without brakes: 1 GiB each way.
pub(crate) async fn without_brakes(plan: Plan) -> Result<String> {
    let transfer = Transfer {
        bytes: plan.size(64 << 20, 1 << 30),
        drop_every: plan.size(Duration::from_secs(2), Duration::from_secs(5)),
        deadline: plan.size(Duration::from_secs(120), Duration::from_secs(1800)),
        memory_slack: plan.size(64 << 20, 32 << 20),
    };
    run(plan, AgentHabits::unpaced(), transfer).await
}

/// The real agent's habits: 16 MiB each way. It sends a message per millisecond and makes good one lost message or lost
/// acknowledgement per 100 ms, so that 2 % of 16 384 messages take it half a minute beside the transfer itself.
pub(crate) async fn with_habits(plan: Plan) -> Result<String> {
    let transfer = Transfer {
        bytes: plan.size(2 << 20, 16 << 20),
        drop_every: plan.size(Duration::from_secs(2), Duration::from_secs(5)),
        deadline: plan.size(Duration::from_secs(120), Duration::from_secs(900)),
        memory_slack: 8 << 20,
    };
    run(plan, AgentHabits::default(), transfer).await
}

async fn run(plan: Plan, habits: AgentHabits, transfer: Transfer) -> Result<String> {
    let remote = Remote::start().await?;
    let config = Config { habits, tls: true, ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, remote.address()).await?;
    let pid = scene.daemon_pid().await?;
    order_faults(scene.emulator(), plan.seed, transfer.drop_every)?;

    let start = Instant::now();
    let numbers = plan.job_numbers();
    exchange(&scene, (port, &remote), transfer, numbers).await.context("first half")?;
    let half_way = Footprint::of(pid)?;
    exchange(&scene, (port, &remote), transfer, numbers + CONNECTIONS).await.context("second half")?;
    let took = start.elapsed().as_secs_f64();

    let after = half_way.regained(pid, transfer.memory_slack, DEADLINE).await?;
    let counters = scene.emulator().counters();
    let faults = [
        Counter::InjectedClientDrops,
        Counter::InjectedLost,
        Counter::InjectedDuplicated,
        Counter::InjectedReordered,
    ];
    let [drops, lost, doubled, late] = must_have_happened(counters, faults)?;
    ensure!(counters.value(Counter::SessionsStarted) == 1, "a session was lost");
    let open = scene.tunnel("db").await?["status"]["connections"].as_u64();
    ensure!(open == Some(0), "connections that are over still count: {open:?}");
    Ok(format!(
        "{} each way in {took:.0} s over twice {CONNECTIONS} connections, every byte right; {drops} drops, {lost} messages lost, {doubled} \
         doubled, {late} late; the daemon held {half_way} half-way and {after} at the end",
        mebibytes(transfer.bytes),
    ))
}

fn order_faults(emulator: &Emulator, seed: u64, drop_every: Duration) -> Result<()> {
    for direction in [Direction::ToAgent, Direction::ToClient] {
        let faults = LineFaults {
            loss: 0.01,
            duplicate: 0.01,
            reorder: 0.05,
            reorder_ms: 5,
            seed,
            ..LineFaults::default()
        };
        emulator.inject(Injection::Line { direction, faults });
    }
    let every_ms = u64::try_from(drop_every.as_millis())?;
    emulator.inject(Injection::DropClientEvery { every_ms, times: u32::MAX });
    Ok(())
}

/// Half a transfer over new connections, all at once.
async fn exchange(
    scene: &Scene,
    (port, remote): (u16, &Remote),
    transfer: Transfer,
    first: u64,
) -> Result<()> {
    let share = transfer.bytes / 2 / CONNECTIONS;
    let jobs = (first..first + CONNECTIONS).map(|number| Job::new(number, share, share).run(port, remote));
    let done = timeout(transfer.deadline, try_join_all(jobs)).await;
    let counters = scene.emulator().counters();
    done.with_context(|| format!("no end within {:?}: {:?}", transfer.deadline, counters.snapshot()))??;
    Ok(())
}
