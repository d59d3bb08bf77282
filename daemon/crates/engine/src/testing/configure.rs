//! What a person may use, and a config file that is read as soon as it is written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::ExposeSecret as _;
use stormtunnel_model::{
    Account, ConfiguredSection, Fault, SectionChange, SignInProfile, SsoConfig, SsoConfigured, SsoSection,
    SsoSession,
};
use tokio::sync::watch;

use crate::ports::PortFuture;
use crate::sign_in::classify::{ServiceError, SsoError};
use crate::sign_in::directory::{ConfiguredSignIn, ConfiguredSignIns};
use crate::sign_in::ports::{AccountsApi, ConfigFile, SignInSite};
use crate::sign_in::token::SsoToken;

/// Accounts with roles, whoever asks.
#[derive(Debug, Default)]
pub struct MemoryAccounts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    roles: BTreeMap<String, Vec<String>>,
    failures: VecDeque<SsoError>,
    tokens: Vec<String>,
}

impl MemoryAccounts {
    /// An account with these roles; its name is `account ID`.
    pub fn put(&self, account: &str, roles: &[&str]) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.inner().roles.insert(account.to_owned(), roles);
    }

    /// Lets the next request fail with that exception.
    pub fn refuse_next(&self, code: &str, status: u16) {
        let error = ServiceError { status, code: code.to_owned(), ..ServiceError::default() };
        self.inner().failures.push_back(SsoError::Service(error));
    }

    /// The access tokens of all requests, in order.
    pub fn tokens(&self) -> Vec<String> {
        self.inner().tokens.clone()
    }

    fn answer<T>(&self, token: &SsoToken, answer: impl FnOnce(&Inner) -> T) -> Result<T, SsoError> {
        let mut inner = self.inner();
        inner.tokens.push(token.access.expose_secret().to_owned());
        match inner.failures.pop_front() {
            Some(error) => Err(error),
            None => Ok(answer(&inner)),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AccountsApi for MemoryAccounts {
    fn accounts<'a>(
        &'a self,
        _site: &'a SignInSite,
        token: &'a SsoToken,
    ) -> PortFuture<'a, Result<Vec<Account>, SsoError>> {
        let account =
            |id: &String| Account { id: id.clone(), name: Some(format!("account {id}")), email: None };
        let answer = self.answer(token, |inner| inner.roles.keys().map(account).collect());
        Box::pin(std::future::ready(answer))
    }

    fn roles<'a>(
        &'a self,
        _site: &'a SignInSite,
        token: &'a SsoToken,
        account: &'a str,
    ) -> PortFuture<'a, Result<Vec<String>, SsoError>> {
        let answer = self.answer(token, |inner| inner.roles.get(account).cloned().unwrap_or_default());
        Box::pin(std::future::ready(answer))
    }
}

/// A config file that takes everything, and publishes it.
#[derive(Debug)]
pub struct MemoryConfig {
    configured: watch::Sender<Arc<ConfiguredSignIns>>,
    refusal: Mutex<Option<Fault>>,
}

impl MemoryConfig {
    /// One that publishes there.
    pub fn new(configured: watch::Sender<Arc<ConfiguredSignIns>>) -> Self {
        Self { configured, refusal: Mutex::default() }
    }

    /// Lets everything fail from now on.
    pub fn refuse(&self, fault: Fault) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn write(&self, config: &SsoConfig) -> Result<SsoConfigured, Fault> {
        if let Some(fault) = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(fault);
        }
        let SsoSession { name, start_url, region, scopes } = &config.session;
        let site = SignInSite {
            name: name.clone(),
            start_url: start_url.to_string(),
            region: region.clone(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
        };
        let profiles = config.profiles.iter().map(|one| SignInProfile {
            profile: one.name.clone(),
            account: Some(one.account.to_string()),
            role: Some(one.role.to_string()),
        });
        let known = ConfiguredSignIn { site, profiles: profiles.collect() };
        self.configured.send_modify(|all| drop(Arc::make_mut(all).insert(name.clone(), known)));
        let profiles = config.profiles.iter().map(|one| SsoSection::Profile(one.name.clone()));
        let sections = [SsoSection::Session(name.clone())].into_iter().chain(profiles);
        let added = |section| ConfiguredSection { section, change: SectionChange::Added };
        let sections = sections.map(added).collect();
        Ok(SsoConfigured { file: "/home/u/.aws/config".to_owned(), backup: None, sections })
    }
}

impl ConfigFile for MemoryConfig {
    fn configure<'a>(&'a self, config: &'a SsoConfig) -> PortFuture<'a, Result<SsoConfigured, Fault>> {
        Box::pin(std::future::ready(self.write(config)))
    }
}
