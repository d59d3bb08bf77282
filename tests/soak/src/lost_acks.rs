//! Acknowledgements that are lost: the official client stalls for ever when one of its own and one more message are
//! lost.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Direction, FrameKind, Injection};
use stormtunnel_e2e::scene::Scene;
use tokio::time::{Instant, timeout};

use crate::job::Job;
use crate::plan::Plan;
use crate::remote::Remote;

/// What is lost, per round.
const LOSSES: [&[(Direction, FrameKind)]; 4] = [
    &[(Direction::ToAgent, FrameKind::Ack)],
    &[(Direction::ToClient, FrameKind::Ack)],
    &[(Direction::ToAgent, FrameKind::Ack), (Direction::ToClient, FrameKind::Ack)],
    &[
        (Direction::ToAgent, FrameKind::Ack),
        (Direction::ToClient, FrameKind::Data),
        (Direction::ToClient, FrameKind::Ack),
        (Direction::ToAgent, FrameKind::Data),
    ],
];
/// Bytes each way per round.
const BYTES: u64 = 100_000;
/// One round: the agent makes good at most ten losses per second.
const DEADLINE: Duration = Duration::from_secs(60);

/// Rounds against the real agent's habits and against an agent without brakes.
pub(crate) async fn run(plan: Plan) -> Result<String> {
    let (rounds, count) = (plan.size(2, 40), 4);
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    for habits in [AgentHabits::default(), AgentHabits { message_bytes: 1024, ..AgentHabits::unpaced() }] {
        let remote = Remote::start().await?;
        let (scene, port) =
            Scene::with_tunnel(Config { habits, ..Config::default() }, remote.address()).await?;
        let counters = scene.emulator().counters();
        let losses = (0..rounds).flat_map(|_| LOSSES);
        for (number, losses) in (plan.job_numbers()..).zip(losses) {
            let before = counters.value(Counter::InjectedLost);
            for (direction, frame) in losses {
                let (direction, frame) = (*direction, *frame);
                scene.emulator().inject(Injection::LoseNext { direction, frame, count });
            }
            let start = Instant::now();
            let job = timeout(DEADLINE, Job::new(number, BYTES, BYTES).run(port, &remote)).await;
            job.with_context(|| format!("stalled after {losses:?} was lost: {:?}", counters.snapshot()))??;
            slowest = slowest.max(start.elapsed());
            let ordered = u64::from(count) * losses.len() as u64;
            // The last acknowledgement leaves after the last byte has arrived.
            let all_lost = counters.wait_at_least(Counter::InjectedLost, before + ordered, DEADLINE).await;
            all_lost.with_context(|| format!("not all losses happened in a round of {losses:?}"))?;
            lost += ordered;
        }
        ensure!(counters.value(Counter::SessionsStarted) == 1, "a session was lost");
    }
    Ok(format!(
        "{lost} acknowledgements and messages lost, both ways: no connection stalled, the slowest transfer of 100 kB each way took {:.1} s",
        slowest.as_secs_f64(),
    ))
}
