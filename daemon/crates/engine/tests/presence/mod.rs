//! Sessions that nobody uses, whose agents are looked after.

use std::time::Duration;

use stormtunnel_engine::testing::wait_until;
use stormtunnel_model::FaultKind;
use tokio::time::Instant;

use super::cloud::Setup;
use super::{is_up, up};

const NODE: &str = "i-0abcdef1234567890";
/// The longest time from one look to the next.
const LOOK: Duration = Duration::from_secs(360);

/// In steps in which everybody gets a turn.
async fn pass(span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_went_away_is_noticed_although_nobody_uses_the_session() {
    let setup = Setup::new().await;
    up(&setup.handle, "db").await;
    pass(LOOK).await;
    assert!(is_up(&setup.handle.get("db").unwrap()));
    setup.cloud.mute().await;
    setup.cloud.set_offline(NODE);
    let left = Instant::now();
    let gone = wait_until(&setup.handle, "db", |tunnel| tunnel.status.state.fault().is_some()).await;
    // The next look, then the 30 s in which an agent that AWS has lost may come back.
    assert!(left.elapsed() < LOOK + Duration::from_secs(45), "{:?}", left.elapsed());
    let kind = &gone.status.state.fault().unwrap().kind;
    assert!(matches!(kind, FaultKind::TargetNotConnected { .. }), "{kind:?}");
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_aws_says_alone_ends_nothing() {
    let setup = Setup::new().await;
    up(&setup.handle, "db").await;
    setup.cloud.set_offline(NODE);
    pass(LOOK * 3).await;
    assert!(is_up(&setup.handle.get("db").unwrap()), "the agent answers");
    assert_eq!((setup.cloud.started(), setup.cloud.resumed()), (1, 0));
    assert!(setup.cloud.connection_looks() >= 3);
    setup.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn sessions_through_one_node_share_the_answer_and_a_denied_question_rests() {
    let setup = Setup::new().await;
    for number in 0..10 {
        up(&setup.handle, &format!("t-{number}")).await;
    }
    pass(LOOK).await;
    let looks = setup.cloud.connection_looks();
    assert!((1..=3).contains(&looks), "{looks} looks at one node for ten sessions");
    setup.cloud.deny_looks();
    pass(LOOK).await;
    let denied = setup.cloud.connection_looks();
    pass(LOOK * 5).await;
    assert_eq!(setup.cloud.connection_looks(), denied, "it is not asked again within the hour");
    setup.shutdown().await;
}
