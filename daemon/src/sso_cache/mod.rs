//! The token files in `~/.aws/sso/cache`, as sign-ins share them with the AWS CLI and the SDKs.

use std::sync::Arc;
use std::time::Duration;

use stormtunnel_aws_files::SignIn;
use stormtunnel_aws_files::tokens::{CacheDirectory, CacheError, Client, Token};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::sign_in::policy::Sharing;
use stormtunnel_engine::sign_in::ports::{SharedCache, SharedFile, SignInSite};
use stormtunnel_engine::sign_in::token::{OidcClient, RefreshGrant, SsoToken};
use stormtunnel_model::{Fault, Timestamp};
use tokio::sync::Mutex;

/// How long a disk may take. A network's may be away for longer; then the next look comes within a minute.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a registration ends of which nobody wrote down when: AWS tells.
const NOBODY_KNOWS: Timestamp = Timestamp::from_millis(u64::MAX);

/// The directory, one operation at a time. So a disk that hangs holds one thread, and a write that it puts off is done before
/// the next one.
#[derive(Debug)]
pub struct SsoCache(Arc<Mutex<CacheDirectory>>);

impl SsoCache {
    /// The cache in a directory, which need not exist.
    pub fn new(directory: CacheDirectory) -> Self {
        Self(Arc::new(Mutex::new(directory)))
    }

    /// Does something that blocks for the disk. It may go on after the fault that it took too long.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CacheDirectory) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let directory = Arc::clone(&self.0);
        let done = async {
            let directory = directory.lock_owned().await;
            tokio::task::spawn_blocking(move || work(&directory)).await
        };
        match tokio::time::timeout(PATIENCE, done).await {
            Ok(outcome) => outcome.map_err(|panic| Fault::internal(panic.to_string())),
            Err(_elapsed) => Err(Fault::internal(format!(
                "the disk with the SSO token cache does not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }
}

impl SharedCache for SsoCache {
    fn read<'a>(&'a self, site: &'a SignInSite) -> PortFuture<'a, SharedFile> {
        let name = site.name.clone();
        Box::pin(async move {
            let read = move |directory: &CacheDirectory| match directory.token(&name) {
                Ok(Some(found)) => SharedFile::Token(Arc::new(used(found.token))),
                Ok(None) => SharedFile::Missing,
                Err(CacheError::Content(_)) => SharedFile::Torn,
                Err(CacheError::Read(error)) => SharedFile::Failed(fault("read", directory, &error)),
            };
            self.run(read).await.unwrap_or_else(SharedFile::Failed)
        })
    }

    fn write<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
        sharing: Sharing,
    ) -> PortFuture<'a, Result<(), Fault>> {
        let (sign_in, mut token) = (sign_in(site), shared(token));
        Box::pin(async move {
            let write = move |directory: &CacheDirectory| {
                let content = match sharing {
                    Sharing::Full => {
                        // Other tools find again what they keep in the file.
                        let before = directory.token(&sign_in.name).ok().flatten();
                        token.other = before.map(|before| before.token.other).unwrap_or_default();
                        token.shared(&sign_in)
                    }
                    Sharing::AccessOnly => token.access_only(&sign_in),
                    Sharing::Off => return Ok(()),
                };
                let put = directory.put_token(&sign_in.name, &content);
                put.map_err(|error| fault("write", directory, &error))
            };
            self.run(write).await?
        })
    }

    fn delete<'a>(&'a self, site: &'a SignInSite) -> PortFuture<'a, Result<(), Fault>> {
        let name = site.name.clone();
        Box::pin(async move {
            let delete = move |directory: &CacheDirectory| {
                let deleted = directory.delete_token(&name);
                deleted.map(|_was_there| ()).map_err(|error| fault("delete", directory, &error))
            };
            self.run(delete).await?
        })
    }
}

/// The token of a file, as a sign-in uses it. Without the client that it was given to a refresh token renews nothing.
fn used(token: Token) -> SsoToken {
    let client = token.client.map(|Client { id, secret, expires_at }| {
        Arc::new(OidcClient { id, secret, expires_at: expires_at.unwrap_or(NOBODY_KNOWS) })
    });
    let refresh = token.refresh_token.zip(client).map(|(token, client)| RefreshGrant { token, client });
    SsoToken { access: token.access_token, expires_at: token.expires_at, refresh }
}

/// The token of a sign-in, as a file has it.
fn shared(token: &SsoToken) -> Token {
    let client = token.refresh.as_ref().map(|grant| Client {
        id: grant.client.id.clone(),
        secret: grant.client.secret.clone(),
        expires_at: Some(grant.client.expires_at).filter(|time| *time != NOBODY_KNOWS),
    });
    Token {
        access_token: token.access.clone(),
        expires_at: token.expires_at,
        refresh_token: token.refresh.as_ref().map(|grant| grant.token.clone()),
        client,
        other: Default::default(),
    }
}

fn sign_in(site: &SignInSite) -> SignIn {
    let SignInSite { name, start_url, region, scopes } = site.clone();
    SignIn { name, start_url, region, scopes }
}

fn fault(what: &str, directory: &CacheDirectory, error: &std::io::Error) -> Fault {
    let path = directory.path().display();
    Fault::internal(format!("cannot {what} the token file in {path}: {error}"))
}

#[cfg(test)]
mod tests;
