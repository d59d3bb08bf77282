//! Profiles, and the tunnels that they hold up.

use stormtunnel_engine::testing::{World as EngineWorld, spec, wait_until as wait_for_tunnel};
use stormtunnel_engine::{Engine, EngineHandle, Ports};
use stormtunnel_model::{StartOptions, TunnelSpec, TunnelState};

use super::*;

async fn engine(setup: &Setup, world: &EngineWorld) -> (Engine, EngineHandle) {
    let ports = Ports { profiles: setup.profiles.clone(), ..world.ports() };
    Engine::start(ports, world.settings.subscribe()).await.unwrap()
}

/// A tunnel on that profile, which AWS refuses.
async fn held_up(world: &EngineWorld, handle: &EngineHandle, tunnel: &str, profile: &str, kind: FaultKind) {
    world.ssm.fail_next_start(Fault::new(kind, ""));
    let spec = TunnelSpec { profile: Some(name(profile)), ..spec(tunnel) };
    handle.create(None, spec, true).await.unwrap();
    let is_blocked = |state: &TunnelState| matches!(state, TunnelState::Blocked { .. });
    wait_for_tunnel(handle, tunnel, |tunnel| is_blocked(&tunnel.status.state)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_profile_held_up_goes_on_when_it_is_edited_and_nothing_else_notices() {
    let setup = Setup::welcome(World::new(), &[("keys", keys(1)), ("other", keys(1))]);
    let world = EngineWorld::default();
    let (engine, handle) = engine(&setup, &world).await;
    let works = TunnelSpec { profile: Some(name("keys")), ..spec("works") };
    handle.create(None, works, true).await.unwrap();
    let works = wait_for_tunnel(&handle, "works", |tunnel| tunnel.status.session.is_some()).await;
    let invalid = |profile: &str| FaultKind::CredentialsInvalid { profile: profile.to_owned() };
    held_up(&world, &handle, "db", "keys", invalid("keys")).await;
    held_up(&world, &handle, "elsewhere", "other", invalid("other")).await;
    held_up(&world, &handle, "forbidden", "keys", FaultKind::RemoteForbidden { host: "h".to_owned() }).await;

    setup.edit(&[("keys", keys(2)), ("other", keys(1))]);
    wait_for_tunnel(&handle, "db", |tunnel| tunnel.status.session.is_some()).await;
    let state = |name: &str| handle.get(name).unwrap().status.state.label();
    assert_eq!(state("elsewhere"), "Blocked", "another profile");
    assert_eq!(state("forbidden"), "Blocked", "no edit of a profile ends that");
    let after = handle.get("works").unwrap();
    assert_eq!(after.status.session, works.status.session, "what works never notices");

    held_up(&world, &handle, "new", "new", FaultKind::ProfileNotFound { profile: "new".to_owned() }).await;
    setup.edit(&[("keys", keys(2)), ("other", keys(1)), ("new", keys(3))]);
    wait_for_tunnel(&handle, "new", |tunnel| tunnel.status.session.is_some()).await;
    engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn who_starts_a_tunnel_has_its_profile_checked_unless_that_was_a_moment_ago() {
    let setup = Setup::welcome(World::new(), &[("keys", keys(1))]);
    setup.shows(&[("keys", "Connected")]).await;
    let world = EngineWorld::default();
    let (engine, handle) = engine(&setup, &world).await;
    handle.create(None, TunnelSpec { profile: Some(name("keys")), ..spec("db") }, false).await.unwrap();
    let start = async || drop(handle.start(vec!["db".to_owned()], StartOptions::default()).await);
    let asked = setup.identity.asked();
    start().await;
    assert_eq!(setup.identity.asked(), asked, "it was Connected a moment ago");
    setup.settle().await;
    setup.identity.answer(Err(Fault::new(FaultKind::CredentialsInvalid { profile: "keys".to_owned() }, "")));
    start().await;
    setup.shows(&[("keys", "Invalid")]).await;
    engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_setting_held_up_goes_on_when_it_is_corrected_and_nothing_else_notices() {
    let setup = Setup::welcome(World::new(), &[("keys", keys(1))]);
    let world = EngineWorld::default();
    let (engine, handle) = engine(&setup, &world).await;
    let field = |field: &str| FaultKind::InvalidArgument { field: field.to_owned() };
    held_up(&world, &handle, "bundle", "keys", field("network.ca_bundle")).await;
    held_up(&world, &handle, "document", "keys", field("document")).await;
    // A dead proxy: it would try again by itself, later and later.
    for _ in 0..5 {
        world.ssm.fail_next_start(Fault::new(FaultKind::Network, "the proxy does not answer"));
    }
    let asked = world.ssm.started().len() + 5;
    handle.create(None, TunnelSpec { profile: Some(name("keys")), ..spec("proxy") }, true).await.unwrap();
    let waits = |state: &TunnelState| matches!(state, TunnelState::Retrying { .. });
    wait_for_tunnel(&handle, "proxy", |tunnel| {
        waits(&tunnel.status.state) && world.ssm.started().len() == asked
    })
    .await;

    let state = |name: &str| handle.get(name).unwrap().status.state.label();
    let change =
        |change: fn(&mut Settings)| world.settings.send_modify(|settings| change(Arc::make_mut(settings)));
    let before = tokio::time::Instant::now();
    change(|settings| settings.proxy = "http://proxy.example:3128".parse().ok());
    for tunnel in ["bundle", "proxy"] {
        wait_for_tunnel(&handle, tunnel, |tunnel| tunnel.status.session.is_some()).await;
    }
    let took = before.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}: at once, and not when its time comes");
    assert_eq!(state("document"), "Blocked", "no setting ends that");
    engine.shutdown(Duration::from_secs(5)).await;
}
