//! The login keychain of macOS: one generic password for each item.
//!
//! The system ties an item to the program that made it, by its signature. Only the daemon reads and writes here, so that nobody is
//! asked whether another program may do so.

use std::future::{Ready, ready};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};
use security_framework::base::Error;
use security_framework::passwords::{
    PasswordOptions, delete_generic_password, generic_password, set_generic_password,
};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_model::{Fault, KeyStoreChoice};

use super::blocking::Blocking;
use super::{Item, Presence, Vault, unavailable};

/// The service of all items.
const SERVICE: &str = "stormtunnel";

/// How long a call may take. The system may ask the person: a program that was built anew is another one to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// `errSecItemNotFound` of Apple's `SecBase.h`.
const NOT_FOUND: i32 = -25300;
/// `errSecInteractionNotAllowed` of the same: the keychain is locked, and nobody can be asked for its password.
const LOCKED: i32 = -25308;
/// `errSecAuthFailed` of the same: the person did not allow it.
const REFUSED: i32 = -25293;
/// `userCanceledErr` of Apple's `MacErrors.h`: likewise.
const CANCELED: i32 = -128;

/// Keeps secrets in the login keychain.
pub struct Keychain(Blocking);

impl Keychain {
    pub(super) const CHOICE: KeyStoreChoice = KeyStoreChoice::Keychain;
    pub(super) const STORE: &str = "the Keychain";

    /// The user's.
    pub fn of_system() -> Self {
        Self(Blocking::new(Self::STORE, PATIENCE))
    }

    /// Every Mac has one.
    pub(super) fn presence(&self) -> Ready<Presence> {
        ready(Presence::Usable)
    }
}

impl Vault for Keychain {
    fn get<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<Option<SecretSlice<u8>>, Fault>> {
        let account = account(item);
        Box::pin(self.0.run(move || {
            let found = generic_password(PasswordOptions::new_generic_password(SERVICE, &account));
            Ok(unless_missing(found)?.map(SecretSlice::from))
        }))
    }

    fn put<'a>(&'a self, item: &'a Item, secret: SecretSlice<u8>) -> PortFuture<'a, Result<(), Fault>> {
        let account = account(item);
        Box::pin(self.0.run(move || {
            set_generic_password(SERVICE, &account, secret.expose_secret()).map_err(|error| fault(&error))
        }))
    }

    fn forget<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<(), Fault>> {
        let account = account(item);
        Box::pin(self.0.run(move || {
            unless_missing(delete_generic_password(SERVICE, &account))?;
            Ok(())
        }))
    }
}

/// What an item is found by, with the service. It stays as it is: items that are not found are logins that are lost.
fn account(item: &Item) -> String {
    format!("{} {}", item.kind, item.sign_in)
}

fn unless_missing<T>(outcome: Result<T, Error>) -> Result<Option<T>, Fault> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == NOT_FOUND => Ok(None),
        Err(error) => Err(fault(&error)),
    }
}

fn fault(error: &Error) -> Fault {
    let why = match error.code() {
        LOCKED => "it is locked".to_owned(),
        REFUSED | CANCELED => "stormtunneld was not allowed to use it".to_owned(),
        code => format!("{error} ({code})"),
    };
    unavailable(Keychain::STORE, why)
}
