//! Credentials of `aws login`, out of its cache. They live for a quarter of an hour; AWS's own tools renew them whenever they use
//! them, with a key that is bound to their client. Here they are read, as often as they are needed, and left alone: a second
//! renewer is what costs such sessions (aws-cli issue 10628).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::{Fault, FaultKind, Profile};

use crate::credentials::wall_time;

/// Provides what the cache holds for a session.
pub(super) struct LoginSessionProvider {
    file: Option<PathBuf>,
    profile: Profile,
    clock: Arc<dyn Clock>,
}

impl LoginSessionProvider {
    /// Of the session of that ARN, in a cache directory.
    pub(super) fn new(cache: Option<&Path>, arn: &str, profile: &Profile, clock: &Arc<dyn Clock>) -> Self {
        let name = format!("{}.json", hex::encode(Sha256::digest(arn.trim())));
        let file = cache.map(|directory| directory.join(name));
        Self { file, profile: profile.clone(), clock: Arc::clone(clock) }
    }

    async fn provide(&self) -> provider::Result {
        self.read().await.map_err(|why| CredentialsError::provider_error(self.fault(&why)))
    }

    /// The error says why there are no credentials.
    async fn read(&self) -> Result<Keys, String> {
        let file = self.file.as_deref().ok_or("there is no home directory to look for its cache in")?;
        let place = file.display();
        let text = match tokio::fs::read(file).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!("nobody logged in: there is no {place}"));
            }
            Err(error) => return Err(format!("{place} cannot be read: {error}")),
        };
        let keys = parsed(&text).ok_or_else(|| format!("{place} is not what `aws login` writes"))?;
        match keys.expiry() {
            Some(expiry) if expiry <= wall_time(self.clock.as_ref()) => {
                Err("they have expired, and AWS's tools renew them only when they use them".to_owned())
            }
            Some(_) | None => Ok(keys),
        }
    }

    fn fault(&self, why: &str) -> Fault {
        let profile = &self.profile;
        let kind = FaultKind::CredentialsInvalid { profile: profile.to_string() };
        let detail = format!(
            "the session of `aws login`: {why}; type `aws login --profile {profile}`, or, to have them renewed for tunnels, make a \
             profile with `credential_process = aws configure export-credentials --profile {profile}` and use that one"
        );
        Fault::new(kind, detail)
    }
}

/// Half a file, or another one, has nothing.
fn parsed(text: &[u8]) -> Option<Keys> {
    let file: Value = serde_json::from_slice(text).ok()?;
    let token = file.get("accessToken")?;
    let field = |name: &str| token.get(name)?.as_str().filter(|text| !text.is_empty());
    let expires = DateTime::from_str(field("expiresAt")?, Format::DateTimeWithOffset).ok()?;
    let expires = SystemTime::try_from(expires).ok()?;
    let session = field("sessionToken")?.to_owned();
    Some(Keys::new(field("accessKeyId")?, field("secretAccessKey")?, Some(session), Some(expires), "login"))
}

impl ProvideCredentials for LoginSessionProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl fmt::Debug for LoginSessionProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginSessionProvider").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::credentials::tests::StandingClock;

    const ARN: &str = "arn:aws:iam::123456789012:user/Admin";
    /// The name that the AWS CLI gives the file of that ARN.
    const FILE: &str = "10cabd19777b6651ac57333b55c7c10a1242b1c2337f40e674926d7324698347.json";
    const TEXT: &str = r#"{"accessToken":{"accessKeyId":"ASIALOGIN","secretAccessKey":"CANARYsecret","sessionToken":"CANARYtoken",
        "accountId":"123456789012","expiresAt":"2026-01-01T00:15:00Z"},"tokenType":"urn:aws:params:oauth:token-type:access_token_sigv4",
        "refreshToken":"CANARYrefresh","dpopKey":"CANARYkey","clientId":"arn:aws:signin:::devtools/same-device"}"#;
    /// 2026-01-01T00:00:00Z in milliseconds.
    const BEGIN: u64 = 1_767_225_600_000;

    async fn provided(content: Option<&str>, minutes: u64) -> Result<Keys, String> {
        let cache = tempfile::tempdir().unwrap();
        if let Some(content) = content {
            std::fs::write(cache.path().join(FILE), content).unwrap();
        }
        let clock = StandingClock::default();
        clock.0.store(BEGIN + minutes * 60_000, Ordering::Relaxed);
        let (profile, clock): (Profile, Arc<dyn Clock>) = ("dev".parse().unwrap(), Arc::new(clock));
        let provider = LoginSessionProvider::new(Some(cache.path()), &format!(" {ARN} "), &profile, &clock);
        provider.read().await
    }

    #[tokio::test]
    async fn what_aws_login_left_is_used_while_it_lives() {
        let keys = provided(Some(TEXT), 14).await.unwrap();
        assert_eq!((keys.access_key_id(), keys.session_token()), ("ASIALOGIN", Some("CANARYtoken")));
        let why = provided(Some(TEXT), 15).await.unwrap_err();
        assert!(why.starts_with("they have expired"), "{why}");
    }

    #[tokio::test]
    async fn what_is_not_there_or_is_something_else_is_told_apart() {
        let why = provided(None, 0).await.unwrap_err();
        assert!(why.starts_with("nobody logged in") && why.contains(FILE), "{why}");
        let whole = TEXT.len();
        for other in [&TEXT[..whole / 2], "", "{}", r#"{"accessToken":"a string, as of SSO"}"#] {
            let why = provided(Some(other), 0).await.unwrap_err();
            assert!(why.contains("is not what `aws login` writes") && !why.contains("CANARY"), "{why}");
        }
    }
}
