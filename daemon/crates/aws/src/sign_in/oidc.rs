//! SSO-OIDC.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_sdk_ssooidc::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sdk_ssooidc::operation::create_token::CreateTokenOutput;
use aws_sdk_ssooidc::operation::register_client::RegisterClientOutput;
use aws_sdk_ssooidc::operation::start_device_authorization::StartDeviceAuthorizationOutput;
use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_aws_files::normalized;
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::sign_in::classify::SsoError;
use stormtunnel_engine::sign_in::flow::LoginFlow;
use stormtunnel_engine::sign_in::ports::{CALLBACK_PATH, DeviceLogin, Grant, OidcApi, SignInSite};
use stormtunnel_engine::sign_in::token::{IssuedToken, OidcClient, SsoToken};
use stormtunnel_model::{Fault, FaultKind, Timestamp};

use super::clients::{OidcPlace, oidc};
use super::error::{sso_error, strange_answer};
use super::portal;
use crate::endpoint::check_safe;
use crate::network::AwsNetwork;

/// Who asks, on the page where the person agrees.
const CLIENT_NAME: &str = "StormTunnel";

/// What a client of the authorization code is registered with, before the path: any port will do, and no other host would. Some
/// instances refuse a client that wants device codes as well (aws-sso-cli issue 1359).
const REDIRECT_HOST: &str = "http://127.0.0.1";
const AUTHORIZATION_CODE: &str = "authorization_code";
const REFRESH_TOKEN: &str = "refresh_token";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Between two polls, where the service says nothing (RFC 8628, section 3.2).
const USUAL_INTERVAL: Duration = Duration::from_secs(5);

/// SSO-OIDC of every region.
pub struct AwsOidc {
    network: Arc<AwsNetwork>,
}

impl AwsOidc {
    /// Calls with the HTTP client and the endpoints of `network`, and with nobody's credentials.
    pub fn new(network: Arc<AwsNetwork>) -> Self {
        Self { network }
    }

    /// Scheme, host and port of SSO-OIDC for that sign-in. A browser begins its login at `/authorize` there.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] for an endpoint that cannot be used, or for a region without one.
    pub fn base_url(&self, site: &SignInSite) -> Result<String, Fault> {
        let dual_stack = match OidcPlace::of(&self.network, site)? {
            OidcPlace::Configured(url) => return Ok(url),
            OidcPlace::Aws { dual_stack } => dual_stack,
        };
        let nowhere =
            |why: String| Fault::new(FaultKind::InvalidArgument { field: "sso_region".to_owned() }, why);
        let params = Params::builder().region(site.region.to_string()).use_dual_stack(dual_stack).build();
        let params = params.map_err(|error| nowhere(error.to_string()))?;
        let resolver = DefaultResolver::new();
        // A table is looked into: there is nothing to wait for.
        let looked_up =
            pin!(resolver.resolve_endpoint(&params)).poll(&mut Context::from_waker(Waker::noop()));
        match looked_up {
            Poll::Ready(Ok(endpoint)) => Ok(endpoint.url().to_owned()),
            Poll::Ready(Err(error)) => Err(nowhere(error.to_string())),
            Poll::Pending => Err(Fault::internal("the AWS SDK did not say at once where SSO-OIDC is")),
        }
    }

    async fn client(&self, site: &SignInSite) -> Result<aws_sdk_ssooidc::Client, SsoError> {
        oidc(&self.network, site).await.map_err(SsoError::Local)
    }

    async fn register(&self, site: &SignInSite, flow: LoginFlow) -> Result<OidcClient, SsoError> {
        let mut scopes = site.scopes.clone();
        let client = self.client(site).await?;
        let call = client.register_client().client_name(CLIENT_NAME).client_type("public");
        let call = match flow {
            LoginFlow::DeviceCode => call,
            LoginFlow::AuthorizationCode => {
                scopes = site.code_scopes();
                call.grant_types(AUTHORIZATION_CODE)
                    .grant_types(REFRESH_TOKEN)
                    .redirect_uris(format!("{REDIRECT_HOST}{CALLBACK_PATH}"))
                    .issuer_url(normalized(&site.start_url))
            }
        };
        let answer = call.set_scopes(Some(scopes).filter(|scopes| !scopes.is_empty())).send().await;
        let answer = answer.map_err(|error| sso_error(&error, site, "sso-oauth:RegisterClient", &[]))?;
        registered(answer).ok_or_else(strange_answer)
    }

