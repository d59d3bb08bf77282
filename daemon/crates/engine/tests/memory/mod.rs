//! What the engine holds for local applications that do not read.

use std::time::Duration;

use bytes::Bytes;
use stormtunnel_engine::testing::{MemoryClient, PATIENCE, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::cloud::{Remote, Setup};
use crate::{read_to_end, up};

/// Bound on what all sessions hold.
const BUDGET: usize = 4 << 20;
/// What lies elsewhere for each connection: in its local socket, on its channel, in the receiving batch.
const ELSEWHERE: usize = 256 << 10;
const REQUEST: &[u8] = b"everything";

/// A connection that has asked for the answer.
async fn ask(setup: &Setup, port: u16) -> MemoryClient {
    let mut client = setup.world.network.connect(port).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    client
}

async fn read_answer(client: &mut MemoryClient, answer: &[u8]) {
    let data = read_to_end(client).await.unwrap();
    assert!(data == answer, "{} of {} bytes, or others", data.len(), answer.len());
}

/// In steps of the agent's pace.
async fn pass(seconds: u64) {
    for _ in 0..seconds * 1000 {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn sleeping_applications_share_the_budget_and_get_every_byte_later() {
    let setup = Setup::within(BUDGET, World::default()).await;
    let answer =
        Bytes::from((0..3_000_000u32).map(|at| (at.wrapping_mul(40_503) >> 12) as u8).collect::<Vec<_>>());
    setup.cloud.set_remote(Remote::Answers(REQUEST.len(), answer.clone()));
    let mut sleepers = Vec::new();
    for name in ["one", "two", "three"] {
        let port = up(&setup.handle, name).await;
        sleepers.push(ask(&setup, port).await);
    }
    setup.cloud.set_remote(Remote::Echo);
    let port = up(&setup.handle, "small").await;
    pass(10).await;
    let delivered = setup.cloud.delivered();
    // Headers of 120 bytes for each 1024.
    let held = delivered / 1144 * 1024;
    assert!(held <= BUDGET + 3 * ELSEWHERE, "{held} bytes");
    assert!(held >= BUDGET * 3 / 4, "they share nearly all of it: {held} bytes");
    pass(10).await;
    assert_eq!(setup.cloud.delivered(), delivered, "nothing moves any more");

    let mut client = setup.world.network.connect(port).await.unwrap();
    let begin = Instant::now();
    for _ in 0..100 {
        client.write_all(b"a small session").await.unwrap();
        let mut back = [0; 15];
        timeout(PATIENCE, client.read_exact(&mut back)).await.expect("an echo").unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "it does not notice: {:?}", begin.elapsed());

    for client in &mut sleepers {
        read_answer(client, &answer).await;
    }
    setup.shutdown().await;
}

/// Whoever stopped reading for the others' sake is woken by the others, and by nobody else.
#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_the_budget_goes_on_when_another_ends() {
    let setup = Setup::within(BUDGET, World::default()).await;
    let answer = Bytes::from(vec![7; 3_000_000]);
    setup.cloud.set_remote(Remote::Answers(REQUEST.len(), answer));
    let (first, second) = (up(&setup.handle, "first").await, up(&setup.handle, "second").await);
    let sleeper = ask(&setup, first).await;
    pass(10).await;
    let _waits = ask(&setup, second).await;
    pass(10).await;
    let delivered = setup.cloud.delivered();
    pass(10).await;
    assert_eq!(setup.cloud.delivered(), delivered);
    drop(sleeper);
    // Much less than the 20 s after which the next ping would wake it in any case.
    pass(2).await;
    let more = setup.cloud.delivered() - delivered;
    assert!(more > BUDGET / 8, "{more} bytes since the other session let go");
    setup.shutdown().await;
}
