//! Notifications on the person's desktop: over D-Bus on Linux, through `osascript` on macOS.
//!
//! Where there is no desktop nothing is shown and nothing is wrong: everything that is notified is in the events as well.

#[cfg(any(target_os = "macos", test))]
mod macos;

#[cfg(target_os = "linux")]
mod freedesktop;

use std::sync::Arc;
use std::time::Duration;

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

#[cfg(test)]
mod tests;
