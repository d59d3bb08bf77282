//! Where SSO tokens and client registrations are kept. Only the daemon reads them.
//!
//! | vault | keeps them | where |
//! |---|---|---|
//! | `keychain` | in the user's login keychain | macOS |
//! | `secret_service` | in the keyring of the desktop, over D-Bus | Linux |
//! | [`mod@file`] | in files that only the user can read | everywhere |
//! | [`memory`] | until the daemon ends | everywhere |
//!
//! A [`Vault`] keeps bytes by name and knows nothing of tokens; [`Keys`] makes the engine's [`KeyStore`] of any of them, with one
//! form for all. Why it is so: `docs/adr/0007-one-item-per-token.md`.

mod blocking;
pub mod file;
mod form;
#[cfg(target_os = "macos")]
pub mod keychain;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod secret_service;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretSlice};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::sign_in::flow::LoginFlow;
use stormtunnel_engine::sign_in::ports::KeyStore;
use stormtunnel_engine::sign_in::token::{StoredClient, StoredToken};
use stormtunnel_model::{Fault, FaultKind, KeyStoreChoice, SignInName};

use self::file::FileVault;
use self::form::Unreadable;
#[cfg(target_os = "macos")]
use self::keychain::Keychain as Native;
use self::memory::MemoryVault;
#[cfg(target_os = "linux")]
use self::secret_service::SecretService as Native;

/// The directory of [`FileVault`] in the state directory.
pub(crate) const DIRECTORY: &str = "keys";

/// One thing to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// The sign-in that it belongs to.
    pub sign_in: SignInName,
}

/// What is kept of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemKind {
    /// Its token.
    Token,
    /// The client that was registered for authorization codes.
    CodeClient,
    /// The one for device codes.
    DeviceClient,
}

impl ItemKind {
    /// Part of the names of items: it stays as it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::CodeClient => "code-client",
            Self::DeviceClient => "device-client",
        }
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Item {
    fn token(sign_in: &SignInName) -> Self {
        Self { kind: ItemKind::Token, sign_in: sign_in.clone() }
    }

    fn client(sign_in: &SignInName, flow: LoginFlow) -> Self {
        let kind = match flow {
            LoginFlow::AuthorizationCode => ItemKind::CodeClient,
            LoginFlow::DeviceCode => ItemKind::DeviceClient,
        };
        Self { kind, sign_in: sign_in.clone() }
    }
}

/// Keeps secrets, each under its item. Every call ends by itself, also if whoever keeps them does not answer.
pub trait Vault: Send + Sync {
    /// What is kept for that item.
    fn get<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<Option<SecretSlice<u8>>, Fault>>;
    /// Keeps it, in place of what was there.
    fn put<'a>(&'a self, item: &'a Item, secret: SecretSlice<u8>) -> PortFuture<'a, Result<(), Fault>>;
    /// Keeps nothing for that item any more. It is no fault if nothing is there.
    fn forget<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<(), Fault>>;
    /// Moves what is of no use out of the way, where that can be done, and says what becomes of it, as a sentence part.
    fn set_aside<'a>(&'a self, _item: &'a Item) -> PortFuture<'a, Result<String, Fault>> {
        Box::pin(std::future::ready(Ok("stays until it is replaced".to_owned())))
    }
}

/// A key store made of a vault.
pub struct Keys<V>(V);

impl<V: Vault> Keys<V> {
    /// Keeps everything in that vault.
    pub fn new(vault: V) -> Self {
        Self(vault)
    }

    /// What cannot be read is reported and is as good as nothing: a login replaces it.
    async fn read<T>(
        &self,
        item: &Item,
        parse: fn(&[u8], &SignInName) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Fault> {
        let Some(secret) = self.0.get(item).await? else { return Ok(None) };
        match parse(secret.expose_secret(), &item.sign_in) {
            Ok(value) => Ok(Some(value)),
            Err(why) => {
                let fate = self.0.set_aside(item).await?;
                let Item { kind, sign_in } = item;
                tracing::warn!(%sign_in, "the {kind} that was kept is of no use: {why}; it {fate}");
                Ok(None)
            }
        }
    }

    async fn write(&self, item: &Item, secret: Option<SecretSlice<u8>>) -> Result<(), Fault> {
        match secret {
            Some(secret) => self.0.put(item, secret).await,
            None => self.0.forget(item).await,
        }
    }
}

impl<V: Vault> KeyStore for Keys<V> {
    fn token<'a>(&'a self, name: &'a SignInName) -> PortFuture<'a, Result<Option<StoredToken>, Fault>> {
        Box::pin(async move { self.read(&Item::token(name), form::read_token).await })
    }

