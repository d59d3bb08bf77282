//! Secrets in memory: they are lost when the daemon ends, and never reach a disk.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::SecretSlice;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_model::Fault;

use super::{Item, Vault};

/// Keeps them until it is dropped.
#[derive(Default)]
pub struct MemoryVault(Mutex<HashMap<Item, SecretSlice<u8>>>);

impl MemoryVault {
    fn items(&self) -> MutexGuard<'_, HashMap<Item, SecretSlice<u8>>> {
        // One call of the map is all that is done with it: it is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault for MemoryVault {
    fn get<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<Option<SecretSlice<u8>>, Fault>> {
        Box::pin(ready(Ok(self.items().get(item).cloned())))
    }

    fn put<'a>(&'a self, item: &'a Item, secret: SecretSlice<u8>) -> PortFuture<'a, Result<(), Fault>> {
        self.items().insert(item.clone(), secret);
        Box::pin(ready(Ok(())))
    }

    fn forget<'a>(&'a self, item: &'a Item) -> PortFuture<'a, Result<(), Fault>> {
        self.items().remove(item);
        Box::pin(ready(Ok(())))
    }
}
