//! Local applications that do not read: one among busy ones, and one alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aws_emulator::{AgentHabits, Config, Counter, Counters};
use stormtunnel_e2e::DEADLINE;
use stormtunnel_e2e::scene::Scene;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::figures::mebibytes;
use crate::job::{self, Job, Pace};
use crate::plan::Plan;
use crate::remote::Remote;

/// Connections that work on while one is stuck.
const BUSY: u64 = 20;
/// Bytes each way per connection of a busy worker.
const BUSY_BYTES: u64 = 200_000;
/// The least that the setting takes, in seconds.
const GRACE: &str = "5";
/// More than a session keeps for all its readers.
const ENDLESS: u64 = 1 << 30;

/// One application reads nothing while twenty others work on the same tunnel: they lose nothing, it is reset.
pub(crate) async fn among_others(plan: Plan) -> Result<String> {
    let remote = Arc::new(Remote::start().await?);
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, remote.address()).await?;
    scene.ok(&["settings", "set", "tunnels.stalled_reader_grace", GRACE]).await?;
    scene.ok(&["restart", "db"]).await?;
    let mut watch = scene.watch("db").await?;
    let started = scene.emulator().counters().value(Counter::SessionsStarted);

    let mut stuck = begin(Job::new(plan.job_numbers(), 0, ENDLESS), port).await?;
    let over = Arc::new(AtomicBool::new(false));
    let numbers = Arc::new(AtomicU64::new(plan.job_numbers() + 1));
    let mut busy = JoinSet::new();
    for _ in 0..BUSY {
        let (remote, over, numbers) = (Arc::clone(&remote), Arc::clone(&over), Arc::clone(&numbers));
        busy.spawn(async move {
            let (mut jobs, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let start = Instant::now();
                let job = Job::new(number, BUSY_BYTES, BUSY_BYTES).run(port, &remote);
                timeout(2 * DEADLINE, job).await.context("a busy connection does not end")??;
                longest = longest.max(start.elapsed());
                jobs += 1;
            }
            Ok::<_, anyhow::Error>((jobs, longest))
        });
    }
    let is_reset =
        |tunnel: &serde_json::Value| tunnel["status"]["last_fault"]["kind"] == "local_reader_stalled";
    let reset = tokio::select! {
        reset = watch.until_tunnel(2 * DEADLINE, is_reset) => reset.map(drop),
        Some(ended) = busy.join_next() => ended?.and(Err(anyhow::anyhow!("a busy worker ended early"))),
    };
    reset.context("the stuck connection was not reset")?;
    over.store(true, Ordering::Relaxed);
    let (mut all, mut longest) = (0, Duration::ZERO);
    while let Some(worker) = busy.join_next().await {
        let (jobs, its_longest) = worker??;
        ensure!(jobs > 0, "a worker did nothing while one was stuck");
        (all, longest) = (all + jobs, longest.max(its_longest));
    }
    ends_with_a_reset(&mut stuck).await?;
    ensure!(scene.emulator().counters().value(Counter::SessionsStarted) == started, "the session was lost");
    Ok(format!(
        "1 stuck connection reset and named in a fault, {BUSY} busy workers moved {} each way over {all} connections meanwhile, every byte \
         right, the slowest of them in {:.1} s",
        mebibytes(all * BUSY_BYTES),
        longest.as_secs_f64(),
    ))
}

/// Reads what is left of a connection that was given up.
async fn ends_with_a_reset(stream: &mut TcpStream) -> Result<()> {
    let mut block = vec![0; 64 << 10];
    loop {
        match timeout(DEADLINE, stream.read(&mut block)).await.context("no reset")? {
            Ok(0) => bail!("a connection that was given up ended as if all had been said"),
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// One application, alone on its tunnel, reads nothing for a while and then everything.
pub(crate) async fn alone(plan: Plan) -> Result<String> {
    let bytes = plan.size(64 << 20, 512 << 20);
    let pause = plan.size(Duration::from_secs(10), Duration::from_secs(180));
    let remote = Remote::start().await?;
    let config = Config { habits: AgentHabits::unpaced(), ..Config::default() };
    let (scene, port) = Scene::with_tunnel(config, remote.address()).await?;
    scene.ok(&["settings", "set", "tunnels.stalled_reader_grace", GRACE]).await?;
    scene.ok(&["restart", "db"]).await?;
    let counters = scene.emulator().counters();
    let upgrades = counters.value(Counter::Upgrades);

    let job = Job::new(plan.job_numbers(), 0, bytes);
    let done = remote.expect(job.number);
    let mut stream = begin(job, port).await?;
    counters.wait_at_least(Counter::BytesFromAgent, 1, DEADLINE).await?;
    quiet(counters, Counter::BytesFromAgent, pause).await?;
    let before = counters.value(Counter::BytesFromAgent);
    ensure!(before < bytes, "{before} of {bytes} bytes left the agent: nothing was held back");

    let rest = async {
        job::receive(&mut stream, job.down, Pace::Free).await?;
        stream.shutdown().await?;
        job::end(&mut stream).await
    };
    timeout(4 * DEADLINE, rest).await.context("the rest does not come")??;
    done.await??;
    ensure!(counters.value(Counter::Upgrades) == upgrades, "the pause cost the connection to AWS");
    Ok(format!(
        "{} received in full after a pause of {} s in which the agent was held back at {}, over one connection",
        mebibytes(bytes),
        pause.as_secs(),
        mebibytes(before),
    ))
}

/// Sends a job's header and nothing else.
async fn begin(job: Job, port: u16) -> Result<TcpStream> {
    let mut stream = job::connect(port, Pace::Stuck).await?;
    stream.write_all(&job.header()).await?;
    Ok(stream)
}

/// Waits until a counter has not changed for `time`.
async fn quiet(counters: &Counters, counter: Counter, time: Duration) -> Result<()> {
    let settling = async {
        loop {
            let before = counters.value(counter);
            if counters.wait_at_least(counter, before + 1, time).await.is_err() {
                return;
            }
        }
    };
    timeout(time + 4 * DEADLINE, settling)
        .await
        .context("an application that does not read holds nobody back")
}
