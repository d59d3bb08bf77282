//! The contract on Linux: logind as a service on a private bus, the network as a network namespace of its own.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;
use zbus::Connection;
use zbus::connection::Builder;

use super::super::logind::Logind;
use super::super::netlink::{Netlink, tests::address};
use super::*;

/// Says that a test checks nothing here; where nothing may be skipped (`REQUIRE_ALL`), that is a failure.
fn skip(what: &str) {
    let required = std::env::var_os("REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!required, "{what}, and REQUIRE_ALL allows no test to be skipped");
    eprintln!("skipped: {what}");
}

/// A bus of our own. Ends with the value.
struct Bus(Child);

impl Bus {
    /// Starts it in that directory; nothing where there is no dbus-daemon.
    async fn start(directory: &Path) -> Option<Self> {
        let config = directory.join("bus.conf");
        let socket = directory.join("bus");
        let _old = std::fs::remove_file(&socket);
        std::fs::write(&config, config_for(&address_in(directory))).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg(format!("--config-file={}", config.display()));
        let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                skip(&format!("dbus-daemon cannot be started ({error})"));
                return None;
            }
        };
        let bus = Self(child);
        within(async {
            let mut look = tokio::time::interval(AGAIN);
            // The path is there before anybody listens.
            while UnixStream::connect(&socket).is_err() {
                look.tick().await;
            }
        })
        .await;
        Some(bus)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn address_in(directory: &Path) -> String {
    format!("unix:path={}", directory.join("bus").display())
}

fn config_for(address: &str) -> String {
    format!(
        "<busconfig><listen>{address}</listen><policy context=\"default\">\
         <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>"
    )
}

/// logind, as far as it matters here.
#[derive(Clone)]
struct FakeLogind(Connection);

impl FakeLogind {
    async fn on(bus: &Path) -> Self {
        let builder = Builder::address(address_in(bus).as_str()).unwrap();
        Self(builder.name("org.freedesktop.login1").unwrap().build().await.unwrap())
    }

    async fn tell(&self, about_to_sleep: bool) {
        let to: Option<&str> = None;
        let (path, interface) = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
        // A bus that was stopped takes nothing; the test then waits for what comes after it.
        let _told = self.0.emit_signal(to, path, interface, "PrepareForSleep", &about_to_sleep).await;
    }
}

fn sleeper(logind: FakeLogind, clocks: Arc<FakeClocks>) -> Provoke<'static> {
    Box::new(move || {
        let (logind, clocks) = (logind.clone(), Arc::clone(&clocks));
        Box::pin(async move {
            logind.tell(true).await;
            clocks.sleep_an_hour();
            logind.tell(false).await;
        })
    })
}

#[tokio::test]
async fn logind_keeps_the_contract() {
    let directory = TempDir::new().unwrap();
    let Some(_bus) = Bus::start(directory.path()).await else { return };
    let logind = FakeLogind::on(directory.path()).await;
    let (clocks, sleeps) = fake_clocks();
    let watch = Logind::on_bus(address_in(directory.path()), AGAIN, sleeps);
    keeps_the_contract(Box::new(watch), sleeper(logind, clocks), woke).await;
    println!("promise power.logind: {KEPT}");
}

#[tokio::test]
async fn a_bus_that_comes_late_and_goes_away_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let (clocks, sleeps) = fake_clocks();
    let watch = Logind::on_bus(address_in(directory.path()), AGAIN, sleeps);
    let running = Running::start(Box::new(watch));
    let none = tokio::time::timeout(4 * AGAIN, running.bulletin.next()).await;
    assert!(none.is_err(), "{none:?}");
    for _ in 0..2 {
        let Some(bus) = Bus::start(directory.path()).await else { return };
        let logind = FakeLogind::on(directory.path()).await;
        assert!(woke(&running.reports(&mut sleeper(logind, Arc::clone(&clocks))).await));
        drop(bus);
        while running.bulletin.next().now_or_never().is_some() {}
    }
    running.tasks.shutdown(DEADLINE).await.unwrap();
}

/// In a network of its own, so that nothing else happens in it and nothing of the machine's is touched.
#[test]
fn netlink_keeps_the_contract() {
    let outcome = std::thread::spawn(|| {
        if let Err(error) = leave_the_network() {
            return skip(&format!("no network namespace can be made ({error})"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut exists = false;
            let provoke: Provoke<'_> = Box::new(move || {
                exists = !exists;
                set_address(exists);
                Box::pin(std::future::ready(()))
            });
            let changed = |incident: &Incident| *incident == Incident::NetworkChanged;
            keeps_the_contract(Box::new(Netlink), provoke, changed).await;
            println!("promise power.network: {KEPT}");
        });
    });
    outcome.join().unwrap();
}

#[expect(unsafe_code, reason = "the call is unsafe for the sake of other flags")]
fn leave_the_network() -> rustix::io::Result<()> {
    // SAFETY: the network only: descriptors stay shared. The thread ends with the test.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

/// Gives the loopback interface an address that is not only this machine's, or takes it away.
fn set_address(exists: bool) {
    const LOOPBACK: u32 = 1;
    const REQUEST: u16 = 0x1;
    const CREATE: u16 = 0x400;
    let request =
        address(exists, LOOPBACK, 0, [192, 0, 2, 1], if exists { REQUEST | CREATE } else { REQUEST });
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).unwrap();
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens before the deadline")
}
