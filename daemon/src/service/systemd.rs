//! systemd: sockets and kept descriptors from number 3 on, and a datagram socket for what it wants to hear. The crates for this read the
//! environment at each call; here it is read once, and the variables are gone before anything else can inherit them.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{Supervisor, Unsupervised};

/// The first descriptor that a service inherits.
const FIRST: RawFd = 3;

/// Most descriptors that are believed in: more than any unit hands over.
const MAX_DESCRIPTORS: RawFd = 1 << 16;

/// Longest wait for a manager that does not read what it is told.
const SEND: Duration = Duration::from_secs(1);

/// The variables of this protocol.
const VARIABLES: [&str; 6] =
    ["LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// What systemd left for this process, by name. The variables are gone afterwards.
pub(super) fn inherit() -> (Arc<dyn Supervisor>, Vec<(String, OwnedFd)>) {
    let pid = std::process::id();
    let read = |name: &str| std::env::var_os(name);
    let descriptors = names(pid, read).into_iter().zip(FIRST..).map(|(name, number)| (name, own(number)));
    let descriptors = descriptors.collect();
    let supervisor: Arc<dyn Supervisor> = match Notifier::from_vars(pid, read) {
        Some(notifier) => Arc::new(notifier),
        None => Arc::new(Unsupervised),
    };
    VARIABLES.iter().for_each(|name| remove(name));
    (supervisor, descriptors)
}

/// The names of the inherited descriptors, in their order; none when they are meant for another process.
fn names(pid: u32, read: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let text = |name: &str| read(name).and_then(|value| value.into_string().ok());
    let is_mine = text("LISTEN_PID").and_then(|value| value.parse().ok()) == Some(pid);
    let count = text("LISTEN_FDS").and_then(|value| value.parse().ok()).unwrap_or(0).min(MAX_DESCRIPTORS);
    if !is_mine || count <= 0 {
        return Vec::new();
    }
    let names = text("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (0..count).map(|_| names.next().unwrap_or_default()).collect()
}

#[expect(unsafe_code, reason = "inherited descriptors have no owner in this process, only numbers")]
fn own(number: RawFd) -> OwnedFd {
    // SAFETY: systemd has opened the descriptor for this process, which has opened none of its own yet under a number that
    // was taken, and takes each number once.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    let _ = rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC);
    owned
}

#[expect(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "the variables must not reach children; there is one thread"
)]
fn remove(variable: &str) {
    // SAFETY: no other thread exists yet that could read the environment.
    unsafe { std::env::remove_var(variable) };
}

/// Tells systemd.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    patience: Option<Duration>,
}

impl Notifier {
    /// Nothing when systemd does not listen.
    pub(super) fn from_vars(pid: u32, read: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let text = |name: &str| read(name).and_then(|value| value.into_string().ok());
        let is_mine = text("WATCHDOG_PID").is_none_or(|value| value.parse() == Ok(pid));
        let patience = text("WATCHDOG_USEC").and_then(|value| value.parse().ok()).map(Duration::from_micros);
        let socket = connected(&read("NOTIFY_SOCKET")?).ok()?;
        Some(Self { socket, patience: patience.filter(|patience| is_mine && !patience.is_zero()) })
    }

    fn tell(&self, words: &str) {
        if let Err(error) = self.socket.send(words.as_bytes()) {
            tracing::warn!(%error, words, "systemd was not told");
        }
    }

    fn hand_over(&self, words: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&self.socket, &[IoSlice::new(words.as_bytes())], &mut control, SendFlags::empty())?;
        Ok(())
    }
}

impl Supervisor for Notifier {
    fn ready(&self) {
        self.tell("READY=1");
    }

    fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn keep(&self, name: &str, listener: BorrowedFd<'_>) -> bool {
        let handed_over = self.hand_over(&format!("FDSTORE=1\nFDNAME={name}"), listener);
        if let Err(error) = &handed_over {
            tracing::warn!(%error, name, "systemd does not keep a listener: a restart will refuse connections");
        }
        handed_over.is_ok()
    }

    fn release(&self, name: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }
}

fn connected(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(path)?)?;
    socket.set_write_timeout(Some(SEND))?;
    Ok(socket)
}

/// A path; or a name that begins with `@`, which is in no directory.
#[cfg(target_os = "linux")]
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;

    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}

#[cfg(not(target_os = "linux"))]
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + Copy + 'a {
        move |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn descriptors_have_the_names_of_the_units() {
        let given = [("LISTEN_PID", "7"), ("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "api:listener-1")];
        assert_eq!(names(7, env(&given)), ["api", "listener-1", ""]);
    }

    #[test]
    fn descriptors_of_another_process_are_left_alone() {
        let given = [("LISTEN_PID", "8"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "api")];
        assert_eq!(names(7, env(&given)), [""; 0]);
        for nonsense in ["-1", "many", ""] {
            assert_eq!(
                names(7, env(&[("LISTEN_PID", "7"), ("LISTEN_FDS", nonsense)])),
                [""; 0],
                "{nonsense}"
            );
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let path = path.to_str().unwrap();
        let of = |pid: &str| {
            let given = [("NOTIFY_SOCKET", path), ("WATCHDOG_PID", pid), ("WATCHDOG_USEC", "60000000")];
            Notifier::from_vars(7, env(&given)).unwrap().patience()
        };
        assert_eq!(of("7"), Some(Duration::from_secs(60)));
        assert_eq!(of("8"), None);
        assert!(Notifier::from_vars(7, env(&[])).is_none());
    }
}
