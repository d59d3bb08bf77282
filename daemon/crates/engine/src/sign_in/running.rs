//! A login as whoever asked for it sees it.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use stormtunnel_model::{
    Fault, FaultKind, LoginEnd, LoginProgress, SignIn, SignInActivity, SignInName, SignInStatus,
};
use tokio::sync::watch;

use super::actor::SignInHandle;
use super::classify::LoginFailure;
use super::flow::LoginPlan;
use super::machine::{LoginBy, LoginOrder};

/// What somebody who waits for a login is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginNews {
    /// Which way it goes, and why. Comes first.
    Begun {
        /// The sign-in.
        sign_in: SignInName,
        /// The way.
        plan: LoginPlan,
    },
    /// How far it is.
    Progress(LoginProgress),
    /// Somebody is signed in. Comes last.
    SignedIn(Box<SignIn>),
}

/// A stream of [`LoginNews`] that ends with [`LoginNews::SignedIn`] or the fault. The login begins, or is joined, when the
/// stream is first polled, and is given up when all who wait for it have dropped theirs.
pub struct RunningLogin(Pin<Box<dyn Stream<Item = Result<LoginNews, Fault>> + Send>>);

impl fmt::Debug for RunningLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningLogin").finish_non_exhaustive()
    }
}

impl Stream for RunningLogin {
    type Item = Result<LoginNews, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl RunningLogin {
    /// `shown` is the sign-in without its status.
    pub(super) fn new(handle: SignInHandle, shown: SignIn, by: LoginBy, plan: LoginPlan) -> Self {
        let (name, mut status) = (handle.name().clone(), handle.watch());
        // A login that runs already is shown as far as it is.
        status.mark_changed();
        let order = LoginOrder { by, plan: plan.clone() };
        let outcome = async move { handle.login(order).await }.boxed();
        let begun = LoginNews::Begun { sign_in: name.clone(), plan };
        let waiting = Waiting { name, shown, status, outcome, told: None };
        let news = stream::unfold(Some(waiting), |waiting| async move {
            let mut waiting = waiting?;
            let news = waiting.next().await;
            let goes_on = matches!(news, Ok(LoginNews::Progress(_)));
            Some((news, goes_on.then_some(waiting)))
        });
        Self(Box::pin(stream::once(ready(Ok(begun))).chain(news)))
    }
}

struct Waiting {
    name: SignInName,
    shown: SignIn,
    status: watch::Receiver<SignInStatus>,
    outcome: BoxFuture<'static, Result<(), LoginFailure>>,
    told: Option<LoginProgress>,
}

impl Waiting {
    async fn next(&mut self) -> Result<LoginNews, Fault> {
        loop {
            tokio::select! {
                biased;
                outcome = &mut self.outcome => return self.ended(outcome).await,
                Ok(()) = self.status.changed() => {
                    let progress = progress(&self.status.borrow_and_update());
                    if let Some(progress) = progress.filter(|progress| Some(progress) != self.told.as_ref()) {
                        self.told = Some(progress.clone());
                        return Ok(LoginNews::Progress(progress));
                    }
                }
            }
        }
    }

    async fn ended(&mut self, outcome: Result<(), LoginFailure>) -> Result<LoginNews, Fault> {
        outcome.map_err(|failure| login_fault(&self.name, failure))?;
        // The outcome is told a moment before the state that comes of it.
        let status = self.status.wait_for(|status| progress(status).is_none()).await;
        let status = status.map_err(|_stopped| stopping())?.clone();
        Ok(LoginNews::SignedIn(Box::new(SignIn { status, ..self.shown.clone() })))
    }
}

fn progress(status: &SignInStatus) -> Option<LoginProgress> {
    match &status.activity {
        Some(SignInActivity::LoggingIn(progress)) => Some(progress.clone()),
        Some(SignInActivity::Reading | SignInActivity::Renewing) | None => None,
    }
}

fn stopping() -> Fault {
    Fault::new(FaultKind::ShuttingDown, "")
}

/// The fault of whoever waited for a login that failed.
fn login_fault(name: &SignInName, failure: LoginFailure) -> Fault {
    let (end, detail) = match failure {
        LoginFailure::Refused(fault) | LoginFailure::Unreachable(fault) => return fault,
        LoginFailure::Cancelled => (LoginEnd::Cancelled, ""),
        LoginFailure::TimedOut => (LoginEnd::TimedOut, ""),
        LoginFailure::Declined => (LoginEnd::Declined, ""),
        LoginFailure::Mismatch => (LoginEnd::Mismatch, ""),
        LoginFailure::NobodyThere => (LoginEnd::NobodyThere, ""),
        LoginFailure::DoesNotLast { .. } => (
            LoginEnd::DoesNotLast,
            "three in ten minutes were lost at once; no browser is opened for a while",
        ),
        LoginFailure::ClientGone => {
            (LoginEnd::Other, "AWS does not know the client that was registered a moment ago")
        }
    };
    Fault::new(FaultKind::LoginFailed { sign_in: name.to_string(), end }, detail)
}
