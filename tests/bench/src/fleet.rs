//! Many tunnels of one daemon, all up.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::Counter;
use serde_json::Value;
use stormtunnel_harness::Place;
use tokio::time::Instant;

use crate::scene::{self, HOST, INSTANCE, PORT, Scene, TUNNEL, unpaced};

/// Tunnels that one `stctl` waits for: at five sessions a second, well within its deadline.
const WAITED_FOR: usize = 100;

/// A daemon with many tunnels, and the AWS of it. Dropped, all are gone.
pub(crate) struct Fleet {
    scene: Scene,
    /// From the command to the last tunnel.
    until_up: Duration,
    /// As they were when all had come up.
    tunnels: Vec<Upright>,
    /// Sessions that had ended by then: the one that the scene began with.
    ended: u64,
}

/// A tunnel that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upright {
    name: String,
    session: String,
    address: SocketAddr,
}

impl Fleet {
    /// So many tunnels to `server`, started with one command; all are up when this answers.
    pub(crate) async fn start(server: SocketAddr, count: usize) -> Result<Self> {
        let scene = Scene::start(server, unpaced(1024), &[]).await?;
        let starting = async {
            let place = scene.place();
            add_tunnels(place, count - 1).await?;
            place.stctl_ok(&["down", TUNNEL]).await?;
            let start = Instant::now();
            place.stctl_ok(&["up", "--all", "--no-wait"]).await?;
            for names in names(count).chunks(WAITED_FOR) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                place.stctl_ok(&[&["wait"], names.as_slice()].concat()).await?;
            }
            let until_up = start.elapsed();
            let tunnels = uprights(place).await?;
            ensure!(tunnels.len() == count, "{} of {count} tunnels are there", tunnels.len());
            Ok((until_up, tunnels, scene.aws().count(Counter::SessionsEnded).await?))
        };
        let (until_up, tunnels, ended) = scene.measuring(starting).await?;
        Ok(Self { scene, until_up, tunnels, ended })
    }

    /// What they are measured in.
    pub(crate) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// How long it took until all were up.
    pub(crate) fn until_up(&self) -> Duration {
        self.until_up
    }

    /// Where they listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.tunnels.iter().map(|tunnel| tunnel.address)
    }

    /// Fails unless all are up as they were at first: with the same sessions, over the same data channels.
    pub(crate) async fn check_undisturbed(&self) -> Result<()> {
        let aws = self.scene.aws();
        ensure!(uprights(self.scene.place()).await? == self.tunnels, "a tunnel has another session");
        let counters = [Counter::SessionsEnded, Counter::SessionsOpen, Counter::ClientsAttached];
        let [ended, open, attached] = aws.counts(counters).await?;
        let all = u64::try_from(self.tunnels.len())?;
        ensure!(
            (ended, open, attached) == (self.ended, all, all + self.ended),
            "{ended} sessions have ended, {open} are open, through {attached} data channels"
        );
        Ok(())
    }
}

/// The names of so many tunnels, the one that every scene has among them. In order, which is how they are started.
fn names(count: usize) -> Vec<String> {
    let others = (1..count).map(|number| format!("{TUNNEL}-{number:04}"));
    [TUNNEL.to_owned()].into_iter().chain(others).collect()
}

/// Defines more tunnels beside the one that the scene has. They are stopped.
pub(crate) async fn add_tunnels(place: &Place, more: usize) -> Result<()> {
    let remote = format!("{HOST}:{PORT}");
    for name in names(more + 1).iter().skip(1) {
        place.stctl_ok(&["tunnel", "add", name, "--target", INSTANCE, "--remote", &remote]).await?;
    }
    Ok(())
}

/// All tunnels; an error when one is not up.
async fn uprights(place: &Place) -> Result<Vec<Upright>> {
    let listed: Vec<Value> = serde_json::from_str(&place.stctl_ok(&["ls", "-o", "json"]).await?)?;
    let upright = |tunnel: &Value| {
        ensure!(tunnel["status"]["state"] == "up", "a tunnel is not up: {tunnel}");
        let text = |at: &str| tunnel.pointer(at).and_then(Value::as_str).map(ToOwned::to_owned);
        Ok(Upright {
            name: text("/name").context("a tunnel without a name")?,
            session: text("/status/session_id").context("a tunnel without a session")?,
            address: scene::listening(tunnel)?,
        })
    };
    listed.iter().map(upright).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tunnel_of_the_scene_is_one_of_them() {
        assert_eq!(names(1), [TUNNEL]);
        assert_eq!(names(3), ["bench", "bench-0001", "bench-0002"]);
        assert!(names(1000).is_sorted());
    }
}
