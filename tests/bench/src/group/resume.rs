//! How soon everything flows again: after the data channel was lost, and after messages were.
//!
//! Uploads: the agent hears nothing for a while, so that bytes pile up unacknowledged; then the data channel is reset.
//! Downloads: either the gateway keeps for the absent client what the agent had sent, or it loses it, and the agent
//! sends one message again per 100 ms. Times count from the moment at which the gateway has a data channel again, by
//! its own clock, until a transfer that includes everything outstanding is complete and a further byte was echoed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{AgentHabits, Counter, Direction as Way, FrameKind, Injection, LineFaults};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::Bench;
use crate::clock;
use crate::report::{Nature, Promise, Report, Row};
use crate::scene::{Scene, TUNNEL};
use crate::traffic::Direction::{self, Down, Up};
use crate::traffic::{Connection, Pace};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Turns; the slowest counts.
const TURNS: u32 = 3;
/// The path of uploads, in milliseconds each way: long enough that the default message rate fills the window.
const FAR_ONE_WAY: u64 = 80;
/// Carried before each loss, so that the window is as wide as it gets.
const WARM_UP: u64 = 32 * MIB;
/// The send window's upper bound.
const WINDOW: u64 = 4 * MIB;
/// Uploads under way when the data channel is lost. The last is more than the window takes.
const UPLOADS: [u64; 4] = [64 * KIB, 256 * KIB, MIB, WINDOW + 256 * KIB];
/// A full window, as far as the amount outstanding is known: small messages count like those of the usual size.
const FULL: u64 = WINDOW / 100 * 95;
/// How often the amount outstanding is looked at, and how many equal looks mean that it has stopped growing.
const LOOK: (Duration, u32) = (Duration::from_millis(50), 10);

/// Downloads that the gateway keeps: it keeps 1000 messages of a KiB.
const DOWNLOADS: [u64; 3] = [64 * KIB, 256 * KIB, 896 * KIB];
/// How long the gateway holds messages of downloads, in milliseconds: longer than an agent that makes no pauses needs to
/// send the largest.
const HELD: u64 = 1000;

/// Messages lost in the middle of a download, of how many bytes.
const LOST: (u32, u64) = (50, 8 * MIB);
/// How far the download is when they are.
const BEFORE_LOSS: u64 = 512 * KIB;
/// How often the daemon is asked whom it names as the limit.
const ASK: Duration = Duration::from_millis(250);

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// Promised from the data channel to new data, in milliseconds.
const RESUMED: f64 = 1000.0;
/// Promised from a message that was sent again to its acknowledgement, in milliseconds.
const ACKNOWLEDGED: f64 = 10.0;

/// What one loss came to.
#[derive(Clone, Copy, Debug)]
struct Loss {
    /// Bytes that were outstanding when the data channel was lost.
    outstanding: u64,
    took: Duration,
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let server = bench.server.address();
    let scene = Scene::start(server, AgentHabits::default(), &[]).await?;
    scene.measuring(Box::pin(uploads(&scene, report))).await?;
    drop(scene);
    let eager = AgentHabits { pacing_us: 0, ..AgentHabits::default() };
    let scene = Scene::start(server, eager, &[]).await?;
    scene.measuring(Box::pin(downloads(&scene, report))).await?;
    drop(scene);
    let scene = Scene::start(server, AgentHabits::default(), &[]).await?;
    scene.measuring(Box::pin(lost(&scene, report))).await
}

async fn uploads(scene: &Scene, report: &mut Report) -> Result<()> {
    delay(scene, Way::ToClient, FAR_ONE_WAY).await?;
    delay(scene, Way::ToAgent, FAR_ONE_WAY).await?;
    let mut connection = Connection::open(scene.address()).await?;
    let mut slowest = None;
    for bytes in UPLOADS {
        let loss = slowest_of(async || upload(scene, &mut connection, bytes).await).await?;
        let what = if bytes > WINDOW { "a full window".to_owned() } else { format!("{} KiB", bytes / KIB) };
        rows(&format!("up, {} ms away, {what}", 2 * FAR_ONE_WAY), loss, report)?;
        slowest = Some(loss);
    }
    let loss = slowest.context("nothing was uploaded")?;
    let figure = format!(
        "{} KiB outstanding: all there and new data flows {:.0} ms after the data channel was reopened, {} ms away (limit \
         {RESUMED})",
        loss.outstanding / KIB,
        loss.millis(),
        2 * FAR_ONE_WAY
    );
    let holds = loss.outstanding >= FULL && loss.millis() <= RESUMED;
    report.promise(Promise { id: "fast.resume", nature: Nature::Timed, figure, holds })
}

