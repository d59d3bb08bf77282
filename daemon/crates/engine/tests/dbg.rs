use std::time::Duration;
use futures_util::StreamExt as _;
use stormtunnel_engine::testing::{World, spec};
use stormtunnel_engine::Engine;
#[tokio::test(start_paused = true)]
async fn dbg() {
    let world = World::default();
    let (engine, handle) = Engine::start(world.ports(), world.settings.subscribe()).await.unwrap();
    handle.create(None, spec("db"), true).await.unwrap();
    let far = world.dialer.dialled().await;
    eprintln!("dialled");
    let mut watcher = handle.watch(None, Vec::new());
    let r = handle.delete(vec!["db".into()]).await;
    eprintln!("{r:?}");
    for _ in 0..5 { eprintln!("{:?}", tokio::time::timeout(Duration::from_secs(30), watcher.next()).await); }
    drop(far);
    engine.shutdown(Duration::from_secs(5)).await;
}
