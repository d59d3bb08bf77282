//! The Notification Center of macOS. It takes notifications only from applications, which this program is none of: `osascript` is one.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use stormtunnel_engine::notifications::{Notification, Notifier};
use stormtunnel_engine::ports::PortFuture;
use tokio::process::Command;

#[cfg(target_os = "macos")]
use super::PATIENCE;

/// Texts are arguments of the script and never part of it. They are counted from the end: whether `--` is an argument as well
/// does not matter.
const SCRIPT: [&str; 3] =
    ["on run argv", "display notification (item -1 of argv) with title (item -2 of argv)", "end run"];

/// Shows notifications with `osascript`.
#[derive(Clone, Debug)]
pub(super) struct NotificationCenter {
    program: PathBuf,
    patience: Duration,
}

impl NotificationCenter {
    /// The one of this Mac.
    #[cfg(target_os = "macos")]
    pub(super) fn of_system() -> Self {
        Self { program: PathBuf::from("/usr/bin/osascript"), patience: PATIENCE }
    }

    /// Another program in its place, that may take so long.
    #[cfg(test)]
    pub(super) fn through(program: PathBuf, patience: Duration) -> Self {
        Self { program, patience }
    }
}

impl Notifier for NotificationCenter {
    fn show<'a>(&'a self, notification: &'a Notification) -> PortFuture<'a, ()> {
        let mut command = Command::new(&self.program);
        command.args(arguments(notification)).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Box::pin(async move {
            match tokio::time::timeout(self.patience, command.status()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => tracing::debug!("osascript shows no notification: {status}"),
                Ok(Err(error)) => tracing::debug!(%error, "osascript cannot be started"),
                Err(_late) => tracing::debug!("osascript does not end in time"),
            }
        })
    }
}

/// What `osascript` is called with.
pub(super) fn arguments(notification: &Notification) -> Vec<&str> {
    let Notification { kind: _, title, body } = notification;
    let script = SCRIPT.into_iter().flat_map(|line| ["-e", line]);
    script.chain(["--", title.as_str(), body.as_str()]).collect()
}
