//! A login as a task: registers a client, shows the page, fetches the token.

use std::sync::Arc;
use std::time::Duration;

use stormtunnel_model::{Attempt, LoginPage, LoginProgress};
use tokio_util::sync::CancellationToken;

use super::actor::{Outside, Report};
use super::classify::{self, LoginFailure, Poll};
use super::flow::{LoginFlow, LoginPlan, Opener};
use super::machine::Answer;
use super::ports::{DeviceLogin, Grant};
use super::token::{IssuedToken, OidcClient, StoredClient};

/// By how much each `slow_down` lengthens the interval, as RFC 8628 says.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The least interval: an answer without one, or with zero, must not become a storm.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// What a login brings.
type LoggedIn = (IssuedToken, Arc<OidcClient>);

pub(super) struct LoginTask {
    attempt: Attempt,
    plan: LoginPlan,
    register: bool,
    outside: Outside,
}

impl LoginTask {
    /// `register`: with a new client, even if one is known.
    pub(super) fn new(attempt: Attempt, plan: LoginPlan, register: bool, outside: Outside) -> Self {
        Self { attempt, plan, register, outside }
    }

    pub(super) fn start(self, cancel: CancellationToken) {
        let attempt = self.attempt;
        let answer = move |outcome: Result<LoggedIn, LoginFailure>| {
            let answer = match outcome {
                Ok((issued, client)) => Answer::LoggedIn(issued, client),
                Err(failure) => Answer::LoginFailed(failure),
            };
            Report::Answer(attempt, answer)
        };
        let outside = self.outside.clone();
        let failed = move |fault| answer(Err(LoginFailure::Refused(fault)));
        outside.run("login", failed, async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => answer(Err(LoginFailure::Cancelled)),
                outcome = self.sign_in() => answer(outcome),
            }
        });
    }

    async fn sign_in(&self) -> Result<LoggedIn, LoginFailure> {
        let client = self.client().await?;
        let issued = match self.plan.flow {
            LoginFlow::AuthorizationCode => self.by_code(&client).await?,
            LoginFlow::DeviceCode => self.by_device(&client).await?,
        };
        Ok((issued, client))
    }

    /// The registered client, or a new one.
    async fn client(&self) -> Result<Arc<OidcClient>, LoginFailure> {
        let Outside { site, ports, .. } = &self.outside;
        let flow = self.plan.flow;
        let now = ports.clock.wall();
        // A key store that is locked costs a registration, not the login.
        let known = ports.keys.client(&site.name, flow).await.unwrap_or_default();
        if let Some(known) = known.filter(|known| !self.register && known.serves(site, now)) {
            return Ok(known.client);
        }
        let registered = ports.oidc.register(site, flow).await.map_err(classify::login_failure)?;
        let client = Arc::new(registered);
        let kept = StoredClient { client: Arc::clone(&client), site: Arc::clone(site), registered_at: now };
        if let Err(fault) = ports.keys.put_client(&site.name, flow, Some(kept)).await {
            tracing::warn!("could not keep a client registration: {fault}");
        }
        Ok(client)
    }

    async fn by_code(&self, client: &OidcClient) -> Result<IssuedToken, LoginFailure> {
        let Outside { site, ports, .. } = &self.outside;
        let authorization = ports.browser.authorize(site, client).await;
        let mut authorization = authorization.map_err(LoginFailure::Refused)?;
        let url = authorization.url().to_owned();
        self.show(url.clone(), url, None).await;
        let code = &authorization.code().await?;
        self.progress(LoginProgress::Finishing).await;
        let issued = ports.oidc.create_token(site, Grant::Code { client, code }).await;
        issued.map_err(classify::login_failure)
    }

    async fn by_device(&self, client: &OidcClient) -> Result<IssuedToken, LoginFailure> {
        let Outside { site, ports, .. } = &self.outside;
        let begun = ports.oidc.start_device(site, client).await;
        let device = begun.map_err(classify::login_failure)?;
        let complete = device.complete_url.clone().unwrap_or_else(|| device.url.clone());
        self.show(complete, device.url.clone(), Some(device.user_code.clone())).await;
        let polls = tokio::time::timeout(device.expires_in, self.poll(client, &device));
        polls.await.unwrap_or(Err(LoginFailure::TimedOut))
    }

    async fn poll(&self, client: &OidcClient, device: &DeviceLogin) -> Result<IssuedToken, LoginFailure> {
        let Outside { site, ports, .. } = &self.outside;
        let mut interval = device.interval.max(LEAST_INTERVAL);
        loop {
            tokio::time::sleep(interval).await;
            let grant = Grant::Device { client, device_code: &device.device_code };
            let error = match ports.oidc.create_token(site, grant).await {
                Ok(issued) => return Ok(issued),
                Err(error) => error,
            };
            match classify::poll(error) {
                Poll::Pending => {}
                Poll::SlowDown => interval += SLOW_DOWN,
                Poll::Again(fault) => tracing::debug!("a poll failed: {fault}"),
                Poll::Over(failure) => return Err(failure),
            }
        }
    }

    /// Shows the page: `url` is what the person sees, and at once; `complete` is opened meanwhile, which may take long.
    async fn show(&self, complete: String, url: String, user_code: Option<String>) {
        let (opener, page) = match &self.plan.opener {
            Opener::Nobody => (None, LoginPage::LeftToPerson),
            opener @ (Opener::Default | Opener::Command(_)) => (Some(opener.clone()), LoginPage::Opening),
        };
        self.progress(LoginProgress::Waiting { url, user_code, page }).await;
        let Some(opener) = opener else { return };
        let (attempt, outside) = (self.attempt, self.outside.clone());
        let open = async move {
            let opened = outside.ports.browser.open(&complete, &opener).await;
            let became = if opened { LoginPage::Opened } else { LoginPage::NotOpened };
            outside.report(Report::Answer(attempt, Answer::Page(became))).await;
        };
        self.outside.spawn("open login page", open);
    }

    async fn progress(&self, progress: LoginProgress) {
        self.outside.report(Report::Answer(self.attempt, Answer::LoginProgress(progress))).await;
    }
}
