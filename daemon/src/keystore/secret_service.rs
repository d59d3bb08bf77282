//! The Secret Service: the keyring of a Linux desktop (GNOME Keyring, KWallet, KeePassXC), over D-Bus.
//!
//! Each call has a connection of its own. Calls are rare, a few per hour, and so there is nothing to find out about a bus or a
//! service that was started again meanwhile. Secrets travel unsealed (the algorithm `plain`): who can listen on the user's own
//! bus can as well ask for them.
//!
//! Nothing here unlocks a keyring: a daemon that asks for a password out of nothing teaches people to type it anywhere.
//!
//! Specification: <https://specifications.freedesktop.org/secret-service/latest/>.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};
use serde::Serialize;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_model::{Fault, KeyStoreChoice};
use thiserror::Error;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::{DynamicDeserialize, DynamicType, OwnedObjectPath, OwnedValue, Value};

use super::{Item, Presence, Vault, unavailable};

const NAME: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const ITEM: &str = "org.freedesktop.Secret.Item";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Stands for no object, and for no prompt.
const NONE: &str = "/";

/// How long a call may take. The bus may have to start the service first.
const PATIENCE: Duration = Duration::from_secs(5);

/// The algorithm `plain` has none.
const NO_PARAMETERS: &[u8] = &[];

/// Session, parameters of its algorithm, secret, content type.
type Secret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

/// Keeps secrets in the default collection of a Secret Service.
#[derive(Clone, Debug)]
pub struct SecretService {
    /// Absent: the bus of the user's session.
    bus: Option<String>,
    patience: Duration,
}

