//! Notifications on the person's desktop: over D-Bus on Linux, through `osascript` on macOS.
//!
//! Where there is no desktop nothing is shown and nothing is wrong: everything that is notified is in the events as well.

#[cfg(any(target_os = "macos", test))]
mod macos;

#[cfg(target_os = "linux")]
mod freedesktop;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use stormtunnel_engine::doctor::Desktop;
use stormtunnel_engine::notifications::Notifier;

/// How long showing one may take. The bus may have to start the program that shows it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The one of this system. Nothing is looked for before there is something to show.
pub fn of_system() -> Arc<dyn Notifier> {
    #[cfg(target_os = "linux")]
    let notifier = freedesktop::Desktop::of_session();
    #[cfg(target_os = "macos")]
    let notifier = macos::NotificationCenter::of_system();
    Arc::new(notifier)
}

/// Whether anything shows notifications, as `var` has the variables.
#[cfg(target_os = "linux")]
pub async fn presence(var: impl Fn(&str) -> Option<OsString>) -> Desktop {
    match var("DBUS_SESSION_BUS_ADDRESS").filter(|value| !value.is_empty()) {
        Some(_) => freedesktop::Desktop::of_session().presence().await,
        None => Desktop::None("there is no desktop session here".to_owned()),
    }
}

/// Whether anything shows notifications. Whether it may is only to be seen in the System Settings.
#[cfg(target_os = "macos")]
pub async fn presence(_var: impl Fn(&str) -> Option<OsString>) -> Desktop {
    let found = tokio::fs::try_exists("/usr/bin/osascript").await.unwrap_or(false);
    if found {
        Desktop::Found("osascript; System Settings > Notifications says whether it may".to_owned())
    } else {
        Desktop::Broken("osascript is missing".to_owned())
    }
}

#[cfg(test)]
mod tests;
