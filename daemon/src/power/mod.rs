//! What happens to this machine: it sleeps and wakes, its network changes, its clock is set.
//!
//! | watch | tells of | where |
//! |---|---|---|
//! | [`clocks`] | sleep, and a clock that was set, within seconds | everywhere: the net under all the others |
//! | `logind` | waking, at once | Linux with systemd or elogind |
//! | `netlink` | addresses, routes and links | Linux |
//! | `notifications` | a waking that is not dark, addresses and routes | macOS |
//!
//! Each is a [`Watch`] with a task of its own. It reports to the engine's [`Bulletin`], decides nothing, and never ends because
//! its source did: a daemon that cannot be told still finds out, by its clocks and by the pings of its tunnels.

pub mod clocks;
#[cfg(target_os = "linux")]
pub mod logind;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(target_os = "macos")]
pub mod notifications;

use std::sync::Arc;

use stormtunnel_engine::incidents::Bulletin;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::tasks::{Tasks, TasksClosed};

use self::clocks::{ClockWatch, MachineClocks, Sleeps};

/// Watches one source of incidents.
pub trait Watch: Send {
    /// For the name of its task.
    fn name(&self) -> &'static str;
    /// Reports what its source tells, until it is dropped. A source that is not there, or goes away, is waited for quietly.
    fn watch(self: Box<Self>, bulletin: Bulletin) -> PortFuture<'static, ()>;
}

/// Starts all watches that this system has.
///
/// # Errors
/// The daemon is stopping already.
pub fn start(tasks: &Tasks) -> Result<Bulletin, TasksClosed> {
    let bulletin = Bulletin::default();
    for watch in watches() {
        spawn(tasks, watch, bulletin.clone())?;
    }
    Ok(bulletin)
}

fn watches() -> Vec<Box<dyn Watch>> {
    let sleeps = Arc::new(Sleeps::new(Arc::new(MachineClocks::default())));
    vec![
        #[cfg(target_os = "linux")]
        Box::new(logind::Logind::of_system(Arc::clone(&sleeps))),
        #[cfg(target_os = "linux")]
        Box::new(netlink::Netlink),
        #[cfg(target_os = "macos")]
        Box::new(notifications::Notifications::new(Arc::clone(&sleeps))),
        Box::new(ClockWatch::new(sleeps)),
    ]
}

fn spawn(tasks: &Tasks, watch: Box<dyn Watch>, bulletin: Bulletin) -> Result<(), TasksClosed> {
    let cancel = tasks.cancelled().clone();
    tasks.spawn(watch.name(), async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = watch.watch(bulletin) => {}
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
