//! A desktop of our own on a private bus.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::OwnedValue;

use super::super::freedesktop::Desktop;
use super::*;
use crate::private_bus::{self, address_in};

/// What a desktop is told: program, icon, title, body, urgency.
type Seen = (String, String, String, String, u8);

/// A program that shows notifications. The signature of its method is that of the specification: another call fails.
struct Shell {
    capabilities: Vec<String>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Shell {
    fn get_capabilities(&self) -> Vec<String> {
        self.capabilities.clone()
    }

    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &self,
        app_name: String,
        replaces_id: u32,
        app_icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        hints: HashMap<String, OwnedValue>,
        expire_timeout: i32,
    ) -> u32 {
        assert_eq!((replaces_id, actions, expire_timeout), (0, Vec::new(), -1));
        let urgency = hints.into_iter().find(|(hint, _)| hint == "urgency").map(|(_, value)| value);
        let urgency = urgency.and_then(|value| u8::try_from(value).ok());
        self.seen.lock().unwrap().push((app_name, app_icon, summary, body, urgency.unwrap()));
        1
    }
}

/// A desktop with these capabilities, and what it shows. Ends with the connection.
async fn desktop(directory: &Path, capabilities: &[&str]) -> (Connection, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let capabilities = capabilities.iter().map(|one| (*one).to_owned()).collect();
    let shell = Shell { capabilities, seen: Arc::clone(&seen) };
    let address = address_in(directory);
    let builder = Builder::address(address.as_str()).unwrap();
    let builder = builder.serve_at("/org/freedesktop/Notifications", shell).unwrap();
    let connection = builder.name("org.freedesktop.Notifications").unwrap().build().await.unwrap();
    (connection, seen)
}

#[tokio::test]
async fn a_desktop_shows_the_texts_as_they_are() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let Some(_bus) = private_bus::start(path).await else { return };
    let notifier = Desktop::on_bus(address_in(path), PATIENCE);
    let Notification { title, body, .. } = nasty();
    let escaped = "&lt;b&gt;$(date)&lt;/b&gt; `id` \\ \" &amp; \ndo shell script \"id\"";
    for (capabilities, shown) in [(&["body"][..], body.as_str()), (&["body", "body-markup"][..], escaped)] {
        let (connection, seen) = desktop(path, capabilities).await;
        notifier.show(&nasty()).await;
        let told =
            ("StormTunnel".to_owned(), "dialog-password".to_owned(), title.clone(), shown.to_owned(), 1);
        assert_eq!(*seen.lock().unwrap(), [told]);
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn without_a_bus_or_a_desktop_nothing_is_shown_and_nothing_is_wrong() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let notifier = Desktop::on_bus(address_in(path), PATIENCE);
    notifier.show(&nasty()).await;
    let Some(_bus) = private_bus::start(path).await else { return };
    notifier.show(&nasty()).await;
    let (_connection, seen) = desktop(path, &[]).await;
    notifier.show(&nasty()).await;
    assert_eq!(seen.lock().unwrap().len(), 1, "a desktop that comes later is found");
}

#[tokio::test]
async fn a_desktop_that_does_not_answer_holds_nothing_up() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let Some(_bus) = private_bus::start(path).await else { return };
    let address = address_in(path);
    let builder = Builder::address(address.as_str()).unwrap();
    let _mute = builder.name("org.freedesktop.Notifications").unwrap().build().await.unwrap();
    let shown = tokio::time::timeout(PATIENCE, Desktop::on_bus(address.clone(), SHORT).show(&nasty())).await;
    assert!(shown.is_ok());
}
