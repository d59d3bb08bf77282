//! What a person needs to set profiles up: the accounts and roles that the access portal lists, and a place to write to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use stormtunnel_model::{
    Account, AccountId, Fault, FaultKind, Profile, SignInChoice, SsoConfig, SsoConfigured, SsoSession,
};
use tokio::time::timeout;

use super::credentials::ask_portal;
use super::registry::SignIns;

/// How long to wait for a sign-in that was written a moment ago. Only the tasks that follow the file are in between.
const SHOWS: Duration = Duration::from_secs(5);

impl SignIns {
    /// The accounts in which the person has a role.
    ///
    /// # Errors
    /// `SignInNotFound`, `InvalidArgument` where several may be meant, and the fault that a login, a person or time has to end.
    pub async fn accounts(&self, choice: &SignInChoice) -> Result<Vec<Account>, Fault> {
        let (handle, world) = (self.existing(choice)?, self.world(choice)?);
        let denied = |fault| not_allowed(fault, "sso:ListAccounts", String::new());
        let ask = |token| {
            let (handle, world) = (&handle, world);
            async move { world.accounts.accounts(handle.site(), Arc::as_ref(&token)).await }
        };
        ask_portal(&handle, denied, ask).await
    }

    /// The names of the person's roles in an account, which are those of permission sets.
    ///
    /// # Errors
    /// Those of [`SignIns::accounts`]; `PermissionDenied` for an account that is not one of the person's.
    pub async fn roles(&self, choice: &SignInChoice, account: &AccountId) -> Result<Vec<String>, Fault> {
        let (handle, world) = (self.existing(choice)?, self.world(choice)?);
        let denied = |fault| not_allowed(fault, "sso:ListAccountRoles", format!("account {account}"));
        let ask = |token| {
            let (handle, world) = (&handle, world);
            async move { world.accounts.roles(handle.site(), Arc::as_ref(&token), account.as_str()).await }
        };
        ask_portal(&handle, denied, ask).await
    }

    /// Writes a session and profiles that use it. The sign-in is there when this returns.
    ///
    /// # Errors
    /// `SectionExists` where the file says something else and is not to be overwritten, `InvalidArgument` for what cannot
    /// be written, `Internal` where the disk does not let us. The file is as it was then.
    pub async fn configure(&self, config: &SsoConfig) -> Result<SsoConfigured, Fault> {
        let world = self.world(&SignInChoice::Named(config.session.name.clone()))?;
        let mut news = self.watch(None);
        let configured = world.config.configure(config).await?;
        let shows = async { while !self.shows(config) && news.next().await.is_some() {} };
        if timeout(SHOWS, shows).await.is_err() {
            tracing::warn!(sign_in = %config.session.name, "what was configured does not show");
        }
        Ok(configured)
    }

    /// Whether the sign-in and the profiles are there as they are to be.
    fn shows(&self, config: &SsoConfig) -> bool {
        let SsoSession { name, start_url, region, .. } = &config.session;
        self.known(name).is_some_and(|known| {
            let has = |name: &Profile| known.profiles.iter().any(|one| one.profile == *name);
            known.site.start_url == start_url.as_str()
                && known.site.region == *region
                && config.profiles.iter().all(|profile| has(&profile.name))
        })
    }
}

fn not_allowed(fault: Fault, action: &str, resource: String) -> Fault {
    let kind = FaultKind::PermissionDenied { principal: String::new(), action: action.to_owned(), resource };
    Fault { kind, ..fault }
}
