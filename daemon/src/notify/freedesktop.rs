//! The desktops of Linux, over D-Bus.
//!
//! Each notification has a connection of its own: they are few, and so there is nothing to find out about a bus or a program that was
//! started again meanwhile.
//!
//! Specification: <https://specifications.freedesktop.org/notification/latest/>.

use std::collections::HashMap;
use std::time::Duration;

use stormtunnel_engine::doctor::Desktop as Presence;
use stormtunnel_engine::notifications::{Notification, NotificationKind, Notifier};
use stormtunnel_engine::ports::PortFuture;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::Value;

use super::PATIENCE;

const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";

/// The program takes a little HTML in bodies.
const MARKUP: &str = "body-markup";

/// It replaces no other one.
const NEW: u32 = 0;
/// The program decides how long it is shown.
const AS_USUAL: i32 = -1;
/// Of three levels: low, normal, critical. The last one stays in the way until it is clicked at.
const NORMAL: u8 = 1;

/// The program that shows notifications on a bus.
#[derive(Clone, Debug)]
pub(super) struct Desktop {
    /// Absent: the bus of the user's session.
    bus: Option<String>,
    patience: Duration,
}

impl Desktop {
    /// The one of the user's session.
    pub(super) fn of_session() -> Self {
        Self { bus: None, patience: PATIENCE }
    }

    /// One on another bus, by its address, that may take so long.
    #[cfg(test)]
    pub(super) fn on_bus(address: String, patience: Duration) -> Self {
        Self { bus: Some(address), patience }
    }

    /// Whether a program shows them, which the bus may have to start.
    pub(super) async fn presence(&self) -> Presence {
        let asked = async {
            let bus = self.bus().await?;
            takes_markup(&bus).await
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(_)) => Presence::Found("a program shows them".to_owned()),
            Ok(Err(error)) => Presence::Broken(format!("no program shows them: {error}")),
            Err(_late) => Presence::Broken("the desktop does not answer in time".to_owned()),
        }
    }

    async fn bus(&self) -> zbus::Result<Connection> {
        let builder = match &self.bus {
            Some(address) => Builder::address(address.as_str())?,
            None => Builder::session()?,
        };
        builder.build().await
    }

    async fn notify(&self, notification: &Notification) -> zbus::Result<()> {
        let bus = self.bus().await?;
        let Notification { kind, title, body } = notification;
        let body = if takes_markup(&bus).await? { escaped(body) } else { body.clone() };
        let no_actions: &[&str] = &[];
        let hints = HashMap::from([("urgency", Value::from(NORMAL))]);
        let arguments = ("StormTunnel", NEW, icon(*kind), title, body, no_actions, hints, AS_USUAL);
        bus.call_method(Some(NAME), PATH, Some(NAME), "Notify", &arguments).await?;
        Ok(())
    }
}

impl Notifier for Desktop {
    fn show<'a>(&'a self, notification: &'a Notification) -> PortFuture<'a, ()> {
        Box::pin(async move {
            match tokio::time::timeout(self.patience, self.notify(notification)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "no desktop shows notifications"),
                Err(_late) => tracing::debug!("the desktop does not take notifications in time"),
            }
        })
    }
}

async fn takes_markup(bus: &Connection) -> zbus::Result<bool> {
    let answer = bus.call_method(Some(NAME), PATH, Some(NAME), "GetCapabilities", &()).await?;
    let capabilities: Vec<String> = answer.body().deserialize()?;
    Ok(capabilities.iter().any(|capability| capability == MARKUP))
}

/// Plain text where markup is taken.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One of the names that every theme has.
fn icon(kind: NotificationKind) -> &'static str {
    match kind {
        NotificationKind::SignInNeeded | NotificationKind::SignInExpiring => "dialog-password",
        NotificationKind::TunnelsBlocked => "dialog-warning",
    }
}