/// An upload of which the agent hears nothing before the data channel is lost.
async fn upload(scene: &Scene, connection: &mut Connection, bytes: u64) -> Result<Loss> {
    connection.carry(Up, WARM_UP, Pace::FULL).await?;
    let aws = scene.aws();
    let before = Sent::count(scene).await?;
    let channels = aws.count(Counter::ClientsAttached).await?;
    let deaf = LineFaults { loss: 1.0, latency_ms: FAR_ONE_WAY, ..LineFaults::default() };
    aws.inject(&Injection::Line { direction: Way::ToAgent, faults: deaf }).await?;
    let losing = async {
        let outstanding = pile_up(scene, &before, bytes).await?;
        delay(scene, Way::ToAgent, FAR_ONE_WAY).await?;
        aws.inject(&Injection::DropClient { session: None }).await?;
        aws.wait(Counter::ClientsAttached, channels + 1).await?;
        Ok(outstanding)
    };
    let (completed, outstanding) = tokio::try_join!(complete(connection, Up, bytes), losing)?;
    Loss::new(scene, outstanding, completed).await
}

/// Waits until that many bytes are outstanding, or as many as the window takes; answers how many are.
async fn pile_up(scene: &Scene, before: &Sent, bytes: u64) -> Result<u64> {
    let (pause, enough) = LOOK;
    let mut looks = interval(pause);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let piling = async {
        let (mut last, mut equal) = (0, 0);
        while last < bytes && equal < enough {
            looks.tick().await;
            let outstanding = Sent::count(scene).await?.since(before);
            equal = if outstanding > 0 && outstanding == last { equal + 1 } else { 0 };
            last = outstanding;
        }
        Ok(last)
    };
    timeout(DEADLINE, piling).await.context("the amount outstanding never settles")?
}

/// What the client sent so far.
struct Sent {
    messages: u64,
    repeated: u64,
    bytes: u64,
}

impl Sent {
    async fn count(scene: &Scene) -> Result<Self> {
        let counters = [Counter::DataFromClient, Counter::RepeatedFromClient, Counter::BytesFromClient];
        let [messages, repeated, bytes] = scene.aws().counts(counters).await?;
        Ok(Self { messages, repeated, bytes })
    }

    /// Bytes sent since then, without those of repetitions: nearly all messages of a bulk transfer have the same size.
    fn since(&self, before: &Self) -> u64 {
        let (messages, repeated) = (self.messages - before.messages, self.repeated - before.repeated);
        let bytes = self.bytes - before.bytes;
        bytes.checked_div(messages).map_or(0, |each| each * (messages - repeated))
    }
}

async fn downloads(scene: &Scene, report: &mut Report) -> Result<()> {
    let mut connection = Connection::open(scene.address()).await?;
    connection.echoes(1).await?;
    let mut slowest = None;
    for bytes in DOWNLOADS {
        let loss = slowest_of(async || download(scene, &mut connection, bytes).await).await?;
        rows(&format!("down, kept by the gateway, {} KiB", bytes / KIB), loss, report)?;
        slowest = Some(loss);
    }
    let loss = slowest.context("nothing was downloaded")?;
    let figure = format!(
        "{} KiB kept by the gateway: all there and new data flows {:.0} ms after the data channel was reopened (limit \
         {RESUMED})",
        loss.outstanding / KIB,
        loss.millis()
    );
    let holds = loss.millis() <= RESUMED;
    report.promise(Promise { id: "fast.resume-down", nature: Nature::Timed, figure, holds })
}

/// A download that the agent has sent, and of which the client has nothing yet when it is cut off. The gateway keeps
/// it.
async fn download(scene: &Scene, connection: &mut Connection, bytes: u64) -> Result<Loss> {
    let aws = scene.aws();
    let counters = [Counter::BytesFromAgent, Counter::FramesBuffered, Counter::ClientsAttached];
    let [sent, kept, channels] = aws.counts(counters).await?;
    delay(scene, Way::ToClient, HELD).await?;
    let losing = async {
        aws.wait(Counter::BytesFromAgent, sent + bytes).await?;
        aws.inject(&Injection::GatewayDown { on: true }).await?;
        aws.wait(Counter::FramesBuffered, kept + bytes / KIB).await?;
        delay(scene, Way::ToClient, 0).await?;
        aws.inject(&Injection::GatewayDown { on: false }).await?;
        aws.wait(Counter::ClientsAttached, channels + 1).await
    };
    let (completed, ()) = tokio::try_join!(complete(connection, Down, bytes), losing)?;
    ensure!(aws.count(Counter::FramesOverflowed).await? == 0, "the gateway did not keep everything");
    Loss::new(scene, bytes, completed).await
}