    fn put_token<'a>(
        &'a self,
        name: &'a SignInName,
        token: Option<StoredToken>,
    ) -> PortFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let secret = token.map(|token| form::write_token(name, &token)).transpose()?;
            self.write(&Item::token(name), secret).await
        })
    }

    fn client<'a>(
        &'a self,
        name: &'a SignInName,
        flow: LoginFlow,
    ) -> PortFuture<'a, Result<Option<StoredClient>, Fault>> {
        Box::pin(async move { self.read(&Item::client(name, flow), form::read_client).await })
    }

    fn put_client<'a>(
        &'a self,
        name: &'a SignInName,
        flow: LoginFlow,
        client: Option<StoredClient>,
    ) -> PortFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let secret = client.map(|client| form::write_client(name, &client)).transpose()?;
            self.write(&Item::client(name, flow), secret).await
        })
    }
}

/// Whether the vault of the system can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It can, if perhaps not before it is unlocked.
    Usable,
    /// There is none, which is common.
    Absent,
    /// There is one, and it is of no use: why.
    Broken(String),
}

/// A key store and what a person should know of it.
pub struct OpenedKeyStore {
    /// The store.
    pub store: Arc<dyn KeyStore>,
    /// One sentence each: a store that this system has not, files that others could read.
    pub warnings: Vec<String>,
}

impl OpenedKeyStore {
    fn of(vault: impl Vault + 'static, warnings: Vec<String>) -> Self {
        Self { store: Arc::new(Keys::new(vault)), warnings }
    }
}

/// Opens the key store of the setting `sso.key_store`. There always is one: what is wrong with it is said by the warnings, and
/// by the faults of its calls until it is mended.
pub async fn open(choice: KeyStoreChoice, state_dir: &Path) -> OpenedKeyStore {
    open_beside(Native::of_system(), choice, state_dir).await
}

async fn open_beside(native: Native, choice: KeyStoreChoice, state_dir: &Path) -> OpenedKeyStore {
    let files = |warnings| open_files(state_dir, warnings);
    match choice {
        KeyStoreChoice::Memory => OpenedKeyStore::of(MemoryVault::default(), Vec::new()),
        KeyStoreChoice::File => files(Vec::new()).await,
        choice if choice == Native::CHOICE => OpenedKeyStore::of(native, Vec::new()),
        KeyStoreChoice::Auto => match native.presence().await {
            Presence::Usable => OpenedKeyStore::of(native, Vec::new()),
            Presence::Absent => files(Vec::new()).await,
            Presence::Broken(why) => {
                let store = Native::STORE;
                files(vec![format!("{store} cannot be used ({why}): SSO tokens are kept in files")]).await
            }
        },
        KeyStoreChoice::Keychain | KeyStoreChoice::SecretService => {
            let native = Native::CHOICE;
            let warning = format!(
                "sso.key_store is {choice}, which this system does not have: SSO tokens are kept in files; \
                 set it to auto, {native} or file"
            );
            files(vec![warning]).await
        }
    }
}

async fn open_files(state_dir: &Path, mut warnings: Vec<String>) -> OpenedKeyStore {
    let directory = state_dir.join(DIRECTORY);
    let (vault, found) = FileVault::open(directory).await;
    warnings.extend(found);
    OpenedKeyStore::of(vault, warnings)
}

/// A fault of that store, which passes by itself or by a person's hand.
fn unavailable(store: &str, why: impl Into<String>) -> Fault {
    Fault::new(FaultKind::KeyStoreUnavailable { store: store.to_owned() }, why)
}

#[cfg(test)]
mod tests;