/// Why it cannot be used.
#[derive(Debug, Error)]
enum Trouble {
    #[error("the D-Bus of your session cannot be reached ({0})")]
    NoBus(#[source] zbus::Error),
    #[error("no program offers it on the D-Bus of your session")]
    NoService,
    #[error("it has no default collection; make one with the program that manages your passwords")]
    NoCollection,
    #[error("it is locked")]
    Locked,
    #[error("it does not answer")]
    Late,
    #[error("{0}")]
    Call(#[source] zbus::Error),
}

impl SecretService {
    pub(super) const CHOICE: KeyStoreChoice = KeyStoreChoice::SecretService;
    pub(super) const STORE: &str = "the Secret Service";

    /// The one of the user's session.
    pub fn of_system() -> Self {
        Self { bus: None, patience: PATIENCE }
    }

    /// One on another bus, by its address, whose calls may take so long.
    pub fn on_bus(address: String, patience: Duration) -> Self {
        Self { bus: Some(address), patience }
    }

    /// Whether there is one that can be used.
    pub async fn presence(&self) -> Presence {
        match self.bounded(self.collection()).await {
            Ok(_) | Err(Trouble::Locked) => Presence::Usable,
            Err(Trouble::NoBus(_) | Trouble::NoService) => Presence::Absent,
            Err(trouble @ (Trouble::NoCollection | Trouble::Late | Trouble::Call(_))) => {
                Presence::Broken(trouble.to_string())
            }
        }
    }

    async fn collection(&self) -> Result<Collection, Trouble> {
        Collection::open(self.bus.as_deref()).await
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        tokio::time::timeout(self.patience, call).await.unwrap_or(Err(Trouble::Late))
    }
}

impl Vault for SecretService {
    fn get<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<Option<SecretSlice<u8>>, Fault>> {
        let call = async move { self.collection().await?.get(item).await };
        Box::pin(async move { Ok(self.bounded(call).await?) })
    }

    fn put<'a>(&'a self, item: &'a Item, secret: SecretSlice<u8>) -> PortFuture<'a, Result<(), Fault>> {
        let call = async move { self.collection().await?.put(item, secret.expose_secret()).await };
        Box::pin(async move { Ok(self.bounded(call).await?) })
    }

    fn forget<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<(), Fault>> {
        let call = async move { self.collection().await?.forget(item).await };
        Box::pin(async move { Ok(self.bounded(call).await?) })
    }
}

/// A collection that is unlocked. The connection ends with the value, and with it the session.
struct Collection {
    bus: Connection,
    session: OwnedObjectPath,
    path: OwnedObjectPath,
}

impl Collection {
    async fn open(bus: Option<&str>) -> Result<Self, Trouble> {
        let builder = match bus {
            Some(address) => Builder::address(address),
            None => Builder::session(),
        };
        let bus = builder.map_err(Trouble::NoBus)?.build().await.map_err(Trouble::NoBus)?;
        let plain = ("plain", Value::from(""));
        let (_, session): (OwnedValue, OwnedObjectPath) =
            call(&bus, PATH, SERVICE, "OpenSession", &plain).await?;
        let path: OwnedObjectPath = call(&bus, PATH, SERVICE, "ReadAlias", &("default",)).await?;
        if path.as_str() == NONE {
            return Err(Trouble::NoCollection);
        }
        let locked: OwnedValue = call(&bus, &path, PROPERTIES, "Get", &(COLLECTION, "Locked")).await?;
        match bool::try_from(locked) {
            Ok(false) => Ok(Self { bus, session, path }),
            Ok(true) => Err(Trouble::Locked),
            Err(error) => Err(Trouble::Call(error.into())),
        }
    }

    async fn get(&self, item: &Item) -> Result<Option<SecretSlice<u8>>, Trouble> {
        let Some(found) = self.find(item).await?.into_iter().next() else { return Ok(None) };
        let (_, _, secret, _): Secret = call(&self.bus, &found, ITEM, "GetSecret", &(&self.session,)).await?;
        Ok(Some(secret.into()))
    }

    async fn put(&self, item: &Item, secret: &[u8]) -> Result<(), Trouble> {
        let label = format!("StormTunnel: {} of {}", item.kind, item.sign_in);
        let properties = HashMap::from([
            ("org.freedesktop.Secret.Item.Label", Value::from(label)),
            ("org.freedesktop.Secret.Item.Attributes", Value::from(attributes(item))),
        ]);
        let secret = (&self.session, NO_PARAMETERS, secret, "application/json");
        let replace = true;
        let (_, prompt): (OwnedObjectPath, OwnedObjectPath) =
            call(&self.bus, &self.path, COLLECTION, "CreateItem", &(properties, secret, replace)).await?;
        without(&prompt)
    }

    async fn forget(&self, item: &Item) -> Result<(), Trouble> {
        for found in self.find(item).await? {
            let prompt: OwnedObjectPath = call(&self.bus, &found, ITEM, "Delete", &()).await?;
            without(&prompt)?;
        }
        Ok(())
    }

    async fn find(&self, item: &Item) -> Result<Vec<OwnedObjectPath>, Trouble> {
        call(&self.bus, &self.path, COLLECTION, "SearchItems", &(attributes(item),)).await
    }
}

/// What an item is found by. It stays as it is: items that are not found are logins that are lost.
fn attributes(item: &Item) -> HashMap<&str, &str> {
    HashMap::from([
        ("application", "stormtunnel"),
        ("kind", item.kind.name()),
        ("sign-in", item.sign_in.as_str()),
    ])
}

/// A service that wants to ask the person has not done what it was told; only a lock makes it ask.
fn without(prompt: &OwnedObjectPath) -> Result<(), Trouble> {
    if prompt.as_str() == NONE { Ok(()) } else { Err(Trouble::Locked) }
}

async fn call<B, R>(
    bus: &Connection,
    object: &str,
    interface: &str,
    method: &str,
    arguments: &B,
) -> Result<R, Trouble>
where
    B: Serialize + DynamicType,
    R: for<'d> DynamicDeserialize<'d>,
{
    let answer = bus.call_method(Some(NAME), object, Some(interface), method, arguments).await?;
    let body = answer.body();
    Ok(body.deserialize()?)
}

impl From<zbus::Error> for Trouble {
    fn from(error: zbus::Error) -> Self {
        let name = if let zbus::Error::MethodError(name, ..) = &error { name.as_str() } else { "" };
        match name {
            "org.freedesktop.Secret.Error.IsLocked" => Self::Locked,
            "org.freedesktop.DBus.Error.ServiceUnknown" => Self::NoService,
            _ => Self::Call(error),
        }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        unavailable(SecretService::STORE, trouble.to_string())
    }
}
