//! An upload through one loss of the connection after the other. The official client's never goes on after the first.

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Injection};
use stormtunnel_e2e::bulk::{Bulk, Source};
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::{DEADLINE, local};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::job;
use crate::plan::Plan;

/// Bytes that must arrive after each loss: more than all buffers on the way hold.
const PER_ROUND: u64 = 8 << 20;

/// One upload; the connection under it is lost again and again, in every way.
pub(crate) async fn run(plan: Plan) -> Result<String> {
    let losses: usize = plan.size(8, 60);
    let bulk = Bulk { seed: plan.seed, length: PER_ROUND * (losses as u64 + 1) };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, listener.local_addr()?).await?;
    let counters = scene.emulator().counters();

    let uploading = async {
        let mut stream = local::connect(port, DEADLINE).await?;
        job::send(&mut stream, bulk).await?;
        Ok(stream)
    };
    let arriving = async {
        let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.context("nobody connects")??;
        let mut source = Source::new(bulk.seed);
        let (mut block, mut expected) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        for round in 0..=losses {
            let mut rest = PER_ROUND as usize;
            while rest > 0 {
                let most = rest.min(block.len());
                let read = timeout(2 * DEADLINE, stream.read(&mut block[..most])).await;
                let read = read.with_context(|| {
                    format!("the upload stands still after loss {round}: {:?}", counters.snapshot())
                })??;
                ensure!(read > 0, "the upload ends after loss {round}");
                source.fill(&mut expected[..read]);
                ensure!(block[..read] == expected[..read], "wrong bytes after loss {round}");
                rest -= read;
            }
            if round < losses {
                scene.emulator().inject(loss(round));
            }
        }
        Ok(())
    };
    let (_open, ()) = tokio::try_join!(uploading, arriving)?;
    let [drops, closes, oversize, cuts] = [
        Counter::InjectedClientDrops,
        Counter::InjectedCloses,
        Counter::InjectedOversizeCloses,
        Counter::InjectedAgentDrops,
    ]
    .map(|counter| counters.value(counter));
    ensure!(
        drops + closes + oversize + cuts == losses as u64,
        "not every loss happened: {:?}",
        counters.snapshot()
    );
    ensure!(counters.value(Counter::SessionsStarted) == 1, "a session was lost");
    Ok(format!(
        "{losses} losses in one upload of {} MiB ({drops} drops, {closes} closes, {oversize} oversize closes, {cuts} agents cut): it went on \
         after each, every byte right",
        bulk.length >> 20,
    ))
}

fn loss(round: usize) -> Injection {
    match round % 4 {
        0 => Injection::DropClient { session: None },
        1 => Injection::CloseClient { session: None, code: 1000, reason: "Bye".to_owned() },
        2 => Injection::OversizeClose { session: None, bytes: 300 },
        _ => Injection::DropAgent { session: None },
    }
}
