//! What a person is told of sign-ins and of the tunnels that live on them.

use stormtunnel_engine::notifications::{self, NotificationKind};
use stormtunnel_engine::testing::MemoryNotifier;
use stormtunnel_model::settings::{Setting, Settings};

use super::*;

fn start(setup: &Setup, handle: &EngineHandle, engine: &EngineWorld) -> Arc<MemoryNotifier> {
    let notifier = Arc::new(MemoryNotifier::default());
    let clock = Arc::clone(&setup.world.clock);
    let (settings, shows) = (engine.settings.subscribe(), Arc::clone(&notifier));
    notifications::start(handle.clone(), settings, shows, clock, &setup.world.tasks).unwrap();
    notifier
}

/// In steps in which everybody gets a turn.
async fn pass(span: Duration) {
    let end = tokio::time::Instant::now() + span;
    while tokio::time::Instant::now() < end {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

async fn block_all(handle: &EngineHandle, count: usize) {
    for number in 0..count {
        let spec = on_profile(&format!("t{number}"), &format!("corp-{}", number % 10));
        handle.create(None, spec, true).await.unwrap();
    }
    for number in 0..count {
        let name = format!("t{number}");
        wait_for_tunnel(handle, &name, |tunnel| is_blocked_by(&tunnel.status.state, "corp")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_login_is_one_notification_for_all_tunnels() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.end_session();
    let setup = Setup::of(world, &["corp"]);
    let engine_world = EngineWorld::default();
    let (engine, handle) = setup.engine(&engine_world).await;
    block_all(&handle, 100).await;
    // It finds what happened before it began.
    let notifier = start(&setup, &handle, &engine_world);
    let shown = notifier.wait_for(1).await;
    assert!(shown[0].body.starts_with("100 tunnels wait for a login to corp"), "{shown:?}");
    pass(MINUTE * 60).await;
    handle.create(None, on_profile("later", "corp-1"), true).await.unwrap();
    wait_for_tunnel(&handle, "later", |tunnel| is_blocked_by(&tunnel.status.state, "corp")).await;
    handle
        .create(None, TunnelSpec { local: "7".parse().unwrap(), ..on_profile("taken", "corp-1") }, false)
        .await
        .unwrap();
    engine_world.network.occupy(7, "postgres");
    handle.start(vec!["taken".to_owned()], Default::default()).await;
    let shown = notifier.wait_for(2).await;
    let kinds: Vec<NotificationKind> = shown.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [NotificationKind::SignInNeeded, NotificationKind::TunnelsBlocked], "{shown:?}");
    assert!(shown[1].title.contains("taken"), "{shown:?}");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_is_in_the_events_alone() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.end_session();
    let setup = Setup::of(world, &["corp"]);
    let engine_world = EngineWorld::default();
    let switch = |key: &str, value: &str| {
        let mut settings = Settings::clone(&engine_world.settings.borrow());
        Setting::by_key(key).unwrap().assign(&mut settings, value).unwrap();
        engine_world.settings.send_replace(Arc::new(settings));
    };
    switch("notifications.sign_in", "false");
    let (engine, handle) = setup.engine(&engine_world).await;
    let notifier = start(&setup, &handle, &engine_world);
    block_all(&handle, 1).await;
    pass(MINUTE).await;
    assert_eq!(notifier.shown(), []);
    assert_eq!(told(&handle).await.len(), 1);
    switch("notifications.sign_in", "true");
    pass(MINUTE).await;
    assert_eq!(notifier.shown(), [], "it is not told later either");
    engine.shutdown(BOUND).await;
}
