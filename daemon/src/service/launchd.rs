//! launchd: sockets by the name that they have in the LaunchAgent. It wants to hear nothing.

use std::os::fd::{FromRawFd, OwnedFd};

/// The sockets of that name; none in a process that launchd did not start.
pub(super) fn inherit(name: &str) -> Vec<(String, OwnedFd)> {
    let descriptors = raunch::activate_socket(name).unwrap_or_default();
    descriptors.into_iter().map(|descriptor| (name.to_owned(), own(descriptor))).collect()
}

#[expect(unsafe_code, reason = "launchd gives numbers; whoever asks first owns them")]
fn own(descriptor: i32) -> OwnedFd {
    // SAFETY: launchd has just made the descriptor for this process, and gives each socket once.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let _ = rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC);
    owned
}
