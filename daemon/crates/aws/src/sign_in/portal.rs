//! The access portal: what a person may use, and credentials for it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sso::types::{AccountInfo, RoleCredentials as Issued};
use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::sign_in::classify::SsoError;
use stormtunnel_engine::sign_in::credentials::{Role, RoleCredentials};
use stormtunnel_engine::sign_in::ports::{AccountsApi, PortalApi, SignInSite};
use stormtunnel_engine::sign_in::token::SsoToken;
use stormtunnel_model::{Account, Fault, FaultKind, Timestamp};
use tokio::time::timeout;

use super::clients::portal;
use super::error::{sso_error, strange_answer};
use crate::network::AwsNetwork;

/// Entries of one page of a list: as many as the portal gives.
const PAGE: i32 = 100;

/// How long a whole list may take, however many pages it has.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// The access portals of every region.
pub struct AwsPortal {
    network: Arc<AwsNetwork>,
}

impl AwsPortal {
    /// Calls with the HTTP client and the endpoints of `network`, and with nobody's credentials but the token.
    pub fn new(network: Arc<AwsNetwork>) -> Self {
        Self { network }
    }

    async fn role_credentials(
        &self,
        site: &SignInSite,
        token: &SsoToken,
        role: &Role,
    ) -> Result<RoleCredentials, SsoError> {
        let token = token.access.expose_secret();
        let call = client(&self.network, site).await?.get_role_credentials();
        let call = call.access_token(token).account_id(&role.account).role_name(&role.name);
        let failed = |error| sso_error(&error, site, "sso:GetRoleCredentials", &[token]);
        let answer = call.send().await.map_err(failed)?;
        answer.role_credentials.and_then(issued).ok_or_else(strange_answer)
    }

    async fn accounts(&self, site: &SignInSite, token: &SsoToken) -> Result<Vec<Account>, SsoError> {
        let token = token.access.expose_secret();
        let call = client(&self.network, site).await?.list_accounts().access_token(token);
        let mut pages = call.into_paginator().page_size(PAGE).send();
        let mut accounts = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| sso_error(&error, site, "sso:ListAccounts", &[token]))?;
            accounts.extend(page.account_list.unwrap_or_default().into_iter().filter_map(account));
        }
        Ok(accounts)
    }

    async fn roles(
        &self,
        site: &SignInSite,
        token: &SsoToken,
        account: &str,
    ) -> Result<Vec<String>, SsoError> {
        let token = token.access.expose_secret();
        let call = client(&self.network, site).await?.list_account_roles();
        let mut pages = call.access_token(token).account_id(account).into_paginator().page_size(PAGE).send();
        let mut roles = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| sso_error(&error, site, "sso:ListAccountRoles", &[token]))?;
            roles.extend(page.role_list.unwrap_or_default().into_iter().filter_map(|role| role.role_name));
        }
        Ok(roles)
    }
}

/// Has a token revoked.
pub(super) async fn logout(
    network: &AwsNetwork,
    site: &SignInSite,
    token: &SsoToken,
) -> Result<(), SsoError> {
    let token = token.access.expose_secret();
    let answer = client(network, site).await?.logout().access_token(token).send().await;
    answer.map(drop).map_err(|error| sso_error(&error, site, "sso:Logout", &[token]))
}

async fn client(network: &AwsNetwork, site: &SignInSite) -> Result<aws_sdk_sso::Client, SsoError> {
    portal(network, site).await.map_err(SsoError::Local)
}

fn issued(credentials: Issued) -> Option<RoleCredentials> {
    let expires_at = u64::try_from(credentials.expiration).ok().filter(|millis| *millis > 0)?;
    Some(RoleCredentials {
        access_key_id: credentials.access_key_id?,
        secret_access_key: SecretString::from(credentials.secret_access_key?),
        session_token: SecretString::from(credentials.session_token?),
        expires_at: Timestamp::from_millis(expires_at),
    })
}

fn account(info: AccountInfo) -> Option<Account> {
    Some(Account { id: info.account_id?, name: info.account_name, email: info.email_address })
}

/// A list ends, also one whose pages do not.
async fn in_time<T>(list: impl Future<Output = Result<T, SsoError>>) -> Result<T, SsoError> {
    let late = |_| {
        let detail =
            format!("the AWS access portal did not finish its list within {} s", LIST_TIMEOUT.as_secs());
        SsoError::Local(Fault::new(FaultKind::Network, detail))
    };
    timeout(LIST_TIMEOUT, list).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

impl PortalApi for AwsPortal {
    fn role_credentials<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        role: &'a Role,
    ) -> PortFuture<'a, Result<RoleCredentials, SsoError>> {
        Box::pin(self.role_credentials(site, token, role))
    }
}

impl AccountsApi for AwsPortal {
    fn accounts<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
    ) -> PortFuture<'a, Result<Vec<Account>, SsoError>> {
        Box::pin(in_time(self.accounts(site, token)))
    }

    fn roles<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        account: &'a str,
    ) -> PortFuture<'a, Result<Vec<String>, SsoError>> {
        Box::pin(in_time(self.roles(site, token, account)))
    }
}