    async fn start_device(&self, site: &SignInSite, client: &OidcClient) -> Result<DeviceLogin, SsoError> {
        let secret = client.secret.expose_secret();
        let call = self.client(site).await?.start_device_authorization();
        let call = call.client_id(&client.id).client_secret(secret).start_url(normalized(&site.start_url));
        let failed = |error| sso_error(&error, site, "sso-oauth:StartDeviceAuthorization", &[secret]);
        begun(call.send().await.map_err(failed)?).ok_or_else(strange_answer)
    }

    async fn create_token(&self, site: &SignInSite, grant: Grant<'_>) -> Result<IssuedToken, SsoError> {
        let call = self.client(site).await?.create_token();
        let (client, call, mut secrets) = match &grant {
            Grant::Refresh(grant) => {
                let token = grant.token.expose_secret();
                let call = call.grant_type(REFRESH_TOKEN).refresh_token(token);
                (grant.client.as_ref(), call, vec![token])
            }
            Grant::Device { client, device_code } => {
                let code = device_code.expose_secret();
                (*client, call.grant_type(DEVICE_CODE).device_code(code), vec![code])
            }
            Grant::Code { client, code } => {
                let (verifier, text) = (code.verifier.expose_secret(), code.code.expose_secret());
                let call = call.grant_type(AUTHORIZATION_CODE).code(text).code_verifier(verifier);
                (*client, call.redirect_uri(&code.redirect_uri), vec![text, verifier])
            }
        };
        let secret = client.secret.expose_secret();
        secrets.push(secret);
        let failed = |error| sso_error(&error, site, "sso-oauth:CreateToken", &secrets);
        let answer = call.client_id(&client.id).client_secret(secret).send().await.map_err(failed)?;
        issued(answer).ok_or_else(strange_answer)
    }
}

fn registered(answer: RegisterClientOutput) -> Option<OidcClient> {
    let expires_at = u64::try_from(answer.client_secret_expires_at).ok().filter(|seconds| *seconds > 0)?;
    Some(OidcClient {
        id: answer.client_id?,
        secret: SecretString::from(answer.client_secret?),
        expires_at: Timestamp::from_millis(expires_at.saturating_mul(1000)),
    })
}

fn begun(answer: StartDeviceAuthorizationOutput) -> Option<DeviceLogin> {
    Some(DeviceLogin {
        device_code: SecretString::from(answer.device_code?),
        user_code: answer.user_code.filter(|code| is_shown_safely(code))?,
        url: answer.verification_uri.filter(|url| is_page(url))?,
        complete_url: answer.verification_uri_complete.filter(|url| is_page(url)),
        expires_in: seconds(answer.expires_in)?,
        interval: seconds(answer.interval).unwrap_or(USUAL_INTERVAL),
    })
}

fn issued(answer: CreateTokenOutput) -> Option<IssuedToken> {
    Some(IssuedToken {
        access: SecretString::from(answer.access_token.filter(|token| !token.is_empty())?),
        expires_in: seconds(answer.expires_in)?,
        refresh: answer.refresh_token.filter(|token| !token.is_empty()).map(SecretString::from),
    })
}

fn seconds(number: i32) -> Option<Duration> {
    u64::try_from(number).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// It goes to a browser and to a terminal.
fn is_page(url: &str) -> bool {
    is_shown_safely(url) && check_safe(url, "verificationUri").is_ok()
}

fn is_shown_safely(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl OidcApi for AwsOidc {
    fn register<'a>(
        &'a self,
        site: &'a SignInSite,
        flow: LoginFlow,
    ) -> PortFuture<'a, Result<OidcClient, SsoError>> {
        Box::pin(self.register(site, flow))
    }

    fn start_device<'a>(
        &'a self,
        site: &'a SignInSite,
        client: &'a OidcClient,
    ) -> PortFuture<'a, Result<DeviceLogin, SsoError>> {
        Box::pin(self.start_device(site, client))
    }

    fn create_token<'a>(
        &'a self,
        site: &'a SignInSite,
        grant: Grant<'a>,
    ) -> PortFuture<'a, Result<IssuedToken, SsoError>> {
        Box::pin(self.create_token(site, grant))
    }

    fn logout<'a>(
        &'a self,
        site: &'a SignInSite,
        token: &'a SsoToken,
    ) -> PortFuture<'a, Result<(), SsoError>> {
        Box::pin(portal::logout(&self.network, site, token))
    }
}