/// A burst of lost messages, which the agent sends again at its own pace.
async fn lost(scene: &Scene, report: &mut Report) -> Result<()> {
    let (count, bytes) = LOST;
    let aws = scene.aws();
    let mut connection = Connection::open(scene.address()).await?;
    connection.echoes(1).await?;
    let losing = async {
        aws.wait(Counter::BytesFromAgent, BEFORE_LOSS).await?;
        let burst = Injection::LoseNext { direction: Way::ToClient, frame: FrameKind::Data, count };
        aws.inject(&burst).await?;
        aws.wait(Counter::InjectedLost, count.into()).await?;
        let since = clock::since_epoch();
        let named = name_of_limit(scene).await?;
        aws.wait(Counter::RepeatedFromAgent, count.into()).await?;
        Ok((named, clock::since_epoch().saturating_sub(since)))
    };
    let (_, (named, repaired)) = tokio::try_join!(complete(&mut connection, Down, bytes), losing)?;
    let acknowledged = aws.of_session("repeats_acknowledged").await?;
    let slowest = Duration::from_micros(aws.of_session("slowest_repeat_us").await?).as_secs_f64() * 1e3;
    report.row(Row::alone(
        format!("down, {count} messages lost: until all came again"),
        "s",
        repaired.as_secs_f64(),
    ))?;
    let name = format!("down, {count} messages lost: slowest acknowledgement of one");
    report.row(Row::alone(name, "ms", slowest))?;
    let figure = format!(
        "{acknowledged} messages that the agent sent again, one per 100 ms, acknowledged within {slowest:.1} ms (limit \
         {ACKNOWLEDGED}); \"{named}\""
    );
    let holds = slowest <= ACKNOWLEDGED && acknowledged >= count.into();
    report.promise(Promise { id: "fast.resume-lost", nature: Nature::Timed, figure, holds })
}

/// Waits until the tunnel names the agent as what holds it up; answers what a person is told.
async fn name_of_limit(scene: &Scene) -> Result<String> {
    let mut looks = interval(ASK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let naming = async {
        while scene.show().await?["status"]["limit"]["kind"] != "agent_resend" {
            looks.tick().await;
        }
        scene.place().stctl_ok(&["status", TUNNEL]).await
    };
    let status = timeout(DEADLINE, naming).await.context("nobody is named as the limit")??;
    let limit = status.lines().find_map(|line| line.trim().strip_prefix("limit "));
    Ok(limit.with_context(|| format!("status names no limit:\n{status}"))?.trim().to_owned())
}

/// Carries that many bytes and one echo behind them; answers when it was done, since 1970.
async fn complete(connection: &mut Connection, direction: Direction, bytes: u64) -> Result<Duration> {
    let completing = async {
        connection.carry(direction, bytes, Pace::FULL).await?;
        connection.echoes(1).await?;
        Ok(clock::since_epoch())
    };
    timeout(DEADLINE, completing).await.with_context(|| format!("{bytes} bytes {direction:?} stand still"))?
}

impl Loss {
    /// A transfer was complete at that time since 1970.
    async fn new(scene: &Scene, outstanding: u64, completed: Duration) -> Result<Self> {
        let attached = Duration::from_millis(scene.aws().of_session("attached_at_ms").await?);
        ensure!(attached <= completed, "it was complete before the data channel was reopened");
        Ok(Self { outstanding, took: completed - attached })
    }

    fn millis(&self) -> f64 {
        self.took.as_secs_f64() * 1e3
    }
}

/// The slowest of some losses.
async fn slowest_of(mut once: impl AsyncFnMut() -> Result<Loss>) -> Result<Loss> {
    let mut slowest = once().await?;
    for _ in 1..TURNS {
        let loss = once().await?;
        if loss.took > slowest.took {
            slowest = loss;
        }
    }
    Ok(slowest)
}

/// Lets messages of one direction take that long, and none get lost.
async fn delay(scene: &Scene, direction: Way, latency_ms: u64) -> Result<()> {
    let faults = LineFaults { latency_ms, ..LineFaults::default() };
    scene.aws().inject(&Injection::Line { direction, faults }).await
}

fn rows(name: &str, loss: Loss, report: &mut Report) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a few million")]
    let outstanding = loss.outstanding as f64 / KIB as f64;
    report.row(Row::alone(format!("{name}: outstanding"), "KiB", outstanding))?;
    report.row(Row::alone(format!("{name}: until new data flows"), "ms", loss.millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_twice_is_outstanding_once() {
        let before = Sent { messages: 10, repeated: 1, bytes: 10_000 };
        let now = Sent { messages: 16, repeated: 3, bytes: 16_000 };
        assert_eq!(now.since(&before), 4_000);
        assert_eq!(before.since(&before), 0);
    }
}
